"""What a flowfile was before and after an event: the fold of its rows.

Rows hold differences. The state after commit *n* is the fold of the flowfile's rows up to *n*,
in order: a complete row replaces everything, any other applies its delta, a row with content
replaces the claim. A clone starts as its parent was after the commit that cloned it. Where
retention has dropped a flowfile's first rows and no snapshot stands in for them, the state is
marked as not complete: it holds what is known.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from provenance.database import Database
from provenance.event import Event, claim_of
from provenance.schema import ORDINAL_BITS
from runtime.flowfile import Claim


@dataclass(frozen=True, slots=True)
class State:
    """A flowfile at one moment. `attributes` are those that were set, without the core ones.

    `complete` is False when earlier rows are gone, so that attributes may be missing;
    `content_known` likewise for `claim`. `exists` is False before its birth.
    """

    attributes: dict[str, str] = field(default_factory=dict)
    claim: Claim | None = None
    exists: bool = False
    complete: bool = False
    content_known: bool = False

    @property
    def size(self) -> int | None:
        """Bytes of content; None where it is not known."""
        return (self.claim.length if self.claim else 0) if self.content_known else None


class Row(NamedTuple):
    """The part of an event row that changes a flowfile."""

    id: int
    complete: bool
    attributes: dict[str, str | None]
    parents: tuple[int, ...]
    content: bool
    claim: Claim | None

    @property
    def inherits(self) -> bool:
        """Whether it is the birth of a clone that begins as its parent is."""
        return bool(self.parents) and not self.complete


_FIELDS = "id, complete, attributes, parents, segment, position, length, checksum"


def fold(rows: Iterable[Row], start: State) -> State:
    """Apply rows, in order, to a state."""
    state = start
    for row in rows:
        state = _apply(state, row)
    return state


def _apply(state: State, row: Row) -> State:
    if row.complete:
        kept = {name: value for name, value in row.attributes.items() if value is not None}
        return State(kept, row.claim, exists=True, complete=True, content_known=True)
    attributes = state.attributes
    if row.attributes:
        merged = {**attributes, **row.attributes}
        attributes = {name: value for name, value in merged.items() if value is not None}
    return State(
        attributes,
        row.claim if row.content else state.claim,
        exists=True,
        complete=state.complete,
        content_known=row.content or state.content_known,
    )


def state_after(database: Database, flowfile: int, sequence: int) -> State:
    """Return what a flowfile was after commit `sequence`."""
    # Clones of clones: down to the first whole ancestor, then up again. A loop, because a chain
    # may be longer than Python's stack.
    chain: list[list[Row]] = []
    while True:
        rows = _rows(database, flowfile, sequence)
        rows = rows[_last_complete(rows) :]
        chain.append(rows)
        if not rows or not rows[0].inherits:
            break
        flowfile = rows[0].parents[0]
        sequence = rows[0].id >> ORDINAL_BITS
    state = State()
    for rows in reversed(chain):
        state = fold(rows, state)
    return state if chain[0] else State()


def states(database: Database, event: Event) -> tuple[State, State]:
    """Return what an event's flowfile was before and after the event's commit."""
    before = state_after(database, event.flowfile, event.sequence - 1)
    return before, state_after(database, event.flowfile, event.sequence)


def _rows(database: Database, flowfile: int, sequence: int) -> list[Row]:
    end = (sequence + 1) << ORDINAL_BITS
    found = database.fetch(
        f"SELECT {_FIELDS} FROM rows WHERE flowfile = ? AND id < ? ORDER BY id", (flowfile, end)
    )
    return [_row(cells) for cells in found]


def _row(values: tuple[Any, ...]) -> Row:
    cells = dict(zip(_FIELDS.split(", "), values, strict=True))
    return Row(
        cells["id"],
        cells["complete"],
        cells["attributes"] or {},
        tuple(cells["parents"] or ()),
        cells["length"] is not None,
        claim_of(cells),
    )


def _last_complete(rows: list[Row]) -> int:
    """Where the fold may start: what precedes a complete row does not matter."""
    for number in range(len(rows) - 1, -1, -1):
        if rows[number].complete:
            return number
    return 0
