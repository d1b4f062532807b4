"""The threads that run triggers.

Under the GIL a second computing thread adds no throughput and starves everything else, so one
worker computes at a time. A trigger that blocks (a sync, a socket) would hold the others up: the
watcher looks every few milliseconds, and a worker whose thread used no CPU since the last look
loses its slot to a spare, up to a bound. While nothing runs the watcher sleeps.

`async def on_trigger` runs on one event loop in a thread of its own and takes no slot.

A terminated trigger cannot be stopped; its session is fenced, its flowfiles return, and its
thread is abandoned: it ends when the trigger returns, if ever.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from runtime.component import Component
from runtime.engine import TerminatedError
from runtime.scheduler import Scheduler
from runtime.session import Session

if TYPE_CHECKING:
    from runtime.engine import Engine

WORKERS_MAX: Final = 64
SPARES_MAX: Final = 2
LOOK_SECONDS: Final = 0.005
TURN_SECONDS: Final = 0.001
STILL_LOOKS: Final = 2
CALM_LOOKS: Final = 40
RUN_FLOWFILES_MAX: Final = 10_000
LOOP_END_SECONDS: Final = 2.0


class Worker:
    """A thread and what it does now."""

    def __init__(self) -> None:
        self.thread: threading.Thread
        self.component: Component | None = None
        self.session: Session | None = None
        self.serial = 0
        self.turn_began = 0.0
        self.seen = -1
        self.cpu_seconds = 0.0
        self.still = 0
        """How many looks in a row found the same trigger without using the CPU."""
        self.blocked = False
        self.abandoned = False


class Workers:
    """See the module. State is guarded by the engine's lock."""

    def __init__(self, engine: Engine, scheduler: Scheduler, executor_limit: int = 0) -> None:
        self.engine = engine
        self.scheduler = scheduler
        self.workers: list[Worker] = []
        self.abandoned: list[Worker] = []
        self.on_error: Callable[[Component, BaseException], None] = lambda component, error: None
        self._stopping = False
        self._watching = False
        self._busy = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread: threading.Thread
        self._loop_lock = threading.Lock()
        self._tasks: dict[Session, asyncio.Task[None]] = {}
        # Without a GIL as many compute as there are cores.
        if not getattr(sys, "_is_gil_enabled", lambda: True)():
            import os

            scheduler.limit = os.cpu_count() or 1
        if executor_limit:
            scheduler.limit = executor_limit

    def start(self) -> None:
        """Start the first worker and the watcher."""
        with self.engine.lock:
            self._add_worker()
        threading.Thread(target=self._watch, name="worker watcher", daemon=True).start()

    def stop(self, timeout_seconds: float) -> None:
        """Let triggers under way end (at most so long), then end the threads."""
        with self.engine.lock:
            self._stopping = True
            self.scheduler.ready.notify_all()
        self._busy.set()
        deadline = time.monotonic() + timeout_seconds
        for worker in list(self.workers):
            worker.thread.join(max(0.0, deadline - time.monotonic()))
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def close(self) -> None:
        """Release the event loop, once nothing is handed to it any more."""
        with self._loop_lock:
            if self._loop is not None:
                self._loop_thread.join(LOOP_END_SECONDS)
                if not self._loop.is_running():
                    self._loop.close()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of async processors, started at first use."""
        # Several processors may start at the same time, each on a thread of its own.
        with self._loop_lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                self._loop_thread = threading.Thread(
                    target=loop.run_forever, name="processor loop", daemon=True
                )
                self._loop_thread.start()
                self._loop = loop
            return self._loop

    def terminate(self, component: Component) -> int:
        """Fence the component's sessions and give back what they took; return how many."""
        with self.engine.lock:
            sessions = [one for one in self.engine.sessions if one.component is component]
            for session in sessions:
                session.fenced = True
                self.engine.give_back(session)
                self.engine.sessions.discard(session)
            component.active = 0
            for worker in [one for one in self.workers if one.session in sessions]:
                self._abandon(worker)
            tasks = [self._tasks[one] for one in sessions if one in self._tasks]
            self.scheduler.finished.notify_all()
        for task in tasks:
            self.loop.call_soon_threadsafe(task.cancel)
        return len(sessions)

    def stack_of(self, worker: Worker) -> str:
        """Return the Python stack of an abandoned worker, for people."""
        frame = sys._current_frames().get(worker.thread.ident or 0)
        return "".join(traceback.format_stack(frame)) if frame else ""

    # Threads

    def _add_worker(self) -> None:
        worker = Worker()
        worker.thread = threading.Thread(
            target=self._work, args=(worker,), name=f"worker {len(self.workers) + 1}", daemon=True
        )
        self.workers.append(worker)
        worker.thread.start()

    def _abandon(self, worker: Worker) -> None:
        worker.abandoned = True
        self.workers.remove(worker)
        self.abandoned.append(worker)
        if not worker.blocked:
            self.scheduler.computing -= 1
        self._add_worker()

    def _work(self, worker: Worker) -> None:
        worked = False
        while True:
            component = self._next(worker, worked)
            if component is None:
                return
            if not self._watching:
                self._busy.set()
            worked = self._run(worker, component)
            while worked and self._again(worker, component):
                worked = self._run(worker, component)

    def _again(self, worker: Worker, component: Component) -> bool:
        """Let the component run on within its turn; its task stays counted."""
        session = worker.session
        engine = self.engine
        with engine.lock:
            if worker.blocked or worker.abandoned or self._stopping or session is None:
                return False
            if session.detached or component.is_timed or component.run_once:
                return False
            if engine.clock.monotonic() - worker.turn_began > TURN_SECONDS:
                return False
            component.active -= 1
            ready = self.scheduler.is_ready(component)
            component.active += 1
            if not ready:
                return False
            engine.sessions.discard(session)
            component.woken = False
            self._begin_session(worker, component)
            return True

    def _begin_session(self, worker: Worker, component: Component) -> None:
        limit = 1 if component.cautious else component.batch_size
        worker.session = session = Session(self.engine, component, limit)
        if component.cautious:
            session.cautious = True
        self.engine.sessions.add(session)
        worker.serial += 1

    def _next(self, worker: Worker, worked: bool) -> Component | None:
        scheduler = self.scheduler
        with self.engine.lock:
            if worker.abandoned:
                self.abandoned.remove(worker)
                return None
            if worker.session is not None:
                self._leave(worker, worked)
            while not self._stopping:
                component = scheduler.next_component()
                if component is not None:
                    worker.component = component
                    self._begin_session(worker, component)
                    worker.turn_began = self.engine.clock.monotonic()
                    return component
                if scheduler.idle >= SPARES_MAX:
                    break
                scheduler.idle += 1
                scheduler.ready.wait(scheduler.seconds_to_timer())
                scheduler.idle -= 1
            self.workers.remove(worker)
            return None

    def _leave(self, worker: Worker, worked: bool) -> None:
        component, session = worker.component, worker.session
        assert component is not None and session is not None
        worker.component = worker.session = None
        if worker.blocked:
            worker.blocked = False
        else:
            self.scheduler.computing -= 1
        if session in self._tasks or session.detached:
            return
        self.scheduler.finish(component, session, worked=worked)

    # Triggers

    def _run(self, worker: Worker, component: Component) -> bool:
        session = worker.session
        instance = component.instance
        assert session is not None
        if instance is None:
            return False
        if component.is_async:
            session.detached = True
            asyncio.run_coroutine_threadsafe(self._run_async(component, session), self.loop)
            return True
        try:
            instance.on_trigger(session)
            if component.schedule.run_duration_ms and not session.cautious:
                self._run_on(component, session)
            self.engine.commit(session)
        except TerminatedError:
            session.release()
            return True
        except Exception as error:  # the session boundary: roll back, tell, go on
            self._fail(component, session, error)
        self._account(component, session)
        if session.writer is not None:
            session.release()
        return session.committed > 0

    def _run_on(self, component: Component, session: Session) -> None:
        """Trigger again in the same session until the run duration is over."""
        end = self.engine.clock.monotonic() + component.schedule.run_duration_ms / 1000
        instance = component.instance
        assert instance is not None
        while self.engine.clock.monotonic() < end and session.size < RUN_FLOWFILES_MAX:
            before = session.size
            instance.on_trigger(session)
            if session.size == before or component.is_blocked():
                return

    async def _run_async(self, component: Component, session: Session) -> None:
        task = asyncio.current_task()
        assert task is not None
        with self.engine.lock:
            self._tasks[session] = task
        try:
            instance = component.instance
            assert instance is not None
            result = instance.on_trigger(session)
            if inspect.isawaitable(result):
                await result
            session.commit()
        except (TerminatedError, asyncio.CancelledError):
            with self.engine.lock:
                self._tasks.pop(session, None)
            session.release()
            return
        except Exception as error:  # the session boundary: roll back, tell, go on
            self._fail(component, session, error)
        worked = session.committed > 0
        self._account(component, session)
        session.release()
        with self.engine.lock:
            self._tasks.pop(session, None)
            if not session.fenced:
                self.scheduler.finish(component, session, worked=worked)

    def _account(self, component: Component, session: Session) -> None:
        totals = component.statistics.totals
        totals.tasks += 1
        # The commit read the clock already; a session that failed has no such time.
        ended = session.ended or self.engine.clock.wall()
        totals.task_seconds += max(0.0, ended - session.started)
        if component.cautious:
            component.cautious -= 1

    def _fail(self, component: Component, session: Session, error: Exception) -> None:
        taken = 1 if session.cautious else session.taken_count
        try:
            if taken > 1:
                # One of them did it: offer them one by one, so that only that one is penalized.
                session.rollback()
                component.cautious = max(component.cautious, taken + 1)
            else:
                session.rollback(penalize=True, reason=error)
                if component.cautious <= 1:
                    self.scheduler.yield_for(component, component.yield_seconds)
            if component.held:
                self.engine.return_held(component)
        finally:
            if taken <= 1:
                self.on_error(component, error)

    # The watcher

    def _watch(self) -> None:
        calm = 0
        pause = threading.Event()
        while not self._stopping:
            if not self._watching:
                self._busy.wait()
                self._busy.clear()
                self._watching = True
                calm = 0
            pause.wait(LOOK_SECONDS)
            with self.engine.lock:
                calm = 0 if self._look() else calm + 1
                # With the lock held: a worker that begins right after this look sees it.
                self._watching = calm <= CALM_LOOKS

    def _look(self) -> bool:
        active = False
        for worker in list(self.workers):
            if worker.component is None or worker.blocked:
                continue
            active = True
            cpu_seconds = _cpu_seconds(worker.thread)
            used = cpu_seconds - worker.cpu_seconds
            # Once may be the wait for the GIL, or for a core; several times is a wait for the
            # world.
            still = worker.serial == worker.seen and used < LOOK_SECONDS / 4
            worker.still = worker.still + 1 if still else 0
            if worker.still >= STILL_LOOKS and len(self.workers) < WORKERS_MAX:
                worker.blocked = True
                self.scheduler.computing -= 1
                if self.scheduler.idle:
                    self.scheduler.ready.notify()
                else:
                    self._add_worker()
            worker.seen = worker.serial
            worker.cpu_seconds = cpu_seconds
        return active


def _cpu_seconds(thread: threading.Thread) -> float:
    if not thread.is_alive() or thread.ident is None:
        return float("inf")
    try:
        return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    except OSError:
        return 0.0
