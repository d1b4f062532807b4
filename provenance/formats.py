"""Events, lineage and query results as text for people and as JSON for programs."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

import msgspec
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from provenance.attributes import State
from provenance.content import Contents
from provenance.event import Event
from provenance.lineage import Lineage
from runtime.flowfile import Claim

MAX_DEPTH = 30
"""Births nested deeper than this start a tree of their own: guides would fill the line."""
PLAIN_WIDTH = 10_000


def console(*, terminal: bool) -> Console:
    """A console on standard output; without a terminal lines are as long as they are."""
    return Console() if terminal else Console(width=PLAIN_WIDTH, no_color=True)


def json_text(value: Any) -> str:
    """Write plain data as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


# JSON


def event_json(event: Event) -> dict[str, Any]:
    """Return an event as plain data; ids of 64 bits are strings, because JavaScript rounds them."""
    return {
        "id": str(event.id),
        "sequence": event.sequence,
        "time": event.time.isoformat(),
        "type": event.type,
        "uuid": event.uuid,
        "component": {
            "id": event.component,
            "name": event.component_name,
            "type": event.component_type,
            "group": event.group_path,
        },
        "relationship": event.relationship,
        "taken_from": event.taken_from,
        "put_into": event.put_into,
        "attributes": event.attributes,
        "complete": event.complete,
        "parents": list(event.parents),
        "content": claim_json(event.claim) if event.content else None,
        "transit_uri": event.transit_uri,
        "details": event.details,
        "duration_us": event.duration,
        "reason": _reason_json(event),
    }


def _reason_json(event: Event) -> dict[str, str | None] | None:
    if event.reason_message is None:
        return None
    return {
        "kind": event.reason_kind,
        "message": event.reason_message,
        "place": event.reason_place,
    }


def claim_json(claim: Claim | None) -> dict[str, Any]:
    """Return a claim as plain data; empty content has only a length."""
    if claim is None:
        return {"length": 0}
    return {
        "segment": claim.segment,
        "offset": claim.offset,
        "length": claim.length,
        "checksum": f"{claim.checksum:016x}",
    }


def contents_json(found: Contents) -> dict[str, Any]:
    """Return an event with its flowfile before and after it as plain data."""
    return {
        "event": event_json(found.event),
        "before": _state_json(found.before),
        "after": _state_json(found.after),
    }


def _state_json(state: State) -> dict[str, Any] | None:
    if not state.exists:
        return None
    return {
        "attributes": state.attributes,
        "complete": state.complete,
        "content": claim_json(state.claim) if state.content_known else None,
    }


def lineage_json(lineage: Lineage) -> dict[str, Any]:
    """Return a lineage as nodes (events) and edges (links)."""
    return {
        "uuid": lineage.uuid,
        "nodes": [event_json(event) for event in lineage.events],
        "edges": [
            {"source": str(link.source), "target": str(link.target), "uuid": link.uuid}
            for link in lineage.links
        ],
        "unseen": lineage.unseen,
        "cut": lineage.cut,
    }


def plain(value: Any) -> Any:
    """Return a cell of a query's result as JSON can hold it."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.isoformat() if isinstance(value, date) else str(value)


# Text


def event_table(events: Sequence[Event]) -> Table:
    """A table of events, one line each."""
    table = _table("Event", "Time (UTC)", "Type", "Component", "Flowfile", "What")
    for event in events:
        table.add_row(
            str(event.id), time_text(event.time), event.type, safe(place(event)), event.uuid,
            safe(summary(event)),
        )  # fmt: skip
    return table


def result_table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A table of a query's result."""
    table = _table(*map(safe, names))
    for row in rows:
        table.add_row(*[safe(_cell(value)) for value in row])
    return table


def _table(*titles: str | Text) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def details(found: Contents) -> RenderableType:
    """One event in full: what happened, and the flowfile's attributes before and after."""
    event = found.event
    facts = Table.grid(padding=(0, 2))
    for title, value in _facts(found):
        facts.add_row(Text(title, style="bold"), safe(value))
    table = _table("Attribute", "Before", "After")
    before, after = found.before.attributes, found.after.attributes
    for name in sorted({**before, **after}):
        old, new = before.get(name), after.get(name)
        style = "bold" if old != new else ""
        table.add_row(safe(name), safe(_cell(old)), safe(_cell(new)), style=style)
    parts: list[RenderableType] = [facts, Text(""), table]
    if not found.after.complete:
        parts.append(Text("Earlier events are gone by retention: attributes may be missing here."))
    if not event.attributes and not before and not after:
        parts.pop(2)
    return Group(*parts)


def _facts(found: Contents) -> list[tuple[str, str]]:
    event = found.event
    facts = [
        ("Event", f"{event.id}, {event.type} in commit {event.sequence}"),
        ("Time", f"{time_text(event.time)} UTC, took {event.duration / 1000:g} ms"),
        ("Component", f"{place(event)} ({event.component_type or 'type unknown'})"),
        ("Flowfile", event.uuid),
        ("Parents", ", ".join(event.parents)),
        ("Relationship", event.relationship or ""),
        ("Queues", _queues(event)),
        ("Transit URI", event.transit_uri or ""),
        ("Details", event.details or ""),
        ("Reason", _reason(event)),
        ("Content before", _content(found.before)),
        ("Content after", _content(found.after)),
    ]
    return [(title, value) for title, value in facts if value]


def _content(state: State) -> str:
    if not state.exists:
        return ""
    if not state.content_known:
        return "not known: earlier events are gone by retention"
    claim = state.claim
    if claim is None:
        return "0 bytes"
    return f"{claim.length:,} bytes (segment {claim.segment} at {claim.offset:,})"


def _queues(event: Event) -> str:
    words = []
    if event.taken_from is not None:
        words.append(f"from connection {event.taken_from}")
    if event.put_into is not None:
        words.append(f"into connection {event.put_into}")
    return ", ".join(words)


def place(event: Event) -> str:
    """The component with the path of its group."""
    name = event.component_name or event.component_type
    return name if event.group_path in ("", "/") else f"{event.group_path} / {name}"


def summary(event: Event) -> str:
    """What happened, in a few words."""
    words = []
    if event.relationship:
        words.append(f"to {event.relationship}")
    if event.transit_uri:
        words.append(event.transit_uri)
    if event.details:
        words.append(event.details)
    if event.reason_message is not None:
        words.append(f"because of {_reason(event)}")
    changed = [
        f"{name} removed" if value is None else f"{name}={value}"
        for name, value in event.attributes.items()
    ]
    if changed:
        more = f" and {len(changed) - 4} more" if len(changed) > 4 else ""
        words.append(", ".join(changed[:4]) + more)
    return "; ".join(words)


def _reason(event: Event) -> str:
    if event.reason_message is None:
        return ""
    at = f" at {event.reason_place}" if event.reason_place else ""
    return f"{event.reason_kind}: {event.reason_message}{at}"


def lineage_tree(lineage: Lineage) -> RenderableType:
    """A tree: a flowfile's events below it in time order, flowfiles born of it nested.

    A flowfile with several parents stands below the first; the others point to it.
    """
    children: defaultdict[str, list[str]] = defaultdict(list)
    for child, parents in lineage.parents.items():
        for parent in parents:
            children[parent].append(child)
    own: defaultdict[str, list[Event]] = defaultdict(list)
    for event in lineage.events:
        own[event.uuid].append(event)
    for unseen in lineage.unseen:
        own[unseen] = []
    roots = [uuid for uuid in own if not lineage.parents.get(uuid)]
    trees: list[RenderableType] = []
    shown: set[str] = set()
    while roots:
        trees.append(_tree(
                roots.pop(0), lineage, own=own, children=children, shown=shown, later=roots
            ))
    if lineage.cut:
        trees.append(Text("There is more: the lineage is larger than one picture shows."))
    return Group(*trees)


def _tree(
    root: str,
    lineage: Lineage,
    *,
    own: dict[str, list[Event]],
    children: dict[str, list[str]],
    shown: set[str],
    later: list[str],
) -> Tree:
    top = Tree(_title(root, lineage))
    shown.add(root)
    waiting = [(root, top, 0)]
    while waiting:
        uuid, branch, depth = waiting.pop()
        for event in own[uuid]:
            branch.add(_line(event))
        if not own[uuid]:
            branch.add(Text("no events left: gone by retention"))
        nested = []
        for child in children.get(uuid, []):
            if child in shown or lineage.parents[child][0] != uuid:
                branch.add(Text(f"part of {child}, shown at its first parent"))
            elif depth == MAX_DEPTH:
                branch.add(Text(f"parent of {child}, shown below"))
                later.append(child)
            else:
                nested.append((child, branch.add(_title(child, lineage)), depth + 1))
                shown.add(child)
        waiting.extend(reversed(nested))
    return top


def _title(uuid: str, lineage: Lineage) -> Text:
    return Text(uuid, style="bold reverse" if uuid == lineage.uuid else "bold")


def _line(event: Event) -> Text:
    line = Text(f"{time_text(event.time)}  ")
    line.append(event.type, style="bold")
    line.append_text(safe(f"  {place(event)}  {summary(event)}".rstrip()))
    return line


def time_text(time: datetime) -> str:
    """A time to the millisecond, in UTC."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def safe(value: str) -> Text:
    """Text in which control characters are visible: attributes may hold terminal escapes."""
    return Text(
        "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
    )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, datetime):
        return value.isoformat(" ")
    return str(value)
