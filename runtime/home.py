"""A node's directory: who holds it, who it is, and where things lie.

    <home>/lock              held (flock) by the running node
    <home>/node.json         identity: 48 random bits, a start counter that only grows
    <home>/settings.yaml     what the user set
    <home>/secret.key        0600, encrypts sensitive values
    <home>/log, content, checkpoints, state, provenance, extensions

The start counter is raised and synced before the first session of a start, so no flowfile id is
ever given twice. When the home was copied (the directory's device and inode differ from
the ones noted), new random bits are drawn first.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
from pathlib import Path
from typing import Final

import msgspec

from runtime.flowfile import HOME_BITS, START_BITS, Identity

NODE_FILE: Final = "node.json"
LOCK_TRIES: Final = 5


class HomeError(RuntimeError):
    """A home that cannot be used; the message names it and the remedy."""


class NodeFile(msgspec.Struct, omit_defaults=True):
    """What `node.json` holds. `formerly` are the home bits of older starts: see `Identity`."""

    home: int
    start: int
    device: int = 0
    inode: int = 0
    formerly: list[tuple[int, int]] = []
    version: int = 1


class Home:
    """An opened home; `close` gives it free."""

    def __init__(self, path: Path) -> None:
        """Open and lock the home, creating it when missing.

        Raises:
            HomeError: another node runs on it, or it is not writable, or not a home.
        """
        self.path = path.absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HomeError(
                f"The home {self.path} cannot be used: {error.strerror}. Choose another one with "
                "--home"
            ) from error
        self._take_lock()
        try:
            self.node = self._begin()
        except BaseException:
            self.close()
            raise
        self.identity = Identity(self.node.home, self.node.formerly)

    @property
    def log_home(self) -> int:
        """The bits that log and checkpoints carry: those of the home's first life."""
        return self.node.formerly[0][0] if self.node.formerly else self.node.home

    @property
    def start(self) -> int:
        """The number of this start; part of every flowfile id."""
        return self.node.start

    def directory(self, name: str) -> Path:
        """Return the path of a part of the home."""
        return self.path / name

    def close(self) -> None:
        """Give the home free; a second call does nothing."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _take_lock(self) -> None:
        try:
            self._try_lock()
        except OSError as error:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._lock)
            raise HomeError(
                f"A node (process {holder}) runs on the home {self.path} already. Stop it first, "
                "or choose another home with --home"
            ) from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def _try_lock(self) -> None:
        # Who only asks whether a node runs holds the lock for an instant (`is_running`).
        pause = threading.Event()
        for _ in range(LOCK_TRIES - 1):
            try:
                return fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pause.wait(0.02)
        return fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _begin(self) -> NodeFile:
        path = self.path / NODE_FILE
        place = os.stat(self.path)
        if not path.exists():
            if (self.path / "log").exists():
                raise HomeError(
                    f"{path} is missing, but there is a log beside it: this is a damaged or "
                    "incomplete copy of a home. Restore node.json from the original"
                )
            node = NodeFile(secrets.randbits(HOME_BITS), 0)
        else:
            node = read_node_file(self.path)
            if (node.device, node.inode) != (place.st_dev, place.st_ino):
                node.formerly.append((node.home, node.start))
                node.home = secrets.randbits(HOME_BITS)
        node.device, node.inode = place.st_dev, place.st_ino
        node.start += 1
        if node.start >= 1 << START_BITS:
            raise HomeError(
                f"The home {self.path} was started {node.start - 1:,} times, which uses up its "
                "flowfile ids. Let its flow run empty and go on in a new home"
            )
        _write_synced(path, msgspec.json.encode(node))
        return node


def read_node_file(home: Path) -> NodeFile:
    """Read a home's identity without opening it.

    Raises:
        HomeError: there is no home, or its identity is damaged.
    """
    path = home / NODE_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=NodeFile)
    except FileNotFoundError:
        raise HomeError(
            f"{home} is no home of a node. Name one with --home, or start one with levada up"
        ) from None
    except msgspec.MsgspecError as error:
        raise HomeError(
            f"{path} is damaged ({error}). Restore it from a copy of this home"
        ) from error


def is_running(home: Path) -> bool:
    """Tell whether a node holds the home."""
    try:
        descriptor = os.open(home / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _write_synced(path: Path, data: bytes) -> None:
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(fresh, path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
