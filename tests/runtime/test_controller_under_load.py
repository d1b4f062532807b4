"""Edits that would lose flowfiles if a running component met them unprepared."""

import threading
from pathlib import Path

import msgspec
import pytest

from runtime import commit as commits
from runtime.checkpoint import load_newest
from runtime.component import Status
from runtime.controller import BusyError
from runtime.log_reader import read_log
from runtime.model import HOLD, FlowModel
from runtime.node import Node
from runtime.processor import Processor
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


class Busy(Feed):
    """Never runs dry while the test lasts."""

    limit = 10**9
    at_once = 7


def _ends_nothing(ids: tuple[int, ...] = (20, 21)) -> FlowModel:
    """A source and a step that have no auto-terminated relationship for what goes well."""
    known = {
        20: connection(20, 10, 11, max_count=50),
        21: connection(21, 11, HOLD, max_count=0),
    }
    return flow(
        [
            processor(10, Busy, ended=()),
            processor(11, Pass, ended=("failure",)),
        ],
        [known[id] for id in ids],
    )


def _made(node: Node) -> int:
    return int(node.engine.components[10].state.get("made", "0"))


def _there(node: Node) -> int:
    return sum(queue.count for queue in node.engine.queues.values())


def test_a_source_that_loses_its_only_connection_stops_and_loses_nothing(tmp_path: Path) -> None:
    with running(open_node(tmp_path / "home", Busy), _ends_nothing()) as node:
        wait_until(lambda: queued(node, 21) > 500)
        node.controller.edit(_ends_nothing((20,)), user="test", note="cut the way out")

        assert node.engine.components[11].status is Status.INVALID
        assert any("relationship 'success' leads nowhere" in one for one in messages(node))
        assert node.engine.components[10].status is Status.RUNNING
        wait_until(lambda: queued(node, 20) >= 50)

        node.controller.edit(_ends_nothing(), user="test", note="and back")
        before = queued(node, 21)
        wait_until(lambda: queued(node, 21) > before + 100)
        node.controller.stop(10)
        wait_until(lambda: queued(node, 20) == 0)
        assert _there(node) == _made(node)


def test_an_edit_that_one_hung_trigger_prevents_leaves_the_others_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.controller.EDIT_WAIT_SECONDS", 0.05)
    gate = Gate()

    class Hang(Pass):
        """Stays in its trigger until it is let go."""

        def on_trigger(self, session: Session) -> None:
            flowfiles = session.take()
            gate.entered.set()
            gate.open.wait(10)
            session.transfer(flowfiles, self.success)

    def model(comment: str, *types: type[Processor]) -> FlowModel:
        steps = [processor(10, Busy, ended=(), penalty_seconds=float(len(comment)))]
        steps.append(processor(11, Hang, ended=("failure",), penalty_seconds=float(len(comment))))
        return flow(steps, [connection(20, 10, 11, max_count=50), connection(21, 11, HOLD)])

    with running(open_node(tmp_path / "home", Busy, Hang), model("a")) as node:
        gate.entered.wait(10)
        before = node.flow.revision
        with pytest.raises(BusyError, match=r"hang 11 is in a trigger that does not end"):
            node.controller.edit(model("ab"), user="test", note="too early")
        assert node.flow.revision == before
        assert node.engine.components[10].penalty_seconds == 1.0
        gate.open.set()
        wait_until(lambda: node.engine.components[10].status is Status.RUNNING)
        wait_until(lambda: queued(node, 21) > 200)
        node.controller.edit(model("ab"), user="test", note="now")
        assert node.engine.components[11].penalty_seconds == 2.0


def test_a_checkpoint_during_edits_has_the_flow_of_its_records(tmp_path: Path) -> None:
    """Else the newest edit would be gone after a crash."""
    node = open_node(tmp_path / "home", Busy)
    found: dict[int, bytes | None] = {}
    edited = threading.Event()

    def checkpoint() -> None:
        while not edited.is_set():
            node.maintenance.checkpoint()
            newest = load_newest(node.home.directory("checkpoints"), node.disk, node.home.log_home)
            assert newest is not None
            found[newest[0].sequence] = newest[0].flow

    with running(node, _ends_nothing()):
        saving = threading.Thread(target=checkpoint)
        saving.start()
        for number in range(1000):
            if len(found) > 5:
                break
            model = msgspec.structs.replace(_ends_nothing(), description=str(number))
            node.controller.edit(model, user="test", note="")
        edited.set()
        saving.join(20)
        node.log.sync()
        reading = read_log(node.home.directory("log"), node.disk, after=0)
        flows: dict[int, bytes | None] = {0: None}
        for sequence, _, data in reading:
            action = commits.decode(data).action
            flows[sequence] = action.flow if action else flows[sequence - 1]
    assert len(found) > 5
    assert found == {sequence: flows[sequence] for sequence in found}
