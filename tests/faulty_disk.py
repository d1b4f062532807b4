"""A disk in memory that fails the n-th operation and loses power the way real disks do."""

import errno
import random
from pathlib import Path

from runtime.memory_disk import MemoryDisk, MemoryFile, apply

SECTOR_BYTES = 512


class FaultyDisk(MemoryDisk):
    """Fails operation number `fail_at` and all after it, or each operation named `fail_on`.

    `tear` is a power loss: of each unsynced write any set of sectors remains, in any order, some
    of the others hold garbage, and each unsynced creation, rename or removal has happened or not.
    """

    def __init__(self, capacity_bytes: int = 1 << 40) -> None:
        super().__init__(capacity_bytes)
        self.operations = 0
        self.fail_at: int | None = None
        self.fail_on: str | None = None

    def before(self, operation: str, path: Path, size: int) -> None:
        super().before(operation, path, size)
        if self.fail_on == operation:
            raise OSError(errno.EIO, "the disk answers with an error", str(path))
        if operation == "read":
            return
        self.operations += 1
        if self.fail_at is not None and self.operations >= self.fail_at:
            raise OSError(errno.EIO, "the disk answers with an error", str(path))

    def tear(self, choose: random.Random) -> None:
        """Lose power: keep what was synced and a random part of the rest."""
        with self.lock:
            names: dict[Path, MemoryFile] = {}
            for path in self.files.keys() | self._synced_names.keys():
                now, before = self.files.get(path), self._synced_names.get(path)
                kept = choose.choice([now, before])
                if kept is not None:
                    names[path] = kept
            # A rename is atomic: its file keeps one of both names, unless it was removed.
            for path, file in self._synced_names.items():
                if file not in names.values() and file in self.files.values():
                    names[path] = file
            for file in {id(file): file for file in names.values()}.values():
                tear_file(file, choose)
            self.files = names
            self._synced_names = dict(names)
            self.fail_at = self.fail_on = None


def tear_file(file: MemoryFile, choose: random.Random) -> None:
    """Apply a random part of the unsynced writes, sector by sector, in random order."""
    pieces: list[tuple[int, bytes | None]] = []
    for offset, data in file.pending:
        if data is None:
            pieces.append((offset, None))
            continue
        start = offset
        while start < offset + len(data):
            stop = min((start // SECTOR_BYTES + 1) * SECTOR_BYTES, offset + len(data))
            pieces.append((start, data[start - offset : stop - offset]))
            start = stop
    choose.shuffle(pieces)
    kept = choose.random()
    for offset, piece in pieces:
        if choose.random() < kept:
            apply(file.synced, offset, piece)
        elif piece and choose.random() < 0.2:
            # A sector that was being written when the power went holds anything.
            apply(file.synced, offset, choose.randbytes(len(piece)))
    file.data = bytearray(file.synced)
    file.pending.clear()
