from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.expression.date_fields import epoch_nanoseconds, resolve
from runtime.expression.date_pattern import compile_date_pattern
from runtime.expression.errors import ExpressionError
from runtime.expression.zones import in_gap, to_epoch, zone

NEW_YORK = ZoneInfo("America/New_York")
SECOND = 1_700_000_000  # Tuesday 2023-11-14 22:13:20 UTC


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("yyyy yy uuuu y", "2023 23 2023 2023"),
        ("M MM MMM MMMM LLL", "11 11 Nov November Nov"),
        ("d dd DDD", "14 14 318"),
        ("EEE EEEE e c", "Tue Tuesday 3 3"),
        ("Q QQQ", "4 Q4"),
        ("H HH k h hh K a", "17 17 17 5 05 5 PM"),
        ("m mm s ss S SSS SSSSSSSSS", "13 13 20 20 6 678 678000001"),
        ("n A", "678000001 62000678"),
        ("zzz VV", "EST America/New_York"),
        ("X XX XXX x xx Z ZZZZZ O OOOO", "-05 -0500 -05:00 -05 -0500 -0500 -05:00 GMT-5 GMT-05:00"),
        ("G GGGG", "AD Anno Domini"),
        ("YYYY w", "2023 46"),
        ("'o''clock' '' h", "o'clock ' 5"),
        ("yyyy[-MM]", "2023-11"),
    ],
)
def test_letters_are_written(pattern: str, text: str) -> None:
    assert compile_date_pattern(pattern).format(SECOND, 678_000_001, NEW_YORK) == text


@pytest.mark.parametrize(("pattern", "text"), [("X XXX x Z O", "Z Z +00 +0000 GMT"), ("z", "UTC")])
def test_utc_is_written_in_its_own_way(pattern: str, text: str) -> None:
    assert compile_date_pattern(pattern).format(SECOND, 0, ZoneInfo("UTC")) == text


@pytest.mark.parametrize(
    ("day", "week"),
    [(1735603200, "2025 1"), (1735948800, "2025 1"), (1736035200, "2025 2"), (0, "1970 1")],
)
def test_weeks_are_american(day: int, week: str) -> None:
    # 2024-12-31 is in the week of 1 January; 2025-01-05 is a Sunday.
    assert compile_date_pattern("YYYY w").format(day, 0, UTC) == week


def read(pattern: str, text: str, lenient: bool, place: tzinfo = UTC) -> int | None:
    caught = compile_date_pattern(pattern).parse(text, lenient)
    fields = resolve(caught) if caught is not None else None
    return epoch_nanoseconds(fields, place) // 10**9 if fields else None


@pytest.mark.parametrize(
    ("pattern", "text", "lenient"),
    [
        ("yyyyMMddHHmmss", "20231114221320", False),
        ("yyyyMMdd'T'HHmmssX", "20231114T221320Z", False),
        ("d/M/yyyy h:mm:ss a", "14/11/2023 10:13:20 pm", True),
        ("EEE MMM dd HH:mm:ss zzz yyyy", "Tue Nov 14 17:13:20 EST 2023", False),
        ("yyyy-MM-dd HH:mm:ss VV", "2023-11-14 17:13:20 America/New_York", False),
        ("yyyy-MM-dd HH:mm:ssXXX", "2023-11-15 00:13:20+02:00", False),
        ("MMMM d, yy kk:mm:ss", "november 14, 23 22:13:20", True),
        ("yyyy-D HH:mm:ss", "2023-318 22:13:20", False),
        ("yyyy-MM-dd HH:mm:ss[.SSS]", "2023-11-14 22:13:20", False),
        ("yyyy-MM-dd HH:mm:ss[.SSS]", "2023-11-14 22:13:20.999", False),
    ],
)
def test_texts_are_read(pattern: str, text: str, lenient: bool) -> None:
    assert read(pattern, text, lenient) == SECOND


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("dd/MM/yyyy", "1/2/2013"),
        ("yyyy-MM-dd", "2013-00-10"),
        ("yyyy-MM-dd", "2013-01-32"),
        ("HH:mm", "24:00"),
        ("hh:mm a", "13:00 AM"),
        ("HH", "١٢"),
        ("yyyy", "2013 "),
        ("MMM", "jan"),
    ],
)
def test_strict_reading_refuses(pattern: str, text: str) -> None:
    assert read(pattern, text, lenient=False) is None


def test_twice_told_hour_is_the_earlier_unless_the_zone_says_winter() -> None:
    pattern = "yyyy-MM-dd HH:mm z"

    summer = read(pattern, "2026-11-01 01:30 EDT", True)
    winter = read(pattern, "2026-11-01 01:30 EST", True)
    unnamed = read("yyyy-MM-dd HH:mm", "2026-11-01 01:30", True, NEW_YORK)

    assert summer is not None and winter == summer + 3600 and unnamed == summer


@given(st.integers(-62_000_000_000, 250_000_000_000), st.integers(0, 999_999_999))
def test_what_is_written_is_read_back(second: int, nanosecond: int) -> None:
    pattern = compile_date_pattern("yyyy-MM-dd'T'HH:mm:ss.SSSSSSSSSXXX")

    caught = pattern.parse(pattern.format(second, nanosecond, UTC), lenient=False)

    assert caught is not None
    fields = resolve(caught)
    assert fields is not None
    assert epoch_nanoseconds(fields, NEW_YORK) == second * 10**9 + nanosecond


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("yyyy bb", "has the letter 'b', which means nothing here; there are G u y"),
        ("zzzz", "has 'zzzz', which is not supported; use fewer of 'z'"),
        ("MMMMM", "has 'MMMMM', which is not supported"),
        ("yyyy 'at", "has a lone '; put literal text in quotes"),
        ("yyyy {", "has a lone {; put literal text in quotes"),
        ("[yyyy", "has '\\[' and '\\]' that do not pair"),
        ("yyyy]", "has '\\[' and '\\]' that do not pair"),
        ("[d]" * 5, "is too long; at most 200 characters and 4 optional sections are allowed"),
        ("y-" * 101, "is too long; at most 200 characters"),
    ],
)
def test_bad_pattern_is_named(pattern: str, words: str) -> None:
    with pytest.raises(ExpressionError, match=words):
        compile_date_pattern(pattern)


@given(
    st.text("yMdHmsSEaXzVGQwYkKhnAN'[]-: /", max_size=15), st.text("0123456789-:/ Z", max_size=20)
)
def test_any_pattern_works_or_is_refused(pattern: str, text: str) -> None:
    try:
        compiled = compile_date_pattern(pattern)
        assert isinstance(compiled.format(SECOND, 0, UTC), str)
        caught = compiled.parse(text)
        if caught is not None and (fields := resolve(caught)) is not None:
            epoch_nanoseconds(fields, UTC)
    except ExpressionError as error:
        assert str(error)


def test_zones_have_ids_offsets_and_abbreviations() -> None:
    assert zone("Europe/Paris") == ZoneInfo("Europe/Paris")
    assert zone("PST") == ZoneInfo("America/Los_Angeles")
    assert str(zone("+02:30")) == str(zone("GMT+0230")) == "UTC+02:30"


@pytest.mark.parametrize("name", ["Mars", "../../etc/passwd", "", "+19:00", "\0", "a" * 5000])
def test_unknown_zone_is_named(name: str) -> None:
    with pytest.raises(ExpressionError, match="is not a time zone; write one like"):
        zone(name)


def test_skipped_hour_is_found_and_moves_on() -> None:
    from datetime import datetime

    skipped = datetime(2026, 3, 8, 2, 30)

    assert in_gap(skipped, NEW_YORK) and not in_gap(skipped, UTC)
    assert to_epoch(skipped, NEW_YORK) == to_epoch(datetime(2026, 3, 8, 3, 30), NEW_YORK)
    assert to_epoch(skipped, NEW_YORK, late=True) == to_epoch(skipped, NEW_YORK)
