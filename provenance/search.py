"""Search: events by what people remember of them, newest first.

A `Query` narrows by any of its fields; words match whole and without regard to case, `*` stands
for anything. A condition on an attribute selects *flowfiles*: those of which an event, their own
or of an ancestor, set the value; then all events of these flowfiles are candidates. That is why
the event that sent a flowfile off is found by an attribute which only its birth mentions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from provenance.database import Database
from provenance.event import SELECTION, Event, EventUnknownError, event_of
from provenance.schema import TYPES
from runtime.flowfile import Identity

MAX_RESULTS: Final = 10_000
KNOWN_TYPES: Final = TYPES[1:]


class SearchError(ValueError):
    """A search condition that cannot be met by anything, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Conditions that must all hold; None and empty ones do not count.

    `component` is a name, `group / name`, or an id. `since` is included, `until` not; both carry
    a time zone. `limit` is at most MAX_RESULTS.
    """

    uuid: str | None = None
    filename: str | None = None
    component: str | None = None
    type: str | None = None
    relationship: str | None = None
    reason: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 100


def search(database: Database, query: Query) -> tuple[list[Event], bool]:
    """Return events that meet the query, newest first, and whether there are more.

    Raises:
        SearchError: a condition is malformed.
    """
    identity = database.home.identity
    conditions = _Conditions()
    _add_conditions(conditions, query, identity)
    if not 1 <= query.limit <= MAX_RESULTS:
        raise SearchError(f"The limit is {query.limit}; it must be from 1 to {MAX_RESULTS}")
    where = " AND ".join(conditions.terms) or "true"
    head = f"WITH RECURSIVE {', '.join(conditions.tables)} " if conditions.tables else ""
    # Numbers first, rows then: sorting whole rows took a gigabyte for four million events.
    ids = database.fetch(
        f"{head}SELECT id FROM event_rows WHERE {where} ORDER BY id DESC LIMIT {query.limit + 1}",
        [*conditions.table_parameters, *conditions.parameters],
    )
    found = [row[0] for row in ids]
    return _events(database, found[: query.limit]), len(found) > query.limit


def _events(database: Database, ids: list[int]) -> list[Event]:
    """Read the events with these numbers, which descend."""
    if not ids:
        return []
    rows = database.fetch(
        f"SELECT {SELECTION} FROM event_rows WHERE id IN (SELECT unnest(?::BIGINT[])) "
        f"AND id BETWEEN ? AND ? ORDER BY id DESC LIMIT {len(ids)}",
        (ids, ids[-1], ids[0]),
    )
    return [event_of(row, database.home.identity) for row in rows]


def find_event(database: Database, id: int) -> Event:
    """Return one event.

    Raises:
        EventUnknownError: there is none.
    """
    rows = []
    if 0 <= id < 1 << 63:
        rows = database.fetch(f"SELECT {SELECTION} FROM event_rows WHERE id = ? LIMIT 1", (id,))
    if not rows:
        raise EventUnknownError(id)
    return event_of(rows[0], database.home.identity)


def flowfile_id(identity: Identity, uuid: str) -> int:
    """Parse a UUID that a user typed.

    Raises:
        SearchError: it is no UUID of this home.
    """
    id = identity.id(uuid.strip())
    if id is None:
        raise SearchError(
            f"'{uuid}' is no flowfile of this home; their UUIDs look like {identity.uuid(1 << 44)}"
        )
    return id


class _Conditions:
    """SQL terms and their parameters, in the order in which the text will name them."""

    def __init__(self) -> None:
        self.tables: list[str] = []
        self.table_parameters: list[object] = []
        self.terms: list[str] = []
        self.parameters: list[object] = []

    def add(self, term: str, *parameters: object) -> None:
        self.terms.append(term)
        self.parameters += parameters

    def add_text(self, columns: tuple[str, ...], value: str) -> None:
        pattern = like_pattern(value)
        terms = [f"{column} ILIKE ? ESCAPE '\\'" for column in columns]
        self.add(f"({' OR '.join(terms)})", *[pattern] * len(columns))


def _add_conditions(conditions: _Conditions, query: Query, identity: Identity) -> None:
    if query.uuid is not None:
        conditions.add("flowfile = ?", flowfile_id(identity, query.uuid))
    if query.since is not None:
        conditions.add("time >= ?", _naive(query.since))
    if query.until is not None:
        conditions.add("time < ?", _naive(query.until))
    if query.type is not None:
        conditions.add("type = ?", _known_type(query.type))
    if query.relationship is not None:
        conditions.add_text(("relationship",), query.relationship)
    if query.component is not None:
        _add_component(conditions, query.component)
    if query.reason is not None:
        conditions.add_text(("reason_message", "reason_kind"), f"*{query.reason}*")
    attributes = dict(query.attributes)
    if query.filename is not None:
        attributes["filename"] = query.filename
    for name, value in attributes.items():
        _add_attribute(conditions, name, value, identity)


def _add_component(conditions: _Conditions, component: str) -> None:
    if component.isascii() and component.isdigit() and len(component) < 19:
        conditions.add("(component = ? OR component_name = ?)", int(component), component)
        return
    path = "CASE group_path WHEN '/' THEN '' ELSE group_path || ' / ' END || component_name"
    columns = ("component_name", path) if "/" in component else ("component_name",)
    conditions.add_text(columns, component)


def _add_attribute(conditions: _Conditions, name: str, value: str, identity: Identity) -> None:
    """Select the flowfiles that ever had the value, with all their descendants."""
    if name == "uuid":
        conditions.add("flowfile = ?", flowfile_id(identity, value))
        return
    table = f"having_{len(conditions.tables)}"
    term = "attributes[?] = ?"
    parameters: list[object] = [name, value]
    if "*" in value:
        term = "attributes[?] ILIKE ? ESCAPE '\\'"
        parameters[1] = like_pattern(value)
    first = f"SELECT flowfile FROM rows WHERE {term}"
    id = identity.id(value) if name == "filename" else None
    if id is not None:
        # A flowfile that was never given a file name goes by its UUID.
        first += " UNION ALL SELECT ?::UBIGINT"
        parameters.append(id)
    conditions.tables.append(
        f"{table}(flowfile) AS (SELECT DISTINCT flowfile FROM ({first}) UNION "
        f"SELECT child FROM edges JOIN {table} ON parent = {table}.flowfile)"
    )
    conditions.table_parameters += parameters
    conditions.terms.append(f"flowfile IN (SELECT flowfile FROM {table})")


def like_pattern(value: str) -> str:
    """Turn text with `*` into a LIKE pattern; all other characters stand for themselves."""
    escaped = value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")


def _known_type(type: str) -> str:
    upper = type.strip().upper().replace("-", "_").replace(" ", "_")
    if upper not in KNOWN_TYPES:
        raise SearchError(
            f"'{type}' is no event type; there are {', '.join(KNOWN_TYPES)}"
        )
    return upper


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
