"""Durations and sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.units import SIZE_MAX, format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0 sec", 0.0),
        ("5 min", 300.0),
        ("1.5 hours", 5400.0),
        (" 20ms ", 0.02),
        ("3 DAYS", 259200.0),
        ("2 wks", 1209600.0),
        ("250 nanos", 2.5e-7),
        ("7 micros", 7e-6),
    ],
)
def test_durations_are_read_with_their_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "min", "-1 sec", "5 fortnights", "1e3 sec", "1,5 h", "9" * 400 + " days"]
)
def test_a_text_that_is_no_duration_is_shown_with_the_right_form(text: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_duration(text)
    assert str(raised.value) == (
        f"is '{text}'; it must be a duration such as '30 sec', '5 min' or '1 hour'"
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512 B", 512),
        ("10 MB", 10 * 2**20),
        ("1.5kb", 1536),
        ("2 gb", 2**31),
        ("1 TB", 2**40),
        (f"{SIZE_MAX} B", SIZE_MAX),
    ],
)
def test_sizes_are_powers_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "10", "-1 KB", "1 MiB", "1 mb/s", "9" * 400 + " TB"])
def test_a_text_that_is_no_size_is_shown_with_the_right_form(text: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_size(text)
    assert str(raised.value) == (
        f"is '{text}'; it must be a size such as '512 B', '10 MB' or '1 GB'"
    )


@given(st.integers(0, SIZE_MAX))
def test_a_size_that_was_written_is_read_back_exactly(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(0, 10**12))
def test_a_duration_that_was_written_is_read_back(microseconds: int) -> None:
    seconds = microseconds / 1e6
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 sec"),
        (0.02, "20 ms"),
        (0.0205, "0.0205 sec"),
        (90.0, "90 sec"),
        (7200.0, "2 hours"),
        (30 * 86400.0, "30 days"),
    ],
)
def test_a_duration_is_written_with_its_largest_whole_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_a_size_is_written_with_its_largest_whole_unit() -> None:
    assert [format_size(one) for one in (0, 1000, 1024, 10 * 2**20, 2**40)] == [
        "0 B", "1000 B", "1 KB", "10 MB", "1 TB",
    ]  # fmt: skip
