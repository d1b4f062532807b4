"""PutFile: writes flowfiles as files, a durable batch at a time.

Each flowfile's target is chosen and checked, `file_write` writes what passed, and the session
commits when all of it is on the disk. A crash in between repeats the batch: temporary names are
made of the flowfile's UUID, so the repetition overwrites its own leftovers, and a target that
holds exactly the flowfile's bytes counts as written. Two flowfiles of one batch with the same
target are written one after the other, in rounds.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pydantic import field_validator

from processors.file_completion import sync_directory, sync_file
from processors.file_search import uri_of
from processors.file_write import THREADS, Dress, Writing, temporary_name, write_batch
from runtime.flowfile import FlowFile
from runtime.processor import Context, Effects, Example, Processor, Relationship
from runtime.properties import Choice, Expression, Property
from runtime.properties import Properties as Declaration
from runtime.session import Session

COMPARE_BYTES: Final = 1 << 20
DATE_FORMAT: Final = "%Y-%m-%dT%H:%M:%S%z"
SYMBOLIC: Final = re.compile(r"([r-][w-][x-]){3}")
OCTAL: Final = re.compile(r"[0-7]{3}")


class Conflict(Choice):
    """What to do where a file of that name exists already."""

    REPLACE = "replace"
    IGNORE = "ignore"
    FAIL = "fail"


class PutFile(Processor):
    """Write the content of flowfiles to files in a directory."""

    class Properties(Declaration):
        directory: Expression = Property(
            description="The directory to write to, such as `/data/${path}`."
        )
        conflict_resolution_strategy: Conflict = Property(
            Conflict.FAIL,
            description="What to do when a file of the same name exists: replace it, leave it and "
            "go on as if written, or send the flowfile to failure.",
        )
        create_missing_directories: bool = Property(
            True, description="Whether to create directories that do not exist."
        )
        maximum_file_count: int | None = Property(
            None,
            description="Flowfiles go to failure while the directory holds so many other files.",
        )
        last_modified_time: Expression | None = Property(
            None,
            description="The modification time to set, as `2030-01-31T13:00:00+0100`, for "
            "instance `${file.lastModifiedTime}`.",
        )
        permissions: Expression | None = Property(
            None,
            description="The permissions to set, as `rw-r-----` or `640`. Directories that are "
            "created get them too, and may be entered by whoever may read or write them.",
        )
        owner: Expression | None = Property(
            None, description="The owner to set; usually only root may do that."
        )
        group: Expression | None = Property(None, description="The group to set.")

        @field_validator("permissions")
        @classmethod
        def _are_permissions(cls, value: Expression | None) -> Expression | None:
            if value is not None and value.is_constant:
                mode_of(value.text)
            return value

    effects = Effects.WRITES_OUTSIDE
    batch_size = 1000
    tags = ("put", "local", "copy", "archive", "files", "filesystem", "write", "disk", "save")
    reads = {"filename": "The name of the file."}
    delivery = (
        "Files are on the disk before their flowfiles go on. After a crash a batch may be written "
        "again, under the same names; a file that already holds the same bytes is left as it is."
    )
    success = Relationship("Flowfiles whose content is written.")
    failure = Relationship("Flowfiles that could not be written.")
    example = Example(
        "Write into a directory for each day",
        properties={
            "Directory": "/tmp/levada-example/${now():format('yyyy-MM-dd')}",
            "Conflict Resolution Strategy": "replace",
        },
        attributes={"filename": "order-17.json"},
        content=b"{}",
        expect_attributes={"filename": "order-17.json"},
        expect_content=b"{}",
    )

    properties: Properties

    def start(self) -> None:
        self.pool = ThreadPoolExecutor(THREADS, thread_name_prefix="PutFile")

    def stop(self) -> None:
        self.pool.shutdown()

    def on_trigger(self, session: Session) -> None:
        batch = Batch(self, session)
        for flowfile in session.take():
            try:
                batch.add(flowfile)
            except (OSError, ValueError) as error:
                batch.fail(flowfile, error)
        batch.write()
        batch.report(self.context)


@dataclass
class Batch:
    """The flowfiles of one trigger on their way to the disk."""

    processor: PutFile
    session: Session
    writings: dict[str, Writing] = field(default_factory=dict)
    """The files of this round, by target."""
    directories: dict[str, OSError | None] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)

    def add(self, flowfile: FlowFile) -> None:
        """Choose and check a flowfile's target; it waits for `write`.

        Raises:
            OSError, ValueError: it cannot be written; the words say why.
        """
        properties = self.processor.properties
        name = file_name(self.session.attribute(flowfile, "filename") or "")
        directory = properties.directory.evaluate(flowfile)
        if not directory.strip() or "\0" in directory:
            raise ValueError(
                f"The directory '{properties.directory.text}' is '{directory}' for this flowfile; "
                "it must be a path"
            )
        directory = os.path.abspath(directory)
        target = os.path.join(directory, name)
        if target in self.writings:
            self.write()
        self._prepare(directory, flowfile)
        strategy = properties.conflict_resolution_strategy
        exists = os.path.lexists(target)
        self._check_count(directory, exists)
        if exists and strategy is not Conflict.REPLACE:
            self._settle_conflict(flowfile, target, strategy)
            return
        temporary = temporary_name(name, self.session.uuid(flowfile))
        self.writings[target] = Writing(
            flowfile,
            directory,
            target,
            os.path.join(directory, temporary),
            strategy is Conflict.REPLACE,
            self._dress(flowfile),
        )

    def write(self) -> None:
        """Write what was added, durably, and send each flowfile on its way."""
        writings = list(self.writings.values())
        self.writings.clear()
        write_batch(self.session, self.processor.pool, writings)
        sent = self.session.sent
        done = []
        for writing in writings:
            if writing.problem is None:
                sent(writing.flowfile, uri_of(writing.target))
                done.append(writing.flowfile)
            elif isinstance(writing.problem, FileExistsError):
                self._lose_race(writing)
            else:
                self.fail(writing.flowfile, writing.problem)
        self.session.transfer(done, self.processor.success)

    def fail(self, flowfile: FlowFile, error: Exception) -> None:
        """Send a flowfile to failure; it waits there for a while."""
        self.session.penalize(flowfile)
        self.session.transfer(flowfile, self.processor.failure, reason=error)

    def report(self, context: Context) -> None:
        """Show what was left out, once for all files that it happened to."""
        for warning, count in self.warnings.items():
            context.report("WARN", f"{count} of the files written: {warning}")

    def _prepare(self, directory: str, flowfile: FlowFile) -> None:
        if directory not in self.directories:
            self.directories[directory] = None
            if not os.path.isdir(directory):
                try:
                    self._create(directory, flowfile)
                except OSError as error:
                    self.directories[directory] = error
        problem = self.directories[directory]
        if problem is not None:
            raise problem

    def _create(self, directory: str, flowfile: FlowFile) -> None:
        if not self.processor.properties.create_missing_directories:
            raise FileNotFoundError(
                f"The directory '{directory}' does not exist, and Create Missing Directories is "
                "false"
            )
        missing = []
        path = directory
        while not os.path.lexists(path):
            missing.append(path)
            path = os.path.dirname(path)
        os.makedirs(directory, exist_ok=True)
        dress = self._dress(flowfile, is_directory=True)
        for created in missing:
            if dress is not None:
                descriptor = os.open(created, os.O_RDONLY)
                try:
                    dress(descriptor)
                finally:
                    os.close(descriptor)
            sync_directory(os.path.dirname(created))

    def _check_count(self, directory: str, exists: bool) -> None:
        limit = self.processor.properties.maximum_file_count
        if limit is None:
            return
        if directory not in self.counts:
            self.counts[directory] = len(os.listdir(directory))
        if self.counts[directory] - exists >= limit:
            raise FileExistsError(
                f"The directory '{directory}' holds {self.counts[directory]} files; Maximum File "
                f"Count is {limit}"
            )
        self.counts[directory] += not exists

    def _settle_conflict(self, flowfile: FlowFile, target: str, strategy: Conflict) -> None:
        if self._holds(flowfile, target):
            # A crash came between writing and commit: make sure of it and go on.
            sync_file(target)
            sync_directory(os.path.dirname(target))
            temporary = temporary_name(os.path.basename(target), self.session.uuid(flowfile))
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(os.path.dirname(target), temporary))
            self.session.sent(flowfile, uri_of(target), details="It was already written.")
        elif strategy is Conflict.FAIL:
            raise FileExistsError(f"'{target}' exists already, with other content")
        self.session.transfer(flowfile, self.processor.success)

    def _holds(self, flowfile: FlowFile, target: str) -> bool:
        facts = os.lstat(target)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size != flowfile.size:
            return False
        with open(target, "rb") as file, self.session.open_read(flowfile) as content:
            while chunk := content.read(COMPARE_BYTES):
                if file.read(len(chunk)) != chunk:
                    return False
        return True

    def _lose_race(self, writing: Writing) -> None:
        try:
            strategy = self.processor.properties.conflict_resolution_strategy
            self._settle_conflict(writing.flowfile, writing.target, strategy)
        except OSError as error:
            self.fail(writing.flowfile, error)

    def _dress(self, flowfile: FlowFile, *, is_directory: bool = False) -> Dress | None:
        """Return what sets permissions, owner, group and time; None where nothing is set."""
        properties = self.processor.properties
        permissions = _text(properties.permissions, flowfile)
        owner = _text(properties.owner, flowfile)
        group = _text(properties.group, flowfile)
        modified = "" if is_directory else _text(properties.last_modified_time, flowfile)
        if not (permissions or owner or group or modified):
            return None

        def dress(descriptor: int) -> None:
            if modified:
                with self._warning():
                    moment = datetime.strptime(modified, DATE_FORMAT).timestamp()
                    os.utime(descriptor, (moment, moment))
            if owner or group:
                with self._warning():
                    os.fchown(descriptor, _owner(owner), _group(group))
            # Last, because a change of owner clears some of them.
            if permissions:
                with self._warning():
                    mode = mode_of(permissions)
                    os.fchmod(descriptor, enterable(mode) if is_directory else mode)

        return dress

    @contextlib.contextmanager
    def _warning(self):  # type: ignore[no-untyped-def]  # contextlib gives it its type
        """Turn an error into a warning: the file counts as written without the extra."""
        try:
            yield
        except (OSError, ValueError, LookupError) as error:
            text = str(error.args[0] if isinstance(error, LookupError) else error)
            self.warnings[text] = self.warnings.get(text, 0) + 1


def file_name(name: str) -> str:
    """Return `name` where it names a file in a directory, and nothing beyond.

    Raises:
        ValueError: it would lead elsewhere.
    """
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise ValueError(
            f"The attribute filename is '{name}'; it must be a plain file name, without '/' and "
            "not '..'. UpdateAttribute can set another"
        )
    return name


def mode_of(text: str) -> int:
    """Return the permission bits of `rw-r-----` or `640`.

    Raises:
        ValueError: with a sentence that shows the right form.
    """
    if OCTAL.fullmatch(text):
        return int(text, 8)
    if SYMBOLIC.fullmatch(text):
        return int("".join("0" if letter == "-" else "1" for letter in text), 2)
    raise ValueError(f"is '{text}'; permissions must have a form such as 'rw-r-----' or '640'")


def enterable(mode: int) -> int:
    """Add the right to enter a directory for whoever may read or write it."""
    return mode | (mode & 0o444) >> 2 | (mode & 0o222) >> 1


def _text(expression: Expression | None, flowfile: FlowFile) -> str:
    return expression.evaluate(flowfile).strip() if expression is not None else ""


def _owner(name: str) -> int:
    if not name:
        return -1
    try:
        return int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise LookupError(f"there is no user '{name}', so the owner stays as it is") from None


def _group(name: str) -> int:
    if not name:
        return -1
    try:
        return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise LookupError(f"there is no group '{name}', so the group stays as it is") from None
