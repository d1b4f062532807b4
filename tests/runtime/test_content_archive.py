import errno
from pathlib import Path

import pytest

from runtime.clock import ManualClock
from runtime.content_archive import ArchiveLimits, ContentArchive, SegmentFiles, live_path
from runtime.disk import SystemDisk
from runtime.memory_disk import MemoryDisk

HOME = Path("/home/content")


class World:
    """Live segments of 10 bytes each in memory, and the archive over them."""

    def __init__(self, *, capacity_bytes: int = 10**6, **limits: float) -> None:
        self.disk = MemoryDisk(capacity_bytes)
        self.clock = ManualClock()
        self.limits = ArchiveLimits(**limits)  # type: ignore[arg-type]  # sizes are whole numbers
        self.archive = self.reopened()

    def reopened(self) -> ContentArchive:
        return ContentArchive(HOME, disk=self.disk, clock=self.clock, limits=self.limits)

    def add(self, *segments: int) -> None:
        for segment in segments:
            self.disk.create(live_path(HOME, segment)).write(bytes(10), 0)
            self.archive.add(segment, 10)


def anything(segment: int) -> bool:
    return True


def test_an_archived_segment_keeps_its_bytes_under_another_name() -> None:
    world = World()
    world.add(7)

    path = world.archive.path(7)

    assert path == HOME / "000000000007.1700000000000.10.archived"
    assert world.disk.open(path).read(99, 0) == bytes(10)
    assert not world.disk.exists(live_path(HOME, 7))


def test_a_new_archive_finds_sizes_and_ages_in_the_names() -> None:
    world = World(age_seconds=100)
    world.add(1)
    world.clock.advance(60)
    world.add(2)

    archive = world.reopened()
    world.clock.advance(50)

    assert archive.size_bytes == 20
    assert archive.expire(anything, 0) == [1]
    assert archive.size_bytes == 10


def test_segments_are_removed_only_after_their_age() -> None:
    world = World(age_seconds=100)
    world.add(1)

    world.clock.advance(100)
    assert world.archive.expire(anything, 0) == []
    world.clock.advance(1)

    assert world.archive.expire(anything, 0) == [1]
    assert world.disk.names(HOME) == []


def test_a_wall_clock_that_jumps_does_not_empty_the_archive() -> None:
    world = World(age_seconds=100)
    world.add(1)

    world.clock.jump(10_000)

    assert world.archive.expire(anything, 0) == []


def test_a_segment_archived_in_the_future_is_as_young_as_the_start() -> None:
    world = World(age_seconds=100)
    world.add(1)
    world.clock.jump(-10_000)

    archive = world.reopened()
    world.clock.advance(101)

    assert archive.expire(anything, 0) == [1]


def test_the_oldest_go_first_when_the_archive_is_too_large() -> None:
    world = World(size_bytes=20)
    world.add(3, 1, 2)

    assert world.archive.expire(anything, 0) == [3]


def test_the_archive_keeps_to_its_share_of_the_disk() -> None:
    world = World(capacity_bytes=100, disk_share=0.2)
    world.add(1, 2, 3)

    assert world.archive.expire(anything, 0) == [1]


def test_retention_removes_more_when_the_disk_needs_room() -> None:
    world = World(capacity_bytes=100, disk_share=1.0)
    world.add(1, 2, 3)

    assert world.archive.expire(anything, 71) == [1]
    assert world.archive.expire(anything, 80) == []


def test_a_segment_in_use_stays_and_a_younger_one_goes() -> None:
    world = World(size_bytes=10)
    world.add(1, 2)

    assert world.archive.expire(lambda segment: segment != 1, 0) == [2]
    assert world.archive.path(1) is not None


def test_a_segment_that_somebody_else_removed_is_taken_as_removed() -> None:
    world = World(size_bytes=0)
    world.add(1)
    world.disk.files.clear()

    assert world.archive.expire(anything, 0) == [1]
    assert world.archive.size_bytes == 0


def test_a_rename_that_the_disk_refuses_leaves_the_segment_live() -> None:
    def refuse(operation: str, path: Path, size: int) -> None:
        if operation == "rename":
            raise OSError(errno.EIO, "the disk refuses")

    world = World()
    world.disk.before = refuse  # type: ignore[method-assign]  # the disk's own point for faults
    with pytest.raises(OSError, match="the disk refuses"):
        world.add(5)

    assert (world.archive.path(5), world.archive.size_bytes) == (None, 0)


def test_names_of_other_files_are_passed_over() -> None:
    world = World()
    for name in ("lost+found", "1.segment", "000000000001.segment.old", "x.1.2.archived"):
        world.disk.create(HOME / name)

    assert list(world.reopened()) == []


def test_a_live_segment_wins_over_an_archived_one_of_the_same_id() -> None:
    world = World()
    world.add(1)
    world.disk.create(live_path(HOME, 1))

    assert list(world.reopened()) == []


def test_a_file_in_use_is_not_closed_when_too_many_are_open(tmp_path: Path) -> None:
    disk = SystemDisk()
    archive = ContentArchive(tmp_path, disk=disk, clock=ManualClock(), limits=ArchiveLimits())
    for segment in range(1, 9):
        live_path(tmp_path, segment).write_bytes(b"%d" % segment)
    files = SegmentFiles(tmp_path, disk=disk, archive=archive, open_files_max=2)

    used = files.acquire(1)
    for segment in range(2, 9):
        files.release(files.acquire(segment))
    assert used.read(1, 0) == b"1"
    files.drop(1)
    assert used.read(1, 0) == b"1"
    files.release(used)

    with pytest.raises(OSError, match="Bad file descriptor"):
        used.read(1, 0)
    files.close()


def test_one_sync_of_the_directory_serves_all_files_made_before_it() -> None:
    synced: list[Path] = []

    class CountingDisk(MemoryDisk):
        def sync_directory(self, path: Path) -> None:
            synced.append(path)
            super().sync_directory(path)

    disk = CountingDisk()
    archive = ContentArchive(HOME, disk=disk, clock=ManualClock(), limits=ArchiveLimits())
    files = SegmentFiles(HOME, disk=disk, archive=archive)
    made = [files.create(files.reserve()) for _ in range(3)]

    for file in [*made, *made]:
        file.sync()

    assert synced == [HOME]
    assert files.last_durable_id == 3
