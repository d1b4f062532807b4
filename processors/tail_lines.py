"""Where whole lines end, without holding more than a window of a file in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from runtime.properties import Pattern

WINDOW_BYTES: Final = 4 << 20
"""How much of a file a trigger takes at most; a longer line is streamed whole."""
CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class LineRules:
    """What counts as a piece that may be cut off.

    `start`: a message begins with a line that matches, and goes on to the next such line.
    `message_bytes_max`: a message that has no end by then is cut after its last whole line.
    `nul_is_gap`: zero bytes are not there yet (a network file system filled a gap).
    """

    start: Pattern | None = None
    message_bytes_max: int = 65536
    nul_is_gap: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """A range of a file that ends where it may be cut. `met_gap`: a zero byte ended it early."""

    offset: int
    end: int
    met_gap: bool = False


def next_piece(descriptor: int, offset: int, rules: LineRules, *, final: bool) -> Piece:
    """Return what to take from `offset` on; empty where no whole line (or message) is there.

    Of a `final` file, to which nothing more will be written, the rest is taken as it is.
    """
    data = os.pread(descriptor, WINDOW_BYTES, offset)
    is_last = len(data) < WINDOW_BYTES
    if final and is_last:
        return Piece(offset, offset + len(data))
    met_gap = False
    if rules.nul_is_gap and not final and (gap := data.find(b"\0")) >= 0:
        data, is_last, met_gap = data[:gap], True, True
    end = whole_lines(data)
    if not end and not is_last:
        return Piece(offset, _end_of_long_line(descriptor, offset + len(data), final))
    if rules.start is not None and end:
        end = _whole_messages(data[:end], rules)
    return Piece(offset, offset + end, met_gap)


def whole_lines(data: bytes) -> int:
    """Return the length of the lines in `data` that are whole.

    A line ends with LF, CR LF, or CR alone; a CR at the very end may be half of CR LF.
    """
    return max(data.rfind(b"\n"), data.rfind(b"\r", 0, max(0, len(data) - 1))) + 1


def chunks(descriptor: int, piece: Piece) -> Iterator[bytes]:
    """Yield the bytes of a piece; stops early where the file was cut off meanwhile."""
    offset = piece.offset
    while offset < piece.end:
        chunk = os.pread(descriptor, min(CHUNK_BYTES, piece.end - offset), offset)
        if not chunk:
            return
        offset += len(chunk)
        yield chunk


def last_line_end(descriptor: int) -> int:
    """Return the offset after the last whole line near the end of a file, else its size."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - CHUNK_BYTES)
    end = whole_lines(os.pread(descriptor, size - start, start))
    if end or not start:
        return start + end
    return size


def _end_of_long_line(descriptor: int, searched: int, final: bool) -> int:
    start = searched
    while data := os.pread(descriptor, CHUNK_BYTES, searched):
        found = data.find(b"\n")
        if found >= 0:
            return searched + found + 1
        searched += len(data)
    return searched if final else start - WINDOW_BYTES


def _whole_messages(data: bytes, rules: LineRules) -> int:
    """Return the length of the messages in whole lines that another message follows."""
    assert rules.start is not None
    end = len(data)
    while end > 0:
        start = max(data.rfind(b"\n", 0, end - 1), data.rfind(b"\r", 0, end - 1)) + 1
        found = rules.start.search(data[start:end].decode("utf-8", "replace"))
        if found is not None and found.start() == 0 and start > 0:
            return start
        end = start
    return len(data) if len(data) >= rules.message_bytes_max else 0
