"""The flow at run time: components made from the model, started, stopped and edited.

The controller owns the flow model. An edit is a new model: it is validated, written to the log as
a record with who and why, and then applied by difference: what did not change goes on running,
what changed is prepared beside the old instance and takes over when the old one's sessions end.
Edits, starts and stops are serialized by one lock; none of them holds the engine's lock while user
code runs.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from runtime.assembly import Prepared, apply, instantiate, prepare
from runtime.commit import Action
from runtime.component import Component, Passing, Status
from runtime.expression import Environment
from runtime.model import (
    FlowModel,
    FunnelModel,
    GroupModel,
    ParameterContext,
    PortModel,
    ProcessorModel,
    ServiceModel,
    empty_flow,
    encode_flow,
)
from runtime.prioritizers import priority_key
from runtime.processor import Processor
from runtime.properties import Problem, Scope
from runtime.queue import PrioritizedQueue, Queue
from runtime.scheduler import Scheduler, reconsider_all
from runtime.service_pool import ServicePool
from runtime.wiring import connections, group_paths, is_prioritized, join, ways_out, wire

if TYPE_CHECKING:
    from runtime.engine import Engine
    from runtime.model import ConnectionModel
    from runtime.registry import Registry
    from runtime.workers import Workers

EDIT_WAIT_SECONDS: Final = 10.0


class BusyError(RuntimeError):
    """A trigger did not end in time; the message names it and offers Terminate."""


@dataclass(frozen=True)
class Parameters:
    """How to resolve a context's parameters, secrets decrypted; given by the node."""

    resolve: Callable[[FlowModel, ParameterContext | None], Mapping[str, str]]
    decrypt: Callable[[str], str]


class Controller:
    """See the module."""

    def __init__(
        self,
        engine: Engine,
        scheduler: Scheduler,
        workers: Workers,
        *,
        registry: Registry,
        parameters: Parameters,
    ) -> None:
        self.engine = engine
        self.scheduler = scheduler
        self.workers = workers
        self.registry = registry
        self.flow = empty_flow()
        self.parked: dict[int, Queue] = {}
        self.prepared: dict[int, Prepared] = {}
        self.listeners: list[Callable[[FlowModel], None]] = []
        self._parameters = parameters
        self._lock = threading.RLock()
        self.services = ServicePool(
            engine, registry, decrypt=parameters.decrypt, lock=self._lock
        )
        self._lifecycle = ThreadPoolExecutor(8, thread_name_prefix="lifecycle")
        self._retries: dict[int, threading.Timer] = {}
        self._starting: dict[int, Future[None]] = {}
        self._is_started = False
        self._closing = False
        scheduler.on_ran_once = self._ran_once

    # Loading and editing

    def adopt(self, flow: FlowModel) -> None:
        """Build all components of a recovered flow, stopped; recovery then fills the queues."""
        with self._lock:
            self.flow = flow
            self.engine.revision = flow.revision
            self._build(flow)

    def edit(self, flow: FlowModel, *, user: str, note: str) -> FlowModel:
        """Make `flow` the next revision; return it as it is in force.

        What runs goes on running; a processor whose settings changed changes at its next session
        boundary; new ones whose state is `running` start.

        Raises:
            BusyError: a trigger that has to end first does not; nothing was changed.
        """
        with self._lock:
            old = self.flow
            flow = _next_revision(flow, old)
            self._quiesce(self._affected(old, flow))
            record = self.engine.new_record()
            record.revision = flow.revision
            record.action = Action("edit", user, note, encode_flow(flow))

            def become(_: int) -> None:
                # Under the lock: a checkpoint has the flow of just the records that it holds.
                self.flow = flow
                self.engine.revision = flow.revision

            self.engine.act(record, become)
            self._build(flow)
            if self._is_started:
                self.start_all()
            reconsider_all(self.scheduler)
            for listener in self.listeners:
                listener(flow)
            return flow

    def _affected(self, old: FlowModel, new: FlowModel) -> list[Component]:
        """Return the running components that the edit changes or removes."""
        before, after = _models(old), _models(new)
        contexts_changed = old.parameter_contexts != new.parameter_contexts
        ways_before, ways_after = ways_out(old), ways_out(new)
        affected = []
        for id, component in self.engine.components.items():
            changed = _settings(before.get(id)) != _settings(after.get(id))
            # What leaves by a relationship that lost its last connection would end there.
            loses_way = not ways_before.get(id, set()) <= ways_after.get(id, set())
            in_context = contexts_changed and isinstance(before.get(id), ProcessorModel)
            if changed or loses_way or in_context or _holds_from_elsewhere(component, new):
                affected.append(component)
        return affected

    def _quiesce(self, components: list[Component]) -> None:
        """Bring components to a session boundary and stop them, all or none."""
        stopped: list[Component] = []
        try:
            for component in components:
                if component.status in (Status.RUNNING, Status.STARTING):
                    stopped.append(component)
                    self._stop(component, EDIT_WAIT_SECONDS)
        except BusyError:
            for component in stopped:
                self._start(component)
            raise

    def _build(self, flow: FlowModel) -> None:
        paths = group_paths(flow)
        present: dict[int, Component] = {}
        self.services.adopt(flow, self._environment_of)
        for group in flow.root.walk():
            path = paths[group.id]
            for processor in group.processors:
                present[processor.id] = self._processor(flow, group, processor, path)
            for port in group.ports:
                present[port.id] = self._passing(port, path)
            for funnel in group.funnels:
                present[funnel.id] = self._passing(funnel, path)
        with self.engine.settled():
            for id in [id for id in self.engine.components if id not in present]:
                self.engine.components[id].status = Status.STOPPED
                del self.engine.components[id]
            self.engine.components.update(present)
            for id, component in present.items():
                relationships = self.prepared[id].relationships if id in self.prepared else ()
                if relationships:
                    component.routes = {one.name: [] for one in relationships}
            lost = wire(self.engine, flow, self._make_queue)
            for id, queue in lost.items():
                if queue.count:
                    self.parked[id] = queue
                else:
                    del self.engine.queues[id]
            for id in [id for id in self.parked if id not in lost]:
                del self.parked[id]

    def _processor(
        self, flow: FlowModel, group: GroupModel, model: ProcessorModel, path: str
    ) -> Component:
        component = self.engine.components.get(model.id)
        declaration = self.registry.processor(model.type)
        if component is None:
            component = Component(
                model.id, model.name, join(path, model.name), declaration or Processor
            )
        component.path = join(path, model.name)
        if declaration is None:
            component.problems = (f"type '{model.type}' is not known on this node",)
            component.status = Status.INVALID
            return component
        prepared = prepare(
            self._decrypted(model, declaration), declaration, self._scope(flow, group, component)
        )
        self.prepared[model.id] = prepared
        with self.engine.lock:
            if component.status is not Status.RUNNING:
                apply(component, prepared)
        component.problems = tuple(str(one) for one in prepared.problems)
        return component

    def _passing(self, model: PortModel | FunnelModel, path: str) -> Component:
        component = self.engine.components.get(model.id)
        name = model.name or "funnel"
        if component is None:
            component = Component(model.id, name, join(path, name), Passing)
            prepared = prepare(
                ProcessorModel(id=model.id, name=name, type="Passing"), Passing, Scope()
            )
            apply(component, prepared)
            self.prepared[model.id] = prepared
        component.name, component.path = name, join(path, name)
        return component

    def _make_queue(self, model: ConnectionModel) -> Queue:
        if not is_prioritized(model):
            return Queue(model)
        environment = Environment(identity=self.engine.identity)
        return PrioritizedQueue(model, priority_key(model.prioritizers, environment))

    def _scope(self, flow: FlowModel, group: GroupModel, component: Component) -> Scope:
        return Scope(
            self._environment_of(flow, group, component),
            lambda name: self.services.find(flow, group, name),
        )

    def _environment_of(
        self, flow: FlowModel, group: GroupModel, component: Component | None = None
    ) -> Environment:
        contexts = {one.id: one for one in flow.parameter_contexts}
        context = contexts.get(group.parameter_context or 0)
        return Environment(
            identity=self.engine.identity,
            parameters=self._parameters.resolve(flow, context),
            state=(lambda key: component.state.get(key)) if component else (lambda key: None),
        )

    def _decrypted(
        self, model: ProcessorModel, declaration: type[Processor]
    ) -> ProcessorModel:
        if not any(value.startswith("enc:") for value in model.properties.values()):
            return model
        import msgspec

        plain = {
            name: self._parameters.decrypt(value) if value.startswith("enc:") else value
            for name, value in model.properties.items()
        }
        return msgspec.structs.replace(model, properties=plain)

    # Running

    def start_all(self) -> None:
        """Enable services, then start everything that is meant to run."""
        with self._lock:
            self._is_started = True
            self.services.enable_all()
            models = _models(self.flow)
            started = [
                self._start(component)
                for id, component in list(self.engine.components.items())
                if getattr(models.get(id), "state", "running") == "running"
            ]
        for one in started:
            if one is not None:
                one.result()

    def start(self, id: int) -> None:
        """Start one component and wait for it; problems stay on the component."""
        with self._lock:
            self.services.enable_all()
            started = self._start(self.engine.components[id])
        if started is not None:
            started.result()

    def stop(self, id: int, timeout_seconds: float = EDIT_WAIT_SECONDS) -> None:
        """Stop one component at its next session boundary.

        Raises:
            BusyError: its trigger does not end in time.
        """
        with self._lock:
            self._stop(self.engine.components[id], timeout_seconds)

    def run_once(self, id: int) -> None:
        """Trigger a stopped component once."""
        with self._lock:
            component = self.engine.components[id]
            component.run_once = True
            started = self._start(component)
        if started is not None:
            started.result()

    def terminate(self, id: int) -> int:
        """Give up on the triggers of a component that do not end; return how many there were."""
        component = self.engine.components[id]
        with self.engine.lock:
            component.status = Status.STOPPED
            instance, component.instance = component.instance, None
        count = self.workers.terminate(component)
        self.engine.return_held(component)
        if instance is not None:
            # It may hang there as well; nobody waits for it.
            self._lifecycle.submit(self._clean_up, component, instance)
        return count

    def stop_all(self, timeout_seconds: float = EDIT_WAIT_SECONDS) -> list[str]:
        """Stop everything, sources first; return the paths of what did not end in time."""
        self._closing = True
        for timer in self._retries.values():
            timer.cancel()
        late = []
        with self._lock:
            for component in sorted(
                self.engine.components.values(), key=lambda one: one.has_outer_input
            ):
                try:
                    self._stop(component, timeout_seconds)
                except BusyError:
                    late.append(component.path)
            self.services.disable_all()
        self._lifecycle.shutdown(wait=False)
        return late

    def _start(self, component: Component) -> Future[None] | None:
        prepared = self.prepared.get(component.id)
        if component.status in (Status.RUNNING, Status.STARTING) or prepared is None:
            return None
        if component.status is Status.STOPPING:
            self._end(component)
        problems = [str(one) for one in (*prepared.problems, *self._wiring_problems(component))]
        component.problems = tuple(problems)
        if problems:
            component.status = Status.INVALID
            for problem in problems:
                self._report(component, f"is not valid: {problem}")
            return None
        component.status = Status.STARTING
        started = self._lifecycle.submit(self._begin, component, prepared)
        self._starting[component.id] = started
        return started

    def _begin(self, component: Component, prepared: Prepared) -> None:
        instance: Processor | None = None
        try:
            with self.engine.lock:
                apply(component, prepared)
            instance = component.instance = instantiate(self.engine, component, prepared)
            self._call(instance.start)
        except Exception as error:  # the author's code: tell, and try again after the yield
            self._report(component, f"could not start: {_words(error)}. Next try in "
                         f"{component.yield_seconds:g} s")  # fmt: skip
            self._abort_start(component, instance)
            return
        with self.engine.lock:
            if component.instance is instance:
                component.status = Status.RUNNING
                self.scheduler.begin(component)
                return
        # Terminated meanwhile.
        self._clean_up(component, instance)

    def _abort_start(self, component: Component, instance: Processor | None) -> None:
        with self.engine.lock:
            terminated = component.instance is not instance
            if not terminated:
                component.instance = None
                component.status = Status.STOPPED
        if instance is not None:
            self._clean_up(component, instance)
        if not terminated:
            self._retry(component)

    def _clean_up(self, component: Component, instance: Processor) -> None:
        try:
            self._call(instance.stop)
        except Exception as error:  # the author's code must not keep a flow from stopping
            self._report(component, f"raised while it stopped: {_words(error)}")

    def _retry(self, component: Component) -> None:
        if self._closing:
            return

        def again() -> None:
            with self._lock:
                known = self.engine.components.get(component.id) is component
                if known and not self._closing and component.status is Status.STOPPED:
                    self._start(component)

        timer = threading.Timer(component.yield_seconds, again)
        timer.daemon = True
        self._retries[component.id] = timer
        timer.start()

    def _stop(self, component: Component, timeout_seconds: float) -> None:
        self._cancel_retry(component)
        if component.status is Status.STARTING:
            self._wait_for_start(component, timeout_seconds)
        with self.engine.lock:
            if component.status is not Status.RUNNING:
                return
            component.status = Status.STOPPING
            done = self.scheduler.finished.wait_for(
                lambda: component.active == 0, timeout_seconds
            )
            if not done:
                component.status = Status.RUNNING
        if not done:
            raise BusyError(
                f"{component.path} is in a trigger that does not end (for {timeout_seconds:g} s). "
                "Wait for it, or terminate it"
            )
        self._end(component)

    def _wait_for_start(self, component: Component, timeout_seconds: float) -> None:
        try:
            self._starting[component.id].result(timeout_seconds)
        except TimeoutError:
            raise BusyError(
                f"{component.path} is in a start that does not end (for {timeout_seconds:g} s). "
                "Wait for it, or terminate it"
            ) from None
        # A start that did not succeed has set the next try meanwhile.
        self._cancel_retry(component)

    def _cancel_retry(self, component: Component) -> None:
        timer = self._retries.pop(component.id, None)
        if timer is not None:
            timer.cancel()

    def _end(self, component: Component) -> None:
        """Release the instance of a component whose triggers have ended."""
        self.engine.return_held(component)
        with self.engine.lock:
            instance, component.instance = component.instance, None
        if instance is not None:
            self._clean_up(component, instance)
        component.status = Status.STOPPED

    def _ran_once(self, component: Component) -> None:
        """A component ran once: release it, on a thread that holds no lock."""
        self._lifecycle.submit(self._end_once, component)

    def _end_once(self, component: Component) -> None:
        with self._lock:
            if component.status is Status.STOPPING:
                self._end(component)

    def _call(self, function: Callable[[], Any]) -> None:
        if inspect.iscoroutinefunction(function):
            asyncio.run_coroutine_threadsafe(function(), self.workers.loop).result()
            return
        result = function()
        if inspect.isawaitable(result):
            asyncio.run_coroutine_threadsafe(_finish(result), self.workers.loop).result()

    def _wiring_problems(self, component: Component) -> list[Problem]:
        model = _models(self.flow).get(component.id)
        if not isinstance(model, ProcessorModel):
            # What a port or funnel passed on to nobody would be gone.
            lost = component.inputs and not all(component.routes.values())
            return [Problem("", "leads nowhere; connect it")] if lost else []
        return [
            Problem(
                "", f"relationship '{name}' leads nowhere; connect it, or set it to end or hold"
            )
            for name, queues in component.routes.items()
            if not queues and name not in self._ended(model)
        ]

    def _ended(self, model: ProcessorModel) -> set[str]:
        prepared = self.prepared[model.id]
        return {*model.ended, *(one.name for one in prepared.relationships if one.ended)}

    def _report(self, component: Component, message: str) -> None:
        self.engine.bulletins.add(
            "ERROR", component.id, component.path, f"{component.path} {message}"
        )


def _holds_from_elsewhere(component: Component, flow: FlowModel) -> bool:
    """Tell whether a component holds flowfiles of a connection that leads elsewhere in `flow`."""
    if not component.held:
        return False
    leading = {one.id for one in connections(flow) if one.destination == component.id}
    return any(queue.id not in leading for queue, _ in component.held.values())


def _models(
    flow: FlowModel,
) -> dict[int, ProcessorModel | PortModel | FunnelModel | ServiceModel]:
    found: dict[int, ProcessorModel | PortModel | FunnelModel | ServiceModel] = {}
    for group in flow.root.walk():
        for kind in (group.processors, group.ports, group.funnels, group.services):
            found.update((one.id, one) for one in kind)
    return found


def _settings(model: object) -> object:
    """Return what of a model matters to a running component: not where it is drawn."""
    if isinstance(model, ProcessorModel | PortModel | FunnelModel):
        import msgspec

        if isinstance(model, ProcessorModel):
            return msgspec.structs.replace(model, position=(0.0, 0.0), comments="")
        return msgspec.structs.replace(model, position=(0.0, 0.0))
    return model


def _next_revision(flow: FlowModel, old: FlowModel) -> FlowModel:
    import msgspec

    return msgspec.structs.replace(
        flow, revision=old.revision + 1, next_id=max(flow.next_id, old.next_id)
    )


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def _finish(awaitable: Any) -> None:
    await awaitable
