"""Finding what is left of a log file that was rotated.

    renamed, new file created    the position's inode is found under another name, or is still
                                 open: its rest is read, then newer rolled files, then the new one
    renamed, not yet created     the renamed one is read on, as if nothing had happened
    copied and cut off           the inode is the same, the content is not: a rolled file that
                                 begins with what was read is the copy; its rest is read first
    gone                         what was not read is lost, which is reported

Rolled files are those beside the tailed one whose names match the Rolling Filename Pattern, in
order of modification time, then name. Without a pattern the renamed file itself is still found.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import stat
from dataclasses import dataclass
from typing import Final

from processors.tail_position import Position, position_in

COMPRESSED: Final = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip")
"""Rolled files of these kinds are passed by: their bytes are no lines."""


@dataclass(slots=True)
class Source:
    """The open file to read next, at `position`.

    `rotated`: nothing more is written to it, and the tailed path has another file by now.
    `lost`: part of the former file could not be found.
    """

    descriptor: int
    path: str
    position: Position
    rotated: bool = False
    lost: bool = False

    def close(self) -> None:
        os.close(self.descriptor)


def locate(path: str, position: Position, pattern: str | None, held: int | None) -> Source | None:
    """Find the file that a position is in, or what follows it; None where there is none yet.

    `held` is a descriptor of the file read last, if it is still open; it is duplicated.

    Raises:
        OSError: the tailed file exists and cannot be opened.
    """
    current = _open(path)
    if current is not None and _goes_on(current, position):
        return Source(current, path, position)
    if position.inode:
        former = _former(path, position, pattern, held)
        if former is not None:
            former.rotated = current is not None
            _close(current)
            return former
    if current is None:
        return None
    if position.offset and position.fits(current):
        # Restored or copied back: another inode, the same beginning.
        return Source(current, path, position)
    lost = bool(position.inode) and not position.is_in(os.fstat(current))
    rolled = rolled_files(path, pattern) if position.inode else []
    for name, facts in rolled:
        if facts.st_mtime_ns > position.modified and (source := _begin(name)) is not None:
            os.close(current)
            source.rotated, source.lost = True, lost
            return source
    return Source(current, path, position_in(current, 0), lost=lost)


def following(path: str, finished: Source, pattern: str | None) -> Position:
    """Return the position at the start of the file after a finished rolled one."""
    done = os.fstat(finished.descriptor)
    rolled = rolled_files(path, pattern)
    key = (done.st_mtime_ns, os.path.basename(finished.path))
    for name, facts in rolled:
        is_done = (facts.st_dev, facts.st_ino) == (done.st_dev, done.st_ino)
        if not is_done and (facts.st_mtime_ns, os.path.basename(name)) > key:
            return Position(facts.st_dev, facts.st_ino, modified=done.st_mtime_ns)
    facts = os.stat(path)
    return Position(facts.st_dev, facts.st_ino, modified=done.st_mtime_ns)


def rolled_files(path: str, pattern: str | None) -> list[tuple[str, os.stat_result]]:
    """Return the rolled files of a tailed one, oldest first."""
    if pattern is None:
        return []
    stem = os.path.basename(path).rpartition(".")[0] or os.path.basename(path)
    wanted = pattern.replace("${filename}", stem)
    found = [
        one
        for one in _beside(path)
        if fnmatch.fnmatchcase(os.path.basename(one[0]), wanted)
        and not one[0].endswith(COMPRESSED)
    ]
    return sorted(found, key=lambda one: (one[1].st_mtime_ns, one[0]))


def oldest(path: str, pattern: str | None) -> Position | None:
    """Return the start of the oldest rolled file; None where there is none."""
    for name, _ in rolled_files(path, pattern):
        if (source := _begin(name)) is not None:
            source.close()
            return source.position
    return None


def _goes_on(current: int, position: Position) -> bool:
    if not position.inode:
        return True
    return position.is_in(os.fstat(current)) and position.fits(current)


def _former(path: str, position: Position, pattern: str | None, held: int | None) -> Source | None:
    beside = _beside(path)
    renamed = [name for name, facts in beside if position.is_in(facts)]
    copies = [name for name, facts in rolled_files(path, pattern) if position.offset]
    for name in [*renamed, *copies]:
        descriptor = _open(name)
        if descriptor is None:
            continue
        if position.fits(descriptor):
            return Source(descriptor, name, position)
        os.close(descriptor)
    if held is not None and position.is_in(os.fstat(held)) and position.fits(held):
        return Source(os.dup(held), path, position)
    return None


def _beside(path: str) -> list[tuple[str, os.stat_result]]:
    """Return the regular files in the directory of `path`, itself left out."""
    directory = os.path.dirname(path)
    found = []
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                facts = entry.stat()
                if entry.path != path and stat.S_ISREG(facts.st_mode):
                    found.append((entry.path, facts))
    return found


def _begin(path: str) -> Source | None:
    descriptor = _open(path)
    return None if descriptor is None else Source(descriptor, path, position_in(descriptor, 0))


def _open(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)
