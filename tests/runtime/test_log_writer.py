"""Writing groups: one write each, in sectors of their own, over as many files as needed."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from runtime.log_format import SECTOR_BYTES
from runtime.log_writer import split_groups
from runtime.mark import SLOT_BYTES
from tests.faulty_disk import FaultyDisk
from tests.log_world import DIRECTORY, World, commit


class CountingDisk(FaultyDisk):
    """Counts the writes that are not the mark's."""

    group_writes = 0

    def before(self, operation: str, path: Path, size: int) -> None:
        super().before(operation, path, size)
        self.group_writes += operation == "write" and size != SLOT_BYTES


@given(st.lists(st.integers(0, 120), min_size=1), st.integers(30, 200))
def test_split_keeps_order_and_only_a_large_record_passes_the_limit(
    sizes: list[int], limit: int
) -> None:
    records = [bytes(size) for size in sizes]

    groups = list(split_groups(records, limit))

    assert [record for group in groups for record in group] == records
    for group in groups:
        assert len(group) == 1 or sum(len(record) + 4 for record in group) <= limit


def test_records_that_gathered_become_one_write() -> None:
    world = World(disk=CountingDisk())
    log = world.start()
    assert isinstance(world.disk, CountingDisk)
    before = world.disk.group_writes

    commit(log, *[b"record"] * 100)

    assert world.disk.group_writes - before == 1


def test_more_records_than_a_file_holds_go_over_several_files() -> None:
    world = World()
    records = [b"%d" % number + bytes(3000) for number in range(30)]

    commit(world.start(), *records)

    assert world.records() == records
    assert len({path for path in disk_of(world).files if path.suffix == ".log"}) > 5


def test_closed_file_gives_back_its_unused_zeros() -> None:
    world = World()
    log = world.start()
    commit(log, b"record")
    log.close()

    assert disk_of(world).files[DIRECTORY / "00000001.log"].size() == 3 * SECTOR_BYTES


def test_power_lost_in_a_roll_leaves_a_log_that_starts() -> None:
    world = World()
    log = world.start()
    while log.files()[-1].id < 3:
        commit(log, bytes(1000))
    durable = log.durable
    disk_of(world).lose_power()

    records, end = world.recover()

    assert len(records) == durable
    assert commit(world.start(end), b"next") == durable + 1


def disk_of(world: World) -> FaultyDisk:
    assert isinstance(world.disk, FaultyDisk)
    return world.disk
