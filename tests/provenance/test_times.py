from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provenance.times import TimeError, parse_time

NOW = datetime(2026, 11, 23, 14, 5, 6, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22", "2026-11-21T22:00:00"),
        ("2026-11-22T10:30", "2026-11-22T08:30:00"),
        ("2026-11-22 10:30:05Z", "2026-11-22T10:30:05"),
        ("2 hours ago", "2026-11-23T10:05:06"),
        ("1 day ago", "2026-11-22T12:05:06"),
        ("90s ago", "2026-11-23T12:03:36"),
        ("1.5 min ago", "2026-11-23T12:03:36"),
        ("9:30", "2026-11-23T07:30:00"),
        ("09:30:15", "2026-11-23T07:30:15"),
        ("now", "2026-11-23T12:05:06"),
        ("Today", "2026-11-22T22:00:00"),
        ("yesterday", "2026-11-21T22:00:00"),
    ],
)
def test_a_time_as_people_type_it_is_understood(text: str, expected: str) -> None:
    assert parse_time(text, NOW) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "soon", "2 fortnights ago", "25:00", "999999999 weeks ago"])
def test_text_that_names_no_time_is_refused_with_the_forms_that_do(text: str) -> None:
    with pytest.raises(TimeError, match=r"is no time; write a date \(2026-11-23\)"):
        parse_time(text, NOW)


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    try:
        assert parse_time(text, NOW).tzinfo is UTC
    except TimeError as error:
        assert "is no time" in str(error)
