"""The creating verbs of a session: new flowfiles, children, joins and clones.

Flowfiles created together by one event from the same parents are a *family*: one entry of the
commit record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from runtime.commit import EventType
from runtime.flowfile import Claim, FlowFile
from runtime.intake import check_attributes, check_batch, check_text

if TYPE_CHECKING:
    from runtime.content_writer import ContentWriter
    from runtime.engine import Engine

# What most sessions never need is shared and cannot be changed; the first use replaces it.
NO_MAPPING: Any = MappingProxyType({})
NOTHING: Any = ()


class SessionError(RuntimeError):
    """A processor used its session in a way that would lose or double a flowfile."""


class Family:
    """Flowfiles created together: their event, parents and (in order) children."""

    __slots__ = ("children", "details", "event", "parents", "transit_uri")

    def __init__(
        self, event: EventType, parents: list[int], transit_uri: str | None, details: str | None
    ) -> None:
        self.event = event
        self.parents = parents
        self.transit_uri = transit_uri
        self.details = details
        self.children: list[int] = []


class Creation:
    """Base of `Session`; not for use by itself."""

    engine: Engine
    open: dict[int, FlowFile]
    started: float
    bytes_written: int
    created: dict[int, FlowFile] = NO_MAPPING
    families: list[Family] = NOTHING

    def create(
        self,
        attributes: Mapping[str, str] | None = None,
        content: bytes = b"",
        *,
        parents: FlowFile | Sequence[FlowFile] = (),
        received_from: str | None = None,
        details: str | None = None,
    ) -> FlowFile:
        """Create a flowfile.

        Args:
            attributes: its attributes; with one parent, what differs from the parent's (FORK); with
                several, what differs from those that all parents share (JOIN).
            content: its content.
            parents: flowfiles of this session that it descends from.
            received_from: a transit URI: the event is RECEIVE, not CREATE.
            details: for the provenance event.
        """
        if attributes:
            check_attributes(attributes)
        claim = self._writer().append(content) if content else None
        self.bytes_written += len(content)
        if isinstance(parents, FlowFile):
            return self._create_child(parents, attributes, claim, details)
        if parents:
            return self._create_joined(list(parents), attributes, claim, details)
        family = self._family(
            EventType.RECEIVE if received_from else EventType.CREATE, [], received_from, details
        )
        now = int(self.started * 1000)
        # The mapping is copied: a caller may go on using its own.
        return self._add(
            family,
            FlowFile(
                next(self.engine.ids),
                dict(attributes) if attributes else {},
                claim,
                now,
                now,
                len(content),
            ),
        )

    def create_many(
        self,
        attributes: Sequence[dict[str, str]],
        contents: Sequence[bytes] | None = None,
        *,
        parent: FlowFile | None = None,
        received_from: str | None = None,
        details: str | None = None,
    ) -> list[FlowFile]:
        """Create a batch of flowfiles; as `create` for each, several times as fast.

        Args:
            attributes: one mapping a flowfile, which the flowfile keeps as it is; with a parent,
                what differs from the parent's.
            contents: one content a flowfile; None: all are empty.
            parent: the flowfile of this session that they all descend from (FORK).
            received_from: a transit URI: the event is RECEIVE, not CREATE.
            details: for the provenance event.
        """
        if not attributes and not contents:
            return []
        check_batch(attributes)
        ids = list(islice(self.engine.ids, len(attributes)))
        now = start = int(self.started * 1000)
        event = EventType.RECEIVE if received_from else EventType.CREATE
        parents: list[int] = []
        if parent is not None:
            current = self._current(parent)
            event, parents, start = EventType.FORK, [current.id], current.lineage_start
            attributes = [{**current.attributes, **one} for one in attributes]
        if contents is None:
            flowfiles = [
                FlowFile(id, one, None, start, now, 0)
                for id, one in zip(ids, attributes, strict=True)
            ]
        else:
            sizes = list(map(len, contents))
            self.bytes_written += sum(sizes)
            claims = self._writer().append_many(contents)
            flowfiles = [
                FlowFile(id, one, claim, start, now, size)
                for id, one, claim, size in zip(ids, attributes, claims, sizes, strict=True)
            ]
        self._family(event, parents, received_from, details).children += ids
        made = dict(zip(ids, flowfiles, strict=True))
        self.created = {**self.created, **made} if self.created else dict(made)
        self.open.update(made)
        return flowfiles

    def clone(self, flowfile: FlowFile, offset: int = 0, length: int | None = None) -> FlowFile:
        """Create a copy that shares the content: CLONE, or FORK for a slice of it (bytes)."""
        current = self._current(flowfile)
        whole = offset == 0 and length in (None, current.size)
        if whole:
            claim = current.claim
        else:
            length = current.size - offset if length is None else length
            claim = self._slice(current, offset, length)
        family = self._family(
            EventType.CLONE if whole else EventType.FORK, [current.id], None, None
        )
        return self._add(family, self._descendant(current, current.attributes, claim))

    def _slice(self, flowfile: FlowFile, offset: int, length: int) -> Claim | None:
        if offset < 0 or length < 0 or offset + length > flowfile.size:
            raise SessionError(
                f"{self._named(flowfile)} has {flowfile.size} bytes; a slice of {length} bytes "
                f"at {offset} is not inside"
            )
        if not length or flowfile.claim is None:
            return None
        return self.engine.content.slice(flowfile.claim, offset, length)

    def _create_child(
        self,
        parent: FlowFile,
        attributes: Mapping[str, str] | None,
        claim: Claim | None,
        details: str | None,
    ) -> FlowFile:
        current = self._current(parent)
        merged = {**current.attributes, **attributes} if attributes else current.attributes
        family = self._family(EventType.FORK, [current.id], None, details)
        return self._add(family, self._descendant(current, merged, claim))

    def _create_joined(
        self,
        parents: list[FlowFile],
        attributes: Mapping[str, str] | None,
        claim: Claim | None,
        details: str | None,
    ) -> FlowFile:
        current = [self._current(parent) for parent in parents]
        shared = dict(current[0].attributes)
        for parent in current[1:]:
            other = parent.attributes
            # Usually what differs differs soon: nearly all parents leave this as it is.
            if not shared.items() <= other.items():
                shared = {k: v for k, v in shared.items() if other.get(k) == v}
        shared.update(attributes or {})
        check_text("details", details)
        family = self._new_family(
            EventType.JOIN, [parent.id for parent in current], None, details
        )
        oldest = min(current, key=lambda parent: parent.lineage_start)
        return self._add(family, self._descendant(oldest, shared, claim))

    def _descendant(
        self, parent: FlowFile, attributes: dict[str, str], claim: Claim | None
    ) -> FlowFile:
        return FlowFile(
            next(self.engine.ids),
            attributes,
            claim,
            parent.lineage_start,
            int(self.started * 1000),
            claim.length if claim else 0,
        )

    def _family(
        self,
        event: EventType,
        parents: list[int],
        transit_uri: str | None,
        details: str | None,
    ) -> Family:
        check_text("the transit URI", transit_uri)
        check_text("details", details)
        last = self.families[-1] if self.families else None
        if (
            last is not None
            and last.event is event
            and last.transit_uri == transit_uri
            and last.details == details
        ):
            if event is EventType.CLONE:
                last.parents += parents
                return last
            if last.parents == parents:
                return last
        return self._new_family(event, parents, transit_uri, details)

    def _new_family(
        self,
        event: EventType,
        parents: list[int],
        transit_uri: str | None,
        details: str | None,
    ) -> Family:
        family = Family(event, parents, transit_uri, details)
        if not self.families:
            self.families = []
        self.families.append(family)
        return family

    def _add(self, family: Family, flowfile: FlowFile) -> FlowFile:
        id = flowfile.id
        if not self.created:
            self.created = {}
        family.children.append(id)
        self.created[id] = flowfile
        self.open[id] = flowfile
        return flowfile

    def _writer(self) -> ContentWriter:
        raise NotImplementedError

    def _current(self, flowfile: FlowFile) -> FlowFile:
        raise NotImplementedError

    def _named(self, flowfile: FlowFile) -> str:
        raise NotImplementedError
