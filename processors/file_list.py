"""ListFile and FetchFile: find files, and read those that were found.

ListFile remembers what it has listed, in the same commit as the flowfiles:

    timestamps   small state `listing.timestamp`: the newest modification time listed (ns);
                 key `newest`: 8-byte hashes of the paths that have exactly this time, so that
                 a file which appears later with the same time is still listed
    entities     keys `entities 0` ... `entities 63`: MessagePack maps from path to modification
                 time (ns) and size, a path's shard chosen by its hash
    none         nothing

A change of what is looked for (directory, filters, strategy) starts over, as in NiFi: small state
`listing.settings` holds a hash of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import xxhash

from processors.file_completion import Completion, Completions, identity_of
from processors.file_search import (
    FILE_ATTRIBUTES,
    FileFilters,
    Found,
    directory_of,
    fact_attributes,
    open_regular,
    place_attributes,
    uri_of,
    walk,
)
from runtime.flowfile import FlowFile
from runtime.processor import Effects, Example, Input, Level, Processor, Relationship
from runtime.properties import Choice, Duration, Expression, Property
from runtime.properties import Properties as Declaration
from runtime.session import Session

SHARDS: Final = 64
CHUNK_BYTES: Final = 1 << 20
HASH_BYTES: Final = 8
NO_EFFECT: Final = "Has no effect; accepted so that NiFi flows open."


class Strategy(Choice):
    """How files that were listed before are told from new ones."""

    TIMESTAMPS = "timestamps", "Tracking Timestamps"
    ENTITIES = "entities", "Tracking Entities"
    NONE = "none", "No Tracking"


class Location(Choice):
    """Where the directory is."""

    LOCAL = "Local"
    REMOTE = "Remote"


class Precision(Choice):
    """How exact the times are that the file system keeps."""

    AUTO = "auto-detect", "Auto Detect"
    MILLISECONDS = "millis", "Milliseconds"
    SECONDS = "seconds", "Seconds"
    MINUTES = "minutes", "Minutes"


PRECISION_SECONDS: Final = {Precision.SECONDS: 1, Precision.MINUTES: 60}


class InitialTarget(Choice):
    """What the first listing takes in."""

    WINDOW = "window", "Tracking Time Window"
    ALL = "all", "All Available"


class ListFile(Processor):
    """List the files of a directory, one flowfile for each that is new or has changed."""

    class Properties(FileFilters):
        listing_strategy: Strategy = Property(
            Strategy.TIMESTAMPS,
            formerly=("listing-strategy",),
            description="How new files are recognised. By timestamps, a file that arrives with "
            "an older time than the newest one listed is missed; by entities it is found.",
        )
        input_directory_location: Location = Property(
            Location.LOCAL,
            description="Whether every node has a directory of its own (Local) or all see the "
            "same one (Remote), which is then to be listed on the primary node only.",
        )
        include_file_attributes: bool = Property(
            True,
            description="Whether to add owner, group, permissions and times as attributes.",
        )
        target_system_timestamp_precision: Precision = Property(
            Precision.AUTO,
            formerly=("target-system-timestamp-precision",),
            description="How exact the file system's times are. With Seconds or Minutes a file "
            "is listed only when its second or minute is over, so that no later change is missed.",
        )
        entity_tracking_time_window: Duration = Property(
            "3 hours",
            formerly=("et-time-window",),
            depends_on={"Listing Strategy": ("entities",)},
            description="Files modified longer ago than this are neither listed nor remembered.",
        )
        entity_tracking_initial_listing_target: InitialTarget = Property(
            InitialTarget.ALL,
            formerly=("et-initial-listing-target",),
            depends_on={"Listing Strategy": ("entities",)},
            description="Whether the first listing takes all files or only those in the window.",
        )
        max_directory_listing_time: Duration | None = Property(
            "3 mins",
            formerly=("max-listing-time",),
            description="A listing that takes longer than this raises a warning.",
        )
        entity_tracking_state_cache: str | None = Property(
            None, formerly=("et-state-cache",), description=f"The state is kept here. {NO_EFFECT}"
        )
        entity_tracking_node_identifier: str | None = Property(
            None,
            formerly=("et-node-identifier",),
            description=f"Each node keeps a state of its own. {NO_EFFECT}",
        )
        track_performance: bool = Property(
            False, formerly=("track-performance",), description=NO_EFFECT
        )
        maximum_number_of_files_to_track: str | None = Property(
            None,
            name="Maximum Number of Files to Track",
            formerly=("max-performance-metrics",),
            description=NO_EFFECT,
        )
        max_disk_operation_time: str | None = Property(
            None, formerly=("max-operation-time",), description=NO_EFFECT
        )

    input = Input.FORBIDDEN
    effects = Effects.READS_OUTSIDE
    serial = True
    default_period = "1 min"
    tags = ("file", "get", "list", "ingest", "source", "filesystem", "directory")
    writes = FILE_ATTRIBUTES | {"file.size": "Its size in bytes."}
    delivery = "What was listed is remembered with the flowfiles: a crash repeats no listing."
    success = Relationship("One flowfile for each file, without content.")

    properties: Properties

    def on_trigger(self, session: Session) -> None:
        properties = self.properties
        clock = self.context.clock
        directory = directory_of(properties.input_directory)
        started, now = clock.monotonic(), clock.wall()
        newest = self._newest_allowed(now)
        found = [
            one
            for one in walk(directory, recurse=properties.recurse_subdirectories)
            if one.facts.st_mtime_ns <= newest and properties.accepts(one, now)
        ]
        self._warn_if_slow(directory, clock.monotonic() - started)
        match properties.listing_strategy:
            case Strategy.TIMESTAMPS:
                found = self._newer(session, found)
            case Strategy.ENTITIES:
                found = self._untracked(session, found, now)
        found.sort(key=lambda one: (one.facts.st_mtime_ns, one.path))
        session.transfer([self._flowfile(session, one) for one in found], self.success)

    def _newest_allowed(self, now: float) -> float:
        unit = PRECISION_SECONDS.get(self.properties.target_system_timestamp_precision)
        return (now // unit * unit) * 1e9 - 1 if unit else float("inf")

    def _warn_if_slow(self, directory: str, seconds: float) -> None:
        limit = self.properties.max_directory_listing_time
        if limit is not None and seconds > limit:
            self.context.report(
                "WARN",
                f"Listing '{directory}' took {seconds:.0f} s; Max Directory Listing Time is "
                f"{limit:.0f} s.",
            )

    def _newer(self, session: Session, found: list[Found]) -> list[Found]:
        settings = self._settings()
        state = session.state if session.state.get("listing.settings") == settings else {}
        before = int(state.get("listing.timestamp", -1))
        hashes = _hashes(session.key("newest") or b"") if state else set()
        new = [
            one
            for one in found
            if one.facts.st_mtime_ns > before
            or (one.facts.st_mtime_ns == before and _hash(one.path) not in hashes)
        ]
        if new or not state:
            latest = max([before, *(one.facts.st_mtime_ns for one in new)])
            at_latest = {_hash(one.path) for one in new if one.facts.st_mtime_ns == latest}
            if latest == before:
                at_latest |= hashes
            session.set_key("newest", b"".join(sorted(at_latest)))
            session.set_state(
                {"listing.settings": settings, "listing.timestamp": str(latest)}
            )
        return new

    def _untracked(self, session: Session, found: list[Found], now: float) -> list[Found]:
        settings = self._settings()
        is_first = session.state.get("listing.settings") != settings
        properties = self.properties
        oldest = int((now - properties.entity_tracking_time_window) * 1e9)
        takes_all = is_first and (
            properties.entity_tracking_initial_listing_target is InitialTarget.ALL
        )
        new: list[Found] = []
        for shard, candidates in enumerate(_sharded(found)):
            name = f"entities {shard}"
            note = None if is_first else session.key(name)
            before = _decode_shard(note) if note else {}
            after = {path: facts for path, facts in before.items() if facts[0] >= oldest}
            for one in candidates:
                facts = (one.facts.st_mtime_ns, one.facts.st_size)
                known = after.get(os.fsencode(one.path))
                if facts[0] < oldest and not takes_all:
                    continue
                if known is None or facts[0] > known[0] or facts[1] != known[1]:
                    new.append(one)
                    after[os.fsencode(one.path)] = facts
            if is_first or after != before:
                session.set_key(name, msgspec.msgpack.encode(after) if after else None)
        if is_first:
            session.set_state({"listing.settings": settings})
        return new

    def _settings(self) -> str:
        """Return a hash of what is looked for; another one starts the listing over."""
        properties = self.properties
        filters = [
            properties.listing_strategy.value,
            properties.input_directory.evaluate(),
            properties.file_filter.text,
            properties.path_filter.text if properties.path_filter else None,
            properties.recurse_subdirectories,
            properties.ignore_hidden_files,
            properties.minimum_file_age,
            properties.maximum_file_age,
            properties.minimum_file_size,
            properties.maximum_file_size,
        ]
        return xxhash.xxh3_64_hexdigest(msgspec.json.encode(filters))

    def _flowfile(self, session: Session, found: Found) -> FlowFile:
        attributes = place_attributes(found)
        facts = fact_attributes(found.facts)
        attributes["file.size"] = str(found.facts.st_size)
        if self.properties.include_file_attributes:
            attributes |= facts
        else:
            attributes["file.lastModifiedTime"] = facts["file.lastModifiedTime"]
        return session.create(attributes)


def _hash(path: str) -> bytes:
    return xxhash.xxh3_64_digest(os.fsencode(path))


def _hashes(joined: bytes) -> set[bytes]:
    return {joined[start : start + HASH_BYTES] for start in range(0, len(joined), HASH_BYTES)}


def _sharded(found: Iterable[Found]) -> list[list[Found]]:
    shards: list[list[Found]] = [[] for _ in range(SHARDS)]
    for one in found:
        shards[_hash(one.path)[0] % SHARDS].append(one)
    return shards


def _decode_shard(note: bytes) -> dict[bytes, tuple[int, int]]:
    return msgspec.msgpack.decode(note, type=dict[bytes, tuple[int, int]])


class CompletionStrategy(Choice):
    """What becomes of the file that was read."""

    NONE = "None"
    MOVE = "Move File"
    DELETE = "Delete File"


class MoveConflict(Choice):
    """What to do where a file is to be moved and its name is taken."""

    RENAME = "Rename"
    REPLACE = "Replace File"
    KEEP = "Keep Existing"
    FAIL = "Fail"


CONFLICTS: Final = {
    MoveConflict.RENAME: "rename",
    MoveConflict.REPLACE: "replace",
    MoveConflict.KEEP: "keep",
    MoveConflict.FAIL: "fail",
}


class ReportLevel(Choice):
    """The level of a bulletin; NONE shows none."""

    TRACE = "TRACE"
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"
    FATAL = "FATAL"
    NONE = "NONE"


LEVELS: Final[dict[ReportLevel, Level]] = {
    ReportLevel.TRACE: "DEBUG",
    ReportLevel.DEBUG: "DEBUG",
    ReportLevel.INFO: "INFO",
    ReportLevel.WARN: "WARN",
    ReportLevel.ERROR: "ERROR",
    ReportLevel.FATAL: "ERROR",
}


class FetchFile(Processor):
    """Replace the content of a flowfile by that of a file, then leave, move or delete the file."""

    class Properties(Declaration):
        file_to_fetch: Expression = Property(
            "${absolute.path}/${filename}",
            name="File to Fetch",
            description="The full path of the file to read.",
        )
        completion_strategy: CompletionStrategy = Property(
            CompletionStrategy.NONE,
            description="What to do with the file once its content is durable.",
        )
        move_destination_directory: Expression | None = Property(
            None,
            required=True,
            depends_on={"Completion Strategy": ("Move File",)},
            description="The directory to move the file to; created where it is missing.",
        )
        move_conflict_strategy: MoveConflict = Property(
            MoveConflict.RENAME,
            depends_on={"Completion Strategy": ("Move File",)},
            description="What to do when that directory has a file of the same name: move it "
            "under another name, replace the other, delete the one that was read, or send the "
            "flowfile to failure.",
        )
        file_not_found_log_level: ReportLevel = Property(
            ReportLevel.ERROR,
            name="File not Found Log Level",
            formerly=("Log level when file not found",),
            description="The level of the bulletin when files do not exist.",
        )
        permission_denied_log_level: ReportLevel = Property(
            ReportLevel.ERROR,
            formerly=("Log level when permission denied",),
            description="The level of the bulletin when files must not be read.",
        )

    effects = Effects.WRITES_OUTSIDE
    tags = ("local", "files", "filesystem", "ingest", "ingress", "get", "input", "fetch", "read")
    reads = {
        "absolute.path": "The directory of the file, by default.",
        "filename": "The name of the file, by default.",
    }
    delivery = (
        "A file is moved or deleted when its content is durable; after a crash that is made up "
        "for. A file that changes in between stays where it is."
    )
    success = Relationship("Flowfiles with the content of their file.")
    not_found = Relationship("Flowfiles whose file does not exist.", name="not.found")
    permission_denied = Relationship(
        "Flowfiles whose file must not be read.", name="permission.denied"
    )
    failure = Relationship("Flowfiles whose file could not be read for another reason.")
    example = Example(
        "A file that is not there",
        properties={"File not Found Log Level": "NONE"},
        attributes={"absolute.path": "/nowhere", "filename": "missing.txt"},
        expect="not.found",
    )

    properties: Properties

    @classmethod
    def effects_of(cls, properties: FetchFile.Properties) -> Effects:
        if properties.completion_strategy is CompletionStrategy.NONE:
            return Effects.READS_OUTSIDE
        return Effects.WRITES_OUTSIDE

    def start(self) -> None:
        self.completions = Completions(self.context)
        self.completions.recover()

    def on_trigger(self, session: Session) -> None:
        if not self.completions.has_room:
            self.context.yield_for(0.05)
            return
        work: list[Completion] = []
        missing: list[OSError] = []
        denied: list[OSError] = []
        for flowfile in session.take():
            try:
                completion = self._fetch(session, flowfile)
            except (FileNotFoundError, NotADirectoryError) as error:
                missing.append(error)
                self._refuse(session, flowfile, self.not_found, error)
            except PermissionError as error:
                denied.append(error)
                self._refuse(session, flowfile, self.permission_denied, error)
            except (OSError, ValueError) as error:
                self._refuse(session, flowfile, self.failure, error)
            else:
                if completion is not None:
                    work.append(completion)
        self._report(self.properties.file_not_found_log_level, missing)
        self._report(self.properties.permission_denied_log_level, denied)
        if work:
            self.completions.commit(session, work)

    def _fetch(self, session: Session, flowfile: FlowFile) -> Completion | None:
        text = self.properties.file_to_fetch.evaluate(flowfile)
        if not text.strip():
            raise ValueError("File to Fetch is empty for this flowfile; it must be a path")
        path = os.path.abspath(text)
        descriptor = open_regular(path)
        with open(descriptor, "rb", buffering=0) as source:
            facts = os.fstat(descriptor)
            completion = self._completion(flowfile, session.uuid(flowfile), path, facts)
            with session.open_write(flowfile) as target:
                while chunk := source.read(CHUNK_BYTES):
                    target.write(chunk)
        uri = uri_of(path)
        session.fetched(flowfile, uri, details=f"The content is now that of {uri}.")
        session.transfer(target.flowfile, self.success)
        return completion

    def _completion(
        self, flowfile: FlowFile, uuid: str, path: str, facts: os.stat_result
    ) -> Completion | None:
        """Return what is to be done with the file; raises where that cannot be done."""
        properties = self.properties
        identity = identity_of(os.fsencode(path), facts)
        match properties.completion_strategy:
            case CompletionStrategy.NONE:
                return None
            case CompletionStrategy.DELETE:
                return Completion(identity)
        assert properties.move_destination_directory is not None
        directory = properties.move_destination_directory.evaluate(flowfile)
        if not directory.strip():
            raise ValueError(
                "Move Destination Directory is empty for this flowfile; it must be a path"
            )
        target = os.path.join(os.path.abspath(directory), os.path.basename(path))
        _check_destination(os.path.dirname(target))
        conflict = properties.move_conflict_strategy
        if conflict is MoveConflict.FAIL and os.path.lexists(target):
            raise FileExistsError(
                f"'{target}' exists already, so '{path}' is not fetched: Move Conflict Strategy "
                "is Fail"
            )
        stem, extension = os.path.splitext(target)
        spare = f"{stem}-{uuid}{extension}"
        return Completion(
            identity, os.fsencode(target), CONFLICTS[conflict], os.fsencode(spare)
        )

    def _refuse(
        self, session: Session, flowfile: FlowFile, relationship: Relationship, error: Exception
    ) -> None:
        session.penalize(flowfile)
        session.transfer(flowfile, relationship, reason=error)

    def _report(self, level: ReportLevel, errors: Sequence[OSError]) -> None:
        if errors and level is not ReportLevel.NONE:
            more = f", and {len(errors) - 1} more like it" if len(errors) > 1 else ""
            self.context.report(LEVELS[level], f"{errors[0]}{more}")


def _check_destination(directory: str) -> None:
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"Move Destination Directory '{directory}' does not exist and cannot be created: "
            f"{error.strerror}"
        ) from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise OSError(f"Move Destination Directory '{directory}' must not be written to")
