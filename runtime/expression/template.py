"""Text around expressions: finds `${...}` and `#{...}`, and resolves their escapes.

In a run of `$` right before `{`, each pair stands for one `$`; when one is left over, an expression
starts: `$${a}` is the text `${a}`, `$$${a}` is `$` and the value of a. `#` works the same. A `$`
elsewhere is never special, and a `${` or `#{` without its closing brace is text: what follows
an unclosed `${` is not searched any further. Inside an expression, quotes hide braces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from runtime.expression.errors import PlacedError

NESTING_MAX: Final = 50

_OPENING = re.compile(r"(\$+|#+)\{")
_INSIDE = re.compile(r"""'(?:[^'\\]|\\[\s\S])*'|"(?:[^"\\]|\\[\s\S])*"|[{}'"]""")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text: plain, an expression (`${...}`) or a parameter (`#{...}`)."""

    kind: str
    text: str
    position: int


def pieces(text: str, parameters: bool = True) -> Iterator[Piece]:
    """Cut a text into plain pieces, expressions and, unless told otherwise, parameters.

    Raises:
        PlacedError: an expression nests deeper than `NESTING_MAX`.
    """
    start = position = 0
    while match := _OPENING.search(text, position):
        run, kind = match[1], match[1][0]
        end = None
        if kind == "$":
            end = _end(text, match.end())
            if end is None:
                break
        elif parameters and (brace := text.find("}", match.end() + 1)) > 0:
            end = brace + 1
        if end is None:
            position = match.end()
            continue
        plain = text[start : match.start()] + kind * (len(run) // 2)
        opening = match.end() - 2
        if len(run) % 2:
            if plain:
                yield Piece("", plain, start)
            yield Piece(kind, text[opening:end], opening)
            start = position = end
        else:
            # Escaped: the last `$` of the halved run stands before the brace.
            yield Piece("", plain, start)
            start, position = match.end() - 1, match.end()
    if start < len(text):
        yield Piece("", text[start:], start)


def _end(text: str, position: int) -> int | None:
    """Return the position after the brace that closes the one before `position`."""
    depth = 1
    for match in _INSIDE.finditer(text, position):
        token = match[0]
        if token == "{":
            depth += 1
            if depth > NESTING_MAX:
                raise PlacedError(
                    match.start(), f"expressions nest deeper than {NESTING_MAX} levels"
                )
        elif token == "}":
            depth -= 1
            if not depth:
                return match.end()
        elif len(token) == 1:
            return None
    return None
