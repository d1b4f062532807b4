"""The formats that a bin is merged into.

A format writes the contents of a bin's flowfiles to a stream, in order. Small contents are read
many at a time, large ones are copied piece by piece, so memory stays constant.

FlowFile Stream, version 3 (2 is the same without the magic), numbers big-endian:

    "NiFiFF3" | count | name, value, name, value, ... | content length (8) | content

where count and each text's length take 2 bytes, or FF FF and 4 bytes from 65,535 on.
"""

from __future__ import annotations

import io
import re
import struct
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from runtime.expression import Expression
from runtime.flowfile import FlowFile
from runtime.session import Session

if TYPE_CHECKING:
    from runtime.session import WriteStream

CHUNK_BYTES: Final = 2**20
# Contents up to this size are read together with their neighbours.
SMALL_BYTES: Final = 2**16
_MAGIC: Final = b"NiFiFF3"
_SHORT_MAX: Final = 0xFFFF
_PERMISSIONS: Final = re.compile("[0-7]{3}")


class MergeFormat(Protocol):
    """How a bin becomes one content; `mime_type` None means that of its flowfiles."""

    @property
    def mime_type(self) -> str | None: ...

    @property
    def extension(self) -> str: ...

    def write(
        self, session: Session, flowfiles: Sequence[FlowFile], target: WriteStream
    ) -> list[FlowFile]:
        """Write the contents; return those flowfiles that the format cannot take."""
        ...


class Concatenation:
    """One content after the other, with something before, between and behind."""

    mime_type = None
    extension = ""

    def __init__(
        self, *, header: bytes = b"", footer: bytes = b"", demarcator: bytes = b""
    ) -> None:
        self._header = header
        self._footer = footer
        self._demarcator = demarcator

    def write(
        self, session: Session, flowfiles: Sequence[FlowFile], target: WriteStream
    ) -> list[FlowFile]:
        lead = self._header
        for part in _parts(flowfiles):
            target.write(lead)
            if len(part) == 1 and part[0].size > SMALL_BYTES:
                _copy(session, part[0], target)
            else:
                target.write(self._demarcator.join(session.read_many(part)))
            lead = self._demarcator
        target.write(self._footer)
        return []


class TarArchive:
    """A TAR file (GNU, so names and sizes have no limit) with an entry for each flowfile."""

    mime_type = "application/tar"
    extension = ".tar"

    def __init__(self, *, keep_path: bool, modified: Expression, now: float) -> None:
        self._keep_path = keep_path
        self._modified = modified
        self._now = now

    def write(
        self, session: Session, flowfiles: Sequence[FlowFile], target: WriteStream
    ) -> list[FlowFile]:
        with tarfile.open(
            mode="w|", fileobj=_Writable(target), format=tarfile.GNU_FORMAT, bufsize=CHUNK_BYTES
        ) as archive:
            for flowfile, source in _sources(session, flowfiles):
                archive.addfile(self._entry(session, flowfile), source)
        return []

    def _entry(self, session: Session, flowfile: FlowFile) -> tarfile.TarInfo:
        entry = tarfile.TarInfo(_entry_name(session, flowfile, keep_path=self._keep_path))
        entry.size = flowfile.size
        entry.mtime = int(self._now)
        permissions = session.attribute(flowfile, "tar.permissions") or ""
        if _PERMISSIONS.fullmatch(permissions):
            entry.mode = int(permissions, 8)
        entry.mtime = _timestamp(self._modified.evaluate(flowfile), entry.mtime)
        return entry


class ZipArchive:
    """A ZIP file with an entry for each flowfile; a name that it has already is not taken."""

    mime_type = "application/zip"
    extension = ".zip"

    def __init__(self, *, keep_path: bool, level: int) -> None:
        self._keep_path = keep_path
        self._level = level

    def write(
        self, session: Session, flowfiles: Sequence[FlowFile], target: WriteStream
    ) -> list[FlowFile]:
        names: set[str] = set()
        left_out = []
        with zipfile.ZipFile(
            _Writable(target), "w", zipfile.ZIP_DEFLATED, compresslevel=self._level
        ) as archive:
            for flowfile, source in _sources(session, flowfiles):
                name = _entry_name(session, flowfile, keep_path=self._keep_path)
                if name in names:
                    left_out.append(flowfile)
                    continue
                names.add(name)
                # Sizes are unknown to the format until the entry ends: room for large ones.
                entry = zipfile.ZipInfo(name)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry._compresslevel = self._level  # type: ignore[attr-defined]  # public from 3.13
                with archive.open(entry, "w", force_zip64=flowfile.size > 2**31) as out:
                    while chunk := source.read(CHUNK_BYTES):
                        out.write(chunk)
        return left_out


class FlowFileStream:
    """Attributes and contents of flowfiles, to be unpacked into the same flowfiles again."""

    extension = ".pkg"

    def __init__(self, version: int) -> None:
        self.mime_type: str | None = f"application/flowfile-v{version}"
        self._magic = _MAGIC if version == 3 else b""

    def write(
        self, session: Session, flowfiles: Sequence[FlowFile], target: WriteStream
    ) -> list[FlowFile]:
        for part in _parts(flowfiles):
            if len(part) == 1 and part[0].size > SMALL_BYTES:
                target.write(self._head(session, part[0]))
                _copy(session, part[0], target)
                continue
            contents = session.read_many(part)
            target.write(
                b"".join(
                    piece
                    for flowfile, content in zip(part, contents, strict=True)
                    for piece in (self._head(session, flowfile), content)
                )
            )
        return []

    def _head(self, session: Session, flowfile: FlowFile) -> bytes:
        attributes = session.attributes(flowfile)
        head = [self._magic, _length(len(attributes))]
        for text in (text for pair in attributes.items() for text in pair):
            data = text.encode(errors="surrogatepass")
            head += (_length(len(data)), data)
        head.append(struct.pack(">Q", flowfile.size))
        return b"".join(head)


def _length(count: int) -> bytes:
    if count < _SHORT_MAX:
        return struct.pack(">H", count)
    return b"\xff\xff" + struct.pack(">I", count)


def _parts(flowfiles: Sequence[FlowFile]) -> Iterator[Sequence[FlowFile]]:
    """Cut into runs of small contents, together about a megabyte, and single large ones."""
    start, size = 0, 0
    for position, flowfile in enumerate(flowfiles):
        if flowfile.size > SMALL_BYTES:
            if position > start:
                yield flowfiles[start:position]
            yield (flowfile,)
            start, size = position + 1, 0
            continue
        size += flowfile.size
        if size >= CHUNK_BYTES:
            yield flowfiles[start : position + 1]
            start, size = position + 1, 0
    if start < len(flowfiles):
        yield flowfiles[start:]


def _sources(
    session: Session, flowfiles: Sequence[FlowFile]
) -> Iterator[tuple[FlowFile, io.BufferedIOBase]]:
    for part in _parts(flowfiles):
        if len(part) == 1 and part[0].size > SMALL_BYTES:
            with session.open_read(part[0]) as source:
                yield part[0], source  # type: ignore[misc]  # a buffered reader, as BinaryIO
            continue
        for flowfile, content in zip(part, session.read_many(part), strict=True):
            yield flowfile, io.BytesIO(content)


def _copy(session: Session, flowfile: FlowFile, target: WriteStream) -> None:
    with session.open_read(flowfile) as source:
        while chunk := source.read(CHUNK_BYTES):
            target.write(chunk)


class _Writable(io.RawIOBase):
    """A content being written as a file that cannot seek, which archives then do without."""

    def __init__(self, target: WriteStream) -> None:
        self._target = target

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]  # archives give bytes
        return self._target.write(bytes(data))


def _entry_name(session: Session, flowfile: FlowFile, *, keep_path: bool) -> str:
    name = session.attribute(flowfile, "filename") or session.uuid(flowfile)
    if not keep_path:
        return name
    parts = [part for part in (session.attribute(flowfile, "path") or "").split("/") if part]
    if parts and parts[0] == ".":
        del parts[0]
    return "/".join([*parts, name])


def _timestamp(text: str, otherwise: float) -> float:
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except ValueError:
        return otherwise
