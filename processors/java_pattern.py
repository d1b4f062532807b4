"""Regular expressions on text with line ends, where Java's `.` and `$` differ from the engines'.

In Java `.` stops before `\\r` as well as before `\\n`, and `$` also matches before a line end
that closes the text: `^(.*)$` finds `a` in `a\\r\\n`. RE2 finds nothing there. Only texts that
have a `\\r`, or end with a line end, tell the two apart. Those are matched by a second form of the
pattern, in which `.` is spelt as a class and `$` as a look-ahead, which RE2 leaves to `regex`; all
others run on the pattern as it was written.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final, final

from runtime.patterns import Match, Pattern, PatternError, PatternFlag, compile_pattern

_TERMINATORS: Final = "\n\r\u0085\u2028\u2029"
_TOKEN = re.compile(r"\\Q(?s:.*?)(?:\\E|\Z)|\\(?s:.)|\(\?[a-zA-Z-]+[:)]|[\[\].$^]")
_GROUP_FLAGS = re.compile(r"\(\?([a-zA-Z]*)(?:-[a-zA-Z]*)?[:)]")
_UNICODE_CLASSES: Final = {
    r"\d": r"\p{Nd}",
    r"\w": r"\p{L}\p{M}\p{Nd}\p{Pc}",
    r"\s": r"\t\n\x0b\f\r\x{85}\p{Z}",
}


@final
class JavaPattern:
    """A pattern with Java's line ends; immutable, safe to use from many threads."""

    def __init__(self, text: str, flags: PatternFlag, unix_lines: bool) -> None:
        self.plain: Pattern = compile_pattern(text, flags)
        self.exact: Pattern = self.plain
        if not flags & PatternFlag.LITERAL:
            spelt = _spell(text, flags, "\n" if unix_lines else _TERMINATORS)
            if spelt != text:
                self.exact = _compiled_or(self.plain, spelt, flags)
        self._always_plain = self.exact is self.plain

    @property
    def groups(self) -> int:
        """How many groups it has."""
        return self.plain.groups

    def for_text(self, text: str) -> Pattern:
        """Return the form that treats `text` as Java does."""
        if self._always_plain or not (text.endswith("\n") or "\r" in text):
            return self.plain
        return self.exact

    def search(self, text: str) -> Match | None:
        """Return the first match anywhere in `text`."""
        return self.for_text(text).search(text)

    def found_in(self, text: str) -> bool:
        """Tell whether it occurs in `text`."""
        return self.for_text(text).found_in(text)

    def matches(self, text: str) -> bool:
        """Tell whether it matches the whole of `text`."""
        return self.for_text(text).matches(text)


@lru_cache(maxsize=1024)
def java_pattern(
    text: str, flags: PatternFlag = PatternFlag.NONE, *, unix_lines: bool = False
) -> JavaPattern:
    """Compile a pattern; the same arguments give the same object.

    Raises:
        PatternError: neither engine accepts it; the message shows it and what is wrong.
    """
    return JavaPattern(text, flags, unix_lines)


def _compiled_or(plain: Pattern, spelt: str, flags: PatternFlag) -> Pattern:
    try:
        return compile_pattern(spelt, flags)
    except PatternError:
        # RE2 knows a few spellings that `regex` does not; their line ends stay RE2's.
        return plain


def _spell(text: str, flags: PatternFlag, terminators: str) -> str:
    inline = "".join(_GROUP_FLAGS.findall(text))
    dot = "." if flags & PatternFlag.DOT_ALL or "s" in inline else f"[^{terminators}]"
    multiline = bool(flags & PatternFlag.MULTILINE) or "m" in inline
    anchors = {".": dot, "$": _dollar(terminators, multiline), "^": "^"}
    if multiline:
        anchors["^"] = rf"(?:\A|(?<=[{terminators}])(?!\z|(?<=\r)\n))"
    depth = 0
    pieces: list[str] = []
    position = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        pieces.append(text[position : match.start()])
        position = match.end()
        if token == "[":
            depth += 1
        elif token == "]":
            depth = max(0, depth - 1)
        elif not depth:
            token = anchors.get(token, token)
        pieces.append(token)
    pieces.append(text[position:])
    return "".join(pieces)


def _dollar(terminators: str, multiline: bool) -> str:
    end = rf"[{terminators}]|\z" if multiline else rf"(?:\r\n|[{terminators}])?\z"
    return rf"(?:(?={end})(?!(?<=\r)\n))" if "\r" in terminators else rf"(?={end})"


def unicode_classes(text: str) -> str:
    """Spell `\\d`, `\\w` and `\\s` so that they mean all of Unicode, as Java's flag `U` does."""
    depth = 0
    pieces: list[str] = []
    position = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        pieces.append(text[position : match.start()])
        position = match.end()
        if token == "[":
            depth += 1
        elif token == "]":
            depth = max(0, depth - 1)
        elif token in _UNICODE_CLASSES:
            token = _UNICODE_CLASSES[token] if depth else f"[{_UNICODE_CLASSES[token]}]"
        elif token.lower() in _UNICODE_CLASSES and not depth:
            token = f"[^{_UNICODE_CLASSES[token.lower()]}]"
        pieces.append(token)
    pieces.append(text[position:])
    return "".join(pieces)


def canonical(text: str) -> str:
    """Compose a text, so that equal characters are spelt alike."""
    return unicodedata.normalize("NFC", text)
