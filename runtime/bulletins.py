"""Bulletins: what components have to say to people.

A ring of the newest for each component, as in NiFi; a component's level decides what is kept.
Repeats of one message within a minute are counted, not listed again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Final

from runtime.processor import Level

LEVELS: Final[dict[str, int]] = {"DEBUG": 0, "INFO": 1, "WARN": 2, "ERROR": 3, "NONE": 4}
KEPT_PER_COMPONENT: Final = 5
KEPT_OF_NODE: Final = 50
REPEAT_SECONDS: Final = 60.0


@dataclass(slots=True)
class Bulletin:
    """`component` 0 is the node; `time` is seconds since the epoch; `repeats` counts from 1."""

    id: int
    time: float
    level: Level
    component: int
    source: str
    message: str
    repeats: int = 1


class Bulletins:
    """All bulletins of a node; safe to use from any thread."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._lock = threading.Lock()
        self._rings: dict[int, deque[Bulletin]] = {}
        self._ids = count(1)
        self.errors = 0
        """How many bulletins of level ERROR there were, repeats included."""
        self.listeners: list[Callable[[Bulletin], None]] = []

    def add(
        self, level: Level, component: int, source: str, message: str, *, least: str = "INFO"
    ) -> None:
        """Keep a bulletin, unless it is below the level `least`."""
        if LEVELS[level] < LEVELS.get(least, 2):
            return
        now = self._wall()
        with self._lock:
            self.errors += level == "ERROR"
            ring = self._rings.setdefault(
                component, deque(maxlen=KEPT_PER_COMPONENT if component else KEPT_OF_NODE)
            )
            for known in ring:
                if known.message == message and now - known.time < REPEAT_SECONDS:
                    known.repeats += 1
                    return
            bulletin = Bulletin(next(self._ids), now, level, component, source, message)
            ring.append(bulletin)
        for listener in self.listeners:
            listener(bulletin)

    def recent(self, seconds: float = 300.0, after: int = 0) -> list[Bulletin]:
        """Return bulletins of the last `seconds` with ids above `after`, oldest first."""
        since = self._wall() - seconds
        with self._lock:
            found = [
                bulletin
                for ring in self._rings.values()
                for bulletin in ring
                if bulletin.time >= since and bulletin.id > after
            ]
        return sorted(found, key=lambda bulletin: bulletin.id)
