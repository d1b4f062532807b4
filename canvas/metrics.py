"""Prometheus metrics of a node, in the field's naming conventions.

Collected when somebody scrapes; between scrapes they cost nothing. Labels are closed sets:
component and connection paths of the flow, never attribute values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from runtime.component import Status

if TYPE_CHECKING:
    from runtime.node import Node

_COMPONENT_COUNTERS = (
    ("levada_component_flowfiles_in", "Flowfiles taken.", "in_count"),
    ("levada_component_flowfiles_out", "Flowfiles put into connections.", "out_count"),
    ("levada_component_flowfiles_ended", "Flowfiles that ended here.", "ended"),
    ("levada_component_read_bytes", "Content bytes read.", "read_bytes"),
    ("levada_component_written_bytes", "Content bytes written.", "written_bytes"),
    ("levada_component_tasks", "Triggers that ended.", "tasks"),
    ("levada_component_task_seconds", "Time spent in triggers.", "task_seconds"),
)


class NodeCollector(Collector):
    """Reads a node's figures."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        yield from self._components()
        yield from self._connections()
        yield from self._node_figures()

    def _components(self) -> Iterator[Metric]:
        components = list(self._node.engine.components.values())
        for name, description, field in _COMPONENT_COUNTERS:
            family = CounterMetricFamily(name, description, labels=["component", "type"])
            for one in components:
                value = getattr(one.statistics.totals, field)
                family.add_metric([one.path, one.declaration.__name__], value)
            yield family
        running = GaugeMetricFamily(
            "levada_component_running", "1 while the component runs.", labels=["component"]
        )
        for one in components:
            running.add_metric([one.path], float(one.status is Status.RUNNING))
        yield running

    def _connections(self) -> Iterator[Metric]:
        labels = ["source", "destination", "connection"]
        count = GaugeMetricFamily(
            "levada_connection_queued_flowfiles", "Flowfiles queued.", labels=labels
        )
        size = GaugeMetricFamily("levada_connection_queued_bytes", "Bytes queued.", labels=labels)
        full = GaugeMetricFamily(
            "levada_connection_full", "1 while it holds back pressure.", labels=labels
        )
        for queue in list(self._node.engine.queues.values()):
            source = queue.source.path if queue.source is not None else ""
            destination = queue.destination.path if queue.destination is not None else ""
            values = [source, destination, str(queue.id)]
            count.add_metric(values, queue.count)
            size.add_metric(values, queue.size)
            full.add_metric(values, float(queue.is_full))
        yield from (count, size, full)

    def _node_figures(self) -> Iterator[Metric]:
        node = self._node
        yield CounterMetricFamily(
            "levada_hops", "Flowfiles moved or ended by a commit.", value=node.engine.hops
        )
        yield CounterMetricFamily(
            "levada_commits", "Records in the log.", value=node.engine.sequence
        )
        yield GaugeMetricFamily(
            "levada_commits_not_durable",
            "Records that are not durable yet.",
            value=node.engine.sequence - node.log.durable,
        )
        yield CounterMetricFamily(
            "levada_error_bulletins", "Bulletins of level ERROR.", value=node.bulletins.errors
        )
        counters = CounterMetricFamily("levada_counter", "Counters of the flow.", labels=["name"])
        for name, value in list(node.engine.counters.items()):
            counters.add_metric([name], value)
        yield counters


def render(node: Node) -> bytes:
    """Return the exposition text."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(node))
    return generate_latest(registry)
