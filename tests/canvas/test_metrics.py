"""The exposition of a node's figures: names, labels and values."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from canvas.metrics import render
from runtime.flow_home import FlowFile
from runtime.node import Node
from tests.home_world import FLOW, ended, make_home, open_node, wait_until

NAMES = {
    "levada_component_flowfiles_in": "counter",
    "levada_component_flowfiles_out": "counter",
    "levada_component_flowfiles_ended": "counter",
    "levada_component_read_bytes": "counter",
    "levada_component_written_bytes": "counter",
    "levada_component_tasks": "counter",
    "levada_component_task_seconds": "counter",
    "levada_component_running": "gauge",
    "levada_connection_queued_flowfiles": "gauge",
    "levada_connection_queued_bytes": "gauge",
    "levada_connection_full": "gauge",
    "levada_hops": "counter",
    "levada_commits": "counter",
    "levada_commits_not_durable": "gauge",
    "levada_error_bulletins": "counter",
    "levada_counter": "counter",
}
REFUSING = FLOW.replace("type: Judge", 'type: Judge\n    properties: {Refused: "1"}')


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """Three flowfiles were made; one is held, two ended."""
    flow = make_home(tmp_path / "home", flow=REFUSING)
    node = open_node(tmp_path / "home")
    FlowFile(node, flow).open()
    node.start()
    wait_until(lambda: ended(node) == 2)
    node.log.sync()
    yield node
    node.stop()


def samples(node: Node) -> dict[tuple[str, ...], float]:
    """Return the values by name and sorted `label=value` texts."""
    return {
        (sample.name, *sorted(f"{name}={value}" for name, value in sample.labels.items())):
            sample.value
        for family in text_string_to_metric_families(render(node).decode())
        for sample in family.samples
    }  # fmt: skip


def test_every_family_has_its_name_its_kind_and_a_description(node: Node) -> None:
    families = list(text_string_to_metric_families(render(node).decode()))

    assert {family.name: family.type for family in families} == NAMES
    assert all(family.documentation.endswith(".") for family in families)


def test_components_go_by_path_and_type(node: Node) -> None:
    found = samples(node)

    judge = ("component=judge", "type=Judge")
    assert found["levada_component_flowfiles_in_total", *judge] == 3
    assert found["levada_component_flowfiles_out_total", *judge] == 1
    assert found["levada_component_flowfiles_ended_total", *judge] == 2
    number = ("component=number", "type=Number")
    assert found["levada_component_written_bytes_total", *number] == 27
    assert found["levada_component_running", "component=judge"] == 1


def test_connections_go_by_both_ends_and_their_id(node: Node) -> None:
    [held] = [one for one in node.engine.queues.values() if one.destination is None]
    labels = (f"connection={held.id}", "destination=", "source=judge")

    found = samples(node)

    assert found["levada_connection_queued_flowfiles", *labels] == 1
    assert found["levada_connection_queued_bytes", *labels] == 9
    assert found["levada_connection_full", *labels] == 0


def test_the_figures_of_the_node_stand_for_themselves(node: Node) -> None:
    node.bulletins.add("ERROR", 0, "disk", "full")

    found = samples(node)

    assert found["levada_hops_total",] == 6
    assert found["levada_commits_total",] == node.engine.sequence
    assert found["levada_commits_not_durable",] == 0
    assert found["levada_error_bulletins_total",] == 1
    assert found["levada_counter_total", "name=numbers"] == 3


def test_a_stopped_component_counts_as_not_running(node: Node) -> None:
    node.controller.stop_all(5)

    assert samples(node)["levada_component_running", "component=number"] == 0


def test_a_name_with_quotes_and_lines_is_escaped(node: Node) -> None:
    node.engine.counters['a "b"\n\\c'] = 1

    assert samples(node)["levada_counter_total", 'name=a "b"\n\\c'] == 1
