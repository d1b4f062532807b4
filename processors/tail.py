"""TailFile: follows log files.

One flowfile holds the whole lines that were appended since the last trigger; SplitText makes
lines of it. At each trigger the positions are read from the state, the file that each is in is
looked for (`tail_rotation`), whole lines are taken from it (`tail_lines`), and the new position is
committed with them (`tail_position`). So a crash neither loses nor repeats a line, and a file that
was rotated while nobody watched is caught up with as long as it still exists.

An incomplete line waits for its end, except at the end of a file that was rotated away. The file
read last is kept open, so that its rest is found even if it is moved elsewhere or deleted.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Final

from pydantic import model_validator

from processors.file_search import directory_of, path_of, text_of, uri_of, walk
from processors.tail_lines import (
    WINDOW_BYTES,
    LineRules,
    Piece,
    chunks,
    last_line_end,
    next_piece,
)
from processors.tail_position import Position, Positions, position_in
from processors.tail_rotation import Source, following, locate, oldest
from processors.tail_watch import FileWatch
from runtime.patterns import compile_pattern
from runtime.processor import Effects, Input, Processor, Relationship
from runtime.properties import Choice, DataSize, Duration, Expression, Pattern, Property
from runtime.properties import Properties as Declaration
from runtime.session import Session

TRIGGER_BYTES: Final = 32 << 20
"""A trigger reads on, file after file, until it has taken this much."""


class Mode(Choice):
    """Whether one file is named or many are looked for."""

    SINGLE = "Single file"
    MULTIPLE = "Multiple files"


class StartPosition(Choice):
    """Where to begin with a file of which nothing was read yet."""

    OLDEST = "Beginning of Time"
    BEGINNING = "Beginning of File"
    END = "Current Time"


class StateLocation(Choice):
    """Who keeps the positions."""

    LOCAL = "Local"
    REMOTE = "Remote"


class TailFile(Processor):
    """Read lines as they are appended to a file, or to many."""

    class Properties(Declaration):
        tailing_mode: Mode = Property(
            Mode.SINGLE,
            formerly=("tail-mode",),
            description="Whether to follow one file, which need not exist yet, or all files of a "
            "directory whose names match.",
        )
        files_to_tail: Expression = Property(
            name="Files to Tail",
            formerly=("File to Tail",),
            description="The path of the file; with Multiple files, a regular expression that "
            "the paths below the base directory must match.",
        )
        rolling_filename_pattern: str | None = Property(
            None,
            min_length=1,
            description="Names of files that were rolled over, with `*` and `?`, beside the file "
            "itself; `${filename}` is its name without the extension.",
        )
        post_rollover_tail_period: Duration = Property(
            "0 sec",
            name="Post-Rollover Tail Period",
            description="How long a rolled file must be left unchanged before the new one is "
            "begun.",
        )
        base_directory: Expression | None = Property(
            None,
            required=True,
            formerly=("tail-base-directory",),
            depends_on={"Tailing Mode": ("Multiple files",)},
            description="The directory to look for files in.",
        )
        initial_start_position: StartPosition = Property(
            StartPosition.BEGINNING,
            description="Where to begin: with rolled files, with the file as it is, or with what "
            "is written from now on. Files that appear later are read from their beginning.",
        )
        state_location: StateLocation = Property(
            StateLocation.LOCAL,
            formerly=("File Location",),
            description="Local: every node follows files of its own. Remote: they are shared, "
            "and one node at a time follows them.",
        )
        recursive_lookup: bool = Property(
            False,
            formerly=("tailfile-recursive-lookup",),
            depends_on={"Tailing Mode": ("Multiple files",)},
            description="Whether to look into subdirectories too.",
        )
        lookup_frequency: Duration = Property(
            "10 minutes",
            formerly=("tailfile-lookup-frequency",),
            depends_on={"Tailing Mode": ("Multiple files",)},
            description="How long to wait before looking for new files again.",
        )
        maximum_age: Duration = Property(
            "24 hours",
            formerly=("tailfile-maximum-age",),
            depends_on={"Tailing Mode": ("Multiple files",)},
            description="Files not modified for longer than this are not followed.",
        )
        reread_on_nul: bool = Property(
            False,
            name="Reread on NUL Encountered",
            formerly=("reread-on-nul",),
            description="Whether a zero byte means that data has not arrived yet, as network "
            "file systems may show it; the line is then read again later.",
        )
        line_start_pattern: Pattern | None = Property(
            None,
            depends_on={"Tailing Mode": ("Single file",)},
            description="How a message begins. A message of several lines is kept together: it "
            "is taken when the next one begins.",
        )
        preallocated_buffer_size: DataSize = Property(
            "65536 B",
            formerly=("pre-allocated-buffer-size",),
            description="Has no effect; accepted so that NiFi flows open.",
        )
        max_buffer_size: DataSize = Property(
            "64 KB",
            depends_on={"Line Start Pattern": ()},
            description="A message that is longer than this is taken in parts.",
        )

        @model_validator(mode="after")
        def _has_pattern(self) -> TailFile.Properties:
            if self.tailing_mode is Mode.MULTIPLE and self.files_to_tail.is_constant:
                compile_pattern(self.files_to_tail.text)
            return self

    input = Input.FORBIDDEN
    effects = Effects.READS_OUTSIDE
    serial = True
    default_period = "30 sec"
    tags = ("tail", "file", "log", "text", "source", "follow")
    writes = {
        "filename": "The file's name with the range of bytes in it: `app.0-1024.log`.",
        "mime.type": "text/plain",
        "tailfile.original.path": "The path of the file that is followed.",
    }
    delivery = (
        "Positions are kept with the flowfiles: a crash neither loses nor repeats a line, also if "
        "files are rotated meanwhile, as long as the rotated ones are still there."
    )
    success = Relationship("The lines that were read, one flowfile for each read.")

    properties: Properties

    def start(self) -> None:
        properties = self.properties
        self.many = properties.tailing_mode is Mode.MULTIPLE
        self.positions = Positions(many=self.many)
        self.rules = LineRules(
            properties.line_start_pattern, properties.max_buffer_size, properties.reread_on_nul
        )
        self.held: dict[str, int] = {}
        self.complaints: dict[str, str] = {}
        self.next_lookup = self.context.clock.monotonic()
        self.paths: deque[str] = deque()
        self.is_fresh = False
        """The files were looked up in this very trigger."""
        if self.many:
            assert properties.base_directory is not None
            self.directory = directory_of(properties.base_directory, "Base Directory")
            self.wanted = compile_pattern(properties.files_to_tail.evaluate())
        else:
            path = os.path.abspath(properties.files_to_tail.evaluate())
            self.directory = os.path.dirname(path)
            self.paths.append(path)
        self.watch = self._watch()

    def stop(self) -> None:
        if self.watch is not None:
            self.watch.stop()
        for descriptor in self.held.values():
            os.close(descriptor)
        self.held.clear()

    def on_trigger(self, session: Session) -> None:
        self.is_fresh = False
        if self.many and self.context.clock.monotonic() >= self.next_lookup:
            self._look_up(session)
        more = False
        for _ in range(len(self.paths)):
            if not self.paths:
                break
            path = self.paths[0]
            # The next trigger begins with the next file, so that a busy one starves no other.
            self.paths.rotate(-1)
            try:
                more |= self._tail(session, path)
            except OSError as error:
                self._complain(path, f"'{path}' cannot be read: {error.strerror or error}.")
            if session.bytes_written >= TRIGGER_BYTES:
                more = True
                break
        if self.is_fresh:
            # Only now: a trigger that fails must look again.
            frequency = self.properties.lookup_frequency
            self.next_lookup = self.context.clock.monotonic() + frequency
        if more:
            self.context.wake()

    def _tail(self, session: Session, path: str) -> bool:
        """Take what a file has; tells whether there is more at once."""
        former = self.positions.load(session, path)
        position = former or self._initial(path)
        source = self._locate(path, position)
        if source is None:
            if former is None:
                self.positions.save(session, path, Position())
            self._complain(path, f"'{path}' does not exist; it is read when it appears.")
            return False
        if source.rotated and self.many and not self.is_fresh:
            # The renamed file may be one of those that are followed under its new name.
            source.close()
            self._look_up(session)
            return self._tail(session, path)
        try:
            return self._read(session, path, source, former)
        finally:
            self._hold(path, source)

    def _read(
        self, session: Session, path: str, source: Source, former: Position | None
    ) -> bool:
        position = source.position
        final = source.rotated and self._is_settled(source)
        piece = next_piece(source.descriptor, position.offset, self.rules, final=final)
        if source.lost:
            self.context.report(
                "WARN",
                f"'{path}' was rotated, and the former file is gone: what was written to it after "
                f"byte {former.offset if former else 0:,} is lost.",
            )
        if piece.met_gap:
            self._complain(path, f"'{path}' has a zero byte; the rest is read again later.")
        else:
            self.complaints.pop(path, None)
        if piece.end > piece.offset:
            end = self._emit(session, path, source, piece)
            self.positions.save(session, path, position_in(source.descriptor, end))
            return final or os.fstat(source.descriptor).st_size > piece.offset + WINDOW_BYTES
        if final:
            rolling = self.properties.rolling_filename_pattern
            self.positions.save(session, path, following(path, source, rolling))
            return True
        if position != former:
            self.positions.save(session, path, position)
        return False

    def _emit(self, session: Session, path: str, source: Source, piece: Piece) -> int:
        """Make a flowfile of a piece; returns where it really ended."""
        stem, dot, extension = os.path.basename(source.path).rpartition(".")
        if not dot:
            stem, extension = extension, ""
        flowfile = session.create(
            received_from=uri_of(source.path),
            details=f"Bytes {piece.offset} to {piece.end} of the file.",
        )
        try:
            with session.open_write(flowfile) as target:
                for chunk in chunks(source.descriptor, piece):
                    target.write(chunk)
        except OSError:
            session.drop(flowfile, "The file could not be read.")
            raise
        end = piece.offset + target.flowfile.size
        flowfile = session.put(
            target.flowfile,
            {
                "filename": text_of(f"{stem}.{piece.offset}-{end}{dot}{extension}"),
                "mime.type": "text/plain",
                "tailfile.original.path": text_of(path),
            },
        )
        session.transfer(flowfile, self.success)
        return end

    def _is_settled(self, source: Source) -> bool:
        """Tell whether a rolled file has been left alone for long enough."""
        period = self.properties.post_rollover_tail_period
        age = self.context.clock.wall() - os.fstat(source.descriptor).st_mtime
        return period == 0 or age >= period

    def _initial(self, path: str) -> Position:
        """Return where to begin with a file of which nothing is known."""
        start = self.properties.initial_start_position
        if start is StartPosition.OLDEST:
            return oldest(path, self.properties.rolling_filename_pattern) or Position()
        if start is StartPosition.END and os.path.exists(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                return position_in(descriptor, last_line_end(descriptor))
            finally:
                os.close(descriptor)
        return Position()

    def _locate(self, path: str, position: Position) -> Source | None:
        pattern = self.properties.rolling_filename_pattern
        source = locate(path, position, pattern, self.held.get(path))
        if source is not None and not position.inode:
            source.position = position_in(source.descriptor, 0)
        return source

    def _hold(self, path: str, source: Source) -> None:
        former = self.held.pop(path, None)
        if former is not None:
            os.close(former)
        self.held[path] = source.descriptor

    def _look_up(self, session: Session) -> None:
        """Find the files to follow; only positions of files long gone are forgotten."""
        properties = self.properties
        oldest_time = self.context.clock.wall() - properties.maximum_age
        self.is_fresh = True
        matching = {
            one.path: one.facts
            for one in walk(self.directory, recurse=properties.recursive_lookup)
            if self.wanted.matches(text_of(os.path.relpath(one.path, self.directory)))
        }
        followed = {path for path, facts in matching.items() if facts.st_mtime > oldest_time}
        former = self.positions.known(session)
        names = {uri_of(path) for path in followed}
        if former is not None:
            known = {path_of(name): name for name in former}
            positions = {path: self.positions.load(session, path) for path in known}
            self._begin_new(session, {path: matching[path] for path in followed}, positions)
            for path, position in positions.items():
                if path in matching:
                    names.add(known[path])
                elif position is not None and position.modified / 1e9 > oldest_time:
                    # It may be on its way from one name to another.
                    names.add(known[path])
                    followed.add(path)
        self.positions.remember(session, names, former)
        for path in set(self.held) - followed:
            os.close(self.held.pop(path))
        self.paths = deque(sorted(followed))

    def _begin_new(
        self,
        session: Session,
        followed: dict[str, os.stat_result],
        positions: dict[str, Position | None],
    ) -> None:
        """Give new files their position: a renamed one keeps its own, others begin at 0."""
        for path in followed.keys() - positions.keys():
            begin = Position()
            for other, position in positions.items():
                if position is None or not position.is_in(followed[path]):
                    continue
                now = followed.get(other)
                if now is None or not position.is_in(now):
                    begin = position
                    there = Position(now.st_dev, now.st_ino) if now else Position()
                    self.positions.save(session, other, there)
            self.positions.save(session, path, begin)

    def _complain(self, path: str, message: str) -> None:
        """Show a warning, once until it changes."""
        if self.complaints.get(path) != message:
            self.complaints[path] = message
            self.context.report("WARN", message)

    def _watch(self) -> FileWatch | None:
        if not os.path.isdir(self.directory):
            return None
        return FileWatch(
            self.directory,
            recursive=self.many and self.properties.recursive_lookup,
            concerns=lambda path: self.many or path == self.paths[0],
            wake=self.context.wake,
        )
