"""Who may run, and when: the scheduler driven by hand, without threads."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.component import Component, Status
from runtime.model import ConnectionModel, ProcessorModel, Retry, Schedule
from runtime.processor import Input
from runtime.scheduler import PAUSE_SECONDS_MAX, SLEEP_SECONDS_MAX, reconsider_all
from runtime.session import Session
from tests.engine_world import Step, World


class Source(Step):
    input = Input.FORBIDDEN


class Polled(Step):
    """Has inputs, and runs by its schedule as well."""

    trigger_when_empty = True


class Needy(Step):
    input = Input.REQUIRED


class Single(Step):
    serial = True


TYPES = {one.__name__: one for one in (Source, Polled, Needy, Single)}


def _processor(id: int, type: str = "Step", **schedule: Any) -> ProcessorModel:
    return ProcessorModel(id=id, name=f"{type} {id}", type=type, schedule=Schedule(**schedule))


def _connection(id: int, source: int, destination: int, **more: Any) -> ConnectionModel:
    return ConnectionModel(
        id=id, source=source, destination=destination, relationships=("success",), **more
    )


def _world(*processors: ProcessorModel, connections: list[ConnectionModel] | None = None) -> World:
    return World(processors, connections or [], declarations={**TYPES})


def _next(world: World) -> Component | None:
    with world.engine.lock:
        return world.scheduler.next_component()


def _finish(world: World, component: Component, *, worked: bool) -> None:
    with world.engine.lock:
        world.scheduler.computing -= 1
        world.scheduler.finish(component, Session(world.engine, component, 1), worked=worked)


def _runs(world: World, component: int = 1, *, worked: bool = False) -> bool:
    """Tell whether the component is triggered now, and let that trigger end."""
    found = _next(world)
    if found is None:
        return False
    assert found.id == component
    _finish(world, found, worked=worked)
    return True


# Input


def test_a_component_runs_when_something_waits_for_it_and_not_before() -> None:
    world = _world(_processor(1), _processor(2), connections=[_connection(9, 1, 2)])
    world.engine.components[1].status = Status.STOPPED
    assert _next(world) is None
    world.put(1, b"x")
    assert _runs(world, 2)


def test_a_component_that_writes_outside_waits_for_the_sync() -> None:
    world = _world(_processor(1), _processor(2, "Sink"), connections=[_connection(9, 1, 2)])
    world.engine.components[1].status = Status.STOPPED
    world.put(1, b"x")
    assert _next(world) is None
    world.log.request_sync()
    assert _runs(world, 2)


def test_what_needs_an_input_and_has_none_is_never_triggered() -> None:
    world = _world(_processor(1, "Needy"))
    assert _next(world) is None
    assert world.scheduler.seconds_to_timer() is None


def test_a_component_with_a_loop_of_its_own_only_is_no_source_when_it_needs_input() -> None:
    world = _world(_processor(1, "Needy"), connections=[_connection(9, 1, 1)])
    assert _next(world) is None
    world.put(1, b"x")
    assert _runs(world)


def test_ready_components_take_turns() -> None:
    connections = [_connection(10 + id, id, 9, max_count=0) for id in (1, 2, 3)]
    world = _world(*(_processor(id, "Source") for id in (1, 2, 3)), connections=connections)
    order = []
    for _ in range(9):
        component = _next(world)
        assert component is not None
        order.append(component.id)
        _finish(world, component, worked=True)
    assert order == [1, 2, 3] * 3


# Concurrent tasks


def test_as_many_triggers_run_at_once_as_tasks_allow() -> None:
    world = _world(
        _processor(1), _processor(2, concurrent_tasks=2), connections=[_connection(9, 1, 2)]
    )
    world.engine.components[1].status = Status.STOPPED
    world.scheduler.limit = 8
    world.put(1, b"x")
    first, second = _next(world), _next(world)
    assert first is second is world.engine.components[2]
    assert _next(world) is None
    _finish(world, first, worked=False)
    assert _next(world) is first


def test_a_serial_one_never_runs_twice_at_once() -> None:
    world = _world(_processor(1, "Single", concurrent_tasks=4))
    world.scheduler.limit = 8
    assert _next(world) is not None
    assert _next(world) is None


def test_no_more_compute_than_the_limit() -> None:
    world = _world(_processor(1, "Source"), _processor(2, "Source"))
    first = _next(world)
    assert first is not None and _next(world) is None
    _finish(world, first, worked=False)
    assert _next(world) is not None


# Time


def test_a_period_lies_between_two_triggers() -> None:
    world = _world(_processor(1, "Source", period="5 sec"))
    assert _runs(world)
    world.advance(4.9)
    assert not _runs(world)
    world.advance(0.2)
    assert _runs(world)


def test_a_source_that_finds_nothing_is_asked_at_growing_intervals() -> None:
    world = _world(_processor(1, "Source"))
    pauses = []
    for _ in range(12):
        assert _runs(world)
        pause = world.scheduler.seconds_to_timer()
        assert pause is not None
        pauses.append(pause)
        world.advance(pause + 1e-6)
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.02
    assert pauses[-1] == pytest.approx(PAUSE_SECONDS_MAX)


def test_a_source_that_found_something_is_asked_again_at_once() -> None:
    world = _world(_processor(1, "Source"))
    assert _runs(world, worked=True)
    assert _runs(world, worked=True)


def test_an_exhausted_source_rests_until_it_is_woken() -> None:
    world = _world(_processor(1, "Source"))
    component = world.engine.components[1]
    component.exhausted = True
    assert _runs(world)
    assert world.scheduler.seconds_to_timer() is None
    world.advance(1e6)
    assert not _runs(world)
    world.scheduler.wake(component)
    assert not component.exhausted
    assert _runs(world)


def test_a_source_that_said_when_is_not_asked_before() -> None:
    world = _world(_processor(1, "Source"))
    component = _next(world)
    assert component is not None
    world.scheduler.wake_in(component, 3.0)
    _finish(world, component, worked=False)
    world.advance(2.9)
    assert not _runs(world)
    world.advance(0.2)
    assert _runs(world)


def test_a_wake_ends_a_period() -> None:
    world = _world(_processor(1, "Source", period="1 day"))
    assert _runs(world)
    world.scheduler.wake(world.engine.components[1])
    assert _runs(world)
    assert not _runs(world)


def test_a_wake_during_a_trigger_is_not_lost() -> None:
    world = _world(_processor(1, "Source", period="1 day"))
    component = _next(world)
    assert component is not None
    world.scheduler.wake(component)
    _finish(world, component, worked=False)
    assert _runs(world)


def test_a_yield_holds_up_even_what_is_woken() -> None:
    world = _world(_processor(1, "Source"))
    component = world.engine.components[1]
    world.scheduler.yield_for(component, 2.0)
    world.scheduler.yield_for(component, 1.0)
    world.scheduler.wake(component)
    world.advance(1.9)
    assert not _runs(world)
    world.advance(0.2)
    assert _runs(world)


def test_a_schedule_of_a_thousand_years_does_not_disturb_those_who_sleep() -> None:
    world = _world(_processor(1, "Source", period="365000 days"))
    assert _runs(world)
    assert world.scheduler.seconds_to_timer() == SLEEP_SECONDS_MAX


def test_a_source_with_inputs_runs_by_schedule_and_at_once_for_a_flowfile() -> None:
    world = _world(_processor(1), _processor(2, "Polled"), connections=[_connection(9, 1, 2)])
    world.engine.components[1].status = Status.STOPPED
    assert _runs(world, 2)
    assert not _runs(world, 2)
    world.put(1, b"x")
    assert _runs(world, 2)
    component = world.engine.components[2]
    world.open(2).take(1)
    component.exhausted = True
    world.advance(2.0)
    assert _runs(world, 2)
    world.put(1, b"y")
    assert _runs(world, 2)


# CRON


def _cron_world(*connections: ConnectionModel, type: str = "Source") -> World:
    world = World(
        [_processor(1, type, strategy="cron", period="0 * * * * ?"), _processor(2)],
        connections,
        declarations={**TYPES},
    )
    world.engine.components[2].status = Status.STOPPED
    with world.engine.lock:
        world.scheduler.begin(world.engine.components[1])
    return world


def _to_the_next_minute(world: World) -> float:
    return 60 - world.clock.wall() % 60


def test_a_cron_line_triggers_at_its_times_only() -> None:
    world = _cron_world()
    assert not _runs(world)
    world.advance(_to_the_next_minute(world) - 0.5)
    assert not _runs(world)
    world.advance(1.0)
    assert _runs(world)
    assert not _runs(world)
    world.advance(60)
    assert _runs(world)


def test_a_slot_with_nothing_to_do_passes() -> None:
    """What comes a second later waits for the next slot, as in NiFi."""
    world = _cron_world(_connection(9, 2, 1), type="Needy")
    world.advance(_to_the_next_minute(world) + 1)
    world.put(2, b"x")
    assert not _runs(world)
    world.advance(60)
    assert _runs(world)


# Room, and stops


def test_a_full_queue_stops_its_source_until_there_is_room() -> None:
    connections = [_connection(9, 1, 2, max_count=2)]
    world = _world(_processor(1, "Source"), _processor(2), connections=connections)
    world.engine.components[2].status = Status.STOPPED
    world.put(1, b"x", b"y")
    assert _next(world) is None
    session = world.open(2)
    session.drop(session.take(1))
    session.commit()
    assert _runs(world)


def test_a_full_loop_stops_nobody() -> None:
    world = _world(_processor(1), connections=[_connection(9, 1, 1, max_count=1)])
    world.put(1, b"x", b"y")
    assert _runs(world)


def test_without_space_sources_stop_and_what_is_inside_drains() -> None:
    world = _world(
        _processor(1, "Source"), _processor(2), connections=[_connection(9, 1, 2, max_count=0)]
    )
    world.scheduler.sources_stop = "the disk is nearly full"
    world.put(1, b"x")
    assert _runs(world, 2)
    session = world.open(2)
    session.drop(session.take())
    session.commit()
    _runs(world, 2)
    assert _next(world) is None
    world.scheduler.sources_stop = ""
    reconsider_all(world.scheduler)
    assert _runs(world, 1)


def test_a_full_disk_stops_everything() -> None:
    world = _world(_processor(1, "Source"))
    world.scheduler.triggers_stop = "the disk is full"
    assert _next(world) is None
    world.scheduler.triggers_stop = ""
    reconsider_all(world.scheduler)
    assert _runs(world)


@pytest.mark.parametrize("status", [one for one in Status if one is not Status.RUNNING])
def test_only_what_runs_is_triggered(status: Status) -> None:
    world = _world(_processor(1, "Source"))
    world.engine.components[1].status = status
    assert _next(world) is None


def test_running_once_is_one_trigger_whatever_the_tasks() -> None:
    world = _world(_processor(1, "Source", concurrent_tasks=4))
    world.scheduler.limit = 8
    told: list[Component] = []
    world.scheduler.on_ran_once = told.append
    component = world.engine.components[1]
    component.run_once = True
    assert _next(world) is component
    assert _next(world) is None
    _finish(world, component, worked=True)
    assert component.status is Status.STOPPING
    assert told == [component]
    assert _next(world) is None


# The property


class Flow:
    """A flow whose triggers do anything; it must come to its end without being prodded."""

    LIMIT = 40

    def __init__(self, choose: random.Random) -> None:
        self.choose = choose
        limits = choose.choices([0, 1, 3, 1000], k=3)
        order = choose.choice([(), ("newest",)])
        retry = Retry(relationships=("failure",), count=2, backoff="yield")
        sink = ProcessorModel(id=3, name="sink", type="Sink", penalty_seconds=1.0, retry=retry)
        self.world = _world(
            _processor(1, "Source", period=choose.choice(["0 sec", "2 sec"])),
            _processor(2, concurrent_tasks=choose.choice([1, 3])),
            sink,
            _processor(4, "Polled"),
            connections=[
                _connection(10, 1, 2, max_count=limits[0]),
                _connection(11, 2, 3, max_count=limits[1], prioritizers=order),
                ConnectionModel(id=12, source=2, destination=2, relationships=("other",)),
                _connection(13, 3, 4, max_count=limits[2]),
                ConnectionModel(
                    id=14, source=3, destination=2, relationships=("failure",), max_count=0
                ),
            ],
        )
        self.made = 0

    def run(self) -> None:
        """Trigger whom the scheduler names, and let time pass when it names nobody."""
        world, scheduler = self.world, self.world.scheduler
        quiet = 0
        while quiet < 200 and not self.is_done():
            component = _next(world)
            if component is not None:
                self.trigger(component)
                quiet = 0
                continue
            self.nobody_who_is_ready_sleeps()
            if world.log.durable < world.engine.sequence and self.choose.random() < 0.8:
                world.log.request_sync()
                continue
            seconds = scheduler.seconds_to_timer()
            if seconds is None and world.log.durable == world.engine.sequence:
                return
            world.clock.advance(seconds or 0.0)
            quiet += 1

    def is_done(self) -> bool:
        queued = sum(queue.count for queue in self.world.engine.queues.values())
        return self.made == self.LIMIT and not queued

    def nobody_who_is_ready_sleeps(self) -> None:
        with self.world.engine.lock:
            for component in self.world.engine.components.values():
                if self.world.scheduler.is_ready(component):
                    assert component.is_queued, component.name

    def trigger(self, component: Component) -> None:
        session = self.world.open(component.id, self.choose.choice([1, 5, 100]))
        mood = self.choose.random()
        if mood < 0.1:
            session.take()
            session.rollback(penalize=self.choose.random() < 0.5)
            self.world.scheduler.yield_for(component, 0.5)
        elif mood < 0.2:
            session.put_back(session.take(), wait_seconds=self.choose.choice([0.0, 1.5]))
            session.commit()
        else:
            self.work(component, session)
        worked = session.committed > 0
        with self.world.engine.lock:
            self.world.scheduler.computing -= 1
            self.world.scheduler.finish(component, session, worked=worked)

    def work(self, component: Component, session: Session) -> None:
        if component.id == 1 and self.made < self.LIMIT:
            count = min(self.choose.randint(0, 4), self.LIMIT - self.made)
            self.made += count
            session.transfer([session.create() for _ in range(count)], "success")
        for flowfile in session.take():
            ways = ["success"] * 4 + ["other"] * (component.id == 2)
            ways += ["failure"] * (component.id == 3)
            if self.choose.random() < 0.1:
                session.penalize(flowfile)
            session.transfer(flowfile, self.choose.choice(ways))
        session.commit()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_no_ready_component_sleeps_and_every_flowfile_comes_through(seed: int) -> None:
    flow = Flow(random.Random(seed))
    flow.run()
    counts = {id: queue.count for id, queue in flow.world.engine.queues.items()}
    assert flow.is_done(), f"{flow.made} made, left: {counts}"
