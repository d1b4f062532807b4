"""Where segments lie, which are open, and how long those stay that nobody refers to.

    000000000042.segment                              live: written, or referenced by flowfiles
    000000000042.1763927460123.67108864.archived      archived: since (ms since the epoch), bytes

Both lie in one directory. A segment is archived by a rename within it, which a file system does
whole or not at all; between two directories a crash could keep one half. The name tells age and
size, so that a start opens no file. No name is synced when it changes: a rename or a removal
that a crash undoes is found again as an unreferenced segment and done again.

The file with the highest id is never removed, so ids found by scanning never run backwards and
no id is given twice, however the node stopped.
"""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtime.clock import Clock
from runtime.disk import Disk, File

_LIVE: Final = re.compile(r"([0-9]{12,18})\.segment")
_ARCHIVED: Final = re.compile(r"([0-9]{12,18})\.([0-9]{1,18})\.([0-9]{1,18})\.archived")


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How much archived content is kept; the strictest limit counts.

    `age_seconds` is counted from the moment of archiving, `size_bytes` over all archived
    segments, `disk_share` (0 to 1) is their part of the whole disk.
    """

    age_seconds: float = 30 * 86_400.0
    size_bytes: int = 10 * 2**30
    disk_share: float = 0.5


@dataclass(frozen=True, slots=True)
class ArchivedSegment:
    """One archived segment; `since` is on the monotonic clock, in seconds."""

    segment: int
    path: Path
    size: int
    since: float


def live_path(directory: Path, segment: int) -> Path:
    """Return where a segment lies that is not archived."""
    return directory / f"{segment:012d}.segment"


def list_live(directory: Path, disk: Disk) -> set[int]:
    """Return the ids of the segments that are not archived."""
    matches = map(_LIVE.fullmatch, disk.names(directory))
    return {int(match[1]) for match in matches if match}


class ContentArchive:
    """The archived segments, oldest first; owned by whoever holds the store's maintenance lock.

    `path` may be called from any thread.
    """

    def __init__(self, directory: Path, *, disk: Disk, clock: Clock, limits: ArchiveLimits) -> None:
        self._directory = directory
        self._disk = disk
        self._clock = clock
        self.limits = limits
        found = sorted(self._scan(), key=lambda archived: (archived.since, archived.segment))
        self._segments = {archived.segment: archived for archived in found}
        self.size_bytes = sum(archived.size for archived in found)

    def _scan(self) -> Iterator[ArchivedSegment]:
        live = list_live(self._directory, self._disk)
        wall, monotonic = self._clock.wall(), self._clock.monotonic()
        for match in map(_ARCHIVED.fullmatch, self._disk.names(self._directory)):
            if match and int(match[1]) not in live:
                # From here on ages run on the monotonic clock: a wall clock that jumps
                # must not empty the archive.
                age = max(0.0, wall - int(match[2]) / 1000)
                path = self._directory / match[0]
                yield ArchivedSegment(int(match[1]), path, int(match[3]), monotonic - age)

    def __contains__(self, segment: int) -> bool:
        return segment in self._segments

    def __iter__(self) -> Iterator[ArchivedSegment]:
        return iter(list(self._segments.values()))

    def path(self, segment: int) -> Path | None:
        """Return where an archived segment lies; None when it is not archived."""
        archived = self._segments.get(segment)
        return archived.path if archived else None

    def add(self, segment: int, size: int) -> None:
        """Rename a live segment of `size` bytes into the archive."""
        milliseconds = max(0, int(self._clock.wall() * 1000))
        path = self._directory / f"{segment:012d}.{milliseconds}.{size}.archived"
        # Known before the rename: a reader that misses the live name then finds this one.
        self._segments[segment] = ArchivedSegment(segment, path, size, self._clock.monotonic())
        try:
            self._disk.rename(live_path(self._directory, segment), path)
        except OSError:
            del self._segments[segment]
            raise
        self.size_bytes += size

    def expire(self, may_remove: Callable[[int], bool], needed_free_bytes: int) -> list[int]:
        """Remove the oldest segments until limits and free space are met; return their ids.

        Those that `may_remove` refuses stay.
        """
        allowed = min(
            self.limits.size_bytes,
            int(self.limits.disk_share * self._disk.total_bytes(self._directory)),
        )
        shortfall = needed_free_bytes - self._disk.free_bytes(self._directory)
        oldest = self._clock.monotonic() - self.limits.age_seconds
        removed: list[int] = []
        for archived in self:
            if archived.since >= oldest and self.size_bytes <= allowed and shortfall <= 0:
                break
            if may_remove(archived.segment):
                self._remove(archived)
                shortfall -= archived.size
                removed.append(archived.segment)
        return removed

    def _remove(self, archived: ArchivedSegment) -> None:
        with suppress(FileNotFoundError):
            self._disk.remove(archived.path)
        del self._segments[archived.segment]
        self.size_bytes -= archived.size


class SegmentFile:
    """An open segment; `sync` makes its bytes and, the first time, its name durable."""

    __slots__ = (
        "_created",
        "_file",
        "_files",
        "active",
        "gone",
        "segment",
        "synced",
        "touched",
        "users",
        "written",
    )

    def __init__(self, files: "SegmentFiles", segment: int, file: File, created: int) -> None:
        self._files = files
        self._file = file
        self._created = created
        self.segment = segment
        self.written = 0
        self.synced = 0
        self.users = 0
        self.active = created > 0
        self.gone = False
        self.touched = False

    def write(self, data: bytes | bytearray | memoryview, offset: int) -> None:
        """Write at `offset`, which must be the end of what is written."""
        assert offset == self.written, f"Segment {self.segment} is written only at its end."
        self._file.write(data, offset)
        self.written = offset + len(data)

    def read(self, length: int, offset: int) -> bytes:
        return self._file.read(length, offset)

    def size(self) -> int:
        return self._file.size()

    def truncate(self, size: int) -> None:
        self._file.truncate(size)

    def sync(self) -> None:
        if not self._files.hold(self):
            return
        try:
            target = self.written
            self._file.sync()
            self._files.sync_name(self._created)
            self.synced = max(self.synced, target)
        finally:
            self._files.release(self)

    def close(self) -> None:
        self._file.close()

    def is_closable(self) -> bool:
        """Whether neither a writer nor a reader nor a coming sync needs it open."""
        return not self.active and not self.users and self.synced >= self.written


class SegmentFiles:
    """The open segment files, by segment; safe to call from any thread.

    At most `open_files_max` that can be closed are kept open: a descriptor that a reader uses is
    never closed under it, since its number may by then belong to another file.
    """

    def __init__(
        self, directory: Path, *, disk: Disk, archive: ContentArchive, open_files_max: int = 256
    ) -> None:
        self.directory = directory
        self._disk = disk
        self._archive = archive
        self._open_files_max = open_files_max
        self._open: dict[int, SegmentFile] = {}
        self._lock = threading.Lock()
        found = list_live(directory, disk).union(entry.segment for entry in archive)
        self._last_id = max(found, default=0)
        self._last_created_id = self.last_durable_id = self._last_id
        self._created_count = self._created_durable = 0

    def raise_last_id(self, segment: int) -> None:
        """Give out no id up to `segment`."""
        with self._lock:
            self._last_id = max(self._last_id, segment)

    def reserve(self) -> int:
        """Return the id of a segment to come."""
        with self._lock:
            self._last_id += 1
            return self._last_id

    def create(self, segment: int) -> SegmentFile:
        """Create the file of a reserved segment."""
        file = self._disk.create(live_path(self.directory, segment))
        with self._lock:
            self._created_count += 1
            self._last_created_id = max(self._last_created_id, segment)
            opened = self._open[segment] = SegmentFile(self, segment, file, self._created_count)
            return opened

    def sync_name(self, created: int) -> None:
        """Sync the directory, unless that was done since the `created`-th file was made."""
        with self._lock:
            if created <= self._created_durable:
                return
            count, last_id = self._created_count, self._last_created_id
        self._disk.sync_directory(self.directory)
        with self._lock:
            self._created_durable = max(self._created_durable, count)
            self.last_durable_id = max(self.last_durable_id, last_id)

    def acquire(self, segment: int) -> SegmentFile:
        """Return a segment's open file, for `release`; FileNotFoundError when it is gone."""
        with self._lock:
            file = self._open.get(segment)
            if file is not None:
                file.users += 1
                file.touched = True
                return file
        opened = SegmentFile(self, segment, self._open_path(segment), 0)
        with self._lock:
            file = self._open.setdefault(segment, opened)
            file.users += 1
            closing = self._evict()
        for closable in closing if file is opened else [*closing, opened]:
            closable.close()
        return file

    def hold(self, file: SegmentFile) -> bool:
        """Acquire a file that was handed out before; False when nothing of it needs a sync.

        That is so when its segment was removed, since nobody referred to it, or when all of it
        was synced and it was closed.
        """
        with self._lock:
            file.users += not file.gone
            return not file.gone

    def _open_path(self, segment: int) -> File:
        try:
            return self._disk.open(live_path(self.directory, segment))
        except FileNotFoundError:
            archived = self._archive.path(segment)
            if archived is None:
                raise
            return self._disk.open(archived)

    def _evict(self) -> list[SegmentFile]:
        """Take out files that may be closed, the recently read ones only on a second look."""
        evicted: list[SegmentFile] = []
        for file in list(self._open.values()) if len(self._open) > self._open_files_max else ():
            if not file.is_closable():
                continue
            del self._open[file.segment]
            if file.touched:
                file.touched = False
                self._open[file.segment] = file
            else:
                file.gone = True
                evicted.append(file)
            if len(self._open) <= self._open_files_max:
                break
        return evicted

    def release(self, file: SegmentFile) -> None:
        """Give back what `acquire` returned."""
        with self._lock:
            file.users -= 1
            unused = file.gone and not file.users
        if unused:
            file.close()

    def drop(self, segment: int) -> None:
        """Close the file of a removed segment, once its last reader has released it."""
        with self._lock:
            file = self._open.pop(segment, None)
            if file is None:
                return
            file.gone = True
            unused = not file.users
        if unused:
            file.close()

    def close(self) -> None:
        """Close all files; nothing may be read or written afterwards."""
        with self._lock:
            files = list(self._open.values())
            self._open.clear()
        for file in files:
            file.close()
