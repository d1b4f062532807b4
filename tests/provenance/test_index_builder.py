import signal
import subprocess
import sys
from pathlib import Path

import pytest

from provenance.database import Database
from provenance.home import Home
from provenance.index_builder import BUSY_STATUS, DUE_EVENTS, DUE_SECONDS, IndexBuilder
from tests.provenance.histories import FIRST, created, flow_edit, flowfile, make_home

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home of 201 commits."""
    births = [created(flowfile(FIRST + number, a=str(number))) for number in range(200)]
    return make_home(tmp_path / "home", [flow_edit(), *births])


def ids(home: Home) -> list[int]:
    """Every event that a look finds, index and log together."""
    with Database(home) as database:
        return [row[0] for row in database.fetch("SELECT id FROM events ORDER BY id")]


@pytest.mark.slow
def test_a_child_indexes_as_far_as_it_was_told(home: Home) -> None:
    before = ids(home)
    builder = IndexBuilder(home.path)
    builder.start(150)
    builder.wait(60)

    assert (builder.last_status, builder.indexed_sequence) == (0, 150)
    assert ids(home) == before


@pytest.mark.slow
def test_a_child_that_is_killed_is_followed_by_one_that_completes(home: Home) -> None:
    before = ids(home)
    builder = IndexBuilder(home.path)
    builder.start(201)
    assert builder._child is not None
    builder._child.send_signal(signal.SIGKILL)
    builder.wait(60)
    assert builder.last_status == -signal.SIGKILL
    builder.start(201)
    builder.wait(60)

    assert (builder.last_status, builder.indexed_sequence) == (0, 201)
    assert ids(home) == before


@pytest.mark.slow
def test_a_second_child_leaves_the_index_to_the_first(home: Home) -> None:
    with home.index.building():
        child = subprocess.run(
            [sys.executable, "-m", "provenance.index_builder", str(home.path), "--until", "5"],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert child.returncode == BUSY_STATUS
    assert "another builder is at work" in child.stderr


class Started(Exception):
    """Raised in place of starting a child."""


@pytest.fixture
def idle(home: Home, monkeypatch: pytest.MonkeyPatch) -> IndexBuilder:
    """A builder whose children are not started but announced."""

    def announce(*arguments: object, **named: object) -> None:
        raise Started

    monkeypatch.setattr("subprocess.Popen", announce)
    builder = IndexBuilder(home.path)
    assert not builder.due(201, events=0, wall=1000.0)
    return builder


def test_a_child_is_due_when_enough_events_are_not_indexed(idle: IndexBuilder) -> None:
    assert not idle.due(201, events=DUE_EVENTS - 1, wall=1001.0)
    with pytest.raises(Started):
        idle.due(201, events=DUE_EVENTS, wall=1001.0)


def test_a_child_is_due_after_an_hour(idle: IndexBuilder) -> None:
    assert not idle.due(201, events=1, wall=1000.0 + DUE_SECONDS - 1)
    with pytest.raises(Started):
        idle.due(201, events=1, wall=1000.0 + DUE_SECONDS)


def test_a_clock_that_was_set_back_makes_a_child_due(idle: IndexBuilder) -> None:
    with pytest.raises(Started):
        idle.due(201, events=1, wall=10.0)


def test_without_anything_durable_to_index_no_child_is_due(idle: IndexBuilder) -> None:
    assert not idle.due(0, events=10 * DUE_EVENTS, wall=99_999.0)


@pytest.mark.slow
def test_closing_ends_a_running_child(home: Home) -> None:
    builder = IndexBuilder(home.path)
    builder.start(201)
    builder.start(201)
    builder.close()

    assert not builder.running()
    assert builder.last_status in (0, -signal.SIGTERM)
