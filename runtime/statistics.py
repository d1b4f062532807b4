"""What each component did: totals since start, and over the last five minutes.

Totals only grow; a sample of them is kept every ten seconds in which something happened, so the
five-minute figures are a difference and an idle component costs nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, fields
from typing import Final

WINDOW_SECONDS: Final = 300.0
SAMPLE_SECONDS: Final = 10.0


@dataclass(slots=True)
class Totals:
    """Counts of flowfiles, sizes in bytes, task time in seconds."""

    in_count: int = 0
    in_bytes: int = 0
    out_count: int = 0
    out_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    tasks: int = 0
    task_seconds: float = 0.0
    created: int = 0
    received: int = 0
    ended: int = 0
    failed: int = 0

    def copy(self) -> Totals:
        """Return a snapshot."""
        return Totals(*(getattr(self, field.name) for field in fields(self)))

    def minus(self, earlier: Totals) -> Totals:
        """Return what came after `earlier`."""
        return Totals(
            *(getattr(self, field.name) - getattr(earlier, field.name) for field in fields(self))
        )


class Statistics:
    """One component's totals and samples; whoever calls holds the engine's lock."""

    def __init__(self) -> None:
        self.totals = Totals()
        self._samples: deque[tuple[float, Totals]] = deque()
        self._sampled = float("-inf")

    def touch(self, now: float) -> Totals:
        """Return the totals to add to, at monotonic time `now`."""
        if now - self._sampled >= SAMPLE_SECONDS:
            self._samples.append((now, self.totals.copy()))
            self._sampled = now
            while len(self._samples) > 1 and self._samples[1][0] <= now - WINDOW_SECONDS:
                self._samples.popleft()
        return self.totals

    def recent(self, now: float) -> Totals:
        """Return what happened in the last five minutes (to ten seconds)."""
        base = self.totals
        for at, sample in reversed(self._samples):
            if at <= now - WINDOW_SECONDS:
                # What came after it came within ten seconds of it, else there were a newer one.
                break
            base = sample
        return self.totals.minus(base)
