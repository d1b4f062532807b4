"""Settling after a crash and repairing after rot: what is cut is named first and kept."""

import pytest

from runtime.log_files import file_path
from runtime.log_format import LOG_START
from runtime.log_reader import LogDamagedError
from runtime.log_repair import repair_log, settle_log, verify_log
from runtime.mark import create_mark
from tests.faulty_disk import FaultyDisk
from tests.log_world import DIRECTORY, HOME, World, commit


def filled(count: int) -> World:
    world = World()
    log = world.start()
    for number in range(1, count + 1):
        commit(log, b"%d" % number + bytes(1000))
    log.sync()
    return world


def sequences(world: World) -> list[int]:
    return [sequence for sequence, _, _ in world.read()]


def place_of(world: World, sequence: int) -> tuple[int, int]:
    reading = world.read()
    for group in reading.groups():
        if group.first_sequence == sequence - 1:
            return reading.end.file, reading.end.offset
    raise AssertionError(sequence)


def flip(world: World, sequence: int) -> None:
    number, offset = place_of(world, sequence)
    assert isinstance(world.disk, FaultyDisk)
    file = world.disk.files[file_path(DIRECTORY, number)]
    for image in (file.data, file.synced):
        image[offset + 600] ^= 1


def contents(world: World) -> dict[str, bytes]:
    assert isinstance(world.disk, FaultyDisk)
    return {path.name: bytes(file.data) for path, file in world.disk.files.items()}


def test_settling_makes_durable_what_was_read_beyond_the_mark() -> None:
    world = World()
    log = world.start(mode="never")
    commit(log, b"one", b"two")

    records, end = world.recover()
    assert isinstance(world.disk, FaultyDisk)
    world.disk.lose_power()

    assert records == [b"one", b"two"]
    assert world.read().mark == end
    assert sequences(world) == [1, 2]


def test_settled_log_goes_on_behind_its_cut_and_the_cut_stays_in_its_file() -> None:
    world = World()
    log = world.start(mode="never")
    commit(log, b"one")
    place = log.end()
    commit(log, b"two" + bytes(1000))
    commit(log, b"three")
    assert isinstance(world.disk, FaultyDisk)
    world.disk.files[file_path(DIRECTORY, 1)].data[place.offset + 600] ^= 1

    records, end = world.recover()
    log = world.start(end)
    commit(log, b"other two")

    assert records == [b"one"]
    assert world.records() == [b"one", b"other two"]
    assert b"three" in world.disk.files[file_path(DIRECTORY, 1)].data


def test_settling_sets_later_files_aside_and_keeps_their_bytes() -> None:
    world = filled(30)
    flip(world, 3)
    create_mark(world.disk, DIRECTORY / "mark", home=HOME, end=LOG_START)
    before = contents(world)

    reading = world.read()
    assert [sequence for sequence, _, _ in reading] == [1, 2]
    assert reading.cut is not None
    cut = [path.name for path in reading.cut.files]
    end = settle_log(reading, home=HOME)
    after = contents(world)

    assert [after[name + ".cut"] for name in cut] == [before[name] for name in cut]
    log = world.start(end)
    commit(log, b"new three")
    assert sequences(world) == [1, 2, 3]
    assert log.files()[-1].id > len(cut) + 1


def test_settling_needs_a_reading_that_came_to_its_end() -> None:
    world = filled(3)

    with pytest.raises(AssertionError, match="settled when it was read to its end"):
        settle_log(world.read(), home=HOME)


@pytest.mark.parametrize("seed_failure", range(1, 16))
def test_settling_that_is_interrupted_anywhere_is_settled_by_the_next(seed_failure: int) -> None:
    world = filled(12)
    flip(world, 3)
    create_mark(world.disk, DIRECTORY / "mark", home=HOME, end=LOG_START)
    disk = world.disk
    assert isinstance(disk, FaultyDisk)
    reading = world.read()
    assert len(list(reading)) == 2
    disk.fail_at = disk.operations + seed_failure
    try:
        settle_log(reading, home=HOME)
    except OSError:
        disk.fail_at = None
    disk.lose_power()
    disk.fail_at = None

    records, end = world.recover()

    assert len(records) == 2
    commit(world.start(end), b"three")
    assert sequences(world) == [1, 2, 3]


def test_verify_lists_every_damage_and_changes_nothing() -> None:
    world = filled(30)
    flip(world, 5)
    before = contents(world)

    report = verify_log(DIRECTORY, world.disk, home=HOME)

    assert (report.records, report.end.sequence) == (29, 30)
    assert [(d.first_sequence, d.last_sequence) for d in report.damages] == [(5, 5)]
    assert report.cut is None
    assert contents(world) == before


def test_whole_log_needs_no_repair() -> None:
    world = filled(5)

    plan = repair_log(DIRECTORY, world.disk, home=HOME, after=LOG_START, confirmed=True)

    assert not plan.needed
    assert not plan.done
    assert list(plan.describe()) == ["The log is whole up to its mark; nothing is to be repaired."]


def test_repair_says_what_it_cuts_and_does_nothing_unless_confirmed() -> None:
    world = filled(12)
    flip(world, 3)
    before = contents(world)

    plan = repair_log(DIRECTORY, world.disk, home=HOME, after=LOG_START)

    assert contents(world) == before
    assert (plan.keep.sequence, plan.lost_first, plan.lost_last) == (2, 3, 12)
    sentences = list(plan.describe())
    assert sentences[0] == (
        "The log will end after record 2; records 3 to 12 that were durable go."
    )
    assert sentences[1].endswith("bytes of 00000001.log stop counting and stay in the file.")
    assert sentences[2] == "00000002.log is set aside as 00000002.log.cut."
    with pytest.raises(LogDamagedError, match="levada repair"):
        sequences(world)


def test_confirmed_repair_lets_the_log_start_before_the_damage() -> None:
    world = filled(12)
    flip(world, 3)
    before = contents(world)

    done = repair_log(DIRECTORY, world.disk, home=HOME, after=LOG_START, confirmed=True)
    records, end = world.recover()
    commit(world.start(end), b"new three")

    assert done.done
    assert len(records) == 2
    assert sequences(world) == [1, 2, 3]
    for path in done.set_aside:
        assert contents(world)[path.name] == before[path.name.removesuffix(".cut")]


def test_repair_of_a_lost_mark_keeps_every_whole_group() -> None:
    world = filled(12)
    world.disk.remove(DIRECTORY / "mark")

    done = repair_log(DIRECTORY, world.disk, home=HOME, after=LOG_START, confirmed=True)

    assert "an unknown number of records" in next(iter(done.describe()))
    assert sequences(world) == list(range(1, 13))


def test_rot_before_the_checkpoint_needs_no_repair() -> None:
    world = filled(12)
    reading = world.read()
    checkpoint = next(reading.end for group in reading.groups() if group.first_sequence == 6)
    flip(world, 3)

    assert not repair_log(DIRECTORY, world.disk, home=HOME, after=checkpoint).needed
    assert [s for s, _, _ in world.read(after=checkpoint)] == [7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize("failure", range(1, 16))
def test_repair_that_is_interrupted_anywhere_can_be_run_again(failure: int) -> None:
    world = filled(12)
    flip(world, 3)
    disk = world.disk
    assert isinstance(disk, FaultyDisk)
    disk.fail_at = disk.operations + failure
    try:
        repair_log(DIRECTORY, disk, home=HOME, after=LOG_START, confirmed=True)
    except OSError:
        disk.fail_at = None
    disk.lose_power()
    disk.fail_at = None

    repair_log(DIRECTORY, disk, home=HOME, after=LOG_START, confirmed=True)
    records, end = world.recover()

    assert len(records) == 2
    commit(world.start(end), b"three")
    assert sequences(world) == [1, 2, 3]
