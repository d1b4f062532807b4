"""A node's figures, and when it counts as idle."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.component import Component, Status
from runtime.flow_home import FlowFile
from runtime.node import Node
from runtime.queue import Queue
from runtime.status import SILENT_SECONDS, is_idle, status, totals
from tests.home_world import FLOW, ended, make_home, open_node, running, wait_until

STOPPED = FLOW.replace("type: Judge", "type: Judge\n    state: stopped")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node that has adopted the flow and has not started it."""
    flow = make_home(tmp_path / "home")
    node = open_node(tmp_path / "home")
    FlowFile(node, flow).open()
    yield node
    node.stop()


def component(node: Node, name: str) -> Component:
    return next(one for one in node.engine.components.values() if one.name == name)


def queue(node: Node, source: str, relationship: str) -> Queue:
    return next(
        one
        for one in node.engine.queues.values()
        if one.source is component(node, source) and relationship in one.model.relationships
    )


def idle(node: Node, *, quiet_seconds: float = 0.0) -> bool:
    return is_idle(node, node.clock.monotonic() - quiet_seconds)


def test_a_flow_whose_source_ended_and_whose_queues_are_empty_is_idle(node: Node) -> None:
    node.start()

    wait_until(lambda: idle(node))
    assert ended(node) == 3


def test_a_stopped_flow_is_idle(node: Node) -> None:
    assert idle(node)


def test_a_source_is_under_way_until_it_says_that_it_ended(node: Node) -> None:
    node.start()
    wait_until(lambda: idle(node))

    component(node, "number").exhausted = False

    assert not idle(node)


def test_a_source_that_was_quiet_long_enough_rests(node: Node) -> None:
    node.start()
    wait_until(lambda: idle(node))
    component(node, "number").exhausted = False

    assert not idle(node, quiet_seconds=SILENT_SECONDS - 0.5)
    assert idle(node, quiet_seconds=SILENT_SECONDS)


def test_a_quiet_source_that_announced_a_time_is_waited_for(node: Node) -> None:
    node.start()
    wait_until(lambda: idle(node))
    source = component(node, "number")
    source.exhausted, source.wake_at = False, node.clock.monotonic() + 3600

    assert not idle(node, quiet_seconds=2 * SILENT_SECONDS)


def test_a_component_that_is_starting_is_waited_for(node: Node) -> None:
    judge = component(node, "judge")
    judge.status = Status.STARTING

    assert not idle(node, quiet_seconds=2 * SILENT_SECONDS)
    judge.status = Status.STOPPED


def test_a_flowfile_that_waits_is_work_left(tmp_path: Path) -> None:
    with running(tmp_path / "home", make_home(tmp_path / "home", flow=STOPPED)) as node:
        wait_until(lambda: queue(node, "number", "success").count == 3)

        assert component(node, "number").exhausted
        assert not idle(node, quiet_seconds=2 * SILENT_SECONDS)


def test_a_held_flowfile_keeps_no_flow_from_being_idle_and_is_an_error(tmp_path: Path) -> None:
    flow = FLOW.replace("type: Judge", 'type: Judge\n    properties: {Refused: "1"}')
    with running(tmp_path / "home", make_home(tmp_path / "home", flow=flow)) as node:
        wait_until(lambda: idle(node))

        found = totals(node)

    assert (found.held, found.queued, found.errors) == (1, 0, 1)
    assert (found.flowfiles_in, found.flowfiles_out, found.bytes) == (3, 2, 27)


def test_an_open_session_is_work_under_way(node: Node) -> None:
    session = node.engine.open_session(component(node, "number"))

    assert not idle(node, quiet_seconds=2 * SILENT_SECONDS)
    session.rollback()
    node.engine.close_session(session)
    assert idle(node)


def test_the_totals_count_flowfiles_bytes_and_hops(node: Node) -> None:
    node.start()
    wait_until(lambda: idle(node))

    found = totals(node)

    assert (found.flowfiles_in, found.flowfiles_out, found.bytes) == (3, 3, 27)
    assert (found.hops, found.errors, found.queued, found.queued_bytes) == (6, 0, 0, 0)


def test_the_status_is_plain_data_with_names_counts_and_counters(node: Node) -> None:
    node.start()
    wait_until(lambda: idle(node))
    node.log.sync()

    found = json.loads(json.dumps(status(node)))

    assert (found["flow"], found["revision"]) == ("numbers", 1)
    assert found["sequence"] == found["durable"] > 0
    assert found["counters"] == {"numbers": 3}
    assert found["stopped"] == ""
    number, judge = found["components"]
    assert (number["path"], number["type"], number["status"]) == ("number", "Number", "running")
    assert number["exhausted"] and number["counters"] == {"numbers": 3}
    assert judge["total"]["in_count"] == 3 and judge["five_minutes"]["ended"] == 3
    ways = {tuple(one["relationships"]): one["destination"] for one in found["connections"]}
    assert ways == {("success",): "judge", ("failure",): None}


def test_the_status_tells_why_everything_waits(node: Node) -> None:
    node.scheduler.sources_stop = "sources wait"
    assert status(node)["stopped"] == "sources wait"

    node.scheduler.triggers_stop = "everything waits"
    assert status(node)["stopped"] == "everything waits"


def test_the_status_names_an_extension_that_cannot_be_used(tmp_path: Path) -> None:
    make_home(tmp_path / "home")
    broken = tmp_path / "home" / "extensions" / "broken.py"
    broken.write_text("import nothing_of_this_name")
    with running(tmp_path / "home") as node:
        [found] = status(node)["extensions"]

    assert found["origin"] == str(broken)
    assert found["message"] == "ModuleNotFoundError: No module named 'nothing_of_this_name'"


def test_a_bulletin_is_listed_with_its_repeats(node: Node) -> None:
    for _ in range(2):
        node.bulletins.add("WARN", 0, "flow file", "changed outside")

    [found] = status(node)["bulletins"]

    assert (found["level"], found["source"], found["repeats"]) == ("WARN", "flow file", 2)
    assert found["message"] == "changed outside"
