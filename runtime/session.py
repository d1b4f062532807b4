"""A session: what a processor does between taking flowfiles and committing.

The unit of work. Every flowfile that a session took or created must be transferred, dropped, held
or put back before the commit, once; flowfiles are values, and any version of one stands for its
newest version in this session. A commit is one record of the log (`runtime.commit`); a roll-back
leaves everything as it was. Acknowledging somebody outside belongs into `when_durable`, never
behind `commit`: committed means visible inside, durable means kept.

A session belongs to one thread at a time. The lists that `take` returns are the caller's own.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, final

from runtime.commit import EventType, Reason, Reported, encode_ids
from runtime.flowfile import Claim, FlowFile, with_attributes, with_claim
from runtime.processor import Relationship

if TYPE_CHECKING:
    from runtime.component import Component
    from runtime.content_writer import ContentStream, ContentWriter
    from runtime.engine import Engine
    from runtime.queue import Queue, Run


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


@final
class Session:
    """See the module. `identity` turns flowfile ids into UUIDs."""

    def __init__(self, engine: Engine, component: Component, limit: int) -> None:
        self.engine = engine
        self.component = component
        self.identity = engine.identity
        self.limit = limit
        self.writer: ContentWriter | None = None
        self.fenced = False
        """Terminated: nothing that it does may be committed."""
        self.detached = False
        """Goes on after its worker went on: it belongs to a coroutine."""
        self.begin()

    def begin(self) -> None:
        """Start over with nothing taken."""
        if self.writer is not None:
            self.writer.settle()
        self.started = self.engine.clock.wall()
        self.open: dict[int, FlowFile] = {}
        self.taken: list[tuple[Queue, list[Run]]] = []
        self.created: dict[int, FlowFile] = {}
        self.families: list[Family] = []
        self.changed: dict[int, dict[str, str | None]] = {}
        self.rewritten: dict[int, Claim | None] = {}
        self.replaced: list[Claim] = []
        self.routes: dict[str, list[FlowFile]] = {}
        self.dropped: dict[str | None, list[FlowFile]] = {}
        self.expired: list[FlowFile] = []
        self.reasons: dict[int, Reason] = {}
        self.penalized: set[int] = set()
        self.returned: dict[int, float] = {}
        self.deferred: dict[int, tuple[Queue, Run, Reason | None]] = {}
        self.held: list[FlowFile] = []
        self.resumed: dict[int, tuple[Queue, Run]] = {}
        self.reported: list[Reported] = []
        self.new_state: dict[str, str] | None = None
        self.keyed: dict[str, bytes | None] | None = None
        self.counters: dict[str, int] | None = None
        self.callbacks: list[Callable[[], None]] = []
        self.bytes_read = 0
        self.bytes_written = 0

    # Taking and creating

    def take(self, count: int | None = None) -> list[FlowFile]:
        """Take up to `count` flowfiles (default: the component's batch size) from the inputs.

        Empty when nothing can be taken now.
        """
        limit = self.limit if count is None else count
        flowfiles = self.engine.take(self, limit)
        self.open.update(zip([flowfile.id for flowfile in flowfiles], flowfiles, strict=True))
        return flowfiles

    def take_one(self) -> FlowFile | None:
        """Take one flowfile; None when there is none."""
        taken = self.take(1)
        return taken[0] if taken else None

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
        claim = self._writer().append(content) if content else None
        self.bytes_written += len(content)
        if type(parents) is FlowFile:
            return self._create_child(parents, attributes, claim, details)
        if parents:
            return self._create_joined(list(parents), attributes, claim, details)  # type: ignore[arg-type]
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
            shared = {k: v for k, v in shared.items() if other.get(k) == v}
        shared.update(attributes or {})
        family = Family(EventType.JOIN, [parent.id for parent in current], None, details)
        self.families.append(family)
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
        family = Family(event, parents, transit_uri, details)
        self.families.append(family)
        return family

    def _add(self, family: Family, flowfile: FlowFile) -> FlowFile:
        id = flowfile.id
        family.children.append(id)
        self.created[id] = flowfile
        self.open[id] = flowfile
        return flowfile

    # Attributes

    def put(self, flowfile: FlowFile, attributes: Mapping[str, str | None]) -> FlowFile:
        """Set attributes and return the new version; None removes one.

        `uuid` is ignored; `filename` and `path` cannot be removed (NiFi's rules).
        """
        id = flowfile.id
        current = self.open.get(id)
        if current is None:
            current = self._current(flowfile)
        changes = dict(attributes)
        if "uuid" in changes:
            del changes["uuid"]
        successor = with_attributes(current, changes)
        self.open[id] = successor
        if id in self.created:
            self.created[id] = successor
        elif id in self.changed:
            self.changed[id].update(changes)
        else:
            self.changed[id] = changes
        return successor

    def attributes(self, flowfile: FlowFile) -> dict[str, str]:
        """Return a copy of all attributes of the newest version, the core ones included."""
        return self.identity.attributes(self.open.get(flowfile.id, flowfile))

    def attribute(self, flowfile: FlowFile, name: str) -> str | None:
        """Return one attribute of the newest version; None when it is absent."""
        return self.identity.attribute(self.open.get(flowfile.id, flowfile), name)

    def uuid(self, flowfile: FlowFile) -> str:
        """Return the flowfile's UUID."""
        return self.identity.uuid(flowfile.id)

    # Content

    def read(self, flowfile: FlowFile) -> bytes:
        """Return the whole content; `open_read` is for large ones."""
        current = self.open.get(flowfile.id, flowfile)
        self.bytes_read += current.size
        return self.engine.content.read(current.claim)

    def read_many(self, flowfiles: Sequence[FlowFile]) -> list[bytes]:
        """Return whole contents, in one go where they lie side by side."""
        opened = self.open
        current = [opened.get(flowfile.id, flowfile) for flowfile in flowfiles]
        self.bytes_read += sum([flowfile.size for flowfile in current])
        return self.engine.content.read_many([flowfile.claim for flowfile in current])

    def open_read(self, flowfile: FlowFile) -> BinaryIO:
        """Open the content as a stream; use it as a context manager."""
        current = self.open.get(flowfile.id, flowfile)
        self.bytes_read += current.size
        return self.engine.content.open(current.claim)

    def write(self, flowfile: FlowFile, content: bytes) -> FlowFile:
        """Replace the content and return the new version."""
        claim = self._writer().append(content) if content else None
        self.bytes_written += len(content)
        return self._rewrite(flowfile, claim)

    def open_write(self, flowfile: FlowFile) -> WriteStream:
        """Replace the content by a stream; its `flowfile` is the new version once it is closed.

        An exception inside the `with` block leaves the content as it was.
        """
        return WriteStream(self, self._current(flowfile), self._writer().stream())

    def append(self, flowfile: FlowFile, content: bytes) -> FlowFile:
        """Add to the end of the content and return the new version."""
        with self.open_write(flowfile) as target, self.open_read(flowfile) as source:
            while chunk := source.read(1 << 20):
                target.write(chunk)
            target.write(content)
        return target.flowfile

    def _rewrite(self, flowfile: FlowFile, claim: Claim | None) -> FlowFile:
        current = self._current(flowfile)
        id = current.id
        successor = with_claim(current, claim)
        self.open[id] = successor
        if id in self.created:
            self.created[id] = successor
            return successor
        if id not in self.rewritten and current.claim is not None:
            self.replaced.append(current.claim)
        self.rewritten[id] = claim
        return successor

    def _writer(self) -> ContentWriter:
        writer = self.writer
        if writer is None:
            writer = self.writer = self.engine.content.writer()
        return writer

    # Accounting for flowfiles

    def transfer(
        self,
        flowfiles: FlowFile | Iterable[FlowFile],
        relationship: Relationship | str,
        *,
        reason: BaseException | str | None = None,
    ) -> None:
        """Send flowfiles out by a relationship.

        Args:
            flowfiles: one, or any number of them.
            relationship: the declaration, or a dynamic relationship's name.
            reason: why it failed, for a relationship that stands for failure: kept in provenance,
                so that failures can be grouped and replayed by cause.
        """
        name = relationship if type(relationship) is str else relationship.name  # type: ignore[union-attr]
        try:
            route = self.routes[name]
        except KeyError:
            route = self._new_route(name)
        if type(flowfiles) is FlowFile:
            current = self.open.pop(flowfiles.id, None)
            if current is None:
                current = self._current(flowfiles)
            route.append(current)
            if reason is not None:
                self.reasons[current.id] = _reason(reason)
            return
        moved = self._close(flowfiles)  # type: ignore[arg-type]
        route += moved
        if reason is not None:
            shared = _reason(reason)
            self.reasons.update((flowfile.id, shared) for flowfile in moved)

    def _new_route(self, name: str) -> list[FlowFile]:
        if name not in self.component.routes:
            known = ", ".join(sorted(self.component.routes)) or "none"
            raise SessionError(
                f"{self.component.path} has no relationship '{name}'. It has: {known}"
            )
        route = self.routes[name] = []
        return route

    def drop(
        self, flowfiles: FlowFile | Iterable[FlowFile], details: str | None = None
    ) -> None:
        """End flowfiles here; `details` appear in the DROP event."""
        moved = self._close([flowfiles] if type(flowfiles) is FlowFile else flowfiles)  # type: ignore[arg-type]
        self.dropped.setdefault(details, []).extend(moved)

    def penalize(self, flowfile: FlowFile) -> FlowFile:
        """Let it wait the penalty duration in the queue that it is transferred to."""
        self._current(flowfile)
        self.penalized.add(flowfile.id)
        return flowfile

    def put_back(
        self, flowfiles: FlowFile | Iterable[FlowFile], *, wait_seconds: float = 0.0
    ) -> None:
        """Return taken flowfiles, as they were, to their places in the queue.

        They are not offered again before `wait_seconds` have passed.
        """
        moved = self._close([flowfiles] if type(flowfiles) is FlowFile else flowfiles)  # type: ignore[arg-type]
        for flowfile in moved:
            if flowfile.id in self.created:
                raise SessionError(
                    f"{self._named(flowfile)} was created in this session; it has no queue "
                    "to go back to"
                )
            self.changed.pop(flowfile.id, None)
            self.returned[flowfile.id] = wait_seconds
            if flowfile.id in self.rewritten:
                self.forget_rewrite(flowfile.id)

    def forget_rewrite(self, id: int) -> None:
        """Undo a new content."""
        del self.rewritten[id]
        original = self.original(id)
        if original.claim is not None:
            self.replaced.remove(original.claim)

    def hold(self, flowfiles: FlowFile | Iterable[FlowFile]) -> None:
        """Keep taken flowfiles, unchanged, for a later trigger (a merge's bins).

        They stay part of their queue: an edit, a stop or a crash returns them to their places,
        and `on_returned` says so. `resume` brings them into a session.
        """
        moved = self._close([flowfiles] if type(flowfiles) is FlowFile else flowfiles)  # type: ignore[arg-type]
        for flowfile in moved:
            if flowfile.id in self.created or flowfile.id in self.changed:
                raise SessionError(
                    f"{self._named(flowfile)} was changed or created in this session; only "
                    "flowfiles as they were taken can be held"
                )
        self.held += moved

    def resume(self, flowfiles: Iterable[FlowFile]) -> None:
        """Bring held flowfiles into this session."""
        for flowfile in flowfiles:
            if not self.engine.resume(self, flowfile):
                raise SessionError(
                    f"{self._named(flowfile)} is not held by {self.component.path}"
                )
            self.open[flowfile.id] = flowfile

    # Provenance, counters, state

    def sent(
        self,
        flowfile: FlowFile,
        transit_uri: str,
        *,
        details: str | None = None,
        duration_seconds: float = 0.0,
    ) -> None:
        """Report SEND: a copy of the content went to `transit_uri`."""
        self.report(EventType.SEND, flowfile, transit_uri, details, duration_seconds)

    def fetched(
        self,
        flowfile: FlowFile,
        transit_uri: str,
        *,
        details: str | None = None,
        duration_seconds: float = 0.0,
    ) -> None:
        """Report FETCH: the content was replaced by what lies at `transit_uri`."""
        self.report(EventType.FETCH, flowfile, transit_uri, details, duration_seconds)

    def report(  # noqa: PLR0913  # the event's own fields
        self,
        event: EventType,
        flowfile: FlowFile,
        transit_uri: str | None = None,
        details: str | None = None,
        duration_seconds: float = 0.0,
    ) -> None:
        """Report any other provenance event that only the processor knows of."""
        self.reported.append(
            Reported(
                event, encode_ids([flowfile.id]), transit_uri, details, int(duration_seconds * 1e6)
            )
        )

    def count(self, counter: str, delta: int = 1) -> None:
        """Add to a named counter; it takes effect with the commit."""
        if self.counters is None:
            self.counters = {}
        self.counters[counter] = self.counters.get(counter, 0) + delta

    @property
    def state(self) -> Mapping[str, str]:
        """The component's small state: as set in this session, else as last committed."""
        return self.component.state if self.new_state is None else self.new_state

    def set_state(self, state: Mapping[str, str]) -> None:
        """Replace the component's whole small state (up to 64 KB), as part of the commit."""
        size = sum(len(key) + len(value) for key, value in state.items())
        if size > 65536:
            raise SessionError(
                f"The state of {self.component.path} would have {size} bytes; small state "
                "ends at 65,536. Keep single keys with set_key"
            )
        self.new_state = dict(state)

    def key(self, name: str) -> bytes | None:
        """Read one key of the component's keyed state, as this session sees it."""
        if self.keyed is not None and name in self.keyed:
            return self.keyed[name]
        return self.engine.keyed_state(self.component.id, name)

    def set_key(self, name: str, value: bytes | None) -> None:
        """Set (or with None remove) one key of the keyed state, as part of the commit."""
        if self.keyed is None:
            self.keyed = {}
        self.keyed[name] = value

    # Ending

    def when_durable(self, callback: Callable[[], None]) -> None:
        """Run `callback` once the commit is durable: the one way to acknowledge.

        Callbacks run in order on a worker; after a crash they are not repeated.
        """
        self.callbacks.append(callback)

    def commit(self) -> None:
        """Make everything visible inside and hand it to the log; then begin anew.

        Raises:
            SessionError: flowfiles are unaccounted for; nothing was committed.
        """
        self.engine.commit(self)
        self.begin()

    async def commit_async(self) -> None:
        """Commit, and return when the commit is durable."""
        await self.engine.commit_async(self)
        self.begin()

    def rollback(self, *, penalize: bool = False, reason: BaseException | None = None) -> None:
        """Put everything back; with `penalize` what was taken waits the penalty duration."""
        self.engine.rollback(self, penalize, _reason(reason) if reason else None)
        self.begin()

    def close(self) -> None:
        """Give the content writer back."""
        if self.writer is not None:
            self.engine.content.release(self.writer)
            self.writer = None

    @property
    def taken_count(self) -> int:
        """How many flowfiles it took and has not committed."""
        taken = sum([len(run.flowfiles) for _, runs in self.taken for run in runs])
        return taken + len(self.resumed)

    @property
    def size(self) -> int:
        """How many flowfiles it took and created."""
        return self.taken_count + len(self.created)

    def original(self, id: int) -> FlowFile:
        """Return a taken flowfile as it was in its queue."""
        for _, runs in self.taken:
            for run in runs:
                for flowfile in run.flowfiles:
                    if flowfile.id == id:
                        return flowfile
        if id in self.resumed:
            return self.resumed[id][1].flowfiles[0]
        raise SessionError(f"flowfile {self.identity.uuid(id)} was not taken by this session")

    def _current(self, flowfile: FlowFile) -> FlowFile:
        current = self.open.get(flowfile.id)
        if current is None:
            raise SessionError(
                f"{self._named(flowfile)} is not in this session: it was transferred, dropped or "
                "put back already, or belongs to another one"
            )
        return current

    def _close(self, flowfiles: Iterable[FlowFile]) -> list[FlowFile]:
        pop = self.open.pop
        moved: list[FlowFile] = []
        flowfile = None
        try:
            for flowfile in flowfiles:
                moved.append(pop(flowfile.id))
        except KeyError:
            assert flowfile is not None
            self._current(flowfile)
        return moved

    def _named(self, flowfile: FlowFile) -> str:
        name = self.identity.attribute(flowfile, "filename")
        return f"flowfile {self.identity.uuid(flowfile.id)} ('{name}')"


@final
class WriteStream:
    """A content being written; `flowfile` is the version that has it, once closed."""

    def __init__(self, session: Session, flowfile: FlowFile, stream: ContentStream) -> None:
        self._session = session
        self._stream = stream
        self.flowfile = flowfile

    def write(self, data: bytes) -> int:
        """Add to the content; returns the number of bytes."""
        self._stream.write(data)
        self._session.bytes_written += len(data)
        return len(data)

    def close(self) -> None:
        """Finish the content and make it the flowfile's."""
        self.flowfile = self._session._rewrite(self.flowfile, self._stream.close())

    def __enter__(self) -> WriteStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._stream.abort()


def _reason(reason: BaseException | str) -> Reason:
    if isinstance(reason, str):
        return Reason("", reason)
    frames = traceback.extract_tb(reason.__traceback__)
    place = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    return Reason(type(reason).__name__, str(reason), place)
