"""What flows, as a line a second: in place on a terminal, one below the other elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from runtime.status import Totals, totals

if TYPE_CHECKING:
    from runtime.node import Node


class Progress:
    """Prints to `stream` (default: standard error)."""

    def __init__(self, node: Node, stream: TextIO | None = None) -> None:
        self._node = node
        self._stream = stream or sys.stderr
        self._in_place = self._stream.isatty()
        self._before = totals(node)
        self._at = node.clock.monotonic()
        self._width = 0

    def show(self) -> None:
        """Print one line."""
        now = self._node.clock.monotonic()
        current = totals(self._node)
        line = progress_line(self._before, current, max(now - self._at, 1e-9))
        counters = self._node.engine.counters
        if counters:
            shown = (f"{name} {value:,}" for name, value in sorted(counters.items()))
            line += "  " + ", ".join(shown)
        self._before, self._at = current, now
        if self._in_place:
            padded = line.ljust(self._width)
            self._width = len(line)
            self._stream.write(f"\r{padded}")
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def end(self) -> None:
        """Leave the line."""
        if self._in_place and self._width:
            self._stream.write("\n")
            self._stream.flush()


def progress_line(before: Totals, now: Totals, seconds: float) -> str:
    """Return the words of one line."""
    rate = (now.hops - before.hops) / seconds
    line = (
        f"in {now.flowfiles_in:,}  out {now.flowfiles_out:,}  queued {now.queued:,}  "
        f"{rate:,.0f} hops/s"
    )
    return line + (f"  errors {now.errors:,}" if now.errors else "")
