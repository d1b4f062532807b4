"""Writing the log: groups into files, files in a row, syncs, and the mark behind them.

No thread and no lock: one owner, the committer of runtime/log.py, calls it from first to last.

    write(records)   one write a group at the next sector; a group that does not fit *rolls*:
                     end frame, real sync, mark synced, a spare becomes the next file, header
    sync()           content files first, then the log, then the mark is written (not synced)
    settle_mark()    syncs the mark; due `MARK_SECONDS` after a sync

`written` is the end of what the operating system has, `synced` of what the disk has. Any error
is final: the owner closes the writer and writes nothing more, because after a failed sync the
kernel may have dropped the very pages and the next sync would call them safe.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, final

from runtime.clock import Clock
from runtime.disk import Disk, File
from runtime.log_files import CUT_SUFFIX, LogFiles, file_numbers, file_path
from runtime.log_format import (
    GROUP_BYTES_MAX,
    GROUP_HEAD_BYTES,
    SECTOR_BYTES,
    FileHeader,
    LogEnd,
    encode_end,
    encode_file_header,
    encode_group,
    frame_chain,
    sector_end,
)
from runtime.log_spares import Spares
from runtime.mark import MARK_NAME, Mark, create_mark, read_mark

MARK_SECONDS: Final = 0.05


class LogStartError(Exception):
    """The log cannot go on from the given end."""


@final
class LogWriter:
    """The open end of a log. `start` is what reading and settling the log returned."""

    def __init__(
        self,
        directory: Path,
        *,
        disk: Disk,
        clock: Clock,
        home: int,
        start: LogEnd,
        file_bytes: int,
        background: bool,
    ) -> None:
        self._directory = directory
        self._disk = disk
        self._clock = clock
        self._home = home
        self.file_bytes = file_bytes
        self._dirty: dict[File, None] = {}
        self._file: File | None = None
        self._mark_due: float | None = None
        disk.make_directory(directory)
        self._mark = self._open_mark(start)
        self.files = LogFiles(directory, disk)
        self.written = start
        self.synced = start
        self.spares = Spares(
            directory, disk=disk, clock=clock, file_bytes=file_bytes, background=background
        )
        try:
            self._begin_file(self._unused_number())
            self.sync()
        except BaseException:
            self.abandon()
            raise

    def _open_mark(self, start: LogEnd) -> Mark:
        path = self._directory / MARK_NAME
        if not self._disk.exists(path) and not file_numbers(self._directory, self._disk):
            create_mark(self._disk, path, home=self._home, end=start)
        reading = read_mark(self._disk, path) if self._disk.exists(path) else None
        if reading is None or reading.end != start or reading.home != self._home:
            raise LogStartError(
                f"The mark of the log in {self._directory} does not name group {start.group} of "
                f"home {self._home:012x}, which the log is to go on from. Read the log to its end "
                "and settle that reading, then start with the end it returns."
            )
        return Mark(self._disk.open(path), reading)

    def _unused_number(self) -> int:
        cut = file_numbers(self._directory, self._disk, CUT_SUFFIX)
        return 1 + max([self.written.file, *cut, *(file.id for file in self.files)])

    def _begin_file(self, number: int) -> None:
        path = file_path(self._directory, number)
        self.spares.take(path)
        self._file = self._disk.open(path)
        header = FileHeader(self._home, number, self.written, self._wall_ms())
        self._file.write(encode_file_header(header), 0)
        self.files.begin(header, self.file_bytes)
        end = self.written
        self.written = LogEnd(end.group, end.chain, end.sequence, number, SECTOR_BYTES)

    def _wall_ms(self) -> int:
        return int(self._clock.wall() * 1000)

    @property
    def record_bytes_max(self) -> int:
        """The largest record that a file of this size can hold as a group of its own."""
        return self.file_bytes - 2 * SECTOR_BYTES - GROUP_HEAD_BYTES - 4

    def add_dirty(self, files: Sequence[File]) -> None:
        """Note content files that the next real sync has to sync before the log."""
        self._dirty.update(dict.fromkeys(files))

    def write(self, records: Sequence[bytes]) -> None:
        """Write `records` as one group, or as several where they pass `GROUP_BYTES_MAX`."""
        wall_ms = self._wall_ms()
        for part in split_groups(records, min(GROUP_BYTES_MAX, self.record_bytes_max)):
            frame = encode_group(part, self.written, wall_ms)
            if self.written.offset + sector_end(len(frame)) + SECTOR_BYTES > self.file_bytes:
                self._roll()
                frame = encode_group(part, self.written, wall_ms)
            self._write_at_end(frame)
            end = self.written
            offset = end.offset + sector_end(len(frame))
            sequence = end.sequence + len(part)
            self.written = LogEnd(end.group + 1, frame_chain(frame), sequence, end.file, offset)

    def _write_at_end(self, frame: bytearray) -> None:
        assert self._file is not None
        self._file.write(frame, self.written.offset)

    def _roll(self) -> None:
        self._end_file()
        self._begin_file(self._unused_number())

    def _end_file(self) -> None:
        assert self._file is not None
        self._write_at_end(encode_end(self.written, self._wall_ms()))
        self.sync()
        self.settle_mark()
        # The zeros behind the end frame would count as used disk until retention.
        self._file.truncate(self.written.offset + SECTOR_BYTES)
        self._file.close()

    def sync(self) -> None:
        """Sync noted content, then the log, then let the mark name the new end."""
        assert self._file is not None
        for file in self._dirty:
            file.sync()
        self._dirty.clear()
        self._file.sync()
        self.synced = self.written
        self._mark.write(self.synced)
        if self._mark_due is None:
            self._mark_due = self._clock.monotonic() + MARK_SECONDS

    def mark_seconds(self) -> float | None:
        """Return how long the mark may stay unsynced; None when it is synced."""
        due = self._mark_due
        return None if due is None else max(0.0, due - self._clock.monotonic())

    def settle_mark(self) -> None:
        """Sync the mark."""
        self._mark.sync()
        self._mark_due = None

    def close(self) -> None:
        """End the file, synced and marked, and stop making spares."""
        self._end_file()
        self.abandon()

    def abandon(self) -> None:
        """Release what is open and write nothing more."""
        self.spares.close()
        self._mark.close()
        if self._file is not None:
            self._file.close()


def split_groups(records: Sequence[bytes], bytes_max: int) -> Iterator[Sequence[bytes]]:
    """Cut `records` into runs that each fill at most one group; a large one stands alone."""
    if sum(map(len, records)) + 4 * len(records) <= bytes_max:
        yield records
        return
    start = size = 0
    for index, record in enumerate(records):
        needed = len(record) + 4
        if index > start and size + needed > bytes_max:
            yield records[start:index]
            start, size = index, 0
        size += needed
    yield records[start:]
