"""Test processors and flows with no server and no disk.

`TestRunner` runs one processor in the real engine: real sessions, commits, log and content store,
on a disk in memory that can lose power, and a clock that the test moves. `check_processor` is the
conformance suite that every processor, ours or a third party's, must pass.

    runner = TestRunner(RouteOnAttribute, {"large": "${fileSize:gt(100)}"})
    runner.enqueue(b"x" * 200)
    runner.run()
    assert runner.one("large").content == b"x" * 200
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from runtime import commit as commits
from runtime.assembly import Prepared, apply, instantiate, prepare
from runtime.bulletins import Bulletin, Bulletins
from runtime.clock import ManualClock
from runtime.commit import Commit, EventType, Reason
from runtime.component import Component, ComponentContext, Status
from runtime.content import ContentStore
from runtime.engine import Engine
from runtime.expression import Environment
from runtime.flowfile import Claim, FlowFile, Identity, flowfile_ids
from runtime.keyed_state import KeyedState
from runtime.log import Log
from runtime.log_format import LogEnd
from runtime.log_reader import read_log
from runtime.log_repair import settle_log
from runtime.memory_disk import MemoryDisk
from runtime.model import ConnectionModel, ProcessorModel
from runtime.processor import ControllerService, Input, Processor
from runtime.properties import Problem, Scope, validate
from runtime.queue import Queue, Run
from runtime.recovery import restore

T = TypeVar("T")
Services = Mapping[str, tuple[type[ControllerService], Mapping[str, str]]]
HOME = 0x1EADA


@dataclass(frozen=True)
class Result:
    """A flowfile that left by a relationship."""

    flowfile: FlowFile
    attributes: dict[str, str]
    content: bytes
    uuid: str
    penalized: bool
    reason: Reason | None


class TestRunner:
    """See the module. `problems` says what is wrong with the configuration; [] when nothing is."""

    __test__ = False  # its name makes pytest think otherwise

    def __init__(
        self,
        declaration: type[Processor],
        properties: Mapping[str, str] | None = None,
        *,
        services: Services | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.disk = MemoryDisk()
        self._declaration = declaration
        self._services = dict(services or {})
        self._parameters = dict(parameters or {})
        self._enabled: dict[str, ControllerService] = {}
        self._starts = 0
        self._crashes = 0
        self._model = ProcessorModel(
            id=1, name=declaration.__name__, type=declaration.__name__,
            properties=dict(properties or {}),
        )  # fmt: skip
        self._loop: _Loop | None = None
        self.engine = self._open(LogEnd())
        self.prepared = prepare(self._model, declaration, self._scope())
        self.component = self._assemble()
        self.outputs = {
            name: queues[0] for name, queues in self.component.routes.items() if queues
        }

    # Set-up

    @property
    def problems(self) -> list[Problem]:
        return list(self.prepared.problems)

    @property
    def processor(self) -> Any:
        """The instance, once started."""
        return self.component.instance

    def enqueue(
        self,
        content: bytes = b"",
        attributes: Mapping[str, str] | None = None,
        **more: str,
    ) -> FlowFile:
        """Put a flowfile into the processor's incoming queue, durably."""
        writer = self.engine.content.writer()
        claim = writer.append(content) if content else None
        now = int(self.clock.wall() * 1000)
        flowfile = FlowFile(
            next(self.engine.ids), {**(attributes or {}), **more}, claim, now, now, len(content)
        )
        queue = self.component.inputs[0]
        record = self.engine.new_record()
        record.created = [commits.Created(EventType.CREATE, [flowfile])]
        ids = commits.encode_ids([flowfile.id])
        record.routed = [commits.Routed("", ids, [commits.Target(queue.id)])]
        dirty = writer.flush()
        self.engine.content.release(writer)
        with self.engine.lock:
            self.engine.sequence = self.engine.log.append(commits.encode(record), dirty=dirty)
            queue.put(Run(self.engine.sequence, [flowfile], flowfile.size))
        if claim is not None:
            self.engine.content.references.add([claim])
        self.engine.log.sync()
        return flowfile

    # Running

    def start(self) -> None:
        """Start the processor; its own exceptions propagate."""
        if self.component.instance is not None:
            return
        assert not self.prepared.problems, self.prepared.problems
        self._enable_services()
        self.component.status = Status.RUNNING
        instance = instantiate(self.engine, self.component, self.prepared)
        self.component.instance = instance
        self._call(instance.start)

    def stop(self) -> None:
        """Stop the processor; what it holds goes back to the queue."""
        instance = self.component.instance
        if instance is None:
            return
        self.component.status = Status.STOPPING
        self.engine.return_held(self.component)
        self._call(instance.stop)
        self.component.instance = None
        self.component.status = Status.STOPPED
        for service in self._enabled.values():
            service.disable()
        self._enabled.clear()

    def run(self, times: int = 1) -> None:
        """Trigger so many times; an exception propagates after the roll-back."""
        self.start()
        for _ in range(times):
            try:
                self._trigger()
            finally:
                self.engine.log.sync()
                self.engine.keyed.apply(self.engine.log.durable)

    def run_until_idle(self, limit: int = 10_000) -> None:
        """Trigger until the input is empty and a trigger commits nothing."""
        self.start()
        for _ in range(limit):
            before = self.engine.sequence, len(self.component.held)
            self.run()
            after = self.engine.sequence, len(self.component.held)
            if before == after and not self._available():
                return
        raise AssertionError(f"{self._declaration.__name__} is not idle after {limit} triggers")

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)
        for queue in self.engine.queues.values():
            queue.admit_due(self.clock.monotonic())

    def crash(self) -> None:
        """Lose power: only what is durable remains, and the processor starts anew."""
        self.disk.lose_power()
        self._crashes += 1
        component = self.component
        if self._loop is not None and component.instance is not None:
            self._call(component.instance.stop)
        for service in self._enabled.values():
            service.disable()
        self._enabled.clear()
        reading = read_log(Path("/log"), self.disk)
        records = [(sequence, commits.decode(data)) for sequence, _, data in reading]
        self.engine = self._open(settle_log(reading, home=HOME))
        self.component = self._assemble()
        restore(self.engine, records)
        self.outputs = {
            name: queues[0] for name, queues in self.component.routes.items() if queues
        }

    def on_loop(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the event loop of the processor and return its result."""
        return self._event_loop().run(coroutine)

    def close(self) -> None:
        """Stop the processor and its event loop."""
        self.stop()
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    # What happened

    def flowfiles(self, relationship: str) -> list[Result]:
        """Return what left by a relationship, in order."""
        if relationship not in self.outputs:
            known = ", ".join(self.outputs)
            raise AssertionError(f"there is no relationship '{relationship}'; there are: {known}")
        reasons = self._reasons(relationship)
        return [
            self._result(flowfile, run, reasons.get(flowfile.id))
            for run in self.outputs[relationship].runs()
            for flowfile in run.flowfiles
        ]

    def one(self, relationship: str) -> Result:
        """Return the only flowfile that left by a relationship."""
        results = self.flowfiles(relationship)
        assert len(results) == 1, f"'{relationship}' has {len(results)} flowfiles, not 1"
        return results[0]

    def assert_empty(self, *relationships: str) -> None:
        """Assert that nothing left by these."""
        for relationship in relationships:
            results = self.flowfiles(relationship)
            assert not results, f"'{relationship}' has {results}"

    @property
    def queued(self) -> int:
        """Flowfiles left in the incoming queue, held and waiting ones included."""
        return sum(queue.count for queue in self.component.inputs)

    @property
    def commits(self) -> list[Commit]:
        """All records so far."""
        self.engine.log.sync()
        return [commits.decode(data) for _, _, data in read_log(Path("/log"), self.disk)]

    @property
    def reported(self) -> list[tuple[EventType, str | None, str | None]]:
        """Provenance that the processor reported or created: (type, transit URI, details)."""
        found = []
        for record in self.commits:
            if record.component != self._model.id:
                continue
            events: list[commits.Created | commits.Reported] = [*record.created, *record.reported]
            found += [(EventType(one.event), one.transit_uri, one.details) for one in events]
        return found

    @property
    def counters(self) -> dict[str, int]:
        return dict(self.component.counters)

    @property
    def state(self) -> dict[str, str]:
        return dict(self.component.state)

    @property
    def bulletins(self) -> list[Bulletin]:
        return self.engine.bulletins.recent(float("inf"))

    # Inside

    def _open(self, start: LogEnd) -> Engine:
        content = ContentStore(Path("/content"), disk=self.disk, clock=self.clock)
        engine = Engine(
            clock=self.clock,
            identity=Identity(HOME),
            ids=flowfile_ids(self._next_start()),
            content=content,
            keyed=KeyedState(None),
            scheduling=_Unscheduled(self),
            bulletins=Bulletins(self.clock.wall),
        )
        engine.sequence = start.sequence
        engine.log = Log(
            Path("/log"),
            disk=self.disk,
            clock=self.clock,
            home=HOME,
            start=start,
            dispatch=_run_all,
            on_durable=content.references.durable,
            on_failure=lambda error: None,
            file_bytes=1 << 20,
            background=False,
        )
        return engine

    def _next_start(self) -> int:
        self._starts += 1
        return self._starts

    def _scope(self) -> Scope:
        environment = Environment(
            identity=Identity(HOME),
            parameters=self._parameters,
            state=lambda key: self.component.state.get(key),
        )
        return Scope(environment, self._service)

    def _service(self, name: str) -> object:
        if name not in self._enabled:
            raise LookupError(f"controller service '{name}' is not enabled")
        return self._enabled[name]

    def _enable_services(self) -> None:
        for name, (declaration, raw) in self._services.items():
            outcome = validate(declaration.Properties, raw, self._scope())
            assert outcome.properties is not None, outcome.problems
            service = declaration(
                outcome.properties, ComponentContext(self.engine, self.component)
            )
            service.enable()
            self._enabled[name] = service

    def _assemble(self) -> Component:
        name = self._declaration.__name__
        component = Component(1, name, name, self._declaration)
        apply(component, self.prepared)
        self.engine.components[1] = component
        if self._declaration.input is not Input.FORBIDDEN:
            queue = Queue(ConnectionModel(id=2, source=0, destination=1))
            queue.destination = component
            component.inputs.append(queue)
            self.engine.queues[2] = queue
        for id, relationship in enumerate(self.prepared.relationships, 3):
            queue = Queue(ConnectionModel(id=id, source=1, destination=0, max_count=0, max_bytes=0))
            queue.source = component
            component.routes[relationship.name] = [queue]
            component.outputs.append(queue)
            self.engine.queues[id] = queue
        component.derive()
        return component

    def _available(self) -> int:
        return sum(queue.available for queue in self.component.inputs)

    def _trigger(self) -> None:
        instance = self.component.instance
        assert instance is not None
        session = self.engine.open_session(self.component)
        try:
            result = instance.on_trigger(session)
            if inspect.isawaitable(result):
                self.on_loop(_finish(result))
            session.commit()
        except BaseException as error:
            session.rollback(penalize=True, reason=error)
            if self.component.held:
                self.engine.return_held(self.component)
            raise
        finally:
            self.engine.close_session(session)

    def _call(self, function: Any) -> None:
        if inspect.iscoroutinefunction(function):
            self._event_loop().call(function)
            return
        result = function()
        if inspect.isawaitable(result):
            self.on_loop(_finish(result))

    def _event_loop(self) -> _Loop:
        if self._loop is None:
            self._loop = _Loop()
        return self._loop

    def _result(self, flowfile: FlowFile, run: Run, reason: Reason | None) -> Result:
        identity = self.engine.identity
        return Result(
            flowfile,
            identity.attributes(flowfile),
            self.engine.content.read(flowfile.claim),
            identity.uuid(flowfile.id),
            run.due > 0,
            reason,
        )

    def _reasons(self, relationship: str) -> dict[int, Reason | None]:
        return {
            id: routed.reason
            for record in self.commits
            for routed in record.routed
            if routed.relationship == relationship and routed.reason is not None
            for id in commits.decode_ids(routed.ids)
        }

    def read(self, claim: Claim | None) -> bytes:
        """Return the content behind a claim."""
        return self.engine.content.read(claim)


def check_processor(declaration: type[Processor]) -> None:
    """Assert that a processor keeps the rules that every processor must keep."""
    from runtime.conformance import check

    check(declaration)


class _Unscheduled:
    """The scheduler's place: the test itself decides when the processor runs."""

    def __init__(self, runner: TestRunner) -> None:
        self.wakes: list[float] = []

    def consider(self, component: Component) -> None:
        """The test triggers."""

    def wait_until(self, queue: Queue, at: float) -> None:
        """`TestRunner.advance` lets waiting flowfiles in."""

    def wake(self, component: Component) -> None:
        self.wakes.append(0.0)

    def wake_in(self, component: Component, seconds: float) -> None:
        self.wakes.append(seconds)

    def yield_for(self, component: Component, seconds: float) -> None:
        component.yield_until = seconds


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def call(self, function: Any) -> None:
        self.run(function())

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


def _run_all(callbacks: list[Callable[[], None]]) -> None:
    for callback in callbacks:
        callback()


async def _finish(awaitable: Any) -> None:
    await awaitable


__all__ = ["Prepared", "Result", "TestRunner", "check_processor"]
