"""Build the index in a process of its own: `python -m provenance.index_builder HOME --until N`.

Decoding at full rate in a thread of the node would take the GIL for most of a second, and a fork
of a process with threads may deadlock; so a fresh interpreter reads the log up to a sequence that
the node knows to be durable, writes segments and is gone, with its memory. `IndexBuilder` is the
node's side: it decides when, and starts never two at once.

A builder that is killed leaves an unfinished directory that the next one sweeps away; a segment
that has appeared is complete. What to index next follows from the names in the index, so a crash
at any point repeats nothing and skips nothing.
"""

import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, final

import click

from provenance.events import EventColumns
from provenance.home import open_home
from provenance.index import (
    DEFAULT_MAX_BYTES,
    DEFAULT_MAX_SECONDS,
    Index,
    IndexBusyError,
    segment_name,
    snapshot_name,
)
from provenance.names import FlowNames
from runtime.commit import Commit
from runtime.flowfile import FlowFile

SEGMENT_ROWS: Final = 1_000_000
SEGMENT_CHARACTERS: Final = 256 * 2**20
"""What a builder holds in memory before it writes a segment: about 0.5 GB at most."""

DUE_EVENTS: Final = 200_000
DUE_SECONDS: Final = 3600.0
BUSY_STATUS: Final = 75


def build(
    index: Index,
    names: FlowNames,
    commits: Iterable[tuple[int, Commit]],
    *,
    until: int,
    segment_rows: int = SEGMENT_ROWS,
) -> int:
    """Index commits (those after `index.indexed_sequence`, in order); return the rows written.

    The index then reaches to the last commit that came, which may lie before `until`: what could
    not be read now is left to the next builder. Must be called inside `index.building()`.
    """
    total = 0
    columns = EventColumns(names)
    first = index.indexed_sequence + 1
    last = 0
    for sequence, commit in commits:
        if sequence > until:
            break
        columns.add(sequence, commit)
        last = sequence
        if columns.rows >= segment_rows or columns.characters >= SEGMENT_CHARACTERS:
            total += _write(index, columns, first, sequence)
            columns = EventColumns(names)
            first = sequence + 1
    if first <= last:
        total += _write(index, columns, first, last)
    return total


def _write(index: Index, columns: EventColumns, first: int, last: int) -> int:
    events, edges = columns.tables()
    index.write(segment_name(first, last), ([events], [edges]), columns.names.encoded)
    return columns.rows


def write_snapshot(index: Index, sequence: int, time: int, flowfiles: Iterable[FlowFile]) -> None:
    """Give each live flowfile a row with all it has, as it was after commit `sequence`.

    For the moment when a log file goes that may hold their births: `flowfiles` is the newest
    checkpoint's content, `time` microseconds since the epoch. Writing the same one twice changes
    nothing.
    """
    if any(snapshot.last == sequence for snapshot in index.snapshots()):
        return
    columns = EventColumns(FlowNames())
    columns.add_snapshot(sequence, time, flowfiles)
    events, edges = columns.tables()
    index.write(snapshot_name(sequence), ([events], [edges]), None)


@final
class IndexBuilder:
    """The node's side. Used by one background thread; `indexed_sequence` may be read by any.

    `limits` are further arguments of the child: `--max-seconds`, `--max-bytes`.
    """

    def __init__(
        self,
        home: Path,
        *,
        due_events: int = DUE_EVENTS,
        due_seconds: float = DUE_SECONDS,
        limits: Sequence[str] = (),
    ) -> None:
        # The child runs elsewhere, so that it finds this package.
        self._home = home.resolve()
        self._index = Index(home / "provenance")
        self._due_events = due_events
        self._due_seconds = due_seconds
        self._limits = tuple(limits)
        self._child: subprocess.Popen[bytes] | None = None
        self._events_at_start = 0
        self._last_start: float | None = None
        self.indexed_sequence = self._index.indexed_sequence
        """Log files whose records are all up to here may go."""
        self.last_status: int | None = None
        """How the last child ended; None while none has."""

    def due(self, sequence: int, *, events: int, wall: float) -> bool:
        """Start a child when it is time and none runs; say whether one was started.

        Args:
            sequence: how far it may read: the durable sequence.
            events: events (or flowfile moves) that the node has counted since its start.
            wall: seconds since the epoch.
        """
        if self.running() or sequence <= self.indexed_sequence:
            return False
        if self._last_start is None:
            self._last_start = wall
        many = events - self._events_at_start >= self._due_events
        # A clock that was set back must not keep the index waiting for hours.
        late = not 0 <= wall - self._last_start < self._due_seconds
        if not many and not late:
            return False
        self.start(sequence, events=events, wall=wall)
        return True

    def start(self, sequence: int, *, events: int = 0, wall: float = 0.0) -> None:
        """Start a child now, unless one runs; retention calls it before it drops a log file."""
        if self.running():
            return
        self._events_at_start = events
        self._last_start = wall
        command = [sys.executable, "-m", "provenance.index_builder", str(self._home)]
        self._child = subprocess.Popen(
            [*command, "--until", str(sequence), *self._limits],
            stdin=subprocess.DEVNULL,
            cwd=Path(__file__).resolve().parent.parent,
        )

    def running(self) -> bool:
        """Whether a child is at work; takes notice of its end."""
        if self._child is None:
            return False
        status = self._child.poll()
        if status is None:
            return True
        self._child = None
        self.last_status = status
        self.indexed_sequence = self._index.indexed_sequence
        return False

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the child's end; `subprocess.TimeoutExpired` when it takes longer."""
        if self._child is not None:
            self._child.wait(seconds)
            self.running()

    def close(self) -> None:
        """End the child; the next one begins where the index ends."""
        if self._child is not None:
            self._child.terminate()
            self.wait()


@click.command()
@click.argument("home", type=click.Path(path_type=Path))
@click.option("--until", type=int, required=True, help="The last commit to index.")
@click.option("--max-seconds", type=float, default=DEFAULT_MAX_SECONDS, help="Age limit.")
@click.option("--max-bytes", type=int, default=DEFAULT_MAX_BYTES, help="Size limit.")
def main(home: Path, until: int, max_seconds: float, max_bytes: int) -> None:
    """Index the log of HOME, merge small segments, and drop what is beyond the limits."""
    # The node's own work goes first; and nothing here makes cycles that are worth collecting.
    os.nice(10)
    gc.disable()
    opened = open_home(home)
    index = opened.index
    try:
        with index.building():
            commits = opened.commits(index.indexed_sequence, until)
            build(index, opened.names(), commits, until=until)
            while index.merge():
                pass
            index.retain(time.time(), max_seconds=max_seconds, max_bytes=max_bytes)
    except IndexBusyError as error:
        click.echo(str(error), err=True)
        sys.exit(BUSY_STATUS)


if __name__ == "__main__":
    main()
