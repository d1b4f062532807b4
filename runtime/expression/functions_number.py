"""Arithmetic, radixes, casts and Java's Math.

Two whole numbers give a whole one: division cuts towards zero, the remainder has the dividend's
sign, an overflow wraps. With a decimal on either side the result is a decimal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from runtime.expression.errors import ExpressionError, guess, shown
from runtime.expression.functions import OUTPUT_LENGTH_MAX, function, refuse_length
from runtime.expression.values import WHOLE_MAX, Step, Type, to_whole, wrap

TEXT, WHOLE, DECIMAL, NUMBER = Type.TEXT, Type.WHOLE, Type.DECIMAL, Type.NUMBER

Number = int | float


def _same(subject: Any) -> Any:
    return subject


@function("toString", TEXT, result=TEXT)
def to_text() -> Step:
    return _same


@function("toNumber", WHOLE, result=WHOLE)
def to_number() -> Step:
    return _same


@function("toDecimal", DECIMAL, result=DECIMAL)
def to_decimal() -> Step:
    return _same


def _arithmetic(
    name: str, whole: Callable[[int, int], int], decimal: Callable[[float, float], float]
) -> None:
    @function(name, NUMBER, NUMBER, result=NUMBER)
    def make(other: Number | None) -> Step:
        if other is None:
            return lambda subject: None
        second: Number = other

        def apply(subject: Number | None) -> Number | None:
            if subject is None:
                return None
            if isinstance(subject, float) or isinstance(second, float):
                return decimal(float(subject), float(second))
            return wrap(whole(subject, second))

        return apply


def _divide_wholes(dividend: int, divisor: int) -> int:
    if not divisor:
        raise ExpressionError(
            f"divide() has {dividend} divided by 0; use toDecimal() for an infinite result, "
            "or test the divisor first"
        )
    quotient = abs(dividend) // abs(divisor)
    return quotient if (dividend < 0) == (divisor < 0) else -quotient


def _divide_decimals(dividend: float, divisor: float) -> float:
    if divisor:
        return dividend / divisor
    if not dividend or dividend != dividend:
        return math.nan
    return math.copysign(math.inf, dividend) * math.copysign(1, divisor)


def _remainder_of_wholes(dividend: int, divisor: int) -> int:
    if not divisor:
        raise ExpressionError(f"mod() has {dividend} and 0; the divisor must not be 0")
    return int(math.copysign(1, dividend)) * (abs(dividend) % abs(divisor))


def _remainder_of_decimals(dividend: float, divisor: float) -> float:
    if not divisor or math.isinf(dividend) or dividend != dividend:
        return math.nan
    return math.fmod(dividend, divisor)


_arithmetic("plus", lambda one, two: one + two, lambda one, two: one + two)
_arithmetic("minus", lambda one, two: one - two, lambda one, two: one - two)
_arithmetic("multiply", lambda one, two: one * two, lambda one, two: one * two)
_arithmetic("divide", _divide_wholes, _divide_decimals)
_arithmetic("mod", _remainder_of_wholes, _remainder_of_decimals)

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


@function("toRadix", WHOLE, WHOLE, WHOLE, optional=1, result=TEXT)
def to_radix(radix: int | None, width: int | None = None) -> Step:
    if radix is None:
        return lambda subject: None
    # Java falls back to ten when it cannot spell the radix.
    base = radix if 2 <= radix <= 36 else 10
    if (width or 0) > OUTPUT_LENGTH_MAX:
        refuse_length("toRadix")

    def apply(subject: int | None) -> str | None:
        if subject is None:
            return None
        digits, rest = "", abs(subject)
        while rest or not digits:
            rest, digit = divmod(rest, base)
            digits = _DIGITS[digit] + digits
        return ("-" * (subject < 0) + digits).rjust(width or 0, "0")

    return apply


@function("fromRadix", TEXT, WHOLE, result=WHOLE)
def from_radix(radix: int | None) -> Step:
    if radix is None:
        return lambda subject: None
    if not 2 <= radix <= 36:
        raise ExpressionError(f"fromRadix() has {radix} as radix; it must be from 2 to 36")

    def apply(subject: str | None) -> int | None:
        if subject is None:
            return None
        digits = subject[1:] if subject[:1] in ("+", "-") else subject
        allowed = set(_DIGITS[:radix])
        value = (
            int(subject, radix)
            if digits and set(digits.lower()) <= allowed and (len(digits) < 100)
            else None
        )
        if value is None or not -WHOLE_MAX - 1 <= value <= WHOLE_MAX:
            raise ExpressionError(
                f"fromRadix() has '{shown(subject)}', which is not a whole number of at most "
                f"64 bits in radix {radix}"
            )
        return value

    return apply


def _float(function_: Callable[[float], float]) -> Callable[[float], float]:
    """Give NaN or an infinity, as Java does, where Python's math raises."""

    def apply(value: float) -> float:
        try:
            return function_(value)
        except ValueError:
            return math.nan
        except OverflowError:
            return math.inf

    return apply


def _round(value: float) -> int:
    whole = to_whole(math.floor(value + 0.5) if math.isfinite(value) else value)
    assert whole is not None
    return whole


def _logarithm(function_: Callable[[float], float]) -> Callable[[float], float]:
    return lambda value: -math.inf if value == 0 else _float(function_)(value)


def _whole_to_float(function_: Callable[[float], int]) -> Callable[[float], float]:
    # floor, ceil and rint keep infinities, NaN and the sign of zero.
    return lambda value: (
        math.copysign(float(function_(value)), value) if math.isfinite(value) else value
    )


def _exponent(value: float) -> int:
    if not math.isfinite(value):
        return 1024
    return max(math.frexp(value)[1] - 1, -1023) if value else -1023


def _signum(value: float) -> float:
    return value if not value or value != value else math.copysign(1.0, value)


_ONE_DECIMAL: Final[dict[str, Callable[[float], Number]]] = {
    "abs": abs, "signum": _signum, "round": _round, "getExponent": _exponent, "ulp": math.ulp,
    "floor": _whole_to_float(math.floor), "ceil": _whole_to_float(math.ceil),
    "rint": _whole_to_float(round), "sqrt": _float(math.sqrt), "exp": _float(math.exp),
    "cbrt": _float(math.cbrt), "expm1": _float(math.expm1), "log": _logarithm(math.log),
    "log10": _logarithm(math.log10), "sin": _float(math.sin), "cos": _float(math.cos),
    "log1p": lambda value: -math.inf if value == -1 else _float(math.log1p)(value),
    "tan": _float(math.tan), "asin": _float(math.asin), "acos": _float(math.acos),
    "atan": math.atan, "cosh": _float(math.cosh), "tanh": math.tanh,
    "sinh": lambda value: math.copysign(_float(math.sinh)(abs(value)), value),
    "toDegrees": math.degrees, "toRadians": math.radians,
    "nextUp": lambda value: math.nextafter(value, math.inf),
    "nextDown": lambda value: math.nextafter(value, -math.inf),
}  # fmt: skip


def _exact(name: str, apply: Callable[..., int], limit: int = WHOLE_MAX) -> Callable[..., int]:
    def check(*values: int) -> int:
        result = apply(*values)
        if -limit - 1 <= result <= limit:
            return result
        shown_values = ", ".join(map(str, values))
        bits = limit.bit_length() + 1
        raise ExpressionError(f"math('{name}') of {shown_values} has more than {bits} bits")

    return check


_ONE_WHOLE: Final[dict[str, Callable[[int], Number]]] = {
    "abs": lambda value: wrap(abs(value)),
    "absExact": _exact("absExact", abs),
    "negateExact": _exact("negateExact", lambda value: -value),
    "incrementExact": _exact("incrementExact", lambda value: value + 1),
    "decrementExact": _exact("decrementExact", lambda value: value - 1),
    "toIntExact": _exact("toIntExact", lambda value: value, 2**31 - 1),
}


def _power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return -math.inf if base < 0 and exponent % 2 == 1 else math.inf
    except ValueError:
        if base == 0:
            negative = math.copysign(1, base) < 0 and exponent % 2 == 1
            return -math.inf if negative else math.inf
        return math.nan


def _ieee_remainder(dividend: float, divisor: float) -> float:
    try:
        return math.remainder(dividend, divisor)
    except ValueError:
        return math.nan


def _scaled(value: float, exponent: int) -> float:
    try:
        return math.ldexp(value, max(-5000, min(5000, exponent)))
    except OverflowError:
        return math.copysign(math.inf, value)


def _extreme(pick: Callable[[float, float], float]) -> Callable[[float, float], float]:
    return lambda one, two: math.nan if one != one or two != two else pick(one, two)


_TWO_DECIMALS: Final[dict[str, Callable[[float, float], float]]] = {
    "pow": _power, "atan2": math.atan2, "hypot": math.hypot, "max": _extreme(max),
    "min": _extreme(min), "copySign": math.copysign, "IEEEremainder": _ieee_remainder,
    "nextAfter": math.nextafter,
}  # fmt: skip


def _nonzero(name: str, apply: Callable[[int, int], int]) -> Callable[[int, int], int]:
    def check(dividend: int, divisor: int) -> int:
        if not divisor:
            raise ExpressionError(f"math('{name}') has {dividend} and 0; 0 does not divide")
        return wrap(apply(dividend, divisor))

    return check


_TWO_WHOLES: Final[dict[str, Callable[[int, int], Number]]] = {
    "max": max, "min": min,
    "addExact": _exact("addExact", lambda one, two: one + two),
    "subtractExact": _exact("subtractExact", lambda one, two: one - two),
    "multiplyExact": _exact("multiplyExact", lambda one, two: one * two),
    "floorDiv": _nonzero("floorDiv", lambda one, two: one // two),
    "floorMod": _nonzero("floorMod", lambda one, two: one % two),
    "ceilDiv": _nonzero("ceilDiv", lambda one, two: -(-one // two)),
    "ceilMod": _nonzero("ceilMod", lambda one, two: one - two * -(-one // two)),
    "divideExact": _nonzero("divideExact", _divide_wholes),
}  # fmt: skip


@function("math", NUMBER, TEXT, NUMBER, optional=1, result=NUMBER)
def java_math(method: str | None, *others: Number | None) -> Step:
    if method is None or None in others:
        return lambda subject: None
    names = {*_ONE_DECIMAL, *_ONE_WHOLE} if not others else {*_TWO_DECIMALS, *_TWO_WHOLES, "scalb"}
    if method not in names:
        raise ExpressionError(
            f"math() has no method '{shown(method)}' of {1 + len(others)} numbers; "
            f"there are {', '.join(sorted(names))}{guess(method, names)}"
        )

    def apply(subject: Number | None) -> Number | None:
        if subject is None:
            return None
        values = (subject, *others)
        return _method(method, values)(*values)

    return apply


def _method(name: str, values: tuple[Number | None, ...]) -> Callable[..., Number]:
    """Choose by the types of the numbers, as Java does: it does not convert among them here."""
    decimals = [isinstance(value, float) for value in values]
    found: Callable[..., Number] | None
    if len(values) == 1:
        found = _ONE_DECIMAL.get(name) if decimals[0] else _ONE_WHOLE.get(name)
    elif decimals == [True, False] and name == "scalb":
        found = _scaled
    elif decimals[0] == decimals[1]:
        found = _TWO_DECIMALS.get(name) if decimals[0] else _TWO_WHOLES.get(name)
    else:
        found = None
    if found is None:
        kinds = " and ".join("a decimal" if one else "a whole number" for one in decimals)
        raise ExpressionError(
            f"math('{name}') does not take {kinds}; convert with toDecimal() or toNumber()"
        )
    return found
