"""Where the flow lives: the home's current revision is the truth, FILE is its copy for people.

What FILE held when Levada last wrote or adopted it is remembered as a hash, with the revision:

| FILE | home since then | at start and on reload |
| --- | --- | --- |
| as last written | same revision | nothing |
| as last written, or missing | newer revision | the home's flow is written to FILE |
| changed | same revision | FILE is adopted as a new revision, the difference is printed |
| changed | newer revision | conflict: `--take file` or `--take home` decides |
| never bound, missing | any | the home's flow is written |
| never bound, exists | the home has no flow yet | FILE is adopted |
| never bound, exists | the home has a flow | conflict, unless both say the same |

While the node runs only the home is written out. A write looks at FILE's hash right before it
replaces it, by renaming a complete, synced file over it (in the directory where symlinks lead), so
FILE is never half written, and never written over somebody's change. A change in the instant
between look and rename is lost; no file system offers more.
"""

from __future__ import annotations

import hashlib
import os
import stat
from enum import Enum
from pathlib import Path
from typing import Literal, assert_never

import msgspec

Take = Literal["file", "home"]


class BindingError(RuntimeError):
    """FILE cannot be read or written; the message says what to do."""


class ChangedOutsideError(BindingError):
    """FILE no longer holds what Levada wrote there."""


class Action(Enum):
    """What to do about FILE."""

    NOTHING = "nothing"
    ADOPT = "adopt the file"
    WRITE = "write the file"
    CONFLICT = "ask"


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """What FILE held when it and the home last agreed; kept in the home."""

    file: str
    hash: str
    revision: int


def text_hash(text: bytes) -> str:
    """Return the hash by which a text is recognized."""
    return hashlib.sha256(text).hexdigest()


def decide(
    text: bytes | None,
    bound: Bound | None,
    *,
    revision: int,
    same: bool = False,
    take: Take | None = None,
) -> Action:
    """Decide at start and on reload, by the table above.

    Args:
        text: what FILE holds; None: it does not exist.
        bound: what they last agreed on; None: the home was never bound to this FILE.
        revision: the home's; 0: it has no flow yet.
        same: FILE's text means the home's flow.
        take: the user's decision about a conflict.
    """
    if text is None:
        return Action.WRITE
    match take:
        case "file":
            return Action.NOTHING if same else Action.ADOPT
        case "home":
            return Action.WRITE
        case None:
            return _undecided(text, bound, revision, same)
        case _:
            assert_never(take)


def _undecided(text: bytes, bound: Bound | None, revision: int, same: bool) -> Action:
    if same:
        return Action.NOTHING
    file_changed = bound is None or text_hash(text) != bound.hash
    home_changed = revision > 0 if bound is None else revision != bound.revision
    if not file_changed:
        return Action.WRITE if home_changed else Action.NOTHING
    return Action.CONFLICT if home_changed else Action.ADOPT


class FlowOnDisk:
    """FILE. Used by one thread at a time; keeps nothing but the path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> bytes | None:
        """Return what FILE holds; None where it does not exist.

        Raises:
            BindingError: it is a directory, or may not be read.
        """
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BindingError(
                f"the flow file '{self.path}' cannot be read ({error.strerror});"
                " check the path and its permissions"
            ) from error

    def write(self, text: str, bound: Bound | None, *, revision: int) -> Bound:
        """Replace FILE by `text` if it holds what `bound` says, or nothing; return the new bond.

        Raises:
            ChangedOutsideError: it holds something else; nothing was written.
            BindingError: it cannot be written.
        """
        data = text.encode("utf-8")
        target = Path(os.path.realpath(self.path))
        fresh = target.with_name(f".{target.name}.{os.getpid()}.new")
        try:
            self._write_fresh(fresh, target, data)
            self._require_unchanged(bound)
            os.replace(fresh, target)
            _sync_directory(target.parent)
        except OSError as error:
            raise BindingError(
                f"the flow file '{self.path}' cannot be written ({error.strerror}); the flow is"
                " safe in its home and is written again at the next edit"
            ) from error
        finally:
            fresh.unlink(missing_ok=True)
        return Bound(file=str(self.path), hash=text_hash(data), revision=revision)

    def overwrite(self, text: str, *, revision: int) -> Bound:
        """Replace FILE whatever it holds: the user took the home's flow.

        Raises:
            BindingError: it cannot be written.
        """
        now = self.read()
        held = None if now is None else Bound(file="", hash=text_hash(now), revision=0)
        return self.write(text, held, revision=revision)

    def _write_fresh(self, fresh: Path, target: Path, data: bytes) -> None:
        try:
            mode = stat.S_IMODE(target.stat().st_mode)
        except FileNotFoundError:
            mode = 0o644
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)

    def _require_unchanged(self, bound: Bound | None) -> None:
        now = self.read()
        if now is not None and (bound is None or text_hash(now) != bound.hash):
            raise ChangedOutsideError(
                f"'{self.path}' was changed outside; nothing was written."
                " `levada reload --take file` adopts it, `--take home` overwrites it"
            )


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
