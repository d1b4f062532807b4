"""The disk as an argument, so that tests can lose power, fail a write or fill it up.

The engine's own files (log, content segments, checkpoints, marks) go through `Disk`.
All offsets and lengths are bytes. Every error of the operating system reaches the caller as
`OSError`: what it means (roll back, stop, fence the node) is the caller's decision.
"""

import os
import shutil
from pathlib import Path
from typing import Protocol, final


class File(Protocol):
    """An open file, read and written by position; safe to read from many threads."""

    def write(self, data: bytes | bytearray | memoryview, offset: int) -> None:
        """Write all of `data` at `offset`."""
        ...

    def read(self, length: int, offset: int) -> bytes:
        """Return up to `length` bytes; fewer only at the end of the file."""
        ...

    def size(self) -> int:
        """Return the file's length."""
        ...

    def truncate(self, size: int) -> None:
        """Cut or extend (with zeros) to `size`."""
        ...

    def sync(self) -> None:
        """Return when data and length are on the disk. A failure is final: never retry."""
        ...

    def close(self) -> None:
        """Close; a second call does nothing."""
        ...


class Disk(Protocol):
    """The operations on paths that the engine needs."""

    def create(self, path: Path) -> File:
        """Create a file for reading and writing; `FileExistsError` when there is one."""
        ...

    def open(self, path: Path) -> File:
        """Open an existing file for reading and writing."""
        ...

    def names(self, directory: Path) -> list[str]:
        """Return the sorted names in a directory; empty when it does not exist."""
        ...

    def exists(self, path: Path) -> bool: ...

    def rename(self, source: Path, target: Path) -> None:
        """Rename, replacing `target`."""
        ...

    def remove(self, path: Path) -> None: ...

    def make_directory(self, path: Path) -> None:
        """Create the directory and its parents where missing."""
        ...

    def sync_directory(self, path: Path) -> None:
        """Return when creations, renames and removals in it are on the disk."""
        ...

    def free_bytes(self, path: Path) -> int: ...

    def total_bytes(self, path: Path) -> int: ...


@final
class SystemFile:
    """A file of the operating system."""

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def write(self, data: bytes | bytearray | memoryview, offset: int) -> None:
        written = os.pwrite(self._descriptor, data, offset)
        while written < len(data):
            written += os.pwrite(self._descriptor, memoryview(data)[written:], offset + written)

    def read(self, length: int, offset: int) -> bytes:
        data = os.pread(self._descriptor, length, offset)
        if len(data) == length or not data:
            return data
        parts = [data]
        remaining = length - len(data)
        while remaining:
            part = os.pread(self._descriptor, remaining, offset + length - remaining)
            if not part:
                break
            parts.append(part)
            remaining -= len(part)
        return b"".join(parts)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def fileno(self) -> int:
        """Return the descriptor, for mmap and sendfile."""
        return self._descriptor

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class SystemDisk:
    """The machine's file system."""

    def create(self, path: Path) -> SystemFile:
        return SystemFile(
            path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        )

    def open(self, path: Path) -> SystemFile:
        return SystemFile(path, os.open(path, os.O_RDWR | os.O_CLOEXEC))

    def names(self, directory: Path) -> list[str]:
        return sorted(os.listdir(directory)) if directory.is_dir() else []

    def exists(self, path: Path) -> bool:
        return path.exists()

    def rename(self, source: Path, target: Path) -> None:
        os.replace(source, target)

    def remove(self, path: Path) -> None:
        os.unlink(path)

    def make_directory(self, path: Path) -> None:
        os.makedirs(path, exist_ok=True)

    def sync_directory(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def free_bytes(self, path: Path) -> int:
        return shutil.disk_usage(path).free

    def total_bytes(self, path: Path) -> int:
        return shutil.disk_usage(path).total
