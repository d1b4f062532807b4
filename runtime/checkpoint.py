"""Checkpoints: the state after one record, so that recovery need not fold the whole log.

A checkpoint is a file of the log's own frames (`runtime.log_format`), chained from the log's end
that it stands for, so that every byte that is read is proved:

    checkpoint-<sequence>   head record:   Head
                            queue records: Chunk (connection, up to 1,000 entries), ...
                            last record:   Tail (how many entries there were)

It is written beside its name, synced, and renamed only when the log is durable up to its
sequence and the state store has been flushed past it. Two are kept. One that is damaged is set
aside and the older one used, as long as the log still reaches back to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from runtime.disk import Disk, File
from runtime.flowfile import FlowFile
from runtime.fold import Entry, Fold
from runtime.log_format import (
    GROUP_HEAD_BYTES,
    FrameFault,
    LogEnd,
    LogVersionError,
    after_group,
    check_payload,
    check_place,
    decode_head,
    encode_group,
    sector_end,
    split_records,
)

if TYPE_CHECKING:
    from runtime.engine import Engine
    from runtime.queue import Run

PREFIX: Final = "checkpoint-"
FRESH: Final = ".new"
DAMAGED: Final = ".damaged"
CHUNK: Final = 1_000
KEPT: Final = 2
VERSION: Final = 1


class Head(msgspec.Struct, array_like=True):
    """What is not in a queue.

    `sequence` is the last record that the state holds; `end` a position of the log at or before
    it, from where recovery reads (the record may lie in the middle of a group). `keyed` is the
    record that the state store had reached: a store that is behind it has lost something.
    """

    version: int
    home: int
    sequence: int
    end: LogEnd
    wall_ms: int
    revision: int
    flow: bytes | None
    states: dict[int, dict[str, str]]
    counters: dict[str, int]
    keyed: int = 0


class Place(msgspec.Struct, array_like=True, gc=False):
    """An entry of a queue: flowfile, sequence, index, retries, due, since."""

    flowfile: FlowFile
    sequence: int
    index: int
    retries: int
    due: int
    since: int


class Chunk(msgspec.Struct, array_like=True):
    """Some entries of one queue, in order."""

    connection: int
    places: list[Place]


class Tail(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Proof that the file is whole; a chunk, whose first field is a number too, is none."""

    entries: int


class CheckpointDamagedError(RuntimeError):
    """A checkpoint cannot be used; the message names the file and why."""


T = TypeVar("T")
_encode = msgspec.msgpack.Encoder().encode


def gather(engine: Engine) -> dict[int, list[Run]]:
    """Copy the references to all runs; what sessions hold counts as in its queue.

    Whoever calls holds the engine's lock.
    """
    queues = {id: queue.runs() for id, queue in engine.queues.items()}
    for session in engine.sessions:
        for queue, runs in session.taken:
            queues[queue.id] += runs
        for queue, run in session.resumed.values():
            queues[queue.id].append(run)
    for component in engine.components.values():
        for queue, run in component.held.values():
            queues[queue.id].append(run)
    # A run that lies here may be split by a take while it is encoded: copy the lists' ends.
    return {
        id: [run.of(list(run.flowfiles), index=run.index) for run in runs]
        for id, runs in queues.items()
        if runs
    }


def places(queues: dict[int, list[Run]]) -> Iterator[tuple[int, list[Place]]]:
    """Turn gathered runs into entries, each queue in the order of its places."""
    for id, runs in queues.items():
        runs.sort(key=lambda run: (run.sequence, run.index))
        yield id, [
            Place(flowfile, run.sequence, index, run.retries, run.due, run.since)
            for run in runs
            for index, flowfile in enumerate(run.flowfiles, run.index)
        ]


def write_checkpoint(
    directory: Path, disk: Disk, head: Head, queues: Iterator[tuple[int, list[Place]]]
) -> Path:
    """Write a checkpoint under a temporary name, synced; `publish` makes it count."""
    disk.make_directory(directory)
    path = directory / f"{PREFIX}{head.sequence:020d}{FRESH}"
    if disk.exists(path):
        disk.remove(path)
    file = disk.create(path)
    try:
        position = LogEnd(chain=head.end.chain)
        position = _write(file, position, _encode(head), head.wall_ms)
        count = 0
        for connection, places in queues:
            for start in range(0, len(places), CHUNK):
                part = places[start : start + CHUNK]
                position = _write(file, position, _encode(Chunk(connection, part)), head.wall_ms)
                count += len(part)
        _write(file, position, _encode(Tail(count)), head.wall_ms)
        file.sync()
    finally:
        file.close()
    return path


def publish(path: Path, disk: Disk) -> Path:
    """Give a written checkpoint its name, and remove all but the newest two."""
    final = path.with_suffix("")
    disk.rename(path, final)
    disk.sync_directory(final.parent)
    # Those that a crash left half written go as well.
    unfinished = [name for name in disk.names(final.parent) if name.endswith(FRESH)]
    for name in (*_names(final.parent, disk)[:-KEPT], *unfinished):
        disk.remove(final.parent / name)
    return final


def sequences(directory: Path, disk: Disk) -> list[int]:
    """Return the sequences of the checkpoints there are, oldest first."""
    return [int(name[len(PREFIX) :]) for name in _names(directory, disk)]


def load_newest(directory: Path, disk: Disk, home: int) -> tuple[Head, Fold, list[str]] | None:
    """Load the newest checkpoint that is whole; the third value says why others are set aside.

    Raises:
        CheckpointDamagedError: there are checkpoints, but none is whole.
    """
    problems: list[str] = []
    damaged: list[Path] = []
    for name in reversed(_names(directory, disk)):
        try:
            head, fold = load(directory / name, disk)
        except CheckpointDamagedError as error:
            problems.append(str(error))
            damaged.append(directory / name)
            continue
        if head.home != home:
            raise CheckpointDamagedError(
                f"{directory / name} belongs to home {head.home:012x}, not {home:012x}"
            )
        # Only now: while none is whole they stay where they are, for who repairs the home.
        for path in damaged:
            disk.rename(path, path.with_name(path.name + DAMAGED))
        return head, fold, problems
    if problems:
        raise CheckpointDamagedError(
            "; ".join(problems) + ". No whole checkpoint is left: restore one from a backup of "
            "the home"
        )
    return None


def log_floor(directory: Path, disk: Disk) -> int:
    """Return the last record that recovery from the oldest checkpoint does not read.

    It may lie well before the checkpoint's own: records that were on their way to the disk when
    it was taken come after the place where its recovery begins. 0: all of the log is needed.
    """
    names = _names(directory, disk)
    if not names:
        return 0
    path = directory / names[0]
    file = disk.open(path)
    try:
        return _decoded(next(_records(file, path), b""), Head, path).end.sequence
    except (CheckpointDamagedError, OSError):
        return 0
    finally:
        file.close()


def load(path: Path, disk: Disk) -> tuple[Head, Fold]:
    """Load one checkpoint."""
    file = disk.open(path)
    try:
        records = _records(file, path)
        head = _decoded(next(records, b""), Head, path)
        if head.version != VERSION:
            raise CheckpointDamagedError(
                f"{path} has format version {head.version}; this release reads {VERSION}"
            )
        fold = Fold(
            head.sequence,
            states=head.states,
            counters=head.counters,
            flow=head.flow,
            revision=head.revision,
        )
        _fill(fold, records, path)
    except OSError as error:
        raise CheckpointDamagedError(f"{path} cannot be read: {error}") from error
    finally:
        file.close()
    return head, fold


def _fill(fold: Fold, records: Iterator[bytes], path: Path) -> None:
    last = b""
    for record in records:
        if last:
            chunk = _decoded(last, Chunk, path)
            queue = fold.queues.setdefault(chunk.connection, {})
            for place in chunk.places:
                queue[place.flowfile.id] = Entry(
                    place.flowfile,
                    place.sequence,
                    place.index,
                    place.retries,
                    place.due,
                    place.since,
                )
        last = record
    entries = _decoded(last, Tail, path).entries
    if entries != fold.count():
        raise CheckpointDamagedError(f"{path} has {fold.count()} entries instead of {entries}")


def _write(file: File, position: LogEnd, record: bytes, wall_ms: int) -> LogEnd:
    data = encode_group([record], position, wall_ms)
    file.write(data, position.offset)
    return after_group(position, decode_head(bytes(data[:GROUP_HEAD_BYTES])))


def _records(file: File, path: Path) -> Iterator[bytes]:
    size = file.size()
    offset = 0
    position: LogEnd | None = None
    while offset + GROUP_HEAD_BYTES <= size:
        try:
            head = decode_head(file.read(GROUP_HEAD_BYTES, offset))
            payload = file.read(head.length, offset + GROUP_HEAD_BYTES)
            check_payload(head, payload)
            if position is not None:
                check_place(head, position)
            else:
                position = LogEnd()
        except (FrameFault, LogVersionError) as error:
            raise CheckpointDamagedError(f"{path} at byte {offset} {error}") from error
        yield from split_records(head, payload)
        position = after_group(position, head)
        offset = sector_end(offset + GROUP_HEAD_BYTES + head.length)


def _decoded(data: bytes, type: type[T], path: Path) -> T:
    try:
        return msgspec.msgpack.decode(data, type=type)
    except msgspec.MsgspecError as error:
        raise CheckpointDamagedError(f"{path} does not hold a checkpoint: {error}") from error


def _names(directory: Path, disk: Disk) -> list[str]:
    return [
        name
        for name in disk.names(directory)
        if name.startswith(PREFIX) and name[len(PREFIX) :].isdigit()
    ]
