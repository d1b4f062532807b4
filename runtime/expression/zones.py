"""Time zones by name, and the two hours a year in which local time is not plain."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from runtime.expression.errors import ExpressionError, shown
from runtime.expression.values import EPOCH

# What Java resolves the common abbreviations to.
ZONES: Final = {
    "Z": "UTC", "UT": "UTC", "GMT": "GMT", "UTC": "UTC",
    "EST": "America/New_York", "EDT": "America/New_York", "ET": "America/New_York",
    "CST": "America/Chicago", "CDT": "America/Chicago", "MST": "America/Denver",
    "MDT": "America/Denver", "PST": "America/Los_Angeles", "PDT": "America/Los_Angeles",
    "AKST": "America/Anchorage", "AKDT": "America/Anchorage", "HST": "Pacific/Honolulu",
    "WET": "Europe/Lisbon", "WEST": "Europe/Lisbon", "BST": "Europe/London",
    "CET": "Europe/Paris", "CEST": "Europe/Paris", "EET": "Europe/Athens",
    "EEST": "Europe/Athens", "MSK": "Europe/Moscow", "IST": "Asia/Kolkata", "JST": "Asia/Tokyo",
    "KST": "Asia/Seoul", "HKT": "Asia/Hong_Kong", "AEST": "Australia/Sydney",
    "AEDT": "Australia/Sydney", "NZST": "Pacific/Auckland", "NZDT": "Pacific/Auckland",
}  # fmt: skip
# Abbreviations that say whether it is summer time; the others leave it to the date.
SUMMER: Final = frozenset(
    ("EDT", "CDT", "MDT", "PDT", "AKDT", "WEST", "BST", "CEST", "EEST", "AEDT", "NZDT")
)
WINTER: Final = frozenset(("EST", "CST", "MST", "PST", "AKST", "WET", "CET", "EET", "AEST", "NZST"))

_OFFSET = re.compile(r"(?:GMT|UTC|UT)?([+-])(\d{1,2})(?::?(\d{2}))?(?::?(\d{2}))?")


@lru_cache(maxsize=256)
def zone(name: str) -> tzinfo:
    """Return a time zone by its id (`Europe/Paris`, `GMT+2`, `-05:00`) or common abbreviation.

    Raises:
        ExpressionError: there is no such zone.
    """
    if match := _OFFSET.fullmatch(name):
        delta = timedelta(
            hours=int(match[2]), minutes=int(match[3] or 0), seconds=int(match[4] or 0)
        )
        if delta <= timedelta(hours=18):
            return timezone(-delta if match[1] == "-" else delta)
    try:
        return ZoneInfo(ZONES.get(name, name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ExpressionError(
            f"'{shown(name)}' is not a time zone; write one like 'Europe/Paris', 'UTC' or '+02:00'"
        ) from None


def to_epoch(local: datetime, place: tzinfo, *, late: bool = False) -> int:
    """Return the second since the epoch of a local time."""
    aware = local.replace(tzinfo=place, fold=1 if late else 0)
    if late and aware.utcoffset() != aware.replace(fold=0).utcoffset() and in_gap(local, place):
        aware = aware.replace(fold=0)
    offset = aware.utcoffset() or timedelta()
    return int((aware.replace(tzinfo=UTC, fold=0) - EPOCH - offset).total_seconds())


def in_gap(local: datetime, place: tzinfo) -> bool:
    """Tell whether a local time is skipped by the change to summer time."""
    early = local.replace(tzinfo=place, fold=0).utcoffset()
    late = local.replace(tzinfo=place, fold=1).utcoffset()
    return early is not None and late is not None and early < late
