"""Times as people type them: `2026-11-23`, `2026-11-23T14:05`, `14:05`, `2 hours ago`, `now`."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

SECONDS: Final = {
    "second": 1, "sec": 1, "s": 1, "minute": 60, "min": 60, "m": 60, "hour": 3600, "h": 3600,
    "day": 86_400, "d": 86_400, "week": 604_800, "w": 604_800,
}  # fmt: skip

_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([a-z]+?)s?\s+ago", re.ASCII)


class TimeError(ValueError):
    """Text that names no time."""


def parse_time(text: str, now: datetime) -> datetime:
    """Parse a time; one without a zone is in the zone of `now`. The result is in UTC.

    Raises:
        TimeError: it is none of the accepted forms.
    """
    words = text.strip().lower()
    try:
        found = _relative(words, now) or _absolute(words, now)
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise TimeError(
            f"'{text}' is no time; write a date (2026-11-23), a date with a time "
            "(2026-11-23T14:05), a time of today (14:05) or an age (2 hours ago)"
        ) from None


def _relative(words: str, now: datetime) -> datetime | None:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    named = {"now": now, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    if words in named:
        return named[words]
    match = _AGO.fullmatch(words)
    if match is None or match[2] not in SECONDS:
        return None
    return now - timedelta(seconds=float(match[1]) * SECONDS[match[2]])


def _absolute(words: str, now: datetime) -> datetime:
    if re.fullmatch(r"\d{1,2}:\d\d(:\d\d)?", words):
        words = f"{now.date().isoformat()}T{words.zfill(5) if len(words) < 6 else words.zfill(8)}"
    found = datetime.fromisoformat(words.upper())
    return found if found.tzinfo else found.replace(tzinfo=now.tzinfo)
