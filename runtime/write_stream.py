"""A content that a session writes as a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from runtime.content_writer import ContentStream
    from runtime.flowfile import FlowFile
    from runtime.session import Session


@final
class WriteStream:
    """A content being written; `flowfile` is the version that has it, once closed."""

    def __init__(self, session: Session, flowfile: FlowFile, stream: ContentStream) -> None:
        self._session = session
        self._stream = stream
        self.flowfile = flowfile

    def write(self, data: bytes) -> int:
        """Add to the content; returns the number of bytes."""
        self._stream.write(data)
        self._session.bytes_written += len(data)
        return len(data)

    def close(self) -> None:
        """Finish the content and make it the flowfile's."""
        self.flowfile = self._session.rewrite(self.flowfile, self._stream.close())

    def __enter__(self) -> WriteStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._stream.abort()
