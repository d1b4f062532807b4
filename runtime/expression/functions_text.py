"""Functions that make texts from texts."""

from __future__ import annotations

import random
from typing import Any, Final

from runtime.expression.errors import ExpressionError, shown
from runtime.expression.functions import (
    OUTPUT_LENGTH_MAX,
    bounded,
    function,
    refuse_length,
    unless_null,
)
from runtime.expression.values import Step, Type, trim
from runtime.patterns import Pattern, PatternError, compile_pattern

# Matches are replaced at some 100,000 a second.
SECONDS_MAX: Final = 5.0

TEXT, WHOLE, BOOLEAN = Type.TEXT, Type.WHOLE, Type.BOOLEAN


@function("toUpper", TEXT, result=TEXT)
def to_upper() -> Step:
    return lambda subject: None if subject is None else subject.upper()


@function("toLower", TEXT, result=TEXT)
def to_lower() -> Step:
    return lambda subject: None if subject is None else subject.lower()


@function("trim", TEXT, result=TEXT)
def trimmed() -> Step:
    return unless_null(trim)


@function("length", TEXT, result=WHOLE)
def length() -> Step:
    return lambda subject: 0 if subject is None else len(subject)


@function("append", TEXT, TEXT, result=TEXT)
def append(tail: str | None) -> Step:
    end = tail or ""
    return lambda subject: bounded((subject or "") + end, "append")


@function("prepend", TEXT, TEXT, result=TEXT)
def prepend(head: str | None) -> Step:
    start = head or ""
    return lambda subject: bounded(start + (subject or ""), "prepend")


@function("substring", TEXT, WHOLE, WHOLE, optional=1, result=TEXT)
def substring(start: int | None, end: int | None = None) -> Step:
    def cut(subject: str | None) -> str:
        if subject is None or start is None:
            return ""
        stop = len(subject) if end is None else end
        return subject[start:stop] if 0 <= start <= stop <= len(subject) else ""

    return cut


@function("substringBefore", TEXT, TEXT, result=TEXT)
def substring_before(mark: str | None) -> Step:
    return lambda subject: (subject or "").partition(mark)[0] if mark else subject or ""


@function("substringBeforeLast", TEXT, TEXT, result=TEXT)
def substring_before_last(mark: str | None) -> Step:
    return lambda subject: (subject or "").rsplit(mark, 1)[0] if mark else subject or ""


@function("substringAfter", TEXT, TEXT, result=TEXT)
def substring_after(mark: str | None) -> Step:
    return lambda subject: (subject or "").split(mark, 1)[-1] if mark else subject or ""


@function("substringAfterLast", TEXT, TEXT, result=TEXT)
def substring_after_last(mark: str | None) -> Step:
    return lambda subject: (subject or "").rsplit(mark, 1)[-1] if mark else subject or ""


@function("replace", TEXT, TEXT, TEXT, result=TEXT)
def replace(old: str | None, new: str | None) -> Step:
    if old is None:
        return lambda subject: subject
    by = new or ""

    def apply(subject: str | None) -> str | None:
        if subject is None:
            return None
        growth = len(by) - len(old)
        if growth > 0 and len(subject) + subject.count(old) * growth > OUTPUT_LENGTH_MAX:
            refuse_length("replace")
        return subject.replace(old, by)

    return apply


@function("replaceFirst", TEXT, TEXT, TEXT, result=TEXT)
def replace_first(search: str | None, replacement: str | None) -> Step:
    return _substitute(search, replacement, count=1)


@function("replaceAll", TEXT, TEXT, TEXT, result=TEXT)
def replace_all(search: str | None, replacement: str | None) -> Step:
    return _substitute(search, replacement, count=0)


def _substitute(search: str | None, replacement: str | None, count: int) -> Step:
    if search is None:
        return lambda subject: subject
    pattern, by = regular_expression(search), replacement or ""
    try:
        pattern.replacement(by)
    except PatternError as error:
        raise ExpressionError(str(error)) from error

    def apply(subject: str | None) -> str | None:
        if subject is None:
            return None
        try:
            return pattern.sub(by, subject, count=count, seconds=SECONDS_MAX)
        except PatternError as error:
            raise ExpressionError(str(error)) from error

    return apply


def regular_expression(text: str) -> Pattern:
    """Compile a pattern that stands in an expression.

    Raises:
        ExpressionError: it is none.
    """
    try:
        return compile_pattern(text)
    except PatternError as error:
        raise ExpressionError(f"the regular expression {error}") from error


@function("replaceByPattern", TEXT, TEXT, result=TEXT)
def replace_by_pattern(mapping: str | None) -> Step:
    rules = []
    for rule in (mapping or "").split(","):
        parts = rule.strip().split(":")
        if len(parts) >= 2 and parts[0].strip() and parts[1].strip():
            rules.append((regular_expression(parts[0]), parts[1]))
        elif rule.strip():
            raise ExpressionError(
                f"replaceByPattern() has the rule '{shown(rule)}'; "
                "a rule is 'pattern:replacement', and commas stand between rules"
            )

    def apply(subject: str | None) -> str | None:
        if subject is None:
            return None
        try:
            return next((by for pattern, by in rules if pattern.matches(subject)), subject)
        except PatternError as error:
            raise ExpressionError(str(error)) from error

    return apply


@function("padLeft", TEXT, WHOLE, TEXT, optional=1, result=TEXT)
def pad_left(width: int | None, padding: str | None = None) -> Step:
    return unless_null(lambda subject: _padding(subject, width, padding, "padLeft") + subject)


@function("padRight", TEXT, WHOLE, TEXT, optional=1, result=TEXT)
def pad_right(width: int | None, padding: str | None = None) -> Step:
    return unless_null(lambda subject: subject + _padding(subject, width, padding, "padRight"))


def _padding(subject: str, width: int | None, padding: str | None, name: str) -> str:
    # NiFi leaves the subject alone when the width is no positive 32-bit number.
    if width is None or not len(subject) < width < 2**31:
        return ""
    if width > OUTPUT_LENGTH_MAX:
        refuse_length(name)
    missing, unit = width - len(subject), padding or "_"
    return (unit * (missing // len(unit) + 1))[:missing]


@function("repeat", TEXT, WHOLE, WHOLE, optional=1, result=TEXT, pure=False)
def repeat(least: int | None, most: int | None = None) -> Step:
    low = least or 0
    high = low if most is None else most
    if low < 1 or high < low:
        raise ExpressionError(
            f"repeat() is asked for {low} to {high} times; "
            "the first number must be at least 1, the second not less than the first"
        )

    def apply(subject: str | None) -> str:
        times = low if low == high else random.randint(low, high)
        if len(subject or "") * times > OUTPUT_LENGTH_MAX:
            refuse_length("repeat")
        return (subject or "") * times

    return apply


@function("getDelimitedField", TEXT, WHOLE, TEXT, TEXT, TEXT, BOOLEAN, optional=4, result=TEXT)
def get_delimited_field(index: int | None, *given: Any) -> Step:
    defaults: tuple[Any, ...] = (",", '"', "\\", False)
    delimiter, quote, escape, strip = (*given, *defaults[len(given) :])
    marks = {"delimiter": delimiter, "quote": quote, "escape": escape}
    for name, mark in marks.items():
        if mark is None or len(mark) != 1:
            raise ExpressionError(
                f"getDelimitedField() has '{shown(mark or '')}' as {name} character; "
                "it must be a single character"
            )
    if len(set(marks.values())) < 3:
        raise ExpressionError(
            "getDelimitedField() has the same character twice; "
            "delimiter, quote and escape must differ"
        )
    if index is None:
        raise ExpressionError("getDelimitedField() has no index; the first field is 1")
    special = (delimiter or "", quote or "", escape or "")
    return lambda subject: _field(subject or "", index, special, strip or False)


def _field(subject: str, index: int, special: tuple[str, str, str], strip: bool) -> str:
    delimiter, quote, escape = special
    field, current = [], 1
    quoted = escaped = False
    for character in subject:
        if character == delimiter and not escaped and not quoted:
            current += 1
            if current > index:
                break
        else:
            is_quote = character == quote and not escaped
            quoted ^= is_quote
            if current == index and not (strip and (is_quote or character == escape)):
                field.append(character)
        escaped = character == escape and not escaped
    return "".join(field)


def _delimited(name: str, keep: Step) -> None:
    """Declare a function that splits the subject, keeps some items and joins them again."""

    @function(name, TEXT, TEXT, result=TEXT)
    def make(delimiter: str | None) -> Step:
        if not delimiter:
            return lambda subject: subject or ""
        return lambda subject: delimiter.join(keep((subject or "").split(delimiter)))


def _without_empty_ends(items: list[str]) -> list[str]:
    filled = [index for index, item in enumerate(items) if item]
    return items[filled[0] : filled[-1] + 1] if filled else []


_delimited("unique", lambda items: list(dict.fromkeys(items)))
_delimited("compactDelimitedList", lambda items: [item for item in items if item])
_delimited("trimDelimitedList", _without_empty_ends)
