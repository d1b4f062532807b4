"""The index: event rows in Parquet, a directory for each stretch of the log.

```
<home>/provenance/
  0000000000000001-0000000000004711/   commits 1 to 4711
    events.parquet    the rows (schema.py), sorted by id
    edges.parquet     parent, child, event: who came from whom
    flow.msgpack      the flow model in force after commit 4711 (absent: none was known)
  snapshot-0000000000009000/           live flowfiles after commit 9000, same files
  building-…/                          unfinished; swept away by the next builder
  lock                                 held by the one builder
```

A segment appears by one rename of its directory and is never changed. Everything about the index
is in its names: what is indexed, where the next builder starts, which segments a merged one
replaces (a name inside another name's range is a leftover of a crash during merging: it is not
read, and the next builder removes it). So there is no state file that could disagree. Deleting
the directory loses nothing that the log still has.

A reader lists the names and opens the files; a builder that merges at that moment may take files
away from under it, so whoever queries lists again and repeats (`search.py`).

Only a builder writes (`index_builder.py`, under `lock`); this module holds what both need.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, final

from provenance.schema import ROW_GROUP_ROWS, edge_schema, event_schema

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow has no types

EVENTS: Final = "events.parquet"
EDGES: Final = "edges.parquet"
FLOW: Final = "flow.msgpack"
MERGE_COUNT: Final = 8
"""So many neighbours of one size become one of the next size."""
MERGED_BYTES: Final = 128 * 2**20
"""A segment of this size is not merged further: retention drops whole segments."""
DAY_SECONDS: Final = 86_400.0
DEFAULT_MAX_SECONDS: Final = 30 * DAY_SECONDS
DEFAULT_MAX_BYTES: Final = 10 * 10**9

_SEGMENT_NAME = re.compile(r"(\d{16})-(\d{16})")
_SNAPSHOT_NAME = re.compile(r"snapshot-(\d{16})")


class IndexBusyError(RuntimeError):
    """Another builder holds the index."""


class Segment(NamedTuple):
    """A readable stretch of the index: commits `first` to `last`, both included."""

    first: int
    last: int
    path: Path

    def bytes(self) -> int:
        """Size on disk."""
        return sum(file.stat().st_size for file in self.path.iterdir())


@final
class Index:
    """The index's directory. Holds no file open and caches nothing: names are the truth."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def segments(self) -> list[Segment]:
        """Return the segments in log order, without leftovers."""
        found = []
        for name in self._names():
            match = _SEGMENT_NAME.fullmatch(name)
            if match:
                found.append(Segment(int(match[1]), int(match[2]), self.directory / name))
        # Of two that begin together the longer comes first and hides the other.
        found.sort(key=lambda segment: (segment.first, -segment.last))
        kept: list[Segment] = []
        for segment in found:
            if not kept or segment.last > kept[-1].last:
                kept.append(segment)
        return kept

    def snapshots(self) -> list[Segment]:
        """Return the snapshots, oldest first; `first` and `last` are the commit they follow."""
        found = []
        for name in self._names():
            match = _SNAPSHOT_NAME.fullmatch(name)
            if match:
                found.append(Segment(int(match[1]), int(match[1]), self.directory / name))
        return sorted(found)

    def _names(self) -> list[str]:
        try:
            return sorted(os.listdir(self.directory))
        except FileNotFoundError:
            return []

    @property
    def indexed_sequence(self) -> int:
        """The last commit that is in the index; 0: none. Log files behind it may go."""
        segments = self.segments()
        return segments[-1].last if segments else 0

    def flow(self) -> bytes | None:
        """Return the encoded flow model in force after `indexed_sequence`, where it is known."""
        segments = self.segments()
        try:
            return (segments[-1].path / FLOW).read_bytes() if segments else None
        except FileNotFoundError:
            return None

    @contextmanager
    def building(self) -> Iterator[None]:
        """Hold the index for writing, sweeping away what a crash left behind.

        Raises:
            IndexBusyError: another builder holds it.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        with open(self.directory / "lock", "wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise IndexBusyError(
                    f"Provenance index {self.directory}: another builder is at work; "
                    "wait until it has ended"
                ) from None
            self._sweep()
            yield

    def _sweep(self) -> None:
        readable = {segment.path for segment in (*self.segments(), *self.snapshots())}
        for path in self.directory.iterdir():
            if path.is_dir() and path not in readable:
                shutil.rmtree(path)

    def write(
        self, name: str, tables: "tuple[Iterable[pa.Table], Iterable[pa.Table]]", flow: bytes | None
    ) -> None:
        """Write event and edge tables as the directory `name` and make it appear."""
        building = self.directory / f"building-{name}"
        building.mkdir()
        _write_parquet(building / EVENTS, tables[0], event_schema())
        _write_parquet(building / EDGES, tables[1], edge_schema())
        if flow is not None:
            (building / FLOW).write_bytes(flow)
        for path in (*building.iterdir(), building):
            _sync(path)
        os.rename(building, self.directory / name)
        _sync(self.directory)

    def merge(self) -> bool:
        """Merge one group of small neighbours; False when there is none."""
        group = _mergeable(self.segments())
        if not group:
            return False
        name = segment_name(group[0].first, group[-1].last)
        events = _row_groups([segment.path / EVENTS for segment in group])
        edges = _row_groups([segment.path / EDGES for segment in group])
        flow = group[-1].path / FLOW
        self.write(name, (events, edges), flow.read_bytes() if flow.exists() else None)
        for segment in group:
            shutil.rmtree(segment.path)
        return True

    def retain(
        self,
        now: float,
        *,
        max_seconds: float = DEFAULT_MAX_SECONDS,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> list[Segment]:
        """Drop the oldest segments beyond the limits, and return them.

        A segment's age is that of its newest event. The newest segment stays in any case: its name
        says how far the log is indexed. `now` is seconds since the epoch. A snapshot goes when a
        later one still precedes the oldest segment.
        """
        segments = self.segments()
        total = sum(segment.bytes() for segment in segments)
        dropped: list[Segment] = []
        for segment in segments[:-1]:
            size = segment.bytes()
            newest = _newest(segment)
            if total <= max_bytes and (newest is None or now - newest <= max_seconds):
                break
            shutil.rmtree(segment.path)
            dropped.append(segment)
            total -= size
        if dropped:
            oldest = segments[len(dropped)].first
            before = [snapshot for snapshot in self.snapshots() if snapshot.last < oldest]
            for snapshot in before[:-1]:
                shutil.rmtree(snapshot.path)
        return dropped

    def clear(self) -> None:
        """Delete the whole index; the next builder makes it again as far as the log reaches."""
        shutil.rmtree(self.directory, ignore_errors=True)


def segment_name(first: int, last: int) -> str:
    """The directory of commits `first` to `last`."""
    return f"{first:016d}-{last:016d}"


def snapshot_name(sequence: int) -> str:
    """The directory of the snapshot taken after commit `sequence`."""
    return f"snapshot-{sequence:016d}"


def _mergeable(segments: list[Segment]) -> list[Segment]:
    """The newest group of neighbours of one size class, MERGE_COUNT of them; else empty."""
    group: list[Segment] = []
    size_class = -1
    for segment in reversed(segments):
        size = segment.bytes()
        # A power of eight in bytes, so that merging a group makes one of the next class.
        found = (size.bit_length() - 1) // 3 if size < MERGED_BYTES // MERGE_COUNT else -1
        adjoins = bool(group) and group[0].first == segment.last + 1
        if found >= 0 and found <= size_class and adjoins:
            group.insert(0, segment)
        else:
            group = [segment] if found >= 0 else []
            size_class = found
        if len(group) == MERGE_COUNT:
            return group
    return []


def _newest(segment: Segment) -> float | None:
    """The time of a segment's newest event, from the file's own statistics; seconds."""
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # pyarrow has no types

    metadata = pq.read_metadata(segment.path / EVENTS)
    column = metadata.schema.names.index("time")
    newest = [
        metadata.row_group(number).column(column).statistics.max.timestamp()
        for number in range(metadata.num_row_groups)
        if metadata.row_group(number).num_rows
    ]
    return max(newest, default=None)


def _row_groups(paths: Sequence[Path]) -> "Iterator[pa.Table]":
    """Read files a row group at a time, so that merging needs the memory of one."""
    import pyarrow.parquet as pq

    for path in paths:
        with pq.ParquetFile(path) as file:
            for number in range(file.num_row_groups):
                yield file.read_row_group(number)


def _write_parquet(path: Path, tables: "Iterable[pa.Table]", schema: "pa.Schema") -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table.cast(schema), row_group_size=ROW_GROUP_ROWS)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
