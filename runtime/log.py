"""The commit log: one queue, one committer thread, one sync for all that gathered.

Who runs what:

    session, under the commit lock   append: fixes the sequence, never waits
    session, before the commit lock  wait_for_room: waits while the queue is full
    committer                        takes what is queued, writes, syncs, publishes `durable`
    anybody                          when_durable, wait_durable, sync, files, room, drop

Life of a record: *queued* by `append`; *written* as part of a group; *synced* together with the
content files that were named with it; then published: `durable` rises, waiting threads wake once
a group, callbacks go as one list to `dispatch`, `on_durable` is told.

When the committer syncs: at once when somebody waits (`urgent`, `when_durable`, `wait_durable`,
`request_sync`, `sync`) or the queue is half full, else `gather_seconds` after the first record,
so that lone records do not each cost a sector and a sync. An empty queue costs no CPU: the
committer sleeps without a timeout, except for the one sync of the mark after the last group.

    mode      `durable` means            real syncs
    group     synced                     each time the committer writes
    always    synced; nothing gathers    the same
    never     written (outlives a kill   at `sync`, when a file is full, at `close`
              of the process only)

`synced` is the same as `durable` but in mode never. Content files named as `dirty` stay open
until a record that names them is synced.

Failure: the first write or sync that fails ends the log for good. `on_failure` is told once,
records beyond `durable` are never acknowledged, their callbacks never run, and every later
append or wait raises LogFailedError. Nothing is tried again: see runtime/log_writer.py.

A full disk: `room` says early that sources, later that all triggers, have to stop. What still
commits has the rest of the file and the ballast; only a log that fills both fails.

With `background` False there are no threads: whoever waits, or calls `request_sync`, does the
committer's work; all calls come from one thread. Simulations and exhaustive fault tests use it.
The queue is a list that the committer shortens from the front by slices, each one atomic step,
so that `append` needs no lock of its own: 0.4 us, seven times a bare list append.
"""

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, final

from runtime.clock import Clock
from runtime.disk import Disk, File
from runtime.log_files import LogFile
from runtime.log_format import RECORD_BYTES_MAX, LogEnd
from runtime.log_writer import LogWriter

Mode = Literal["group", "always", "never"]
Callback = Callable[[], None]

# Bounds how long an acknowledgement waits behind a full queue: a million small records a second
# go through the committer, so 50,000 take some 50 ms. A record weighs at least one.
QUEUE_FLOWFILES_MAX: Final = 50_000
QUEUE_BYTES_MAX: Final = 32 * 2**20

_BUSY: Final = 0
_GATHERING: Final = 1
_IDLE: Final = 2


class LogFailedError(Exception):
    """The log takes and acknowledges nothing more."""


class RecordTooLargeError(Exception):
    """A record is larger than the log can hold; it got no sequence."""


@dataclass(frozen=True, slots=True)
class LogRoom:
    """How much the log can still take.

    `next_ready`: a file is ready besides the ballast. `left_bytes` of `file_bytes` are free in
    the current file. `blocked`: why the disk refuses another file; None while it does not.
    """

    next_ready: bool
    left_bytes: int
    file_bytes: int
    blocked: OSError | None

    @property
    def sources_stop(self) -> bool:
        """Whether nothing new may come in: no next file although one is refused or due."""
        due = self.left_bytes * 2 < self.file_bytes
        return not self.next_ready and (due or self.blocked is not None)

    @property
    def triggers_stop(self) -> bool:
        """Whether all triggers have to stop: no next file and a quarter of this one left."""
        return not self.next_ready and self.left_bytes * 4 < self.file_bytes


@final
class Log:
    """The commit log of a running node. Public methods may be called from any thread.

    `append` calls must not overlap each other (the commit lock sees to it). `start` is the end
    that settling the reading returned, `LOG_START` for a new home. `dispatch` takes a list of
    callbacks and hands it to a worker, in order, without running or waiting for it: it is
    called with the log's lock held. `on_durable` and `on_failure` run on the committer and have
    to be short. Raises LogStartError when the mark does not fit `start`, OSError when the disk
    has no room for a file.
    """

    def __init__(
        self,
        directory: Path,
        *,
        disk: Disk,
        clock: Clock,
        home: int,
        start: LogEnd,
        dispatch: Callable[[list[Callback]], None],
        on_durable: Callable[[int], None],
        on_failure: Callable[[BaseException], None],
        mode: Mode = "group",
        file_bytes: int = 64 * 2**20,
        gather_seconds: float = 0.02,
        background: bool = True,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._mode = mode
        self._gather_seconds = 0.0 if mode == "always" else gather_seconds
        self._dispatch = dispatch
        self._on_durable = on_durable
        self._on_failure = on_failure
        self._writer = LogWriter(
            directory,
            disk=disk,
            clock=clock,
            home=home,
            start=start,
            file_bytes=file_bytes,
            background=background,
        )
        self._record_bytes_max = min(RECORD_BYTES_MAX, self._writer.record_bytes_max)

        self._begin_queue(start.sequence)
        self._begin_waiting(start.sequence)
        self._thread: threading.Thread | None = None
        if background:
            self._thread = threading.Thread(target=self._run, name="log committer", daemon=True)
            self._thread.start()

    def _begin_queue(self, sequence: int) -> None:
        # Written by append only, read by the committer.
        self._records: list[bytes] = []
        self._dirty: deque[tuple[int, Sequence[File]]] = deque()
        self._appended = sequence
        self._appended_bytes = 0
        self._appended_weight = 0
        self._weights: list[int] = []
        # Written by the committer only. Differences to the above are the queue's fill, so that
        # neither side ever updates the other's counter.
        self._taken = sequence
        self._taken_bytes = 0
        self._taken_weight = 0
        self._wake_bytes = QUEUE_BYTES_MAX // 2
        self._wake_weight = QUEUE_FLOWFILES_MAX // 2
        self._state = _BUSY
        self._mark_is_due = False
        self.durable = sequence
        self._end = self._writer.written if self._mode == "never" else self._writer.synced

    def _begin_waiting(self, sequence: int) -> None:
        # Guarded by the lock. `_work` wakes the committer, `_done` everybody else.
        self._lock = threading.RLock()
        self._work = threading.Condition(self._lock)
        self._done = threading.Condition(self._lock)
        self._urgent = sequence
        self._callbacks: list[tuple[int, int, Callback]] = []
        self._callback_numbers = itertools.count()
        self._syncs_wanted = 0
        self._syncs_done = 0
        self._closing = False
        self._refusal: str | None = None
        self._cause: BaseException | None = None

    @property
    def synced(self) -> int:
        """The last sequence that survives a power loss, in every mode."""
        return self._writer.synced.sequence

    def append(
        self,
        record: bytes,
        *,
        dirty: Sequence[File] = (),
        urgent: bool = False,
        flowfiles: int = 0,
    ) -> int:
        """Queue a record and return its sequence, without waiting.

        `dirty` are the content files to sync before it counts as synced, `flowfiles` how many
        flowfiles it concerns, `urgent` says that somebody waits. Raises RecordTooLargeError or
        LogFailedError before a sequence is given.
        """
        if self._refusal is not None:
            raise self._refused()
        size = len(record)
        if size > self._record_bytes_max:
            raise RecordTooLargeError(
                f"A record of {size:,} bytes is larger than the {self._record_bytes_max:,} bytes "
                "that the log holds in one group. Let the session take or create fewer flowfiles."
            )
        self._appended = sequence = self._appended + 1
        self._appended_bytes = queued_bytes = self._appended_bytes + size
        weight = flowfiles or 1
        self._appended_weight = queued_weight = self._appended_weight + weight
        self._weights.append(weight)
        if dirty:
            self._dirty.append((sequence, dirty))
        # Last: from here on the committer may take it.
        self._records.append(record)
        if urgent:
            self._hurry(sequence)
        elif self._state and (
            self._state == _IDLE
            or queued_bytes >= self._wake_bytes
            or queued_weight >= self._wake_weight
        ):
            self._wake()
        return sequence

    def _is_full(self) -> bool:
        return (
            self._appended_weight - self._taken_weight >= QUEUE_FLOWFILES_MAX
            or self._appended_bytes - self._taken_bytes >= QUEUE_BYTES_MAX
        )

    def _hurry(self, sequence: int) -> None:
        with self._lock:
            if sequence > self._urgent:
                self._urgent = sequence
                self._work.notify()

    def _wake(self) -> None:
        with self._lock:
            self._work.notify()

    def _refused(self) -> LogFailedError:
        error = LogFailedError(self._refusal)
        error.__cause__ = self._cause
        return error

    def wait_for_room(self) -> None:
        """Wait while the queue is full; called before the commit lock is taken."""
        if self._refusal is None and not self._is_full():
            return
        with self._lock:
            while self._refusal is None and self._is_full():
                self._work.notify()
                self._wait(None)
            if self._refusal is not None:
                raise self._refused()

    def _wait(self, seconds: float | None) -> bool:
        """Wait for the next publication; False when it is no use to wait on.

        Without threads this does the committer's work, and there is nothing else to wait for.
        """
        if self._thread is None:
            self._commit_inline()
            return False
        if seconds is None:
            return self._done.wait()
        return self._clock.wait(self._done, seconds)

    def when_durable(self, sequence: int, callback: Callback) -> None:
        """Hand `callback` to `dispatch` once `sequence` is durable, at once if it is.

        Callbacks are handed over in the order of their sequences. They are lost when the log
        fails or the process ends first. Raises LogFailedError when the log has failed before.
        """
        with self._lock:
            if sequence <= self.durable:
                self._dispatch([callback])
                return
            if self._refusal is not None:
                raise self._refused()
            entry = (sequence, next(self._callback_numbers), callback)
            heapq.heappush(self._callbacks, entry)
            self._hurry(sequence)

    def request_sync(self) -> None:
        """Let the committer take what is queued now instead of gathering more."""
        if self._thread is None:
            self._commit_inline()
        else:
            self._hurry(self._appended)

    def wait_durable(self, sequence: int, timeout: float | None = None) -> bool:
        """Wait until `sequence` is durable; False when `timeout` seconds pass first.

        Raises LogFailedError when the log fails before.
        """
        if sequence <= self.durable:
            return True
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        with self._lock:
            self._hurry(sequence)
            while self.durable < sequence and self._refusal is None:
                left = None if deadline is None else deadline - self._clock.monotonic()
                if (left is not None and left <= 0) or not self._wait(left):
                    break
            if self.durable < sequence and self._refusal is not None:
                raise self._refused()
            return self.durable >= sequence

    def sync(self) -> int:
        """Write and really sync all that is appended and the mark; return what is durable."""
        with self._lock:
            self._syncs_wanted += 1
            wanted = self._syncs_wanted
            self._work.notify()
            while self._syncs_done < wanted:
                if self._refusal is not None:
                    raise self._refused()
                self._wait(None)
        return self.durable

    def end(self) -> LogEnd:
        """Return the end of what is durable, for a checkpoint or a peer."""
        return self._end

    def files(self) -> list[LogFile]:
        """Return the files of the log, oldest first."""
        return list(self._writer.files)

    def drop(self, before_sequence: int) -> list[LogFile]:
        """Remove closed files whose records all lie before `before_sequence`; return them."""
        dropped = self._writer.files.drop(before_sequence)
        if dropped:
            self._writer.spares.retry()
        return dropped

    def room(self) -> LogRoom:
        """Return how much the log can take before it needs more of the disk."""
        writer = self._writer
        return LogRoom(
            next_ready=writer.spares.next_ready,
            left_bytes=writer.file_bytes - writer.written.offset,
            file_bytes=writer.file_bytes,
            blocked=writer.spares.blocked,
        )

    def close(self) -> None:
        """Write, sync and mark all that is appended, end the file, stop the threads.

        A second call does nothing; after a failure it only releases what is open. Raises
        LogFailedError when this last sync fails.
        """
        already_refused = self._refusal is not None
        with self._lock:
            self._closing = True
            self._work.notify()
        if self._thread is not None:
            self._thread.join()
        elif not already_refused:
            self._run()
        if self._cause is not None and not already_refused:
            raise self._refused()

    def _run(self) -> None:
        try:
            while self._gather():
                self._commit_pass()
            self._commit_pass()
            self._writer.close()
            self._refuse(f"The log in {self._directory} is closed and takes no more records.")
        except BaseException as error:
            self._fail(error)

    def _commit_inline(self) -> None:
        try:
            self._commit_pass()
        except BaseException as error:
            self._fail(error)

    def _gather(self) -> bool:
        """Wait until there is a reason to write or sync; False when the log closes."""
        with self._lock:
            self._state = _IDLE
            while not (self._records or self._syncs_wanted > self._syncs_done or self._closing):
                seconds = self._writer.mark_seconds()
                if seconds is None:
                    self._work.wait()
                elif not self._clock.wait(self._work, seconds):
                    self._mark_is_due = True
                    break
            self._state = _GATHERING
            deadline = self._clock.monotonic() + self._gather_seconds
            while self._records and not self._must_write():
                left = deadline - self._clock.monotonic()
                if left <= 0 or not self._clock.wait(self._work, left):
                    break
            self._state = _BUSY
            return not self._closing

    def _must_write(self) -> bool:
        return (
            self._urgent > self._taken
            or self._syncs_wanted > self._syncs_done
            or self._closing
            or self._appended_bytes >= self._wake_bytes
            or self._appended_weight >= self._wake_weight
        )

    def _commit_pass(self) -> None:
        """Write and sync what is queued, publish it, and sync the mark when that is due."""
        wanted = self._syncs_wanted
        writer = self._writer
        records = self._take()
        if records:
            writer.write(records)
        really = wanted > self._syncs_done
        if really or (records and self._mode != "never"):
            writer.sync()
        if records or really:
            self._publish(writer.written if self._mode == "never" else writer.synced)
        if really or self._mark_is_due or writer.mark_seconds() == 0.0:
            writer.settle_mark()
            self._mark_is_due = False
        if really:
            with self._lock:
                self._syncs_done = wanted
                self._done.notify_all()

    def _take(self) -> list[bytes]:
        count = len(self._records)
        records = self._records[:count]
        del self._records[:count]
        self._taken = last = self._taken + count
        self._taken_bytes += sum(map(len, records))
        self._taken_weight += sum(self._weights[:count])
        del self._weights[:count]
        self._wake_bytes = self._taken_bytes + QUEUE_BYTES_MAX // 2
        self._wake_weight = self._taken_weight + QUEUE_FLOWFILES_MAX // 2
        while self._dirty and self._dirty[0][0] <= last:
            self._writer.add_dirty(self._dirty.popleft()[1])
        return records

    def _publish(self, end: LogEnd) -> None:
        with self._lock:
            self._end = end
            self.durable = end.sequence
            ready = []
            while self._callbacks and self._callbacks[0][0] <= end.sequence:
                ready.append(heapq.heappop(self._callbacks)[2])
            if ready:
                self._dispatch(ready)
            self._done.notify_all()
        self._on_durable(end.sequence)

    def _refuse(self, sentence: str, cause: BaseException | None = None) -> None:
        with self._lock:
            self._refusal = sentence
            self._cause = cause
            self._callbacks.clear()
            self._done.notify_all()

    def _fail(self, error: BaseException) -> None:
        if self._refusal is not None:
            return
        self._refuse(
            f"The log in {self._directory} stopped after record {self.durable}: {error}. Nothing "
            "later is acknowledged; start the node again, so that it recovers from the disk.",
            error,
        )
        self._writer.abandon()
        self._on_failure(error)
