"""What a node does besides: checkpoints, retention, the eye on the disk.

One thread looks every few seconds; a look at an idle node costs microseconds. A checkpoint takes
references under the engine's lock (that is the only moment in which commits wait) and encodes
them afterwards. Nothing is removed that recovery, the state store or the provenance index needs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from runtime.checkpoint import Head, gather, log_floor, places, publish, write_checkpoint
from runtime.log import LogFailedError
from runtime.model import encode_flow
from runtime.scheduler import reconsider_all
from runtime.units import format_size

if TYPE_CHECKING:
    from runtime.node import Node

LOOK_SECONDS: Final = 2.0
RECORDS_BETWEEN: Final = 200_000


class Indexed(Protocol):
    """Something that reads the log behind the engine."""

    @property
    def sequence(self) -> int:
        """How far it has read."""
        ...

    def catch_up(self, sequence: int) -> None:
        """Begin to read up to `sequence`, because retention waits for it; returns at once."""
        ...

    def before_drop(self, sequence: int) -> None:
        """Keep what is needed of the records before `sequence`: they are about to go."""
        ...


class Maintenance:
    """See the module."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._checkpointed = node.engine.sequence
        self._checkpointed_at = node.clock.monotonic()
        self._thread = threading.Thread(target=self._run, name="maintenance", daemon=True)
        self._due = threading.Event()
        self._stops = self._told = ("", "")
        """Why sources, and why all triggers, wait for the disk; and what people know of it."""
        self.indexed: list[Indexed] = []
        """Objects with `sequence`: how far the log must not be dropped (the provenance index)."""
        self.on_look: list[Callable[[], object]] = []

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._due.set()
        self._thread.join(30)

    def stop_triggers(self) -> None:
        """Stop all triggers at once, before the log has no room left; for the committer: short.

        Between two looks a busy node may write more than what is left.
        """
        self._stops = (self._stops[0], self._full())
        self._node.scheduler.triggers_stop = self._stops[1]
        self._due.set()

    def checkpoint(self) -> int:
        """Save the state as of now; return its sequence."""
        with self._lock:
            return self._checkpoint()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._due.wait(LOOK_SECONDS)
            self._due.clear()
            if self._stop.is_set():
                return
            try:
                self.look()
            except LogFailedError:
                return
            except Exception as error:  # the supervisor of this thread: tell, and look again
                self._node.bulletins.add(
                    "ERROR", 0, "maintenance", f"Cannot tidy the home: {error}. Next try in "
                    f"{LOOK_SECONDS:g} s",
                )  # fmt: skip

    def look(self) -> None:
        """Do what is due."""
        node = self._node
        self._watch_disk()
        if node.keyed.has_pending:
            node.keyed.apply(node.log.synced)
        moved = node.engine.sequence - self._checkpointed
        age = node.clock.monotonic() - self._checkpointed_at
        if moved and (age >= node.settings.checkpoint_interval or moved >= RECORDS_BETWEEN):
            self.checkpoint()
            node.content.maintain(needed_free_bytes=node.settings.disk_reserve)
            self.drop_log()
        for callback in self.on_look:
            callback()

    def _checkpoint(self) -> int:
        node = self._node
        engine = node.engine
        node.log.sync()
        end = node.log.end()
        with engine.settled():
            sequence = engine.sequence
            queues = gather(engine)
            states = {one.id: one.state for one in engine.components.values() if one.state}
            counters = dict(engine.counters)
            flow = node.controller.flow
        if sequence == 0:
            return 0
        node.log.wait_durable(sequence)
        node.log.sync()
        node.keyed.apply(node.log.synced)
        keyed = node.keyed.flush()
        head = Head(
            version=1,
            home=node.home.log_home,
            sequence=sequence,
            end=end,
            wall_ms=int(node.clock.wall() * 1000),
            revision=flow.revision,
            flow=encode_flow(flow),
            states=states,
            counters=counters,
            keyed=keyed,
        )
        directory = node.home.directory("checkpoints")
        path = write_checkpoint(directory, node.disk, head, places(queues))
        publish(path, node.disk)
        self._checkpointed = sequence
        self._checkpointed_at = node.clock.monotonic()
        return sequence

    def drop_log(self) -> None:
        """Drop log files beyond the limits, as far as nobody needs them."""
        node = self._node
        # The state store was flushed before either checkpoint got its name.
        floor = log_floor(node.home.directory("checkpoints"), node.disk)
        files = [one for one in node.log.files() if one.last_sequence is not None]
        total = sum(one.size for one in files)
        oldest = (node.clock.wall() - node.settings.log_max_age) * 1000
        drop_before = 0
        for one in files:
            too_old = one.last_wall_ms is not None and one.last_wall_ms < oldest
            if not too_old and total <= node.settings.log_max_size:
                break
            assert one.last_sequence is not None
            if one.last_sequence >= floor:
                break
            drop_before = one.last_sequence + 1
            total -= one.size
        late = [reader for reader in self.indexed if reader.sequence < drop_before - 1]
        for reader in late:
            reader.catch_up(node.log.durable)
        if drop_before and not late:
            for reader in self.indexed:
                reader.before_drop(drop_before)
            node.log.drop(drop_before)

    def _watch_disk(self) -> None:
        node = self._node
        scheduler = node.scheduler
        free = node.disk.free_bytes(node.home.path)
        room = node.log.room()
        sources = triggers = ""
        if free < (reserve := node.settings.disk_reserve):
            sources = (
                f"The disk of {node.home.path} has {format_size(free // 2**20 * 2**20)} free, less "
                f"than the reserve of {format_size(reserve)}: sources wait"
            )
        elif room.blocked and room.sources_stop:
            sources = f"The disk of {node.home.path} has no room for more log: sources wait"
        # A next file that is only late is waited for by the committer itself.
        if room.blocked and room.triggers_stop:
            triggers = self._full()
        before, self._stops = self._stops, (sources, triggers)
        for old, new in zip(self._told, self._stops, strict=True):
            if new and not old:
                node.bulletins.add("ERROR", 0, "disk", new + ". Free some space")
        self._told = self._stops
        if before != self._stops:
            # Not otherwise: the log may have stopped the triggers for good.
            scheduler.sources_stop, scheduler.triggers_stop = sources, triggers
        if any(old and not new for old, new in zip(before, self._stops, strict=True)):
            node.bulletins.add("INFO", 0, "disk", "There is room on the disk again; all goes on")
            reconsider_all(scheduler)
        if sources:
            node.content.maintain(needed_free_bytes=reserve)

    def _full(self) -> str:
        return f"The disk of {self._node.home.path} is full: everything waits"
