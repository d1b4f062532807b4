"""The content store: the bytes of all flowfiles, in append-only segment files.

Constraints
    1. A segment holds content bytes and nothing else: a large content, alone in its segment, is
       a plain file that other programs read by path.
    2. Bytes are never changed once written. A claim (segment, offset, length, checksum) names
       the same bytes for ever, or an error says that they are damaged or gone.
    3. Contents of any size pass through constant memory by `ContentWriter.stream` and `open`.
    4. What a synced record refers to is on the disk: `flush` names the files that the record's
       group syncs first, each sync includes the file's name in the directory.
    5. A segment is archived only when it is closed, no flowfile refers to it, no session or
       reader has it pinned, and the records that ended the references are synced.

A content's way
    writer = store.writer()             a pooled worker segment, see content_writer
    claim = writer.append(b"...")       buffered; readable by this session at once
    files = writer.flush()              written; `files` go with the record to the log
    store.references.add([claim])       under the commit lock, with the record's sequence
    store.release(writer)               the session is over
    store.references.end([claim], 17)   record 17 dropped the flowfile
    store.references.durable(17)        the committer synced record 17
    store.maintain()                    archives, then removes what passes the limits

A start
    The store scans its directory; `adopt` takes the counts folded from the log. Segments that
    nobody refers to, orphans of a crash among them, go to the archive. New segments get higher
    ids than any found or told.

Failures
    damaged (a flipped bit, a file cut short or lost)   ContentDamagedError, never other bytes
    removed from the archive                            ContentGoneError
    disk full or failing while writing                  OSError; the writer is back at its last
                                                        flush, the session rolls back
Not supported: changing or appending to a content in place, segments on several disks.
"""

import io
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from xxhash import xxh3_64, xxh3_64_intdigest

from runtime.clock import Clock
from runtime.content_archive import (
    ArchiveLimits,
    ContentArchive,
    SegmentFile,
    SegmentFiles,
    list_live,
    live_path,
)
from runtime.content_references import SegmentReferences
from runtime.content_writer import ContentWriter
from runtime.disk import Disk
from runtime.flowfile import Claim

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNK_BYTES: Final = 2**18
# Contents closer than this are read in one go: copying 16 KiB costs about as much as a read.
_GAP_BYTES: Final = 2**14
_RUN_BYTES: Final = 2**22
_VERIFIED_MAX: Final = 256
# A worker's segment is closed after this long, so that a quiet flow's contents get archived too.
_ACTIVE_SECONDS: Final = 3600.0


class ContentError(Exception):
    """A content cannot be had; `claim` says which."""

    def __init__(self, claim: Claim, problem: str) -> None:
        end = claim.offset + claim.length
        where = f"Content segment {claim.segment}, bytes {claim.offset} to {end}"
        super().__init__(f"{where}: {problem}")
        self.claim = claim


class ContentDamagedError(ContentError):
    """The bytes are not those that were written."""


class ContentGoneError(ContentError):
    """The segment was removed from the archive."""


@dataclass(frozen=True, slots=True)
class SegmentStatistics:
    """One segment: its bytes, and what keeps it; `state` is active, live or archived."""

    segment: int
    size: int
    references: int
    pins: int
    state: str


@dataclass(frozen=True, slots=True)
class Maintenance:
    """What one `maintain` did: ids of the segments archived, and of those removed."""

    archived: tuple[int, ...]
    removed: tuple[int, ...]


class ContentStore:
    """All contents of a home; safe to call from any thread, a writer from one at a time.

    `segment_bytes` is the size at which a shared segment is closed; a content longer than
    `own_segment_bytes` gets one of its own. The directory is made when it is missing.
    """

    def __init__(
        self,
        directory: Path,
        *,
        disk: Disk,
        clock: Clock,
        segment_bytes: int = 64 * 2**20,
        own_segment_bytes: int = 2**20,
        limits: ArchiveLimits | None = None,
        open_files_max: int = 256,
    ) -> None:
        self.directory = directory
        self.references = SegmentReferences()
        self._disk = disk
        self._clock = clock
        self._segment_bytes = segment_bytes
        self._own_segment_bytes = own_segment_bytes
        disk.make_directory(directory)
        disk.sync_directory(directory.parent)
        disk.sync_directory(directory)
        self.archive = ContentArchive(
            directory, disk=disk, clock=clock, limits=limits or ArchiveLimits()
        )
        self._files = SegmentFiles(
            directory, disk=disk, archive=self.archive, open_files_max=open_files_max
        )
        self._buffers: dict[int, ContentWriter] = {}
        self._lock = threading.Lock()
        self._idle_writers: list[ContentWriter] = []
        self._active_since: dict[int, float] = {}
        self._verified: dict[Claim, None] = {}
        # Held while segments move or vanish. Order: this lock before those inside the parts.
        self._maintenance = threading.Lock()

    # Writing

    def writer(self) -> ContentWriter:
        """Take a writer for one session; give it back with `release`."""
        with self._lock:
            # The last one given back: few active segments, and their pages are warm.
            if self._idle_writers:
                return self._idle_writers.pop()
        return ContentWriter(
            self._files,
            self.references,
            self._buffers,
            segment_bytes=self._segment_bytes,
            own_segment_bytes=self._own_segment_bytes,
        )

    def release(self, writer: ContentWriter) -> None:
        """End the writer's session and give it back; bytes that were not flushed are dropped."""
        writer.settle()
        with self._lock:
            assert writer not in self._idle_writers, "A content writer is released only once."
            self._idle_writers.append(writer)

    # Reading

    def read(self, claim: Claim | None) -> bytes:
        """Return a whole content, its checksum verified.

        Raises ContentDamagedError or ContentGoneError, and OSError when the disk cannot read.
        """
        if claim is None:
            return b""
        writer = self._buffers.get(claim.segment)
        data = writer.buffered(claim) if writer is not None else None
        if data is None:
            data = self._read_range(claim, claim.offset, claim.length)
        if len(data) != claim.length or xxh3_64_intdigest(data) != claim.checksum:
            raise _damaged(claim, data)
        return data

    def read_many(self, claims: Sequence[Claim | None]) -> list[bytes]:
        """Return whole contents in the order of `claims`; neighbours share a read. As `read`."""
        contents = [b""] * len(claims)
        present = [
            (claim.segment, claim.offset, index, claim)
            for index, claim in enumerate(claims)
            if claim is not None
        ]
        present.sort(key=_place)
        for run, end in _runs(present):
            first, last = run[0][3], run[-1][3]
            start = first.offset
            writer = self._buffers.get(first.segment)
            if len(run) == 1 or (writer is not None and writer.buffered(last) is not None):
                for _, _, index, claim in run:
                    contents[index] = self.read(claim)
                continue
            data = self._read_range(first, start, end - start)
            for _, offset, index, claim in run:
                begin = offset - start
                content = data[begin : begin + claim.length]
                if xxh3_64_intdigest(content) != claim.checksum:
                    raise _damaged(claim, content)
                contents[index] = content
        return contents

    def open(self, claim: Claim | None) -> BinaryIO:
        """Open a content as a stream with a position; close it to free its segment.

        The checksum is verified when reading comes to the end without skipping: the last bytes
        are then handed out only if all were right. Errors as in `read`.
        """
        if claim is None or claim.length <= _CHUNK_BYTES:
            return io.BytesIO(self.read(claim))
        writer = self._buffers.get(claim.segment)
        if writer is not None and writer.buffered(claim) is not None:
            return io.BytesIO(self.read(claim))
        self.references.pin(claim.segment)
        try:
            file = self._acquire(claim)
        except BaseException:
            self.references.unpin(claim.segment)
            raise
        return io.BufferedReader(
            ContentReader(claim, file, lambda: self._end_reading(file)), _CHUNK_BYTES
        )

    def _end_reading(self, file: SegmentFile) -> None:
        self._files.release(file)
        self.references.unpin(file.segment)

    def slice(self, claim: Claim | None, offset: int, length: int) -> Claim | None:
        """Return a claim on part of a content, which shares its bytes; None for an empty part.

        The whole is verified first, or the part's own checksum would hide damage. Raises
        ValueError when the part does not lie in the content, else as `read`.
        """
        size = claim.length if claim else 0
        if offset < 0 or length < 0 or offset + length > size:
            raise ValueError(
                f"A slice of {length} bytes at {offset} does not lie in a content of {size} bytes. "
                f"Offset and length start at 0, their sum is at most {size}."
            )
        if claim is None or not length:
            return None
        checksum = xxh3_64()
        part = Claim(claim.segment, claim.offset + offset, length, 0)
        if size <= self._own_segment_bytes:
            checksum.update(memoryview(self.read(claim))[offset : offset + length])
        else:
            self._verify_once(claim)
            for chunk in self._chunks(part):
                checksum.update(chunk)
        return Claim(part.segment, part.offset, length, checksum.intdigest())

    def _verify_once(self, claim: Claim) -> None:
        """Verify a large content, unless it was lately: splitting it asks once for each part."""
        if claim not in self._verified:
            self._check(claim)
            with self._lock:
                self._verified[claim] = None
                if len(self._verified) > _VERIFIED_MAX:
                    del self._verified[next(iter(self._verified))]

    def verify(self, claim: Claim | None) -> bool:
        """Read a content in constant memory and return whether it is there and undamaged.

        Raises OSError when the disk cannot read: that says nothing about the content.
        """
        if claim is None:
            return True
        try:
            self._check(claim)
        except ContentError:
            return False
        return True

    def _check(self, claim: Claim) -> None:
        checksum = xxh3_64()
        for chunk in self._chunks(claim):
            checksum.update(chunk)
        if checksum.intdigest() != claim.checksum:
            raise _wrong_checksum(claim, checksum.intdigest())

    def _chunks(self, claim: Claim) -> Iterator[bytes]:
        writer = self._buffers.get(claim.segment)
        data = writer.buffered(claim) if writer is not None else None
        if data is not None:
            yield data
            return
        end = claim.offset + claim.length
        for offset in range(claim.offset, end, _CHUNK_BYTES):
            length = min(_CHUNK_BYTES, end - offset)
            data = self._read_range(claim, offset, length)
            if len(data) < length:
                raise _cut_short(claim, offset + len(data))
            yield data

    def _read_range(self, claim: Claim, offset: int, length: int) -> bytes:
        """Read from the claim's segment; less than `length` where its file is cut short."""
        file = self._acquire(claim)
        try:
            return file.read(length, offset)
        finally:
            self._files.release(file)

    def _acquire(self, claim: Claim) -> SegmentFile:
        try:
            return self._files.acquire(claim.segment)
        except FileNotFoundError:
            references, _ = self.references.holders(claim.segment)
            if references:
                raise ContentDamagedError(
                    claim,
                    f"its file is missing though {references} flowfiles refer to it. Put "
                    f"{live_path(self.directory, claim.segment)} back from a backup, or drop them.",
                ) from None
            raise ContentGoneError(
                claim,
                "it was removed by retention. Raise the limits of the content archive "
                "to keep content longer.",
            ) from None

    # Keeping

    @contextmanager
    def pinned(self, claims: Iterable[Claim | None]) -> Iterator[list[Path | None]]:
        """Keep contents where they are, archived or not, for instance until a replay commits.

        Yields for each claim the path of the file that holds this content and nothing else,
        None where there is no such file. Errors as in `read`, but nothing is verified.
        """
        with ExitStack() as stack:
            with self._maintenance:
                paths = [self._pin(claim, stack) if claim else None for claim in claims]
            yield paths

    def _pin(self, claim: Claim, stack: ExitStack) -> Path | None:
        self.references.pin(claim.segment)
        stack.callback(self.references.unpin, claim.segment)
        if claim.segment in self._buffers:
            return None
        file = self._acquire(claim)
        stack.callback(self._files.release, file)
        if claim.offset or file.size() != claim.length:
            return None
        return self.archive.path(claim.segment) or live_path(self.directory, claim.segment)

    def adopt(
        self,
        live_counts: Mapping[int, int],
        *,
        highest: int = 0,
        unsynced: Iterable[int] = (),
    ) -> list[int]:
        """Take over the counts folded from the log (segment -> number), before the first session.

        `highest` is the highest segment id that the log names. `unsynced` are the segments that
        records beyond the mark refer to: a kill may have come before their sync, so they are
        synced here. Returns the segments that are referenced and missing; those that exist
        unreferenced are archived by the next `maintain`.
        """
        with self._maintenance:
            for segment in set(unsynced):
                self._sync(segment)
            self._files.raise_last_id(max(highest, *live_counts, 0))
            live = list_live(self.directory, self._disk)
            archived = {entry.segment for entry in self.archive}
            self.references.adopt(live_counts, live, archived)
            referenced = {segment for segment, count in live_counts.items() if count}
            return sorted(referenced - live - archived)

    def _sync(self, segment: int) -> None:
        with suppress(FileNotFoundError):
            file = self._files.acquire(segment)
            try:
                file.sync()
            finally:
                self._files.release(file)

    def maintain(self, *, needed_free_bytes: int = 0) -> Maintenance:
        """Archive what nobody holds, then remove what passes the limits, oldest first.

        More is removed while the disk has less than `needed_free_bytes` free.
        """
        with self._maintenance:
            self._leave_old_segments()
            archived: list[int] = []
            removed: list[int] = []
            for segment, was_referenced in self.references.idle():
                size = self._size(segment)
                if was_referenced and size:
                    if segment not in self.archive:
                        self.archive.add(segment, size)
                        archived.append(segment)
                    self.references.archived(segment)
                elif self._may_remove(segment):
                    self._remove_live(segment)
                    removed.append(segment)
            expired = self.archive.expire(self._may_remove, needed_free_bytes)
            for segment in expired:
                self._files.drop(segment)
            return Maintenance(tuple(archived), (*removed, *expired))

    def _leave_old_segments(self) -> None:
        now = self._clock.monotonic()
        with self._lock:
            waiting = [writer for writer in self._idle_writers if writer.segment]
            self._active_since = {
                writer.segment: self._active_since.get(writer.segment, now) for writer in waiting
            }
            for writer in waiting:
                if now - self._active_since[writer.segment] >= _ACTIVE_SECONDS:
                    writer.leave()

    def _may_remove(self, segment: int) -> bool:
        # Below the highest synced id only, see content_archive.
        return segment < self._files.last_durable_id and self.references.forget(segment)

    def _remove_live(self, segment: int) -> None:
        path = live_path(self.directory, segment)
        if self._disk.exists(path):  # It is not when a session rolled back before any write.
            self._disk.remove(path)
        self._files.drop(segment)

    def _size(self, segment: int) -> int:
        try:
            file = self._files.acquire(segment)
        except FileNotFoundError:
            return 0
        try:
            return file.size()
        finally:
            self._files.release(file)

    def statistics(self) -> list[SegmentStatistics]:
        """Return all segments, those first that keep the most bytes live."""
        with self._maintenance:
            live = list_live(self.directory, self._disk)
            found = [
                self._statistics(
                    segment, self._size(segment), "active" if segment in self._buffers else "live"
                )
                for segment in live
            ]
            found += [
                self._statistics(entry.segment, entry.size, "archived") for entry in self.archive
            ]
        return sorted(found, key=lambda entry: (entry.state == "archived", -entry.size))

    def _statistics(self, segment: int, size: int, state: str) -> SegmentStatistics:
        references, pins = self.references.holders(segment)
        return SegmentStatistics(segment, size, references, pins, state)

    def close(self) -> None:
        """Close all files, after the last session and the last sync."""
        self._files.close()


class ContentReader(io.RawIOBase):
    """A range of a segment as a raw stream; `released` is called once, at its end."""

    def __init__(self, claim: Claim, file: SegmentFile, released: Callable[[], None]) -> None:
        super().__init__()
        self._claim = claim
        self._file = file
        self._released = released
        self._position = 0
        self._checksum = xxh3_64()
        self._checked = 0  # how far the checksum has come; what was skipped to is not in it

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_CUR: self._position, io.SEEK_END: self._claim.length}.get(whence, 0)
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        target = memoryview(buffer).cast("B")
        length = min(len(target), self._claim.length - self._position)
        if length <= 0:
            return 0
        data = self._file.read(length, self._claim.offset + self._position)
        if len(data) < length:
            raise _cut_short(self._claim, self._claim.offset + self._position + len(data))
        self._check(data)
        target[:length] = data
        self._position += length
        return length

    def _check(self, data: bytes) -> None:
        unseen = self._checked - self._position
        if 0 <= unseen < len(data):
            self._checksum.update(memoryview(data)[unseen:])
            self._checked = self._position + len(data)
            digest = self._checksum.intdigest()
            if self._checked == self._claim.length and digest != self._claim.checksum:
                raise _wrong_checksum(self._claim, digest)

    def close(self) -> None:
        if not self.closed:
            self._released()
        super().close()


_Placed = tuple[int, int, int, Claim]


def _place(placed: _Placed) -> tuple[int, int]:
    return placed[0], placed[1]


def _runs(placed: list[_Placed]) -> Iterator[tuple[list[_Placed], int]]:
    """Split sorted claims into runs that one read covers, each with where it ends.

    Claims may overlap, as slices do, so the last one need not reach farthest.
    """
    run: list[_Placed] = []
    segment = start = end = -1
    for entry in placed:
        stop = entry[1] + entry[3].length
        if entry[0] == segment and entry[1] <= end + _GAP_BYTES and stop <= start + _RUN_BYTES:
            run.append(entry)
            end = max(end, stop)
            continue
        if run:
            yield run, end
        run = [entry]
        segment, start, end = entry[0], entry[1], stop
    if run:
        yield run, end


def _damaged(claim: Claim, data: bytes) -> ContentDamagedError:
    if len(data) < claim.length:
        return _cut_short(claim, claim.offset + len(data))
    return _wrong_checksum(claim, xxh3_64_intdigest(data))


def _cut_short(claim: Claim, end: int) -> ContentDamagedError:
    return ContentDamagedError(
        claim, f"the segment ends at {end}, within the content. Its file was cut or lost writes."
    )


def _wrong_checksum(claim: Claim, digest: int) -> ContentDamagedError:
    return ContentDamagedError(
        claim,
        f"the checksum is {digest:016x}, written was {claim.checksum:016x}. "
        "Its file was changed or the disk fails; check the disk.",
    )
