"""Waking a tail when something is written, so that it need not wait for its schedule."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from watchfiles import watch


class FileWatch:
    """A thread that waits for changes in a directory; the operating system tells it.

    Where watching is not possible (a network file system, no more watches to be had) nothing
    wakes, and the schedule alone counts.
    """

    def __init__(
        self,
        directory: str,
        *,
        recursive: bool,
        concerns: Callable[[str], bool],
        wake: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._recursive = recursive
        self._concerns = concerns
        self._wake = wake
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="file watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and return when it has ended."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            for changes in watch(
                self._directory,
                watch_filter=lambda _, path: self._concerns(path),
                stop_event=self._stopping,
                step=100,
                debounce=200,
                recursive=self._recursive,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                if changes:
                    self._wake()
