"""Splitting text into flowfiles of some lines each.

A fragment ends when it has `Line Split Count` lines, or when another line would take it beyond
`Maximum Fragment Size`; a line that is too long for any fragment is one of its own. Header lines
are counted, or known by how they start, and stand before every fragment. With trailing newlines
removed, a fragment of empty lines only is left out, unless it has a header.

The content is read once to find where fragments begin and end, and those of a large content share
its bytes. Where fragments are short (`COPIED_BYTES_MAX`), have a header put before them, or come
from a content that is read at once, they are copies: for single lines that is more than twice
as fast as a slice, which needs a read and a checksum of its own. `text.line.count` counts lines
that are not empty, as NiFi does.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, BinaryIO, Final, NamedTuple, Self

from pydantic import model_validator

from processors.fragments import (
    INDEX,
    SIZE,
    WRITTEN,
    Budget,
    PartlySplitError,
    mark_original,
    next_part,
    shared_attributes,
    split_in_parts,
)
from processors.text_lines import BLOCK_BYTES, end_of, line_blocks
from runtime.flowfile import FlowFile
from runtime.processor import Effects, Example, Processor, Relationship
from runtime.properties import DataSize, Property
from runtime.properties import Properties as Declaration
from runtime.session import Session

# A slice costs a read and a checksum: up to this mean size of a fragment a copy is faster.
COPIED_BYTES_MAX: Final = 4096
LINES: Final = "text.line.count"


class HeaderError(ValueError):
    """A content whose header cannot be told from its lines."""


class Span(NamedTuple):
    """A range of the content in bytes, and how many of its lines are not empty.

    A header's third field is its length where it stands alone, without its last line end if
    those are removed.
    """

    offset: int
    length: int
    lines: int


class Plan(NamedTuple):
    """What one commit makes: the bodies with the index of the first, and what all share."""

    header: Span | None
    spans: Sequence[Span]
    first: int
    shared: dict[str, str]


class SplitText(Processor):
    """Split text at line boundaries, by number of lines or by size, with a header for each."""

    class Properties(Declaration):
        line_split_count: int = Property(
            description="How many lines a fragment has, header lines not counted. 0: only the "
            "size counts.",
            ge=0,
        )
        maximum_fragment_size: DataSize | None = Property(
            None,
            description="How large a fragment may be, its header included. A longer line is a "
            "fragment of its own.",
            ge=1,
        )
        header_line_count: int = Property(
            0,
            description="How many lines at the start are a header that every fragment gets.",
            ge=0,
        )
        header_marker: str | None = Property(
            None,
            name="Header Line Marker Characters",
            description="What header lines at the start begin with. Not used where header lines "
            "are counted.",
            min_length=1,
        )
        remove_trailing_newlines: bool = Property(
            True,
            description="Whether line ends at the end of each fragment are removed. Leave them "
            "where the fragments are to be merged again.",
        )

        @model_validator(mode="after")
        def _something_limits(self) -> Self:
            if not self.line_split_count and self.maximum_fragment_size is None:
                raise ValueError(
                    "property 'Maximum Fragment Size' is not set; it is required where "
                    "'Line Split Count' is 0"
                )
            return self

    effects = Effects.PURE
    batch_size = 100
    tags = ("split", "text", "lines", "header")
    writes = WRITTEN | {
        LINES: "How many lines the fragment has that are not empty.",
        SIZE: "The size of the fragment in bytes, its header included.",
        INDEX: "The place of the fragment, from 1.",
    }
    example = Example(
        "One line each",
        properties={"Line Split Count": "1", "Header Line Count": "1"},
        content=b"city,country\nLisboa,PT\n",
        expect="splits",
        expect_attributes={"fragment.index": "1", "fragment.count": "1", "text.line.count": "1"},
        expect_content=b"city,country\nLisboa,PT",
    )

    delivery = (
        "A flowfile with very many fragments is split over several commits; after a crash it "
        "goes on behind the last one, without losing or doubling a fragment."
    )

    original = Relationship("The flowfiles that were split.")
    splits = Relationship("The fragments.")
    failure = Relationship(
        "Flowfiles whose header is incomplete or larger than a fragment, or that were partly split "
        "under other settings."
    )

    def __init__(self, properties: Any, context: Any) -> None:
        super().__init__(properties, context)
        self._settings = repr(properties)
        self._spans_of: dict[int, tuple[Span | None, list[Span]]] = {}

    def on_trigger(self, session: Session) -> None:
        def split(flowfile: FlowFile, budget: Budget) -> bool:
            try:
                return self._split(session, flowfile, budget)
            except (HeaderError, PartlySplitError) as error:
                session.transfer(flowfile, self.failure, reason=error)
                return True

        split_in_parts(session, session.take(), split)

    def _split(self, session: Session, flowfile: FlowFile, budget: Budget) -> bool:
        small = flowfile.size <= BLOCK_BYTES
        with io.BytesIO(session.read(flowfile)) if small else session.open_read(flowfile) as file:
            header, spans = self._planned(flowfile, file)
            shared = shared_attributes(session, flowfile, self.context.id, len(spans))
            plan = (spans, shared, self._settings)
            done, part, last = next_part(session, flowfile, budget, plan)
            pieces = Plan(header, part, done + 1, shared)
            if header is None and flowfile.size > COPIED_BYTES_MAX * len(spans) and not small:
                fragments = self._sliced(session, flowfile, pieces)
            else:
                fragments = self._copied(session, flowfile, file, pieces)
        session.transfer(fragments, self.splits)
        if last:
            session.transfer(mark_original(session, flowfile, shared), self.original)
        else:
            self._spans_of.clear()  # one is enough: the same flowfile comes back first
            self._spans_of[flowfile.id] = header, spans
        return last

    def _planned(self, flowfile: FlowFile, file: BinaryIO) -> tuple[Span | None, list[Span]]:
        # A flowfile that comes back for its next part is not read again, unless after a restart.
        return self._spans_of.pop(flowfile.id, None) or self._spans(line_blocks(file))

    def _spans(self, blocks: Iterable[bytes]) -> tuple[Span | None, list[Span]]:
        """Find the header and the fragments' bodies, as they are wanted."""
        lines: Iterator[bytes] = chain.from_iterable(
            block.splitlines(keepends=True) for block in blocks
        )
        limit = self.properties.maximum_fragment_size
        header, lines = self._header(lines, limit)
        trim = self.properties.remove_trailing_newlines
        start = header.length if header else 0
        if self.properties.line_split_count == 1 and limit is None:
            spans = single_lines(lines, start, trim)
        else:
            count = self.properties.line_split_count or sys.maxsize
            spans = grouped_lines(lines, start, (count, limit or sys.maxsize, trim))
        if header is None:
            return None, [span for span in spans if span.length]
        return header, spans or [Span(start, 0, 0)]

    def _header(
        self, lines: Iterator[bytes], limit: int | None
    ) -> tuple[Span | None, Iterator[bytes]]:
        count = self.properties.header_line_count
        marker = (self.properties.header_marker or "").encode()
        length = taken = 0
        last = b""
        for line in lines if count or marker else ():
            if not count and not line.startswith(marker):
                lines = chain((line,), lines)
                break
            length += len(line)
            taken += 1
            last = line
            if limit is not None and length > limit:
                raise HeaderError(
                    f"The header has more than {limit:,} bytes, the Maximum Fragment Size. "
                    "Raise it, or have fewer header lines"
                )
            if taken == count:
                break
        if 0 < taken < count:
            raise HeaderError(
                f"The content has {taken} lines, its header should have {count}. "
                "Lower the Header Line Count, or look at where the content comes from"
            )
        alone = (
            length - len(last) + end_of(last)
            if self.properties.remove_trailing_newlines
            else length
        )
        return (Span(0, length, alone) if taken else None), lines

    def _sliced(self, session: Session, flowfile: FlowFile, plan: Plan) -> list[FlowFile]:
        put, clone = session.put, session.clone
        shared = plan.shared
        return [
            put(
                clone(flowfile, offset, length),
                {**shared, INDEX: str(index), SIZE: str(length), LINES: str(lines)},
            )
            for index, (offset, length, lines) in enumerate(plan.spans, plan.first)
        ]

    def _copied(
        self, session: Session, flowfile: FlowFile, file: BinaryIO, plan: Plan
    ) -> list[FlowFile]:
        header, spans, first, shared = plan
        window = Window(file)
        before = window.piece(0, header.length) if header else b""
        alone = before[: header.lines] if header else b""
        fragments: list[FlowFile] = []
        batch = Batch(session, flowfile, fragments)
        for index, (offset, length, lines) in enumerate(spans, first):
            size = len(before) + length if length else len(alone)
            attributes = {**shared, INDEX: str(index), SIZE: str(size), LINES: str(lines)}
            if size > BLOCK_BYTES:
                batch.create()
                empty = session.create(attributes, parents=flowfile)
                fragments.append(
                    window.copy(session, empty, before if length else alone, (offset, length))
                )
                continue
            batch.add(attributes, before + window.piece(offset, length) if length else alone)
        batch.create()
        return fragments


class Batch:
    """Fragments that are created together."""

    def __init__(self, session: Session, parent: FlowFile, made: list[FlowFile]) -> None:
        self._session = session
        self._parent = parent
        self._made = made
        self._attributes: list[dict[str, str]] = []
        self._contents: list[bytes] = []
        self._size = 0

    def add(self, attributes: dict[str, str], content: bytes) -> None:
        """Put one more in; they are created when together they are large enough."""
        self._attributes.append(attributes)
        self._contents.append(content)
        self._size += len(content)
        if self._size > BLOCK_BYTES:
            self.create()

    def create(self) -> None:
        """Create what was added."""
        if self._attributes:
            self._made += self._session.create_many(
                self._attributes, self._contents, parent=self._parent
            )
        self._attributes, self._contents, self._size = [], [], 0


class Window:
    """Reads ranges of a content that come in order, through one buffer."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._start = 0
        self._data = b""

    def piece(self, offset: int, length: int) -> bytes:
        """Return one range."""
        begin = offset - self._start
        if begin < 0 or begin + length > len(self._data):
            self._file.seek(offset)
            self._data = self._file.read(max(length, BLOCK_BYTES))
            self._start, begin = offset, 0
        return self._data[begin : begin + length]

    def copy(
        self, session: Session, flowfile: FlowFile, before: bytes, span: tuple[int, int]
    ) -> FlowFile:
        """Write `before` and a long range as the content of `flowfile`."""
        offset, length = span
        with session.open_write(flowfile) as target:
            target.write(before)
            for start in range(offset, offset + length, BLOCK_BYTES):
                target.write(self.piece(start, min(BLOCK_BYTES, offset + length - start)))
        return target.flowfile


def single_lines(lines: Iterable[bytes], start: int, trim: bool) -> list[Span]:
    """Make a span of every line: several times faster than the general way."""
    spans = []
    for line in lines:
        body = len(line.rstrip(b"\r\n"))
        spans.append(Span(start, body if trim else len(line), 1 if body else 0))
        start += len(line)
    return spans


def grouped_lines(lines: Iterable[bytes], start: int, rules: tuple[int, int, bool]) -> list[Span]:
    """Gather lines into spans.

    Args:
        lines: the lines with their ends.
        start: where the first one begins; so many bytes of header stand before each fragment.
        rules: the most lines and the most bytes of a fragment, and whether line ends at its end
            are left out.
    """
    most_lines, most_bytes, trim = rules
    room = most_bytes - start
    spans = []
    length = trimmed = count = filled = 0
    for line in lines:
        if count and (count == most_lines or length + len(line) > room):
            spans.append(Span(start, trimmed if trim else length, filled))
            start += length
            length = trimmed = count = filled = 0
        if body := len(line.rstrip(b"\r\n")):
            trimmed = length + body
            filled += 1
        length += len(line)
        count += 1
    if count:
        spans.append(Span(start, trimmed if trim else length, filled))
    return spans
