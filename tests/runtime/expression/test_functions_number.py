import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.expression import ExpressionError
from runtime.expression.functions_number import _divide_wholes, _remainder_of_wholes

Evaluate = Any
WHOLE_MAX = 2**63 - 1


@pytest.mark.parametrize(
    ("text", "subject", "result"),
    [
        ("${a:toNumber()}", "5.9", 5),
        ("${a:toNumber()}", "-5.9", -5),
        ("${a:toNumber()}", "0xFF", 255),
        ("${a:toNumber()}", "-0x1f", -31),
        ("${a:toNumber()}", "NaN", 0),
        ("${a:toNumber()}", "1e300", WHOLE_MAX),
        ("${a:toNumber()}", "five", None),
        ("${a:toNumber()}", "1_000", None),
        ("${a:toNumber()}", "１２", None),
        ("${a:toNumber()}", "", None),
        ("${a:toDecimal()}", "0xF.Fp10", 16320.0),
        ("${a:toDecimal()}", "0x1p99999", math.inf),
        ("${a:toDecimal()}", "-Infinity", -math.inf),
        ("${a:toDecimal()}", "5", 5.0),
        ("${a:plus(2)}", "5", 7),
        ("${a:plus(2.5)}", "5", 7.5),
        ("${a:plus('2')}", "5.0", 7.0),
        ("${a:plus(${b})}", "5", None),
        ("${a:minus(7)}", "5", -2),
        ("${a:multiply(3)}", "5", 15),
        ("${a:divide(3)}", "10", 3),
        ("${a:divide(3)}", "-10", -3),
        ("${a:divide(4.0)}", "10", 2.5),
        ("${a:divide(0.0)}", "-10", -math.inf),
        ("${a:mod(3)}", "10", 1),
        ("${a:mod(3)}", "-10", -1),
        ("${a:mod(2.5)}", "6", 1.0),
        ("${a:plus(1)}", str(WHOLE_MAX), -WHOLE_MAX - 1),
        ("${a:toRadix(16)}", "255", "ff"),
        ("${a:toRadix(16, 4)}", "255", "00ff"),
        ("${a:toRadix(2)}", "-5", "-101"),
        ("${a:toRadix(99)}", "12", "12"),
        ("${a:fromRadix(16)}", "ff", 255),
        ("${a:fromRadix(2)}", "-101", -5),
        ("${a:math('abs')}", "-5", 5),
        ("${a:toDecimal():math('sqrt')}", "16", 4.0),
        ("${a:toDecimal():math('pow', 2.0)}", "3", 9.0),
        ("${a:math('max', 7)}", "5", 7),
        ("${a:math('floorMod', 3)}", "-5", 1),
        ("${a:toDecimal():math('scalb', 3)}", "1.5", 12.0),
        ("${a:toDecimal():math('round')}", "2.5", 3),
        ("${a:toDecimal():math('round')}", "-2.5", -2),
        ("${a:toDecimal():math('rint')}", "2.5", 2.0),
        ("${a:toDecimal():math('floor')}", "-2.5", -3.0),
        ("${a:toDecimal():math('log')}", "0", -math.inf),
        ("${a:toDecimal():math('cosh')}", "1e9", math.inf),
        ("${a:toDecimal():math('pow', 0.5)}", "Infinity", math.inf),
        ("${a:toDecimal():math('signum')}", "-3", -1.0),
        ("${a:toDecimal():math('getExponent')}", "8", 3),
        ("${a:toDecimal():math('atan2', 1.0)}", "0", 0.0),
    ],
)
def test_function_gives(value: Evaluate, text: str, subject: str, result: Any) -> None:
    given_back = value(text, a=subject)

    assert given_back == result and type(given_back) is type(result)


@pytest.mark.parametrize("name", ["sqrt", "log", "log10", "asin", "acos", "log1p"])
def test_math_outside_its_domain_is_not_a_number(value: Evaluate, name: str) -> None:
    assert math.isnan(value(f"${{a:toDecimal():math('{name}')}}", a="-5"))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("0.1", "0.1"), ("100", "100.0"), ("1e7", "1.0E7"), ("0.0001", "1.0E-4"),
        ("-12345678.9", "-1.23456789E7"), ("1e22", "1.0E22"), ("-0.0", "-0.0"), ("NaN", "NaN"),
        ("Infinity", "Infinity"), ("-Infinity", "-Infinity"),
    ],
)  # fmt: skip
def test_decimals_are_written_as_java_does(value: Evaluate, number: str, text: str) -> None:
    assert value("${a:toDecimal():toString()}", a=number) == text


@given(st.integers(-(2**63), WHOLE_MAX), st.integers(-(2**63), WHOLE_MAX).filter(lambda n: n != 0))
def test_quotient_and_remainder_fit_together(dividend: int, divisor: int) -> None:
    quotient = _divide_wholes(dividend, divisor)
    remainder = _remainder_of_wholes(dividend, divisor)

    assert quotient * divisor + remainder == dividend
    assert abs(remainder) < abs(divisor)
    assert remainder == 0 or (remainder < 0) == (dividend < 0)


@pytest.mark.parametrize(
    ("text", "subject", "words"),
    [
        ("${a:toNumber()}", "99999999999999999999", "has more than 64 bits as a whole number"),
        ("${a:toNumber()}", "9" * 9999, "has more than 64 bits as a whole number"),
        ("${a:divide(0)}", "5", "divide\\(\\) has 5 divided by 0; use toDecimal\\(\\)"),
        ("${a:mod(0)}", "5", "mod\\(\\) has 5 and 0; the divisor must not be 0"),
        ("${a:fromRadix(2)}", "12", "fromRadix\\(\\) has '12', which is not a whole number of"),
        ("${a:fromRadix(40)}", "12", "fromRadix\\(\\) has 40 as radix; it must be from 2 to 36"),
        ("${a:math('sqrt')}", "5", "math\\('sqrt'\\) does not take a whole number; convert with"),
        ("${a:math('max', 1.0)}", "5", "does not take a whole number and a decimal"),
        ("${a:math('sqr')}", "5", "math\\(\\) has no method 'sqr' of 1 numbers; .* mean 'sqrt'"),
        ("${a:math('floorDiv', 0)}", "5", "math\\('floorDiv'\\) has 5 and 0; 0 does not divide"),
        ("${a:math('addExact', 1)}", str(WHOLE_MAX), "of 9223372036854775807, 1 has more than 64"),
        ("${a:math('toIntExact')}", "3000000000", "of 3000000000 has more than 32 bits"),
        ("${math('abs')}", "5", "math\\('abs'\\) without a subject does not exist; only math"),
    ],
)
def test_number_that_does_not_fit_is_named(
    value: Evaluate, text: str, subject: str, words: str
) -> None:
    with pytest.raises(ExpressionError, match=words):
        value(text, a=subject)
