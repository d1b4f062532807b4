"""From the texts that a date pattern caught to an instant."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from runtime.expression.date_pattern import MONTHS
from runtime.expression.zones import WINTER, ZONES, to_epoch, zone


@dataclass(frozen=True, slots=True)
class Fields:
    """The numbers of a parsed text; None for what the pattern does not have."""

    year: int | None
    month: int | None
    day: int | None
    hour: int | None
    minute: int | None
    second: int | None
    nanosecond: int
    zone: tzinfo | None
    winter: bool


def resolve(caught: Mapping[str, str]) -> Fields | None:
    """Turn caught texts into numbers; None when one of them is out of its range."""
    number = {letter: int(text) for letter, text in caught.items() if text.isdecimal()}
    month = number.get("M", number.get("L"))
    name = caught.get("M", caught.get("L", ""))
    if month is None and name:
        month = next(i for i, one in enumerate(MONTHS, 1) if one.lower()[:3] == name.lower()[:3])
    day = number.get("d")
    year = number.get("u", number.get("y"))
    if year is not None and len(caught.get("u", caught.get("y", ""))) == 2:
        year += 2000
    if "D" in number and month is None and 1 <= number["D"] <= 366:
        date = datetime(year or 1970, 1, 1) + timedelta(days=number["D"] - 1)
        month, day = date.month, date.day
    hour, nanosecond = _hour(number, caught.get("a")), _nanosecond(number, caught)
    ranges = (
        (year, 1, 9999), (month, 1, 12), (day, 1, 31), (hour, 0, 23), (number.get("m"), 0, 59),
        (number.get("s"), 0, 59), (nanosecond, 0, 10**9 - 1),
    )  # fmt: skip
    if any(value is not None and not low <= value <= high for value, low, high in ranges):
        return None
    place = next((caught[letter] for letter in "VzXxZO" if letter in caught), None)
    return Fields(
        year, month, day, hour, number.get("m"), number.get("s"), nanosecond,
        zone(place.upper() if place.upper() in ZONES else place) if place else None,
        place is not None and place.upper() in WINTER,
    )  # fmt: skip


def _hour(number: Mapping[str, int], half: str | None) -> int | None:
    if "H" in number:
        return number["H"]
    if "k" in number:
        return number["k"] % 24 if number["k"] <= 24 else -1
    twelve = number.get("K", number.get("h"))
    if twelve is None:
        return None
    if twelve > 12:
        return -1
    return twelve % 12 + (12 if half is not None and half.upper() == "PM" else 0)


def _nanosecond(number: Mapping[str, int], caught: Mapping[str, str]) -> int:
    if "S" in caught:
        return int(caught["S"].ljust(9, "0")[:9])
    return number.get("n", 0)


def epoch_nanoseconds(fields: Fields, default_zone: tzinfo) -> int:
    """Return the instant; what the fields lack is taken from 1970-01-01 00:00.

    In the gap of a change to summer time the clock has moved on; in the overlap the earlier
    instant is meant, unless the text names the zone's winter time.
    """
    year, month = fields.year or 1970, fields.month or 1
    day = min(fields.day or 1, monthrange(year, month)[1])
    local = datetime(
        year, month, day, fields.hour or 0, fields.minute or 0, fields.second or 0
    )  # fmt: skip
    return to_epoch(local, fields.zone or default_zone, late=fields.winter) * 10**9 + (
        fields.nanosecond
    )
