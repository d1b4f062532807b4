"""Dates and instants: parsing, formatting, durations."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import parsedate_to_datetime
from typing import Final

from runtime.expression import zones
from runtime.expression.date_fields import epoch_nanoseconds, resolve
from runtime.expression.date_pattern import DatePattern, compile_date_pattern
from runtime.expression.errors import ExpressionError, shown
from runtime.expression.functions import function, unless_null
from runtime.expression.values import EPOCH, Step, Type, moment, trim

TEXT, WHOLE, NUMBER, DATE, INSTANT = Type.TEXT, Type.WHOLE, Type.NUMBER, Type.DATE, Type.INSTANT
BOOLEAN = Type.BOOLEAN

SECOND: Final = 10**9
TEXT_PATTERN: Final = "EEE MMM dd HH:mm:ss zzz yyyy"


@function("toDate", TEXT, TEXT, TEXT, optional=1, result=DATE, zoned=True)
def to_date(place: tzinfo, pattern: str | None, zone_name: str | None = None) -> Step:
    if pattern is None:
        return lambda subject: None
    compiled = compile_date_pattern(pattern)
    here = zones.zone(zone_name) if zone_name is not None else place
    compiled.check_readable()
    return unless_null(lambda subject: _parse(compiled, subject, here, "toDate") // 10**6)


@function("toDate", WHOLE, TEXT, TEXT, optional=2, result=DATE)
def number_to_date(*_: str | None) -> Step:
    return lambda subject: subject


@function("toInstant", TEXT, TEXT, TEXT, result=INSTANT)
def to_instant(pattern: str | None, zone_name: str | None) -> Step:
    if pattern is None:
        return lambda subject: None
    compiled, here = compile_date_pattern(pattern), zones.zone(zone_name or "")
    compiled.check_readable(lenient=False)
    return unless_null(lambda subject: _parse(compiled, subject, here, "toInstant"))


@function("toInstant", WHOLE, TEXT, TEXT, optional=2, result=INSTANT)
def number_to_instant(*_: str | None) -> Step:
    return unless_null(lambda subject: subject * 10**6)


def _parse(pattern: DatePattern, text: str, place: tzinfo, name: str) -> int:
    strict = name == "toInstant"
    caught = pattern.parse(text, lenient=not strict)
    fields = resolve(caught) if caught is not None else None
    if fields is None:
        raise ExpressionError(
            f"{name}() has '{shown(text)}', which does not follow the date pattern "
            f"'{shown(pattern.text)}'"
        )
    if strict and None in (fields.year, fields.month, fields.day, fields.hour):
        raise ExpressionError(
            f"toInstant() has the date pattern '{shown(pattern.text)}', which does not give year, "
            "month, day and hour; use toDate() for less than that"
        )
    return epoch_nanoseconds(fields, place)


@function("format", DATE, TEXT, TEXT, optional=1, result=TEXT, zoned=True)
def format_date(place: tzinfo, pattern: str | None, zone_name: str | None = None) -> Step:
    if pattern is None:
        return lambda subject: None
    compiled = compile_date_pattern(pattern)
    here = zones.zone(zone_name) if zone_name is not None else place

    def apply(subject: int) -> str:
        seconds, milliseconds = divmod(subject, 1000)
        return compiled.format(seconds, milliseconds * 10**6, here)

    return unless_null(apply)


@function("formatInstant", INSTANT, TEXT, TEXT, result=TEXT)
def format_instant(pattern: str | None, zone_name: str | None) -> Step:
    if pattern is None:
        return lambda subject: None
    compiled, here = compile_date_pattern(pattern), zones.zone(zone_name or "")

    def apply(subject: int) -> str:
        seconds, nanosecond = divmod(subject, SECOND)
        return compiled.format(seconds, nanosecond, here)

    return unless_null(apply)


@function("toMicros", INSTANT, result=NUMBER)
def to_micros() -> Step:
    # Java counts whole microseconds between the epoch and the instant: it cuts towards zero.
    return unless_null(lambda subject: abs(subject) // 1000 * (-1 if subject < 0 else 1))


@function("toNanos", INSTANT, result=NUMBER)
def to_nanos() -> Step:
    return lambda subject: subject


def text_from_date(milliseconds: int, place: tzinfo) -> str:
    """Write a date as NiFi shows it: `Tue Sep 17 16:26:43 UTC 2013`."""
    return compile_date_pattern(TEXT_PATTERN).format(milliseconds // 1000, 0, place)


def date_from_text(text: str, place: tzinfo) -> int:
    """Read a date in NiFi's own forms, or as milliseconds.

    Raises:
        ExpressionError: it is none of them.
    """
    text = trim(text)
    if re.fullmatch("[0-9]{1,19}", text):
        return int(text)
    if re.fullmatch(r"(?:[a-zA-Z]{3} ){2}[0-9]{2} [0-9:]{8} .{1,60} [0-9]{4}", text):
        pattern = TEXT_PATTERN
    elif re.fullmatch(r"[0-9]{4}/[0-9]{2}/[0-9]{2} [0-9:]{8}(\.[0-9]{3})?", text):
        pattern = "yyyy/MM/dd HH:mm:ss" + (".SSS" if "." in text else "")
    else:
        raise ExpressionError(
            f"'{shown(text)}' is not a date that is recognised by itself; "
            "say how to read it with toDate('...')"
        )
    return _parse(compile_date_pattern(pattern), text, place, "toDate") // 10**6


_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:\.([0-9]{1,9}))?"
    r"(Z|[+-][0-9]{2}:[0-9]{2}(?::[0-9]{2})?)"
)


def instant_from_text(text: str) -> int:
    """Read milliseconds, ISO 8601 with an offset, or RFC 1123.

    Raises:
        ExpressionError: it is none of them.
    """
    text = trim(text)
    if re.fullmatch("[0-9]{1,19}", text):
        return int(text) * 10**6
    try:
        if match := _ISO.fullmatch(text):
            time, fraction = datetime.fromisoformat(match[1] + match[3]), match[2] or ""
        elif re.match("[A-Za-z]{3},|[0-9]{1,2} ", text):
            time, fraction = parsedate_to_datetime(text), ""
        else:
            raise ValueError
        seconds = (time.astimezone(UTC) - EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError, TypeError):
        raise ExpressionError(
            f"'{shown(text)}' is not an instant; write it like '2024-05-01T12:00:00Z', "
            "or say how to read it with toInstant('...', '...')"
        ) from None
    return seconds * SECOND + int(fraction.ljust(9, "0"))


@function("isValidInstant", TEXT, result=BOOLEAN)
def is_valid_instant() -> Step:
    def apply(subject: str | None) -> bool:
        if subject is None or trim(subject).isdecimal():
            return False
        try:
            instant_from_text(subject)
        except ExpressionError:
            return False
        return True

    return apply


@function("isValidDate", TEXT, TEXT, TEXT, optional=1, result=BOOLEAN)
def is_valid_date(pattern: str | None, zone_name: str | None = None) -> Step:
    if pattern is None:
        return lambda subject: False
    compiled = compile_date_pattern(pattern)
    compiled.check_readable()
    place = zones.zone(zone_name) if zone_name is not None else None
    return lambda subject: subject is not None and _is_valid(compiled, trim(subject), place)


def _is_valid(pattern: DatePattern, text: str, place: tzinfo | None) -> bool:
    caught = pattern.parse(text)
    fields = resolve(caught) if caught is not None else None
    if fields is None:
        return False
    if fields.month is None or fields.day is None:
        return True
    # Without a year, 29 February counts: some year has it.
    year = fields.year or 2000
    if fields.day > monthrange(year, fields.month)[1]:
        return False
    if place is None or fields.hour is None:
        return True
    local = datetime(year, fields.month, fields.day, fields.hour, fields.minute or 0)
    return not zones.in_gap(local, place)


_DURATION = re.compile(
    r"\s*([0-9]{1,18})\s+(nanosecond|second|minute|hour|day|week|month|year)s?\s*", re.IGNORECASE
)
_EXACT: Final = {"nanosecond": 1, "second": SECOND, "minute": 60 * SECOND, "hour": 3600 * SECOND}


def _duration(text: str | None) -> tuple[int, str]:
    match = _DURATION.fullmatch(text or "")
    if match is None:
        raise ExpressionError(
            f"'{shown(text or '')}' is not a duration here; write a whole number and a unit, like "
            "'2 weeks' (nanoseconds, seconds, minutes, hours, days, weeks, months or years)"
        )
    return int(match[1]), match[2].lower()


def _shift(nanoseconds: int, duration: tuple[int, str], place: tzinfo) -> int:
    """Move an instant: hours and less on the time line, days and more on the local calendar."""
    amount, unit = duration
    if unit in _EXACT:
        return nanoseconds + amount * _EXACT[unit]
    seconds, rest = divmod(nanoseconds, SECOND)
    local = moment(seconds, place)
    try:
        moved = _moved(local.replace(tzinfo=None), amount, unit)
        late = _keeps_offset(moved, local, place)
        return zones.to_epoch(moved, place, late=late) * SECOND + rest
    except (OverflowError, ValueError):
        raise ExpressionError(
            f"moving a date by {amount} {unit}s leaves the years 1 to 9999"
        ) from None


def _moved(local: datetime, amount: int, unit: str) -> datetime:
    if unit in ("day", "week"):
        return local + timedelta(days=amount * (7 if unit == "week" else 1))
    months = local.year * 12 + local.month - 1 + amount * (12 if unit == "year" else 1)
    year, month = divmod(months, 12)
    if not 1 <= year <= 9999:
        raise OverflowError
    return local.replace(
        year=year, month=month + 1, day=min(local.day, monthrange(year, month + 1)[1])
    )


def _keeps_offset(moved: datetime, before: datetime, place: tzinfo) -> bool:
    """Tell whether, in an overlap, the later time has the offset that was in force before."""
    early = moved.replace(tzinfo=place).utcoffset()
    late = moved.replace(tzinfo=place, fold=1).utcoffset()
    return early != late and late == before.utcoffset()


def _duration_functions(name: str, sign: int) -> None:
    @function(f"{name}Duration", DATE, TEXT, TEXT, optional=1, result=DATE, zoned=True)
    def date(place: tzinfo, text: str | None, zone_name: str | None = None) -> Step:
        amount, unit = _duration(text)
        here = zones.zone(zone_name) if zone_name is not None else place
        return unless_null(
            lambda subject: _shift(subject * 10**6, (sign * amount, unit), here) // 10**6
        )

    @function(f"{name}InstantDuration", INSTANT, TEXT, result=INSTANT)
    def instant(text: str | None) -> Step:
        amount, unit = _duration(text)
        return unless_null(lambda subject: _shift(subject, (sign * amount, unit), UTC))


_duration_functions("plus", 1)
_duration_functions("minus", -1)
