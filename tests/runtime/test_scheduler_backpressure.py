"""Back pressure through a flow, to the exact flowfile.

A limit is soft, as in NiFi: a trigger that began below it is never cut short, so a queue ends at
the first multiple of what a trigger delivers that reaches the limit.
"""

from typing import Any

import pytest

from runtime.component import Component
from runtime.model import ConnectionModel, ProcessorModel
from runtime.processor import Input
from runtime.session import Session
from tests.engine_world import Step, World

AT_ONCE = 10
SIZE = 100
SOURCE, MIDDLE, END = 1, 2, 3


class Source(Step):
    input = Input.FORBIDDEN


class Line:
    """Source, middle and end; `closed` ones are triggered and do nothing."""

    def __init__(self, first: dict[str, Any], second: dict[str, Any], batch: int = 100) -> None:
        self.world = World(
            [
                ProcessorModel(id=SOURCE, name="source", type="Source"),
                ProcessorModel(id=MIDDLE, name="middle", type="Step"),
                ProcessorModel(id=END, name="end", type="Step"),
            ],
            [
                ConnectionModel(
                    id=10, source=SOURCE, destination=MIDDLE, relationships=("success",), **first
                ),
                ConnectionModel(
                    id=20, source=MIDDLE, destination=END, relationships=("success",), **second
                ),
            ],
            declarations={"Source": Source},
        )
        self.batch = batch
        self.closed = {END}
        self.triggers: dict[int, int] = {}

    @property
    def counts(self) -> tuple[int, int]:
        return self.world.queue(10).count, self.world.queue(20).count

    def run(self) -> tuple[int, int]:
        """Trigger whom the scheduler names until it names nobody; return the queues' counts."""
        for _ in range(10_000):
            with self.world.engine.lock:
                component = self.world.scheduler.next_component()
            if component is None:
                return self.counts
            self.trigger(component)
        raise AssertionError("back pressure never stopped the source")

    def trigger(self, component: Component) -> None:
        self.triggers[component.id] = self.triggers.get(component.id, 0) + 1
        session = self.world.open(component.id, self.batch)
        if component.id in self.closed:
            # What looks and takes nothing does not want to be asked again at once.
            self.world.scheduler.yield_for(component, 3600.0)
        elif component.id == SOURCE:
            made = [session.create(content=bytes(SIZE)) for _ in range(AT_ONCE)]
            session.transfer(made, "success")
        elif component.id == MIDDLE:
            session.transfer(session.take(), "success")
        else:
            session.drop(session.take())
        session.commit()
        self.end(component, session)

    def end(self, component: Component, session: Session) -> None:
        with self.world.engine.lock:
            self.world.scheduler.computing -= 1
            self.world.scheduler.finish(component, session, worked=session.committed > 0)

    def take(self, component: int, count: int) -> None:
        """Let flowfiles leave."""
        session = self.world.open(component)
        session.drop(session.take(count))
        session.commit()
        self.world.engine.close_session(session)


@pytest.mark.parametrize(
    ("limit", "count"),
    [
        ({"max_count": 1}, 10),
        ({"max_count": 10}, 10),
        ({"max_count": 11}, 20),
        ({"max_count": 25}, 30),
        # 10 flowfiles of 100 bytes a trigger.
        ({"max_count": 0, "max_bytes": 999}, 10),
        ({"max_count": 0, "max_bytes": 1000}, 10),
        ({"max_count": 0, "max_bytes": 1001}, 20),
        # Whichever limit comes first.
        ({"max_count": 50, "max_bytes": 2500}, 30),
        ({"max_count": 15, "max_bytes": 2500}, 20),
    ],
)
def test_a_source_stops_at_the_first_trigger_that_reaches_the_limit(
    limit: dict[str, int], count: int
) -> None:
    line = Line(limit, {})
    line.closed.add(MIDDLE)
    assert line.run() == (count, 0)


def test_a_full_queue_at_the_end_fills_those_before_it() -> None:
    """The middle goes on until 40 >= 35 lie behind it, the source until 20 >= 15 before it."""
    line = Line({"max_count": 15}, {"max_count": 35}, batch=10)
    assert line.run() == (20, 40)


def test_the_source_goes_on_with_the_first_flowfile_below_the_limit() -> None:
    line = Line({"max_count": 25}, {})
    line.closed.add(MIDDLE)
    assert line.run() == (30, 0)
    line.take(MIDDLE, 5)
    assert line.run() == (25, 0), "25 is still the limit"
    line.take(MIDDLE, 1)
    assert line.run() == (34, 0)


def test_what_a_session_has_taken_still_counts() -> None:
    line = Line({"max_count": 25}, {})
    line.closed.add(MIDDLE)
    line.run()
    session = line.world.open(MIDDLE)
    session.drop(session.take(30))
    assert line.run() == (30, 0)
    session.commit()
    assert line.run() == (30, 0)
    assert line.triggers[SOURCE] == 6


def test_what_was_rolled_back_counts_on_and_makes_no_room() -> None:
    line = Line({"max_count": 25}, {})
    line.closed.add(MIDDLE)
    line.run()
    session = line.world.open(MIDDLE)
    session.take(30)
    session.rollback(penalize=True)
    assert line.run() == (30, 0)


def test_penalized_flowfiles_count_while_they_wait() -> None:
    line = Line({"max_count": 25}, {"max_count": 5})
    line.closed.add(MIDDLE)
    session = line.world.open(MIDDLE)
    flowfiles = [session.penalize(session.create()) for _ in range(5)]
    session.transfer(flowfiles, "success")
    session.commit()
    assert line.world.queue(20).available == 0
    line.closed.remove(MIDDLE)
    assert line.run() == (30, 5)


def test_one_full_way_out_stops_a_component_with_room_on_the_others() -> None:
    connections = [
        ConnectionModel(
            id=10, source=SOURCE, destination=MIDDLE, relationships=("success",), max_count=5
        ),
        ConnectionModel(id=20, source=SOURCE, destination=END, relationships=("failure",)),
    ]
    line = Line({}, {})
    line.world.wire(connections)
    line.closed.update({MIDDLE, END})
    assert line.run() == (10, 0)


def test_a_lower_limit_counts_at_once_and_a_higher_one_lets_go_on() -> None:
    line = Line({"max_count": 25}, {})
    line.closed.add(MIDDLE)
    line.run()
    first, second = line.world.connections

    def limited(count: int) -> list[ConnectionModel]:
        model = ConnectionModel(
            id=10, source=SOURCE, destination=MIDDLE, relationships=("success",), max_count=count
        )
        return [model, second]

    line.world.wire(limited(31))
    assert line.run() == (40, 0)
    line.world.wire(limited(5))
    line.take(MIDDLE, 30)
    assert line.run() == (10, 0), "10 are more than 5"
    assert first.max_count == 25
