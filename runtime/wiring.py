"""Connect components and queues as the flow model says.

`wire` is pure data in, references out: it decides which queue leads from where to where, and what
each relationship means. Queues keep their flowfiles when either end moves; one whose connection
is gone while it still holds flowfiles is parked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from runtime.component import Component
from runtime.model import HOLD, ConnectionModel, FlowModel
from runtime.queue import Queue

if TYPE_CHECKING:
    from runtime.engine import Engine

MakeQueue = Callable[[ConnectionModel], Queue]


def group_paths(flow: FlowModel) -> dict[int, str]:
    """Return each group's path as messages show it; the root's is empty."""
    paths = {flow.root.id: ""}
    for group in flow.root.walk():
        for child in group.groups:
            parent = paths[group.id]
            paths[child.id] = f"{parent} / {child.name}" if parent else child.name
    return paths


def join(path: str, name: str) -> str:
    """Return a component's path."""
    return f"{path} / {name}" if path else name


def connections(flow: FlowModel) -> Iterable[ConnectionModel]:
    """Yield every connection of the flow."""
    for group in flow.root.walk():
        yield from group.connections


def ways_out(flow: FlowModel) -> dict[int, set[str]]:
    """Return the relationships of each component that lead somewhere."""
    ways: dict[int, set[str]] = {}
    for model in connections(flow):
        ways.setdefault(model.source, set()).update(model.relationships or ("",))
    return ways


def wire(engine: Engine, flow: FlowModel, make_queue: MakeQueue) -> dict[int, Queue]:
    """Set inputs, outputs and routes of all components; return the queues that lost their place.

    Whoever calls holds the engine's lock and has put every component of the flow, with the names
    of its relationships in `routes`, into the engine.
    """
    engine.wiring += 1
    components = engine.components
    for component in components.values():
        component.inputs, component.outputs = [], []
        component.next_input = 0
        component.routes = {name: [] for name in component.routes}
    present = set()
    for model in connections(flow):
        present.add(model.id)
        known = engine.queues.get(model.id)
        queue = _queue(model, known, make_queue)
        engine.queues[model.id] = queue
        if known is not None and known is not queue:
            _replace(engine, known, queue)
        _attach(queue, model, components)
    for component in components.values():
        component.derive()
    lost = {id: queue for id, queue in engine.queues.items() if id not in present}
    for queue in lost.values():
        queue.source = queue.destination = None
    return lost


def _queue(model: ConnectionModel, known: Queue | None, make_queue: MakeQueue) -> Queue:
    if known is None:
        return make_queue(model)
    if known.model.prioritizers != model.prioritizers:
        other = make_queue(model)
        move_all(known, other)
        return other
    known.model = model
    return known


def _replace(engine: Engine, known: Queue, other: Queue) -> None:
    """Let sessions, held flowfiles and timers refer to the new object of their connection."""
    for at in other.due_times():
        engine.scheduling.wait_until(other, at)
    for session in engine.sessions:
        session.taken = [(other if q is known else q, runs) for q, runs in session.taken]
        session.resumed = {
            id: (other if q is known else q, run) for id, (q, run) in session.resumed.items()
        }
        session.deferred = {
            id: (other if q is known else q, run, reason)
            for id, (q, run, reason) in session.deferred.items()
        }
    for component in engine.components.values():
        component.held = {
            id: (other if q is known else q, run) for id, (q, run) in component.held.items()
        }


def move_all(source: Queue, target: Queue) -> None:
    """Move what lies in a queue into another object for the same connection.

    What sessions have taken stays counted, so that their commits settle it here.
    """
    in_flight = source.count - sum(len(run.flowfiles) for run in source.runs())
    in_flight_size = source.size - sum(run.size for run in source.runs())
    waiting = source.take_waiting()
    # A queue with prioritizers gives them by priority; a place is by arrival.
    for run in sorted(source.clear(), key=lambda run: (run.sequence, run.index)):
        target.put(run)
    for at, run in waiting:
        target.put_waiting(run, at)
    target.count += in_flight
    target.size += in_flight_size


def _attach(queue: Queue, model: ConnectionModel, components: dict[int, Component]) -> None:
    source = components.get(model.source)
    destination = components.get(model.destination) if model.destination != HOLD else None
    queue.source, queue.destination = source, destination
    if destination is not None:
        destination.inputs.append(queue)
    if source is None:
        return
    source.outputs.append(queue)
    for relationship in model.relationships or ("",):
        source.routes.setdefault(relationship, []).append(queue)


def is_prioritized(model: ConnectionModel) -> bool:
    """Tell whether a connection needs more than the order of arrival."""
    return model.prioritizers not in ((), ("fifo",))

