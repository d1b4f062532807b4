"""The types of the language, their representation and the casts between them.

| type | held as | unit |
| --- | --- | --- |
| TEXT | str | |
| BOOLEAN | bool | |
| WHOLE | int, 64 bits, wrapping as in NiFi | |
| DECIMAL | float | |
| NUMBER | int or float, known when evaluated | |
| DATE | int | milliseconds since the epoch |
| INSTANT | int | nanoseconds since the epoch |

Each may be None: the attribute is missing, or a text is not a number. Types are known when an
expression is compiled, so a cast is chosen once and costs nothing where none is needed.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final, TypeAlias

from runtime.expression.errors import ExpressionError, shown

Value: TypeAlias = str | bool | int | float | None
Step: TypeAlias = Callable[[Any], Any]

WHOLE_MAX: Final = 2**63 - 1
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Type(enum.Enum):
    """A static type; the value is how messages call it."""

    TEXT = "a text"
    BOOLEAN = "true or false"
    WHOLE = "a whole number"
    DECIMAL = "a decimal number"
    NUMBER = "a number"
    DATE = "a date"
    INSTANT = "an instant"


_WHOLE: Final = re.compile(r"[-+]?(?:[0-9]+|0[xX][0-9a-fA-F]+)")
_DECIMAL: Final = re.compile(
    r"[-+]?(?:Infinity|NaN|[0-9]+\.[0-9]+|[0-9]+(?:\.[0-9]+)?[eE][-+]?[0-9]+"
    r"|\.[0-9]+(?:[eE][-+]?[0-9]+)?)"
)
_HEX_DECIMAL: Final = re.compile(
    r"[-+]?0[xX](?:[0-9a-fA-F]+\.?|[0-9a-fA-F]*\.[0-9a-fA-F]+)[pP][-+]?[0-9]+"
)
_BLANKS: Final = "".join(map(chr, range(33)))


def trim(text: str) -> str:
    """Strip what Java's trim strips: everything up to the space."""
    return text.strip(_BLANKS)


def parse_number(text: str) -> int | float | None:
    """Return the number that a text spells, None when it spells none.

    Raises:
        ExpressionError: a whole number has more than 64 bits.
    """
    if len(text) < 19 and text.isdecimal() and text.isascii():
        return int(text)
    text = trim(text)
    if _WHOLE.fullmatch(text):
        # 400 digits are far beyond 64 bits; Python would refuse to convert several thousand.
        value = (
            int(text, 16 if text.lstrip("+-")[:2].lower() == "0x" else 10)
            if (len(text) < 400)
            else WHOLE_MAX + 1
        )
        if -WHOLE_MAX - 1 <= value <= WHOLE_MAX:
            return value
        raise ExpressionError(
            f"'{shown(text)}' has more than 64 bits as a whole number; "
            "write it with a decimal point, or use toDecimal() on a shorter one"
        )
    if _DECIMAL.fullmatch(text):
        return float(text)
    if _HEX_DECIMAL.fullmatch(text):
        try:
            return float.fromhex(text)
        except OverflowError:
            return -math.inf if text[0] == "-" else math.inf
    return None


def to_whole(number: int | float | None) -> int | None:
    """Cut the decimals off; beyond 64 bits, the nearest end, as Java does."""
    if number is None or isinstance(number, int):
        return number
    if number != number:
        return 0
    if math.isinf(number):
        return WHOLE_MAX if number > 0 else -WHOLE_MAX - 1
    return max(-WHOLE_MAX - 1, min(WHOLE_MAX, int(number)))


def wrap(number: int) -> int:
    """Keep the low 64 bits, signed: NiFi's whole numbers do not report an overflow."""
    if -WHOLE_MAX - 1 <= number <= WHOLE_MAX:
        return number
    return (number + 2**63) % 2**64 - 2**63


def number_from_text(text: str | None) -> int | float | None:
    return None if text is None else parse_number(text)


def whole_from_text(text: str | None) -> int | None:
    return None if text is None else to_whole(parse_number(text))


def decimal_from_text(text: str | None) -> float | None:
    number = number_from_text(text)
    return None if number is None else float(number)


def boolean_from_text(text: str | None) -> bool | None:
    return None if text is None else trim(text).lower() == "true"


def text_from_boolean(value: bool | None) -> str | None:
    return None if value is None else "true" if value else "false"


def text_from_number(value: int | float | None) -> str | None:
    if value is None:
        return None
    return str(value) if isinstance(value, int) else text_from_decimal(value)


def text_from_decimal(value: float) -> str:
    """Write as Java does: plain from 0.001 to ten million, else with an exponent."""
    if value != value:
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        text = repr(value)
        if "e" not in text:
            return text
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits)).rstrip("0")
    power = len(digits) - 1 + exponent
    return f"{'-' if sign else ''}{text[0]}.{text[1:] or '0'}E{power}"


def text_from_instant(nanoseconds: int | None) -> str | None:
    """Write as `2022-03-18T14:22:27.678Z`: no, 3, 6 or 9 decimals."""
    if nanoseconds is None:
        return None
    seconds, fraction = divmod(nanoseconds, 10**9)
    text = moment(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    if not fraction:
        return text + "Z"
    digits = f"{fraction:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f"{text}.{digits}Z"


def moment(seconds: int, zone: tzinfo) -> datetime:
    """Return the local time of a second since the epoch.

    Raises:
        ExpressionError: it is outside the years 1 to 9999.
    """
    try:
        return (EPOCH + timedelta(seconds=seconds)).astimezone(zone)
    except (OverflowError, ValueError):
        raise ExpressionError(
            f"the time {seconds} seconds after 1970 is outside the years 1 to 9999"
        ) from None


def as_datetime(value: int, type_: Type) -> datetime:
    """Return a DATE or INSTANT as an aware datetime in UTC, cut to microseconds."""
    unit = 10**3 if type_ is Type.DATE else 10**9
    seconds, rest = divmod(value, unit)
    return moment(seconds, UTC).replace(microsecond=rest * 10**6 // unit)
