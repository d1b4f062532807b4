"""What the general way of committing makes of a session: retries, penalties, clones, places."""

from typing import Any

import pytest

from runtime.commit import Commit, EventType, Reason, Target, decode, decode_ids
from runtime.flowfile import FlowFile
from runtime.model import HOLD, ConnectionModel, ProcessorModel, Retry
from runtime.session import Session
from tests.engine_world import World

A, B = 1, 2
IN, OUT, COPY, KEPT = 10, 20, 21, 22
START = 1_000_000


def _world(retry: Retry | None = None, **settings: Any) -> World:
    """A feeds B; B's success leads to two queues, its failure is kept, its other ends."""
    return World(
        (
            ProcessorModel(id=A, name="a", type="Step"),
            ProcessorModel(
                id=B,
                name="b",
                type="Step",
                penalty_seconds=5.0,
                yield_seconds=2.0,
                retry=retry or Retry(),
            ),
        ),
        (
            ConnectionModel(id=IN, source=A, destination=B, relationships=("success",)),
            ConnectionModel(id=OUT, source=B, destination=A, relationships=("success",)),
            ConnectionModel(id=COPY, source=B, destination=A, relationships=("success",)),
            ConnectionModel(id=KEPT, source=B, destination=HOLD, relationships=("failure",)),
        ),
        **settings,
    )


def _taken(world: World, *contents: bytes) -> tuple[Session, list[FlowFile]]:
    world.put(A, *contents)
    session = world.open(B, 100)
    return session, session.take()


def _lying(world: World, connection: int) -> list[FlowFile]:
    return [one for run in world.queue(connection).runs() for one in run.flowfiles]


def _last(world: World) -> Commit:
    return decode(world.records[-1])


def _ids(flowfiles: list[FlowFile]) -> list[int]:
    return [flowfile.id for flowfile in flowfiles]


def _check(world: World) -> None:
    """Assert that queues, their counts and the content's references are those of the fold."""
    fold = world.fold()
    folded = {
        id: {entry.flowfile.id: entry.flowfile for entry in queue.values()}
        for id, queue in fold.queues.items()
        if queue
    }
    assert folded == world.live()
    for id, queue in world.engine.queues.items():
        members = folded.get(id, {})
        assert (queue.count, queue.size) == (
            len(members),
            sum(one.size for one in members.values()),
        )
    world.log.sync()
    content = world.engine.content
    for one in content.statistics():
        live = [claim for claim in fold.live_claims() if claim.segment == one.segment]
        assert content.references.holders(one.segment)[0] == len(live)


# Clones


def test_every_connection_after_the_first_gets_clones() -> None:
    world = _world()
    session, flowfiles = _taken(world, b"1", b"2")
    session.transfer(flowfiles, "success")
    session.commit()

    routed = _last(world).routed[0]
    clones = routed.targets[1].clones
    assert routed.targets[0] == Target(OUT)
    assert clones is not None
    assert world.ids(OUT) == _ids(flowfiles)
    assert world.ids(COPY) == list(decode_ids(clones))
    contents = [world.engine.content.read(one.claim) for one in _lying(world, COPY)]
    assert contents == [b"1", b"2"]
    _check(world)


def test_a_clone_enters_with_its_commit_and_keeps_its_lineage() -> None:
    world = _world()
    world.put(A, b"1")
    world.advance(60.0)
    session = world.open(B)
    session.transfer(session.take(), "success")
    session.commit()

    original, clone = (_lying(world, id)[0] for id in (OUT, COPY))
    assert clone.lineage_start == original.lineage_start
    assert clone.entered == original.entered + 60_000


# Penalties and reasons


def test_what_is_penalized_waits_where_it_goes() -> None:
    world = _world()
    session, flowfiles = _taken(world, b"1", b"2")
    session.penalize(flowfiles[0])
    session.transfer(flowfiles, "success")
    session.commit()

    now = world.clock.wall()
    parts = [(list(decode_ids(one.ids)), one.due) for one in _last(world).routed]
    assert parts == [(_ids(flowfiles)[:1], int((now + 5) * 1000)), (_ids(flowfiles)[1:], 0)]
    assert (world.queue(OUT).count, world.queue(OUT).available) == (2, 1)
    _check(world)

    world.advance(4.9)
    assert world.queue(OUT).available == 1
    world.advance(0.2)
    assert world.queue(OUT).available == 2
    assert world.ids(OUT) == _ids(flowfiles)[::-1]


def test_failures_are_recorded_by_their_reasons() -> None:
    world = _world()
    session, flowfiles = _taken(world, b"1", b"2", b"3", b"4")
    try:
        raise LookupError("no such key")
    except LookupError as error:
        session.transfer(flowfiles[0], "failure", reason=error)
        session.transfer(flowfiles[1], "failure", reason=error)
    session.transfer(flowfiles[2], "failure", reason="too old")
    session.transfer(flowfiles[3], "failure")
    session.commit()

    routed = _last(world).routed
    assert [list(decode_ids(one.ids)) for one in routed] == [
        _ids(flowfiles)[:2],
        _ids(flowfiles)[2:3],
        _ids(flowfiles)[3:],
    ]
    first, second, third = (one.reason for one in routed)
    assert first is not None
    assert (first.kind, first.message) == ("LookupError", "no such key")
    assert first.place.startswith("test_commit_plan.py:")
    assert (second, third) == (Reason("", "too old"), None)
    assert world.ids(KEPT) == _ids(flowfiles)
    _check(world)


# Put back, held, resumed


def test_what_is_put_back_lies_in_its_old_place_as_it_was() -> None:
    world = _world()
    session, flowfiles = _taken(world, b"1", b"2", b"3")
    changed = session.write(session.put(flowfiles[1], {"a": "1"}), b"other")
    session.put_back(changed)
    session.transfer([flowfiles[0], flowfiles[2]], "other")
    world.put(A, b"4")
    session.commit()

    assert world.ids(IN)[0] == flowfiles[1].id
    assert _lying(world, IN)[0] == flowfiles[1]
    assert (_last(world).changed, _last(world).rewritten) == ([], [])
    assert list(decode_ids(_last(world).taken[0].ids)) == [flowfiles[0].id, flowfiles[2].id]
    _check(world)


def test_putting_back_alone_writes_no_record() -> None:
    world = _world()
    session, flowfiles = _taken(world, b"1", b"2")
    session.put_back(flowfiles, wait_seconds=3.0)
    session.commit()

    assert len(world.records) == 1
    assert (world.queue(IN).count, world.queue(IN).available) == (2, 0)
    world.advance(3.0)
    assert world.queue(IN).available == 2
    _check(world)


def test_held_flowfiles_stay_in_their_queue_until_a_session_moves_them() -> None:
    world = _world()
    session, flowfiles = _taken(world, b"1", b"2", b"3")
    session.hold(flowfiles[:2])
    session.transfer(flowfiles[2], "other")
    session.commit()
    assert (world.queue(IN).count, world.queue(IN).available) == (2, 0)
    _check(world)

    session.resume(flowfiles[:2])
    session.hold(flowfiles[0])
    session.transfer(flowfiles[1], "other")
    session.commit()

    assert list(world.engine.components[B].held) == [flowfiles[0].id]
    assert _last(world).taken[0].connection == IN
    assert list(decode_ids(_last(world).taken[0].ids)) == [flowfiles[1].id]
    _check(world)

    session.resume(flowfiles[:1])
    session.put_back(flowfiles[0])
    session.commit()
    assert world.ids(IN) == [flowfiles[0].id]
    assert world.queue(IN).available == 1
    _check(world)


# What was created and dropped at once


def test_what_was_created_and_dropped_in_one_session_never_was() -> None:
    world = _world()
    session, flowfiles = _taken(world, b"parent")
    clones = [session.clone(flowfiles[0]) for _ in range(3)]
    child = session.create(content=b"child", parents=flowfiles[0])
    alone = session.create(content=b"alone")
    session.drop([clones[1], child, alone])
    session.transfer([flowfiles[0], clones[0], clones[2]], "other")
    session.commit()

    created = _last(world).created
    assert [(one.event, _ids(one.flowfiles)) for one in created] == [
        (EventType.CLONE, _ids([clones[0], clones[2]]))
    ]
    assert created[0].parents is not None
    assert list(decode_ids(created[0].parents)) == [flowfiles[0].id] * 2
    assert _last(world).dropped == []
    _check(world)


# Retry


RETRY = Retry(relationships=("failure",), count=2)


def test_a_failure_is_tried_again_before_it_leaves() -> None:
    world = _world(RETRY)
    world.put(A, b"1")
    for attempt in range(3):
        session = world.open(B)
        (flowfile,) = session.take()
        session.transfer(flowfile, "failure", reason=f"attempt {attempt}")
        session.commit()
        _check(world)
        if attempt < 2:
            deferred = _last(world).deferred[0]
            assert (deferred.connection, deferred.retries) == (IN, attempt + 1)
            assert deferred.reason == Reason("", f"attempt {attempt}")
            assert _last(world).routed == []
            assert world.queue(IN).available == 0
            # The penalty, doubled with each attempt.
            world.advance(5.0 * 2**attempt - 0.1)
            assert world.queue(IN).available == 0
            world.advance(0.2)
            assert world.queue(IN).available == 1

    assert world.ids(KEPT) == [flowfile.id]
    assert world.engine.components[B].statistics.totals.in_count == 1


@pytest.mark.parametrize(
    ("retry", "wait"),
    [
        (Retry(relationships=("failure",), backoff="yield"), 2.0),
        (Retry(relationships=("failure",), max_backoff_seconds=1.5), 1.5),
    ],
)
def test_the_wait_before_a_retry_is_as_configured(retry: Retry, wait: float) -> None:
    world = _world(retry)
    session, flowfiles = _taken(world, b"1")
    session.transfer(flowfiles, "failure")
    session.commit()

    assert world.queue(IN).due_times() == [pytest.approx(world.clock.monotonic() + wait, abs=2e-3)]


def test_a_retry_undoes_all_that_the_session_made_of_the_flowfile() -> None:
    world = _world(RETRY)
    session, (first, second) = _taken(world, b"first", b"second")
    changed = session.write(session.put(first, {"a": "1"}), b"changed")
    child = session.create({"child": "1"}, b"child", parents=changed)
    grandchild = session.clone(child)
    clone = session.clone(second)
    session.sent(child, "test://there")
    session.sent(second, "test://there")
    session.penalize(child)
    session.transfer([child, second, clone], "success", reason="why not")
    session.drop(grandchild)
    session.transfer(changed, "failure")
    session.commit()

    record = _last(world)
    assert [list(decode_ids(one.ids)) for one in record.routed] == [[second.id, clone.id]]
    assert [_ids(one.flowfiles) for one in record.created] == [[clone.id]]
    assert [one.ids[0] for one in record.reported] == [second.id]
    assert (record.changed, record.rewritten, record.dropped) == ([], [], [])
    assert _lying(world, IN)[0] == first
    _check(world)


def test_what_was_joined_with_others_is_not_tried_again() -> None:
    world = _world(RETRY)
    session, flowfiles = _taken(world, b"1", b"2")
    joined = session.create(content=b"12", parents=flowfiles)
    session.transfer(joined, "other")
    session.transfer(flowfiles, "failure")
    session.commit()

    assert _last(world).deferred == []
    assert world.ids(KEPT) == _ids(flowfiles)
    _check(world)


def test_what_was_created_here_has_no_queue_to_be_tried_again_in() -> None:
    world = _world(RETRY)
    session = world.open(B)
    created = session.create(content=b"1")
    session.transfer(created, "failure")
    session.commit()

    assert world.ids(KEPT) == [created.id]
    _check(world)


def test_a_resumed_flowfile_can_be_tried_again() -> None:
    world = _world(RETRY)
    session, flowfiles = _taken(world, b"1", b"2")
    session.hold(flowfiles)
    session.commit()
    session.resume(flowfiles)
    session.transfer(flowfiles, "failure")
    session.commit()

    assert world.queue(IN).available == 0
    assert sorted(one.retries for one in world.queue(IN).runs()) == [1, 1]
    assert world.engine.components[B].held == {}
    _check(world)


def test_a_retry_survives_a_crash_and_waits_no_longer_than_before() -> None:
    world = _world(RETRY)
    session, flowfiles = _taken(world, b"1")
    session.transfer(flowfiles, "failure")
    session.commit()
    world.log.sync()
    world.disk.lose_power()
    world.recover()

    (run,) = world.queue(IN).runs()
    assert (run.retries, run.flowfiles) == (1, flowfiles)
    world.advance(5.1)
    assert world.queue(IN).available == 1


# Totals and edits


def test_totals_count_what_came_went_and_ended() -> None:
    world = _world()
    session, flowfiles = _taken(world, b"1", b"22", b"333")
    session.read(flowfiles[0])
    session.transfer(flowfiles[0], "success")
    session.transfer(session.write(flowfiles[1], b"four"), "other")
    session.drop(flowfiles[2])
    session.commit()

    totals = world.engine.components[B].statistics.totals
    assert (totals.in_count, totals.in_bytes) == (3, 6)
    assert (totals.out_count, totals.out_bytes) == (2, 2)
    assert (totals.read_bytes, totals.written_bytes) == (1, 4)
    assert (totals.ended, totals.failed) == (2, 0)
    _check(world)


def test_an_edit_between_plan_and_commit_is_followed() -> None:
    world = _world()
    session, flowfiles = _taken(world, b"1")
    session.transfer(flowfiles, "success")
    wait_for_room = world.log.wait_for_room

    def rewire() -> None:
        world.log.wait_for_room = wait_for_room  # type: ignore[method-assign]  # once is enough
        world.wire(world.connections[:2])

    world.log.wait_for_room = rewire  # type: ignore[method-assign]  # an edit comes in between
    session.commit()

    assert [one.connection for one in _last(world).routed[0].targets] == [OUT]
    assert world.ids(OUT) == _ids(flowfiles)
    assert world.queue(COPY).count == 0
    _check(world)
