"""After a crash: settle the log; after rot: say what a repair would cut, and do it if told so.

    settle_log(reading)   every start: sync what was read beyond the mark, set cut files aside,
                          move the mark; only then may a record count as durable again
    verify_log(...)       read all there is and list every damage; changes nothing
    repair_log(...)       end the log before the first damage, because a record refers to earlier
                          ones and cannot be applied behind a gap; nothing is done, and nothing
                          is lost, without `confirmed=True`

What is cut is never overwritten: the bytes behind the new end stay in their file, dead because
the next file's header names the end before them; whole later files become `NNNNNNNN.log.cut`.
A crash in the middle is harmless: files are set aside first, then the mark moves, so a second
run finds the same end and goes on.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runtime.disk import Disk
from runtime.log_files import CUT_SUFFIX, LOG_SUFFIX, file_numbers, file_path, used_bytes
from runtime.log_format import LOG_START, SECTOR_BYTES, LogEnd, sector_end
from runtime.log_reader import LogCut, LogDamage, LogReading, find_cut, read_log
from runtime.mark import MARK_NAME, create_mark, read_mark


def settle_log(reading: LogReading, *, home: int) -> LogEnd:
    """Make what an exhausted `reading` gave out durable and return its end, to start a Log with.

    Only for a stopped home. The tail of the last file is shortened to the bytes that are used.
    """
    assert reading.exhausted, "a reading is settled when it was read to its end"
    directory, disk, end = reading.directory, reading.disk, reading.end
    # Asked for before the files move, so that the reading can still tell it afterwards.
    _ = reading.cut
    for number in reading.touched:
        _sync_file(directory, disk, number, end)
    if end == LOG_START and not file_numbers(directory, disk):
        return end
    _set_aside(directory, disk, end)
    create_mark(disk, directory / MARK_NAME, home=home, end=end)
    return end


def _sync_file(directory: Path, disk: Disk, number: int, end: LogEnd) -> None:
    """Sync a file; the last one loses the zeros that follow both its end and its last byte."""
    used = max(sector_end(used_bytes(directory, disk, number)), end.offset)
    file = disk.open(file_path(directory, number))
    try:
        if number == end.file and used < file.size():
            file.truncate(used)
        file.sync()
    finally:
        file.close()


def _set_aside(directory: Path, disk: Disk, end: LogEnd) -> list[Path]:
    """Rename the files behind `end`; one that holds no more than a header is removed."""
    kept = []
    for number in file_numbers(directory, disk):
        if number <= end.file:
            continue
        path = file_path(directory, number)
        if used_bytes(directory, disk, number) <= SECTOR_BYTES:
            disk.remove(path)
            continue
        target = path.with_name(path.name.removesuffix(LOG_SUFFIX) + CUT_SUFFIX)
        disk.rename(path, target)
        kept.append(target)
    disk.sync_directory(directory)
    return kept


@dataclass(frozen=True, slots=True)
class LogReport:
    """What `verify_log` found: whole records, their end, rot, and a tail that does not count."""

    records: int
    groups: int
    end: LogEnd
    damages: tuple[LogDamage, ...]
    cut: LogCut | None


def verify_log(directory: Path, disk: Disk, *, home: int | None = None) -> LogReport:
    """Read the whole log past every damage. Raises LogDamagedError when the mark is unreadable."""
    damages: list[LogDamage] = []
    reading = read_log(directory, disk, after=0, home=home, damaged=damages.append)
    records = groups = 0
    for group in reading.groups():
        groups += 1
        records += len(group.records)
    return LogReport(records, groups, reading.end, tuple(damages), reading.cut)


@dataclass(frozen=True, slots=True)
class LogRepair:
    """What a repair cuts, or has cut when `done`.

    The log will end at `keep`. `lost_last` is the last durable record by the mark, None when no
    mark is whole; `set_aside` are the files that are renamed, `cut` all that stops counting.
    """

    keep: LogEnd
    lost_first: int
    lost_last: int | None
    cut: LogCut | None
    done: bool = False
    set_aside: tuple[Path, ...] = field(default=())

    @property
    def needed(self) -> bool:
        """Whether the log lacks something before its mark, or has no mark."""
        return self.lost_last is None or self.lost_last >= self.lost_first

    def describe(self) -> Iterator[str]:
        """Yield sentences that tell a person what the repair costs."""
        if not self.needed:
            yield "The log is whole up to its mark; nothing is to be repaired."
            return
        known = self.lost_last
        lost = f"records {self.lost_first} to {known}" if known else "an unknown number of records"
        yield f"The log will end after record {self.keep.sequence}; {lost} that were durable go."
        if self.cut is not None and self.cut.tail_bytes:
            path = file_path(Path(), self.keep.file)
            yield f"{self.cut.tail_bytes:,} bytes of {path} stop counting and stay in the file."
        for path in self.cut.files if self.cut is not None else ():
            yield f"{path.name} is set aside as {path.name}.cut."


def repair_log(
    directory: Path,
    disk: Disk,
    *,
    home: int,
    after: LogEnd,
    confirmed: bool = False,
) -> LogRepair:
    """Return what ending the log before its first damage cuts; do it when `confirmed`.

    Only for a stopped home. `after` is the end that the checkpoint in use names, `LOG_START` for
    none: rot before it needs no repair, and the log is kept from there on.
    """
    path = directory / MARK_NAME
    mark = read_mark(disk, path) if disk.exists(path) else None
    # Judged by `after` alone, everything bad is a tail: reading ends where the repair has to cut.
    reading = LogReading(
        directory,
        disk,
        after=after,
        home=home,
        mark=LOG_START,
        accept=None,
        damaged=None,
        to="end",
    )
    for _ in reading.groups():
        pass
    keep = reading.end
    cut = find_cut(directory, disk, end=keep, reason="is cut by repair")
    plan = LogRepair(keep, keep.sequence + 1, mark.end.sequence if mark else None, cut)
    if not (confirmed and plan.needed):
        return plan
    kept = _set_aside(directory, disk, keep)
    for number in reading.touched:
        _sync_file(directory, disk, number, keep)
    create_mark(disk, path, home=home, end=keep)
    return LogRepair(keep, plan.lost_first, plan.lost_last, cut, True, tuple(kept))
