"""Text contents as whole lines of bytes, in constant memory, without losing what is not text.

Lines end with `\\n`, `\\r` or `\\r\\n`, as NiFi's do (`str.splitlines` knows eight more). They are
found in bytes, which works where every byte below 128 stands for its ASCII character: in UTF-8 and
the single-byte sets of `BYTEWISE`. Content in any other character set passes through UTF-8 on
its way in and out (`Encoded`). Bytes that are not text in their set become lone surrogates in
`str` and the same bytes again on the way out; a character that the set lacks becomes `?`.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import BinaryIO, Final, Protocol

from runtime.flowfile import FlowFile
from runtime.session import Session, WriteStream

BLOCK_BYTES: Final = 1 << 20
BYTEWISE: Final = frozenset(
    {"utf-8", "ascii", "cp1250", "cp1251", "cp1252", "iso8859-1", "iso8859-2", "iso8859-15"}
)


class LineTooLongError(ValueError):
    """A line, or a content that must be read whole, has more bytes than may be buffered."""


class Target(Protocol):
    """Where bytes can be written."""

    def write(self, data: bytes, /) -> int: ...


class Encoding:
    """A character set, seen as bytes that can be cut into lines."""

    def __init__(self, name: str) -> None:
        found = codecs.lookup(name).name
        self.foreign = None if found in BYTEWISE else found
        """The character set of contents that pass through UTF-8; None where none is needed."""
        self.inner = "utf-8" if self.foreign else found

    def decode(self, data: bytes) -> str:
        """Turn inner bytes into text; what is not text stays recoverable."""
        return data.decode(self.inner, "surrogateescape")

    def encode(self, text: str) -> bytes:
        """Turn text into inner bytes."""
        try:
            return text.encode(self.inner, "surrogateescape")
        except UnicodeEncodeError:
            return b"".join(self._encode_character(character) for character in text)

    def _encode_character(self, character: str) -> bytes:
        try:
            return character.encode(self.inner, "surrogateescape")
        except UnicodeEncodeError:
            return b"?"

    def read(self, content: bytes) -> bytes:
        """Turn a whole content into inner bytes."""
        return content.decode(self.foreign, "replace").encode() if self.foreign else content

    def written(self, data: bytes) -> bytes:
        """Turn inner bytes into a whole content."""
        return (
            data.decode("utf-8", "replace").encode(self.foreign, "replace")
            if self.foreign
            else data
        )

    def reader(self, stream: BinaryIO) -> BinaryIO | ForeignReader:
        """Read a content of any size as inner bytes."""
        return ForeignReader(stream, self.foreign) if self.foreign else stream

    def writer(self, target: Target) -> Target:
        """Write inner bytes into a content of any size."""
        return ForeignWriter(target, self.foreign) if self.foreign else target


class ForeignReader:
    """Reads UTF-8 out of a stream in another character set."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(name)("replace")

    def read(self, size: int) -> bytes:
        """Return about `size` bytes; empty only at the end."""
        while chunk := self._stream.read(size):
            if text := self._decoder.decode(chunk):
                return text.encode("utf-8", "replace")
        return self._decoder.decode(b"", final=True).encode("utf-8", "replace")


class ForeignWriter:
    """Writes UTF-8 into a stream in another character set; blocks end between characters."""

    def __init__(self, target: Target, name: str) -> None:
        self._target = target
        self._encoder = codecs.getincrementalencoder(name)("replace")

    def write(self, data: bytes, /) -> int:
        """Write whole characters; returns the number of bytes taken."""
        self._target.write(self._encoder.encode(data.decode("utf-8", "replace")))
        return len(data)


def line_blocks(
    stream: BinaryIO | ForeignReader, *, limit: int | None = None, size: int = BLOCK_BYTES
) -> Iterator[bytes]:
    """Yield whole lines, about `size` bytes of them at a time.

    Only the last line of all may lack its end, and no end is cut in two.

    Raises:
        LineTooLongError: a line has more than `limit` bytes.
    """
    pending: list[bytes] = []
    gathered = 0
    while chunk := stream.read(size):
        # A `\r` in the last place may be half of an end.
        cut = max(chunk.rfind(b"\n"), chunk.rfind(b"\r", 0, len(chunk) - 1)) + 1
        if cut:
            yield b"".join((*pending, chunk[:cut]))
            pending.clear()
            gathered = 0
        if cut < len(chunk):
            pending.append(chunk[cut:])
            gathered += len(chunk) - cut
        if limit is not None and gathered > limit + 1:
            raise LineTooLongError(too_long("a line", limit))
    if pending:
        yield b"".join(pending)


def too_long(subject: str, limit: int) -> str:
    """Say that a line or content is larger than the buffer."""
    return (
        f"The content has {subject} of more than {limit:,} bytes, the Maximum Buffer Size. "
        "Raise it, or split the content before"
    )


def end_of(line: bytes | str) -> int:
    """Return the position where a line's end begins."""
    return len(line.rstrip("\r\n") if isinstance(line, str) else line.rstrip(b"\r\n"))


def read_start(session: Session, flowfile: FlowFile, limit: int) -> bytes:
    """Return the first `limit` bytes of a content."""
    if flowfile.size <= limit:
        return session.read(flowfile)
    with session.open_read(flowfile) as stream:
        return stream.read(limit)


class TextOutput:
    """Collects inner bytes in memory, and in a stream once they are many.

    `flowfile` has the content once the `with` block is left; an exception leaves it as it was.
    """

    def __init__(self, session: Session, flowfile: FlowFile, encoding: Encoding) -> None:
        self._session = session
        self.flowfile = flowfile
        self._encoding = encoding
        self._parts: list[bytes] = []
        self._stream: WriteStream | None = None
        self._writer: Target | None = None
        self.gathered = 0
        """Bytes in memory."""

    def write(self, data: bytes) -> None:
        """Add to the content."""
        self._parts.append(data)
        self.gathered += len(data)
        if self.gathered >= BLOCK_BYTES:
            self.spill()

    def spill(self) -> None:
        """Move what is in memory into the stream."""
        if self._writer is None:
            self._stream = self._session.open_write(self.flowfile)
            self._writer = self._encoding.writer(self._stream)
        self._writer.write(b"".join(self._parts))
        self._parts.clear()
        self.gathered = 0

    def __enter__(self) -> TextOutput:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._stream is None:
            if kind is None:
                content = self._encoding.written(b"".join(self._parts))
                self.flowfile = self._session.write(self.flowfile, content)
            return
        if kind is None:
            self.spill()
        self._stream.__exit__(kind, *rest)
        self.flowfile = self._stream.flowfile
