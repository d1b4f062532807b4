"""The mark: how far the log is known to be on the disk, kept outside the log.

A log alone cannot tell a torn tail from a lost one. The mark can: what it names was synced, so
anything missing before it is rot. The file `mark` has two slots of 4 KiB (two physical sectors
of any disk in use), of which the first 72 bytes are used:

    slot     magic "LVMK"  version 1  0 3  counter 8  home 8
             file 8  offset 8  group 8  chain 8  sequence 8  hash 8

The hash is the xxh3-64 of the 64 bytes before it. The valid slot with the higher counter counts.
Between two syncs of the mark only the slot that does *not* hold the synced value is written,
however often: otherwise a power loss between two writes could tear both. When no slot is valid
nobody can say what the log must hold, so a start refuses.

The file is made under another name, synced, and renamed, so that it is never there half made.
Owner: the committer. `read_mark` reads the file of a running home from anywhere.
"""

import struct
from pathlib import Path
from typing import Final, NamedTuple, final

from xxhash import xxh3_64_intdigest

from runtime.disk import Disk, File
from runtime.log_format import VERSION, LogEnd, check_version

MARK_NAME: Final = "mark"
SLOT_BYTES: Final = 4096

_MAGIC: Final = b"LVMK"
_SLOT: Final = struct.Struct("<4sB3x7Q")
_HASH: Final = struct.Struct("<Q")
# A reader of a running home may meet a slot while it is written; the writer needs microseconds.
_READS_MAX: Final = 3


class MarkReading(NamedTuple):
    """The content of a mark: the home's random bits and the synced end of its log."""

    home: int
    end: LogEnd
    counter: int
    slot: int


def encode_slot(counter: int, home: int, end: LogEnd) -> bytes:
    """Return one slot, padded to its 4 KiB."""
    place = (end.file, end.offset, end.group, end.chain, end.sequence)
    body = _SLOT.pack(_MAGIC, VERSION, counter, home, *place)
    return (body + _HASH.pack(xxh3_64_intdigest(body))).ljust(SLOT_BYTES, b"\0")


def decode_slot(data: bytes, slot: int) -> MarkReading | None:
    """Read a slot; None when it is not whole."""
    if len(data) < _SLOT.size + _HASH.size or data[:4] != _MAGIC:
        return None
    body = data[: _SLOT.size]
    if _HASH.unpack_from(data, _SLOT.size)[0] != xxh3_64_intdigest(body):
        return None
    _, version, counter, home, file, offset, group, chain, sequence = _SLOT.unpack(body)
    check_version(version)
    return MarkReading(home, LogEnd(group, chain, sequence, file, offset), counter, slot)


def read_mark(disk: Disk, path: Path) -> MarkReading | None:
    """Return the higher valid slot; None when neither is valid.

    `FileNotFoundError` when there is no mark, LogVersionError when a newer release wrote it.
    """
    file = disk.open(path)
    try:
        for _ in range(_READS_MAX):
            slots = [decode_slot(file.read(SLOT_BYTES, slot * SLOT_BYTES), slot) for slot in (0, 1)]
            if found := [reading for reading in slots if reading is not None]:
                return max(found, key=lambda reading: reading.counter)
        return None
    finally:
        file.close()


def create_mark(disk: Disk, path: Path, *, home: int, end: LogEnd) -> None:
    """Make the mark, or replace it whole, synced with its name."""
    part = path.with_name(path.name + ".part")
    if disk.exists(part):
        disk.remove(part)
    file = disk.create(part)
    try:
        file.write(encode_slot(1, home, end) + encode_slot(2, home, end), 0)
        file.sync()
    finally:
        file.close()
    disk.rename(part, path)
    disk.sync_directory(path.parent)


@final
class Mark:
    """The mark of a running log. Owner: the committer."""

    def __init__(self, file: File, reading: MarkReading) -> None:
        self._file = file
        self._home = reading.home
        self._counter = reading.counter
        self._slot = 1 - reading.slot
        self.written = reading.end
        self.synced = reading.end

    def write(self, end: LogEnd) -> None:
        """Name `end`; a power loss forgets it until `sync`."""
        self._counter += 1
        self._file.write(encode_slot(self._counter, self._home, end), self._slot * SLOT_BYTES)
        self.written = end

    def sync(self) -> None:
        """Sync what was written and go on to the other slot."""
        if self.synced == self.written:
            return
        self._file.sync()
        self.synced = self.written
        self._slot = 1 - self._slot

    def close(self) -> None:
        """Release the file."""
        self._file.close()
