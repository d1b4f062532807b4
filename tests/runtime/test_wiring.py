"""Which queue leads from where to where, as the flow model says."""

from runtime.flowfile import FlowFile
from runtime.model import HOLD, ConnectionModel, FlowModel, GroupModel, ProcessorModel
from runtime.queue import PrioritizedQueue, Queue, Run
from runtime.wiring import (
    connections,
    group_paths,
    is_prioritized,
    join,
    move_all,
    ways_out,
)
from tests.engine_world import World

A, B = 1, 2
MODELS = [ProcessorModel(id=A, name="a", type="Step"), ProcessorModel(id=B, name="b", type="Step")]


def _connection(
    id: int, source: int, destination: int, *names: str, max_count: int = 10_000
) -> ConnectionModel:
    return ConnectionModel(
        id=id,
        source=source,
        destination=destination,
        relationships=names or ("success",),
        max_count=max_count,
    )


def _shape(world: World) -> dict[int, tuple[int | None, int | None]]:
    """Source and destination of each queue."""
    return {
        id: (queue.source.id if queue.source else None,
             queue.destination.id if queue.destination else None)
        for id, queue in world.engine.queues.items()
    }  # fmt: skip


def test_each_relationship_leads_to_its_queues() -> None:
    world = World(
        MODELS, [_connection(10, A, B, "success", "failure"), _connection(11, A, HOLD, "failure")]
    )
    component = world.engine.components[A]

    assert {name: [one.id for one in queues] for name, queues in component.routes.items()} == {
        "success": [10], "failure": [10, 11], "other": [],
    }  # fmt: skip
    assert [one.id for one in component.outputs] == [10, 11]
    assert [one.id for one in world.engine.components[B].inputs] == [10]
    assert _shape(world) == {10: (A, B), 11: (A, None)}


def test_a_moved_connection_keeps_its_queue_and_what_lies_in_it() -> None:
    world = World(MODELS, [_connection(10, A, B)])
    world.put(A, b"x", b"y")
    queue, wiring = world.queue(10), world.engine.wiring

    assert world.wire([_connection(10, B, HOLD, "other", max_count=7)]) == {}

    assert world.queue(10) is queue
    assert (queue.count, queue.model.max_count) == (2, 7)
    assert _shape(world) == {10: (B, None)}
    assert world.engine.components[A].outputs == []
    assert world.engine.wiring == wiring + 1


def test_a_connection_that_is_gone_is_told_and_leads_nowhere() -> None:
    world = World(MODELS, [_connection(10, A, B), _connection(11, B, HOLD)])
    world.put(A, b"x")

    lost = world.wire([_connection(11, B, HOLD)])

    assert lost.keys() == {10}
    assert (lost[10].count, lost[10].source, lost[10].destination) == (1, None, None)
    assert world.engine.components[B].inputs == []


def test_other_prioritizers_make_another_queue_of_the_same_flowfiles() -> None:
    world = World(MODELS, [_connection(10, A, B)])
    world.put(A, b"1", b"2", b"3")
    session = world.open(B, 1)
    [taken] = session.take()
    before = world.queue(10)

    newest = ConnectionModel(
        id=10, source=A, destination=B, relationships=("success",), prioritizers=("newest",)
    )
    assert world.wire([newest]) == {}

    after = world.queue(10)
    assert isinstance(after, PrioritizedQueue)
    assert after is not before
    assert (after.count, after.available) == (3, 2)
    session.transfer(taken, "success")
    session.commit()
    world.engine.close_session(session)
    assert (after.count, after.available) == (2, 2), "what was taken is settled in the new one"


def test_moving_keeps_what_waits_waiting() -> None:
    model = _connection(10, A, B)
    source, target = Queue(model), Queue(model)
    source.put(Run(1, [FlowFile(1, {}, None, 0, 0, 5)], 5))
    source.put_waiting(Run(2, [FlowFile(2, {}, None, 0, 0, 7)], 7), 30.0)

    move_all(source, target)

    assert (source.count, source.size) == (0, 0)
    assert (target.count, target.size, target.available) == (2, 12, 1)
    assert target.due_times() == [30.0]


def test_paths_name_the_groups_from_the_top() -> None:
    inner = GroupModel(id=3, name="inner", connections=(_connection(11, 5, 6),))
    outer = GroupModel(id=2, name="outer", groups=(inner,))
    model = FlowModel(
        root=GroupModel(id=1, name="root", groups=(outer,), connections=(_connection(10, 4, 5),))
    )

    assert group_paths(model) == {1: "", 2: "outer", 3: "outer / inner"}
    assert (join("", "tail"), join("outer / inner", "tail")) == ("tail", "outer / inner / tail")
    assert [one.id for one in connections(model)] == [10, 11]


def test_the_ways_out_are_those_that_lead_somewhere() -> None:
    root = GroupModel(
        id=1,
        name="root",
        connections=(
            _connection(10, A, B, "success"),
            _connection(11, A, HOLD, "failure"),
            ConnectionModel(id=12, source=3, destination=A),
        ),
    )
    assert ways_out(FlowModel(root=root)) == {A: {"success", "failure"}, 3: {""}}


def test_first_in_first_out_is_no_priority() -> None:
    def with_prioritizers(*names: str) -> ConnectionModel:
        return ConnectionModel(id=1, source=1, destination=2, prioritizers=names)

    assert not is_prioritized(with_prioritizers())
    assert not is_prioritized(with_prioritizers("fifo"))
    assert is_prioritized(with_prioritizers("oldest"))
    assert is_prioritized(with_prioritizers("fifo", "oldest"))
