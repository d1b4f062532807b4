"""Recovery: the fold goes back into an engine, waits go on, and nothing homeless is lost."""

import pytest

from runtime.commit import Commit, Created, EventType, Routed, Target, encode_ids
from runtime.flowfile import Claim, FlowFile
from runtime.fold import Fold, FoldError
from runtime.model import ConnectionModel, ProcessorModel, Retry
from runtime.recovery import load, restore
from tests.engine_world import World

A, B = 1, 2
IN, OUT = 10, 20


def _world() -> World:
    return World(
        (
            ProcessorModel(id=A, name="a", type="Step"),
            ProcessorModel(
                id=B,
                name="b",
                type="Step",
                penalty_seconds=60.0,
                retry=Retry(relationships=("failure",)),
            ),
        ),
        (
            ConnectionModel(id=IN, source=A, destination=B, relationships=("success",)),
            ConnectionModel(id=OUT, source=B, destination=A, relationships=("success",)),
        ),
    )


def _start_again(world: World, *, asleep: float = 0.0, checkpoint: bool = False) -> None:
    """Start on the same disk; the wall clock went on by `asleep` seconds meanwhile."""
    world.log.sync()
    if checkpoint:
        world.checkpoint()
    world.disk.lose_power()
    world.clock.jump(asleep)
    world.recover()


def _rest(world: World, connection: int = IN) -> list[float]:
    """Return how many seconds what waits there has still to wait."""
    now = world.clock.monotonic()
    return [round(at - now, 3) for at in world.queue(connection).due_times()]


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize(
    ("asleep", "rest"),
    [
        (0.0, 60.0),
        (20.0, 40.0),
        (60.0, 0.0),
        (1e6, 0.0),
        # The clock was set back: not for years, only as long as the wait was.
        (-1e6, 60.0),
    ],
)
def test_a_wait_goes_on_and_is_never_longer_than_it_was(
    asleep: float, rest: float, checkpoint: bool
) -> None:
    world = _world()
    world.put(A, b"1")
    session = world.open(B)
    session.take()
    session.rollback(penalize=True)

    _start_again(world, asleep=asleep, checkpoint=checkpoint)

    assert _rest(world) == [rest]
    assert (world.queue(IN).count, world.queue(IN).available) == (1, 0)
    world.advance(rest)
    assert world.queue(IN).available == 1


def test_penalties_and_retries_wait_on_as_well() -> None:
    world = _world()
    world.put(A, b"1", b"2")
    session = world.open(B, 2)
    first, second = session.take()
    session.penalize(first)
    session.transfer(first, "success")
    session.transfer(second, "failure")
    session.commit()

    _start_again(world, asleep=15.0)

    assert (_rest(world, IN), _rest(world, OUT)) == ([45.0], [45.0])
    assert [run.retries for run in world.queue(IN).runs()] == [1]


def test_after_its_wait_a_flowfile_is_offered_to_its_destination() -> None:
    world = _world()
    world.put(A, b"1")
    session = world.open(B)
    session.take()
    session.rollback(penalize=True)
    _start_again(world)
    assert not world.engine.components[B].is_queued

    world.advance(60.0)

    assert world.engine.components[B].is_queued


def test_order_and_places_are_those_of_before() -> None:
    world = _world()
    for batch in (b"1", b"2", b"3"):
        world.put(A, batch, batch)
    session = world.open(B, 3)
    session.transfer(session.take(), "success")
    session.commit()
    before = {id: [(run.sequence, run.index) for run in world.queue(id).runs()] for id in (IN, OUT)}
    ids = world.ids(IN), world.ids(OUT)

    _start_again(world)

    assert (world.ids(IN), world.ids(OUT)) == ids
    for id in (IN, OUT):
        assert [(run.sequence, run.index) for run in world.queue(id).runs()] == before[id]
    world.put(A, b"4")
    assert world.ids(IN)[: len(ids[0])] == ids[0]


@pytest.mark.parametrize("checkpoint", [False, True])
def test_states_counters_and_references_come_back(checkpoint: bool) -> None:
    world = _world()
    world.put(A, b"1", b"2")
    session = world.open(B, 1)
    session.drop(session.take())
    session.set_state({"at": "1"})
    session.count("lines", 3)
    session.commit()

    _start_again(world, checkpoint=checkpoint)

    engine = world.engine
    assert engine.components[B].state == {"at": "1"}
    assert engine.counters == {"lines": 3}
    segments = [one.segment for one in engine.content.statistics()]
    assert [engine.content.references.holders(one)[0] for one in segments] == [1]
    world.put(A, b"3")
    assert engine.sequence == len(world.records) == 3


def test_keyed_state_is_put_in_order_and_only_where_it_is_missing() -> None:
    world = _world()
    world.attempt(A, lambda session: session.set_key("k", b"1"))
    world.attempt(A, lambda session: session.set_key("k", b"2"))
    world.attempt(A, lambda session: session.set_key("other", b"x"))
    world.attempt(A, lambda session: session.set_key("other", None))

    _start_again(world)

    assert world.engine.keyed.read(A, "k") == b"2"
    assert world.engine.keyed.read(A, "other") is None


def test_what_lies_in_a_connection_that_is_gone_is_parked_and_named() -> None:
    world = _world()
    world.put(A, b"1", b"2")
    fold = world.fold()
    world.connections = world.connections[1:]
    world._open(world.log.end())
    world.wire()

    assert load(world.engine, fold) == {IN: 2}

    parked = world.queue(IN)
    assert (parked.count, parked.source, parked.destination) == (2, None, None)
    assert parked not in world.engine.components[B].inputs
    assert [one.id for run in parked.runs() for one in run.flowfiles] == list(fold.queues[IN])


def test_an_empty_connection_that_is_gone_is_forgotten() -> None:
    world = _world()
    world.put(A, b"1")
    world.attempt(B, lambda session: session.drop(session.take()))
    fold = world.fold()
    world.connections = world.connections[1:]
    world._open(world.log.end())
    world.wire()

    assert load(world.engine, fold) == {}
    assert IN not in world.engine.queues


def test_a_missing_content_segment_is_told_and_stops_nothing() -> None:
    world = _world()
    flowfile = FlowFile(1, {}, Claim(77, 0, 5, 1), 0, 0, 5)
    record = Commit(
        0, A, created=[Created(EventType.CREATE, [flowfile])],
        routed=[Routed("success", encode_ids([1]), [Target(IN)])],
    )  # fmt: skip

    restore(world.engine, [(1, record)])

    (bulletin,) = world.engine.bulletins.recent(60.0)
    assert (bulletin.level, bulletin.message) == (
        "ERROR",
        "Content segment 77 is missing; flowfiles that refer to it fail when they are read. "
        "Restore it into the home's content directory",
    )
    assert world.ids(IN) == [1]


def test_records_that_contradict_each_other_are_not_restored() -> None:
    world = _world()
    routed = Commit(0, A, routed=[Routed("success", encode_ids([1]), [Target(IN)])])

    with pytest.raises(FoldError, match=r"^Record 1 routes flowfile 0x1, which is not there$"):
        restore(world.engine, [(1, routed)])
    assert world.ids(IN) == []


def test_an_empty_history_restores_to_nothing() -> None:
    world = _world()

    assert restore(world.engine, []) == Fold()
    assert world.live() == {}
