"""A disk in memory that can lose power: for `TestRunner`, property tests and simulation."""

import errno
import os
import threading
from pathlib import Path


class MemoryFile:
    """A file whose synced image is kept beside its current one."""

    def __init__(self, disk: "MemoryDisk", path: Path) -> None:
        self._disk = disk
        self.path = path
        self.data = bytearray()
        self.synced = bytearray()
        # Writes as (offset, bytes), truncations as (size, None): a sync applies them to the
        # synced image instead of copying the file, which may be 64 MiB long.
        self.pending: list[tuple[int, bytes | None]] = []

    @property
    def dirty(self) -> bool:
        """Whether a sync would change the synced image."""
        return bool(self.pending)

    def write(self, data: bytes | bytearray | memoryview, offset: int) -> None:
        with self._disk.lock:
            self._disk.before("write", self.path, len(data))
            self._disk._check_room(self.path, offset + len(data) - len(self.data))
            self.pending.append((offset, bytes(data)))
            apply(self.data, *self.pending[-1])

    def read(self, length: int, offset: int) -> bytes:
        self._disk.before("read", self.path, length)
        return bytes(self.data[offset : offset + length])

    def size(self) -> int:
        return len(self.data)

    def truncate(self, size: int) -> None:
        with self._disk.lock:
            self._disk.before("truncate", self.path, size)
            self.pending.append((size, None))
            apply(self.data, size, None)

    def sync(self) -> None:
        with self._disk.lock:
            self._disk.before("sync", self.path, 0)
            for offset, data in self.pending:
                apply(self.synced, offset, data)
            self.pending.clear()

    def close(self) -> None:
        """A file in memory has nothing to release."""


def apply(image: bytearray, offset: int, data: bytes | None) -> None:
    """Write `data` at `offset`; cut or extend to `offset` when it is None."""
    end = offset if data is None else offset + len(data)
    if end > len(image):
        image.extend(bytes(end - len(image)))
    if data is None:
        del image[offset:]
    else:
        image[offset:end] = data


class MemoryDisk:
    """Files and directories in a dictionary.

    Override `before` to fail, stall or stop at any operation. After `lose_power` only what was
    synced remains: file contents by `File.sync`, names by `sync_directory`.
    """

    def __init__(self, capacity_bytes: int = 1 << 40) -> None:
        self.lock = threading.RLock()
        self.files: dict[Path, MemoryFile] = {}
        self._synced_names: dict[Path, MemoryFile] = {}
        self.capacity_bytes = capacity_bytes

    def before(self, operation: str, path: Path, size: int) -> None:
        """Run ahead of each operation; raising fails it."""

    def _check_room(self, path: Path, growth: int) -> None:
        """Raise ENOSPC when a file cannot grow by so much; overwriting needs no room."""
        if growth > 0 and self.free_bytes(path) < growth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def create(self, path: Path) -> MemoryFile:
        with self.lock:
            self.before("create", path, 0)
            if path in self.files:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            file = self.files[path] = MemoryFile(self, path)
            return file

    def open(self, path: Path) -> MemoryFile:
        self.before("open", path, 0)
        try:
            return self.files[path]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None

    def names(self, directory: Path) -> list[str]:
        return sorted(path.name for path in list(self.files) if path.parent == directory)

    def exists(self, path: Path) -> bool:
        return path in self.files

    def rename(self, source: Path, target: Path) -> None:
        with self.lock:
            self.before("rename", target, 0)
            if source not in self.files:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
            self.files[target] = self.files.pop(source)

    def remove(self, path: Path) -> None:
        with self.lock:
            self.before("remove", path, 0)
            if self.files.pop(path, None) is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))

    def make_directory(self, path: Path) -> None:
        """A directory exists as soon as a file lies in it."""

    def sync_directory(self, path: Path) -> None:
        with self.lock:
            self.before("sync", path, 0)
            kept = {name: file for name, file in self._synced_names.items() if name.parent != path}
            now = {name: file for name, file in self.files.items() if name.parent == path}
            self._synced_names = kept | now

    def free_bytes(self, path: Path) -> int:
        return self.capacity_bytes - sum(len(file.data) for file in list(self.files.values()))

    def total_bytes(self, path: Path) -> int:
        return self.capacity_bytes

    def lose_power(self) -> None:
        """Forget everything that was not synced."""
        with self.lock:
            self.files = dict(self._synced_names)
            for file in self.files.values():
                file.data = bytearray(file.synced)
                file.pending.clear()
