"""The list of a log's files, which a rotten header must not hide."""

from runtime.log_files import LogFiles, file_numbers, list_files, used_bytes
from tests.faulty_disk import FaultyDisk
from tests.log_world import DIRECTORY, World, commit


def filled() -> tuple[World, FaultyDisk]:
    world = World()
    log = world.start()
    for _ in range(40):
        commit(log, bytes(1000))
    assert isinstance(world.disk, FaultyDisk)
    return world, world.disk


def test_files_join_without_a_gap_and_the_last_is_open() -> None:
    _, disk = filled()

    files = list_files(DIRECTORY, disk)

    assert [file.id for file in files] == list(range(1, len(files) + 1))
    for file, following in zip(files, files[1:], strict=False):
        assert file.last_sequence == following.first_sequence - 1
        assert file.last_wall_ms == following.first_wall_ms
    assert files[-1].last_sequence is None


def test_running_log_lists_the_same_files_as_a_reader_of_the_directory() -> None:
    world = World()
    log = world.start()
    for _ in range(40):
        commit(log, bytes(1000))

    assert log.files() == list_files(DIRECTORY, world.disk)


def test_file_with_a_rotten_header_is_listed_with_its_neighbours_numbers_and_dropped() -> None:
    _, disk = filled()
    whole = list_files(DIRECTORY, disk)
    disk.files[whole[1].path].data[20] ^= 1

    files = list_files(DIRECTORY, disk)
    dropped = LogFiles(DIRECTORY, disk).drop(whole[2].first_sequence)

    assert (files[1].first_wall_ms, files[1].last_sequence) == (None, whole[1].last_sequence)
    assert [file.id for file in dropped] == [1, 2]


def test_foreign_names_are_no_log_files() -> None:
    disk = FaultyDisk()
    for name in ("mark", "spare-1", "notes.log", "00000003.log", "00000009.log.cut"):
        disk.create(DIRECTORY / name)

    assert file_numbers(DIRECTORY, disk) == [3]
    assert file_numbers(DIRECTORY, disk, ".log.cut") == [9]


def test_used_bytes_end_at_the_last_byte_that_is_not_zero() -> None:
    disk = FaultyDisk()
    file = disk.create(DIRECTORY / "00000001.log")
    file.truncate(3 * 2**20)
    assert used_bytes(DIRECTORY, disk, 1) == 0

    file.write(b"x", 2**20 - 1)

    assert used_bytes(DIRECTORY, disk, 1) == 2**20
