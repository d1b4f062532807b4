"""What must happen to source files after their contents are durable: deletion or a move.

A source file may go only when the record that holds its content is durable, and must go even if
the node crashes in between, or it would be taken a second time. So the work is noted in the
processor's keyed state by the same commit, done from `when_durable`, and found again at start:

    key         slot 0 ... slot 255
    value       MessagePack list of `Completion`, one list a commit

A session fills one free slot. A slot is free again once its work is done and the directories are
synced; the note itself is overwritten or removed by a later commit. A note that is found again
after its work was done harms nothing: a file counts as the one that was read only if device,
inode, size and time of modification are all the same, so a newer file under an old name, or one
that was written to meanwhile, stays where it is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from runtime.processor import Context
from runtime.session import Session

SLOTS: Final = 256
"""How many commits may wait for their durability; beyond that no more files are taken."""


class FileIdentity(msgspec.Struct, frozen=True, array_like=True):
    """Which file was read: a path names a file only as long as all of these agree."""

    path: bytes
    device: int
    inode: int
    size: int
    modified: int

    def is_still(self) -> bool:
        """Tell whether the path still holds this very file, unchanged."""
        try:
            facts = os.stat(self.path)
        except OSError:
            return False
        return self == identity_of(self.path, facts)


class Completion(msgspec.Struct, frozen=True, array_like=True):
    """One file's work. `target` empty: delete it; else move it there.

    `conflict` says what to do where the target exists: `replace` it, `keep` it (delete the source),
    `rename` (to `spare`, a path that is the same each time the work is repeated) or `fail`.
    """

    file: FileIdentity
    target: bytes = b""
    conflict: str = ""
    spare: bytes = b""


def identity_of(path: bytes, facts: os.stat_result) -> FileIdentity:
    """Return the identity that `stat` gives for a path."""
    return FileIdentity(path, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)


class Completions:
    """A processor's unfinished work on files; see the module. Safe to use from any thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._free = list(range(SLOTS - 1, -1, -1))
        self._done: set[int] = set()
        self._files: set[FileIdentity] = set()

    @property
    def has_room(self) -> bool:
        """False while so many commits wait for durability that no more files may be taken."""
        return bool(self._free)

    @property
    def has_notes(self) -> bool:
        """True while notes of work that is done are still in the state; `tidy` removes them."""
        return bool(self._done)

    def is_pending(self, file: FileIdentity) -> bool:
        """Tell whether a file was taken already and only waits to be deleted or moved."""
        return file in self._files

    def recover(self) -> None:
        """Take up what an earlier run left; call it from `start`.

        What is found is committed, yet perhaps not durable (the processor may have been
        restarted a moment ago): it is done once a commit of this call's own is.
        """
        session = self._context.open_session()
        try:
            for slot in range(SLOTS):
                note = session.key(_key(slot))
                if note is not None:
                    work = msgspec.msgpack.decode(note, type=list[Completion])
                    self._occupy(slot, work)
                    session.when_durable(self._finisher(slot, work))
            session.commit()
        finally:
            session.close()

    def commit(self, session: Session, work: Sequence[Completion]) -> None:
        """Commit the session and see to the files once that is durable."""
        with self._lock:
            slot = self._free.pop()
            self._done.discard(slot)
        self._occupy(slot, work)
        try:
            session.set_key(_key(slot), msgspec.msgpack.encode(list(work)))
            cleared = self.tidy(session)
            session.when_durable(self._finisher(slot, work))
            session.commit()
        except BaseException:
            self._release(slot, work)
            raise
        with self._lock:
            self._done -= cleared

    def tidy(self, session: Session) -> set[int]:
        """Remove notes of finished work as part of `session`; returns their slots."""
        with self._lock:
            cleared = self._done & set(self._free)
        for slot in cleared:
            session.set_key(_key(slot), None)
        return cleared

    def tidied(self, session: Session) -> None:
        """Commit a session that does nothing but remove such notes."""
        cleared = self.tidy(session)
        session.commit()
        with self._lock:
            self._done -= cleared

    def _finisher(self, slot: int, work: Sequence[Completion]) -> Callable[[], None]:
        return lambda: self._finish(slot, work)

    def _finish(self, slot: int, work: Sequence[Completion]) -> None:
        directories: set[bytes] = set()
        problems: list[OSError] = []
        for completion in work:
            try:
                directories |= complete(completion)
            except OSError as error:
                problems.append(error)
        for directory in directories:
            try:
                sync_directory(directory)
            except OSError as error:
                problems.append(error)
        if problems:
            # The slot stays taken, so the files are neither taken again nor forgotten.
            self._context.report(
                "ERROR",
                f"{len(problems)} of {len(work)} source files stay in place, the first because: "
                f"{problems[0]}. Their content is kept and they are not read again; once that is "
                "mended, a restart of the processor removes them.",
            )
            return
        self._release(slot, work)
        with self._lock:
            self._done.add(slot)

    def _occupy(self, slot: int, work: Sequence[Completion]) -> None:
        with self._lock:
            if slot in self._free:
                self._free.remove(slot)
            self._files.update(completion.file for completion in work)

    def _release(self, slot: int, work: Sequence[Completion]) -> None:
        with self._lock:
            self._files.difference_update(completion.file for completion in work)
            self._free.append(slot)


def complete(completion: Completion) -> set[bytes]:
    """Do the work on one file if it is still there; returns the directories to sync."""
    file = completion.file
    source = os.path.dirname(file.path)
    if not file.is_still():
        # Done by an earlier run that could not say so: its directories may lack their sync.
        return {source} if os.path.isdir(source) else set()
    target = completion.target
    if target and os.path.lexists(target):
        match completion.conflict:
            case "keep":
                target = b""
            case "rename":
                target = completion.spare
            case "fail":
                raise FileExistsError(
                    f"'{os.fsdecode(target)}' exists already, so "
                    f"'{os.fsdecode(file.path)}' cannot be moved there"
                )
    if not target:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(file.path)
        return {source}
    os.makedirs(os.path.dirname(target), exist_ok=True)
    move(file.path, target)
    return {source, os.path.dirname(target)}


def move(source: bytes, target: bytes) -> None:
    """Rename a file, or copy it durably and delete it where the target is on another disk."""
    try:
        os.rename(source, target)
        return
    except OSError:
        if os.stat(source).st_dev == os.stat(os.path.dirname(target)).st_dev:
            raise
    partial = os.path.join(os.path.dirname(target), b"." + os.path.basename(target))
    shutil.copyfile(source, partial)
    shutil.copystat(source, partial)
    sync_file(partial)
    os.rename(partial, target)
    sync_directory(os.path.dirname(target))
    os.unlink(source)


def sync_file(path: bytes | str) -> None:
    """Return when a file's data is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: bytes | str) -> None:
    """Return when creations, renames and removals in a directory are on the disk."""
    sync_file(path)


def _key(slot: int) -> str:
    return f"files taken {slot}"
