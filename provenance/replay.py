"""Replay: put what an event's component was given back into the queue that it came from.

`prepare` decides, from an event and its states, whether that can be done, and what is to be
queued; it changes nothing. The node gives the new flowfile its id and commits it, with a REPLAY
birth whose parent is the event's flowfile.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from provenance.content import Contents
from runtime.flowfile import Claim
from runtime.model import FlowModel

DROPPED_ATTRIBUTES: Final = ("alternate.identifier", "discard.reason")
NOT_REPLAYABLE: Final = ("JOIN",)


class ReplayRefusedError(ValueError):
    """An event that cannot be replayed, and why."""

    def __init__(self, event: int, problem: str) -> None:
        super().__init__(f"Event {event} cannot be replayed: {problem}")


class Replay(NamedTuple):
    """What to queue. `lineage_start` is milliseconds since the epoch, None: not known."""

    event: int
    parent: int
    connection: int
    attributes: dict[str, str]
    claim: Claim | None
    lineage_start: int | None


def prepare(
    found: Contents,
    flow: FlowModel,
    *,
    has_content: Callable[[Claim], bool],
    now: datetime,
    lineage_start: int | None = None,
) -> Replay:
    """Return what a replay of an event is to queue.

    Args:
        found: the event, with its flowfile before and after it.
        flow: the flow as it is now.
        has_content: whether content can still be read, from the archive too.
        now: becomes `flowfile.replay.timestamp`.
        lineage_start: of the event's flowfile, in milliseconds, where it is known.

    Raises:
        ReplayRefusedError: the event is a JOIN; it names no connection that its flowfile came from
            or that connection is gone; its content is gone, or nothing tells what it was.
    """
    event = found.event
    if event.type in NOT_REPLAYABLE:
        raise ReplayRefusedError(
            event.id, f"a {event.type} has several inputs; replay the events of its parents"
        )
    connection = _connection(found, flow)
    state = found.before if found.before.exists else found.after
    if not (state.complete and state.content_known):
        raise ReplayRefusedError(
            event.id,
            "what its flowfile was is not fully known, because provenance retention has dropped "
            "earlier events; replay a later one",
        )
    if state.claim is not None and not has_content(state.claim):
        raise ReplayRefusedError(
            event.id,
            "its content is gone, removed by content retention; keep content longer to replay "
            "older events",
        )
    attributes = {
        name: value for name, value in state.attributes.items() if name not in DROPPED_ATTRIBUTES
    }
    # A flowfile that was given no file name goes by its UUID, and its replay by the same one.
    attributes.setdefault("filename", event.uuid)
    attributes["flowfile.replay"] = "true"
    attributes["flowfile.replay.timestamp"] = timestamp(now)
    return Replay(event.id, event.flowfile, connection, attributes, state.claim, lineage_start)


def _connection(found: Contents, flow: FlowModel) -> int:
    event = found.event
    if event.taken_from is None:
        raise ReplayRefusedError(
            event.id,
            f"its flowfile was taken from no connection by {event.component_name or 'the node'}; "
            "replay an event of the next component",
        )
    known = {connection.id for group in flow.root.walk() for connection in group.connections}
    if event.taken_from not in known:
        raise ReplayRefusedError(
            event.id,
            f"connection {event.taken_from}, from which {event.component_name} took it, no longer "
            "exists; replay an event of a component that is still connected",
        )
    return event.taken_from


def timestamp(now: datetime) -> str:
    """Write a time as NiFi writes `flowfile.replay.timestamp`."""
    return now.astimezone(UTC).strftime("%a %b %d %H:%M:%S UTC %Y")
