"""What a session's commit will do: its log record, and the effects that become visible.

Planning reads the session and touches nothing shared, so it runs outside the engine's lock. The
order in which `routed` is built is the order in which a queue receives flowfiles: recovery folds
the record the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from runtime.commit import (
    Changed,
    Commit,
    Created,
    Deferred,
    Dropped,
    EventType,
    Reason,
    Rewritten,
    Routed,
    Taken,
    Target,
    encode_ids,
)
from runtime.creation import Family
from runtime.flowfile import Claim, FlowFile
from runtime.queue import Queue, Run

if TYPE_CHECKING:
    from runtime.session import Session

T = TypeVar("T")


class Delivery:
    """Flowfiles for one queue from `index` on; `due` (ms since the epoch) 0: at once."""

    __slots__ = ("due", "flowfiles", "index", "queue", "size")

    def __init__(self, queue: Queue, flowfiles: list[FlowFile], due: int, index: int) -> None:
        self.queue = queue
        self.flowfiles = flowfiles
        self.due = due
        self.index = index
        self.size = sum([flowfile.size for flowfile in flowfiles])


class Plan:
    """A commit before it happens."""

    __slots__ = (
        "added",
        "deferred",
        "deliveries",
        "ended",
        "ended_count",
        "failed",
        "held",
        "moved",
        "placed",
        "record",
        "returned",
        "settled",
        "taken_count",
        "taken_size",
    )

    def __init__(self, record: Commit) -> None:
        self.record = record
        self.deliveries: list[Delivery] = []
        self.settled: list[tuple[Queue, int, int]] = []
        self.returned: list[tuple[Queue, Run, float]] = []
        self.deferred: list[tuple[Queue, Run]] = []
        self.held: list[tuple[Queue, Run]] = []
        self.added: list[Claim] = []
        self.ended: list[Claim] = []
        self.placed: dict[int, int] = {}
        """How many flowfiles each queue gets: the next one's index there."""
        self.ended_count = 0
        self.failed = 0
        self.moved = 0
        self.taken_count = 0
        self.taken_size = 0

    def place(self, queue: Queue, flowfiles: list[FlowFile]) -> int:
        """Return the index of the first of these among all that this commit puts into a queue."""
        index = self.placed.get(queue.id, 0)
        self.placed[queue.id] = index + len(flowfiles)
        return index

    @property
    def is_empty(self) -> bool:
        """Nothing to record."""
        record = self.record
        return not (
            record.taken
            or record.created
            or record.deferred
            or record.reported
            or record.state is not None
            or record.keyed
            or record.counters
        )


def plan_commit(session: Session, now: float) -> Plan:
    """Plan the commit of a session whose flowfiles are all accounted for; `now` is wall time.

    Planning can be repeated, should the wiring change before the commit.
    """
    component = session.component
    plan = Plan(
        Commit(
            int(now * 1e6),
            component.id,
            session.engine.revision,
            component.settings_hash,
            int((now - session.started) * 1e6),
            reported=session.reported,
            state=session.new_state,
            keyed=session.keyed,
            counters=session.counters,
        )
    )
    _plan_taken(session, plan)
    if session.created:
        _plan_created(session, plan)
    if session.changed:
        changed = session.changed
        plan.record.changed = [Changed(encode_ids(list(changed)), list(changed.values()))]
    if session.rewritten:
        _plan_rewritten(session, plan)
    for name, flowfiles in session.routes.items():
        if flowfiles:
            _plan_route(session, plan, name, flowfiles, now=now)
    if session.dropped or session.expired:
        _plan_dropped(session, plan)
    if session.deferred:
        _plan_deferred(session, plan)
    return plan


def _plan_taken(session: Session, plan: Plan) -> None:
    kept = {flowfile.id for flowfile in session.held}
    apart = kept.union(session.returned, session.deferred)
    for queue, runs in session.taken:
        if len(runs) == 1 and not apart:
            _take(plan, queue, runs[0].flowfiles, runs[0].size)
            continue
        flowfiles: list[FlowFile] = []
        for run in runs:
            staying = run.flowfiles
            if apart:
                staying = [one for one in staying if one.id not in apart]
                if len(staying) < len(run.flowfiles):
                    _plan_apart(session, plan, queue, run)
            flowfiles += staying
        _take(plan, queue, flowfiles, sum([one.size for one in flowfiles]))
    if session.resumed:
        _plan_resumed(session, plan, kept)


def _plan_apart(session: Session, plan: Plan, queue: Queue, run: Run) -> None:
    """Plan for the flowfiles of a run that the session put back or holds."""
    kept = {flowfile.id for flowfile in session.held}
    for index, flowfile in enumerate(run.flowfiles, run.index):
        id = flowfile.id
        if id in session.returned:
            single = run.of([flowfile], index=index)
            plan.returned.append((queue, single, session.returned[id]))
        elif id in kept:
            plan.held.append((queue, run.of([flowfile], index=index)))


def _take(plan: Plan, queue: Queue, flowfiles: list[FlowFile], size: int) -> None:
    if flowfiles:
        plan.record.taken.append(Taken(queue.id, encode_ids([one.id for one in flowfiles])))
        plan.settled.append((queue, len(flowfiles), size))
        plan.taken_count += len(flowfiles)
        plan.taken_size += size


def _plan_resumed(session: Session, plan: Plan, kept: set[int]) -> None:
    gathered: dict[int, tuple[Queue, list[FlowFile]]] = {}
    for id, (queue, run) in session.resumed.items():
        if id in kept:
            plan.held.append((queue, run))
        elif id in session.returned:
            plan.returned.append((queue, run, session.returned[id]))
        elif id not in session.deferred:
            gathered.setdefault(queue.id, (queue, []))[1].append(run.flowfiles[0])
    for queue, flowfiles in gathered.values():
        _take(plan, queue, flowfiles, sum([flowfile.size for flowfile in flowfiles]))


def _plan_created(session: Session, plan: Plan) -> None:
    created = session.created
    # What was created and dropped in one session never was.
    vanished = {
        flowfile.id
        for flowfiles in session.dropped.values()
        for flowfile in flowfiles
        if flowfile.id in created
    }
    for family in session.families:
        children, parents = family.children, family.parents
        if vanished:
            if family.event is EventType.CLONE:
                pairs = [
                    (child, parent)
                    for child, parent in zip(children, parents, strict=True)
                    if child not in vanished
                ]
                children, parents = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            else:
                children = [child for child in children if child not in vanished]
        if not children:
            continue
        flowfiles = [created[child] for child in children]
        plan.record.created.append(
            Created(
                int(family.event),
                flowfiles,
                encode_ids(parents) if parents else None,
                family.transit_uri,
                family.details,
            )
        )
        plan.added += [one.claim for one in flowfiles if one.claim is not None]


def _plan_rewritten(session: Session, plan: Plan) -> None:
    rewritten = session.rewritten
    claims = list(rewritten.values())
    plan.record.rewritten = [Rewritten(encode_ids(list(rewritten)), claims)]
    plan.added += [claim for claim in claims if claim is not None]
    plan.ended += session.replaced


def _plan_route(
    session: Session, plan: Plan, name: str, flowfiles: list[FlowFile], *, now: float
) -> None:
    if not session.penalized and not session.reasons:
        _plan_part(session, plan, (name, 0, None), flowfiles)
        return
    due = int((now + session.component.penalty_seconds) * 1000)
    parts: dict[tuple[str, int, Reason | None], list[FlowFile]] = {}
    for flowfile in flowfiles:
        wait = due if flowfile.id in session.penalized else 0
        part = (name, wait, session.reasons.get(flowfile.id))
        parts.setdefault(part, []).append(flowfile)
    for part, members in parts.items():
        _plan_part(session, plan, part, members)


def _plan_part(
    session: Session, plan: Plan, part: tuple[str, int, Reason | None], flowfiles: list[FlowFile]
) -> None:
    name, due, reason = part
    ids = encode_ids([flowfile.id for flowfile in flowfiles])
    queues = session.component.routes[name]
    targets = []
    for position, queue in enumerate(queues):
        if position == 0:
            targets.append(Target(queue.id))
            plan.deliveries.append(Delivery(queue, flowfiles, due, plan.place(queue, flowfiles)))
            continue
        copies = _clones(session, flowfiles, plan.record.time // 1000)
        targets.append(Target(queue.id, encode_ids([copy.id for copy in copies])))
        plan.deliveries.append(Delivery(queue, copies, due, plan.place(queue, copies)))
        plan.added += [copy.claim for copy in copies if copy.claim is not None]
    plan.record.routed.append(Routed(name, ids, targets, due, reason))
    plan.moved += len(flowfiles) * max(1, len(queues))
    if not queues:
        plan.ended += [one.claim for one in flowfiles if one.claim is not None]
        plan.ended_count += len(flowfiles)
        if name == "failure":
            plan.failed += len(flowfiles)


def _clones(session: Session, flowfiles: list[FlowFile], entered: int) -> list[FlowFile]:
    ids = session.engine.ids
    return [
        FlowFile(
            next(ids),
            flowfile.attributes,
            flowfile.claim,
            flowfile.lineage_start,
            entered,
            flowfile.size,
        )
        for flowfile in flowfiles
    ]


def _plan_dropped(session: Session, plan: Plan) -> None:
    for details, flowfiles in session.dropped.items():
        members = [one for one in flowfiles if one.id not in session.created]
        if members:
            _drop(plan, EventType.DROP, members, details)
    if session.expired:
        _drop(plan, EventType.EXPIRE, session.expired, None)


def _drop(plan: Plan, event: EventType, flowfiles: list[FlowFile], details: str | None) -> None:
    ids = encode_ids([flowfile.id for flowfile in flowfiles])
    plan.record.dropped.append(Dropped(int(event), ids, details))
    plan.ended += [one.claim for one in flowfiles if one.claim is not None]
    plan.ended_count += len(flowfiles)
    plan.moved += len(flowfiles)


def settle_retries(session: Session, now: float) -> None:
    """Turn transfers to a retried relationship into waits in the queue they came from.

    The flowfile goes back as it was; what the session made of it is undone as well. Runs once a
    commit, before planning, because it changes the session.
    """
    retry = session.component.retry
    origins: dict[int, tuple[Queue, Run, int]] = {}
    for queue, runs in session.taken:
        for run in runs:
            for index, flowfile in enumerate(run.flowfiles, run.index):
                origins[flowfile.id] = (queue, run, index)
    for id, (queue, run) in session.resumed.items():
        origins[id] = (queue, run, run.index)
    again: set[int] = set()
    for name in retry.relationships:
        for flowfile in session.routes.get(name, ()):
            origin = origins.get(flowfile.id)
            if origin is None or origin[1].retries >= retry.count:
                continue
            if not _is_joined(session, flowfile.id):
                again.add(flowfile.id)
                _defer(session, flowfile.id, origin, now)
    if again:
        _undo(session, again)


def _defer(session: Session, id: int, origin: tuple[Queue, Run, int], now: float) -> None:
    queue, run, index = origin
    component = session.component
    base = (
        component.penalty_seconds
        if component.retry.backoff == "penalize"
        else component.yield_seconds
    )
    wait = min(component.retry.max_backoff_seconds, base * 2 ** min(run.retries, 40))
    single = run.of([run.flowfiles[index - run.index]], index=index)
    single.retries += 1
    single.since = int(now * 1e6) // 1000
    single.due = int((now + wait) * 1000)
    session.deferred = {**session.deferred, id: (queue, single, session.reasons.get(id))}


def _undo(session: Session, again: set[int]) -> None:
    for id in again:
        if id in session.rewritten:
            session.forget_rewrite(id)
    # Children of what is tried again vanish with it, and their children in turn.
    gone = _descendants(session, again)
    for flowfiles in (*session.routes.values(), *session.dropped.values()):
        flowfiles[:] = [one for one in flowfiles if one.id not in gone]
    session.families = [_left(one, gone) for one in session.families]
    session.reported = [one for one in session.reported if one.ids[0] not in gone]
    session.changed = _without(session.changed, gone)
    session.reasons = _without(session.reasons, gone)
    session.created = _without(session.created, gone)
    session.penalized = {id for id in session.penalized if id not in gone}


def _descendants(session: Session, ids: set[int]) -> set[int]:
    """Return these and all that this session made of them."""
    found = set(ids)
    for family in session.families:
        if family.event is EventType.CLONE:
            pairs = zip(family.children, family.parents, strict=True)
            found.update(child for child, parent in pairs if parent in found)
        elif found.intersection(family.parents):
            found.update(family.children)
    return found


def _is_joined(session: Session, id: int) -> bool:
    """Tell whether others would be lost if all that was made of a flowfile vanished."""
    joins = [one for one in session.families if one.event is EventType.JOIN]
    if not joins:
        return False
    descendants = _descendants(session, {id})
    return any(descendants.intersection(join.parents) for join in joins)


def _left(family: Family, gone: set[int]) -> Family:
    """Return what is left of a family; without children it is left out of the record."""
    left = Family(family.event, family.parents, family.transit_uri, family.details)
    left.children = [child for child in family.children if child not in gone]
    if family.event is EventType.CLONE:
        pairs = zip(family.children, family.parents, strict=True)
        left.parents = [parent for child, parent in pairs if child not in gone]
    return left


def _without(mapping: dict[int, T], gone: set[int]) -> dict[int, T]:
    return {id: value for id, value in mapping.items() if id not in gone}


def _plan_deferred(session: Session, plan: Plan) -> None:
    for id, (queue, run, reason) in session.deferred.items():
        run.index = plan.place(queue, run.flowfiles)
        plan.deferred.append((queue, run))
        plan.record.deferred.append(
            Deferred(queue.id, encode_ids([id]), run.due, run.retries, reason)
        )
