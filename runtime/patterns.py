"""Regular expressions of users: RE2 where it can, `regex` with a time limit where it cannot.

RE2 matches in linear time but refuses look-around, back-references, possessive and atomic groups,
and some of Java's names. What it refuses runs on `regex`, which backtracks, so each call there has
`TIME_LIMIT_SECONDS`. `Pattern.engine` tells which one runs, for the form to show. Both engines
are imported with the first pattern.

Syntax is Java's as far as the engines reach: `\\d`, `\\w` and `\\s` are ASCII, a class intersection
(`[a-z&&[^b]]`) is honoured, and replacements are Java's: `$1`, `${name}`, and a backslash that
takes the next character as it is. Positions count Unicode code points. One difference: on RE2 a
`$` outside multiline mode matches only at the very end of the text, not before a final newline.
"""

from __future__ import annotations

import enum
import math
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, final

TIME_LIMIT_SECONDS: Final = 1.0
PATTERN_LENGTH_MAX: Final = 10_000
OUTPUT_LENGTH_MAX: Final = 10_000_000

Span = tuple[int, int]


class PatternError(ValueError):
    """A pattern or replacement that cannot be used, or a match that took too long."""


class PatternFlag(enum.Flag):
    """How a pattern is read; combine with `|`."""

    NONE = 0
    IGNORE_CASE = enum.auto()
    MULTILINE = enum.auto()
    DOT_ALL = enum.auto()
    LITERAL = enum.auto()


@final
@dataclass(frozen=True, slots=True)
class Match:
    """One match: `spans[0]` is the whole, then the groups; (-1, -1) where one took no part."""

    text: str
    spans: Sequence[Span]
    names: dict[str, int]

    def group(self, key: int | str = 0) -> str | None:
        """Return a group's text; None when it took no part.

        Raises:
            IndexError: the pattern has no such group.
        """
        index = self.names.get(key, -1) if isinstance(key, str) else key
        if index < 0 or index >= len(self.spans):
            raise IndexError(f"group '{key}' does not exist; there are {len(self.spans) - 1}")
        start, end = self.spans[index]
        return self.text[start:end] if start >= 0 else None

    def groups(self) -> tuple[str | None, ...]:
        """Return the text of every group, the whole match not among them."""
        return tuple(self.group(index) for index in range(1, len(self.spans)))

    def start(self) -> int:
        return self.spans[0][0]

    def end(self) -> int:
        return self.spans[0][1]


@final
class Pattern:
    """A compiled pattern; immutable, safe to use from many threads."""

    def __init__(self, text: str, flags: PatternFlag) -> None:
        self.text = text
        self.flags = flags
        self.engine: Literal["re2", "regex"]
        compiled = _compile_re2(text, flags)
        if compiled is None:
            self.engine, self._compiled = "regex", _compile_regex(text, flags)
        else:
            self.engine, self._compiled = "re2", compiled
        self.groups: int = self._compiled.groups
        self.names: dict[str, int] = {
            name.decode() if isinstance(name, bytes) else name: index
            for name, index in self._compiled.groupindex.items()
        }

    def search(self, text: str) -> Match | None:
        """Return the first match anywhere in `text`."""
        return next(self.finditer(text), None)

    def fullmatch(self, text: str) -> Match | None:
        """Return the match of the whole of `text`."""
        if self.engine == "re2":
            data = _encode(text)
            found = self._compiled.fullmatch(data)
            return self._match(text, _Positions(data, text), found) if found else None
        found = self._timed("fullmatch", text)
        return Match(text, found.regs, self.names) if found else None

    def found_in(self, text: str) -> bool:
        """Tell whether the pattern occurs in `text`; cheaper than `search`."""
        if self.engine == "re2":
            return self._compiled.search(_encode(text)) is not None
        return self._timed("search", text) is not None

    def matches(self, text: str) -> bool:
        """Tell whether the pattern matches the whole of `text`; cheaper than `fullmatch`."""
        if self.engine == "re2":
            return self._compiled.fullmatch(_encode(text)) is not None
        return self._timed("fullmatch", text) is not None

    def finditer(self, text: str) -> Iterator[Match]:
        """Yield the matches from left to right, none overlapping another."""
        if self.engine == "re2":
            data = _encode(text)
            positions = _Positions(data, text)
            for found in self._compiled.finditer(data):
                if not positions.inside_character(found.start()):
                    yield self._match(text, positions, found)
            return
        matches = self._timed("finditer", text)
        while (found := self._limited(next, matches, None)) is not None:
            yield Match(text, found.regs, self.names)

    def sub(
        self,
        replacement: str,
        text: str,
        *,
        count: int = 0,
        limit: int = OUTPUT_LENGTH_MAX,
        seconds: float = math.inf,
    ) -> str:
        """Replace the first `count` matches (0: all) by `replacement` in Java's notation.

        Raises:
            PatternError: the replacement is malformed, the result is longer than `limit`
                characters, or it takes longer than `seconds`.
        """
        parts = self.replacement(replacement)
        deadline = time.monotonic() + seconds
        pieces: list[str] = []
        position = length = 0
        for number, match in enumerate(self.finditer(text), start=1):
            new = _filled(parts, match)
            pieces += (text[position : match.start()], new)
            length += match.start() - position + len(new)
            position = match.end()
            if length > limit:
                raise PatternError(
                    f"replacing '{_shown(self.text)}' makes a text of more than {limit:,} "
                    "characters; narrow the pattern or shorten the replacement"
                )
            if number % 1000 == 0 and time.monotonic() > deadline:
                raise PatternError(
                    f"replacing '{_shown(self.text)}' takes longer than {seconds:g} s on this text"
                )
            if number == count:
                break
        pieces.append(text[position:])
        return "".join(pieces)

    def split(self, text: str) -> list[str]:
        """Split as Java does, which leaves out empty texts at the end."""
        pieces, position = [], 0
        for match in self.finditer(text):
            if match.end() > 0 and (match.end() > match.start() or match.start() < len(text)):
                pieces.append(text[position : match.start()])
                position = match.end()
        if not pieces:
            return [text]
        pieces.append(text[position:])
        while pieces and not pieces[-1]:
            pieces.pop()
        return pieces

    def replacement(self, text: str) -> tuple[str | int, ...]:
        """Split a Java replacement into literal texts and group numbers.

        Raises:
            PatternError: it names a group that does not exist, or ends in a lone `$` or `\\`.
        """
        return _replacement(text, self.groups, tuple(self.names.items()))

    def _match(self, text: str, positions: _Positions, found: Any) -> Match:
        spans = [found.span(index) for index in range(self.groups + 1)]
        return Match(text, positions.convert(spans), self.names)

    def _timed(self, method: str, text: str) -> Any:
        return self._limited(
            getattr(self._compiled, method), text, timeout=TIME_LIMIT_SECONDS, concurrent=True
        )

    def _limited(self, call: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return call(*arguments, **options)
        except TimeoutError:
            raise PatternError(
                f"pattern '{_shown(self.text)}' takes longer than {TIME_LIMIT_SECONDS:g} s on this "
                "text; it uses look-around, back-references or the like, which may take very long"
            ) from None


@lru_cache(maxsize=1024)
def compile_pattern(text: str, flags: PatternFlag = PatternFlag.NONE) -> Pattern:
    """Compile a user's regular expression; the same text and flags give the same object.

    Raises:
        PatternError: neither engine accepts it; the message shows it and what is wrong.
    """
    if len(text) > PATTERN_LENGTH_MAX:
        raise PatternError(
            f"is a pattern of {len(text):,} characters; at most {PATTERN_LENGTH_MAX:,} are allowed"
        )
    return Pattern(text, flags)


def _compile_re2(text: str, flags: PatternFlag) -> Any | None:
    """Compile on RE2; None when it refuses, or would read the pattern otherwise than Java."""
    import re2  # type: ignore[import-untyped]  # ships no types

    if "&&" in text and not flags & PatternFlag.LITERAL:
        return None
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = not flags & PatternFlag.IGNORE_CASE
    options.dot_nl = bool(flags & PatternFlag.DOT_ALL)
    options.literal = bool(flags & PatternFlag.LITERAL)
    prefix = "(?m)" if flags & PatternFlag.MULTILINE and not options.literal else ""
    try:
        return re2.compile((prefix + text).encode("utf-8", "replace"), options)
    except re2.error:
        return None


def _compile_regex(text: str, flags: PatternFlag) -> Any:
    import regex  # type: ignore[import-untyped]  # ships no types

    options = regex.ASCII | regex.VERSION1
    options |= regex.IGNORECASE if flags & PatternFlag.IGNORE_CASE else 0
    options |= regex.MULTILINE if flags & PatternFlag.MULTILINE else 0
    options |= regex.DOTALL if flags & PatternFlag.DOT_ALL else 0
    source = regex.escape(text) if flags & PatternFlag.LITERAL else _unquote(text)
    try:
        return regex.compile(source, options)
    except (regex.error, RecursionError, OverflowError, ValueError) as error:
        raise PatternError(
            f"is '{_shown(text)}', which is not a regular expression: {error}; "
            "write a backslash before a character that stands for itself"
        ) from error


def _unquote(text: str) -> str:
    """Spell `\\Q...\\E`, `\\z` and `\\Z` as `regex` knows them."""

    def rewrite(match: re.Match[str]) -> str:
        if match[1] is not None:
            return re.escape(match[1])
        return {r"\z": r"\Z", r"\Z": r"(?=\n?\Z)"}.get(match[0], match[0])

    return re.sub(r"\\Q((?s:.*?))(?:\\E|\Z)|\\(?s:.)", rewrite, text)


def _filled(parts: tuple[str | int, ...], match: Match) -> str:
    if len(parts) == 1 and isinstance(parts[0], str):
        return parts[0]
    return "".join([part if isinstance(part, str) else match.group(part) or "" for part in parts])


def _encode(text: str) -> bytes:
    # A lone surrogate becomes one `?`: the number of characters, hence every position, stays.
    return text.encode("utf-8", "replace")


class _Positions:
    """Turns positions in UTF-8 bytes into positions in characters, in one pass over the text.

    Matches come in order, so each conversion counts on from the end of the one before.
    """

    def __init__(self, data: bytes, text: str) -> None:
        self._data = data
        self._same = len(data) == len(text)
        self._byte = self._character = 0

    def inside_character(self, position: int) -> bool:
        # RE2's wrapper steps by bytes after an empty match.
        return (
            not self._same
            and self._data[position : position + 1] >= b"\x80"
            and (self._data[position] & 0xC0 == 0x80)
        )

    def convert(self, spans: list[Span]) -> list[Span]:
        if self._same:
            return spans
        marks = sorted({mark for span in spans for mark in span if mark >= 0})
        characters = {-1: -1}
        for mark in marks:
            self._character += len(self._data[self._byte : mark].decode("utf-8"))
            self._byte = mark
            characters[mark] = self._character
        self._byte, self._character = spans[0][1], characters[spans[0][1]]
        return [(characters[start], characters[end]) for start, end in spans]


_REFERENCE = re.compile(r"\\(?s:(.))|\$(?:\{([A-Za-z][A-Za-z0-9]*)\}|([0-9]+))|[\\$]")


@lru_cache(maxsize=1024)
def _replacement(
    text: str, groups: int, names: tuple[tuple[str, int], ...]
) -> tuple[str | int, ...]:
    parts: list[str | int] = []
    position = 0
    for match in _REFERENCE.finditer(text):
        parts.append(text[position : match.start()])
        position = match.end()
        if match[1] is not None:
            parts.append(match[1])
        elif match[2] is not None:
            parts.append(_named(text, match[2], dict(names)))
        elif match[3] is not None:
            parts.extend(_numbered(text, match[3], groups))
        else:
            raise PatternError(
                f"replacement '{_shown(text)}' has a lone '{match[0]}' at position "
                f"{match.start() + 1}; write '\\{match[0]}' for the character itself"
            )
    parts.append(text[position:])
    return tuple(part for part in parts if part != "")


def _named(text: str, name: str, names: dict[str, int]) -> int:
    if name in names:
        return names[name]
    known = ", ".join(f"'{one}'" for one in names) or "none"
    raise PatternError(
        f"replacement '{_shown(text)}' refers to group '{name}'; the pattern's named groups "
        f"are: {known}"
    )


def _numbered(text: str, digits: str, groups: int) -> tuple[int, str]:
    # Java takes as many digits as still name a group: with one group `$12` is group 1, then `2`.
    taken = 1
    while taken < len(digits) and int(digits[: taken + 1]) <= groups:
        taken += 1
    index = int(digits[:taken])
    if index > groups:
        raise PatternError(
            f"replacement '{_shown(text)}' refers to group {index}; the pattern has {groups}"
        )
    return index, digits[taken:]


def _shown(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"
