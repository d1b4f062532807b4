"""A session: what a processor does between taking flowfiles and committing.

The unit of work. Every flowfile that a session took or created must be transferred, dropped, held
or put back before the commit, once; flowfiles are values, and any version of one stands for its
newest version in this session. A commit is one record of the log (`runtime.commit`); a roll-back
leaves everything as it was. Acknowledging somebody outside belongs into `when_durable`, never
behind `commit`: committed means visible inside, durable means kept.

A session belongs to one thread at a time. The lists that `take` returns are the caller's own.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, Final, final

from runtime.commit import Reason
from runtime.creation import NO_MAPPING, NOTHING, Creation, SessionError
from runtime.flowfile import Claim, FlowFile, with_attributes, with_claim
from runtime.intake import check_attributes, check_batch, check_text
from runtime.processor import Relationship
from runtime.reporting import Reporting
from runtime.write_stream import WriteStream as WriteStream

if TYPE_CHECKING:
    from runtime.component import Component
    from runtime.content_writer import ContentWriter
    from runtime.engine import Engine
    from runtime.queue import Queue, Run


_USED: Final = (
    "created", "families", "changed", "rewritten", "replaced", "dropped", "expired", "reasons",
    "penalized", "returned", "deferred", "held", "resumed", "reported", "new_state", "keyed",
    "counters", "callbacks", "bytes_read", "bytes_written", "special",
)  # fmt: skip


@final
class Session(Creation, Reporting):
    """See the module. `identity` turns flowfile ids into UUIDs."""

    # What most sessions never touch: shared and unchangeable until its first use.
    created = NO_MAPPING
    families = NOTHING
    changed: dict[int, dict[str, str | None]] = NO_MAPPING
    rewritten: dict[int, Claim | None] = NO_MAPPING
    replaced: list[Claim] = NOTHING
    dropped: dict[str | None, list[FlowFile]] = NO_MAPPING
    expired: list[FlowFile] = NOTHING
    reasons: dict[int, Reason] = NO_MAPPING
    penalized: set[int] = NOTHING
    returned: dict[int, float] = NO_MAPPING
    deferred: dict[int, tuple[Queue, Run, Reason | None]] = NO_MAPPING
    held: list[FlowFile] = NOTHING
    resumed: dict[int, tuple[Queue, Run]] = NO_MAPPING
    callbacks: list[Callable[[], None]] = NOTHING
    bytes_read = 0
    bytes_written = 0
    special = False
    """Needs the general way of committing; see `runtime.plain_commit`."""

    writer: ContentWriter | None = None
    fenced = False
    """Terminated: nothing that it does may be committed."""
    ended = 0.0
    """Wall time of its newest commit."""
    committed = 0
    """The sequence of its newest record, 0 while there is none."""
    detached = False
    """Goes on after its worker went on: it belongs to a coroutine."""
    cautious = False
    """A batch failed: flowfiles are offered one by one, to find the one that did it."""

    def __init__(self, engine: Engine, component: Component, limit: int) -> None:
        self.engine = engine
        self.component = component
        self.identity = engine.identity
        self.limit = limit
        self.started = engine.clock.wall()
        self.open = {}
        self.taken: list[tuple[Queue, list[Run]]] = []
        self.routes: dict[str, list[FlowFile]] = {}

    def begin(self) -> None:
        """Start over with nothing taken."""
        if self.writer is not None:
            self.writer.settle()
        used = self.__dict__
        for name in _USED:
            used.pop(name, None)
        self.started = self.engine.clock.wall()
        self.open = {}
        self.taken = []
        self.routes = {}

    # Taking

    def take(self, count: int | None = None) -> list[FlowFile]:
        """Take up to `count` flowfiles (default: the component's batch size) from the inputs.

        Empty when nothing can be taken now.
        """
        limit = self.limit if count is None or self.cautious else count
        flowfiles = self.engine.take(self, limit)
        for_update = zip([flowfile.id for flowfile in flowfiles], flowfiles, strict=True)
        self.open.update(for_update)
        return flowfiles

    def take_one(self) -> FlowFile | None:
        """Take one flowfile; None when there is none."""
        taken = self.take(1)
        return taken[0] if taken else None

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
        check_attributes(changes, removing=True)
        if "uuid" in changes:
            del changes["uuid"]
        for core in ("filename", "path"):
            if core in changes and changes[core] is None:
                del changes[core]
        successor = with_attributes(current, changes)
        self.open[id] = successor
        if id in self.created:
            self.created[id] = successor
        elif id in self.changed:
            # A new mapping: `put_all` lets a whole batch share one.
            self.changed[id] = {**self.changed[id], **changes}
        else:
            if not self.changed:
                self.changed = {}
            self.changed[id] = changes
        return successor

    def put_all(
        self, flowfiles: Sequence[FlowFile], attributes: Mapping[str, str]
    ) -> list[FlowFile]:
        """Set the same attributes on a batch; as `put` for each, several times as fast."""
        check_attributes(attributes)
        return self._put_each(flowfiles, [dict(attributes)] * len(flowfiles))

    def put_each(
        self, flowfiles: Sequence[FlowFile], attributes: Sequence[dict[str, str]]
    ) -> list[FlowFile]:
        """Set each flowfile's own attributes on a batch; the mappings must not hold `uuid`."""
        check_batch(attributes)
        return self._put_each(flowfiles, attributes)

    def _put_each(
        self, flowfiles: Sequence[FlowFile], attributes: Sequence[dict[str, str]]
    ) -> list[FlowFile]:
        ids = [flowfile.id for flowfile in flowfiles]
        opened = self.open
        try:
            current = [opened[id] for id in ids]
        except KeyError:
            current = [self._current(flowfile) for flowfile in flowfiles]
        successors = [
            FlowFile(
                one.id,
                {**one.attributes, **changes},
                one.claim,
                one.lineage_start,
                one.entered,
                one.size,
            )
            for one, changes in zip(current, attributes, strict=True)
        ]
        made = dict(zip(ids, successors, strict=True))
        opened.update(made)
        if self.created or self.changed:
            self._note_changes(ids, successors, attributes)
        else:
            changed: dict[int, dict[str, str | None]] = {}
            pairs = zip(ids, attributes, strict=True)
            changed.update(pairs)  # type: ignore[arg-type]  # no None in them is fine
            self.changed = changed
        return successors

    def _note_changes(
        self, ids: list[int], successors: list[FlowFile], attributes: Sequence[dict[str, str]]
    ) -> None:
        if not self.changed:
            self.changed = {}
        for id, successor, changes in zip(ids, successors, attributes, strict=True):
            if id in self.created:
                self.created[id] = successor
            else:
                self.changed[id] = {**self.changed.get(id, {}), **changes}

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
        return self.rewrite(flowfile, claim)

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

    def rewrite(self, flowfile: FlowFile, claim: Claim | None) -> FlowFile:
        """Give a flowfile a content that was written already."""
        current = self._current(flowfile)
        id = current.id
        successor = with_claim(current, claim)
        self.open[id] = successor
        if id in self.created:
            self.created[id] = successor
            return successor
        if id not in self.rewritten and current.claim is not None:
            if not self.replaced:
                self.replaced = []
            self.replaced.append(current.claim)
        if not self.rewritten:
            self.rewritten = {}
            self.special = True
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
        name = relationship if isinstance(relationship, str) else relationship.name
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
                self._give_reason([current], _reason(reason))
            return
        assert not isinstance(flowfiles, FlowFile)
        moved = self._close(flowfiles)
        route += moved
        if reason is not None:
            self._give_reason(moved, _reason(reason))

    def _give_reason(self, flowfiles: list[FlowFile], reason: Reason) -> None:
        if not self.reasons:
            self.reasons = {}
            self.special = True
        for flowfile in flowfiles:
            self.reasons[flowfile.id] = reason

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
        check_text("details", details)
        moved = self._close(_listed(flowfiles))
        if not self.dropped:
            self.dropped = {}
        if self.created:
            self.special = True
        self.dropped.setdefault(details, []).extend(moved)

    def penalize(self, flowfile: FlowFile) -> FlowFile:
        """Let it wait the penalty duration in the queue that it is transferred to."""
        self._current(flowfile)
        if not self.penalized:
            self.penalized = set()
            self.special = True
        self.penalized.add(flowfile.id)
        return flowfile

    def put_back(
        self, flowfiles: FlowFile | Iterable[FlowFile], *, wait_seconds: float = 0.0
    ) -> None:
        """Return taken flowfiles, as they were, to their places in the queue.

        They are not offered again before `wait_seconds` have passed.
        """
        wait_seconds = float(wait_seconds)
        returning = list(_listed(flowfiles))
        for flowfile in returning:
            if flowfile.id in self.created:
                raise SessionError(
                    f"{self._named(flowfile)} was created in this session; it has no queue "
                    "to go back to"
                )
        self.special = True
        returned = self.returned = dict(self.returned)
        for flowfile in self._close(returning):
            if flowfile.id in self.changed:
                del self.changed[flowfile.id]
            returned[flowfile.id] = wait_seconds
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
        holding = list(_listed(flowfiles))
        for flowfile in holding:
            id = flowfile.id
            if id in self.created or id in self.changed or id in self.rewritten:
                raise SessionError(
                    f"{self._named(flowfile)} was changed or created in this session; only "
                    "flowfiles as they were taken can be held"
                )
        self.special = True
        self.held = [*self.held, *self._close(holding)]

    def resume(self, flowfiles: Iterable[FlowFile]) -> None:
        """Bring held flowfiles into this session."""
        wanted = {flowfile.id: flowfile for flowfile in flowfiles}
        missing = self.engine.resume(self, list(wanted.values()))
        if missing is not None:
            raise SessionError(
                f"{self._named(missing)} is not held by {self.component.path}"
            )
        # As they were held, whichever versions the caller kept.
        self.open.update([(id, self.resumed[id][1].flowfiles[0]) for id in wanted])

    # Ending

    def when_durable(self, callback: Callable[[], None]) -> None:
        """Run `callback` once the commit is durable: the one way to acknowledge.

        Callbacks run in order on a worker; after a crash they are not repeated.
        """
        self.callbacks = [*self.callbacks, callback]

    def commit(self) -> None:
        """Make everything visible inside and hand it to the log; then begin anew.

        Raises:
            SessionError: flowfiles are unaccounted for; nothing was committed.
        """
        self.engine.commit(self)
        self.begin()

    async def commit_async(self) -> None:
        """Commit, and return when the commit is durable."""
        loop = asyncio.get_running_loop()
        durable: asyncio.Future[None] = loop.create_future()

        def settle() -> None:
            if not durable.done():
                durable.set_result(None)

        def tell() -> None:
            loop.call_soon_threadsafe(settle)

        self.when_durable(tell)
        self.commit()
        await durable

    def rollback(self, *, penalize: bool = False, reason: BaseException | None = None) -> None:
        """Put everything back; with `penalize` what was taken waits the penalty duration."""
        self.engine.rollback(self, penalize, _reason(reason) if reason else None)
        self.begin()

    def close(self) -> None:
        """End a session that `Context.open_session` gave; what is not committed rolls back."""
        if self.open or self.taken:
            self.rollback()
        self.engine.close_session(self)

    def release(self) -> None:
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
            raise self._stranger(flowfile)
        return current

    def _stranger(self, flowfile: FlowFile) -> SessionError:
        return SessionError(
            f"{self._named(flowfile)} is not in this session: it was transferred, dropped or "
            "put back already, is named twice, or belongs to another one"
        )

    def _close(self, flowfiles: Iterable[FlowFile]) -> list[FlowFile]:
        """Take flowfiles out of what is unaccounted for; return their newest versions."""
        flowfiles = list(flowfiles)
        opened = self.open
        moved: list[FlowFile] = []
        try:
            moved.extend(map(opened.pop, [flowfile.id for flowfile in flowfiles]))
        except KeyError:
            # None is closed when one cannot be: a processor may catch this and commit.
            opened.update([(one.id, one) for one in moved])
            raise self._stranger(flowfiles[len(moved)]) from None
        return moved

    def _named(self, flowfile: FlowFile) -> str:
        name = self.identity.attribute(flowfile, "filename")
        return f"flowfile {self.identity.uuid(flowfile.id)} ('{name}')"


def _listed(flowfiles: FlowFile | Iterable[FlowFile]) -> Iterable[FlowFile]:
    return [flowfiles] if isinstance(flowfiles, FlowFile) else flowfiles


def _reason(reason: BaseException | str) -> Reason:
    if isinstance(reason, str):
        return Reason("", reason)
    frames = traceback.extract_tb(reason.__traceback__)
    place = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    return Reason(type(reason).__name__, str(reason), place)
