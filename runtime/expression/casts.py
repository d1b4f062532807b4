"""The step from one type to another, chosen when an expression is compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import tzinfo
from typing import Final

from runtime.expression.functions import unless_null
from runtime.expression.functions_date import date_from_text, instant_from_text, text_from_date
from runtime.expression.nodes import Node, then
from runtime.expression.values import (
    Step,
    Type,
    boolean_from_text,
    decimal_from_text,
    number_from_text,
    text_from_boolean,
    text_from_instant,
    text_from_number,
    to_whole,
    whole_from_text,
)

_TO_DECIMAL: Final = unless_null(float)
_MILLION_TIMES: Final = unless_null(lambda value: value * 10**6)
_MILLIONTH: Final = unless_null(lambda value: value // 10**6)
_TO_INSTANT: Final = unless_null(lambda value: (to_whole(value) or 0) * 10**6)


def _same(value: object) -> object:
    return value


_CASTS: Final[Mapping[tuple[Type, Type], Step]] = {
    (Type.TEXT, Type.BOOLEAN): boolean_from_text,
    (Type.TEXT, Type.WHOLE): whole_from_text,
    (Type.TEXT, Type.DECIMAL): decimal_from_text,
    (Type.TEXT, Type.NUMBER): number_from_text,
    (Type.TEXT, Type.INSTANT): unless_null(instant_from_text),
    (Type.BOOLEAN, Type.TEXT): text_from_boolean,
    (Type.WHOLE, Type.TEXT): text_from_number,
    (Type.DECIMAL, Type.TEXT): text_from_number,
    (Type.NUMBER, Type.TEXT): text_from_number,
    (Type.INSTANT, Type.TEXT): text_from_instant,
    (Type.WHOLE, Type.DECIMAL): _TO_DECIMAL,
    (Type.NUMBER, Type.DECIMAL): _TO_DECIMAL,
    (Type.DATE, Type.DECIMAL): _TO_DECIMAL,
    (Type.INSTANT, Type.DECIMAL): unless_null(lambda value: float(value // 10**6)),
    (Type.DECIMAL, Type.WHOLE): to_whole,
    (Type.NUMBER, Type.WHOLE): to_whole,
    (Type.DATE, Type.WHOLE): _same,
    (Type.INSTANT, Type.WHOLE): _MILLIONTH,
    (Type.WHOLE, Type.NUMBER): _same,
    (Type.DECIMAL, Type.NUMBER): _same,
    (Type.DATE, Type.NUMBER): _same,
    (Type.INSTANT, Type.NUMBER): _MILLIONTH,
    (Type.WHOLE, Type.DATE): _same,
    (Type.DECIMAL, Type.DATE): to_whole,
    (Type.NUMBER, Type.DATE): to_whole,
    (Type.INSTANT, Type.DATE): _MILLIONTH,
    (Type.WHOLE, Type.INSTANT): _MILLION_TIMES,
    (Type.DECIMAL, Type.INSTANT): _TO_INSTANT,
    (Type.NUMBER, Type.INSTANT): _TO_INSTANT,
    (Type.DATE, Type.INSTANT): _MILLION_TIMES,
}


def cast(node: Node, wanted: Type | None, place: tzinfo) -> Node | None:
    """Return the node as `wanted` (None: as it is); None when there is no such cast."""
    if wanted is None or node.type is wanted:
        return node
    step = _CASTS.get((node.type, wanted))
    if (node.type, wanted) == (Type.TEXT, Type.DATE):
        step = unless_null(lambda value: date_from_text(value, place))
    elif (node.type, wanted) == (Type.DATE, Type.TEXT):
        step = unless_null(lambda value: text_from_date(value, place))
    if step is None:
        return None
    if step is _same:
        return replace(node, type=wanted)
    return then(node, step, wanted)
