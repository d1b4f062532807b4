"""What the processors that look into directories share: filters, the walk, a file's facts.

A walk follows symbolic links and enters each directory once, so that a link to a parent cannot
keep it going for ever. Names that are not UTF-8 are kept as the operating system gives them for
opening; in attributes the bytes that do not fit are replaced.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from urllib.parse import quote_from_bytes, unquote_to_bytes

from runtime.properties import DataSize, Duration, Expression, Pattern, Properties, Property


@dataclass(frozen=True, slots=True)
class Found:
    """A file that a walk came across: its path, what `stat` said, its directory's relative path.

    `relative` is empty for files directly in the directory that was searched.
    """

    path: str
    facts: os.stat_result
    relative: str

    @property
    def name(self) -> str:
        return os.path.basename(self.path)


class FileFilters(Properties):
    """The properties by which GetFile and ListFile choose files."""

    input_directory: Expression = Property(description="The directory to look into.")
    recurse_subdirectories: bool = Property(
        True, description="Whether to look into its subdirectories too."
    )
    file_filter: Pattern = Property(
        r"[^\.].*", description="Only files whose whole name matches are taken."
    )
    path_filter: Pattern | None = Property(
        None,
        description="Only files in subdirectories whose whole relative path matches are taken.",
    )
    minimum_file_age: Duration = Property(
        "0 sec", description="Files that changed more recently than this are left for later."
    )
    maximum_file_age: Duration | None = Property(
        None, description="Files that have not changed for longer than this are left alone."
    )
    minimum_file_size: DataSize = Property("0 B", description="Smaller files are left alone.")
    maximum_file_size: DataSize | None = Property(None, description="Larger files are left alone.")
    ignore_hidden_files: bool = Property(
        True, description="Whether to leave files alone whose name begins with a dot."
    )

    def accepts(self, found: Found, now: float) -> bool:
        """Tell whether the filters let a file through; `now` is wall time."""
        facts = found.facts
        age = now - facts.st_mtime
        name = found.name
        return (
            facts.st_size >= self.minimum_file_size
            and (self.maximum_file_size is None or facts.st_size <= self.maximum_file_size)
            and age >= self.minimum_file_age
            and (self.maximum_file_age is None or age <= self.maximum_file_age)
            and not (self.ignore_hidden_files and name.startswith("."))
            and self.file_filter.matches(text_of(name))
            and self._accepts_directory(found.relative)
            and os.access(found.path, os.R_OK)
        )

    def _accepts_directory(self, relative: str) -> bool:
        if self.path_filter is None or not self.recurse_subdirectories:
            return True
        return self.path_filter.matches(text_of(relative))


def directory_of(expression: Expression, name: str = "Input Directory") -> str:
    """Return the absolute path that a directory property names.

    Raises:
        NotADirectoryError: it is empty, does not exist or is no directory.
    """
    text = expression.evaluate().strip()
    if not text:
        raise NotADirectoryError(
            f"property '{name}' is '{expression.text}', which is empty here; it must name a "
            "directory"
        )
    path = os.path.abspath(text)
    if not os.path.isdir(path):
        raise NotADirectoryError(
            f"'{text}' (property '{name}') is not a directory; create it or name another"
        )
    return path


def walk(directory: str, *, recurse: bool) -> Iterator[Found]:
    """Yield the regular files under `directory`; what cannot be read is passed by.

    Raises:
        OSError: `directory` itself cannot be listed.
    """
    waiting = [(directory, "")]
    entered: set[tuple[int, int]] = set()
    while waiting:
        current, relative = waiting.pop()
        try:
            here = os.stat(current)
            if (here.st_dev, here.st_ino) in entered:
                continue
            entered.add((here.st_dev, here.st_ino))
            names = sorted(os.listdir(current))
        except OSError:
            if not relative:
                raise
            continue
        for name in names:
            path = os.path.join(current, name)
            try:
                facts = os.stat(path)
            except OSError:
                continue
            if stat.S_ISREG(facts.st_mode):
                yield Found(path, facts, relative)
            elif recurse and stat.S_ISDIR(facts.st_mode):
                waiting.append((path, os.path.join(relative, name)))


def open_regular(path: str | bytes) -> int:
    """Open a regular file for reading and return its descriptor.

    Raises:
        OSError: it cannot be opened, or is a directory, pipe or device.
    """
    # Non-blocking, lest opening a pipe hang.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise IsADirectoryError(f"'{os.fsdecode(path)}' is not a file; only files can be read")


def text_of(name: str) -> str:
    """Return a name from the operating system as text that can be stored."""
    return os.fsencode(name).decode("utf-8", "replace")


def uri_of(path: str) -> str:
    """Return the `file:` URI of an absolute path."""
    return "file://" + quote_from_bytes(os.fsencode(path))


def path_of(uri: str) -> str:
    """Return the path of a `file:` URI that `uri_of` made."""
    return os.fsdecode(unquote_to_bytes(uri.removeprefix("file://")))


def place_attributes(found: Found) -> dict[str, str]:
    """Return `filename`, `path` and `absolute.path` of a file."""
    return {
        "filename": text_of(found.name),
        "path": text_of(found.relative or ".") + "/",
        "absolute.path": text_of(os.path.dirname(found.path)).rstrip("/") + "/",
    }


def fact_attributes(facts: os.stat_result) -> dict[str, str]:
    """Return the `file.*` attributes that `stat` knows.

    Linux keeps no creation time where `stat` could see it; like NiFi on such file systems the
    time of the last modification stands in.
    """
    return {
        "file.creationTime": date_text(getattr(facts, "st_birthtime", facts.st_mtime)),
        "file.lastModifiedTime": date_text(facts.st_mtime),
        "file.lastAccessTime": date_text(facts.st_atime),
        "file.owner": _owner(facts.st_uid),
        "file.group": _group(facts.st_gid),
        "file.permissions": stat.filemode(facts.st_mode)[1:],
    }


def date_text(seconds: float) -> str:
    """Format seconds since the epoch as NiFi's file attributes have it, in local time."""
    return _date_text(int(seconds // 1))


# Files of a directory tend to share their seconds, and formatting one takes ten microseconds.
@lru_cache(maxsize=4096)
def _date_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%dT%H:%M:%S%z")


@lru_cache(maxsize=1024)
def _owner(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


@lru_cache(maxsize=1024)
def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


FILE_ATTRIBUTES = {
    "filename": "The name of the file.",
    "path": "Its directory relative to the input directory, with a slash at the end.",
    "absolute.path": "Its directory in full, with a slash at the end.",
    "file.creationTime": "When it was created, where the file system tells.",
    "file.lastModifiedTime": "When it was last modified, as `2030-01-31T13:00:00+0100`.",
    "file.lastAccessTime": "When it was last read.",
    "file.owner": "Its owner.",
    "file.group": "Its group.",
    "file.permissions": "Its permissions, as `rw-r--r--`.",
}
