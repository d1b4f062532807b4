"""Bins: groups of flowfiles that wait for each other.

A bin belongs to a group (the value of the correlation attribute, the fragment identifier, or none
at all) and lives in memory only; its flowfiles are held by the engine and so stay where they were
in their queue. Each bin is in one of these states:

    filling --(both minimums reached)--> sufficient --(a maximum, or nothing more comes)--> complete
       `------(too old, or the oldest when there are too many)------------------------------^

One processor's trigger uses it at a time.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from runtime.flowfile import FlowFile
from runtime.properties import Choice

INDEX: Final = "fragment.index"
COUNT: Final = "fragment.count"
# A bin that is sufficient and could not take so many flowfiles in a row is complete.
REFUSALS_MAX: Final = 5
_NUMBER: Final = re.compile(r"\d{1,9}", re.ASCII)


class Cause(Choice):
    """Why a bin was merged, as the attribute `merge.reason` says it."""

    MAX_BYTES = "MAX_BYTES_THRESHOLD_REACHED", "The maximum size was reached"
    MAX_ENTRIES = "MAX_ENTRIES_THRESHOLD_REACHED", "The maximum number of entries was reached"
    MINIMUMS = "MIN_THRESHOLDS_REACHED", "The minimums were reached and nothing more came"
    AGE = "TIMEOUT", "The bin reached its maximum age"
    TOO_MANY = "BIN_MANAGER_FULL", "It was the oldest when another bin was needed"
    SIGNAL = "BIN_TERMINATION_SIGNAL", "A flowfile ended the bin"
    ALONE = "UNSET", "The flowfile fits into no bin"


class Place(Choice):
    """Where the flowfile that ends a bin goes."""

    LAST = "Last in Bin", "Last in the bin that it ends"
    FIRST_IN_NEW = "First in New Bin", "First in a new bin"
    ISOLATED = "Isolated", "Alone in a bin that ends at once"


@dataclass(frozen=True)
class Limits:
    """When a bin is sufficient and when it is full. Sizes are bytes, ages seconds."""

    min_entries: int = 1
    max_entries: int = 1000
    min_size: int = 0
    max_size: int = sys.maxsize
    max_age: float | None = None
    max_bins: int = 5


class Bin:
    """Flowfiles of one group; `cause` is set when it is complete."""

    __slots__ = (
        "cause", "flowfiles", "held", "indexes", "limits", "max_entries", "min_entries",
        "refusals", "size", "start",
    )  # fmt: skip

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self.min_entries = limits.min_entries
        self.max_entries = limits.max_entries
        self.start = now
        self.flowfiles: list[FlowFile] = []
        self.held = 0
        """How many, from the first, were taken by earlier triggers."""
        self.indexes: set[str] = set()
        self.size = 0
        self.refusals = 0
        self.cause: Cause | None = None

    def accepts(self, count: int, size: int) -> bool:
        """Tell whether so many flowfiles, of so many bytes together, still go in."""
        return (
            self.cause is None
            and len(self.flowfiles) + count <= self.max_entries
            and self.size + size <= self.limits.max_size
        )

    def add(self, flowfile: FlowFile) -> None:
        """Put a flowfile that it accepts in."""
        self.flowfiles.append(flowfile)
        self.size += flowfile.size
        self.refusals = 0

    @property
    def is_sufficient(self) -> bool:
        return len(self.flowfiles) >= self.min_entries and self.size >= self.limits.min_size

    def full(self) -> Cause | None:
        """Return why it is complete, whatever may still come; None when it is not."""
        if self.size >= self.limits.max_size:
            return Cause.MAX_BYTES
        if len(self.flowfiles) >= self.max_entries:
            return Cause.MAX_ENTRIES
        if self.refusals > REFUSALS_MAX and self.is_sufficient:
            return Cause.MINIMUMS
        return None


class Bins:
    """The open bins of a processor by group, the oldest first.

    `offer` sorts flowfiles in; what is complete by then, and what `expire` and `relax` complete,
    is handed out by `completed`, once.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        is_defragmenting: bool = False,
        ends_bin: Callable[[Sequence[FlowFile]], list[bool]] | None = None,
        place: Place = Place.LAST,
    ) -> None:
        self.limits = limits
        self._is_defragmenting = is_defragmenting
        self._ends_bin = ends_bin
        self._place = place
        self._groups: dict[str | None, list[Bin]] = {}
        self._order: dict[Bin, str | None] = {}
        self._completed: list[Bin] = []

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Bin]:
        return iter(self._order)

    def clear(self) -> None:
        """Forget all bins."""
        self._groups.clear()
        self._order.clear()
        self._completed.clear()

    def offer(self, groups: Mapping[str | None, list[FlowFile]], now: float) -> None:
        """Sort flowfiles into the bins of their groups."""
        for group, flowfiles in groups.items():
            ends = [] if self._ends_bin is None else self._ends_bin(flowfiles)
            position = stop = 0
            while position < len(flowfiles):
                if stop <= position:
                    stop = _next_end(ends, position, len(flowfiles))
                ends_bin = stop == position
                if ends_bin:
                    stop += 1
                count = 0
                if not ends_bin and not self._is_defragmenting:
                    count = self._offer_together(group, flowfiles[position:stop])
                if not count:
                    self._offer_one(group, flowfiles[position], now, ends_bin=ends_bin)
                position += count or 1

    def _offer_together(self, group: str | None, flowfiles: list[FlowFile]) -> int:
        """Put as many as there is room for into the group's only bin; return how many."""
        # The usual case, several times as fast as one by one.
        bins = self._groups.get(group)
        if bins is None or len(bins) != 1:
            return 0
        bin = bins[0]
        part = flowfiles[: bin.max_entries - len(bin.flowfiles)]
        size = sum([flowfile.size for flowfile in part])
        if bin.size + size > self.limits.max_size:
            return 0
        bin.flowfiles += part
        bin.size += size
        bin.refusals = 0
        self._complete_if_full(bin)
        return len(part)

    def _offer_one(
        self, group: str | None, flowfile: FlowFile, now: float, *, ends_bin: bool
    ) -> None:
        if flowfile.size > self.limits.max_size:
            alone = Bin(self.limits, now)
            alone.add(flowfile)
            self._complete(alone, Cause.ALONE)
            return
        bins = self._groups.get(group, [])
        if ends_bin and self._place is not Place.LAST:
            if bins:
                self._complete(bins[0], Cause.SIGNAL)
            self._new(group, flowfile, now, ends_bin=self._place is Place.ISOLATED)
            return
        for bin in tuple(bins):
            if self._put(bin, flowfile):
                if ends_bin:
                    self._complete(bin, Cause.SIGNAL)
                return
        self._new(group, flowfile, now, ends_bin=ends_bin)

    def _put(self, bin: Bin, flowfile: FlowFile) -> bool:
        if not bin.accepts(1, flowfile.size) or not self._fits_as_fragment(bin, flowfile):
            bin.refusals += 1
            self._complete_if_full(bin)
            return False
        bin.add(flowfile)
        self._complete_if_full(bin)
        return True

    def _fits_as_fragment(self, bin: Bin, flowfile: FlowFile) -> bool:
        if not self._is_defragmenting:
            return True
        index = flowfile.attributes.get(INDEX)
        if not index or index in bin.indexes:
            return False
        bin.indexes.add(index)
        count = flowfile.attributes.get(COUNT, "")
        if _NUMBER.fullmatch(count):
            bin.min_entries = bin.max_entries = int(count)
        return True

    def _new(
        self, group: str | None, flowfile: FlowFile, now: float, *, ends_bin: bool
    ) -> None:
        if len(self._order) >= self.limits.max_bins:
            self._complete(next(iter(self._order)), Cause.TOO_MANY)
        bin = Bin(self.limits, now)
        self._groups.setdefault(group, []).append(bin)
        self._order[bin] = group
        if not self._put(bin, flowfile):
            # A fragment without an index: the check of the fragments names it.
            bin.add(flowfile)
            self._complete(bin, Cause.ALONE)
        elif ends_bin:
            self._complete(bin, Cause.SIGNAL)

    def _complete_if_full(self, bin: Bin) -> None:
        cause = bin.full()
        if cause is not None:
            self._complete(bin, cause)

    def _complete(self, bin: Bin, cause: Cause) -> None:
        if bin.cause is not None:
            return
        bin.cause = cause
        self._completed.append(bin)
        if bin not in self._order:
            return
        group = self._order.pop(bin)
        bins = self._groups[group]
        bins.remove(bin)
        if not bins:
            del self._groups[group]

    def expire(self, now: float) -> float | None:
        """Complete the bins that are too old; return in how many seconds the next one is."""
        age = self.limits.max_age
        if age is None:
            return None
        while self._order:
            oldest = next(iter(self._order))
            wait = oldest.start + age - now
            if wait > 0:
                return wait
            self._complete(oldest, Cause.AGE)
        return None

    def relax(self) -> None:
        """Nothing more comes for now: complete what is sufficient."""
        for bin in [bin for bin in self._order if bin.is_sufficient]:
            self._complete(bin, Cause.MINIMUMS)

    @property
    def any_sufficient(self) -> bool:
        """A bin could be merged as soon as nothing more comes."""
        return any(bin.is_sufficient for bin in self._order)

    def completed(self) -> list[Bin]:
        """Hand out the bins that are complete."""
        completed, self._completed = self._completed, []
        return completed

    def settle(self) -> list[FlowFile]:
        """Return what was added since the last time, which the session is to hold."""
        added: list[FlowFile] = []
        for bin in self._order:
            if len(bin.flowfiles) > bin.held:
                added += bin.flowfiles[bin.held :]
                bin.held = len(bin.flowfiles)
        return added


def _next_end(ends: Sequence[bool], position: int, count: int) -> int:
    """Return the next place, from `position` on, of a flowfile that ends its bin; else `count`."""
    try:
        return ends.index(True, position)
    except ValueError:
        return count
