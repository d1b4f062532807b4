"""The disk in memory where it differs from a real one: power loss, capacity, failures."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.memory_disk import MemoryDisk

HERE = Path("/log")


def test_a_power_loss_takes_what_was_not_synced() -> None:
    disk = MemoryDisk()
    file = disk.create(HERE / "a")
    file.write(b"kept", 0)
    file.sync()
    disk.sync_directory(HERE)
    file.write(b"LOST", 0)
    file.truncate(2)
    assert file.dirty

    disk.lose_power()

    assert disk.open(HERE / "a").read(9, 0) == b"kept"
    assert not disk.open(HERE / "a").dirty


def test_a_file_whose_name_was_not_synced_is_gone() -> None:
    disk = MemoryDisk()
    disk.create(HERE / "a").sync()
    disk.lose_power()
    assert disk.names(HERE) == []


def test_a_name_that_was_synced_without_its_data_is_an_empty_file() -> None:
    disk = MemoryDisk()
    disk.create(HERE / "a").write(b"abc", 0)
    disk.sync_directory(HERE)
    disk.lose_power()
    assert disk.open(HERE / "a").size() == 0


def test_renames_and_removals_that_were_not_synced_are_undone() -> None:
    disk = MemoryDisk()
    for name in ("a", "b"):
        disk.create(HERE / name)
    disk.sync_directory(HERE)
    disk.rename(HERE / "a", HERE / "c")
    disk.remove(HERE / "b")

    disk.lose_power()
    assert disk.names(HERE) == ["a", "b"]


def test_a_directory_sync_concerns_its_own_names_only() -> None:
    disk = MemoryDisk()
    disk.create(HERE / "a")
    disk.create(Path("/content") / "b")
    disk.sync_directory(HERE)

    disk.lose_power()

    assert disk.names(HERE) == ["a"]
    assert disk.names(Path("/content")) == []


def test_a_full_disk_refuses_growth_and_takes_what_is_overwritten() -> None:
    disk = MemoryDisk(capacity_bytes=10)
    file = disk.create(HERE / "a")
    file.write(b"12345678", 0)
    assert (disk.free_bytes(HERE), disk.total_bytes(HERE)) == (2, 10)

    with pytest.raises(OSError) as raised:
        file.write(b"abc", 8)
    assert raised.value.errno == errno.ENOSPC
    file.write(b"abc", 0)
    assert file.read(20, 0) == b"abc45678"

    disk.remove(HERE / "a")
    assert disk.free_bytes(HERE) == 10


def test_every_operation_can_be_made_to_fail_before_it_does_anything() -> None:
    class Refusing(MemoryDisk):
        refuse = ""

        def before(self, operation: str, path: Path, size: int) -> None:
            if operation == self.refuse:
                raise OSError(errno.EIO, "refused", str(path))

    disk = Refusing()
    file = disk.create(HERE / "a")
    file.write(b"abc", 0)
    attempts: dict[str, Callable[[], object]] = {
        "create": lambda: disk.create(HERE / "b"),
        "open": lambda: disk.open(HERE / "a"),
        "write": lambda: file.write(b"xyz", 0),
        "truncate": lambda: file.truncate(1),
        "read": lambda: file.read(1, 0),
        "sync": file.sync,
        "rename": lambda: disk.rename(HERE / "a", HERE / "b"),
        "remove": lambda: disk.remove(HERE / "a"),
    }
    for operation, attempt in attempts.items():
        disk.refuse = operation
        with pytest.raises(OSError, match="refused"):
            attempt()
    disk.refuse = ""
    assert disk.names(HERE) == ["a"]
    assert file.read(9, 0) == b"abc"
    assert file.dirty
