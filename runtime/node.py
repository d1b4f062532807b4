"""A node: one home, opened, recovered, running.

    open      lock the home, load the newest checkpoint, fold the log behind it, settle the log,
              build the flow's components and queues, fill them
    start     start the flow's components
    stop      stop them, checkpoint, sync and close; nothing is lost, nothing is half done

A write or sync of the log that fails fences the node: nothing is acknowledged any more, and the
process exits with status `FENCED_STATUS` so that a restart recovers from the disk.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from runtime import commit as commits
from runtime.bulletins import Bulletin, Bulletins
from runtime.checkpoint import Head, load_newest
from runtime.clock import Clock, SystemClock
from runtime.component import Component
from runtime.content import ContentStore
from runtime.content_archive import ArchiveLimits
from runtime.controller import Controller, Parameters
from runtime.disk import Disk, SystemDisk
from runtime.engine import Engine
from runtime.flowfile import flowfile_ids
from runtime.fold import Fold
from runtime.home import Home
from runtime.keyed_state import KeyedState
from runtime.log import Log
from runtime.log_format import LogEnd
from runtime.log_reader import LogReading, read_log
from runtime.log_repair import settle_log
from runtime.maintenance import Maintenance
from runtime.model import FlowModel, ParameterContext, decode_flow, empty_flow, encode_flow
from runtime.parameters import effective
from runtime.recovery import load
from runtime.registry import Registry
from runtime.scheduler import Scheduler
from runtime.secrets import Secrets, is_encrypted
from runtime.settings import Settings
from runtime.workers import Workers

FENCED_STATUS: Final = 75

log = logging.getLogger("levada")


class Node:
    """See the module. `recovered` says in words what recovery found worth telling."""

    def __init__(
        self,
        path: Path,
        *,
        settings: Settings | None = None,
        registry: Registry | None = None,
        clock: Clock | None = None,
        disk: Disk | None = None,
        on_fenced: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Open and recover the home `path`.

        Raises:
            HomeError, LogDamagedError, CheckpointDamagedError, FoldError: it cannot be used; the
                message says what is wrong and what to do.
        """
        self.settings = settings or Settings()  # type: ignore[call-arg]  # all have defaults
        self.clock = clock or SystemClock()
        self.disk = disk or SystemDisk()
        self.recovered: list[str] = []
        self.overrides: dict[str, str] = {}
        self._on_fenced = on_fenced or _exit_fenced
        self.home = Home(path)
        try:
            self.registry = registry or Registry(directories=[self.home.directory("extensions")])
            self._callbacks: queue.SimpleQueue[list[Callable[[], None]] | None]
            self._callbacks = queue.SimpleQueue()
            self._open()
        except BaseException:
            self.home.close()
            raise

    def _open(self) -> None:
        settings = self.settings
        self.bulletins = Bulletins(self.clock.wall)
        self.bulletins.listeners.append(_log_bulletin)
        self.scheduler = Scheduler()
        self.content = ContentStore(
            self.home.directory("content"),
            disk=self.disk,
            clock=self.clock,
            limits=ArchiveLimits(
                settings.archive_max_age, settings.archive_max_size, settings.archive_disk_share
            ),
        )
        self.keyed = KeyedState(self.home.directory("state"))
        self.engine = Engine(
            clock=self.clock,
            identity=self.home.identity,
            ids=flowfile_ids(self.home.start),
            content=self.content,
            keyed=self.keyed,
            scheduling=self.scheduler,
            bulletins=self.bulletins,
        )
        self.engine.effects_wait = settings.fsync == "always"
        self.scheduler.attach(self.engine)
        self.workers = Workers(self.engine, self.scheduler)
        self.workers.on_error = self._component_failed
        self.secrets: Secrets | None = None
        self.controller = Controller(
            self.engine,
            self.scheduler,
            self.workers,
            registry=self.registry,
            parameters=Parameters(self._resolve, self._decrypt),
        )
        self._recover()
        self.maintenance = Maintenance(self)
        self._dispatcher = threading.Thread(
            target=self._dispatch, name="acknowledgements", daemon=True
        )
        self._dispatcher.start()
        self.workers.start()
        self.maintenance.start()

    # Recovery

    def _recover(self) -> None:
        directory = self.home.directory("log")
        self.disk.make_directory(directory)
        newest = load_newest(
            self.home.directory("checkpoints"), self.disk, self.home.log_home
        )
        head: Head | None = None
        fold = Fold()
        if newest is not None:
            head, fold, problems = newest
            self.recovered += [f"{problem}; the older checkpoint is used" for problem in problems]
        reading = read_log(
            directory,
            self.disk,
            after=head.end if head is not None else LogEnd(),
            home=self.home.log_home,
            accept=self._accept,
        )
        unsynced = self._fold(reading, fold)
        end = settle_log(reading, home=self.home.log_home)
        if reading.cut is not None:
            self.recovered.append(str(reading.cut.reason))
        self._start_log(directory, end)
        self.keyed.check_against(end.sequence)
        self.recovered += self.keyed.problems
        self._restore_keys(directory, head.keyed if head is not None else 0)
        flow = decode_flow(fold.flow) if fold.flow else empty_flow(self.home.path.name)
        self.controller.adopt(flow)
        parked = load(self.engine, fold, unsynced)
        for connection, count in parked.items():
            self.recovered.append(f"{count} flowfiles are parked in connection {connection}, "
                                  "which the flow no longer has")  # fmt: skip
        for problem in self.recovered:
            self.bulletins.add("WARN", 0, "recovery", problem)

    def _restore_keys(self, directory: Path, known: int) -> None:
        """Put again what the state store lacks of records up to `known`, as far as there is log."""
        if self.keyed.applied >= known and not self.keyed.is_doubtful:
            return
        last = max(known, self.keyed.applied)
        first = 0
        reading = read_log(
            directory, self.disk, after=0, home=self.home.log_home, damaged=lambda damage: None
        )
        for sequence, _, data in reading:
            if sequence > last:
                break
            first = first or sequence
            record = commits.decode(data)
            if record.keyed:
                self.keyed.put(record.component, record.keyed, sequence)
        lost = "" if first == 1 else "; what older records set may be lost"
        self.recovered.append(
            f"The state store lacked keys of records up to {last}; those of record {first or last} "
            f"and later were restored from the log{lost}"
        )

    def _fold(self, reading: LogReading, fold: Fold) -> set[int]:
        unsynced: set[int] = set()
        for sequence, _, data in reading:
            record = commits.decode(data)
            fold.apply(sequence, record)
            if sequence > reading.mark.sequence:
                unsynced.update(claim.segment for claim in commits.new_claims(record))
        return unsynced

    def _accept(self, sequence: int, data: bytes) -> bool:
        return all(self.content.verify(one) for one in commits.new_claims(commits.decode(data)))

    def _start_log(self, directory: Path, end: LogEnd) -> None:
        self.engine.log = self.log = Log(
            directory,
            disk=self.disk,
            clock=self.clock,
            home=self.home.log_home,
            start=end,
            dispatch=self._callbacks.put,
            on_durable=self._on_durable,
            on_failure=self._fence,
            mode=self.settings.fsync,
            file_bytes=self.settings.log_file_size,
            gather_seconds=self.settings.gather,
        )

    # Life

    def start(self) -> None:
        """Start every component that is meant to run."""
        self.controller.start_all()

    def stop(self) -> list[str]:
        """Stop cleanly; return the paths of components whose triggers did not end in time."""
        late = self.controller.stop_all(self.settings.stop_timeout)
        self.workers.stop(self.settings.stop_timeout)
        self.maintenance.stop()
        try:
            self.log.sync()
            if not late:
                self.maintenance.checkpoint()
            self._callbacks.put(None)
            self._dispatcher.join(self.settings.stop_timeout)
        finally:
            # Also where the log has failed: another process must be able to open the home.
            self.log.close()
            self.workers.close()
            self.keyed.close()
            self.content.close()
            self.home.close()
        return late

    @property
    def flow(self) -> FlowModel:
        """The flow in force."""
        return self.controller.flow

    # Inside

    def _resolve(self, flow: FlowModel, context: ParameterContext | None) -> dict[str, str]:
        if context is None:
            return {}
        values = {}
        for name, one in effective(flow.parameter_contexts, context.id).items():
            value = self.overrides.get(name, one.value)
            if value is not None:
                values[name] = self._decrypt(value) if is_encrypted(value) else value
        return values

    def _decrypt(self, stored: str) -> str:
        return self.open_secrets().decrypt(stored)

    def open_secrets(self) -> Secrets:
        """Return the home's key, made at its first use.

        Raises:
            SecretError: the key is missing, damaged, or readable by others.
        """
        if self.secrets is None:
            in_use = b"enc:" in encode_flow(self.controller.flow)
            self.secrets = Secrets.open(self.home.path, in_use=in_use)
        return self.secrets

    def _on_durable(self, sequence: int) -> None:
        room = self.log.room()
        if room.blocked and room.triggers_stop and not self.scheduler.triggers_stop:
            self.maintenance.stop_triggers()
        self.scheduler.on_durable(sequence)
        self.content.references.durable(self.log.synced)

    def _dispatch(self) -> None:
        while (callbacks := self._callbacks.get()) is not None:
            for callback in callbacks:
                try:
                    callback()
                except Exception as error:  # the author's code: tell, and go on with the next
                    self.bulletins.add(
                        "ERROR", 0, "acknowledgement", f"{type(error).__name__}: {error}"
                    )

    def _fence(self, error: BaseException) -> None:
        self.scheduler.triggers_stop = f"the log failed: {error}"
        self.bulletins.add(
            "ERROR",
            0,
            "log",
            f"The log cannot be written ({error}); the node stops here. Nothing acknowledged is "
            "lost: mend the disk and start it again",
        )
        self._on_fenced(error)

    def _component_failed(self, component: Component, error: BaseException) -> None:
        words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        self.bulletins.add(
            "ERROR",
            component.id,
            component.path,
            f"{component.path} rolled back: {words}. Its flowfile waits "
            f"{component.penalty_seconds:g} s; next try in {component.yield_seconds:g} s",
            least=component.bulletin_level,
        )



def _log_bulletin(bulletin: Bulletin) -> None:
    level = getattr(logging, "WARNING" if bulletin.level == "WARN" else bulletin.level)
    log.log(level, "%s", bulletin.message)


def _exit_fenced(error: BaseException) -> None:
    os._exit(FENCED_STATUS)
