"""Judging the log: rot before the mark is an error, whatever is bad beyond it ends the log."""

import pytest

from runtime.log_files import file_path, list_files
from runtime.log_format import LOG_START, SECTOR_BYTES, FileHeader, LogEnd, encode_file_header
from runtime.log_reader import LogDamage, LogDamagedError, read_log
from runtime.mark import create_mark
from tests.faulty_disk import FaultyDisk
from tests.log_world import DIRECTORY, HOME, World, commit


def file_data(world: World, number: int) -> bytearray:
    assert isinstance(world.disk, FaultyDisk)
    return world.disk.files[file_path(DIRECTORY, number)].data


def filled(count: int, *, size: int = 1000, sync: bool = True) -> World:
    """Return a home whose log has `count` records in groups of their own, four to five a file."""
    world = World()
    log = world.start()
    for number in range(1, count + 1):
        commit(log, record(number, size))
    if sync:
        log.sync()
    return world


def record(number: int, size: int = 1000) -> bytes:
    return b"%d " % number + bytes(size)


def move_mark_back(world: World, end: LogEnd) -> None:
    create_mark(world.disk, DIRECTORY / "mark", home=HOME, end=end)


def end_after(world: World, sequence: int) -> LogEnd:
    reading = world.read()
    for group in reading.groups():
        if group.first_sequence == sequence:
            return reading.end
    raise AssertionError(sequence)


def flip(world: World, number: int, offset: int) -> None:
    file_data(world, number)[offset] ^= 1


def place_of(world: World, sequence: int) -> LogEnd:
    """Return the position right before a record that has a group of its own."""
    return end_after(world, sequence - 1)


def test_empty_directory_reads_as_an_empty_log() -> None:
    reading = World().read()

    assert list(reading) == []
    assert (reading.end, reading.cut) == (LOG_START, None)


def test_records_come_with_sequence_and_the_wall_time_of_their_group() -> None:
    world = World()
    log = world.start()
    commit(log, b"one", b"two")
    world.clock.advance(1.5)
    commit(log, b"three")
    start = 1_700_000_000_000

    assert list(world.read()) == [
        (1, start, b"one"), (2, start, b"two"), (3, start + 1500, b"three")
    ]  # fmt: skip


def test_reading_goes_on_after_a_position_and_after_a_sequence() -> None:
    world = filled(30)
    end = end_after(world, 17)

    assert [s for s, _, _ in world.read(after=end)] == list(range(18, 31))
    assert [s for s, _, _ in world.read(after=17)] == list(range(18, 31))


def test_reading_after_a_sequence_cuts_the_group_that_holds_it() -> None:
    world = World()
    commit(world.start(), b"one", b"two", b"three")

    assert [s for s, _, _ in world.read(after=2)] == [3]


def test_reading_to_the_mark_leaves_what_is_only_written() -> None:
    world = filled(9)
    move_mark_back(world, end_after(world, 4))

    assert [s for s, _, _ in world.read(to="mark")] == [1, 2, 3, 4]
    assert [s for s, _, _ in world.read(to="end")][-1] == 9


@pytest.mark.parametrize("sequence", [1, 2, 15, 30])
def test_flipped_bit_before_the_mark_is_rot_with_file_group_and_offset(sequence: int) -> None:
    world = filled(30)
    place = place_of(world, sequence) if sequence > 1 else LogEnd(file=1, offset=SECTOR_BYTES)
    flip(world, place.file, place.offset + 600)

    with pytest.raises(LogDamagedError) as caught:
        list(world.read())

    damage = caught.value.damage
    assert damage is not None
    assert (damage.path, damage.offset) == (file_path(DIRECTORY, place.file), place.offset)
    assert (damage.group, damage.first_sequence, damage.last_sequence) == (sequence, sequence, 30)
    assert f"records {sequence} to 30 were durable and are missing" in str(caught.value)
    assert "levada repair" in str(caught.value)


def test_flipped_bit_beyond_the_mark_ends_the_log_and_is_reported() -> None:
    world = filled(9)
    mark, place = end_after(world, 3), place_of(world, 6)
    move_mark_back(world, mark)
    flip(world, place.file, place.offset + 600)

    reading = world.read()

    assert [s for s, _, _ in reading] == [1, 2, 3, 4, 5]
    assert reading.end == place
    assert reading.cut is not None
    assert reading.cut.reason == "holds a group that does not match its checksum"
    assert reading.cut.tail_bytes > 0


def test_whole_group_after_a_torn_one_is_cut_too() -> None:
    world = filled(4)
    place = place_of(world, 2)
    move_mark_back(world, place)
    file_data(world, 1)[place.offset : place.offset + 512] = bytes(512)

    assert [s for s, _, _ in world.read()] == [1]


def test_removed_file_before_the_mark_is_named() -> None:
    world = filled(30)
    world.disk.remove(file_path(DIRECTORY, 2))

    with pytest.raises(LogDamagedError, match="goes on from file 2, which is missing"):
        list(world.read())


def test_removed_first_file_is_missed_by_a_position_but_not_by_a_sequence() -> None:
    world = filled(30)
    world.disk.remove(file_path(DIRECTORY, 1))

    with pytest.raises(LogDamagedError, match="goes on from file 1, which is missing"):
        list(world.read())
    assert next(s for s, _, _ in world.read(after=0)) > 1


def test_removed_last_file_is_missed() -> None:
    world = filled(30)
    last = max(path for path in disk_of(world).files if path.suffix == ".log")
    world.disk.remove(last)

    with pytest.raises(LogDamagedError, match="ends the log .* 30 were durable and are missing"):
        list(world.read())


def disk_of(world: World) -> FaultyDisk:
    assert isinstance(world.disk, FaultyDisk)
    return world.disk


def test_older_copy_of_a_file_is_rot() -> None:
    world = World()
    log = world.start()
    commit(log, record(1))
    older = bytes(file_data(world, 1))
    commit(log, record(2))
    log.sync()
    file_data(world, 1)[:] = older

    with pytest.raises(LogDamagedError, match="holds no group .* records 2 to 2 were durable"):
        list(world.read())


def test_file_under_another_number_is_refused() -> None:
    world = filled(30)
    files = disk_of(world).files
    files[file_path(DIRECTORY, 2)] = files[file_path(DIRECTORY, 3)]

    with pytest.raises(LogDamagedError, match="has the header of file 3"):
        list(world.read())


def test_rotten_header_before_the_mark_is_rot_and_in_an_older_file_is_not_asked_for() -> None:
    world = filled(30)
    later = end_after(world, 25)
    flip(world, 2, 20)

    with pytest.raises(LogDamagedError, match="has a header that does not match its checksum"):
        list(world.read())
    assert [s for s, _, _ in world.read(after=later)] == [26, 27, 28, 29, 30]


def test_rotten_header_of_the_oldest_file_is_rot_for_a_sequence_before_it() -> None:
    world = filled(30)
    flip(world, 1, 20)

    with pytest.raises(LogDamagedError, match="does not start with a whole header"):
        world.read(after=0)


def test_log_of_another_home_is_refused_by_its_mark() -> None:
    world = filled(3)

    with pytest.raises(LogDamagedError, match="belongs to home a1b2c3d4e5f6, not 000000000009"):
        read_log(DIRECTORY, world.disk, home=9)


def test_file_of_another_home_is_refused() -> None:
    world = filled(3)
    file_data(world, 1)[:512] = encode_file_header(FileHeader(9, 1, LOG_START, 0))

    with pytest.raises(LogDamagedError, match="belongs to home 000000000009"):
        list(world.read())


def test_missing_or_damaged_mark_is_refused() -> None:
    world = filled(3)
    mark = disk_of(world).files[DIRECTORY / "mark"]
    mark.data[30] ^= 1
    mark.data[4096 + 30] ^= 1

    with pytest.raises(LogDamagedError, match="Neither slot of .* is whole"):
        world.read()
    world.disk.remove(DIRECTORY / "mark")
    with pytest.raises(LogDamagedError, match="mark is missing, so nothing tells"):
        world.read()


def test_history_other_than_the_checkpoint_names_is_refused() -> None:
    world = filled(3)
    end = world.read().mark
    other = LogEnd(end.group, end.chain ^ 1, end.sequence, end.file, end.offset)

    with pytest.raises(LogDamagedError, match="holds another history than the mark"):
        world.read(after=other)


def test_group_other_than_the_mark_names_is_rot() -> None:
    world = filled(3)
    end = world.read().mark
    other = LogEnd(end.group, end.chain ^ 1, end.sequence, end.file, end.offset)
    move_mark_back(world, other)

    with pytest.raises(LogDamagedError, match="is not the one that the mark names"):
        list(world.read())


def test_group_whose_content_is_refused_ends_the_log_only_beyond_the_mark() -> None:
    world = filled(9)
    asked: list[int] = []

    def accept(sequence: int, data: bytes) -> bool:
        asked.append(sequence)
        return sequence != 7

    assert len(list(world.read(accept=accept))) == 9
    assert asked == []
    move_mark_back(world, end_after(world, 5))
    reading = world.read(accept=accept)

    assert [s for s, _, _ in reading] == [1, 2, 3, 4, 5, 6]
    assert asked == [6, 7]
    assert reading.cut is not None
    assert reading.cut.reason == "holds a group that refers to content that is not whole"


def test_reading_past_damage_reports_each_gap_and_goes_on() -> None:
    world = filled(30)
    places = [place_of(world, sequence) for sequence in (3, 4, 17)]
    for place in places:
        flip(world, place.file, place.offset + 600)
    damages: list[LogDamage] = []

    read = [s for s, _, _ in world.read(after=0, damaged=damages.append)]

    assert [(d.first_sequence, d.last_sequence) for d in damages] == [(3, 4), (17, 17)]
    assert read == [s for s in range(1, 31) if s not in (3, 4, 17)]


def test_reading_past_a_missing_file_reports_its_records() -> None:
    world = filled(30)
    missing = list_files(DIRECTORY, world.disk)[1]
    world.disk.remove(missing.path)
    damages: list[LogDamage] = []

    read = [s for s, _, _ in world.read(after=0, damaged=damages.append)]

    assert [(d.first_sequence, d.last_sequence) for d in damages] == [
        (missing.first_sequence, missing.last_sequence)
    ]
    assert len(read) == 30 - (missing.last_sequence or 0) + missing.first_sequence - 1


def test_damage_at_the_end_of_what_was_durable_is_reported_to_the_mark() -> None:
    world = filled(30)
    place = place_of(world, 30)
    flip(world, place.file, place.offset + 600)
    damages: list[LogDamage] = []

    read = [s for s, _, _ in world.read(after=0, damaged=damages.append)]

    assert read[-1] == 29
    assert [(d.first_sequence, d.last_sequence) for d in damages] == [(30, 30)]


@pytest.mark.parametrize("byte", range(0, 14 * 512, 61))
def test_any_flipped_bit_in_used_bytes_loses_no_record_silently(byte: int) -> None:
    world = filled(4)
    flip(world, 1, SECTOR_BYTES + byte % (4 * 1536))

    try:
        records = world.records()
    except LogDamagedError:
        return
    # Only padding between groups may differ unnoticed, as it holds nothing.
    assert records == [record(n) for n in (1, 2, 3, 4)]
