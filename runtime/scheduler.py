"""Who may run, and when.

A component is ready when it runs, has a free task, is not yielding, has room in every outgoing
queue, and has work: something in an incoming queue (durable, where it writes outside), or for a
source its time. That is asked again after everything that can change the answer: an enqueue, a
commit, a queue leaving full, a due time, a start, an edit, a wake, and the durable position
passing what a component waits for. So nothing polls: an idle flow uses no CPU.

Ready components wait in one line, first come first served; each has one place in it, so a busy
one cannot starve the others. Worker threads (`runtime.workers`) take from the line.

All state is guarded by the engine's lock; methods whose names begin with `_` expect it held.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING, Final

from cronsim import CronSim

from runtime.assembly import cron_line
from runtime.component import Component, Status
from runtime.queue import Queue
from runtime.units import parse_duration

if TYPE_CHECKING:
    from runtime.engine import Engine
    from runtime.session import Session

# A source that finds nothing and does not say when to look again is asked at growing intervals.
PAUSE_SECONDS_MIN: Final = 0.01
PAUSE_SECONDS_MAX: Final = 1.0
SLEEP_SECONDS_MAX: Final = 3600.0
"""A condition cannot wait for a thousand years, as a schedule may ask."""
_RUNNING: Final = Status.RUNNING


class Scheduler:
    """See the module. Implements `runtime.engine.Scheduling`."""

    def __init__(self) -> None:
        self.engine: Engine
        self.ready: threading.Condition
        """Notified when a worker may find something to do."""
        self.finished: threading.Condition
        """Notified when a trigger of a component that does not run any more came to an end."""
        self.limit = 1
        """How many triggers may compute at once."""
        self.computing = 0
        self.idle = 0
        self.sources_stop = ""
        """Why sources do not run (the disk is nearly full); empty while they may."""
        self.triggers_stop = ""
        self.on_ran_once: Callable[[Component], None] = lambda component: None
        """Told, under the lock, of a component that ran once as it was asked and has to stop."""
        self._line: deque[Component] = deque()
        self._timers: list[tuple[float, int, Component | Queue]] = []
        self._tickets = count()
        self._awaiting: dict[Component, int] = {}
        self._periods: dict[str, float] = {}

    def attach(self, engine: Engine) -> None:
        """Serve this engine, under its lock."""
        self.engine = engine
        self.ready = threading.Condition(engine.lock)
        self.finished = threading.Condition(engine.lock)

    # What the engine tells

    def consider(self, component: Component) -> None:
        """Put the component in line if it is ready; the lock is held."""
        if not component.is_queued and self.is_ready(component):
            component.is_queued = True
            self._line.append(component)
            if self.idle and self.computing < self.limit:
                self.ready.notify()

    def wait_until(self, queue: Queue, at: float) -> None:
        """Look at a queue's waiting flowfiles at `at`; the lock is held."""
        self._set_timer(at, queue)

    def on_durable(self, sequence: int) -> None:
        """The durable position moved; called by the committer, once a group."""
        if not self._awaiting:
            return
        with self.engine.lock:
            due = [one for one, wanted in self._awaiting.items() if wanted <= sequence]
            for component in due:
                del self._awaiting[component]
                self.consider(component)

    def wake(self, component: Component) -> None:
        """Trigger the component soon, whatever its schedule says."""
        with self.engine.lock:
            component.woken = True
            component.exhausted = False
            self.consider(component)

    def wake_in(self, component: Component, seconds: float) -> None:
        """Wake the component in so many seconds at the latest."""
        with self.engine.lock:
            at = self.engine.clock.monotonic() + seconds
            component.wake_at = at
            self._set_timer(at, component)

    def yield_for(self, component: Component, seconds: float) -> None:
        """Do not trigger the component for so many seconds."""
        with self.engine.lock:
            at = self.engine.clock.monotonic() + seconds
            component.yield_until = max(component.yield_until, at)
            self._set_timer(component.yield_until, component)

    # What workers ask; the lock is held

    def next_component(self) -> Component | None:
        """Return the next component that may compute now, its task counted; None if none may."""
        self._run_timers()
        while self._line and self.computing < self.limit:
            component = self._line.popleft()
            component.is_queued = False
            if not self.is_ready(component):
                continue
            component.active += 1
            component.woken = False
            self.computing += 1
            if component.active < component.tasks:
                self.consider(component)
            return component
        return None

    def seconds_to_timer(self) -> float | None:
        """Return how long to sleep at most for the next timer; None when there is none."""
        if not self._timers:
            return None
        left = self._timers[0][0] - self.engine.clock.monotonic()
        return min(max(0.0, left), SLEEP_SECONDS_MAX)

    def finish(self, component: Component, session: Session, *, worked: bool) -> None:
        """A trigger ended: set its next time and consider it again."""
        self.engine.sessions.discard(session)
        component.active -= 1
        if component.run_once:
            component.run_once = False
            component.status = Status.STOPPING
            self.on_ran_once(component)
        if component.status is not _RUNNING:
            self.finished.notify_all()
            return
        if component.is_timed or component.is_source:
            self._set_next_run(component, worked)
        self.consider(component)

    def begin(self, component: Component) -> None:
        """A component starts to run: set its first time."""
        component.pause_seconds = 0.0
        component.exhausted = False
        component.yield_until = 0.0
        component.next_run = 0.0
        if component.schedule.strategy == "cron":
            self._set_next_run(component, True)
        self.consider(component)

    def is_ready(self, component: Component) -> bool:
        """Tell whether the component may run now; the lock is held."""
        if component.status is not _RUNNING or component.active >= component.tasks:
            return False
        if self.triggers_stop or (component.run_once and component.active):
            return False
        if component.yield_until or component.next_run:
            now = self.engine.clock.monotonic()
            if now < component.yield_until:
                return False
            if now < component.next_run and not (component.woken or self._ends_pause(component)):
                return False
        # Written out, because this runs several times a trigger: Queue.is_full.
        for queue in component.blocking:
            model = queue.model
            if (0 < model.max_count <= queue.count) or (0 < model.max_bytes <= queue.size):
                return False
        if self._has_input(component):
            return True
        if component.is_source:
            return component.has_outer_input or not self.sources_stop
        return component.woken

    def _ends_pause(self, component: Component) -> bool:
        """Tell whether a source that found nothing need not wait on: something came in."""
        return component.pause_seconds > 0 and self._has_input(component)

    def _has_input(self, component: Component) -> bool:
        if component.waits_for_durable:
            return bool(component.inputs) and self._has_durable_input(component)
        # Written out, because a generator costs as much as the rest.
        for queue in component.inputs:  # noqa: SIM110  # as above
            if queue.is_ready(None):
                return True
        return False

    def _has_durable_input(self, component: Component) -> bool:
        while True:
            durable = self.engine.log.durable
            if any(queue.is_ready(durable) for queue in component.inputs):
                return True
            if not any(queue.available for queue in component.inputs):
                return False
            self._awaiting[component] = durable + 1
            # The committer raises `durable` before it looks at who awaits; this order is the
            # opposite one, so that no wake-up falls between the two.
            if self.engine.log.durable == durable:
                return False

    def _set_next_run(self, component: Component, worked: bool) -> None:
        schedule = component.schedule
        now = self.engine.clock.monotonic()
        if schedule.strategy == "cron":
            wall = datetime.fromtimestamp(self.engine.clock.wall()).astimezone()
            following = next(CronSim(cron_line(schedule.period), wall))
            component.next_run = now + (following - wall).total_seconds()
        elif period := self._period(schedule.period):
            component.next_run = now + period
        elif worked:
            component.pause_seconds = component.next_run = 0.0
            return
        elif component.exhausted or component.wake_at is not None:
            # It told when to look again, or that there is no need to.
            component.pause_seconds = PAUSE_SECONDS_MAX
            component.next_run = float("inf")
            return
        else:
            component.pause_seconds = min(
                PAUSE_SECONDS_MAX, max(PAUSE_SECONDS_MIN, component.pause_seconds * 2)
            )
            component.next_run = now + component.pause_seconds
        self._set_timer(component.next_run, component)

    def _period(self, text: str) -> float:
        period = self._periods.get(text)
        if period is None:
            period = self._periods[text] = parse_duration(text)
        return period

    def _set_timer(self, at: float, what: Component | Queue) -> None:
        earliest = self._timers[0][0] if self._timers else float("inf")
        heapq.heappush(self._timers, (at, next(self._tickets), what))
        if at < earliest and self.idle:
            # Whoever sleeps until the next timer has to sleep shorter.
            self.ready.notify_all()

    def _run_timers(self) -> None:
        if not self._timers:
            return
        now = self.engine.clock.monotonic()
        while self._timers and self._timers[0][0] <= now:
            what = heapq.heappop(self._timers)[2]
            if isinstance(what, Queue):
                if what.admit_due(now) and what.destination is not None:
                    self.consider(what.destination)
                continue
            if what.wake_at is not None and what.wake_at <= now:
                what.wake_at = None
                what.woken = True
            self.consider(what)
            if what.schedule.strategy == "cron":
                self._skip_slot(what, now)

    def _skip_slot(self, component: Component, now: float) -> None:
        """Let a CRON slot pass in which there was nothing to do; the next one counts."""
        runs = component.status is _RUNNING and (component.is_queued or component.active)
        if component.status is _RUNNING and not runs and component.next_run <= now:
            self._set_next_run(component, False)


def reconsider_all(scheduler: Scheduler) -> None:
    """Ask every component again, after something that held all of them up ended."""
    with scheduler.engine.lock:
        for component in scheduler.engine.components.values():
            scheduler.consider(component)
