"""Time as an argument, so that tests and simulations can move it."""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for what is recorded, monotonic time for what is waited for."""

    def wall(self) -> float:
        """Seconds since the epoch; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards; no defined start."""
        ...

    def wait(self, condition: threading.Condition, seconds: float | None) -> bool:
        """Wait on a held condition, at most `seconds`; False when the time ran out."""
        ...


class SystemClock:
    """The machine's clock."""

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, condition: threading.Condition, seconds: float | None) -> bool:
        return condition.wait(seconds)


class ManualClock:
    """A clock that stands still until `advance` is called; for tests and simulations."""

    def __init__(self, wall: float = 1_700_000_000.0) -> None:
        self._wall = wall
        self._monotonic = 0.0

    def wall(self) -> float:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    def wait(self, condition: threading.Condition, seconds: float | None) -> bool:
        return condition.wait(0)

    def advance(self, seconds: float) -> None:
        """Let both clocks run on by `seconds`."""
        self._wall += seconds
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock off by `seconds`, as an administrator or NTP would."""
        self._wall += seconds
