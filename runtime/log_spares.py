"""Files of zeros made ahead, because a sync of bytes that lie inside a file costs less.

Two spares are kept: the next log file and the *ballast*. The ballast is what a full disk leaves
to stop, recover and repair with: it becomes a log file when nothing else is left, so those need
no free space. Filling an empty place begins with the ballast: with one spare alone
`next_ready` is False.

A spare is filled under `spare-n.part`, synced, renamed, and the directory synced, hence a file
named `spare-n` is all zeros and complete. Nothing is written to it under that name.

When the disk refuses, `blocked` holds the error and filling is tried again once a second and
when `retry` says that room was made. With `background` False there is no thread: spares are
made when one is taken.
"""

import errno
import threading
from pathlib import Path
from typing import Final, final

from runtime.clock import Clock
from runtime.disk import Disk

SPARES: Final = ("spare-1", "spare-2")
RETRY_SECONDS: Final = 1.0
_PART_SUFFIX: Final = ".part"
# Synced every 8 MiB: one sync of 64 MiB would hold up the committer's syncs behind it.
_CHUNK_BYTES: Final = 2**20
_SYNC_BYTES: Final = 8 * 2**20


@final
class Spares:
    """Keeps the spares filled; `take` is the committer's, the rest any thread's."""

    def __init__(
        self, directory: Path, *, disk: Disk, clock: Clock, file_bytes: int, background: bool
    ) -> None:
        self._directory = directory
        self._disk = disk
        self._clock = clock
        self._file_bytes = file_bytes
        self._condition = threading.Condition()
        self._closing = False
        self.blocked: OSError | None = None
        self._ready = self._adopt()
        self._thread: threading.Thread | None = None
        if background:
            self._thread = threading.Thread(target=self._run, name="log spares", daemon=True)
            self._thread.start()

    @property
    def next_ready(self) -> bool:
        """Whether a file is ready besides the ballast."""
        return len(self._ready) == len(SPARES)

    def _adopt(self) -> list[str]:
        ready = []
        for name in self._disk.names(self._directory):
            path = self._directory / name
            if name.removesuffix(_PART_SUFFIX) not in SPARES:
                continue
            if name in SPARES and self._size(path) == self._file_bytes:
                ready.append(name)
            else:
                self._disk.remove(path)
        return ready

    def _size(self, path: Path) -> int:
        file = self._disk.open(path)
        try:
            return file.size()
        finally:
            file.close()

    def take(self, target: Path) -> None:
        """Turn a spare into the file `target`, its name synced; the ballast if it must be.

        Waits for the thread when no spare is ready, which happens at a first start; OSError when
        the disk refuses to hold another.
        """
        with self._condition:
            while not self._ready:
                self._wait_for_spare()
            self._disk.rename(self._directory / self._ready[-1], target)
            self._ready.pop()
            self._disk.sync_directory(self._directory)
        self.retry()

    def _wait_for_spare(self) -> None:
        if self._thread is None:
            self._fill_missing()
        if self._ready:
            return
        if self.blocked is not None:
            raise self.blocked
        self._condition.notify_all()
        self._condition.wait()

    def retry(self) -> None:
        """Fill what is missing, now that there may be room."""
        with self._condition:
            self._condition.notify_all()
        if self._thread is None:
            self._fill_missing()

    def close(self) -> None:
        """Stop the thread; spares stay for the next start."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closing:
            self._fill_missing()
            with self._condition:
                self._condition.notify_all()
                if self._closing:
                    return
                if self.blocked is not None:
                    self._clock.wait(self._condition, RETRY_SECONDS)
                elif self.next_ready:
                    self._condition.wait()

    def _fill_missing(self) -> None:
        # Without the lock: `take` must not wait for 64 MiB while another spare is ready.
        for name in SPARES:
            if name in self._ready:
                continue
            try:
                self._fill(name)
            except OSError as error:
                self.blocked = error
                return
            with self._condition:
                self._ready.append(name)
                self._condition.notify_all()
        self.blocked = None

    def _fill(self, name: str) -> None:
        part = self._directory / (name + _PART_SUFFIX)
        if self._disk.exists(part):
            self._disk.remove(part)
        try:
            self._write_zeros(part)
        except OSError:
            self._disk.remove(part)
            raise
        self._disk.rename(part, self._directory / name)
        self._disk.sync_directory(self._directory)

    def _write_zeros(self, path: Path) -> None:
        file = self._disk.create(path)
        try:
            for offset in range(0, self._file_bytes, _CHUNK_BYTES):
                if self._closing:
                    raise InterruptedError(errno.EINTR, "the log closes", str(path))
                size = min(_CHUNK_BYTES, self._file_bytes - offset)
                file.write(bytes(size), offset)
                if (offset + size) % _SYNC_BYTES == 0:
                    file.sync()
            file.sync()
        finally:
            file.close()
