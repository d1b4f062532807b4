"""The short way of a commit: for the sessions that make up nearly all work.

A *plain* session took, created, changed, transferred and dropped flowfiles, each relationship
leading to one queue or none. Nothing waits, nothing is held or put back, nothing is cloned. For
such a session this module does what `runtime.commit_plan` and `Engine` do in general, in one
function without objects in between; the general way is the reference, and a property test holds
that both write the same record and leave the same state (tests/runtime/test_plain_commit.py).

It builds tuples and few of them, because each object and each call costs: at a batch of one
flowfile the general way took 34 us a session where this takes 17 (benchmarks/hotpath.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from runtime.commit import EventType, encode, encode_ids
from runtime.queue import Run

if TYPE_CHECKING:
    from runtime.commit import Ids
    from runtime.disk import File
    from runtime.engine import Engine
    from runtime.flowfile import Claim, FlowFile
    from runtime.queue import Queue
    from runtime.session import Session
    from runtime.statistics import Totals

    Delivery = tuple[Queue, list[FlowFile], int, Ids]

NONE: tuple[Any, ...] = ()


def is_plain(engine: Engine, session: Session) -> bool:
    """Tell whether a session can go the short way."""
    if session.special or engine.effects_wait or session.component.retry.relationships:
        return False
    routes = session.component.routes
    return not [name for name in session.routes if len(routes[name]) > 1]


def commit_plain(engine: Engine, session: Session, dirty: Sequence[File], now: float) -> int | None:
    """Commit; return the sequence, None when there is nothing to record, -1 to plan again."""
    component = session.component
    wiring = engine.wiring
    taken, settled = _taken(session)
    created, added = _created(session) if session.created else (NONE, NONE)
    changed = session.changed
    routed, deliveries, gone, urgent = _routed(session)
    dropped = _dropped(session, gone) if session.dropped else NONE
    if not (taken or created or session.reported or session.new_state is not None
            or session.keyed or session.counters):  # fmt: skip
        return None
    data = encode((
        int(now * 1e6), component.id, engine.revision, component.settings_hash,
        int((now - session.started) * 1e6), taken, created,
        ((encode_ids(list(changed)), list(changed.values())),) if changed else NONE,
        NONE, routed, dropped, NONE, session.reported,
        session.new_state, session.keyed, session.counters, None,
    ))  # fmt: skip
    moved = len(gone) + sum([len(flowfiles) for _, flowfiles, *_ in deliveries])
    log = engine.log
    log.wait_for_room()
    with engine.lock:
        if session.fenced or engine.wiring != wiring:
            return -1
        engine.sequence = sequence = log.append(data, dirty=dirty, urgent=urgent, flowfiles=moved)
        session.committed = sequence
        session.taken = []
        if added:
            engine.content.references.add(added)
        totals = component.statistics.touch(engine.clock.monotonic())
        _settle(engine, settled, totals)
        _deliver(engine, deliveries, sequence, totals)
        if session.new_state is not None or session.keyed or session.counters:
            engine.keep_state(session, sequence)
        _count(session, created, gone, totals)
        engine.hops += moved
    if gone and (ended := _claims(gone)):
        engine.content.references.end(ended, sequence)
    return sequence


def _settle(engine: Engine, settled: list[tuple[Queue, int, int]], totals: Totals) -> None:
    for queue, count, size in settled:
        was_full = queue.is_full
        queue.count -= count
        queue.size -= size
        totals.in_count += count
        totals.in_bytes += size
        if was_full and queue.source is not None:
            engine.scheduling.consider(queue.source)


def _deliver(
    engine: Engine, deliveries: list[Delivery], sequence: int, totals: Totals
) -> None:
    for number, (queue, flowfiles, size, ids) in enumerate(deliveries):
        index = _placed(deliveries[:number], queue) if number else 0
        # The next step takes the run whole, as a rule, and stores the same ids again.
        queue.put(Run(sequence, flowfiles, size, index=index, packed=ids))
        totals.out_count += len(flowfiles)
        totals.out_bytes += size
        if queue.destination is not None:
            engine.scheduling.consider(queue.destination)


def _count(session: Session, created: Sequence[Any], gone: list[FlowFile], totals: Totals) -> None:
    totals.read_bytes += session.bytes_read
    totals.written_bytes += session.bytes_written
    for event, flowfiles, *_ in created:
        if event == EventType.CREATE:
            totals.created += len(flowfiles)
        elif event == EventType.RECEIVE:
            totals.received += len(flowfiles)
    if gone:
        totals.ended += len(gone)
        if not session.component.routes.get("failure"):
            totals.failed += len(session.routes.get("failure", NONE))


def _placed(deliveries: list[Delivery], queue: Queue) -> int:
    """Return how many flowfiles a queue got already: two relationships may lead to one queue."""
    return sum([len(flowfiles) for other, flowfiles, *_ in deliveries if other is queue])


def _taken(session: Session) -> tuple[list[Any], list[tuple[Queue, int, int]]]:
    taken: list[Any] = []
    settled = []
    for queue, runs in session.taken:
        if len(runs) == 1:
            run = runs[0]
            flowfiles, size, ids = run.flowfiles, run.size, run.packed
        else:
            flowfiles = [flowfile for run in runs for flowfile in run.flowfiles]
            size, ids = sum([run.size for run in runs]), None
        if ids is None:
            ids = encode_ids([flowfile.id for flowfile in flowfiles])
        taken.append((queue.id, ids))
        settled.append((queue, len(flowfiles), size))
    return taken, settled


def _routed(session: Session) -> tuple[list[Any], list[Delivery], list[FlowFile], bool]:
    """Return the record's part, the deliveries, what ends here, and whether somebody waits."""
    routes = session.component.routes
    routed: list[Any] = []
    deliveries: list[Delivery] = []
    gone: list[FlowFile] = []
    urgent = bool(session.callbacks)
    for name, flowfiles in session.routes.items():
        if not flowfiles:
            continue
        ids = encode_ids([flowfile.id for flowfile in flowfiles])
        queues = routes[name]
        if not queues:
            routed.append((name, ids, NONE, 0, None))
            gone += flowfiles
            continue
        queue = queues[0]
        routed.append((name, ids, ((queue.id, None),), 0, None))
        size = sum([flowfile.size for flowfile in flowfiles])
        deliveries.append((queue, flowfiles, size, ids))
        destination = queue.destination
        if destination is not None and destination.waits_for_durable:
            urgent = True
    return routed, deliveries, gone, urgent


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


def _dropped(session: Session, gone: list[FlowFile]) -> list[Any]:
    """Return the record's part; what is dropped is added to `gone`."""
    records: list[Any] = []
    for details, flowfiles in session.dropped.items():
        if flowfiles:
            ids = encode_ids([flowfile.id for flowfile in flowfiles])
            records.append((int(EventType.DROP), ids, details))
            gone += flowfiles
    return records


def _claims(flowfiles: list[FlowFile]) -> list[Claim]:
    return [flowfile.claim for flowfile in flowfiles if flowfile.claim is not None]
