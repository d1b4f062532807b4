"""What a node does besides: checkpoints under load, how much log it keeps, a disk that fills up."""

import threading
from functools import partial
from pathlib import Path

import pytest

from runtime import commit as commits
from runtime import maintenance
from runtime.checkpoint import load_newest, sequences
from runtime.clock import ManualClock
from runtime.log_format import LogEnd
from runtime.memory_disk import MemoryDisk
from runtime.model import HOLD
from runtime.node import Node
from runtime.processor import Processor, Relationship
from runtime.registry import Registry
from runtime.session import Session
from runtime.settings import Settings
from tests.node_world import (
    Feed,
    Gate,
    Pass,
    after_power_loss,
    connection,
    flow,
    messages,
    open_node,
    processor,
    queued,
    registry,
    running,
    wait_until,
)


class Tick(Feed):
    """Makes one flowfile each time it runs, without an end."""

    def on_trigger(self, session: Session) -> None:
        session.transfer(session.create(content=b"x" * 100), self.success)


class Paused(Feed):
    """Makes flowfiles only when it is woken."""

    def on_trigger(self, session: Session) -> None:
        session.transfer(session.create(content=b"x" * 1000), self.success)
        self.context.yield_for(3600)


ENDLESS = flow([processor(10, Tick)], [connection(20, 10, HOLD, max_count=0)])


def _checkpoints(node: Node) -> list[int]:
    return sequences(node.home.directory("checkpoints"), node.disk)


def test_a_checkpoint_holds_what_sessions_took_as_still_in_its_queue(tmp_path: Path) -> None:
    gate = Gate()

    class Take(Pass):
        """Keeps what it took until the test lets go."""

        def on_trigger(self, session: Session) -> None:
            flowfiles = session.take()
            gate.entered.set()
            gate.open.wait(20)
            session.transfer(flowfiles, self.success)

    model = flow(
        [processor(10, Feed), processor(11, Take)],
        [connection(20, 10, 11), connection(21, 11, HOLD)],
    )
    with running(open_node(tmp_path, Take), model) as node:
        assert gate.entered.wait(10)
        sequence = node.maintenance.checkpoint()
        newest = load_newest(node.home.directory("checkpoints"), node.disk, node.home.log_home)
        gate.open.set()
        wait_until(lambda: queued(node, 21) == Feed.limit)

    assert newest is not None
    head, fold, problems = newest
    assert (head.sequence, problems) == (sequence, [])
    assert {id: len(entries) for id, entries in fold.queues.items() if entries} == {20: Feed.limit}
    assert head.states == {10: {"made": "10"}}


@pytest.mark.parametrize("fsync", ["group", "always", "never"])
def test_checkpoints_while_sessions_commit_are_states_that_were(
    tmp_path: Path, fsync: str
) -> None:
    disk = MemoryDisk()
    model = flow(
        [processor(10, Tick), processor(11, Pass)],
        [connection(20, 10, 11), connection(21, 11, HOLD, max_count=0)],
    )
    node = open_node(tmp_path, Tick, disk=disk, settings={"fsync": fsync})
    with running(node, model):
        for _ in range(5):
            sequence = node.maintenance.checkpoint()
            wait_until(partial(_is_past, node, sequence))
            newest = load_newest(node.home.directory("checkpoints"), disk, node.home.log_home)
            assert newest is not None
            head, fold, _ = newest
            assert head.sequence == sequence
            assert head.sequence <= node.log.synced
        assert len(_checkpoints(node)) == 2
        node.controller.stop(10)
        wait_until(lambda: queued(node, 20) == 0)
        count = queued(node, 21)

    with running(open_node(tmp_path, Tick, disk=disk, settings={"fsync": fsync})) as again:
        assert again.recovered == []
        assert queued(again, 21) + queued(again, 20) >= count


def test_a_node_without_a_record_writes_no_checkpoint(tmp_path: Path) -> None:
    node = open_node(tmp_path)
    assert node.maintenance.checkpoint() == 0
    assert _checkpoints(node) == []
    node.stop()


def _slow_clock_node(home: Path, clock: ManualClock, disk: MemoryDisk, **settings: object) -> Node:
    """A node that looks only when the test does."""
    values = {"log_file_size": 2**20, "disk_reserve": 0, "stop_timeout": 2.0} | settings
    made: Registry = registry(Tick, Paused)
    return Node(
        home, settings=Settings.model_validate(values), registry=made, clock=clock, disk=disk
    )


def _fill(node: Node, files: int) -> None:
    """Append records until the log has so many closed files."""

    def closed() -> int:
        node.log.sync()
        return sum(one.last_sequence is not None for one in node.log.files())

    while closed() < files:
        for _ in range(20):
            record = node.engine.new_record()
            record.counters = {"x" * 20_000: 1}
            node.engine.act(record)


def test_log_that_no_checkpoint_needs_is_dropped_by_size(tmp_path: Path) -> None:
    node = _slow_clock_node(tmp_path, ManualClock(), MemoryDisk(), log_max_size=2**20)
    try:
        _fill(node, 4)
        assert len(node.log.files()) >= 4
        node.maintenance.drop_log()
        first = node.log.files()[0].first_sequence
        assert first == 1, "without a checkpoint all of it is needed"

        node.maintenance.checkpoint()
        node.maintenance.drop_log()
        kept = _checkpoints(node)[0]
        files = node.log.files()
        assert files[0].first_sequence > 1
        assert files[0].first_sequence <= kept + 1
    finally:
        node.stop()


def test_log_that_recovery_reads_stays_though_it_is_older_than_the_checkpoint(
    tmp_path: Path,
) -> None:
    node = _slow_clock_node(tmp_path / "home", ManualClock(), MemoryDisk(), log_max_size=2**20)
    _fill(node, 2)
    ended = threading.Event()
    end = node.log.end

    def heard() -> LogEnd:
        found = end()
        ended.set()
        return found

    node.log.end = heard  # type: ignore[method-assign]  # listens in; changes nothing
    saving = threading.Thread(target=node.maintenance.checkpoint)
    with node.engine.lock:
        saving.start()
        assert ended.wait(10)
        # More than two files of log, between the place that it noted and the state that it saves.
        for _ in range(150):
            record = node.engine.new_record()
            record.counters = {"x" * 20_000: 1}
            node.engine.sequence = node.log.append(commits.encode(record))
    saving.join(10)
    node.maintenance.drop_log()
    sequence = node.engine.sequence
    disk = after_power_loss(node, tmp_path / "copy")
    node.stop()

    copy = _slow_clock_node(tmp_path / "copy", ManualClock(), disk)
    assert copy.engine.sequence == sequence
    copy.stop()


def test_log_is_kept_as_long_as_it_is_young_and_small(tmp_path: Path) -> None:
    clock = ManualClock()
    node = _slow_clock_node(tmp_path, clock, MemoryDisk(), log_max_age=100.0)
    try:
        _fill(node, 2)
        for _ in range(2):
            node.maintenance.checkpoint()
        node.maintenance.drop_log()
        assert node.log.files()[0].first_sequence == 1
        clock.advance(101)
        node.maintenance.drop_log()
        assert node.log.files()[0].first_sequence > 1
    finally:
        node.stop()


def test_log_that_the_index_has_not_read_stays(tmp_path: Path) -> None:
    class Reader:
        """An index that is at some sequence."""

        sequence = 0
        dropped: list[int] = []

        def catch_up(self, sequence: int) -> None:
            wanted.append(sequence)

        def before_drop(self, sequence: int) -> None:
            self.dropped.append(sequence)

    wanted: list[int] = []
    node = _slow_clock_node(tmp_path, ManualClock(), MemoryDisk(), log_max_size=2**20)
    reader = Reader()
    node.maintenance.indexed.append(reader)
    try:
        _fill(node, 3)
        node.maintenance.checkpoint()
        node.maintenance.drop_log()
        assert node.log.files()[0].first_sequence == 1
        assert wanted == [node.log.durable], "retention asks it to hurry"
        reader.sequence = node.engine.sequence
        node.maintenance.drop_log()
        assert node.log.files()[0].first_sequence > 1
        assert reader.dropped == [node.log.files()[0].first_sequence]
    finally:
        node.stop()


def test_a_look_checkpoints_when_enough_time_or_records_have_passed(tmp_path: Path) -> None:
    clock = ManualClock()
    node = _slow_clock_node(tmp_path, clock, MemoryDisk(), checkpoint_interval=60.0)
    looked: list[int] = []
    node.maintenance.on_look.append(lambda: looked.append(1))
    try:
        node.controller.edit(flow([]), user="test", note="begin")
        node.maintenance.look()
        assert _checkpoints(node) == []
        clock.advance(60)
        node.maintenance.look()
        assert _checkpoints(node) == [1]
        clock.advance(600)
        node.maintenance.look()
        assert _checkpoints(node) == [1], "nothing happened since"
        assert looked
    finally:
        node.stop()


def test_a_nearly_full_disk_stops_sources_and_room_lets_them_go_on(tmp_path: Path) -> None:
    disk = MemoryDisk()
    model = flow(
        [processor(10, Tick), processor(11, Pass)],
        [connection(20, 10, 11), connection(21, 11, HOLD, max_count=0)],
    )
    node = open_node(tmp_path, Tick, disk=disk, settings={"disk_reserve": "8 MB"})
    with running(node, model):
        wait_until(lambda: queued(node, 21) > 5)
        whole = disk.capacity_bytes
        disk.capacity_bytes = whole - disk.free_bytes(tmp_path) + 4 * 2**20
        node.maintenance.look()
        wait_until(lambda: node.engine.components[10].active == 0)
        wait_until(lambda: queued(node, 20) == 0, "what is under way drains")
        stopped = queued(node, 21)
        [said] = messages(node)
        assert said.startswith(f"The disk of {tmp_path} has ")
        assert said.endswith(
            " free, less than the reserve of 8 MB: sources wait. Free some space"
        )
        node.controller.scheduler.wake(node.engine.components[10])
        node.maintenance.look()
        assert len(messages(node)) == 1, "told once"

        disk.capacity_bytes = whole
        node.maintenance.look()
        assert messages(node)[-1] == "There is room on the disk again; all goes on"
        wait_until(lambda: queued(node, 21) > stopped + 5)


@pytest.mark.slow
def test_a_full_disk_for_the_log_stops_every_trigger_until_there_is_room(tmp_path: Path) -> None:
    class Large(Feed):
        """Fills the log, but not all of it within one group of the committer."""

        def on_trigger(self, session: Session) -> None:
            flowfile = session.create({"large": "x" * 10_000})
            session.transfer(flowfile, self.success)
            self.context.yield_for(0.001)

    disk = MemoryDisk()
    node = open_node(tmp_path, Large, disk=disk, settings={"log_file_size": "2 MB"})
    model = flow([processor(10, Large)], [connection(20, 10, HOLD, max_count=0)])
    with running(node, model):
        wait_until(lambda: queued(node, 20) > 2)
        whole = disk.capacity_bytes
        disk.capacity_bytes = whole - disk.free_bytes(tmp_path)

        wait_until(lambda: node.scheduler.triggers_stop)
        full = f"The disk of {tmp_path} is full: everything waits. Free some space"
        wait_until(lambda: full in messages(node))
        wait_until(lambda: node.engine.components[10].active == 0)
        before = queued(node, 20)

        disk.capacity_bytes = whole

        def goes_on() -> bool:
            node.maintenance.look()
            return not node.scheduler.triggers_stop

        wait_until(goes_on)
        wait_until(lambda: queued(node, 20) > before + 20)
        node.controller.stop(10)
    assert node.log.durable == node.engine.sequence


def test_a_look_that_raises_is_told_and_the_next_one_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "LOOK_SECONDS", 0.01)
    looks: list[int] = []

    def refuse() -> None:
        looks.append(1)
        if len(looks) == 1:
            raise OSError("the disk is away")

    node = open_node(tmp_path)
    node.maintenance.on_look.append(refuse)
    with running(node):
        wait_until(lambda: len(looks) > 1)
        assert messages(node) == [
            "Cannot tidy the home: the disk is away. Next try in 0.01 s"
        ]


def test_keys_of_durable_records_reach_the_store_with_the_checkpoint(tmp_path: Path) -> None:
    class Remember(Processor):
        """Keeps each number as a key."""

        success = Relationship("All.")

        def on_trigger(self, session: Session) -> None:
            for flowfile in session.take():
                session.set_key(flowfile.attributes["number"], b"seen")
                session.transfer(flowfile, self.success)

    disk = MemoryDisk()
    model = flow([processor(10, Feed), processor(11, Remember)], [connection(20, 10, 11)])
    with running(open_node(tmp_path, Remember, disk=disk), model) as node:
        wait_until(lambda: node.engine.components[11].statistics.totals.ended == Feed.limit)
        sequence = node.maintenance.checkpoint()
        assert not node.keyed.has_pending
        assert 0 < node.keyed.applied <= sequence

    with running(open_node(tmp_path, Remember, disk=disk)) as again:
        assert again.recovered == []
        assert again.keyed.items(11) == {str(n): b"seen" for n in range(Feed.limit)}


def _is_past(node: Node, sequence: int) -> bool:
    return node.engine.sequence > sequence
