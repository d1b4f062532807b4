"""Spares: complete files of zeros, made ahead, with the last one kept as ballast."""

import threading
from pathlib import Path

import pytest

from runtime.clock import ManualClock, SystemClock
from runtime.disk import SystemDisk
from runtime.log_spares import Spares
from runtime.memory_disk import MemoryDisk
from tests.faulty_disk import FaultyDisk
from tests.log_world import DIRECTORY

FILE_BYTES = 8192


def spares_on(disk: MemoryDisk) -> Spares:
    return Spares(
        DIRECTORY, disk=disk, clock=ManualClock(), file_bytes=FILE_BYTES, background=False
    )


def test_taken_spare_is_a_synced_file_of_zeros_and_is_replaced() -> None:
    disk = MemoryDisk()
    spares = spares_on(disk)

    spares.take(DIRECTORY / "00000001.log")
    disk.lose_power()

    assert disk.files[DIRECTORY / "00000001.log"].data == bytes(FILE_BYTES)
    assert disk.names(DIRECTORY) == ["00000001.log", "spare-1", "spare-2"]
    assert spares.next_ready


def test_start_adopts_complete_spares_and_removes_half_made_ones() -> None:
    disk = MemoryDisk()
    for name, size in (("spare-1", FILE_BYTES), ("spare-2", 512), ("spare-2.part", FILE_BYTES)):
        disk.create(DIRECTORY / name).write(bytes(size), 0)

    spares = spares_on(disk)

    assert disk.names(DIRECTORY) == ["spare-1"]
    assert not spares.next_ready


def test_full_disk_is_told_and_tried_again_when_room_is_made() -> None:
    disk = MemoryDisk(capacity_bytes=FILE_BYTES * 2)
    spares = spares_on(disk)
    spares.take(DIRECTORY / "00000001.log")
    assert spares.blocked is not None
    assert "No space left" in str(spares.blocked)
    assert disk.names(DIRECTORY) == ["00000001.log", "spare-1"]

    disk.capacity_bytes *= 2
    spares.retry()

    assert spares.blocked is None
    assert spares.next_ready


def test_taking_without_room_for_a_file_gives_the_error_of_the_disk() -> None:
    with pytest.raises(OSError, match="No space left on device"):
        spares_on(MemoryDisk(capacity_bytes=100)).take(DIRECTORY / "00000001.log")


def test_name_of_the_taken_ballast_survives_a_power_loss() -> None:
    disk = MemoryDisk(capacity_bytes=FILE_BYTES * 2)
    spares = spares_on(disk)
    spares.take(DIRECTORY / "00000001.log")

    spares.take(DIRECTORY / "00000002.log")
    disk.lose_power()

    assert disk.names(DIRECTORY) == ["00000001.log", "00000002.log"]


@pytest.mark.parametrize("fail_at", range(1, 12))
def test_interrupted_making_leaves_nothing_that_is_taken_for_a_spare(fail_at: int) -> None:
    disk = FaultyDisk()
    spares = spares_on(disk)
    disk.fail_at = fail_at
    try:
        spares.take(DIRECTORY / "00000001.log")
    except OSError:
        disk.fail_at = None
    disk.fail_at = None
    disk.lose_power()

    spares_on(disk).take(DIRECTORY / "00000002.log")

    assert disk.files[DIRECTORY / "00000002.log"].data == bytes(FILE_BYTES)


def test_thread_makes_spares_ahead_and_stops_in_the_middle_of_a_large_one(tmp_path: Path) -> None:
    class WatchedDisk(SystemDisk):
        def __init__(self) -> None:
            self.renamed = threading.Semaphore(0)

        def rename(self, source: Path, target: Path) -> None:
            super().rename(source, target)
            self.renamed.release()

    disk = WatchedDisk()
    spares = Spares(
        tmp_path, disk=disk, clock=SystemClock(), file_bytes=FILE_BYTES, background=True
    )
    assert disk.renamed.acquire(timeout=20)
    assert disk.renamed.acquire(timeout=20)
    spares.close()
    assert disk.names(tmp_path) == ["spare-1", "spare-2"]

    huge = tmp_path / "huge"
    huge.mkdir()
    closing = Spares(huge, disk=disk, clock=SystemClock(), file_bytes=2**36, background=True)
    closing.close()
    assert disk.names(huge) == []
    assert closing.blocked is None or "the log closes" in str(closing.blocked)
