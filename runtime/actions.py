"""What people do to flowfiles: each act is a record with who and why."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.commit import Action, Created, EventType, Routed, Target, encode_ids
from runtime.engine import Engine
from runtime.flowfile import Claim, FlowFile
from runtime.queue import Run


def requeue(
    engine: Engine,
    connection: int,
    *,
    parent: int,
    attributes: Mapping[str, str],
    claim: Claim | None,
    lineage_start: int | None,
    user: str,
    note: str,
) -> FlowFile:
    """Queue a new flowfile made of an old one's attributes and content: a replay.

    Raises:
        LookupError: the connection is not there.
        ContentError: the content cannot be read any more.
    """
    queue = engine.queues.get(connection)
    if queue is None:
        raise LookupError(f"connection {connection} does not exist")
    now = int(engine.clock.wall() * 1000)
    flowfile = FlowFile(
        next(engine.ids),
        dict(attributes),
        claim,
        lineage_start if lineage_start is not None else now,
        now,
        claim.length if claim is not None else 0,
    )
    record = engine.new_record()
    record.action = Action("replay", user, note)
    record.created = [Created(EventType.REPLAY, [flowfile], encode_ids([parent]))]
    record.routed = [Routed("", encode_ids([flowfile.id]), [Target(connection)])]

    def effects(sequence: int) -> None:
        queue.put(Run(sequence, [flowfile], flowfile.size))
        if claim is not None:
            engine.content.references.add([claim])
        if queue.destination is not None:
            engine.scheduling.consider(queue.destination)

    # The pin keeps retention from removing the content between the look and the record.
    with engine.content.pinned([claim]):
        engine.act(record, effects)
    return flowfile
