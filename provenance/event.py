"""One event as search, lineage and the API show it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from provenance.schema import ORDINAL_BITS
from runtime.flowfile import Claim, Identity

COLUMNS: Final = (
    "id", "time", "type", "flowfile", "component", "component_name", "component_type",
    "group_path", "relationship", "taken_from", "put_into", "complete", "attributes", "parents",
    "segment", "position", "length", "checksum", "transit_uri", "details", "duration",
    "reason_kind", "reason_message", "reason_place",
)  # fmt: skip
SELECTION: Final = ", ".join(COLUMNS)


class EventUnknownError(LookupError):
    """No event has this number, or retention has dropped it."""

    def __init__(self, id: int) -> None:
        super().__init__(
            f"Event {id}: there is none with this number; retention may have dropped it, "
            "levada provenance search lists those that there are"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """See `schema.py`. `uuid` and `parents` are UUIDs; `duration` is microseconds.

    `content` tells whether the event gave the flowfile content; `claim` is that content, None
    where it is empty (or where `content` is False).
    """

    id: int
    time: datetime
    type: str
    flowfile: int
    uuid: str
    component: int
    component_name: str
    component_type: str
    group_path: str
    relationship: str | None
    taken_from: int | None
    put_into: int | None
    complete: bool
    attributes: dict[str, str | None]
    parents: tuple[str, ...]
    content: bool
    claim: Claim | None
    transit_uri: str | None
    details: str | None
    duration: int
    reason_kind: str | None
    reason_message: str | None
    reason_place: str | None

    @property
    def sequence(self) -> int:
        """The commit that it belongs to."""
        return self.id >> ORDINAL_BITS


def event_of(row: Sequence[Any], identity: Identity) -> Event:
    """Make an event of a row of `SELECTION`."""
    cells = dict(zip(COLUMNS, row, strict=True))
    claim = claim_of(cells)
    for name in ("segment", "position", "checksum"):
        del cells[name]
    content = cells.pop("length") is not None
    cells["time"] = cells["time"].replace(tzinfo=UTC)
    cells["parents"] = tuple(identity.uuid(parent) for parent in cells["parents"] or ())
    cells["attributes"] = cells["attributes"] or {}
    return Event(**cells, uuid=identity.uuid(cells["flowfile"]), content=content, claim=claim)


def claim_of(cells: dict[str, Any]) -> Claim | None:
    """The claim in a row's cells; None for empty content and for no content alike."""
    if cells["segment"] is None:
        return None
    return Claim(cells["segment"], cells["position"], cells["length"], cells["checksum"])
