"""Reading the log, and judging what a crash or a bad disk left of it.

    read_log(...) -> LogReading    iterate it; then `end` and `cut` say where and how it ended

The mark decides (runtime/mark.py). A group is *bad* when it is torn, rotten, out of place or
missing with its file.

    bad at or before the mark   rot: LogDamagedError names file, group, offset, what is missing
    bad beyond the mark         the log ends there, whatever follows; `cut` reports what follows
    rejected by `accept`        the same, for a whole group beyond the mark
    no valid mark               LogDamagedError

A file ends where its successor's header says, not where its bytes do: what an earlier recovery
cut still stands behind that end. Files before the place where reading starts are not opened.

Works on a running home, from any process: the mark is read before the files, so that all it
names is there; a group that is just being written reads as bad beyond the mark. Such a reader
continues later with `after=reading.end`.

With `damaged` given (provenance, verify) rot does not raise: it is reported, and reading goes on
at the next whole group. What lies behind a gap must not be folded into queue state.

Not supported: two threads in one reading; reading twice from one reading.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple, final

from runtime.disk import Disk, File
from runtime.log_files import file_numbers, file_path, read_header, used_bytes
from runtime.log_format import (
    GROUP_HEAD_BYTES,
    GROUP_MAGIC,
    KIND_END,
    KIND_GROUP,
    LOG_START,
    SECTOR_BYTES,
    FileHeader,
    FrameFault,
    GroupHead,
    LogEnd,
    after_group,
    check_payload,
    check_place,
    decode_head,
    split_records,
)
from runtime.mark import MARK_NAME, read_mark

Accept = Callable[[int, bytes], bool]

_WINDOW_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class LogDamage:
    """Rot: what is wrong, where, and which records it takes.

    `group` is the first one missing.
    """

    path: Path
    offset: int
    group: int
    reason: str
    first_sequence: int
    last_sequence: int


class LogDamagedError(Exception):
    """The log lacks something that was durable. `damage` is None when the mark is at fault."""

    def __init__(self, sentence: str, damage: LogDamage | None = None) -> None:
        super().__init__(f"{sentence} Run `levada repair`, which says what it would cut first.")
        self.damage = damage


@dataclass(frozen=True, slots=True)
class LogCut:
    """What stands behind the end of the log and does not count.

    `tail_bytes` follow `end` in its own file and stay there; `files` are whole later files.
    """

    end: LogEnd
    reason: str
    tail_bytes: int
    files: tuple[Path, ...]


class LogGroup(NamedTuple):
    """The records of one group; `wall_ms` is when it was written."""

    first_sequence: int
    wall_ms: int
    records: list[bytes]


def read_log(
    directory: Path,
    disk: Disk,
    *,
    after: LogEnd | int = LOG_START,
    home: int | None = None,
    accept: Accept | None = None,
    damaged: Callable[[LogDamage], None] | None = None,
    to: Literal["mark", "end"] = "end",
) -> "LogReading":
    """Begin to read the records after `after`: a position, or a sequence.

    Recovery gives a position (a checkpoint's, `LOG_START` for none): what follows it has to be
    there. After a sequence, reading starts with the first record that retention has left.
    `home` refuses another home's log. `accept` is asked for each record beyond the mark.
    `to="mark"` stops at the mark. Raises LogDamagedError for the mark at once, for the rest when
    reading meets it, and LogVersionError for a newer format.
    """
    path = directory / MARK_NAME
    mark = LOG_START
    if disk.exists(path):
        reading = read_mark(disk, path)
        if reading is None:
            raise LogDamagedError(
                f"Neither slot of {path} is whole, so nothing tells where the log must end."
            )
        if home is not None and reading.home != home:
            raise LogDamagedError(
                f"The log in {directory} belongs to home {reading.home:012x}, not {home:012x}."
            )
        home, mark = reading.home, reading.end
    elif file_numbers(directory, disk):
        raise LogDamagedError(f"{path} is missing, so nothing tells where the log must end.")
    return LogReading(
        directory, disk, after=after, home=home, mark=mark, accept=accept, damaged=damaged, to=to
    )


@final
class LogReading:
    """One pass over the log: iterate it for (sequence, wall_ms, record), or `groups()`.

    `end` is the position behind what was given out so far, `touched` are the files that were
    read.
    """

    def __init__(
        self,
        directory: Path,
        disk: Disk,
        *,
        after: LogEnd | int,
        home: int | None,
        mark: LogEnd,
        accept: Accept | None,
        damaged: Callable[[LogDamage], None] | None,
        to: Literal["mark", "end"],
    ) -> None:
        self.directory = directory
        self.disk = disk
        self.home = home
        self.mark = mark
        self._cut: LogCut | None = None
        self.touched: list[int] = []
        self._accept = accept
        self._damaged = damaged
        self._to = to
        self._after_sequence = after if isinstance(after, int) else after.sequence
        self.end = LogEnd(sequence=after) if isinstance(after, int) else after
        if isinstance(after, int):
            self.end = self._start(after)
        # What has to be there: a checkpoint may be ahead of a mark that was not synced yet.
        self._target = max(mark, self.end, key=lambda end: end.group)
        self._finished = False
        self._reason = ""
        if self.end.group == mark.group and self.end.chain != mark.chain:
            self._report(self._damage("holds another history than the mark", None, mark))

    def __iter__(self) -> Iterator[tuple[int, int, bytes]]:
        for first, wall_ms, records in self.groups():
            for sequence, record in enumerate(records, first):
                yield sequence, wall_ms, record

    def groups(self) -> Iterator[LogGroup]:
        """Yield whole groups; the first is cut to what comes after `after`."""
        read: int | None = None
        while not self._finished:
            number = self.end.file
            if number != read and number in file_numbers(self.directory, self.disk):
                read = number
                yield from self._read_file()
            else:
                self._next_file()

    @property
    def exhausted(self) -> bool:
        """Whether reading has come to the end of the log."""
        return self._finished

    @property
    def cut(self) -> LogCut | None:
        """What stands behind the end of a stopped home's log; None when nothing does."""
        if self._cut is None and self._finished:
            self._cut = find_cut(self.directory, self.disk, end=self.end, reason=self._reason)
        return self._cut

    def _start(self, sequence: int) -> LogEnd:
        """Find the file that holds the record after `sequence`, else the oldest whole one."""
        start: LogEnd | None = None
        rotten: int | None = None
        for number in file_numbers(self.directory, self.disk):
            header = self._header(number)
            if header is None:
                rotten = number if start is None and rotten is None else rotten
            elif start is None or header.previous.sequence <= sequence:
                start = first_position(header)
        if start is not None and rotten is not None and start.sequence > sequence:
            reason = "does not start with a whole header"
            self._report(self._damage(reason, rotten, start))
        return start or LOG_START

    def _header(self, number: int) -> FileHeader | None:
        try:
            return read_header(self.directory, self.disk, number)
        except (FrameFault, FileNotFoundError):
            return None

    def _next_file(self) -> None:
        """Step into the file that goes on from `end`, or judge that there is none."""
        later = [n for n in file_numbers(self.directory, self.disk) if n > self.end.file]
        if not later:
            self._stop("ends the log")
            return
        try:
            header = read_header(self.directory, self.disk, later[0])
        except FrameFault as fault:
            self._stop(str(fault), file=later[0])
            return
        if header.home != self.home:
            self._stop(f"belongs to home {header.home:012x}", file=later[0])
        elif not header.previous.same_history(self.end):
            self._stop(self._misfit(header), file=later[0])
        else:
            self.end = first_position(header)

    def _misfit(self, header: FileHeader) -> str:
        previous = header.previous
        if previous.file > self.end.file:
            return f"goes on from file {previous.file}, which is missing"
        return f"goes on from group {previous.group}, which is not the end of the log before it"

    def _named_end(self) -> int | None:
        """Return the last group of the current file by its successor's header."""
        for number in file_numbers(self.directory, self.disk):
            if number > self.end.file:
                header = self._header(number)
                named = header is not None and header.previous.file == self.end.file
                return header.previous.group if header is not None and named else None
        return None

    def _read_file(self) -> Iterator[LogGroup]:
        number = self.end.file
        last_group = self._named_end()
        window = _Window(self.disk.open(file_path(self.directory, number)))
        self.touched.append(number)
        try:
            while self.end.file == number and not self._finished:
                if self.end.group == last_group:
                    return
                if self._to == "mark" and self.end.group >= self.mark.group:
                    self._finished = True
                    return
                group = self._read_group(window)
                if group is None:
                    return
                if group.records:
                    yield group
        finally:
            window.close()

    def _read_group(self, window: "_Window") -> LogGroup | None:
        """Return the group at `end` and step over it; None where the file is done."""
        try:
            head, payload = window.frame(self.end.offset)
            check_place(head, self.end)
            if head.group == self._target.group and head.kind == KIND_GROUP:
                self._check_target(head)
        except FrameFault as fault:
            self._stop(str(fault), window=window)
            return None if self._finished else LogGroup(0, 0, [])
        if head.kind == KIND_END:
            return None
        records = split_records(head, payload)
        if head.group > self._target.group and not self._accepts(head, records):
            self._stop("holds a group that refers to content that is not whole")
            return None
        self.end = after_group(self.end, head)
        skipped = max(0, self._after_sequence + 1 - head.first_sequence)
        return LogGroup(head.first_sequence + skipped, head.wall_ms, records[skipped:])

    def _check_target(self, head: GroupHead) -> None:
        if head.chain != self._target.chain:
            raise FrameFault("holds a group that is not the one that the mark names")

    def _accepts(self, head: GroupHead, records: list[bytes]) -> bool:
        accept = self._accept
        if accept is None:
            return True
        return all(accept(sequence, r) for sequence, r in enumerate(records, head.first_sequence))

    def _stop(
        self, reason: str, *, file: int | None = None, window: "_Window | None" = None
    ) -> None:
        """Judge a fault at `end` (or in the later `file`): the end of the log, or rot."""
        if self.end.group >= self._target.group:
            self._finished = True
            self._reason = reason
            return
        if self._damaged is None:
            self._report(self._damage(reason, file, self._target))
        self._skip(reason, file, window)

    def _damage(self, reason: str, file: int | None, known: LogEnd) -> LogDamage:
        return LogDamage(
            path=file_path(self.directory, self.end.file if file is None else file),
            offset=self.end.offset if file is None else 0,
            group=self.end.group + 1,
            reason=reason,
            first_sequence=self.end.sequence + 1,
            last_sequence=known.sequence,
        )

    def _skip(self, reason: str, file: int | None, window: "_Window | None") -> None:
        """Report the damage and stand before the next whole group, if there is one."""
        found = window.search(self.end) if window is not None else None
        if found is None:
            found = self._later_file()
        self._report(self._damage(reason, file, found or self._target))
        if found is None:
            self._finished = True
        else:
            self.end = found

    def _report(self, damage: LogDamage) -> None:
        if self._damaged is None:
            raise LogDamagedError(damage_sentence(damage), damage)
        self._damaged(damage)

    def _later_file(self) -> LogEnd | None:
        for number in file_numbers(self.directory, self.disk):
            header = self._header(number) if number > self.end.file else None
            if header is None or header.home != self.home:
                continue
            if header.previous.group >= self.end.group:
                return first_position(header)
        return None


def first_position(header: FileHeader) -> LogEnd:
    """Return the position of a file's first group."""
    end = header.previous
    return LogEnd(end.group, end.chain, end.sequence, header.file, SECTOR_BYTES)


def find_cut(directory: Path, disk: Disk, *, end: LogEnd, reason: str) -> LogCut | None:
    """Return what stands behind `end`; None when there is nothing but zeros and an end frame."""
    numbers = file_numbers(directory, disk)
    tail = 0
    if end.file in numbers:
        tail = max(0, used_bytes(directory, disk, end.file) - end.offset)
        if tail and _is_end_frame(directory, disk, end):
            tail = 0
    files = tuple(file_path(directory, number) for number in numbers if number > end.file)
    return LogCut(end, reason, tail, files) if tail or files else None


def _is_end_frame(directory: Path, disk: Disk, end: LogEnd) -> bool:
    window = _Window(disk.open(file_path(directory, end.file)))
    try:
        head, _ = window.frame(end.offset)
        check_place(head, end)
    except FrameFault:
        return False
    finally:
        window.close()
    return head.kind == KIND_END


def damage_sentence(damage: LogDamage) -> str:
    """Tell a damage in words."""
    return (
        f"{damage.path} {damage.reason} (offset {damage.offset:,}, group {damage.group}); records "
        f"{damage.first_sequence} to {damage.last_sequence} were durable and are missing."
    )


@final
class _Window:
    """A file read a megabyte at a time, because most groups are small."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._start = 0
        self._data = b""

    def _read(self, length: int, offset: int) -> bytes:
        start = offset - self._start
        if start < 0 or start + length > len(self._data):
            self._data = self._file.read(max(length, _WINDOW_BYTES), offset)
            self._start, start = offset, 0
        return self._data[start : start + length]

    def frame(self, offset: int) -> tuple[GroupHead, bytes]:
        """Return the proven frame at `offset`."""
        head = decode_head(self._read(GROUP_HEAD_BYTES, offset))
        payload = self._read(head.length, offset + GROUP_HEAD_BYTES)
        check_payload(head, payload)
        return head, payload

    def search(self, position: LogEnd) -> LogEnd | None:
        """Return the place of the next whole group behind `position` in its file."""
        size = self._file.size()
        for offset in range(position.offset + SECTOR_BYTES, size, SECTOR_BYTES):
            if self._read(len(GROUP_MAGIC), offset) != GROUP_MAGIC:
                continue
            try:
                head, _ = self.frame(offset)
            except FrameFault:
                continue
            if head.file == position.file and head.group > position.group:
                group = head.group - 1 if head.records else head.group
                sequence = head.first_sequence - 1
                return LogEnd(group, head.previous_chain, sequence, head.file, offset)
        return None

    def close(self) -> None:
        self._file.close()
