"""What the engine asks of a disk: the machine's and the one in memory give the same answers."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.disk import Disk, SystemDisk
from runtime.memory_disk import MemoryDisk


@pytest.fixture(params=[SystemDisk, MemoryDisk], ids=lambda kind: str(kind.__name__))
def disk(request: pytest.FixtureRequest) -> Disk:
    made: Disk = request.param()
    return made


def _errno(operation: Callable[[], Any]) -> int | None:
    with pytest.raises(OSError) as raised:
        operation()
    return raised.value.errno


def test_what_was_written_is_read_at_its_place(disk: Disk, tmp_path: Path) -> None:
    file = disk.create(tmp_path / "a")
    file.write(b"hello world", 0)
    file.write(bytearray(b"W"), 6)
    file.write(memoryview(b"!")[:], 11)

    assert file.size() == 12
    assert file.read(5, 6) == b"World"
    assert disk.open(tmp_path / "a").read(100, 0) == b"hello World!"


def test_a_read_is_short_only_at_the_end_of_the_file(disk: Disk, tmp_path: Path) -> None:
    file = disk.create(tmp_path / "a")
    file.write(b"abc", 0)

    assert file.read(10, 1) == b"bc"
    assert file.read(10, 3) == b""
    assert file.read(10, 99) == b""
    assert file.read(0, 0) == b""


def test_a_gap_between_writes_reads_as_zeros(disk: Disk, tmp_path: Path) -> None:
    file = disk.create(tmp_path / "a")
    file.write(b"end", 4)
    assert file.read(7, 0) == b"\0\0\0\0end"


def test_a_file_is_cut_and_extended_to_a_size(disk: Disk, tmp_path: Path) -> None:
    file = disk.create(tmp_path / "a")
    file.write(b"abcdef", 0)
    file.truncate(3)
    assert file.read(9, 0) == b"abc"
    file.truncate(5)
    assert file.read(9, 0) == b"abc\0\0"


def test_a_file_is_created_only_once(disk: Disk, tmp_path: Path) -> None:
    disk.create(tmp_path / "a")
    assert _errno(lambda: disk.create(tmp_path / "a")) == errno.EEXIST


def test_a_missing_file_is_told_by_every_operation(disk: Disk, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert _errno(lambda: disk.open(missing)) == errno.ENOENT
    assert _errno(lambda: disk.remove(missing)) == errno.ENOENT
    assert _errno(lambda: disk.rename(missing, tmp_path / "other")) == errno.ENOENT
    assert not disk.exists(missing)
    assert disk.names(missing) == []


def test_a_rename_replaces_its_target(disk: Disk, tmp_path: Path) -> None:
    disk.create(tmp_path / "a").write(b"new", 0)
    disk.create(tmp_path / "b").write(b"old", 0)

    disk.rename(tmp_path / "a", tmp_path / "b")

    assert disk.names(tmp_path) == ["b"]
    assert disk.open(tmp_path / "b").read(9, 0) == b"new"


def test_names_are_sorted_and_of_one_directory(disk: Disk, tmp_path: Path) -> None:
    disk.make_directory(tmp_path / "x" / "y")
    disk.make_directory(tmp_path / "x" / "y")
    for name in ("b", "a", "c"):
        disk.create(tmp_path / "x" / "y" / name).close()
    disk.remove(tmp_path / "x" / "y" / "c")

    assert disk.names(tmp_path / "x" / "y") == ["a", "b"]


def test_an_open_file_is_read_on_after_it_was_renamed_and_removed(
    disk: Disk, tmp_path: Path
) -> None:
    file = disk.create(tmp_path / "a")
    file.write(b"abc", 0)
    disk.rename(tmp_path / "a", tmp_path / "b")
    disk.remove(tmp_path / "b")
    assert file.read(3, 0) == b"abc"


def test_syncing_and_closing_twice_do_no_harm(disk: Disk, tmp_path: Path) -> None:
    file = disk.create(tmp_path / "a")
    file.sync()
    file.sync()
    disk.sync_directory(tmp_path)
    file.close()
    file.close()


def test_free_space_is_a_part_of_the_whole(disk: Disk, tmp_path: Path) -> None:
    assert 0 < disk.free_bytes(tmp_path) <= disk.total_bytes(tmp_path)
