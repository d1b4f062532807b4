"""The files of a log: their names, their list, and the retention that drops whole files.

    00000007.log       a log file; the highest is the one that is written
    00000009.log.cut   a file that recovery or repair set aside, kept for people to look at
    mark               see runtime/mark.py
    spare-1, spare-2   files of zeros, ready to become log files (runtime/log_spares.py)

A file's number is never given twice, not even after the file was dropped or set aside.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

from runtime.disk import Disk
from runtime.log_format import (
    SECTOR_BYTES,
    FileHeader,
    FrameFault,
    decode_file_header,
)

LOG_SUFFIX: Final = ".log"
CUT_SUFFIX: Final = ".log.cut"
_SCAN_BYTES: Final = 2**20


def file_path(directory: Path, file: int) -> Path:
    """Return the path of log file number `file`."""
    return directory / f"{file:08d}{LOG_SUFFIX}"


def file_numbers(directory: Path, disk: Disk, suffix: str = LOG_SUFFIX) -> list[int]:
    """Return the numbers of the files of one kind, in order."""
    stems = [name.removesuffix(suffix) for name in disk.names(directory) if name.endswith(suffix)]
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def read_header(directory: Path, disk: Disk, file: int) -> FileHeader:
    """Return a file's header; FrameFault when it is not whole or another file's."""
    opened = disk.open(file_path(directory, file))
    try:
        header = decode_file_header(opened.read(SECTOR_BYTES, 0))
    finally:
        opened.close()
    if header.file != file:
        raise FrameFault(f"has the header of file {header.file}")
    return header


def used_bytes(directory: Path, disk: Disk, file: int) -> int:
    """Return a file's length without the zeros at its end."""
    opened = disk.open(file_path(directory, file))
    try:
        end = opened.size()
        while end:
            start = max(0, end - _SCAN_BYTES)
            if found := opened.read(end - start, start).rstrip(b"\0"):
                return start + len(found)
            end = start
        return 0
    finally:
        opened.close()


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file of the log, from its header and its successor's.

    `last_sequence` and `last_wall_ms` are None while the file is open. A file whose header is
    rotten takes the numbers of its neighbours and has no `first_wall_ms`.
    """

    id: int
    path: Path
    first_sequence: int
    last_sequence: int | None
    size: int
    first_wall_ms: int | None
    last_wall_ms: int | None


def list_files(directory: Path, disk: Disk) -> list[LogFile]:
    """Return the log's files, oldest first, from their headers."""
    found: list[LogFile] = []
    following: FileHeader | None = None
    for number in reversed(file_numbers(directory, disk)):
        try:
            header = read_header(directory, disk, number)
        except FrameFault:
            header = None
        following_first = following.previous.sequence + 1 if following else 1
        found.append(
            LogFile(
                id=number,
                path=file_path(directory, number),
                first_sequence=header.previous.sequence + 1 if header else following_first,
                last_sequence=following_first - 1 if following else None,
                size=_size(directory, disk, number),
                first_wall_ms=header.wall_ms if header else None,
                last_wall_ms=following.wall_ms if following else None,
            )
        )
        following = header or following
    return found[::-1]


def _size(directory: Path, disk: Disk, number: int) -> int:
    opened = disk.open(file_path(directory, number))
    try:
        return opened.size()
    finally:
        opened.close()


@final
class LogFiles:
    """The list of a running log's files; read and shortened from any thread."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._disk = disk
        self._directory = directory
        self._files = list_files(directory, disk)
        # The committer takes `_lock` and must not wait for a removal, so that has its own;
        # `_dropping` is taken first.
        self._lock = threading.Lock()
        self._dropping = threading.Lock()

    def __iter__(self) -> Iterator[LogFile]:
        with self._lock:
            return iter(list(self._files))

    def begin(self, header: FileHeader, size: int) -> None:
        """Add the file that is written from now on."""
        first = header.previous.sequence + 1
        path = file_path(self._directory, header.file)
        added = LogFile(header.file, path, first, None, size, header.wall_ms, None)
        with self._lock:
            if self._files and self._files[-1].last_sequence is None:
                self._close_last(header)
            self._files.append(added)

    def _close_last(self, following: FileHeader) -> None:
        last = self._files[-1]
        self._files[-1] = replace(
            last,
            last_sequence=following.previous.sequence,
            size=_size(self._directory, self._disk, last.id),
            last_wall_ms=following.wall_ms,
        )

    def drop(self, before_sequence: int) -> list[LogFile]:
        """Remove the closed files whose records all lie before `before_sequence`."""
        dropped: list[LogFile] = []
        with self._dropping:
            for file in self:
                if file.last_sequence is None or file.last_sequence >= before_sequence:
                    break
                # Synced one by one and oldest first, so that a power loss leaves no hole.
                self._disk.remove(file.path)
                with self._lock:
                    self._files.remove(file)
                self._disk.sync_directory(self._directory)
                dropped.append(file)
        return dropped
