"""Keyed state of processors: what is too large for the small state of a component.

The commit log is the write-ahead log of this store: a commit's keys are visible at once from
memory, and `apply` moves those of durable records into RocksDB, in sequence order, each batch with
the sequence that it brings the store to. RocksDB's own log is off: after a crash the store is at
some applied sequence, and recovery puts the rest again from the commit log. A store that does not
open, or that is ahead of the log, is set aside and read out key by key into a new one.

The store is opened at its first use; most flows never need it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

APPLIED_KEY: Final = b"\x00applied"


class Store(Protocol):
    """Bytes by key, written in batches."""

    def get(self, key: bytes) -> bytes | None: ...

    def write(self, changes: Mapping[bytes, bytes | None]) -> None: ...

    def items(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class MemoryStore:
    """A store for tests and `TestRunner`."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self._values.pop(key, None)
            else:
                self._values[key] = value

    def items(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key in sorted(self._values):
            if key.startswith(prefix):
                yield key, self._values[key]

    def flush(self) -> None:
        """Nothing is buffered."""

    def close(self) -> None:
        """Nothing is open."""


class RocksStore:
    """A store in a RocksDB directory, without RocksDB's own write-ahead log."""

    def __init__(self, directory: Path) -> None:
        from rocksdict import Rdict, WriteOptions

        self._rocks = Rdict(str(directory), options=_options())
        self._unlogged = WriteOptions()
        # The library's type says method; it is a setter.
        setattr(self._unlogged, "disable_wal", True)  # noqa: B010  # as above

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._rocks.get(key)
        return value

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        from rocksdict import WriteBatch

        batch = WriteBatch(raw_mode=True)
        for key, value in changes.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        self._rocks.write(batch, write_opt=self._unlogged)

    def items(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        items: Iterator[tuple[Any, Any]] = self._rocks.items(from_key=prefix)
        for key, value in items:
            if not key.startswith(prefix):
                return
            yield key, value

    def flush(self) -> None:
        self._rocks.flush(True)

    def close(self) -> None:
        self._rocks.close()


def _options() -> Any:
    from rocksdict import Options

    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(16 * 2**20)
    return options


class KeyedState:
    """See the module. Safe to call from any thread; `directory` None keeps it in memory."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._pending: deque[tuple[int, int, Mapping[str, bytes | None]]] = deque()
        self._overlay: dict[tuple[int, str], tuple[int, bytes | None]] = {}
        self.problems: list[str] = []
        """What was wrong with the store when it was opened, for a bulletin."""
        self.is_doubtful = False
        """It was read out of a damaged one: keys of records before `applied` may be missing."""
        if directory is None:
            self._store = MemoryStore()
        elif directory.exists():
            self._open()

    @property
    def applied(self) -> int:
        """The sequence of the last record whose keys are in the store (0: none)."""
        if self._store is None:
            return 0
        return int.from_bytes(self._store.get(APPLIED_KEY) or b"")

    @property
    def has_pending(self) -> bool:
        """Whether keys wait to be moved into the store."""
        return bool(self._pending)

    def put(self, component: int, changes: Mapping[str, bytes | None], sequence: int) -> None:
        """Make a commit's keys visible; they reach the store once its record is durable."""
        with self._lock:
            self._pending.append((sequence, component, changes))
            for key, value in changes.items():
                self._overlay[component, key] = (sequence, value)

    def read(self, component: int, key: str) -> bytes | None:
        """Return a key's newest value; None when it is absent."""
        with self._lock:
            entry = self._overlay.get((component, key))
            if entry is not None:
                return entry[1]
            return self._store.get(_stored(component, key)) if self._store else None

    def items(self, component: int) -> dict[str, bytes]:
        """Return all keys of a component."""
        prefix = _stored(component, "")
        with self._lock:
            stored = self._store.items(prefix) if self._store else iter(())
            found = {key[len(prefix) :].decode(): value for key, value in stored}
            for (owner, key), (_, value) in self._overlay.items():
                if owner == component and value is not None:
                    found[key] = value
                elif owner == component:
                    found.pop(key, None)
        return found

    def apply(self, durable: int) -> None:
        """Move the keys of durable records into the store."""
        with self._lock:
            batch: dict[bytes, bytes | None] = {}
            applied = 0
            while self._pending and self._pending[0][0] <= durable:
                applied, component, changes = self._pending.popleft()
                for key, value in changes.items():
                    batch[_stored(component, key)] = value
                    if self._overlay.get((component, key), (None,))[0] == applied:
                        del self._overlay[component, key]
            if batch:
                batch[APPLIED_KEY] = applied.to_bytes(8)
                if self._store is None:
                    self._open()
                assert self._store is not None
                self._store.write(batch)

    def check_against(self, log_end: int) -> None:
        """Set the store aside if it is ahead of the log, keeping the keys that it has."""
        if self._directory is not None and self.applied > log_end:
            self.problems.append(
                f"The state store is at record {self.applied}, the log ends at {log_end}: keys "
                "that later records had changed keep those values"
            )
            self._rebuild(log_end)

    def flush(self) -> int:
        """Bring what is applied to the disk; return the sequence that it reaches."""
        with self._lock:
            if self._store is None:
                return 0
            self._store.flush()
        return self.applied

    def close(self) -> None:
        """Close the store; a second call does nothing."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = MemoryStore() if self._directory is None else None

    def _open(self) -> None:
        assert self._directory is not None
        try:
            self._store = RocksStore(self._directory)
        except Exception as error:  # the library has one exception type for everything
            self.problems.append(
                f"The state store {self._directory} does not open ({error}); it was set aside "
                "and what could be read was copied into a new one"
            )
            self.is_doubtful = True
            self._rebuild(None)

    def _rebuild(self, log_end: int | None) -> None:
        assert self._directory is not None
        if self._store is not None:
            self._store.close()
        aside = _free_name(self._directory)
        self._directory.rename(aside)
        rescued = _rescue(aside)
        self._store = RocksStore(self._directory)
        if log_end is not None:
            rescued[APPLIED_KEY] = log_end.to_bytes(8)
        if rescued:
            self._store.write(rescued)
            self._store.flush()


def _stored(component: int, key: str) -> bytes:
    return component.to_bytes(8) + key.encode()


def _free_name(directory: Path) -> Path:
    number = 1
    while (aside := directory.with_name(f"{directory.name}.damaged-{number}")).exists():
        number += 1
    return aside


def _rescue(directory: Path) -> dict[bytes, bytes | None]:
    """Read what a damaged store still gives, after RocksDB's own repair of a copy of it."""
    import shutil

    from rocksdict import Rdict

    copy = directory.with_name(directory.name + ".repaired")
    found: dict[bytes, bytes | None] = {}
    try:
        shutil.copytree(directory, copy)
        # Without them it takes the library's typed keys for granted and drops every file.
        Rdict.repair(str(copy), options=_options())
        store: Any = RocksStore(copy)
        for key, value in store.items(b""):
            found[bytes(key)] = bytes(value)
        store.close()
    except Exception:  # whatever could not be read is named as lost by the caller
        return found
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    return found
