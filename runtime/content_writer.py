"""Segments being written: a worker's active one, and streams.

A `ContentWriter` packs small contents one after another into its active segment:

    written to the file            buffered here
    +------+---+--------+---------+-----+----+-------+
    | c1   |c2 | c3     | (dead)  | c4  | c5 | c6    |
    +------+---+--------+---------+-----+----+-------+
    0                    `_written`            `_end`

- `append` only buffers; the buffer is written when it passes 1 MiB and at `flush`, in one write.
- Bytes are never overwritten once written. What a rollback finds still buffered is dropped,
  what was written already stays as dead bytes that no claim names.
- A content longer than `own_segment_bytes` lies alone in a segment, from its first byte on.
- A segment's id is reserved at its first byte, its file made at the first write: a session
  that rolls back before leaves nothing behind.
- Segments that were filled in a session stay pinned until `settle`, which ends the session:
  between its flush and its commit nothing else refers to them.

When a write fails, what was buffered is dropped, the segment is closed where it was last whole,
and the `OSError` goes to the session, which rolls back. The next write takes another segment.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate, repeat
from types import TracebackType
from typing import Final, NamedTuple, Self

from xxhash import xxh3_64, xxh3_64_intdigest

from runtime.content_archive import SegmentFile, SegmentFiles
from runtime.content_references import SegmentReferences
from runtime.disk import File
from runtime.flowfile import Claim

BUFFER_BYTES: Final = 2**20
# Large enough that a stream's writes cost little beside the copy, small enough for many streams.
STREAM_BUFFER_BYTES: Final = 2**18


class Mark(NamedTuple):
    """A place in a writer to roll back to."""

    segment: int
    end: int
    streams: int


class ContentWriter:
    """A worker's active segment; used by one session at a time, on one thread.

    Taken from `ContentStore.writer` and given back by `ContentStore.release`.
    """

    def __init__(
        self,
        files: SegmentFiles,
        references: SegmentReferences,
        buffers: "dict[int, ContentWriter]",
        *,
        segment_bytes: int,
        own_segment_bytes: int,
    ) -> None:
        self._files = files
        self._references = references
        self._buffers = buffers  # by active segment, of all writers of the store
        self._segment_bytes = segment_bytes
        self.own_segment_bytes = own_segment_bytes
        self._buffer_bytes = min(BUFFER_BYTES, own_segment_bytes)
        self._parts: list[bytes] = []
        self._starts: list[int] = []  # of each part, so that a buffered content is found
        self._segment = 0  # 0: none yet
        self._file: SegmentFile | None = None
        self._written = 0
        self._end = 0
        self._limit = -1  # an append that would pass it takes the slow path
        self._dirty: dict[SegmentFile, None] = {}
        self._filled: list[int] = []
        self._streams: dict[int, ContentStream] = {}
        self._stream_count = 0

    def append(self, data: bytes) -> Claim | None:
        """Add a content and return its claim; None for an empty one.

        Raises OSError when the buffer has to be written and cannot be: every claim since the
        last flush is void then.
        """
        length = len(data)
        start = self._end
        if start + length > self._limit or not length:
            return self._append_slowly(data)
        if type(data) is not bytes:
            data = bytes(data)  # what the caller may still change is copied
        self._parts.append(data)
        self._starts.append(start)
        self._end = start + length
        return Claim(self._segment, start, length, xxh3_64_intdigest(data))

    def append_many(self, contents: Sequence[bytes]) -> list[Claim | None]:
        """Add contents and return their claims, in order; as `append` for each."""
        lengths = list(map(len, contents))
        starts = list(accumulate(lengths, initial=self._end))
        end = starts.pop()
        if end > self._limit or 0 in lengths or set(map(type, contents)) != {bytes}:
            return [self.append(content) for content in contents]
        self._parts += contents
        self._starts += starts
        self._end = end
        checksums = map(xxh3_64_intdigest, contents)
        return list(map(Claim, repeat(self._segment), starts, lengths, checksums))

    def _append_slowly(self, data: bytes) -> Claim | None:
        if len(data) > self.own_segment_bytes:
            with self.stream() as stream:
                stream.write(data)
            return stream.close()
        if not data:
            return None
        self._make_room(len(data))
        data = bytes(data)
        start = self._end
        self._parts.append(data)
        self._starts.append(start)
        self._end = start + len(data)
        return Claim(self._segment, start, len(data), xxh3_64_intdigest(data))

    def _make_room(self, length: int) -> None:
        self._write_out()
        if not self._segment or (self._end and self._end + length > self._segment_bytes):
            self._leave_segment()
            self._segment = self._files.reserve()
            self._references.pin(self._segment, new=True)
            self._buffers[self._segment] = self
        self._set_limit()

    def _set_limit(self) -> None:
        self._limit = min(self._written + self._buffer_bytes, self._segment_bytes)

    def _write_out(self) -> None:
        if not self._parts:
            return
        try:
            if self._file is None:
                self._file = self._files.create(self._segment)
            self._file.write(b"".join(self._parts), self._written)
        except OSError:
            self._leave_segment()
            raise
        self._dirty[self._file] = None
        self._written = self._end
        self._parts.clear()
        self._starts.clear()
        self._set_limit()

    def _leave_segment(self) -> None:
        """Close the active segment where it is whole; it stays pinned until `settle`."""
        if self._segment:
            self._filled.append(self._segment)
            del self._buffers[self._segment]
        if self._file is not None:
            if self._parts:  # A failed write may have left a part, which takes up room.
                with suppress(OSError):
                    self._file.truncate(self._written)
            self._file.active = False
        self._parts.clear()
        self._starts.clear()
        self._segment = self._written = self._end = 0
        self._file = None
        self._limit = -1

    def stream(self) -> "ContentStream":
        """Return a stream for one content of any size."""
        self._stream_count += 1
        stream = ContentStream(self, self._stream_count)
        self._streams[self._stream_count] = stream
        return stream

    def flush(self) -> list[File]:
        """Write what is buffered; return the files to sync before a record that has its claims.

        The same segment is the same object each time, so a group syncs it once.
        """
        self._write_out()
        dirty: list[File] = list(self._dirty)
        self._dirty.clear()
        return dirty

    def mark(self) -> Mark:
        """Return the present end, for `rollback`."""
        return Mark(self._segment, self._end, self._stream_count)

    def rollback(self, mark: Mark) -> None:
        """Take back everything since `mark`: its claims are void, its open streams aborted."""
        for stream in [self._streams[number] for number in self._streams if number > mark.streams]:
            stream.abort()
        end = mark.end if mark.segment == self._segment else 0
        self._end = max(self._written, end)
        kept = bisect_left(self._starts, self._end)
        del self._parts[kept:]
        del self._starts[kept:]

    def settle(self) -> None:
        """End the session: its commit has counted its claims, or it has rolled back.

        Streams still open are aborted and bytes not flushed are dropped.
        """
        for stream in list(self._streams.values()):
            stream.abort()
        if self._parts:
            self.rollback(Mark(0, 0, 0))
        while self._filled:
            self._references.unpin(self._filled.pop())

    @property
    def segment(self) -> int:
        """The id of the active segment; 0 when there is none."""
        return self._segment

    def buffered(self, claim: Claim) -> bytes | None:
        """Return a content that is still in the buffer; None when it is written or not here."""
        if claim.segment != self._segment or claim.offset < self._written:
            return None
        index = bisect_right(self._starts, claim.offset) - 1
        if index < 0:
            return b""
        skipped = claim.offset - self._starts[index]
        return self._parts[index][skipped : skipped + claim.length]

    def leave(self) -> None:
        """Settle and close the active segment: nobody will continue it."""
        self.settle()
        self._leave_segment()
        self.settle()

    def begin_own_segment(self) -> SegmentFile:
        """Create the segment of one stream, pinned."""
        segment = self._files.reserve()
        file = self._files.create(segment)
        self._references.pin(segment, new=True)
        return file

    def end_stream(self, number: int, file: SegmentFile | None, *, keep: bool) -> None:
        """Take note that a stream is closed, and whether its own segment holds a content."""
        del self._streams[number]
        if file is None:
            return
        file.active = False
        if keep:
            self._dirty[file] = None
            self._filled.append(file.segment)
        else:
            file.synced = file.written  # nothing of it is worth a sync
            self._references.unpin(file.segment)


class ContentStream:
    """One content being written in pieces; a context manager that aborts on an exception.

    Up to `own_segment_bytes` it is gathered and then appended to the active segment; beyond, it
    goes to a segment of its own as it comes. It belongs to its writer's thread, and ends with
    the session: a stream that is written to later raises.
    """

    def __init__(self, writer: ContentWriter, number: int) -> None:
        self._writer = writer
        self._number = number
        self._parts: list[bytes] = []
        self._gathered = 0
        self._file: SegmentFile | None = None
        self._checksum = xxh3_64()
        self._claim: Claim | None = None
        self._size = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        """Add to the content; return the number of bytes. OSError aborts the stream."""
        if self.closed:
            raise ValueError(
                "The content stream is closed and takes no more bytes. "
                "Write before it is closed, or open another one."
            )
        piece = data if type(data) is bytes else bytes(memoryview(data))
        self._parts.append(piece)
        self._gathered += len(piece)
        self._size += len(piece)
        if self._size > self._writer.own_segment_bytes and self._gathered >= STREAM_BUFFER_BYTES:
            self._write_out()
        return len(piece)

    def _write_out(self) -> None:
        data = b"".join(self._parts)
        try:
            if self._file is None:
                self._file = self._writer.begin_own_segment()
            self._file.write(data, self._file.written)
        except OSError:
            self.abort()
            raise
        self._checksum.update(data)
        self._parts.clear()
        self._gathered = 0

    def tell(self) -> int:
        """Return the number of bytes so far."""
        return self._size

    def writable(self) -> bool:
        return not self.closed

    def flush(self) -> None:
        """Do nothing, for those that expect a file: bytes are written with the session's."""

    def close(self) -> Claim | None:
        """Finish the content and return its claim, None when it is empty or was aborted.

        Further calls return the same and change nothing.
        """
        if self.closed:
            return self._claim
        if self._size > self._writer.own_segment_bytes:
            if self._parts:
                self._write_out()
            assert self._file is not None
            digest = self._checksum.intdigest()
            self._claim = Claim(self._file.segment, 0, self._size, digest)
        self._finish(keep=True)
        if self._size and self._claim is None:
            self._claim = self._writer.append(b"".join(self._parts))
        self._parts.clear()
        return self._claim

    def abort(self) -> None:
        """Drop the content, unless it is closed already."""
        if not self.closed:
            self._finish(keep=False)
            self._parts.clear()

    def _finish(self, *, keep: bool) -> None:
        self.closed = True
        self._writer.end_stream(self._number, self._file, keep=keep)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
