"""Where a tail has got to: positions, and how a file is known again.

A path is not enough, for log files are renamed, copied and cut off. A position holds the file's
device and inode, the offset up to which it was read, and a fingerprint of what was read:

    offset                0        1,024            n - 1,024           n
    the file              |  head  |  ...            |  tail  | unread ...
    fingerprint           xxh3 of head and tail (of all of it where n is less)

A file fits a position when it is at least `offset` long and its fingerprint agrees. So a file
that was cut off and has grown past the old offset since is told from one that was only appended
to, and a copy is found under any name. All positions change in the commit of the flowfiles that
were read, and are read back from there at each trigger: nothing in memory can disagree with them.

    single file     small state: `file:///var/log/app.log` -> JSON of the position
    multiple files  keyed state: the same key -> the same JSON; `files` -> JSON list of the keys
"""

from __future__ import annotations

import os
from typing import Final

import msgspec
import xxhash

from processors.file_search import uri_of
from runtime.session import Session

FINGERPRINT_BYTES: Final = 1024
FILES_KEY: Final = "files"


class Position(msgspec.Struct, frozen=True):
    """See the module. `inode` 0: nothing was there yet. `modified` is in nanoseconds."""

    device: int = 0
    inode: int = 0
    offset: int = 0
    fingerprint: str = ""
    modified: int = 0

    def is_in(self, facts: os.stat_result) -> bool:
        """Tell whether `stat` speaks of the file that this position is in, by device and inode."""
        return (facts.st_dev, facts.st_ino) == (self.device, self.inode)

    def fits(self, descriptor: int) -> bool:
        """Tell whether an open file begins with what was read."""
        if not self.offset:
            return True
        return (
            os.fstat(descriptor).st_size >= self.offset
            and fingerprint(descriptor, self.offset) == self.fingerprint
        )


def position_in(descriptor: int, offset: int) -> Position:
    """Return the position at `offset` of an open file."""
    facts = os.fstat(descriptor)
    return Position(
        facts.st_dev,
        facts.st_ino,
        offset,
        fingerprint(descriptor, offset) if offset else "",
        facts.st_mtime_ns,
    )


def fingerprint(descriptor: int, offset: int) -> str:
    """Hash the ends of the first `offset` bytes."""
    hasher = xxhash.xxh3_64(os.pread(descriptor, min(offset, FINGERPRINT_BYTES), 0))
    start = max(0, offset - FINGERPRINT_BYTES)
    hasher.update(os.pread(descriptor, offset - start, start))
    return hasher.hexdigest()


class Positions:
    """The positions of one processor, read and written through a session."""

    def __init__(self, *, many: bool) -> None:
        self._many = many

    def load(self, session: Session, path: str) -> Position | None:
        """Return the position for a path; None where there is none."""
        name = uri_of(path)
        note: str | bytes | None = session.key(name) if self._many else None
        if note is None:
            note = session.state.get(name)
        return msgspec.json.decode(note, type=Position) if note else None

    def save(self, session: Session, path: str, position: Position) -> None:
        """Set the position for a path with the session's commit."""
        note = msgspec.json.encode(position)
        if self._many:
            session.set_key(uri_of(path), note)
        else:
            # One file is tailed: a former one's position is of no more use.
            session.set_state({uri_of(path): note.decode()})

    def known(self, session: Session) -> set[str] | None:
        """Return the names (URIs) under which positions are kept; None before the first look."""
        note = session.key(FILES_KEY)
        return set(msgspec.json.decode(note, type=list[str])) if note else None

    def remember(self, session: Session, names: set[str], former: set[str] | None) -> None:
        """Set the names that are kept, and forget the positions of all others."""
        if names == former:
            return
        for name in (former or set()) - names:
            session.set_key(name, None)
        session.set_key(FILES_KEY, msgspec.json.encode(sorted(names)))
