"""A component at run time: a processor, port or funnel with its queues and its running state.

Everything here changes under the engine's lock, except `instance`, which the controller replaces
only while no trigger runs. `ComponentContext` is what a processor's instance sees of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from runtime.clock import Clock
from runtime.flowfile import FlowFile
from runtime.model import Retry, Schedule
from runtime.processor import Effects, Input, Level, Processor, Relationship
from runtime.queue import Queue, Run
from runtime.statistics import Statistics

if TYPE_CHECKING:
    from runtime.engine import Engine
    from runtime.session import Session

PASS_BATCH = 10_000


class Status(Enum):
    """Where a component is in its life."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    DISABLED = "disabled"
    INVALID = "invalid"


class Passing(Processor):
    """A port or funnel: what comes in goes out, untouched."""

    effects = Effects.PURE
    input = Input.REQUIRED
    batch_size = PASS_BATCH
    out = Relationship("Everything that came in.", name="")

    def on_trigger(self, session: Session) -> None:
        session.transfer(session.take(), self.out)


class Component:
    """See the module. `routes` maps each relationship to its queues (none: it ends there)."""

    def __init__(self, id: int, name: str, path: str, declaration: type[Processor]) -> None:
        self.id = id
        self.name = name
        self.path = path
        self.declaration = declaration
        self.instance: Processor | None = None
        self.status = Status.STOPPED
        self.problems: tuple[str, ...] = ()

        self.inputs: list[Queue] = []
        self.outputs: list[Queue] = []
        self.routes: dict[str, list[Queue]] = {}
        self.next_input = 0
        self.held: dict[int, tuple[Queue, Run]] = {}

        self.schedule = Schedule()
        self.retry = Retry()
        self.penalty_seconds = 30.0
        self.yield_seconds = 1.0
        self.bulletin_level = "WARN"
        self.settings_hash = 0
        self.effects = Effects.WRITES_OUTSIDE
        self.batch_size = 1
        self.is_async = False

        self.state: dict[str, str] = {}
        self.statistics = Statistics()
        self.counters: dict[str, int] = {}

        self.active = 0
        """Triggers under way."""
        self.is_queued = False
        """Waiting in the scheduler's line."""
        self.woken = False
        self.run_once = False
        self.exhausted = False
        self.yield_until = 0.0
        self.next_run = 0.0
        self.wake_at: float | None = None
        self.pause_seconds = 0.0
        """How long a source that found nothing waits; grows while it keeps finding nothing."""
        self.cautious = 0
        """Flowfiles still to be offered one by one, after a batch failed."""

        # Derived, see `derive`.
        self.has_outer_input = False
        self.blocking: list[Queue] = []
        """Outgoing queues that hold the component up when they are full."""
        self.waits_for_durable = True
        """Offered a flowfile only when the record that put it there is durable."""
        self.tasks = 1
        """How many triggers may run at once."""
        self.is_timed = False
        self.is_source = False
        """Triggered by its schedule, whether or not something waits in its inputs."""
        self.expires = False
        """Some of what comes in can be too old."""

    def derive(self) -> None:
        """Work out what the scheduler asks all the time, after wiring or settings changed."""
        self.has_outer_input = any(queue.source is not self for queue in self.inputs)
        declaration = self.declaration
        self.is_source = declaration.trigger_when_empty or (
            declaration.input is not Input.REQUIRED and not self.has_outer_input
        )
        self.blocking = [queue for queue in self.outputs if queue.destination is not self]
        self.waits_for_durable = self.effects is Effects.WRITES_OUTSIDE
        self.tasks = 1 if self.declaration.serial else self.schedule.concurrent_tasks
        self.expires = any(queue.model.expiration_seconds for queue in self.inputs)
        self.is_timed = self.schedule.strategy == "cron" or self.schedule.period != "0 sec"

    def is_blocked(self) -> bool:
        """Tell whether an outgoing queue holds back pressure; a self-loop never does."""
        for queue in self.blocking:
            model = queue.model
            if (0 < model.max_count <= queue.count) or (0 < model.max_bytes <= queue.size):
                return True
        return False

    def hold(self, flowfile: FlowFile, queue: Queue, run: Run) -> None:
        """Keep a flowfile between triggers."""
        self.held[flowfile.id] = (queue, run)


class ComponentContext:
    """The engine as a processor's instance sees it; see `runtime.processor.Context`."""

    def __init__(self, engine: Engine, component: Component) -> None:
        self._engine = engine
        self._component = component

    @property
    def id(self) -> int:
        return self._component.id

    @property
    def name(self) -> str:
        return self._component.name

    @property
    def path(self) -> str:
        return self._component.path

    @property
    def clock(self) -> Clock:
        return self._engine.clock

    @property
    def stopping(self) -> bool:
        return self._component.status is not Status.RUNNING

    @property
    def state(self) -> Mapping[str, str]:
        return self._component.state

    def report(self, level: Level, message: str) -> None:
        component = self._component
        self._engine.bulletins.add(
            level, component.id, component.path, message, least=component.bulletin_level
        )

    def wake(self) -> None:
        self._engine.scheduling.wake(self._component)

    def wake_in(self, seconds: float) -> None:
        self._engine.scheduling.wake_in(self._component, seconds)

    def yield_for(self, seconds: float | None = None) -> None:
        component = self._component
        self._engine.scheduling.yield_for(
            component, component.yield_seconds if seconds is None else seconds
        )

    def exhausted(self) -> None:
        self._component.exhausted = True

    def has_room(self) -> bool:
        return not self._component.is_blocked()

    def open_session(self) -> Session:
        return self._engine.open_session(self._component)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"a processor's context has no '{name}'")
