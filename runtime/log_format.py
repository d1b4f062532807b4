"""The bytes of the commit log: file header, group, end frame, and the positions between them.

All numbers are little-endian and unsigned. Files are `00000001.log`, `00000002.log`, ...; each
is made of zeros first, so what was never written reads as zeros. Header, groups and end frame
each start at a multiple of 512 bytes, because a disk is taken to damage no byte outside the
sectors that it writes: a torn group never harms its neighbour, and a search for the next whole
group tries these places only.

    file     | header | group | group | ... | end frame | zeros, cut off when the file closes |
             0        512     n x 512

    header   magic "LVLG"  version 1  kind 1  0 2  home 8  file 8
             previous end: file 8  offset 8  group 8  chain 8  sequence 8
             wall_ms 8  hash 8                                                  80 bytes of 512

    group    magic "LVGR"  version 1  kind 1  0 2  file 8  group 8  first sequence 8
             count 4  length 4  wall_ms 8  previous chain 8  hash 8                   64 bytes
             record lengths, 4 bytes each (count of them), then the records; `length` in all

    end      a group of kind END without records; it repeats the number of the last group and
             takes none of its own

A header's hash is the xxh3-64 of the 72 bytes before it. A group's is the xxh3-64 of its
`length` bytes, seeded with the xxh3-64 of the 56 bytes before the hash; it is the *chain*,
because the next group names it as `previous chain`. Hence no group can be changed, left out,
doubled or moved without a break.

A group holds at most `GROUP_BYTES_MAX`, or one larger record of at most `RECORD_BYTES_MAX`.
Groups are numbered from 1 and sequences (the records' numbers) from 1, both without holes over
all files. A header names the end that its file goes on from. After a crash that end may lie
before bytes that the older file still holds: they are cut, and stay where they are.
"""

import itertools
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from xxhash import xxh3_64_intdigest

SECTOR_BYTES: Final = 512
VERSION: Final = 1
GROUP_BYTES_MAX: Final = 8 * 2**20
RECORD_BYTES_MAX: Final = 48 * 2**20
PAYLOAD_BYTES_MAX: Final = RECORD_BYTES_MAX + 4

KIND_HEADER: Final = 0
KIND_GROUP: Final = 1
KIND_END: Final = 2

HEADER_MAGIC: Final = b"LVLG"
GROUP_MAGIC: Final = b"LVGR"

_HEADER: Final = struct.Struct("<4sBBH8Q")
_GROUP: Final = struct.Struct("<4sBBHQQQIIQQ")
_HASH: Final = struct.Struct("<Q")
GROUP_HEAD_BYTES: Final = _GROUP.size + _HASH.size
HEADER_BYTES: Final = _HEADER.size + _HASH.size


class LogEnd(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A position between two groups: everything up to it, nothing after it.

    `group` and `chain` are number and hash of the last group before it, `sequence` is that of
    the last record, `file` and `offset` the place where the next group goes (unless the file
    ends there). The start of an empty log has zeros throughout.
    """

    group: int = 0
    chain: int = 0
    sequence: int = 0
    file: int = 0
    offset: int = 0

    def same_history(self, other: "LogEnd") -> bool:
        """Tell whether both stand after the same group, wherever that is stored."""
        return (self.group, self.chain, self.sequence) == (other.group, other.chain, other.sequence)


LOG_START: Final = LogEnd()


class FileHeader(NamedTuple):
    """What the first sector of a log file says."""

    home: int
    file: int
    previous: LogEnd
    wall_ms: int


class GroupHead(NamedTuple):
    """The fixed part of a group or end frame; `chain` is its own hash."""

    version: int
    kind: int
    file: int
    group: int
    first_sequence: int
    records: int
    length: int
    wall_ms: int
    previous_chain: int
    chain: int
    seed: int


class FrameFault(Exception):
    """Why bytes are not the frame that should stand there: a clause without its subject."""


class LogVersionError(Exception):
    """A whole frame of a format version that this release does not read."""


def encode_file_header(header: FileHeader) -> bytes:
    """Return the header padded to one sector."""
    previous = header.previous
    body = _HEADER.pack(
        HEADER_MAGIC,
        VERSION,
        KIND_HEADER,
        0,
        header.home,
        header.file,
        previous.file,
        previous.offset,
        previous.group,
        previous.chain,
        previous.sequence,
        header.wall_ms,
    )
    return (body + _HASH.pack(xxh3_64_intdigest(body))).ljust(SECTOR_BYTES, b"\0")


def decode_file_header(data: bytes) -> FileHeader:
    """Read a header; FrameFault says what is wrong with it."""
    if len(data) < HEADER_BYTES or data[:4] != HEADER_MAGIC:
        raise FrameFault("does not start with the header of a log file")
    body = data[: _HEADER.size]
    if _HASH.unpack_from(data, _HEADER.size)[0] != xxh3_64_intdigest(body):
        raise FrameFault("has a header that does not match its checksum")
    _, version, _, _, home, file, *previous, wall_ms = _HEADER.unpack(body)
    check_version(version)
    previous_file, offset, group, chain, sequence = previous
    end = LogEnd(group, chain, sequence, previous_file, offset)
    return FileHeader(home, file, end, wall_ms)


def check_version(version: int) -> None:
    """Raise LogVersionError for a version other than this release's."""
    if version != VERSION:
        raise LogVersionError(
            f"The log has format version {version}; this release of Levada reads version "
            f"{VERSION}. Start the home with the release that wrote it."
        )


def encode_group(records: Sequence[bytes], position: LogEnd, wall_ms: int) -> bytearray:
    """Return the group that holds `records` and stands at `position`."""
    table = struct.pack(f"<{len(records)}I", *map(len, records))
    # Joined once with room for the head, which can only be packed when the hash is known.
    frame = bytearray().join([bytes(GROUP_HEAD_BYTES), table, *records])
    _seal(frame, position, count=len(records), wall_ms=wall_ms)
    return frame


def encode_end(position: LogEnd, wall_ms: int) -> bytearray:
    """Return the end frame of a file whose last group stands before `position`."""
    frame = bytearray(GROUP_HEAD_BYTES)
    _seal(frame, position, count=0, wall_ms=wall_ms)
    return frame


def _seal(frame: bytearray, position: LogEnd, *, count: int, wall_ms: int) -> None:
    _GROUP.pack_into(
        frame,
        0,
        GROUP_MAGIC,
        VERSION,
        KIND_GROUP if count else KIND_END,
        0,
        position.file,
        position.group + 1 if count else position.group,
        position.sequence + 1,
        count,
        len(frame) - GROUP_HEAD_BYTES,
        wall_ms,
        position.chain,
    )
    view = memoryview(frame)
    seed = xxh3_64_intdigest(view[: _GROUP.size])
    _HASH.pack_into(frame, _GROUP.size, xxh3_64_intdigest(view[GROUP_HEAD_BYTES:], seed=seed))


def frame_chain(frame: bytearray) -> int:
    """Return the hash of an encoded group."""
    chain: int = _HASH.unpack_from(frame, _GROUP.size)[0]
    return chain


def decode_head(data: bytes) -> GroupHead:
    """Read the fixed part of a group; only `check_payload` proves it."""
    if len(data) < GROUP_HEAD_BYTES or data[:4] != GROUP_MAGIC:
        raise FrameFault("holds no group")
    _, version, kind, _, *numbers = _GROUP.unpack_from(data)
    chain = _HASH.unpack_from(data, _GROUP.size)[0]
    seed = xxh3_64_intdigest(data[: _GROUP.size])
    head = GroupHead._make([version, kind, *numbers, chain, seed])
    if head.length > PAYLOAD_BYTES_MAX:
        raise FrameFault(f"holds a group with a length of {head.length:,} bytes no group has")
    return head


def check_payload(head: GroupHead, payload: bytes) -> None:
    """Prove head and payload by the hash; FrameFault tells how they differ."""
    if len(payload) < head.length:
        raise FrameFault(f"holds {len(payload)} of the {head.length} bytes of a group")
    if xxh3_64_intdigest(payload, seed=head.seed) != head.chain:
        raise FrameFault("holds a group that does not match its checksum")
    check_version(head.version)


def check_place(head: GroupHead, position: LogEnd) -> None:
    """Prove that a whole group is the one that belongs at `position`."""
    if head.file != position.file:
        raise FrameFault(f"holds a group of file {head.file}")
    number = position.group + 1 if head.kind == KIND_GROUP else position.group
    if head.group != number or head.first_sequence != position.sequence + 1:
        raise FrameFault(f"holds group {head.group} where group {number} belongs")
    if head.previous_chain != position.chain:
        raise FrameFault("holds a group that follows another history")


def split_records(head: GroupHead, payload: bytes) -> list[bytes]:
    """Return the records of a proven group."""
    lengths = struct.unpack_from(f"<{head.records}I", payload)
    ends = itertools.accumulate(lengths, initial=4 * head.records)
    return [payload[start:stop] for start, stop in itertools.pairwise(ends)]


def after_group(position: LogEnd, head: GroupHead) -> LogEnd:
    """Return the position behind a group that stands at `position`."""
    return LogEnd(
        head.group,
        head.chain,
        position.sequence + head.records,
        position.file,
        sector_end(position.offset + GROUP_HEAD_BYTES + head.length),
    )


def sector_end(offset: int) -> int:
    """Round up to the next sector."""
    return -(-offset // SECTOR_BYTES) * SECTOR_BYTES
