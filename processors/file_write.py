"""Writing a batch of files so that all of them are on the disk before anyone relies on it.

    1. write every content under its temporary dot-name, and sync it; several threads, so that
       the syncs overlap (1,000 files of 5 KB took 0.49 s with one thread, 0.16 s with eight)
    2. put every file in its place, in order
    3. sync every directory once

What goes wrong with one file is kept in its `Writing` and the others go on; only a directory that
cannot be synced is everyone's problem and raises.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from processors.file_completion import sync_directory
from runtime.flowfile import FlowFile
from runtime.session import Session

THREADS: Final = 8
SMALL_BYTES: Final = 1 << 20
"""Contents above this are streamed one at a time, smaller ones are read many at once."""
GROUP_BYTES: Final = 16 << 20
"""How many bytes of small contents are in memory at once."""
NAME_BYTES_MAX: Final = 255

Dress = Callable[[int], None]
"""Sets permissions, owner and times of the open file."""


@dataclass(slots=True)
class Writing:
    """One file to write: where, and afterwards how it went.

    `replace` says whether an existing target may be replaced. `problem` is why nothing was
    written; a `FileExistsError` means that the target appeared meanwhile.
    """

    flowfile: FlowFile
    directory: str
    target: str
    temporary: str
    replace: bool
    dress: Dress | None = None
    problem: OSError | None = field(default=None)


def temporary_name(filename: str, uuid: str) -> str:
    """Return a dot-name that is the same whenever this flowfile is written."""
    name = f".{filename}.{uuid}"
    return name if len(os.fsencode(name)) <= NAME_BYTES_MAX else f".{uuid}"


def write_batch(session: Session, pool: ThreadPoolExecutor, writings: Sequence[Writing]) -> None:
    """Write all files durably; see the module.

    Raises:
        OSError: a directory could not be synced; nothing may count as written.
    """
    small = [one for one in writings if one.flowfile.size <= SMALL_BYTES]
    large = [one for one in writings if one.flowfile.size > SMALL_BYTES]
    for group in _groups(small):
        contents = session.read_many([one.flowfile for one in group])
        pairs = list(zip(group, contents, strict=True))
        parts = [pairs[start::THREADS] for start in range(min(THREADS, len(pairs)))]
        list(pool.map(_write_many, parts))
    for writing in large:
        with session.open_read(writing.flowfile) as source:
            _write(writing, iter(partial(source.read, SMALL_BYTES), b""))
    written = [one for one in writings if one.problem is None]
    for writing in written:
        _place(writing)
    for directory in {one.directory for one in written}:
        sync_directory(directory)


def _groups(writings: Sequence[Writing]) -> Iterator[list[Writing]]:
    group: list[Writing] = []
    size = 0
    for writing in writings:
        size += writing.flowfile.size
        if group and size > GROUP_BYTES:
            yield group
            group, size = [], writing.flowfile.size
        group.append(writing)
    if group:
        yield group


def _write_many(pairs: Iterable[tuple[Writing, bytes]]) -> None:
    for writing, content in pairs:
        _write(writing, (content,))


def _write(writing: Writing, chunks: Iterable[bytes]) -> None:
    # A source that breaks off in the middle is not this file's problem: it propagates.
    try:
        descriptor = os.open(
            writing.temporary,
            os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o666,
        )
    except OSError as error:
        writing.problem = error
        return
    try:
        try:
            for chunk in chunks:
                _write_fully(descriptor, chunk)
            if writing.dress is not None:
                writing.dress(descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        writing.problem = error
        _remove(writing.temporary)


def _write_fully(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _place(writing: Writing) -> None:
    try:
        if writing.replace:
            os.replace(writing.temporary, writing.target)
            return
        # A link, unlike a rename, never replaces what somebody else has just put there.
        try:
            os.link(writing.temporary, writing.target)
        except PermissionError:
            _rename_without_links(writing)
            return
        os.unlink(writing.temporary)
    except OSError as error:
        writing.problem = error
        _remove(writing.temporary)


def _rename_without_links(writing: Writing) -> None:
    """Place a file on a file system that has no hard links (it refuses them with EPERM)."""
    if os.path.lexists(writing.target):
        raise FileExistsError(f"'{writing.target}' exists already")
    os.rename(writing.temporary, writing.target)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
