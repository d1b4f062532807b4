"""A component at run time: what follows from its wiring, and what its instance sees."""

from typing import Any

import pytest

from runtime.component import ComponentContext, Status
from runtime.model import HOLD, ConnectionModel, ProcessorModel, Schedule
from runtime.processor import Effects, Input
from tests.engine_world import Sink, Step, World

A, B = 1, 2


class Source(Step):
    """Needs no input."""

    input = Input.FORBIDDEN


class Needy(Step):
    """Needs input."""

    input = Input.REQUIRED


class Clock(Step):
    """Runs by schedule whether or not something waits."""

    trigger_when_empty = True
    serial = True


TYPES = {"Source": Source, "Needy": Needy, "Clock": Clock}


def _world(type: str = "Step", **more: Any) -> World:
    first = ProcessorModel(id=A, name="a", type=type, **more)
    second = ProcessorModel(id=B, name="b", type="Sink")
    return World(
        [first, second],
        [
            ConnectionModel(
                id=10, source=A, destination=B, relationships=("success",), max_count=2,
                max_bytes=100,
            ),
            ConnectionModel(
                id=11, source=A, destination=A, relationships=("other",), max_count=1
            ),
            ConnectionModel(id=12, source=B, destination=HOLD, relationships=("success",)),
        ],
        declarations=dict(TYPES),
    )  # fmt: skip


def test_what_writes_outside_waits_for_durability_and_what_is_pure_does_not() -> None:
    world = _world()
    assert not world.engine.components[A].waits_for_durable
    assert world.engine.components[B].waits_for_durable
    assert (Step.effects, Sink.effects) == (Effects.PURE, Effects.WRITES_OUTSIDE)


@pytest.mark.parametrize(
    ("type", "is_source"), [("Source", True), ("Step", True), ("Needy", False), ("Clock", True)]
)
def test_a_source_is_what_may_run_without_an_outer_input(type: str, is_source: bool) -> None:
    component = _world(type).engine.components[A]
    assert not component.has_outer_input, "its own loop does not count"
    assert component.is_source is is_source


def test_what_allows_input_and_has_one_is_no_source() -> None:
    component = _world().engine.components[B]
    assert component.has_outer_input
    assert not component.is_source


def test_a_full_outgoing_queue_blocks_by_count_and_by_size_and_a_loop_never() -> None:
    for contents in ((b"1", b"2"), (b"x" * 100,)):
        world = _world()
        component = world.engine.components[A]
        world.put(A, b"1", b"2", relationship="other")
        assert not component.is_blocked(), "a loop holds nobody up"
        world.put(A, *contents)
        assert component.is_blocked()
        assert not ComponentContext(world.engine, component).has_room()


def test_a_serial_one_has_one_task_whatever_its_schedule_says() -> None:
    schedule = Schedule(concurrent_tasks=4, period="5 sec")
    assert _world("Clock", schedule=schedule).engine.components[A].tasks == 1
    component = _world(schedule=schedule).engine.components[A]
    assert (component.tasks, component.is_timed) == (4, True)
    assert not _world().engine.components[A].is_timed


def test_a_context_shows_its_component() -> None:
    world = _world()
    component = world.engine.components[A]
    context = ComponentContext(world.engine, component)

    assert (context.id, context.name, context.path) == (A, "a", "a")
    assert context.clock is world.clock
    assert not context.stopping
    component.status = Status.STOPPING
    assert context.stopping
    component.state = {"position": "7"}
    assert context.state == {"position": "7"}
    context.exhausted()
    assert component.exhausted


def test_a_context_reports_at_the_level_of_its_component() -> None:
    world = _world(bulletin_level="ERROR")
    context = ComponentContext(world.engine, world.engine.components[A])
    context.report("WARN", "the sea is rough")
    context.report("ERROR", "the ship sinks")
    found = world.engine.bulletins.recent()
    assert [(one.component, one.source, one.message) for one in found] == [
        (A, "a", "the ship sinks")
    ]


def test_a_context_yields_for_the_configured_time_unless_it_is_told_another() -> None:
    world = _world(yield_seconds=7.0)
    component = world.engine.components[A]
    context = ComponentContext(world.engine, component)
    context.yield_for(3.0)
    assert component.yield_until == 3.0
    context.yield_for()
    assert component.yield_until == 7.0
    context.yield_for(1.0)
    assert component.yield_until == 7.0, "the longer one counts"


def test_a_session_of_a_context_commits_like_any_other() -> None:
    world = _world()
    session = ComponentContext(world.engine, world.engine.components[A]).open_session()
    session.transfer(session.create(content=b"x"), "success")
    session.commit()
    session.close()
    assert world.queue(10).count == 1
    assert world.engine.sessions == set()


def test_a_misspelt_name_of_a_context_is_told() -> None:
    world = _world()
    context = ComponentContext(world.engine, world.engine.components[A])
    with pytest.raises(AttributeError) as raised:
        context.logger  # noqa: B018  # that it raises is the point
    assert str(raised.value) == "a processor's context has no 'logger'"
