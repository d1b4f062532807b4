"""The threads that run triggers: blocked ones, hung ones, failing ones, asynchronous ones."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.component import Status
from runtime.engine import TerminatedError
from runtime.flowfile import FlowFile
from runtime.model import HOLD, Schedule
from runtime.processor import Processor, Relationship
from runtime.session import Session
from tests.node_world import (
    Feed,
    Gate,
    Pass,
    connection,
    flow,
    messages,
    open_node,
    processor,
    queued,
    running,
    wait_until,
)


def _step(trigger: Callable[[Pass, Session], None]) -> type[Processor]:
    """A processor whose trigger is this function."""

    class Step(Pass):
        """Does what the test says."""

        def on_trigger(self, session: Session) -> None:
            trigger(self, session)

    return Step


def test_a_hung_trigger_is_terminated_and_its_flowfiles_return(tmp_path: Path) -> None:
    gate = Gate()

    def hang(step: Pass, session: Session) -> None:
        flowfiles = session.take()
        gate.entered.set()
        gate.open.wait(10)
        try:
            session.transfer(flowfiles, step.success)
            session.commit()
        except TerminatedError as error:
            gate.note(str(error))
            raise

    Step = _step(hang)  # noqa: N806  # a class
    model = flow(
        [processor(10, Feed), processor(11, Step, name="hang")],
        [connection(20, 10, 11), connection(21, 11, HOLD)],
    )
    with running(open_node(tmp_path, Step), model) as node:
        assert gate.entered.wait(10)
        taken = node.engine.queues[20].count - node.engine.queues[20].available
        assert taken == Feed.limit

        assert node.controller.terminate(11) == 1

        component = node.engine.components[11]
        assert (component.status, component.active) == (Status.STOPPED, 0)
        assert node.engine.queues[20].available == Feed.limit
        [worker] = node.workers.abandoned
        assert "gate.open.wait(10)" in node.workers.stack_of(worker)

        gate.open.set()
        wait_until(lambda: gate.seen == ["hang was terminated"])
        wait_until(lambda: not node.workers.abandoned, "the late thread ends")
        assert (queued(node, 20), queued(node, 21)) == (Feed.limit, 0)

        gate.entered.clear()
        node.controller.start(11)
        wait_until(lambda: queued(node, 21) == Feed.limit, "it runs again")
        assert messages(node) == []


def test_a_trigger_that_blocks_is_replaced_by_a_spare(tmp_path: Path) -> None:
    gate = Gate()

    def block(step: Pass, session: Session) -> None:
        flowfiles = session.take()
        gate.entered.set()
        gate.open.wait(10)
        session.transfer(flowfiles, step.success)

    Step = _step(block)  # noqa: N806  # a class

    class Other(Feed):
        """Makes flowfiles while another trigger blocks."""

    model = flow(
        [processor(10, Feed), processor(11, Step), processor(12, Other, state="stopped")],
        [connection(20, 10, 11), connection(21, 11, HOLD), connection(22, 12, HOLD)],
    )
    with running(open_node(tmp_path, Step, Other), model) as node:
        assert gate.entered.wait(10)
        node.controller.start(12)
        wait_until(lambda: queued(node, 22) == Feed.limit)
        assert queued(node, 21) == 0
        assert len(node.workers.workers) > 1

        gate.open.set()
        wait_until(lambda: queued(node, 21) == Feed.limit)
        with node.engine.lock:
            assert node.scheduler.computing >= 0


def test_one_poisoned_flowfile_of_a_batch_is_the_only_one_penalized(tmp_path: Path) -> None:
    gate = Gate()

    def choke(step: Pass, session: Session) -> None:
        flowfiles = session.take()
        gate.note(str(len(flowfiles)))
        for flowfile in flowfiles:
            if flowfile.attributes["number"] == "57":
                raise ValueError("no digestion of 57")
        session.transfer(flowfiles, step.success)

    Step = _step(choke)  # noqa: N806  # a class

    class Hundred(Feed):
        """Makes a hundred at once."""

        limit = at_once = 100

    model = flow(
        [processor(10, Hundred), processor(11, Step, name="choke", yield_seconds=0.0)],
        [connection(20, 10, 11), connection(21, 11, HOLD)],
    )
    with running(open_node(tmp_path, Hundred, Step), model) as node:
        wait_until(lambda: queued(node, 21) == 99)
        wait_until(lambda: node.engine.queues[20].available == 0)

        assert queued(node, 20) == 1
        [run] = node.engine.queues[20].runs()
        assert [one.attributes["number"] for one in run.flowfiles] == ["57"]
        assert gate.seen[0] == "100"
        assert gate.count("1") == 100
        assert messages(node) == [
            "choke rolled back: ValueError: no digestion of 57. Its flowfile waits 30 s; next try "
            "in 0 s"
        ]


def test_an_async_trigger_waits_without_a_worker(tmp_path: Path) -> None:
    gate = Gate()
    started: list[asyncio.Event] = []

    class Waiting(Processor):
        """Waits on the event loop."""

        success = Relationship("All.")

        async def start(self) -> None:
            gate.note(threading.current_thread().name)

        async def on_trigger(self, session: Session) -> None:
            flowfiles = session.take()
            event = asyncio.Event()
            started.append(event)
            await event.wait()
            session.transfer(flowfiles, self.success)

    model = flow(
        [processor(10, Feed), processor(11, Waiting)],
        [connection(20, 10, 11), connection(21, 11, HOLD)],
    )
    with running(open_node(tmp_path, Waiting), model) as node:
        wait_until(lambda: started)
        wait_until(lambda: node.scheduler.computing == 0)
        assert node.engine.components[11].active == 1

        node.workers.loop.call_soon_threadsafe(started[0].set)
        wait_until(lambda: queued(node, 21) == Feed.limit)
        assert gate.seen == ["processor loop"]


def test_an_async_trigger_that_fails_rolls_back(tmp_path: Path) -> None:
    class Failing(Processor):
        """Fails on the event loop."""

        success = Relationship("All.")

        async def on_trigger(self, session: Session) -> None:
            session.take(1)
            await asyncio.sleep(0)
            raise ConnectionError("no answer")

    model = flow(
        [processor(10, Feed), processor(11, Failing, name="ask", yield_seconds=60.0)],
        [connection(20, 10, 11)],
    )
    with running(open_node(tmp_path, Failing), model) as node:
        wait_until(lambda: messages(node))
        assert messages(node) == [
            "ask rolled back: ConnectionError: no answer. Its flowfile waits 30 s; next try in 60 s"
        ]
        wait_until(lambda: node.engine.components[11].active == 0)
        assert queued(node, 20) == Feed.limit
        assert node.engine.queues[20].available == Feed.limit - 1


def test_a_terminated_async_trigger_is_cancelled(tmp_path: Path) -> None:
    gate = Gate()

    class Hanging(Processor):
        """Waits for ever."""

        success = Relationship("All.")

        async def on_trigger(self, session: Session) -> None:
            session.take()
            gate.entered.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                gate.note("cancelled")
                raise

    model = flow([processor(10, Feed), processor(11, Hanging)], [connection(20, 10, 11)])
    with running(open_node(tmp_path, Hanging), model) as node:
        assert gate.entered.wait(10)
        assert node.controller.terminate(11) == 1
        wait_until(lambda: gate.seen == ["cancelled"])
        assert node.engine.queues[20].available == Feed.limit
        assert node.engine.sessions == set()


def test_no_more_triggers_run_at_once_than_the_component_allows(tmp_path: Path) -> None:
    lock = threading.Lock()
    at_once: list[int] = [0, 0]
    gate = Gate()

    def count(step: Pass, session: Session) -> None:
        with lock:
            at_once[0] += 1
            at_once[1] = max(at_once)
        flowfiles = session.take(1)
        if at_once[0] == 3:
            gate.open.set()
        gate.open.wait(5)
        session.transfer(flowfiles, step.success)
        with lock:
            at_once[0] -= 1

    Step = _step(count)  # noqa: N806  # a class
    model = flow(
        [
            processor(10, Feed),
            processor(11, Step, schedule=Schedule(concurrent_tasks=3, batch_size=1)),
        ],
        [connection(20, 10, 11), connection(21, 11, HOLD)],
    )
    with running(open_node(tmp_path, Step), model) as node:
        wait_until(lambda: queued(node, 21) == Feed.limit)
    assert at_once == [0, 3]


def test_a_stop_lets_triggers_under_way_end(tmp_path: Path) -> None:
    gate = Gate()

    def slow(step: Pass, session: Session) -> None:
        flowfiles = session.take()
        gate.entered.set()
        wait_until(lambda: step.context.stopping, "the trigger hears of the stop")
        session.transfer(flowfiles, step.success)

    Step = _step(slow)  # noqa: N806  # a class
    model = flow(
        [processor(10, Feed), processor(11, Step)],
        [connection(20, 10, 11), connection(21, 11, HOLD)],
    )
    node = open_node(tmp_path, Step)
    with running(node, model):
        assert gate.entered.wait(10)
        node.controller.stop(11)
        assert (queued(node, 20), queued(node, 21)) == (0, Feed.limit)
        assert node.engine.components[11].instance is None


@pytest.mark.slow
def test_a_node_that_stops_names_the_trigger_that_does_not_end(tmp_path: Path) -> None:
    gate = Gate()

    def hang(step: Pass, session: Session) -> None:
        session.take()
        gate.entered.set()
        gate.open.wait(20)

    Step = _step(hang)  # noqa: N806  # a class
    model = flow([processor(10, Feed), processor(11, Step, name="hang")], [connection(20, 10, 11)])
    node = open_node(tmp_path, Step, settings={"stop_timeout": 0.1})
    node.controller.edit(model, user="test", note="begin")
    node.start()
    assert gate.entered.wait(10)
    assert node.stop() == ["hang"]
    gate.open.set()


def test_a_trigger_that_loses_a_flowfile_is_told_which(tmp_path: Path) -> None:
    def forget(step: Pass, session: Session) -> None:
        kept: list[FlowFile] = session.take(1)
        assert kept

    Step = _step(forget)  # noqa: N806  # a class
    model = flow(
        [processor(10, Feed), processor(11, Step, name="forget", yield_seconds=60.0)],
        [connection(20, 10, 11)],
    )
    with running(open_node(tmp_path, Step), model) as node:
        wait_until(lambda: messages(node))
        [message] = messages(node)
        assert message.startswith(
            "forget rolled back: SessionError: forget left 1 flowfile(s) unaccounted for, the "
            "first is "
        )
        assert "Each one must be transferred, dropped, held or put back" in message
        assert queued(node, 20) == Feed.limit
