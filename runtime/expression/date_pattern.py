"""Java's DateTimeFormatter patterns (`yyyy/MM/dd HH:mm:ss.SSS`), each translated once.

A pattern becomes a list of *fields*: letter, count and literal texts. Formatting calls one small
function a field; parsing runs one regular expression made from the fields (bounded repeats only,
every text of the user's pattern escaped) and then resolves the numbers it caught.

Numbers next to each other (`yyyyMMdd`) have their exact width, only the first may be longer.
Lenient parsing (toDate) takes numbers of any width otherwise (`1/2/2013` for `dd/MM/yyyy`) and
ignores case; strict parsing (toInstant) wants the widths that the letters ask for. A day that its
month does not have becomes the month's last day up to 31, beyond it is an error.

Not supported, and said so when the pattern is compiled: full zone names (`zzzz`, `v`), narrow
texts (five letters), week-of-month and day-of-week-in-month, paddings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final, final

from runtime.expression.errors import ExpressionError, shown
from runtime.expression.values import moment

MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True)
class Field:
    """A letter and how often it stands, or (without a letter) a literal text."""

    letter: str
    count: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Local:
    """What a field is formatted from."""

    time: datetime
    nanosecond: int


_LETTERS: Final = "GuyYDMLdQqwEecaHkKhmsSAnNVzOXxZ"
_NUMBERS: Final = "uyYDMLdQqwecHkKhmsAnN"
# Optional numbers side by side multiply the ways to read a text.
LENGTH_MAX: Final = 200
OPTIONAL_MAX: Final = 4
_TOKEN = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|(.)", re.DOTALL)


@final
class DatePattern:
    """A compiled pattern; immutable. `fields` nests a list for each `[optional]` section."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._fields, self._brackets = _read(text)
        self._writers = [_writer(field, text) for field in self._fields]

    def format(self, seconds: int, nanosecond: int, zone: tzinfo) -> str:
        """Write a time in a zone.

        Raises:
            ExpressionError: the time is outside the years 1 to 9999.
        """
        local = Local(moment(seconds, zone), nanosecond)
        return "".join([write(local) for write in self._writers])

    def check_readable(self, lenient: bool = True) -> None:
        """Raise now what `parse` would raise.

        Raises:
            ExpressionError: the pattern can only be written, not read.
        """
        _reader(self.text, lenient)

    def parse(self, text: str, lenient: bool = True) -> dict[str, str] | None:
        """Return the texts of the fields by letter, None when `text` does not follow the pattern.

        Raises:
            ExpressionError: the pattern can only be written, not read.
        """
        match = _reader(self.text, lenient).fullmatch(text)
        if match is None:
            return None
        return {name[0]: value for name, value in match.groupdict().items() if value is not None}


@lru_cache(maxsize=1024)
def compile_date_pattern(text: str) -> DatePattern:
    """Compile a pattern.

    Raises:
        ExpressionError: a letter means nothing or is not supported; it is named.
    """
    return DatePattern(text)


def _read(text: str) -> tuple[list[Field], list[str]]:
    """Split into fields; the second list has `[`, `]` or nothing for each."""
    if len(text) > LENGTH_MAX or text.count("[") > OPTIONAL_MAX:
        raise ExpressionError(
            f"date pattern '{shown(text)}' is too long; at most {LENGTH_MAX} characters and "
            f"{OPTIONAL_MAX} optional sections are allowed"
        )
    fields, brackets, depth = [], [], 0
    for match in _TOKEN.finditer(text):
        bracket = ""
        if match[1] is not None:
            field = Field("", 0, match[1].replace("''", "'") or "'")
        elif match[2] is not None:
            field = Field(match[2], len(match[0]))
        elif match[3] in "[]":
            bracket, field = match[3], Field("", 0)
            depth += 1 if bracket == "[" else -1
        elif match[3] in "'{}#":
            raise ExpressionError(
                f"date pattern '{shown(text)}' has a lone {match[3]}; put literal text in quotes"
            )
        else:
            field = Field("", 0, match[3])
        if depth < 0:
            break
        fields.append(field)
        brackets.append(bracket)
    if depth:
        raise ExpressionError(f"date pattern '{shown(text)}' has '[' and ']' that do not pair")
    return fields, brackets


def _writer(field: Field, pattern: str) -> Callable[[Local], str]:
    letter, count, text = field.letter, field.count, field.text
    if not letter:
        return lambda local: text
    if letter not in _LETTERS:
        raise ExpressionError(
            f"date pattern '{shown(pattern)}' has the letter '{letter}', which means nothing here; "
            f"there are {' '.join(_LETTERS)}, and literal text goes in quotes"
        )
    write = _text_writer(letter, count) or _offset_writer(letter, count)
    if write is None and letter == "S":
        return lambda local: f"{local.nanosecond:09d}"[:count].ljust(count, "0")
    if write is None and letter in _NUMBER_OF and count <= _WIDTH_MAX.get(letter, 2):
        return _number_writer(letter, count)
    if write is None:
        raise ExpressionError(
            f"date pattern '{shown(pattern)}' has '{letter * count}', which is not supported; "
            f"use fewer of '{letter}'"
        )
    return write


_NUMBER_OF: Final[Mapping[str, Callable[[Local], int]]] = {
    "u": lambda local: local.time.year,
    "y": lambda local: local.time.year,
    "Y": lambda local: _week(local.time)[0],
    "w": lambda local: _week(local.time)[1],
    "D": lambda local: local.time.timetuple().tm_yday,
    "M": lambda local: local.time.month,
    "L": lambda local: local.time.month,
    "d": lambda local: local.time.day,
    "Q": lambda local: (local.time.month + 2) // 3,
    "q": lambda local: (local.time.month + 2) // 3,
    "e": lambda local: local.time.isoweekday() % 7 + 1,
    "c": lambda local: local.time.isoweekday() % 7 + 1,
    "H": lambda local: local.time.hour,
    "k": lambda local: local.time.hour or 24,
    "K": lambda local: local.time.hour % 12,
    "h": lambda local: local.time.hour % 12 or 12,
    "m": lambda local: local.time.minute,
    "s": lambda local: local.time.second,
    "n": lambda local: local.nanosecond,
    "A": lambda local: _second_of_day(local.time) * 1000 + local.nanosecond // 10**6,
    "N": lambda local: _second_of_day(local.time) * 10**9 + local.nanosecond,
}


_WIDTH_MAX: Final = {"D": 3} | dict.fromkeys("uyYnAN", 19)


def _second_of_day(time: datetime) -> int:
    return time.hour * 3600 + time.minute * 60 + time.second


def _week(time: datetime) -> tuple[int, int]:
    """Return week-based year and week as in the United States: Sunday first, week 1 has 1 Jan."""
    day = time.date()
    sunday = day - timedelta(days=day.isoweekday() % 7) if day.year > 1 else day
    year = (sunday + timedelta(days=6)).year if sunday.year < 9999 else day.year
    first = sunday.replace(year=year, month=1, day=1)
    first -= timedelta(days=first.isoweekday() % 7) if year > 1 else timedelta()
    return year, (sunday - first).days // 7 + 1


def _number_writer(letter: str, count: int) -> Callable[[Local], str]:
    number = _NUMBER_OF[letter]
    if letter in "uyY" and count == 2:
        return lambda local: f"{number(local) % 100:02d}"
    return lambda local: f"{number(local):0{count}d}"


def _text_writer(letter: str, count: int) -> Callable[[Local], str] | None:
    match letter:
        case "M" | "L" if count in (3, 4):
            return lambda local: MONTHS[local.time.month - 1][: 3 if count == 3 else None]
        case "E" if count <= 4:
            return lambda local: DAYS[local.time.weekday()][: 3 if count < 4 else None]
        case "e" | "c" if count in (3, 4):
            return lambda local: DAYS[local.time.weekday()][: 3 if count == 3 else None]
        case "a" if count == 1:
            return lambda local: "AM" if local.time.hour < 12 else "PM"
        case "G" if count <= 4:
            return lambda local: "AD" if count < 4 else "Anno Domini"
        case "Q" | "q" if count == 3:
            return lambda local: f"Q{(local.time.month + 2) // 3}"
        case "z" if count <= 3:
            return lambda local: _zone_name(local.time)
        case "V" if count == 2:
            return lambda local: _zone_id(local.time)
        case _:
            return None


def _zone_name(time: datetime) -> str:
    name = time.tzname() or ""
    if name.startswith("UTC") and name != "UTC":
        return _offset(time, colon=True)
    return name


def _zone_id(time: datetime) -> str:
    key = getattr(time.tzinfo, "key", None)
    return key if isinstance(key, str) else _offset(time, colon=True)


def _offset(time: datetime, *, colon: bool, minutes: bool | None = True) -> str:
    """Write `+02:00` or `+0200`; `minutes=None` leaves them out when they are zero."""
    total = int((time.utcoffset() or timedelta()).total_seconds()) // 60
    hour, minute = divmod(abs(total), 60)
    text = f"{'-' if total < 0 else '+'}{hour:02d}"
    if minutes or minute:
        text += f"{':' if colon else ''}{minute:02d}"
    return text


def _offset_writer(letter: str, count: int) -> Callable[[Local], str] | None:
    if letter == "X" and count <= 5:
        plain = _offset_writer("x", count)
        assert plain is not None
        return lambda local: plain(local) if local.time.utcoffset() else "Z"
    if letter == "x" and count <= 5:
        return lambda local: _offset(
            local.time, colon=count in (3, 5), minutes=None if count == 1 else True
        )
    if letter == "Z" and count <= 3:
        return lambda local: _offset(local.time, colon=False)
    if letter == "Z" and count == 5:
        return _offset_writer("X", 3)
    if letter == "O" and count in (1, 4) or letter == "Z" and count == 4:
        return lambda local: _localized(local.time, short=count == 1)
    return None


def _localized(time: datetime, *, short: bool) -> str:
    if not time.utcoffset():
        return "GMT"
    text = _offset(time, colon=True, minutes=None if short else True)
    return f"GMT{text[0]}{text[1:].lstrip('0') if short else text[1:]}"


_SHORT_OR_FULL = "|".join
_READERS: Final[Mapping[str, str]] = {
    "a": "AM|PM",
    "G": "AD|CE|Anno Domini",
    "E": _SHORT_OR_FULL(f"{day[:3]}(?:{day[3:]})?" for day in DAYS),
    "z": r"[A-Za-z][A-Za-z0-9_/+-]{0,48}|[+-][0-9]{2}(?::?[0-9]{2})?",
    "V": r"[A-Za-z][A-Za-z0-9_/+-]{0,48}|[+-][0-9]{2}(?::?[0-9]{2})?|Z",
    "X": r"Z|[+-][0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2})?)?",
    "x": r"[+-][0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2})?)?",
    "Z": r"Z|(?:GMT)?[+-][0-9]{2}(?::?[0-9]{2})?|GMT",
    "O": r"GMT(?:[+-][0-9]{1,2}(?::[0-9]{2})?)?",
}
_MONTH_NAMES = _SHORT_OR_FULL(f"{month[:3]}(?:{month[3:]})?" for month in MONTHS)


@lru_cache(maxsize=1024)
def _reader(pattern: str, lenient: bool) -> re.Pattern[str]:
    fields, brackets = _read(pattern)
    source, seen = [], set[str]()
    for index, field in enumerate(fields):
        if brackets[index]:
            source.append("(?:" if brackets[index] == "[" else ")?")
        elif not field.letter:
            source.append(re.escape(field.text))
        else:
            after = index and not brackets[index - 1] and _is_number(fields[index - 1])
            before = index + 1 < len(fields) and _is_number(fields[index + 1])
            body = _body(field, pattern, (bool(after), before), lenient)
            name = f"{field.letter}{index}"
            source.append(f"(?:{body})" if field.letter in seen else f"(?P<{name}>{body})")
            seen.add(field.letter)
    return re.compile("".join(source), re.IGNORECASE if lenient else 0)


def _is_number(field: Field) -> bool:
    if field.letter in "ML" and field.letter:
        return field.count < 3
    return field.letter == "S" or field.letter in _NUMBERS and bool(field.letter)


def _body(field: Field, pattern: str, neighbours: tuple[bool, bool], lenient: bool) -> str:
    after_number, before_number = neighbours
    letter, count = field.letter, field.count
    if letter in "ML" and count >= 3:
        return _MONTH_NAMES
    if letter in _READERS:
        return _READERS[letter]
    if letter == "S":
        return f"[0-9]{{{count}}}" if count < 9 or not lenient else "[0-9]{1,9}"
    if letter not in "uyDMLdHkKhmsAnN":
        raise ExpressionError(
            f"date pattern '{shown(pattern)}' has '{letter * count}', which can be written "
            "but not read; leave it out to parse a text"
        )
    if after_number or (count == 2 and not lenient) or (letter in "uy" and count == 2):
        return f"[0-9]{{{count}}}"
    if before_number:
        return f"[0-9]{{{count},10}}" if count > 2 else f"[0-9]{{1,{max(count, 2)}}}"
    return "[0-9]{1,10}" if lenient or count == 1 else f"[0-9]{{{count},10}}"
