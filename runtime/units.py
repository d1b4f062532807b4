"""Durations and sizes as people write them: `5 min`, `1.5 hours`, `10 MB`."""

import math
import re
from fractions import Fraction
from typing import Final

SECONDS: Final = {
    "ns": 1e-9, "nano": 1e-9, "nanos": 1e-9, "nanosecond": 1e-9, "nanoseconds": 1e-9,
    "us": 1e-6, "micro": 1e-6, "micros": 1e-6, "microsecond": 1e-6, "microseconds": 1e-6,
    "ms": 1e-3, "milli": 1e-3, "millis": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3,
    "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0,
    "m": 60.0, "min": 60.0, "mins": 60.0, "minute": 60.0, "minutes": 60.0,
    "h": 3600.0, "hr": 3600.0, "hrs": 3600.0, "hour": 3600.0, "hours": 3600.0,
    "d": 86400.0, "day": 86400.0, "days": 86400.0,
    "w": 604800.0, "wk": 604800.0, "wks": 604800.0, "week": 604800.0, "weeks": 604800.0,
}  # fmt: skip
BYTES: Final = {"b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40}
SIZE_MAX: Final = 2**63 - 1
"""More than any file system holds; what is larger is a slip of the hand."""

_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


def parse_duration(text: str) -> float:
    """Return seconds. A bare `0` is allowed; every other number needs its unit.

    Raises:
        ValueError: with a sentence that shows the right form.
    """
    if text.strip() == "0":
        return 0.0
    match = _QUANTITY.fullmatch(text)
    if match and (unit := SECONDS.get(match[2].lower())) is not None:
        seconds = float(match[1]) * unit
        if math.isfinite(seconds):
            return seconds
    raise ValueError(f"is '{text}'; it must be a duration such as '30 sec', '5 min' or '1 hour'")


def parse_size(text: str) -> int:
    """Return bytes; KB, MB, GB and TB are powers of 1,024, as in NiFi.

    Raises:
        ValueError: with a sentence that shows the right form.
    """
    if text.strip() == "0":
        return 0
    match = _QUANTITY.fullmatch(text)
    if match and (unit := BYTES.get(match[2].lower())) is not None:
        size = Fraction(match[1]) * unit
        if size <= SIZE_MAX:
            return int(size)
    raise ValueError(f"is '{text}'; it must be a size such as '512 B', '10 MB' or '1 GB'")


def format_duration(seconds: float) -> str:
    """Write seconds with the largest unit that leaves a short number; undoes `parse_duration`."""
    for unit, factor in (("days", 86400), ("hours", 3600), ("min", 60), ("sec", 1)):
        if seconds >= factor and seconds % factor == 0:
            return f"{int(seconds // factor)} {unit}"
    milliseconds = seconds * 1000
    if milliseconds == int(milliseconds):
        return f"{int(milliseconds)} ms" if seconds else "0 sec"
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + " sec"


def format_size(size: int) -> str:
    """Write bytes with the largest unit that divides them: `parse_size`'s inverse."""
    for unit, factor in (("TB", 2**40), ("GB", 2**30), ("MB", 2**20), ("KB", 2**10)):
        if size >= factor and size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} B"
