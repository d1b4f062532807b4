import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.expression.values import (
    WHOLE_MAX,
    number_from_text,
    text_from_decimal,
    text_from_instant,
    to_whole,
    wrap,
)


@given(st.floats(allow_nan=False))
def test_decimal_survives_its_text(number: float) -> None:
    text = text_from_decimal(number)

    back = number_from_text(text)
    assert back == number and isinstance(back, float)


@given(st.integers(-(2**63), WHOLE_MAX))
def test_whole_number_survives_its_text(number: int) -> None:
    assert number_from_text(f" {number}\t") == number


@given(st.text(max_size=8))
def test_texts_that_are_no_numbers_are_missing(text: str) -> None:
    number = number_from_text(text)

    # Java's own two numbers without digits.
    named = text.strip().lstrip("+-") in ("NaN", "Infinity")
    assert number is None or named or any(digit in text for digit in "0123456789")


@given(st.integers(), st.integers())
def test_overflow_wraps_as_64_bits_do(one: int, two: int) -> None:
    assert wrap(wrap(one) + wrap(two)) == wrap(one + two)
    assert -WHOLE_MAX - 1 <= wrap(one) <= WHOLE_MAX


@pytest.mark.parametrize(
    ("number", "whole"),
    [(1.9, 1), (-1.9, -1), (math.nan, 0), (math.inf, WHOLE_MAX), (-1e300, -WHOLE_MAX - 1)],
)
def test_decimals_are_cut_to_64_bits(number: float, whole: int) -> None:
    assert to_whole(number) == whole


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_000_000, "1970-01-01T00:00:00.001Z"),
        (1_000, "1970-01-01T00:00:00.000001Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (-62_000_000_000 * 10**9, "0005-04-19T09:46:40Z"),
    ],
)
def test_instants_are_written_with_the_decimals_they_need(nanoseconds: int, text: str) -> None:
    assert text_from_instant(nanoseconds) == text
