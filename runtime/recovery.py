"""Put the fold of checkpoint and log back into a freshly built engine.

Queues take their runs at their old places. A flowfile that had to wait waits on, never longer
than its original wait, however the clock jumped meanwhile. What lies in a connection that the flow
no longer has is *parked*: kept and named, in no queue that runs.
"""

from __future__ import annotations

from collections.abc import Iterable

from runtime.commit import Commit
from runtime.content_references import count_segments
from runtime.engine import Engine
from runtime.fold import Fold
from runtime.model import HOLD, ConnectionModel
from runtime.queue import Queue, Run


def restore(engine: Engine, records: Iterable[tuple[int, Commit]]) -> Fold:
    """Fold records and load the result; for an engine without a checkpoint."""
    fold = Fold()
    for sequence, commit in records:
        fold.apply(sequence, commit)
    load(engine, fold)
    return fold


def load(engine: Engine, fold: Fold, unsynced: Iterable[int] = ()) -> dict[int, int]:
    """Fill the engine from a fold; return the parked connections with their counts.

    `unsynced`: the segments that records beyond the log's mark refer to.
    """
    missing = engine.content.adopt(
        count_segments(fold.live_claims()), highest=fold.highest_segment, unsynced=unsynced
    )
    for segment in missing:
        engine.bulletins.add(
            "ERROR", 0, "content", f"Content segment {segment} is missing; flowfiles that refer "
            "to it fail when they are read. Restore it into the home's content directory",
        )  # fmt: skip
    engine.counters.update(fold.counters)
    engine.sequence = fold.sequence
    for sequence, component, changes in fold.keyed:
        if sequence > engine.keyed.applied:
            engine.keyed.put(component, changes, sequence)
    for id, state in fold.states.items():
        if id in engine.components:
            engine.components[id].state = state
    parked = {}
    for connection, entries in fold.queues.items():
        if not entries:
            continue
        queue = engine.queues.get(connection)
        if queue is None:
            parked[connection] = len(entries)
            queue = Queue(ConnectionModel(id=connection, source=0, destination=HOLD))
            engine.queues[connection] = queue
        for run in fold.runs(connection):
            _put(engine, queue, run)
    return parked


def _put(engine: Engine, queue: Queue, run: Run) -> None:
    if not run.due:
        queue.put(run)
        return
    now = int(engine.clock.wall() * 1000)
    wait_ms = max(0, min(run.due - now, run.due - run.since))
    at = engine.clock.monotonic() + wait_ms / 1000
    queue.put_waiting(run, at)
    engine.scheduling.wait_until(queue, at)
