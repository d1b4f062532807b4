"""A node's figures as plain data: for `levada status`, metrics, progress and later the canvas.

Read from another thread than the engine's; counts are taken one by one, without the engine's
lock, so figures of one snapshot may differ by a commit. `is_idle` alone takes it, for microseconds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from runtime.component import Component, Status

if TYPE_CHECKING:
    from runtime.node import Node

SILENT_SECONDS = 2.0


@dataclass(frozen=True)
class Totals:
    """What a run did so far. `hops`: flowfiles moved or ended by a commit."""

    flowfiles_in: int
    flowfiles_out: int
    bytes: int
    hops: int
    errors: int
    queued: int
    queued_bytes: int
    held: int


def totals(node: Node) -> Totals:
    """Sum up the whole node."""
    components = list(node.engine.components.values())
    queues = list(node.engine.queues.values())
    waiting = [queue for queue in queues if queue.destination is not None]
    kept = [queue for queue in queues if queue.destination is None]
    failed = sum(one.statistics.totals.failed for one in components)
    failed_kept = sum(queue.count for queue in kept if "failure" in queue.model.relationships)
    return Totals(
        flowfiles_in=sum(
            one.statistics.totals.created + one.statistics.totals.received for one in components
        ),
        flowfiles_out=sum(one.statistics.totals.ended for one in components),
        bytes=sum(one.statistics.totals.written_bytes for one in components),
        hops=node.engine.hops,
        errors=node.bulletins.errors + failed + failed_kept,
        queued=sum(queue.count for queue in waiting),
        queued_bytes=sum(queue.size for queue in waiting),
        held=sum(queue.count for queue in kept),
    )


def status(node: Node) -> dict[str, Any]:
    """Return everything that `levada status` shows."""
    now = node.clock.monotonic()
    components = list(node.engine.components.values())
    return {
        "flow": node.flow.name,
        "revision": node.flow.revision,
        "home": str(node.home.path),
        "totals": asdict(totals(node)),
        "sequence": node.engine.sequence,
        "durable": node.log.durable,
        "stopped": node.scheduler.triggers_stop or node.scheduler.sources_stop,
        "components": [_component(one, now) for one in components],
        "connections": [_connection(queue) for queue in list(node.engine.queues.values())],
        "counters": dict(node.engine.counters),
        "bulletins": [
            {
                "time": one.time,
                "level": one.level,
                "source": one.source,
                "message": one.message,
                "repeats": one.repeats,
            }
            for one in node.bulletins.recent()
        ],
        "extensions": [
            {"origin": one.origin, "message": one.message} for one in node.registry.problems
        ],
        "content": _pinning(node),
    }


def is_idle(node: Node, silent_since: float) -> bool:
    """Tell whether nothing is left to do.

    Queues are empty, nothing is under way or due, and every source is exhausted, or did nothing
    since `silent_since` (monotonic) and announced no time at which it wakes.
    """
    engine = node.engine
    quiet = node.clock.monotonic() - silent_since >= SILENT_SECONDS
    # A session that commits between two looks would be seen neither open nor in a queue.
    with engine.lock:
        queues = [queue for queue in engine.queues.values() if queue.destination is not None]
        if engine.sessions or any(queue.count for queue in queues):
            return False
        return all(_rests(component, quiet) for component in engine.components.values())


def _rests(component: Component, quiet: bool) -> bool:
    if component.status is Status.STARTING:
        return False
    if component.status is not Status.RUNNING or component.has_outer_input:
        return True
    if component.exhausted:
        return True
    return quiet and component.wake_at is None


def _component(component: Component, now: float) -> dict[str, Any]:
    recent = component.statistics.recent(now)
    return {
        "id": component.id,
        "name": component.name,
        "path": component.path,
        "type": component.declaration.__name__,
        "status": component.status.value,
        "problems": list(component.problems),
        "active": component.active,
        "exhausted": component.exhausted,
        "five_minutes": asdict(recent),
        "total": asdict(component.statistics.totals),
        "counters": dict(component.counters),
    }


def _connection(queue: Any) -> dict[str, Any]:
    return {
        "id": queue.id,
        "source": queue.source.path if queue.source is not None else None,
        "destination": queue.destination.path if queue.destination is not None else None,
        "relationships": list(queue.model.relationships),
        "queued": queue.count,
        "queued_bytes": queue.size,
        "full": queue.is_full,
        "max_count": queue.model.max_count,
        "max_bytes": queue.model.max_bytes,
    }


def _pinning(node: Node) -> list[dict[str, Any]]:
    """Return the five live segments that hold the most bytes."""
    found = [asdict(one) for one in node.content.statistics()]
    return sorted(found, key=lambda one: -int(one.get("size", 0)))[:5]
