"""Nodes as values: text, numbers, durations, choices, each with its own complaint."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Mapping as Table
from dataclasses import dataclass
from typing import TypeVar

from runtime.flow_text.errors import Problems, choices
from runtime.flow_text.source import Mapping, Node, Scalar, Sequence, kind
from runtime.model import Position
from runtime.units import parse_duration, parse_size

T = TypeVar("T")
_UNQUOTED_PARAMETER = re.compile(r"\s(#\{.*)")


@dataclass
class Source:
    """A text's lines and the problems found in it."""

    lines: list[str]
    problems: Problems

    def wrong(self, node: Node, at: str, message: str, remedy: str = "", *, code: str = "") -> None:
        """Note a problem at a node."""
        self.problems.add(code or "LV-010", message, remedy, line=node.line, at=at)

    def entries(self, node: Node, at: str, what: str) -> Iterator[tuple[str, Scalar, Node]]:
        """Yield name, key and value of a mapping of names."""
        mapping = self._mapping(node, at, what)
        for key, value in mapping.entries if mapping else ():
            if key.text.strip():
                yield key.text, key, value
            else:
                self.wrong(key, at, f"a name under {what} is empty", code="LV-009")

    def fields(
        self, node: Node, at: str, what: str, known: Table[str, str]
    ) -> dict[str, tuple[Scalar, Node]]:
        """Return the known keys of a mapping; what is unknown is a problem each."""
        mapping = self._mapping(node, at, what)
        found = {}
        for key, value in mapping.entries if mapping else ():
            if key.text in known:
                found[key.text] = (key, value)
            else:
                message = f"{what} has no key '{key.text}'"
                self.wrong(key, at, message, choices(key.text, known), code="LV-008")
        return found

    def text(self, node: Node, at: str, what: str) -> str | None:
        """Return the node's text."""
        if not isinstance(node, Scalar):
            self.wrong(node, at, f"{what} is {kind(node)}; it must be a text", code="LV-005")
            return None
        if node.is_empty:
            remedy = "Write '' for an empty text, or remove the line."
            unquoted = _UNQUOTED_PARAMETER.search(self.lines[node.line - 1], node.column)
            if unquoted:
                remedy = f'A `#` starts a comment here: write "{unquoted[1].strip()}" in quotes.'
            elif node.text:
                remedy = f"Write '{node.text}' in quotes if it is meant as a text."
            self.wrong(node, at, f"{what} has no value", remedy, code="LV-005")
            return None
        return node.text

    def texts(self, node: Node, at: str, what: str) -> tuple[str, ...]:
        """Return one text or a list of them."""
        items = node.items if isinstance(node, Sequence) else [node]
        return tuple(text for item in items if (text := self.text(item, at, what)) is not None)

    def number(self, node: Node, at: str, what: str, least: int = 0) -> int | None:
        """Return a whole number."""
        text = self.text(node, at, what)
        if text is None:
            return None
        if re.fullmatch(r"[0-9]{1,15}", text) and int(text) >= least:
            return int(text)
        self.wrong(node, at, f"{what} is '{text}'; it must be a whole number of at least {least}")
        return None

    def choice(self, node: Node, at: str, what: str, known: Iterable[str]) -> str | None:
        """Return one of the known texts."""
        text = self.text(node, at, what)
        if text is None or text in known:
            return text
        self.wrong(node, at, f"{what} is '{text}'; it must be one of: {', '.join(known)}")
        return None

    def duration(self, node: Node, at: str, what: str) -> float | None:
        """Return seconds."""
        return self._parsed(node, at, what, parse_duration)

    def size(self, node: Node, at: str, what: str) -> int | None:
        """Return bytes."""
        return self._parsed(node, at, what, parse_size)

    def truth(self, node: Node, at: str, what: str) -> bool | None:
        """Return true or false."""
        text = self.choice(node, at, what, ("true", "false"))
        return None if text is None else text == "true"

    def position(self, node: Node, at: str, what: str) -> Position | None:
        """Return two numbers."""
        if isinstance(node, Sequence) and len(node.items) == 2:
            numbers = [_coordinate(item) for item in node.items]
            if numbers[0] is not None and numbers[1] is not None:
                return numbers[0], numbers[1]
        self.wrong(node, at, f"{what} is not a pair of numbers", "Write it as [400, 0].")
        return None

    def positions(self, node: Node, at: str, what: str) -> tuple[Position, ...]:
        """Return a list of pairs."""
        if not isinstance(node, Sequence):
            self.wrong(node, at, f"{what} is {kind(node)}; it must be a list", code="LV-005")
            return ()
        found = (self.position(item, at, what) for item in node.items)
        return tuple(one for one in found if one is not None)

    def _mapping(self, node: Node, at: str, what: str) -> Mapping | None:
        if isinstance(node, Mapping):
            return node
        self.wrong(node, at, f"{what} is {kind(node)}; it must be a mapping", code="LV-005")
        return None

    def _parsed(self, node: Node, at: str, what: str, parse: Callable[[str], T]) -> T | None:
        text = self.text(node, at, what)
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            self.wrong(node, at, f"{what} {error}")
            return None


def _coordinate(node: Node) -> float | None:
    if not isinstance(node, Scalar):
        return None
    try:
        number = float(node.text)
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) < 1e9 else None
