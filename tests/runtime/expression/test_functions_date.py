from datetime import UTC, datetime
from typing import Any

import pytest

from runtime.expression import Environment, ExpressionError, compile_expression
from runtime.flowfile import Identity

Evaluate = Any


@pytest.mark.parametrize(
    ("text", "subject", "result"),
    [
        ("${a:toDate('yyyyMMddHHmmss'):format('yyyy/MM/dd HH:mm:ss.SSS')}", "20130917162643",
         "2013/09/17 16:26:43.000"),
        ("${a:toDate('ddMMMyyyy'):format('yyyy-MM-dd')}", "10may2004", "2004-05-10"),
        ("${a:toDate('d/M/yyyy', 'Europe/Paris'):toNumber()}", "1/7/2013", 1372629600000),
        ("${a:toDate('HH:mm'):toNumber()}", "01:30", 5400000),
        ("${a:toDate('yyyy-MM-dd'):format('yyyy-MM-dd')}", "2013-02-31", "2013-02-28"),
        ("${a:toDate():toNumber()}", "86400000", 86400000),
        ("${a:toNumber():toDate('yyyy'):format('yyyy')}", "0", "1970"),
        ("${a:toDate('yyyy'):plus(86400000):format('yyyy-MM-dd')}", "2013", "2013-01-02"),
        ("${a:format('yyyy')}", "Tue Sep 17 16:26:43 EDT 2013", "2013"),
        ("${a:format('HH')}", "Tue Sep 17 16:26:43 EDT 2013", "20"),
        ("${a:format('SSS')}", "2013/11/18 10:22:27.678", "678"),
        ("${a:format('mm')}", "2013/11/18 10:22:27", "22"),
        ("${a:format('yyyy', 'Asia/Tokyo')}", "1388502000000", "2014"),
        ("${a:toDate('yyyy'):toString()}", "2013", "Tue Jan 01 00:00:00 UTC 2013"),
        ("${a:toInstant('yyyy-MM-dd HH:mm:ss.SSSSSSSSS', 'UTC'):toNanos()}",
         "2022-03-18 10:22:27.678234567", 1647598947678234567),
        ("${a:toInstant('yyyy-MM-dd HH:mm:ss.SSSSSSSSS', 'UTC'):toMicros()}",
         "2022-03-18 10:22:27.678234567", 1647598947678234),
        ("${a:toInstant('yyyy-MM-dd HH:mm', 'America/New_York'):toString()}",
         "2022-03-18 10:22", "2022-03-18T14:22:00Z"),
        ("${a:toInstant():formatInstant('yyyy HH:mm', 'Europe/Paris')}", "0", "1970 01:00"),
        ("${a:formatInstant('yyyy-MM-dd HH:mm:ss.SSS', 'UTC')}", "2022-03-18T10:22:27.5+02:00",
         "2022-03-18 08:22:27.500"),
        ("${a:formatInstant('yyyy-MM-dd', 'UTC')}", "Fri, 18 Mar 2022 10:22:27 GMT",
         "2022-03-18"),
        ("${a:toDate('yyyy'):toInstant():toNanos()}", "1970", 0),
        ("${a:toInstant():format('yyyy')}", "0", "1970"),
    ],
)  # fmt: skip
def test_function_gives(value: Evaluate, text: str, subject: str, result: Any) -> None:
    assert value(text, a=subject) == result


@pytest.mark.parametrize(
    "call",
    ["toDate('yyyy')", "toDate()", "format('yyyy')", "toInstant('yyyy', 'UTC')", "toInstant()",
     "formatInstant('yyyy', 'UTC')", "toMicros()", "toNanos()", "plusDuration('1 day')",
     "minusInstantDuration('1 day')", "toDate(${missing})", "format(${missing})",
     "toInstant(${missing}, 'UTC')", "formatInstant(${missing}, 'UTC')"],
)  # fmt: skip
def test_missing_value_stays_missing(value: Evaluate, call: str) -> None:
    assert value(f"${{missing:{call}}}") is None


def test_dates_and_instants_come_as_datetimes(value: Evaluate) -> None:
    assert value("${a:toDate()}", a="1500") == datetime(1970, 1, 1, 0, 0, 1, 500000, UTC)
    assert value("${a:toInstant()}", a="1500") == datetime(1970, 1, 1, 0, 0, 1, 500000, UTC)


@pytest.mark.parametrize(
    ("duration", "result"),
    [
        ("1000000000 nanoseconds", "2026-08-04 00:00:01"),
        ("30 seconds", "2026-08-04 00:00:30"),
        ("90 minutes", "2026-08-04 01:30:00"),
        ("25 HOURS", "2026-08-05 01:00:00"),
        ("1 day", "2026-08-05 00:00:00"),
        (" 2  weeks ", "2026-08-18 00:00:00"),
        ("6 months", "2027-02-04 00:00:00"),
        ("1 year", "2027-08-04 00:00:00"),
    ],
)
def test_duration_moves_there_and_back(value: Evaluate, duration: str, result: str) -> None:
    here = "${a:toDate('yyyy-MM-dd HH:mm:ss')"
    there = value(f"{here}:plusDuration('{duration}'):format('yyyy-MM-dd HH:mm:ss')}}",
                  a="2026-08-04 00:00:00")  # fmt: skip
    back = value(f"{here}:minusDuration('{duration}'):format('yyyy-MM-dd HH:mm:ss')}}", a=there)

    assert (there, back) == (result, "2026-08-04 00:00:00")


@pytest.mark.parametrize(
    ("start", "duration", "end"),
    [
        ("2024-02-29", "plusDuration('1 year')", "2025-02-28"),
        ("2026-01-31", "plusDuration('1 month')", "2026-02-28"),
        ("2026-03-31", "minusDuration('1 month')", "2026-02-28"),
        ("2026-01-15", "minusDuration('13 months')", "2024-12-15"),
    ],
)
def test_day_that_a_month_lacks_becomes_its_last(
    value: Evaluate, start: str, duration: str, end: str
) -> None:
    text = f"${{a:toDate('yyyy-MM-dd'):{duration}:format('yyyy-MM-dd')}}"

    assert value(text, a=start) == end


def test_days_keep_the_local_hour_over_a_change_of_clocks(value: Evaluate) -> None:
    vienna = "'Europe/Vienna'"
    text = (
        f"${{a:toDate('yyyy-MM-dd HH:mm', {vienna}):plusDuration('1 day', {vienna})"
        f":format('yyyy-MM-dd HH:mmXXX', {vienna})}}"
    )

    assert value(text, a="2026-03-28 12:00") == "2026-03-29 12:00+02:00"
    assert value(text, a="2026-03-28 02:30") == "2026-03-29 03:30+02:00"  # skipped that night
    # The night with 02:30 twice: the hour that had the offset before is kept.
    assert value(text, a="2026-10-24 02:30") == "2026-10-25 02:30+02:00"


def test_instants_move_on_the_utc_calendar(value: Evaluate) -> None:
    text = (
        "${a:toInstant('yyyy-MM-dd HH:mm', 'Australia/Sydney'):plusInstantDuration('3 months')"
        ":formatInstant('yyyy-MM-dd HH:mm', 'Australia/Sydney')}"
    )

    assert value(text, a="2026-08-04 00:00") == "2026-11-04 01:00"


@pytest.mark.parametrize(
    ("call", "subject", "result"),
    [
        ("isValidDate('dd-MM-yyyy')", " 29-02-2024 ", True),
        ("isValidDate('dd-MM-yyyy')", "29-02-2023", False),
        ("isValidDate('dd-MM')", "29-02", True),
        ("isValidDate('dd-MM-yyyy')", "2024-02-29", False),
        ("isValidDate('HH:mm')", "25:00", False),
        ("isValidDate('yyyy-MM-dd hh:mm a', 'Australia/Sydney')", "2026-10-04 02:30 AM", False),
        ("isValidDate('yyyy-MM-dd HH:mm', 'Australia/Sydney')", "2026-10-04 03:00", True),
        ("isValidDate(null)", "x", False),
        ("isValidInstant()", "2024-05-01T12:00:00Z", True),
        ("isValidInstant()", "2024-05-01T12:00:00+02:00", True),
        ("isValidInstant()", "2024-13-01T12:00:00Z", False),
        ("isValidInstant()", "2024-05-01", False),
    ],
)
def test_a_text_is_told_from_a_date_or_instant(
    value: Evaluate, call: str, subject: str, result: bool
) -> None:
    assert value(f"${{a:{call}}}", a=subject) is result
    assert value(f"${{missing:{call}}}") is False


@pytest.mark.parametrize(
    ("call", "subject", "words"),
    [
        ("toDate('yyyy')", "x", "toDate\\(\\) has 'x', which does not follow the date pattern"),
        ("toDate('yyyy-MM')", "2013-13", "toDate\\(\\) has '2013-13', which does not follow"),
        ("toInstant('dd/MM/yyyy HH', 'UTC')", "1/2/2013 00", "toInstant\\(\\) has '1/2/2013 00'"),
        ("toInstant('yyyy', 'UTC')", "2013", "which does not give year, month, day and hour"),
        ("format('yyyy')", "soon", "'soon' is not a date that is recognised by itself; say how"),
        ("formatInstant('yyyy', 'UTC')", "soon", "'soon' is not an instant; write it like"),
        ("formatInstant('yyyy', 'UTC')", "Fri, 99 Mar 2022", "is not an instant; write it"),
        ("format('yyyy')", "9" * 18, "is outside the years 1 to 9999"),
        ("format('yyyy', 'Mars')", "0", "'Mars' is not a time zone; write one like 'Europe/Par"),
        ("plusDuration('1days')", "0", "'1days' is not a duration here; write a whole number and"),
        ("plusDuration('2 fortnights')", "0", "'2 fortnights' is not a duration here"),
        ("plusDuration('9999 years')", "0", "moving a date by 9999 years leaves the years 1 to"),
        ("toDate('YYYY-ww')", "2013-01", "has 'YYYY', which can be written but not read; leave"),
    ],
)
def test_value_that_does_not_fit_is_named(
    value: Evaluate, call: str, subject: str, words: str
) -> None:
    with pytest.raises(ExpressionError, match=words):
        value(f"${{a:{call}}}", a=subject)


def test_zone_of_the_machine_is_used_where_none_is_named() -> None:
    environment = Environment(identity=Identity(1))

    midnight = compile_expression("${literal('2020-01-01'):toDate('yyyy-MM-dd')}", environment)

    assert midnight.value() == datetime(2020, 1, 1, tzinfo=environment.timezone)
