"""A connection's queue: what waits between two components.

Flowfiles lie in *runs*: those that one commit put here, in one list. A run is handed over whole
where that is possible, so a batch crosses a hop without a Python call for each flowfile. The
place of a flowfile is its record's sequence and its index in the run; a flowfile that a session
gives back returns to that place. Flowfiles with a due time wait in a heap beside the runs and
re-enter behind what is there when they become due; they still count for back pressure, as do
those that sessions have taken and not yet settled.

A queue is not a thread's own: whoever calls holds the engine's lock. Times are monotonic seconds
unless a name says otherwise.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any

from runtime.commit import Ids
from runtime.flowfile import FlowFile
from runtime.model import ConnectionModel

PriorityKey = Callable[[FlowFile, int, int], Any]
"""Sort key of a flowfile from itself, its sequence and its index; the least is next."""


class Run:
    """Flowfiles that one record put into one queue, from `index` on.

    `due` and `since` (milliseconds since the epoch) say until when they must wait and when that
    wait was recorded; 0 for none. `retries` counts how often they were tried before.
    """

    __slots__ = ("due", "flowfiles", "index", "packed", "retries", "sequence", "since", "size")

    def __init__(
        self,
        sequence: int,
        flowfiles: list[FlowFile],
        size: int,
        *,
        index: int = 0,
        retries: int = 0,
        due: int = 0,
        since: int = 0,
        packed: Ids | None = None,
    ) -> None:
        self.packed = packed
        """The members' ids as a record stores them, where they are known already."""
        self.sequence = sequence
        self.flowfiles = flowfiles
        self.size = size
        self.index = index
        self.retries = retries
        self.due = due
        self.since = since

    def split(self, length: int) -> Run:
        """Cut off and return the first `length` flowfiles."""
        flowfiles = self.flowfiles[:length]
        head = self.of(flowfiles, index=self.index)
        self.packed = None
        self.flowfiles = self.flowfiles[length:]
        self.index += length
        self.size -= head.size
        return head

    def of(self, flowfiles: list[FlowFile], *, index: int) -> Run:
        """A run at the same place with other members."""
        size = sum([flowfile.size for flowfile in flowfiles])
        return Run(
            self.sequence,
            flowfiles,
            size,
            index=index,
            retries=self.retries,
            due=self.due,
            since=self.since,
        )


class Queue:
    """A queue without prioritizers: order of the records that put flowfiles here."""

    def __init__(self, model: ConnectionModel) -> None:
        self.id = model.id
        self.model = model
        self.count = 0
        """Flowfiles here, those taken by open sessions included."""
        self.size = 0
        """Bytes of their contents."""
        self.available = 0
        """Flowfiles that can be taken (but for durability)."""
        self.destination: Any = None
        """The component that takes from here; None while it is held."""
        self.source: Any = None
        self._runs: deque[Run] = deque()
        self._waiting: list[tuple[float, int, Run]] = []
        self._ticket = count()

    @property
    def is_full(self) -> bool:
        """Back pressure: a limit is reached (NiFi: count or bytes; 0 disables either)."""
        model = self.model
        return (0 < model.max_count <= self.count) or (0 < model.max_bytes <= self.size)

    def is_ready(self, durable: int | None) -> bool:
        """Tell whether `take` would give something; `durable` None: durability does not matter."""
        runs = self._runs
        return bool(runs) and (durable is None or runs[0].sequence <= durable)

    def put(self, run: Run) -> None:
        """Add a run that a commit delivered; runs come in the order of their sequences."""
        length = len(run.flowfiles)
        self.count += length
        self.size += run.size
        self.available += length
        self._runs.append(run)

    def put_waiting(self, run: Run, at: float) -> None:
        """Add a run that must wait until `at`."""
        self.count += len(run.flowfiles)
        self.size += run.size
        heapq.heappush(self._waiting, (at, next(self._ticket), run))

    def take(self, limit: int, durable: int | None) -> list[Run]:
        """Remove and return the first runs, at most `limit` flowfiles; they stay counted."""
        taken: list[Run] = []
        runs = self._runs
        while runs and limit:
            run = runs[0]
            if durable is not None and run.sequence > durable:
                break
            length = len(run.flowfiles)
            if length <= limit:
                runs.popleft()
                limit -= length
            else:
                run = self._cut(limit)
                length = limit
                limit = 0
            self.available -= length
            taken.append(run)
        return taken

    def _cut(self, length: int) -> Run:
        # A run of thousands that is taken one by one would be copied thousands of times; so the
        # head run is first cut into pieces of bounded length.
        run = self._runs[0]
        if len(run.flowfiles) > 4 * length + 256:
            piece = run.split(length * 4 + 128)
            self._runs.appendleft(piece)
            run = piece
        return run.split(length)

    def settle(self, count: int, size: int) -> None:
        """A commit moved or ended so many that were taken."""
        self.count -= count
        self.size -= size

    def give_back(self, runs: Iterable[Run]) -> None:
        """Return taken runs to their places."""
        returned = sorted(runs, key=_place)
        if not returned:
            return
        self.available += sum(len(run.flowfiles) for run in returned)
        if not self._runs or _place(returned[-1]) < _place(self._runs[0]):
            self._runs.extendleft(reversed(returned))
        else:
            self._runs = deque(heapq.merge(returned, self._runs, key=_place))

    def give_back_waiting(self, run: Run, at: float) -> None:
        """Return a taken run that must wait until `at`."""
        heapq.heappush(self._waiting, (at, next(self._ticket), run))

    def due_times(self) -> list[float]:
        """Return when the waiting runs are due."""
        return [at for at, _, _ in self._waiting]

    def admit_due(self, now: float) -> bool:
        """Let runs whose time has come re-enter; tell whether any did."""
        admitted = False
        while self._waiting and self._waiting[0][0] <= now:
            run = heapq.heappop(self._waiting)[2]
            run.due = run.since = 0
            if self._runs:
                # Behind what is there: the place in the log was the one before the wait.
                last = self._runs[-1]
                if _place(run) < _place(last):
                    run.sequence = last.sequence
                    run.index = last.index + len(last.flowfiles)
            self.available += len(run.flowfiles)
            self._runs.append(run)
            admitted = True
        return admitted

    def runs(self) -> list[Run]:
        """Return all runs that lie here, waiting ones last; taken ones are not among them."""
        return [*self._runs, *self._waiting_runs()]

    def _waiting_runs(self) -> Iterator[Run]:
        return (run for _, _, run in sorted(self._waiting, key=lambda entry: entry[:2]))

    def clear(self) -> list[Run]:
        """Remove and return all that lies here (taken flowfiles stay counted)."""
        removed = self.runs()
        self._runs.clear()
        self._waiting.clear()
        self.available = 0
        for run in removed:
            self.count -= len(run.flowfiles)
            self.size -= run.size
        return removed

    def take_waiting(self) -> list[tuple[float, Run]]:
        """Remove and return the waiting runs with their times; they are no longer counted."""
        waiting = [(at, run) for at, _, run in sorted(self._waiting, key=lambda e: e[:2])]
        self._waiting.clear()
        for _, run in waiting:
            self.count -= len(run.flowfiles)
            self.size -= run.size
        return waiting


class PrioritizedQueue(Queue):
    """A queue that hands out the least by a key, evaluated once, on entry.

    For a destination that waits for durability, flowfiles whose record is not durable yet stay
    in arrival order until it is, so that the least among the durable ones is next.
    """

    def __init__(self, model: ConnectionModel, key: PriorityKey) -> None:
        super().__init__(model)
        self._key = key
        # The id decides last, because flowfiles themselves have no order.
        self._heap: list[tuple[Any, int, int, int, FlowFile, int]] = []

    def is_ready(self, durable: int | None) -> bool:
        self._sort_in(durable)
        return bool(self._heap)

    def take(self, limit: int, durable: int | None) -> list[Run]:
        self._sort_in(durable)
        taken: list[Run] = []
        while self._heap and len(taken) < limit:
            _, sequence, index, _, flowfile, retries = heapq.heappop(self._heap)
            taken.append(Run(sequence, [flowfile], flowfile.size, index=index, retries=retries))
        self.available -= len(taken)
        return taken

    def runs(self) -> list[Run]:
        entries = list(self._heap)
        for run in self._runs:
            entries += self._entries(run)
        ordered = [
            Run(sequence, [flowfile], flowfile.size, index=index, retries=retries)
            for _, sequence, index, _, flowfile, retries in sorted(entries)
        ]
        return [*ordered, *self._waiting_runs()]

    def clear(self) -> list[Run]:
        removed = super().clear()
        self._heap.clear()
        return removed

    def _sort_in(self, durable: int | None) -> None:
        runs = self._runs
        while runs and (durable is None or runs[0].sequence <= durable):
            entries = self._entries(runs[0])
            runs.popleft()
            for entry in entries:
                heapq.heappush(self._heap, entry)

    def _entries(self, run: Run) -> list[tuple[Any, int, int, int, FlowFile, int]]:
        sequence, retries, key = run.sequence, run.retries, self._key
        return [
            (key(flowfile, sequence, index), sequence, index, flowfile.id, flowfile, retries)
            for index, flowfile in enumerate(run.flowfiles, run.index)
        ]


def _place(run: Run) -> tuple[int, int]:
    return run.sequence, run.index


def flowfiles_in(queue: Queue) -> Iterator[FlowFile]:
    """Yield what lies in a queue in the order of taking, then what waits."""
    for run in queue.runs():
        yield from run.flowfiles
