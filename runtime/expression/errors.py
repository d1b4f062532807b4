"""What is wrong with an expression, said so that its author can mend it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

SHOWN_LENGTH_MAX: Final = 200


class ExpressionError(ValueError):
    """An expression that cannot be compiled, or a value that one cannot be evaluated on."""


class PlacedError(Exception):
    """A problem at a position of an expression, on its way to whoever knows the whole text."""

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(problem)
        self.position = position
        self.problem = problem


def placed(text: str, error: PlacedError) -> ExpressionError:
    """Name the whole text and the place in it, counted from 1."""
    return ExpressionError(f"is '{shown(text)}'; at position {error.position + 1} {error.problem}")


def shown(text: str) -> str:
    """Cut a long value, so that a message stays readable."""
    return text if len(text) <= SHOWN_LENGTH_MAX else f"{text[:SHOWN_LENGTH_MAX]}…"


def guess(word: str, known: Iterable[str], form: str = "'{}'") -> str:
    """Return ` Did you mean ...?` when one of `known` is close to `word`, else an empty text."""
    candidates = {one.lower(): one for one in known}
    close = get_close_matches(word.lower(), candidates, n=1, cutoff=0.7)
    return f". Did you mean {form.format(candidates[close[0]])}?" if close else ""
