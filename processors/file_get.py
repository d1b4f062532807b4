"""GetFile: takes files out of a directory.

A file is read, committed, and deleted only when the record is durable; `file_completion` says how
the deletion survives a crash. Between commit and deletion the file is known by its identity, so
that no listing takes it twice.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Final

from processors.file_completion import Completion, Completions, FileIdentity, identity_of
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
from runtime.processor import Effects, Input, Processor, Relationship
from runtime.properties import Duration, Property
from runtime.session import Session

CHUNK_BYTES: Final = 1 << 20
RELIST_BELOW: Final = 100
"""A new listing is made, once the interval is over, when fewer files than this are left of the old
one, as in NiFi."""


class GetFile(Processor):
    """Read the files of a directory into flowfiles, and delete them."""

    class Properties(FileFilters):
        keep_source_file: bool = Property(
            False,
            description="Whether to leave the files in place. They are then read again at each "
            "listing, which is good for tests only; use ListFile and FetchFile otherwise.",
        )
        polling_interval: Duration = Property(
            "30 sec", description="How long to wait between two listings of the directory."
        )
        batch_size: int = Property(10, ge=1, description="How many files to read at most in a run.")

    input = Input.FORBIDDEN
    effects = Effects.WRITES_OUTSIDE
    serial = True
    tags = ("local", "files", "filesystem", "ingest", "ingress", "get", "source", "input", "read")
    writes = FILE_ATTRIBUTES
    delivery = (
        "Each file is read once: it is deleted when its content is durable, and after a crash the "
        "deletion is made up for. A file that changes between reading and deletion stays and is "
        "read again."
    )
    success = Relationship("The files that were read.")

    properties: Properties

    def start(self) -> None:
        self.waiting: deque[Found] = deque()
        self.next_listing = self.context.clock.monotonic()
        self.completions = Completions(self.context)
        self.completions.recover()

    def on_trigger(self, session: Session) -> None:
        if not self.completions.has_room:
            self.context.wake_in(0.05)
            return
        if len(self.waiting) < RELIST_BELOW:
            self._list()
        taken: list[Completion] = []
        # Files that vanished or changed are passed by, so the batch counts what was read.
        while self.waiting and len(taken) < self.properties.batch_size:
            identity = self._read(session, self.waiting.popleft())
            if identity is not None:
                taken.append(Completion(identity))
        if taken and not self.properties.keep_source_file:
            self.completions.commit(session, taken)
        elif self.completions.has_notes:
            self.completions.tidied(session)
        if self.waiting:
            self.context.wake()
        else:
            self.context.wake_in(max(0.0, self.next_listing - self.context.clock.monotonic()))

    def _list(self) -> None:
        now = self.context.clock.monotonic()
        if now < self.next_listing:
            return
        properties = self.properties
        directory = directory_of(properties.input_directory)
        self.waiting.clear()
        wall = self.context.clock.wall()
        for found in walk(directory, recurse=properties.recurse_subdirectories):
            if properties.accepts(found, wall) and self._can_take(found):
                self.waiting.append(found)
        self.next_listing = now + properties.polling_interval

    def _can_take(self, found: Found) -> bool:
        if self.properties.keep_source_file:
            return True
        identity = identity_of(os.fsencode(found.path), found.facts)
        return not self.completions.is_pending(identity) and os.access(
            os.path.dirname(found.path), os.W_OK | os.X_OK
        )

    def _read(self, session: Session, found: Found) -> FileIdentity | None:
        """Make a flowfile of a file; None when it is gone or changed while it was read."""
        path = os.fsencode(found.path)
        try:
            descriptor = open_regular(path)
        except OSError:
            return None
        with open(descriptor, "rb", buffering=0) as source:
            facts = os.fstat(descriptor)
            identity = identity_of(path, facts)
            if self.completions.is_pending(identity):
                return None
            attributes = place_attributes(found) | fact_attributes(facts)
            uri = uri_of(found.path)
            if facts.st_size <= CHUNK_BYTES:
                content = source.read(facts.st_size + 1)
                if identity_of(path, os.fstat(descriptor)) != identity:
                    return None
                flowfile = session.create(attributes, content, received_from=uri)
            else:
                flowfile = session.create(attributes, received_from=uri)
                with session.open_write(flowfile) as target:
                    while chunk := source.read(CHUNK_BYTES):
                        target.write(chunk)
                flowfile = target.flowfile
                if identity_of(path, os.fstat(descriptor)) != identity:
                    session.drop(flowfile, "The file changed while it was read.")
                    return None
        session.transfer(flowfile, self.success)
        return identity
