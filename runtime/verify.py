"""Whether a home's log, checkpoints, queues and contents agree; and what a repair would cut.

Reads a stopped home; changes nothing but in `repair_home(confirmed=True)`. Every record is also
decoded a second time, by another MessagePack implementation than the one that wrote it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgpack

from runtime import commit as commits
from runtime.checkpoint import CheckpointDamagedError, Head, load_newest
from runtime.clock import SystemClock
from runtime.content import ContentError, ContentStore
from runtime.disk import SystemDisk
from runtime.fold import Fold, FoldError
from runtime.home import read_node_file
from runtime.log_format import LogEnd
from runtime.log_reader import LogDamagedError, damage_sentence, read_log
from runtime.log_repair import LogRepair, repair_log, verify_log


@dataclass
class HomeReport:
    """What verifying found; `problems` is empty when everything agrees."""

    records: int = 0
    sequence: int = 0
    flowfiles: int = 0
    connections: dict[int, int] = field(default_factory=dict)
    contents: int = 0
    content_bytes: int = 0
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def log_home(home: Path) -> int:
    """Return the bits that a home's log carries."""
    node = read_node_file(home)
    return node.formerly[0][0] if node.formerly else node.home


def verify_home(home: Path) -> HomeReport:
    """Check everything that a home holds.

    Raises:
        HomeError: there is no home.
    """
    report = HomeReport()
    bits = log_home(home)
    disk = SystemDisk()
    try:
        found = verify_log(home / "log", disk, home=bits)
    except LogDamagedError as error:
        report.problems.append(str(error))
        return report
    report.records = found.records
    report.problems += [damage_sentence(one) for one in found.damages]
    if found.cut is not None:
        report.remarks.append(f"The log has a tail that does not count: {found.cut.reason}")
    fold = _fold(home, bits, report)
    if fold is not None:
        report.sequence = fold.sequence
        report.flowfiles = fold.count()
        report.connections = {id: len(queue) for id, queue in fold.queues.items() if queue}
        _check_contents(home, fold, report)
    return report


def _fold(home: Path, bits: int, report: HomeReport) -> Fold | None:
    disk = SystemDisk()
    head, fold = _checkpoint(home, bits, report)
    try:
        reading = read_log(
            home / "log", disk, after=head.end if head is not None else LogEnd(), home=bits
        )
        for sequence, _, data in reading:
            if msgpack.unpackb(data, strict_map_key=False) is None:
                report.problems.append(f"Record {sequence} is empty")
            fold.apply(sequence, commits.decode(data))
    except (LogDamagedError, FoldError) as error:
        report.problems.append(str(error))
        return None
    return fold


def _checkpoint(home: Path, bits: int, report: HomeReport) -> tuple[Head | None, Fold]:
    try:
        newest = load_newest(home / "checkpoints", SystemDisk(), bits)
    except CheckpointDamagedError as error:
        report.problems.append(str(error))
        return None, Fold()
    if newest is None:
        return None, Fold()
    head, fold, problems = newest
    report.problems += problems
    return head, fold


def _check_contents(home: Path, fold: Fold, report: HomeReport) -> None:
    store = ContentStore(home / "content", disk=SystemDisk(), clock=SystemClock())
    try:
        for connection, queue in fold.queues.items():
            for entry in queue.values():
                claim = entry.flowfile.claim
                if claim is None:
                    continue
                report.contents += 1
                report.content_bytes += claim.length
                try:
                    whole = store.verify(claim)
                except ContentError as error:
                    report.problems.append(f"Connection {connection}: {error}")
                    continue
                if not whole:
                    report.problems.append(
                        f"Connection {connection}: the content of flowfile "
                        f"{entry.flowfile.id:#x} does not match its checksum (segment "
                        f"{claim.segment}, byte {claim.offset})"
                    )
    finally:
        store.close()


def repair_home(home: Path, *, confirmed: bool) -> LogRepair:
    """Say what ending the log before its first damage loses; do it when `confirmed`.

    Raises:
        HomeError: there is no home.
        CheckpointDamagedError: no checkpoint is whole.
    """
    bits = log_home(home)
    disk = SystemDisk()
    newest = load_newest(home / "checkpoints", disk, bits)
    after = newest[0].end if newest is not None else LogEnd()
    return repair_log(home / "log", disk, home=bits, after=after, confirmed=confirmed)


def report_lines(report: HomeReport) -> Iterator[str]:
    """Yield a report as lines for people."""
    yield f"{report.records:,} records, the last is {report.sequence:,}"
    yield f"{report.flowfiles:,} live flowfiles in {len(report.connections)} connections"
    yield f"{report.contents:,} contents, {report.content_bytes:,} bytes, compared with checksums"
    yield from report.remarks
    if report.problems:
        yield f"{len(report.problems)} problem(s):"
        yield from (f"  {one}" for one in report.problems)
    else:
        yield "Log, checkpoints, queues and contents agree"
