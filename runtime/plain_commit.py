"""The short way of a commit: for the sessions that make up nearly all work.

A *plain* session took, created, changed, transferred and dropped flowfiles, each relationship
leading to one queue or none. Nothing waits, nothing is held or put back, nothing is cloned. For
such a session this module does what `runtime.commit_plan` and `Engine` do in general, in one
function without objects in between; the general way is the reference, and a property test holds
that both write the same record and leave the same state (tests/runtime/test_plain_commit.py).

It is one function, and longer than others, because each call costs: at a batch of one flowfile
the general way took 34 us a session where this takes 17 (benchmarks/hotpath.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from runtime.commit import EventType, encode, encode_ids
from runtime.queue import Run

if TYPE_CHECKING:
    from runtime.disk import File
    from runtime.engine import Engine
    from runtime.flowfile import Claim, FlowFile
    from runtime.queue import Queue
    from runtime.session import Session

NONE: tuple[Any, ...] = ()


def is_plain(engine: Engine, session: Session) -> bool:
    """Tell whether a session can go the short way."""
    if session.special or engine.effects_wait or session.component.retry.relationships:
        return False
    routes = session.component.routes
    return all([len(routes[name]) < 2 for name in session.routes])


def commit_plain(engine: Engine, session: Session, dirty: Sequence[File], now: float) -> int | None:
    """Commit; return the sequence, None when there is nothing to record, -1 to plan again."""
    component = session.component
    wiring = engine.wiring
    taken, settled, in_count, in_size = _taken(session)
    created, added = _created(session) if session.created else (NONE, NONE)
    changed = session.changed
    routed, dropped, ended = [], NONE, NONE
    deliveries: list[tuple[Queue, list[FlowFile], int]] = []
    out_count = out_size = ended_count = failed = 0
    urgent = bool(session.callbacks)
    for name, flowfiles in session.routes.items():
        if not flowfiles:
            continue
        count = len(flowfiles)
        ids = encode_ids([flowfile.id for flowfile in flowfiles])
        queues = component.routes[name]
        if queues:
            queue = queues[0]
            size = sum([flowfile.size for flowfile in flowfiles])
            deliveries.append((queue, flowfiles, size))
            out_count += count
            out_size += size
            routed.append((name, ids, ((queue.id, None),), 0, None))
            destination = queue.destination
            if destination is not None and destination.waits_for_durable:
                urgent = True
        else:
            routed.append((name, ids, NONE, 0, None))
            ended = [*ended, *_claims(flowfiles)]
            ended_count += count
            failed += count if name == "failure" else 0
    if session.dropped:
        dropped, gone = _dropped(session)
        ended = [*ended, *_claims(gone)]
        ended_count += len(gone)
    if not (taken or created or session.reported or session.new_state is not None
            or session.keyed or session.counters):  # fmt: skip
        return None
    record = (
        int(now * 1e6), component.id, engine.revision, component.settings_hash,
        int((now - session.started) * 1e6), taken, created,
        ((encode_ids(list(changed)), list(changed.values())),) if changed else NONE,
        NONE, routed, dropped, NONE, session.reported,
        session.new_state, session.keyed, session.counters, None,
    )  # fmt: skip
    data = encode(record)
    log = engine.log
    log.wait_for_room()
    with engine.lock:
        if session.fenced or engine.wiring != wiring:
            return -1
        engine.sequence = sequence = log.append(
            data, dirty=dirty, urgent=urgent, flowfiles=out_count + ended_count or in_count
        )
        session.committed = sequence
        session.taken = []
        if added:
            engine.content.references.add(added)
        consider = engine.scheduling.consider
        for queue, count, size in settled:
            was_full = queue.is_full
            queue.count -= count
            queue.size -= size
            if was_full and queue.source is not None:
                consider(queue.source)
        for number, (queue, flowfiles, size) in enumerate(deliveries):
            index = _placed(deliveries[:number], queue) if number else 0
            queue.put(Run(sequence, flowfiles, size, index=index))
            if queue.destination is not None:
                consider(queue.destination)
        if session.new_state is not None or session.keyed or session.counters:
            engine.keep_state(session, sequence)
        totals = component.statistics.touch(engine.clock.monotonic())
        totals.in_count += in_count
        totals.in_bytes += in_size
        totals.out_count += out_count
        totals.out_bytes += out_size
        totals.read_bytes += session.bytes_read
        totals.written_bytes += session.bytes_written
        totals.ended += ended_count
        totals.failed += failed
        for event, flowfiles, *_ in created:
            if event == EventType.CREATE:
                totals.created += len(flowfiles)
            elif event == EventType.RECEIVE:
                totals.received += len(flowfiles)
        engine.hops += out_count + ended_count
    if ended:
        engine.content.references.end(ended, sequence)
    return sequence


def _placed(deliveries: list[tuple[Queue, list[FlowFile], int]], queue: Queue) -> int:
    """Return how many flowfiles a queue got already: two relationships may lead to one queue."""
    return sum([len(flowfiles) for other, flowfiles, _ in deliveries if other is queue])


def _taken(session: Session) -> tuple[list[Any], list[tuple[Queue, int, int]], int, int]:
    taken: list[Any] = []
    settled = []
    in_count = in_size = 0
    for queue, runs in session.taken:
        if len(runs) == 1:
            flowfiles, size = runs[0].flowfiles, runs[0].size
        else:
            flowfiles = [flowfile for run in runs for flowfile in run.flowfiles]
            size = sum([run.size for run in runs])
        count = len(flowfiles)
        taken.append((queue.id, encode_ids([flowfile.id for flowfile in flowfiles])))
        settled.append((queue, count, size))
        in_count += count
        in_size += size
    return taken, settled, in_count, in_size


def _created(session: Session) -> tuple[list[Any], list[Claim]]:
    created = session.created
    records: list[Any] = []
    added: list[Claim] = []
    for family in session.families:
        flowfiles = [created[id] for id in family.children]
        parents = encode_ids(family.parents) if family.parents else None
        records.append(
            (int(family.event), flowfiles, parents, family.transit_uri, family.details)
        )
        added += _claims(flowfiles)
    return records, added


def _dropped(session: Session) -> tuple[list[Any], list[FlowFile]]:
    records: list[Any] = []
    gone: list[FlowFile] = []
    for details, flowfiles in session.dropped.items():
        if flowfiles:
            ids = encode_ids([flowfile.id for flowfile in flowfiles])
            records.append((int(EventType.DROP), ids, details))
            gone += flowfiles
    return records, gone


def _claims(flowfiles: list[FlowFile]) -> list[Claim]:
    return [flowfile.claim for flowfile in flowfiles if flowfile.claim is not None]
