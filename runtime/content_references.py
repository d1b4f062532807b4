"""How many flowfiles refer to each content segment, and who holds one besides.

Counts are the fold of the log and nothing else: a commit adds the claims of the flowfiles that
it puts somewhere and ends those of the flowfiles that it takes away. What a session wrote and
dropped before its commit never enters a count, so no order of clone, write, drop and rollback
can unbalance it. Until its commit a session's bytes are held by *pins*, as are the bytes under
an open reader.

                add, pin                              archived, forget
    (written) ------------> held ------------> idle -------------------> archive, or gone
                             ^  last end synced  |
                             |  and last unpin   |
                             +-------------------+  add, pin

An end names the record that dropped the flowfile and takes effect only when that record is
synced: until then a crash brings the flowfile back, and with it the need for its content.
"""

import heapq
import itertools
import threading
from collections import Counter
from collections.abc import Iterable, Mapping

from runtime.flowfile import Claim


def count_segments(claims: Iterable[Claim | None]) -> Mapping[int, int]:
    """Return how many of the claims lie in each segment; None (empty content) counts nowhere."""
    segments = [claim.segment for claim in claims if claim is not None]
    if not segments:
        return {}
    # A batch nearly always lies in one segment, and a Counter costs more than all the rest.
    first = segments[0]
    if segments.count(first) == len(segments):
        return {first: len(segments)}
    return Counter(segments)


class SegmentReferences:
    """Counts and pins by segment; safe to call from any thread.

    Only a segment that was begun here or adopted can become idle: before `adopt` a store knows
    nothing about the files that it finds. A segment whose key is in `_counts`, be it with zero,
    has had a reference once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[int] = set()
        self._counts: dict[int, int] = {}
        self._pins: dict[int, int] = {}
        self._idle: set[int] = set()
        # A heap, since sessions report their ends after the commit lock, hence not in order.
        self._ends: list[tuple[int, int, Mapping[int, int]]] = []
        self._tie = itertools.count()
        self._durable = 0

    def add(self, claims: Iterable[Claim | None]) -> None:
        """Count one reference for each claim; their segments must be pinned or referenced."""
        self.add_counts(count_segments(claims))

    def add_counts(self, counts: Mapping[int, int]) -> None:
        """Count references given as segment -> number."""
        with self._lock:
            for segment, number in counts.items():
                self._counts[segment] = self._counts.get(segment, 0) + number
                self._idle.discard(segment)

    def end(self, claims: Iterable[Claim | None], sequence: int) -> None:
        """End one reference for each claim, once record `sequence` is synced.

        Sequence 0 ends at once: for a commit that got no sequence.
        """
        self.end_counts(count_segments(claims), sequence)

    def end_counts(self, counts: Mapping[int, int], sequence: int) -> None:
        """End references given as segment -> number, once record `sequence` is synced."""
        with self._lock:
            if sequence <= self._durable:
                self._subtract(counts)
            elif counts:
                heapq.heappush(self._ends, (sequence, next(self._tie), counts))

    def durable(self, sequence: int) -> None:
        """Take into account that all records up to `sequence` are really synced."""
        with self._lock:
            self._durable = max(self._durable, sequence)
            while self._ends and self._ends[0][0] <= sequence:
                self._subtract(heapq.heappop(self._ends)[2])

    def _subtract(self, counts: Mapping[int, int]) -> None:
        for segment, number in counts.items():
            left = self._counts.get(segment, 0) - number
            assert left >= 0, f"Content segment {segment} lost more references than it had: {left}."
            self._counts[segment] = left
            self._consider(segment)

    def _consider(self, segment: int) -> None:
        held = self._counts.get(segment) or segment in self._pins
        if segment in self._known and not held:
            self._idle.add(segment)

    def pin(self, segment: int, *, new: bool = False) -> None:
        """Keep a segment where it is until `unpin`; pins add up. `new`: it is begun here."""
        with self._lock:
            if new:
                self._known.add(segment)
            self._pins[segment] = self._pins.get(segment, 0) + 1
            self._idle.discard(segment)

    def unpin(self, segment: int) -> None:
        """Undo one `pin`."""
        with self._lock:
            left = self._pins.pop(segment) - 1
            if left:
                self._pins[segment] = left
            else:
                self._consider(segment)

    def holders(self, segment: int) -> tuple[int, int]:
        """Return the numbers of references (until their end is synced) and of pins."""
        with self._lock:
            return self._counts.get(segment, 0), self._pins.get(segment, 0)

    def idle(self) -> list[tuple[int, bool]]:
        """Return the segments that nobody holds, and whether each ever had a reference."""
        with self._lock:
            return [(segment, segment in self._counts) for segment in sorted(self._idle)]

    def archived(self, segment: int) -> None:
        """Stop listing a segment as idle: it is in the archive."""
        with self._lock:
            self._idle.discard(segment)

    def forget(self, segment: int) -> bool:
        """Drop all knowledge of a segment that is to be removed; False when it must stay.

        It must stay while it is referenced or pinned, and before `adopt` has told of it.
        """
        with self._lock:
            held = self._counts.get(segment) or segment in self._pins
            if segment not in self._known or held:
                return False
            self._known.remove(segment)
            self._counts.pop(segment, None)
            self._idle.discard(segment)
            return True

    def adopt(
        self, counts: Mapping[int, int], live: Iterable[int], archived: Iterable[int]
    ) -> None:
        """Replace all counts by those folded from the log, over the segments that exist.

        A segment outside the archive that has no count becomes idle, unless it is pinned.
        """
        with self._lock:
            live = set(live)
            self._ends.clear()
            self._known = live.union(archived)
            self._counts = dict.fromkeys(self._known, 0) | dict(counts)
            self._idle = {
                segment for segment in live if not counts.get(segment) and segment not in self._pins
            }
