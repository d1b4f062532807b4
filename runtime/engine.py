"""The engine's core: queues, sessions and commits under one lock.

`Engine.lock` is the commit lock of the whole node. Under it a commit gets its sequence (the log's
`append` never blocks) and its effects become visible; a take removes runs from queues; the
scheduler decides who is ready. Nothing that can block, and no user code, runs under it. A commit
is planned and encoded, and its content written, before the lock is taken.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from runtime import commit as commits
from runtime.bulletins import Bulletins
from runtime.clock import Clock
from runtime.commit import Commit, Deferred, Reason, encode_ids
from runtime.commit_plan import Delivery, Plan, plan_commit, settle_retries
from runtime.component import Component
from runtime.content import ContentStore
from runtime.creation import NO_MAPPING, SessionError
from runtime.disk import File
from runtime.flowfile import FlowFile, Identity
from runtime.keyed_state import KeyedState
from runtime.log import Log, LogFailedError
from runtime.plain_commit import commit_plain, is_plain
from runtime.queue import Queue, Run
from runtime.session import Session


class Scheduling(Protocol):
    """What the engine tells the scheduler; all but `wake*` and `yield_for` under the lock."""

    def consider(self, component: Component) -> None:
        """Something changed that may have made the component ready."""
        ...

    def wait_until(self, queue: Queue, at: float) -> None:
        """A queue's waiting flowfiles are due at monotonic time `at`."""
        ...

    def wake(self, component: Component) -> None: ...

    def wake_in(self, component: Component, seconds: float) -> None: ...

    def yield_for(self, component: Component, seconds: float) -> None: ...


class TerminatedError(RuntimeError):
    """The session was terminated; what it did is not committed."""


class Engine:
    """See the module. `revision` is the flow revision in force, stamped on each record."""

    def __init__(
        self,
        *,
        clock: Clock,
        identity: Identity,
        ids: Iterator[int],
        content: ContentStore,
        keyed: KeyedState,
        scheduling: Scheduling,
        bulletins: Bulletins,
    ) -> None:
        self.lock = threading.Lock()
        self.clock = clock
        self.identity = identity
        self.ids = ids
        self.content = content
        self.keyed = keyed
        self.scheduling = scheduling
        self.bulletins = bulletins
        self.log: Log
        """Set once, right after recovery."""
        self.revision = 0
        self.sequence = 0
        """The sequence of the newest committed record."""
        self.components: dict[int, Component] = {}
        self.queues: dict[int, Queue] = {}
        self.sessions: set[Session] = set()
        self.counters: dict[str, int] = {}
        self.hops = 0
        self.wiring = 0
        """Grows with every change of who is connected to whom."""
        self.unapplied: deque[tuple[int, Session, Plan, float]] = deque()
        """Commits in the log whose effects are not visible yet (only with `effects_wait`)."""
        self.applied = threading.Condition(self.lock)
        self.holding = 0
        """How many wait for `unapplied` to become empty: new commits wait for them."""
        self.effects_wait = False
        """`fsync = always`: a commit becomes visible only when it is durable."""

    # Sessions

    def open_session(self, component: Component, limit: int | None = None) -> Session:
        """Begin a session; whoever calls commits or rolls back, then calls `close_session`."""
        session = Session(self, component, component.batch_size if limit is None else limit)
        with self.lock:
            self.sessions.add(session)
        return session

    def close_session(self, session: Session) -> None:
        """Forget a session that is committed or rolled back."""
        with self.lock:
            self.sessions.discard(session)
        session.release()

    def take(self, session: Session, limit: int) -> list[FlowFile]:
        """Take for a session from its component's inputs, beginning with the next in turn."""
        component = session.component
        durable = self.log.durable if component.waits_for_durable else None
        flowfiles: list[FlowFile] = []
        with self.lock:
            if session.fenced:
                raise TerminatedError(f"{component.path} was terminated")
            inputs = component.inputs
            count = len(inputs)
            start = component.next_input
            blocked = count > 1 and component.is_blocked()
            for step in range(count):
                queue = inputs[(start + step) % count]
                if blocked and queue.source is not component:
                    continue
                runs = queue.take(limit, durable)
                if runs:
                    component.next_input = (start + step + 1) % count
                    session.taken.append((queue, runs))
                    for run in runs:
                        flowfiles += run.flowfiles
                    limit -= sum([len(run.flowfiles) for run in runs])
                    if not limit:
                        break
        if component.expires:
            return self._unexpired(session, flowfiles)
        return flowfiles

    def _unexpired(self, session: Session, flowfiles: list[FlowFile]) -> list[FlowFile]:
        """Set apart what has expired of those just taken; earlier ones are the trigger's by now."""
        fresh = {flowfile.id for flowfile in flowfiles}
        gone: list[FlowFile] = []
        now = int(self.clock.wall() * 1000)
        for queue, runs in session.taken:
            if age := queue.model.expiration_seconds:
                oldest = now - age * 1000
                for run in runs:
                    gone += [one for one in run.flowfiles if one.entered < oldest]
        expired = {one.id for one in gone} & fresh
        if expired:
            session.special = True
            session.expired = [*session.expired, *(one for one in gone if one.id in expired)]
        return [one for one in flowfiles if one.id not in expired]

    def resume(self, session: Session, flowfiles: Sequence[FlowFile]) -> FlowFile | None:
        """Move held flowfiles into a session; return one that is not held, if any: then none."""
        held = session.component.held
        with self.lock:
            if session.fenced:
                raise TerminatedError(f"{session.component.path} was terminated")
            for flowfile in flowfiles:
                if flowfile.id not in held:
                    return flowfile
            moved = {flowfile.id: held.pop(flowfile.id) for flowfile in flowfiles}
            session.special = True
            session.resumed = {**session.resumed, **moved}
        return None

    # Commit

    def commit(self, session: Session) -> int | None:
        """Commit a session; return its record's sequence, None when there was nothing to record.

        Raises:
            SessionError: flowfiles are unaccounted for.
            TerminatedError: the session was terminated meanwhile.
            OSError: the content could not be written; nothing was committed.
            LogFailedError: the node is fenced.
        """
        if session.open:
            raise SessionError(self._unaccounted(session))
        session.ended = now = self.clock.wall()
        if session.component.retry.relationships:
            settle_retries(session, now)
        dirty = session.writer.flush() if session.writer is not None else ()
        sequence: int | None = -1
        plain = is_plain(self, session)
        while sequence == -1:
            if plain and not session.fenced:
                sequence = commit_plain(self, session, dirty, now)
                plain = sequence != -1
            else:
                sequence = self._try_commit(session, dirty, now)
        if session.writer is not None:
            session.writer.settle()
        for callback in session.callbacks:
            self.log.when_durable(sequence or self.sequence, callback)
        return sequence

    def _try_commit(self, session: Session, dirty: Sequence[File], now: float) -> int | None:
        """Plan and commit; None: nothing to record, -1: the wiring changed, plan again."""
        wiring = self.wiring
        plan = plan_commit(session, now)
        empty = plan.is_empty
        data = b"" if empty else commits.encode(plan.record)
        urgent = bool(session.callbacks) or _is_awaited(plan)
        if not empty:
            self.log.wait_for_room()
        with self.lock:
            if self.effects_wait:
                self.applied.wait_for(lambda: not self.holding)
            if session.fenced:
                raise TerminatedError(f"{session.component.path} was terminated")
            if self.wiring != wiring:
                return -1
            if empty:
                session.taken, session.resumed = [], {}
                self._restore(session, plan)
                return None
            sequence = self.log.append(
                data, dirty=dirty, urgent=urgent, flowfiles=plan.moved or plan.taken_count
            )
            self.sequence = sequence
            if plan.added:
                # Under the lock, so that nobody can end a reference before it is counted.
                self.content.references.add(plan.added)
            # From here on nothing is in the session's hands: a checkpoint or a termination may
            # come right after.
            session.committed = sequence
            session.taken = []
            session.resumed = {}
            if self.effects_wait:
                self.unapplied.append((sequence, session, plan, now))
            else:
                self._apply(session, plan, sequence, now)
        if self.effects_wait:
            self.log.wait_durable(sequence)
            self._apply_durable()
        if plan.ended:
            self.content.references.end(plan.ended, sequence)
        return sequence

    def _apply_durable(self) -> None:
        """Make visible what is durable, in the order of the log, whoever committed it."""
        with self.lock:
            durable = self.log.durable
            unapplied = self.unapplied
            while unapplied and unapplied[0][0] <= durable:
                sequence, session, plan, now = unapplied.popleft()
                self._apply(session, plan, sequence, now)
            if not unapplied:
                self.applied.notify_all()

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Hold the lock while every record in the log is visible inside as well."""
        with self.lock:
            self.holding += 1
            try:
                self.applied.wait_for(lambda: not self.unapplied)
                yield
            finally:
                self.holding -= 1
                self.applied.notify_all()

    def _apply(self, session: Session, plan: Plan, sequence: int, now: float) -> None:
        monotonic = self.clock.monotonic()
        self._settle(plan)
        for delivery in plan.deliveries:
            self._deliver(delivery, sequence, now, monotonic)
        for queue, run in plan.deferred:
            run.sequence = sequence
            at = monotonic + run.due / 1000 - now
            queue.give_back_waiting(run, at)
            self.scheduling.wait_until(queue, at)
        self._restore(session, plan)
        self.keep_state(session, sequence)
        self._count(session, plan, monotonic)

    def keep_state(self, session: Session, sequence: int) -> None:
        """Make a session's state and counters visible; the lock is held."""
        component = session.component
        if session.new_state is not None:
            component.state = session.new_state
        if session.keyed:
            self.keyed.put(component.id, session.keyed, sequence)
        for name, delta in (session.counters or NO_MAPPING).items():
            self.counters[name] = self.counters.get(name, 0) + delta
            component.counters[name] = component.counters.get(name, 0) + delta

    def _settle(self, plan: Plan) -> None:
        for queue, count, size in plan.settled:
            was_full = queue.is_full
            queue.settle(count, size)
            if was_full and not queue.is_full and queue.source is not None:
                self.scheduling.consider(queue.source)

    def _deliver(self, delivery: Delivery, sequence: int, now: float, monotonic: float) -> None:
        queue = delivery.queue
        run = Run(sequence, delivery.flowfiles, delivery.size, index=delivery.index)
        if delivery.due:
            run.due, run.since = delivery.due, int(now * 1e6) // 1000
            at = monotonic + delivery.due / 1000 - now
            queue.put_waiting(run, at)
            self.scheduling.wait_until(queue, at)
            return
        queue.put(run)
        if queue.destination is not None:
            self.scheduling.consider(queue.destination)

    def _restore(self, session: Session, plan: Plan) -> None:
        """Return what the session put back, and keep what it holds."""
        for queue, run, wait in plan.returned:
            if wait > 0:
                at = self.clock.monotonic() + wait
                queue.give_back_waiting(run, at)
                self.scheduling.wait_until(queue, at)
            else:
                queue.give_back([run])
        for queue, run in plan.held:
            session.component.hold(run.flowfiles[0], queue, run)

    def _count(self, session: Session, plan: Plan, monotonic: float) -> None:
        totals = session.component.statistics.touch(monotonic)
        totals.in_count += plan.taken_count
        totals.in_bytes += plan.taken_size
        for delivery in plan.deliveries:
            totals.out_count += len(delivery.flowfiles)
            totals.out_bytes += delivery.size
        totals.read_bytes += session.bytes_read
        totals.written_bytes += session.bytes_written
        totals.ended += plan.ended_count
        totals.failed += plan.failed
        for created in plan.record.created:
            if created.event == commits.EventType.CREATE:
                totals.created += len(created.flowfiles)
            elif created.event == commits.EventType.RECEIVE:
                totals.received += len(created.flowfiles)
        self.hops += plan.moved

    def _unaccounted(self, session: Session) -> str:
        first = next(iter(session.open.values()))
        name = self.identity.attribute(first, "filename")
        return (
            f"{session.component.path} left {len(session.open)} flowfile(s) unaccounted for, "
            f"the first is {self.identity.uuid(first.id)} ('{name}'). Each one must be "
            "transferred, dropped, held or put back before the trigger ends"
        )

    # Roll-back

    def rollback(self, session: Session, penalize: bool, reason: Reason | None) -> None:
        """Return everything that a session took; with `penalize` it waits, and the log says so."""
        with self.lock:
            if session.fenced:
                return
            if not penalize or not (session.taken or session.resumed):
                self.give_back(session)
                return
        self._penalize(session, reason)

    def give_back(self, session: Session) -> None:
        """Return what a session took to its places; whoever calls holds the lock."""
        for queue, runs in session.taken:
            queue.give_back(runs)
        for queue, run in session.resumed.values():
            queue.give_back([run])
        session.taken = []
        session.resumed = {}
        self.scheduling.consider(session.component)

    def _penalize(self, session: Session, reason: Reason | None) -> None:
        component = session.component
        now = self.clock.wall()
        due = int((now + component.penalty_seconds) * 1000)
        record = Commit(int(now * 1e6), component.id, self.revision, component.settings_hash)
        for queue, run in _taken_by(session):
            ids = encode_ids([flowfile.id for flowfile in run.flowfiles])
            record.deferred.append(Deferred(queue.id, ids, due, run.retries, reason))
        data = commits.encode(record)
        try:
            self.log.wait_for_room()
            with self.lock:
                if session.fenced:
                    return
                self.sequence = sequence = self.log.append(data)
                self._wait_in_queues(session, sequence, due, record.time // 1000)
        except LogFailedError:
            # The node ends here; until it has, nothing may be missing from the queues.
            with self.lock:
                self.give_back(session)
            raise

    def _wait_in_queues(self, session: Session, sequence: int, due: int, since: int) -> None:
        at = self.clock.monotonic() + session.component.penalty_seconds
        indexes: dict[int, int] = {}
        for queue, run in _taken_by(session):
            index = indexes.get(queue.id, 0)
            indexes[queue.id] = index + len(run.flowfiles)
            run.sequence, run.index, run.due, run.since = sequence, index, due, since
            queue.give_back_waiting(run, at)
            self.scheduling.wait_until(queue, at)
        session.taken = []
        session.resumed = {}

    def return_held(self, component: Component) -> bool:
        """Return held flowfiles to their places; tell whether there were any."""
        with self.lock:
            entries = list(component.held.values())
            component.held.clear()
            for queue, run in entries:
                queue.give_back([run])
            if entries:
                self.scheduling.consider(component)
        if entries and component.instance is not None:
            component.instance.on_returned()
        return bool(entries)

    # The node's own records

    def act(self, record: Commit, effects: Callable[[int], None] | None = None) -> int:
        """Commit a record that no session made (an edit, a drop, a replay).

        `effects` runs under the lock with the record's sequence.
        """
        data = commits.encode(record)
        self.log.wait_for_room()
        with self.lock:
            self.sequence = sequence = self.log.append(data, urgent=True)
            if effects is not None:
                effects(sequence)
        return sequence

    def new_record(self, component: int = 0) -> Commit:
        """Begin a record of the node itself, stamped with time and revision."""
        return Commit(int(self.clock.wall() * 1e6), component, self.revision)


def _taken_by(session: Session) -> list[tuple[Queue, Run]]:
    taken = [(queue, run) for queue, runs in session.taken for run in runs]
    return taken + list(session.resumed.values())


def _is_awaited(plan: Plan) -> bool:
    """Tell whether somebody waits for this record to become durable."""
    for delivery in plan.deliveries:
        destination = delivery.queue.destination
        if destination is not None and destination.waits_for_durable:
            return True
    return False
