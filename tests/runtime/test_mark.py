"""The mark: one of its two slots survives every power loss."""

import random

import pytest

from runtime.log_format import LogEnd, LogVersionError
from runtime.mark import SLOT_BYTES, Mark, MarkReading, create_mark, encode_slot, read_mark
from tests.faulty_disk import FaultyDisk
from tests.log_world import DIRECTORY

PATH = DIRECTORY / "mark"


def end(group: int) -> LogEnd:
    return LogEnd(group, group * 11, group * 3, 1, 512 * group)


def read(disk: FaultyDisk) -> MarkReading:
    reading = read_mark(disk, PATH)
    assert reading is not None
    return reading


def opened(disk: FaultyDisk) -> Mark:
    create_mark(disk, PATH, home=7, end=end(1))
    return Mark(disk.open(PATH), read(disk))


def test_reader_sees_the_newest_end_before_it_is_synced() -> None:
    disk = FaultyDisk()
    mark = opened(disk)

    mark.write(end(2))

    assert read(disk).end == end(2)
    assert mark.synced == end(1)


def test_power_loss_falls_back_to_the_synced_end() -> None:
    disk = FaultyDisk()
    mark = opened(disk)
    mark.write(end(2))
    mark.sync()
    mark.write(end(3))

    disk.lose_power()

    assert read(disk).end == end(2)


@pytest.mark.parametrize("seed", range(50))
def test_torn_writes_between_syncs_never_take_both_slots(seed: int) -> None:
    disk, choose = FaultyDisk(), random.Random(seed)
    mark = opened(disk)
    for group in range(2, 10):
        mark.write(end(group))
        if choose.random() < 0.3:
            mark.sync()

    disk.tear(choose)

    assert mark.synced.group <= read(disk).end.group <= 9


def test_one_damaged_slot_leaves_the_other() -> None:
    disk = FaultyDisk()
    opened(disk).write(end(2))
    newest = read(disk).slot

    disk.files[PATH].data[newest * SLOT_BYTES + 30] ^= 1

    assert read(disk).end == end(1)


def test_two_damaged_slots_leave_nothing() -> None:
    disk = FaultyDisk()
    opened(disk)
    for slot in (0, 1):
        disk.files[PATH].data[slot * SLOT_BYTES + 30] ^= 1

    assert read_mark(disk, PATH) is None


def test_mark_of_a_newer_release_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FaultyDisk()
    monkeypatch.setattr("runtime.mark.VERSION", 2)
    create_mark(disk, PATH, home=7, end=end(1))

    with pytest.raises(LogVersionError, match="The log has format version 2"):
        read_mark(disk, PATH)


@pytest.mark.parametrize("fail_at", range(1, 6))
def test_half_made_mark_is_never_seen_and_is_made_again(fail_at: int) -> None:
    disk = FaultyDisk()
    create_mark(disk, PATH, home=7, end=end(1))
    disk.fail_at = disk.operations + fail_at

    with pytest.raises(OSError, match="answers with an error"):
        create_mark(disk, PATH, home=7, end=end(2))
    disk.tear(random.Random(fail_at))

    assert read(disk).end in (end(1), end(2))
    create_mark(disk, PATH, home=7, end=end(3))
    assert read(disk).end == end(3)


def test_slots_are_blocks_of_their_own() -> None:
    assert len(encode_slot(1, 7, end(1))) == SLOT_BYTES
