"""Functions that answer true or false, the searches among them."""

from __future__ import annotations

import json

from runtime.expression.errors import ExpressionError
from runtime.expression.functions import function
from runtime.expression.functions_text import regular_expression
from runtime.expression.values import Step, Type
from runtime.patterns import PatternError

TEXT, WHOLE, NUMBER, BOOLEAN = Type.TEXT, Type.WHOLE, Type.NUMBER, Type.BOOLEAN


@function("isNull", TEXT, result=BOOLEAN)
def is_null() -> Step:
    return lambda subject: subject is None


@function("notNull", TEXT, result=BOOLEAN)
def not_null() -> Step:
    return lambda subject: subject is not None


@function("isEmpty", TEXT, result=BOOLEAN)
def is_empty() -> Step:
    return lambda subject: subject is None or not subject or subject.isspace()


@function("not", BOOLEAN, result=BOOLEAN)
def negate() -> Step:
    return lambda subject: None if subject is None else not subject


@function("lt", NUMBER, NUMBER, result=BOOLEAN)
def less(other: int | float | None) -> Step:
    if other is None:
        return lambda subject: False
    return lambda subject: subject is not None and subject < other


@function("le", NUMBER, NUMBER, result=BOOLEAN)
def at_most(other: int | float | None) -> Step:
    if other is None:
        return lambda subject: False
    return lambda subject: subject is not None and subject <= other


@function("ge", NUMBER, NUMBER, result=BOOLEAN)
def at_least(other: int | float | None) -> Step:
    if other is None:
        return lambda subject: False
    return lambda subject: subject is not None and subject >= other


@function("gt", NUMBER, NUMBER, result=BOOLEAN)
def greater(other: int | float | None) -> Step:
    if other is None:
        return lambda subject: False
    return lambda subject: subject is not None and subject > other


@function("equalsIgnoreCase", TEXT, TEXT, result=BOOLEAN)
def equals_ignore_case(other: str | None) -> Step:
    if other is None:
        return lambda subject: False
    folded = other.lower()
    return lambda subject: subject is not None and subject.lower() == folded


@function("in", TEXT, TEXT, repeats=True, result=BOOLEAN)
def is_in(*choices: str | None) -> Step:
    known = frozenset(choices) - {None}
    return lambda subject: subject in known


@function("startsWith", TEXT, TEXT, result=BOOLEAN)
def starts_with(prefix: str | None) -> Step:
    if prefix is None:
        return lambda subject: False
    return lambda subject: subject is not None and subject.startswith(prefix)


@function("endsWith", TEXT, TEXT, result=BOOLEAN)
def ends_with(suffix: str | None) -> Step:
    if suffix is None:
        return lambda subject: False
    return lambda subject: subject is not None and subject.endswith(suffix)


@function("contains", TEXT, TEXT, result=BOOLEAN)
def contains(part: str | None) -> Step:
    if part is None:
        return lambda subject: False
    return lambda subject: subject is not None and part in subject


@function("find", TEXT, TEXT, result=BOOLEAN)
def find(search: str | None) -> Step:
    return _test(search, whole=False)


@function("matches", TEXT, TEXT, result=BOOLEAN)
def matches(search: str | None) -> Step:
    return _test(search, whole=True)


def _test(search: str | None, whole: bool) -> Step:
    if search is None:
        return lambda subject: False
    pattern = regular_expression(search)
    test = pattern.matches if whole else pattern.found_in

    def apply(subject: str | None) -> bool:
        try:
            return subject is not None and test(subject)
        except PatternError as error:
            raise ExpressionError(str(error)) from error

    return apply


@function("indexOf", TEXT, TEXT, result=WHOLE)
def index_of(part: str | None) -> Step:
    if part is None:
        return lambda subject: -1
    return lambda subject: -1 if subject is None else subject.find(part)


@function("lastIndexOf", TEXT, TEXT, result=WHOLE)
def last_index_of(part: str | None) -> Step:
    if part is None:
        return lambda subject: -1
    return lambda subject: -1 if subject is None else subject.rfind(part)


@function("isJson", TEXT, result=BOOLEAN)
def is_json() -> Step:
    def apply(subject: str | None) -> bool:
        text = (subject or "").strip()
        if text[:1] + text[-1:] not in ("{}", "[]"):
            return False
        try:
            json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            return False
        return True

    return apply


def _refuse_constant(name: str) -> None:
    raise ValueError(name)
