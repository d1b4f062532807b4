"""Lineage: where a flowfile came from and what became of it, as a graph of events.

Nodes are events; a link joins consecutive events of one flowfile, and a parent's last event
before a birth (FORK, JOIN, CLONE, REPLAY) with that birth. The flowfiles of a lineage are the
asked one, all its ancestors and all its descendants, but not siblings: what else came of an
ancestor is left out, as are other parents of descendants.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from provenance.database import Database
from provenance.event import SELECTION, Event, event_of
from provenance.search import flowfile_id

MAX_FLOWFILES: Final = 2_000
MAX_EVENTS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Link:
    """From one event to a later one, along the flowfile `uuid`."""

    source: int
    target: int
    uuid: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """`events` are in order. `parents`: UUIDs of parents that belong to the lineage, by child.

    `unseen` are flowfiles of it that have no event left; `cut` says that there were more flowfiles
    or events than one lineage shows.
    """

    uuid: str
    events: list[Event]
    links: list[Link]
    parents: dict[str, list[str]]
    unseen: list[str]
    cut: bool


def lineage(
    database: Database,
    uuid: str,
    *,
    max_flowfiles: int = MAX_FLOWFILES,
    max_events: int = MAX_EVENTS,
) -> Lineage:
    """Return the lineage of a flowfile; with no events when there is no such flowfile.

    Raises:
        SearchError: `uuid` is none of this home.
    """
    identity = database.home.identity
    id = flowfile_id(identity, uuid)
    found = _closure(
        database, id, come="parent", go="child", limit=max_flowfiles + 1
    )
    found |= _closure(
        database, id, come="child", go="parent", limit=max_flowfiles + 1
    )
    cut = len(found) > max_flowfiles
    # The nearest in time are kept: ids grow with time.
    kept = sorted(found, key=lambda other: abs(other - id))[:max_flowfiles]
    rows = database.fetch(
        f"SELECT {SELECTION} FROM event_rows WHERE flowfile IN (SELECT unnest(?::UBIGINT[])) "
        f"ORDER BY id LIMIT {max_events + 1}",
        (kept,),
    )
    events = [event_of(row, identity) for row in rows[:max_events]]
    uuids = {identity.uuid(flowfile) for flowfile in kept}
    return Lineage(
        uuid=identity.uuid(id),
        events=events,
        links=links_between(events),
        parents=_parents(events, uuids),
        unseen=sorted(uuids - {event.uuid for event in events}) if events else [],
        cut=cut or len(rows) > max_events,
    )


def _closure(
    database: Database, start: int, *, come: str, go: str, limit: int
) -> set[int]:
    """All that is reached from `start` along edges, itself included, up to about `limit`.

    One query a generation: DuckDB's recursive queries would go on without a limit.
    """
    found = {start}
    fresh = {start}
    while fresh and len(found) < limit:
        rows = database.fetch(
            f"SELECT DISTINCT {come} FROM edges WHERE {go} IN (SELECT unnest(?::UBIGINT[])) "
            f"LIMIT {limit + len(found)}",
            (sorted(fresh),),
        )
        fresh = {row[0] for row in rows} - found
        found |= fresh
    return found


def links_between(events: list[Event]) -> list[Link]:
    """Return the links of events that are in order."""
    last: dict[str, int] = {}
    links = []
    for event in events:
        previous = last.get(event.uuid)
        if previous is not None:
            links.append(Link(previous, event.id, event.uuid))
        for parent in event.parents:
            source = last.get(parent)
            if source is not None:
                links.append(Link(source, event.id, parent))
        last[event.uuid] = event.id
    return links


def _parents(events: list[Event], uuids: set[str]) -> dict[str, list[str]]:
    parents: defaultdict[str, list[str]] = defaultdict(list)
    for event in events:
        known = parents[event.uuid] if event.parents else []
        for parent in event.parents:
            if parent in uuids and parent not in known:
                known.append(parent)
    return {child: found for child, found in parents.items() if found}
