"""Checkpoints: what is written comes back, and what is damaged is never taken for whole."""

import errno
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.checkpoint import (
    CHUNK,
    CheckpointDamagedError,
    Head,
    Place,
    load,
    load_newest,
    publish,
    sequences,
    write_checkpoint,
)
from runtime.disk import Disk
from runtime.flowfile import Claim, FlowFile
from runtime.fold import Fold
from runtime.log_format import SECTOR_BYTES, LogEnd, encode_group
from runtime.memory_disk import MemoryDisk
from runtime.model import ConnectionModel, ProcessorModel
from tests.engine_world import World
from tests.faulty_disk import FaultyDisk

HOME = 0xABCDEF
DIRECTORY = Path("/home/checkpoints")

Queues = dict[int, list[Place]]


def _head(sequence: int = 7, **changes: Any) -> Head:
    head = Head(
        version=1,
        home=HOME,
        sequence=sequence,
        end=LogEnd(3, 0xC0FFEE, sequence, 1, 4096),
        wall_ms=1_000,
        revision=2,
        flow=b"the flow",
        states={5: {"position": "12"}},
        counters={"lines": 4},
    )
    return msgspec.structs.replace(head, **changes)


def _place(id: int, sequence: int = 3, size: int = 0) -> Place:
    claim = Claim(1, id * 10, size, id) if size else None
    flowfile = FlowFile(id, {"n": str(id)}, claim, 10, 20, size)
    return Place(flowfile, sequence, id % 1_000, 0, 0, 0)


def _write(disk: Disk, queues: Queues | None = None, **changes: Any) -> Path:
    queues = {10: [_place(1), _place(2)], 11: [_place(3, size=6)]} if queues is None else queues
    path = write_checkpoint(DIRECTORY, disk, _head(**changes), iter(queues.items()))
    return publish(path, disk)


def _places(fold: Fold) -> Queues:
    return {
        id: [
            Place(one.flowfile, one.sequence, one.index, one.retries, one.due, one.since)
            for one in queue.values()
        ]
        for id, queue in fold.queues.items()
    }


words = st.text(max_size=4)
place_fields = st.tuples(*[st.integers(0, 2**40) for _ in range(5)])
queue_places = st.lists(
    st.tuples(st.dictionaries(words, words, max_size=2), place_fields), min_size=1, max_size=5
)


@pytest.mark.slow
@settings(max_examples=50)
@given(
    queues=st.dictionaries(st.integers(1, 2**40), queue_places, max_size=4),
    states=st.dictionaries(st.integers(1, 99), st.dictionaries(words, words), max_size=3),
    flow=st.none() | st.binary(max_size=600),
)
def test_what_is_written_comes_back(
    queues: dict[int, Any], states: dict[int, dict[str, str]], flow: bytes | None
) -> None:
    disk = MemoryDisk()
    ids = iter(range(1, 100))
    written = {
        id: [
            Place(FlowFile(next(ids), attributes, None, 0, 0, 0), *fields)
            for attributes, fields in members
        ]
        for id, members in queues.items()
    }
    head = _head(states=states, flow=flow)
    publish(write_checkpoint(DIRECTORY, disk, head, iter(written.items())), disk)

    newest = load_newest(DIRECTORY, disk, HOME)

    assert newest is not None
    loaded, fold, problems = newest
    assert (loaded, problems) == (head, [])
    assert _places(fold) == written
    assert (fold.sequence, fold.revision, fold.flow) == (7, 2, flow)
    assert (fold.states, fold.counters) == (states, {"lines": 4})


def test_a_queue_of_more_than_a_chunk_comes_back_in_order() -> None:
    disk = MemoryDisk()
    members = [_place(id) for id in range(2 * CHUNK + 1)]

    fold = load(_write(disk, {10: members}), disk)[1]

    assert list(fold.queues[10]) == [place.flowfile.id for place in members]


def test_no_checkpoint_at_all_is_none() -> None:
    assert load_newest(DIRECTORY, MemoryDisk(), HOME) is None


def test_a_checkpoint_cut_short_at_any_sector_is_damaged() -> None:
    disk = MemoryDisk()
    # A connection's number is the count of entries before it, as in the file's last record.
    queues = {9: [_place(1)], 1: [_place(2)], 2: [_place(4), _place(5)], 4: [_place(7, size=900)]}
    path = _write(disk, queues)
    image = bytes(disk.files[path].data)
    lengths = {*range(0, len(image), SECTOR_BYTES), *range(len(image) - 70, len(image))}

    for length in sorted(lengths):
        disk.files[path].data[:] = image[:length]
        with pytest.raises(CheckpointDamagedError, match=r"/checkpoint-0{19}7 "):
            load(path, disk)
    disk.files[path].data[:] = image
    assert load(path, disk)[1].count() == 5


def test_a_flipped_bit_is_found_or_changes_nothing() -> None:
    disk = MemoryDisk()
    path = _write(disk)
    image = bytes(disk.files[path].data)
    whole = load(path, disk)
    choose = random.Random(8)

    for position in range(0, len(image), 3):
        damaged = bytearray(image)
        damaged[position] ^= 1 << choose.randrange(8)
        disk.files[path].data = damaged
        try:
            assert load(path, disk) == whole
            # Between two frames lies what nobody reads.
            assert not image[position]
        except CheckpointDamagedError as error:
            assert str(error).startswith(f"{path} at byte ")


def test_frames_of_another_file_do_not_fit_in() -> None:
    disk = MemoryDisk()
    older, newer = _write(disk, sequence=7), _write(disk, sequence=8, revision=3)
    image, other = disk.files[newer].data, disk.files[older].data
    assert len(image) == len(other)
    image[SECTOR_BYTES:] = other[SECTOR_BYTES:]

    with pytest.raises(
        CheckpointDamagedError, match="at byte 512 holds a group that follows another history$"
    ):
        load(newer, disk)


def test_an_entry_that_is_missing_is_noticed() -> None:
    disk = MemoryDisk()
    doubled = {10: [_place(1), _place(1)]}

    with pytest.raises(CheckpointDamagedError, match="has 1 entries instead of 2$"):
        load(_write(disk, doubled), disk)


def test_another_format_version_is_named() -> None:
    disk = MemoryDisk()

    with pytest.raises(CheckpointDamagedError, match="has format version 2; this release reads 1$"):
        load(_write(disk, version=2), disk)


def test_a_file_that_holds_something_else_is_no_checkpoint() -> None:
    disk = MemoryDisk()
    path = _write(disk)
    disk.files[path].data = encode_group([b"\x93\x01\x02\x03"], LogEnd(), 0)

    with pytest.raises(CheckpointDamagedError, match="does not hold a checkpoint: .+"):
        load(path, disk)


def test_a_damaged_newest_one_is_set_aside_and_the_older_used() -> None:
    disk = MemoryDisk()
    older, newer = _write(disk, sequence=7), _write(disk, sequence=9)
    disk.files[newer].data[100] ^= 4

    newest = load_newest(DIRECTORY, disk, HOME)

    assert newest is not None
    head, _, problems = newest
    assert head.sequence == 7
    assert problems == [f"{newer} at byte 0 holds a group that does not match its checksum"]
    assert disk.names(DIRECTORY) == [older.name, f"{newer.name}.damaged"]
    assert sequences(DIRECTORY, disk) == [7]


def test_a_newest_one_that_the_disk_cannot_read_is_set_aside() -> None:
    class BadSector(MemoryDisk):
        def before(self, operation: str, path: Path, size: int) -> None:
            if operation == "read" and path.name.endswith("9.new"):
                raise OSError(errno.EIO, "Input/output error")

    disk = BadSector()
    _write(disk, sequence=7)
    newer = _write(disk, sequence=9)

    newest = load_newest(DIRECTORY, disk, HOME)

    assert newest is not None
    assert newest[0].sequence == 7
    assert newest[2] == [f"{newer} cannot be read: [Errno 5] Input/output error"]


def test_while_none_is_whole_all_stay_where_they_are() -> None:
    disk = MemoryDisk()
    paths = [_write(disk, sequence=7), _write(disk, sequence=9)]
    for path in paths:
        disk.files[path].data[70] ^= 1

    with pytest.raises(CheckpointDamagedError) as raised:
        load_newest(DIRECTORY, disk, HOME)

    text = str(raised.value)
    assert all(str(path) in text for path in paths)
    assert text.endswith(". No whole checkpoint is left: restore one from a backup of the home")
    assert disk.names(DIRECTORY) == [path.name for path in paths]


def test_a_checkpoint_of_another_home_is_refused() -> None:
    disk = MemoryDisk()
    path = _write(disk)

    with pytest.raises(CheckpointDamagedError) as raised:
        load_newest(DIRECTORY, disk, 0x1234)
    assert str(raised.value) == f"{path} belongs to home 000000abcdef, not 000000001234"


def test_two_are_kept_and_what_a_crash_left_half_written_goes() -> None:
    disk = MemoryDisk()
    write_checkpoint(DIRECTORY, disk, _head(5), iter(()))
    for sequence in (7, 9, 11):
        _write(disk, sequence=sequence)

    assert sequences(DIRECTORY, disk) == [9, 11]
    assert len(disk.names(DIRECTORY)) == 2


def test_an_unpublished_checkpoint_does_not_count() -> None:
    disk = MemoryDisk()
    _write(disk, sequence=7)
    write_checkpoint(DIRECTORY, disk, _head(9), iter(()))

    assert sequences(DIRECTORY, disk) == [7]
    # Written again: the half-written one is in nobody's way.
    assert _write(disk, sequence=9).name.endswith("09")


@pytest.mark.slow
def test_a_power_loss_at_any_moment_leaves_a_whole_checkpoint() -> None:
    for fail_at in range(1, 40):
        disk = FaultyDisk()
        _write(disk, sequence=7)
        _write(disk, sequence=8)
        disk.operations, disk.fail_at = 0, fail_at
        try:
            _write(disk, sequence=9)
            finished = True
        except OSError:
            finished = False
        disk.tear(random.Random(fail_at))

        newest = load_newest(DIRECTORY, disk, HOME)

        assert newest is not None
        assert newest[0].sequence == 9 if finished else newest[0].sequence in (8, 9)
        assert newest[2] == []
        assert newest[1].count() == 3
        if finished:
            return
    raise AssertionError("writing a checkpoint never came to its end")


CONNECTIONS = (
    ConnectionModel(id=10, source=1, destination=2, relationships=("success",)),
    ConnectionModel(id=20, source=2, destination=1, relationships=("success",)),
)
PROCESSORS = (
    ProcessorModel(id=1, name="a", type="Step"),
    ProcessorModel(id=2, name="b", type="Step"),
)


def _at_rest() -> Iterator[tuple[str, World]]:
    """Yield worlds in which session or component have flowfiles in their hands."""
    for state in ("taken", "held", "resumed"):
        world = World(PROCESSORS, CONNECTIONS)
        world.put(1, b"1", b"2", b"3")
        session = world.open(2)
        session.take(1)
        second = session.take(1)
        session.transfer(list(session.open.values())[:1], "success")
        if state != "taken":
            session.hold(second)
            session.commit()
        if state == "resumed":
            session.resume(second)
        yield state, world


def test_what_sessions_and_components_hold_is_saved_as_still_in_its_queue() -> None:
    for state, world in _at_rest():
        expected = {10: 3} if state == "taken" else {10: 2, 20: 1}
        world.checkpoint()
        world.disk.lose_power()
        world.recover()

        assert {id: len(members) for id, members in world.live().items()} == expected, state
        runs = world.queue(10).runs()
        assert [run.index for run in runs] == sorted(run.index for run in runs)
