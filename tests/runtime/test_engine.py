"""The engine's own promises: expiry, order and visibility of commits, what a failing log leaves."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runtime import commit as commits
from runtime.commit import EventType, decode_ids
from runtime.engine import TerminatedError
from runtime.log import LogFailedError
from runtime.model import ConnectionModel, ProcessorModel
from tests.engine_world import World
from tests.faulty_disk import FaultyDisk
from tests.node_world import wait_until

PROCESSORS = (
    ProcessorModel(id=1, name="first", type="Step"),
    ProcessorModel(id=2, name="second", type="Step"),
    ProcessorModel(id=3, name="third", type="Step"),
)


def _connection(id: int, source: int, destination: int, **more: Any) -> ConnectionModel:
    return ConnectionModel(
        id=id, source=source, destination=destination, relationships=("success",), **more
    )


def _ended(world: World, event: EventType) -> list[int]:
    return [
        id
        for data in world.records
        for dropped in commits.decode(data).dropped
        if dropped.event == event
        for id in decode_ids(dropped.ids)
    ]


# Expiry


def test_what_is_too_old_ends_when_it_would_be_taken() -> None:
    world = World(PROCESSORS, [_connection(9, 1, 2, expiration_seconds=60)])
    world.put(1, b"old", b"old too")
    old = world.ids(9)
    world.advance(40)
    world.put(1, b"young")
    world.advance(21)

    session = world.open(2)
    taken = session.take()
    assert [session.read(one) for one in taken] == [b"young"]
    session.transfer(taken, "success")
    session.commit()

    assert _ended(world, EventType.EXPIRE) == old
    assert world.queue(9).count == 0


def test_a_flowfile_exactly_at_the_age_is_not_too_old() -> None:
    world = World(PROCESSORS, [_connection(9, 1, 2, expiration_seconds=60)])
    world.put(1, b"x")
    world.advance(60)
    assert len(world.open(2).take()) == 1


def test_what_a_session_has_taken_does_not_grow_old_in_its_hands() -> None:
    world = World(PROCESSORS, [_connection(9, 1, 2, expiration_seconds=60)])
    world.put(1, b"x", b"y")
    session = world.open(2)
    session.transfer(session.take(1), "success")
    world.advance(61)
    assert session.take(5) == []
    session.commit()

    assert len(_ended(world, EventType.EXPIRE)) == 1
    assert world.fold().count() == world.queue(9).count == 0


def test_expired_flowfiles_return_with_a_rollback() -> None:
    world = World(PROCESSORS, [_connection(9, 1, 2, expiration_seconds=60)])
    world.put(1, b"x", b"y")
    world.advance(61)
    session = world.open(2)
    assert session.take() == []
    session.rollback()
    assert len(world.ids(9)) == 2
    assert _ended(world, EventType.EXPIRE) == []


# Effects that wait for the sync


class StallingDisk(FaultyDisk):
    """Holds up every sync of the log while `stall` is clear."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.go_on.set()

    def before(self, operation: str, path: Path, size: int) -> None:
        if operation == "sync" and path.parent.name == "log":
            self.go_on.wait(10)
        super().before(operation, path, size)


@contextmanager
def _always(*connections: ConnectionModel) -> Iterator[tuple[World, StallingDisk]]:
    disk = StallingDisk()
    world = World(PROCESSORS, connections, effects_wait=True, disk=disk, background=True)
    try:
        yield world, disk
    finally:
        disk.go_on.set()
        world.log.close()


def _commit_in_thread(world: World, component: int, count: int) -> threading.Thread:
    """Commit a session that takes and sends on; return the thread that waits for the sync."""
    session = world.open(component)
    session.transfer(session.take(count), "success")

    def commit() -> None:
        session.commit()
        world.engine.close_session(session)

    before = world.engine.sequence
    thread = threading.Thread(target=commit)
    thread.start()
    wait_until(lambda: world.engine.sequence > before, "the record is in the log")
    return thread


def test_nobody_sees_a_commit_before_its_sync() -> None:
    with _always(_connection(9, 1, 2), _connection(10, 2, 3)) as (world, disk):
        world.put(1, b"x")
        disk.go_on.clear()
        thread = _commit_in_thread(world, 2, 1)
        assert (world.ids(9), world.ids(10)) == ([], [])
        assert (world.queue(9).count, world.queue(10).count) == (1, 0)
        disk.go_on.set()
        thread.join(10)
        assert (world.queue(9).count, world.queue(10).count) == (0, 1)


def test_commits_become_visible_in_the_order_of_the_log() -> None:
    with _always(_connection(9, 1, 2), _connection(10, 2, 3)) as (world, disk):
        world.put(1, *[b"x"] * 40)
        disk.go_on.clear()
        threads = [_commit_in_thread(world, 2, 5) for _ in range(8)]
        disk.go_on.set()
        for thread in threads:
            thread.join(10)
        sequences = [run.sequence for run in world.queue(10).runs()]
        assert sequences == sorted(sequences) and len(sequences) == 8
        assert world.ids(10) == list(world.fold().queues[10])


def test_a_termination_after_the_record_is_written_doubles_nothing() -> None:
    with _always(_connection(9, 1, 2), _connection(10, 2, 3)) as (world, disk):
        world.put(1, b"x")
        disk.go_on.clear()
        thread = _commit_in_thread(world, 2, 1)
        with world.engine.lock:
            for session in world.engine.sessions:
                session.fenced = True
                world.engine.give_back(session)
        assert world.ids(9) == []
        disk.go_on.set()
        thread.join(10)
        assert (world.queue(9).count, world.queue(10).count) == (0, 1)


def test_who_needs_a_settled_state_waits_for_commits_under_way() -> None:
    with _always(_connection(9, 1, 2), _connection(10, 2, 3)) as (world, disk):
        world.put(1, b"x", b"y")
        disk.go_on.clear()
        thread = _commit_in_thread(world, 2, 1)
        settled = threading.Event()

        def settle() -> None:
            with world.engine.settled():
                assert not world.engine.unapplied
                settled.set()

        waiting = threading.Thread(target=settle)
        waiting.start()
        wait_until(lambda: world.engine.holding)
        assert not settled.is_set()
        disk.go_on.set()
        waiting.join(10)
        thread.join(10)
        assert settled.is_set() and not world.engine.holding
        assert world.queue(10).count == 1


# Commits and the wiring


def test_a_commit_follows_connections_that_moved_while_its_session_was_open() -> None:
    world = World(PROCESSORS, [_connection(9, 1, 2)])
    session = world.open(1)
    session.transfer(session.create(content=b"x"), "success")
    world.wire([_connection(9, 1, 2), _connection(10, 1, 3)])
    session.commit()
    assert (world.queue(9).count, world.queue(10).count) == (1, 1)


def test_a_full_way_out_leaves_the_loop_open() -> None:
    """So that a component that is blocked can still empty its own loop."""
    loop = ConnectionModel(id=10, source=1, destination=1, relationships=("other",))
    full = ConnectionModel(
        id=11, source=1, destination=3, relationships=("success",), max_count=1
    )
    world = World(PROCESSORS, [_connection(9, 2, 1), loop, full])
    world.put(2, b"from outside")
    world.put(1, b"from the loop", relationship="other")
    world.put(1, b"full now")
    session = world.open(1)
    assert [session.read(one) for one in session.take()] == [b"from the loop"]


# Failure


def test_a_terminated_session_does_nothing_more() -> None:
    world = World(PROCESSORS, [_connection(9, 1, 2)])
    world.put(1, b"x", b"y")
    session = world.open(2)
    taken = session.take(1)
    with world.engine.lock:
        session.fenced = True
        world.engine.give_back(session)
    with pytest.raises(TerminatedError, match="second was terminated"):
        session.take()
    session.transfer(taken, "success")
    with pytest.raises(TerminatedError, match="second was terminated"):
        session.commit()
    with pytest.raises(TerminatedError, match="second was terminated"):
        session.resume([])
    session.rollback(penalize=True)
    assert len(world.ids(9)) == world.queue(9).count == 2


def test_a_log_that_fails_leaves_what_was_taken_in_its_queue() -> None:
    world = World(PROCESSORS, [_connection(9, 1, 2)])
    world.put(1, b"x")
    session = world.open(2)
    session.take()
    world.disk.fail_on = "write"
    world.log.request_sync()
    assert len(world.failures) == 1
    with pytest.raises(LogFailedError, match="Nothing later is acknowledged"):
        session.rollback(penalize=True)
    assert len(world.ids(9)) == 1


def test_a_node_record_has_its_effects_with_its_sequence() -> None:
    world = World(PROCESSORS, [_connection(9, 1, 2)])
    seen: list[int] = []
    record = world.engine.new_record()
    sequence = world.engine.act(record, seen.append)
    assert seen == [sequence] == [world.engine.sequence]
    assert commits.decode(world.records[-1]).time == int(world.clock.wall() * 1e6)
