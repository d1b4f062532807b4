"""Flowfiles, content claims, and the ids and UUIDs of both.

A flowfile is a value: attributes plus a claim on content. Nothing changes it; a step that
changes an attribute makes a successor with the same `id`. The two structs are encoded by
msgspec as they stand (arrays, in field order), so their field order is part of the stored format.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

START_BITS: Final = 20
NUMBER_BITS: Final = 44
HOME_BITS: Final = 48

CORE_ATTRIBUTES: Final = ("uuid", "filename", "path")


class Claim(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A range of a content segment. `checksum` is xxh3-64 of exactly these bytes."""

    segment: int
    offset: int
    length: int
    checksum: int


class FlowFile(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One piece of data.

    `attributes` must never be mutated: versions and queues share it. It holds what was set;
    `uuid` is never in it, and `filename` (default: the UUID) and `path` (default: `./`) only
    when set: `Identity.attributes` gives the complete mapping. `claim` is None for empty content.
    `lineage_start` (start of the oldest ancestor) and `entered` (NiFi's entry date) are
    milliseconds since the epoch; `size` is the content's length in bytes.
    """

    id: int
    attributes: dict[str, str]
    claim: Claim | None
    lineage_start: int
    entered: int
    size: int


class Identity:
    """Turns 64-bit flowfile ids into the UUIDs that users see, and back.

    A UUID is version 8: 48 random bits of the home, then the id. `home` is those bits; `formerly`
    are the bits of an earlier life of this home (it was copied, say), each with the last start
    counter that it covers, ascending: a flowfile keeps its UUID.
    """

    def __init__(self, home: int, formerly: Sequence[tuple[int, int]] = ()) -> None:
        self.home = home
        self.formerly = tuple(formerly)
        self._prefix = _prefix(home)

    def uuid(self, id: int) -> str:
        """Format the UUID of the flowfile `id`."""
        prefix = self._prefix
        for bits, last_start in self.formerly:
            if id >> NUMBER_BITS <= last_start:
                prefix = _prefix(bits)
                break
        return f"{prefix}{id >> 52:03x}-{0x8000 | id >> 40 & 0xFFF:04x}-{id & 0xFFFFFFFFFF:012x}"

    def id(self, uuid: str) -> int | None:
        """Parse a UUID; None when it is malformed or of another home."""
        digits = uuid.replace("-", "")
        try:
            value = int(digits, 16)
        except ValueError:
            return None
        if len(digits) != 32:
            return None
        id = (value >> 64 & 0xFFF) << 52 | (value >> 48 & 0xFFF) << 40 | value & 0xFFFFFFFFFF
        return id if self.uuid(id).replace("-", "") == digits.lower() else None

    def attributes(self, flowfile: FlowFile) -> dict[str, str]:
        """Return a copy of all attributes, the core ones included."""
        uuid = self.uuid(flowfile.id)
        return {"path": "./", "filename": uuid} | flowfile.attributes | {"uuid": uuid}

    def attribute(self, flowfile: FlowFile, name: str) -> str | None:
        """Return one attribute, a core one included; None when it is absent."""
        if name == "uuid":
            return self.uuid(flowfile.id)
        value = flowfile.attributes.get(name)
        if value is None and name == "filename":
            return self.uuid(flowfile.id)
        if value is None and name == "path":
            return "./"
        return value


def _prefix(home: int) -> str:
    return f"{home >> 16:08x}-{home & 0xFFFF:04x}-8"


def flowfile_ids(start: int) -> Iterator[int]:
    """Yield the ids of the node's `start`-th run; `next` on it is atomic."""
    return itertools.count(start << NUMBER_BITS)


def with_attributes(flowfile: FlowFile, changes: Mapping[str, str | None]) -> FlowFile:
    """Return a successor with `changes` applied; None removes an attribute."""
    attributes = {**flowfile.attributes, **changes}
    if None in changes.values():
        attributes = {name: value for name, value in attributes.items() if value is not None}
    return FlowFile(
        flowfile.id,
        attributes,  # type: ignore[arg-type]  # the None values are gone
        flowfile.claim,
        flowfile.lineage_start,
        flowfile.entered,
        flowfile.size,
    )


def with_claim(flowfile: FlowFile, claim: Claim | None) -> FlowFile:
    """Return a successor with other content."""
    return FlowFile(
        flowfile.id,
        flowfile.attributes,
        claim,
        flowfile.lineage_start,
        flowfile.entered,
        claim.length if claim else 0,
    )
