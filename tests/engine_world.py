"""The engine with several components on a disk in memory, without threads.

What the tests of engine, scheduler and queues share. Every record that is committed is also
kept in `records`, so that a test can fold them without making them durable first.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from runtime import commit as commits
from runtime.assembly import apply, prepare
from runtime.bulletins import Bulletins
from runtime.checkpoint import Head, gather, load_newest, places, publish, write_checkpoint
from runtime.clock import ManualClock
from runtime.component import Component, Status
from runtime.content import ContentStore
from runtime.engine import Engine
from runtime.expression import Environment
from runtime.flowfile import FlowFile, Identity, flowfile_ids
from runtime.fold import Fold
from runtime.keyed_state import KeyedState
from runtime.log import Log
from runtime.log_format import LOG_START, LogEnd
from runtime.log_reader import LogReading, read_log
from runtime.log_repair import settle_log
from runtime.model import ConnectionModel, FlowModel, GroupModel, ProcessorModel
from runtime.prioritizers import priority_key
from runtime.processor import Effects, Input, Processor, Relationship
from runtime.properties import Scope
from runtime.queue import PrioritizedQueue, Queue, flowfiles_in
from runtime.recovery import load
from runtime.scheduler import Scheduler, reconsider_all
from runtime.session import Session
from runtime.wiring import is_prioritized, wire
from tests.faulty_disk import FaultyDisk
from tests.log_world import run_all

HOME = 0x1EADA
LOG, CONTENT, CHECKPOINTS = Path("/log"), Path("/content"), Path("/checkpoints")


class Step(Processor):
    """Does nothing by itself: the test holds its sessions."""

    input = Input.ALLOWED
    effects = Effects.PURE
    success = Relationship("What went well.")
    failure = Relationship("What did not.")
    other = Relationship("What is left.")


class Sink(Step):
    """Waits for durability."""

    effects = Effects.WRITES_OUTSIDE


class World:
    """One home's engine; `start` after a loss of power makes the next one on the same disk."""

    def __init__(
        self,
        processors: Sequence[ProcessorModel],
        connections: Sequence[ConnectionModel],
        *,
        declarations: dict[str, type[Processor]] | None = None,
        effects_wait: bool = False,
        disk: FaultyDisk | None = None,
        background: bool = False,
    ) -> None:
        """`background`: the log has its committer thread; the test closes it in the end."""
        self.disk = disk or FaultyDisk()
        self.background = background
        self.clock = ManualClock()
        self.declarations: dict[str, type[Processor]] = {"Step": Step, "Sink": Sink}
        self.declarations.update(declarations or {})
        self.processors = tuple(processors)
        self.connections = tuple(connections)
        self.effects_wait = effects_wait
        self.records: list[bytes] = []
        self.failures: list[BaseException] = []
        self.starts = 0
        self._open(LOG_START)
        self.wire()

    # Building

    def _open(self, end: LogEnd) -> None:
        self.starts += 1
        content = ContentStore(CONTENT, disk=self.disk, clock=self.clock, segment_bytes=1 << 14)
        self.scheduler = Scheduler()
        self.engine = Engine(
            clock=self.clock,
            identity=Identity(HOME),
            ids=flowfile_ids(self.starts),
            content=content,
            keyed=KeyedState(None),
            scheduling=self.scheduler,
            bulletins=Bulletins(self.clock.wall),
        )
        self.scheduler.attach(self.engine)
        self.engine.effects_wait = self.effects_wait
        self.engine.sequence = end.sequence
        log = self.log = self.engine.log = Log(
            LOG,
            disk=self.disk,
            clock=self.clock,
            home=HOME,
            start=end,
            dispatch=run_all,
            on_durable=self._on_durable,
            on_failure=self.failures.append,
            file_bytes=1 << 16,
            background=self.background,
        )
        append = log.append

        def tapped(record: bytes, **options: Any) -> int:
            sequence = append(record, **options)
            self.records.append(record)
            return sequence

        log.append = tapped  # type: ignore[method-assign]  # listens in; changes nothing

    def _on_durable(self, sequence: int) -> None:
        self.scheduler.on_durable(sequence)
        self.engine.content.references.durable(self.log.synced)

    def wire(self, connections: Sequence[ConnectionModel] | None = None) -> dict[int, Queue]:
        """Make components and queues of the models; return the queues that lost their place."""
        if connections is not None:
            self.connections = tuple(connections)
        group = GroupModel(
            id=999, name="test", processors=self.processors, connections=self.connections
        )
        with self.engine.lock:
            for model in self.processors:
                declaration = self.declarations[model.type]
                prepared = prepare(model, declaration, Scope())
                assert not prepared.problems, prepared.problems
                component = self.engine.components.get(model.id)
                if component is None:
                    component = Component(model.id, model.name, model.name, declaration)
                    component.status = Status.RUNNING
                    self.engine.components[model.id] = component
                component.routes = {one.name: [] for one in prepared.relationships}
                apply(component, prepared)
            lost = wire(self.engine, FlowModel(root=group), _make_queue)
        reconsider_all(self.scheduler)
        return lost

    # Acting

    def open(self, component: int, limit: int | None = None) -> Session:
        return self.engine.open_session(self.engine.components[component], limit)

    def put(self, component: int, *contents: bytes, relationship: str = "success") -> int:
        """Let a component create flowfiles; return the record's sequence."""
        session = self.open(component)
        for content in contents:
            session.transfer(session.create(content=content), relationship)
        session.commit()
        self.engine.close_session(session)
        return self.engine.sequence

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        with self.engine.lock:
            self.scheduler._run_timers()

    def queue(self, connection: int) -> Queue:
        return self.engine.queues[connection]

    def ids(self, connection: int) -> list[int]:
        return [flowfile.id for flowfile in flowfiles_in(self.queue(connection))]

    def attempt(self, component: int, work: Callable[[Session], None]) -> Session:
        """Run one trigger by hand; the session stays open when it raises."""
        session = self.open(component)
        work(session)
        session.commit()
        self.engine.close_session(session)
        return session

    # Judging

    def fold(self) -> Fold:
        """Return the fold of all records, durable or not."""
        fold = Fold()
        for sequence, data in enumerate(self.records, 1):
            fold.apply(sequence, commits.decode(data))
        return fold

    def live(self) -> dict[int, dict[int, FlowFile]]:
        """Return what is in each queue; what sessions took and components hold is still there."""
        found: dict[int, dict[int, FlowFile]] = {}
        with self.engine.lock:
            for id, runs in gather(self.engine).items():
                found[id] = {one.id: one for run in runs for one in run.flowfiles}
                assert len(found[id]) == sum(len(run.flowfiles) for run in runs)
        return found

    # Checkpoint and recovery

    def checkpoint(self) -> int:
        """Save the state, as the node's maintenance does."""
        engine = self.engine
        self.log.sync()
        end = self.log.end()
        with engine.settled():
            sequence = engine.sequence
            queues = gather(engine)
            states = {one.id: one.state for one in engine.components.values() if one.state}
        self.log.sync()
        head = Head(1, HOME, sequence, end, 0, 0, None, states, dict(engine.counters))
        publish(write_checkpoint(CHECKPOINTS, self.disk, head, places(queues)), self.disk)
        return sequence

    def recover(self, *, checkpoint: bool = True) -> int:
        """Start again on what the disk has; return the sequence that recovery reached."""
        newest = load_newest(CHECKPOINTS, self.disk, HOME) if checkpoint else None
        head, fold, _ = newest if newest is not None else (None, Fold(), [])
        reading = read_log(
            LOG, self.disk, after=head.end if head else LOG_START, home=HOME, accept=self._accept
        )
        unsynced = self._fold(reading, fold)
        end = settle_log(reading, home=HOME)
        self._open(end)
        self.wire()
        load(self.engine, fold, unsynced)
        reconsider_all(self.scheduler)
        self.records = self.records[: end.sequence]
        return end.sequence

    def _accept(self, sequence: int, data: bytes) -> bool:
        content = ContentStore(CONTENT, disk=self.disk, clock=self.clock)
        return all(content.verify(one) for one in commits.new_claims(commits.decode(data)))

    def _fold(self, reading: LogReading, fold: Fold) -> set[int]:
        unsynced: set[int] = set()
        for sequence, _, data in reading:
            assert data == self.records[sequence - 1], f"record {sequence} is another one now"
            record = commits.decode(data)
            fold.apply(sequence, record)
            if sequence > reading.mark.sequence:
                unsynced.update(claim.segment for claim in commits.new_claims(record))
        return unsynced


def _make_queue(model: ConnectionModel) -> Queue:
    if not is_prioritized(model):
        return Queue(model)
    environment = Environment(identity=Identity(HOME))
    return PrioritizedQueue(model, priority_key(model.prioritizers, environment))
