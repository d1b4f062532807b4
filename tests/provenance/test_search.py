from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provenance.attributes import state_after
from provenance.database import Database
from provenance.event import EventUnknownError
from provenance.home import Home
from provenance.index_builder import build, write_snapshot
from provenance.lineage import lineage
from provenance.names import FlowNames
from provenance.search import Query, SearchError, find_event, like_pattern, search
from runtime.commit import Commit, Reason, Target, encode_ids
from tests.provenance.histories import (
    FIRST,
    IDENTITY,
    START,
    VALUES,
    WORDS,
    created,
    flow_edit,
    flowfile,
    histories,
    make_home,
    numbered,
    routed,
)
from tests.provenance.reference import plain_events, plain_states

MOMENT = datetime.fromtimestamp(START / 10**6, UTC)


def index_home(home: Home, commits: list[Commit], until: int) -> None:
    """Index the first commits of a home; the rest stays in the log only."""
    with home.index.building():
        build(home.index, FlowNames(), numbered(commits), until=until, segment_rows=3)


@pytest.mark.slow
@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(histories(), st.data())
def test_search_state_and_lineage_equal_brute_force(
    tmp_path_factory: pytest.TempPathFactory, commits: list[Commit], data: st.DataObject
) -> None:
    home = make_home(tmp_path_factory.mktemp("home"), commits)
    index_home(home, commits, data.draw(st.integers(0, len(commits))))
    expected = plain_events(numbered(commits))
    with Database(home) as database:
        assert [event.id for event in _all(database, Query(limit=10_000))] == [
            event["id"] for event in reversed(expected)
        ]
        _check_attribute(database, expected, data)
        _check_states(database, commits)
        for id in {event["flowfile"] for event in expected}:
            found = lineage(database, IDENTITY.uuid(id))
            family = _reach(expected, id, up=True) | _reach(expected, id, up=False)
            assert {event.id for event in found.events} == {
                event["id"] for event in expected if event["flowfile"] in family
            }


def _all(database: Database, query: Query) -> list[Any]:
    events, more = search(database, query)
    assert not more
    return events


def _check_attribute(database: Database, expected: list[Any], data: st.DataObject) -> None:
    name, value = data.draw(WORDS), data.draw(VALUES)
    setters = {e["flowfile"] for e in expected if e["attributes"].get(name) == value}
    having = set().union(*[_reach(expected, id, up=False) for id in setters])
    query = Query(attributes={name: value}, type="ROUTE", limit=10_000)
    assert {event.id for event in _all(database, query)} == {
        e["id"] for e in expected if e["flowfile"] in having and e["type"] == "ROUTE"
    }


def _check_states(database: Database, commits: list[Commit]) -> None:
    for (id, sequence), (attributes, claim) in plain_states(numbered(commits)).items():
        state = state_after(database, id, sequence)
        assert (state.attributes, state.claim, state.complete) == (attributes, claim, True)


def _reach(expected: list[Any], start: int, *, up: bool) -> set[int]:
    found = {start}
    while True:
        step = set()
        for event in expected:
            for parent in event["parents"]:
                come, go = (parent, event["flowfile"]) if up else (event["flowfile"], parent)
                if go in found:
                    step.add(come)
        if step <= found:
            return found
        found |= step


@pytest.fixture
def flights(tmp_path: Path) -> Home:
    """Two flights, one of them late and copied to Output / write; half of it indexed."""
    commits = [
        flow_edit(),
        created(flowfile(FIRST, filename="a_1.json", tail_number="N14228"), flowfile(FIRST + 1)),
        routed([FIRST], "late", Target(12, encode_ids([FIRST + 9])), Target(11)),
        routed([FIRST + 9], "success", component=20, taken=12, time=START + 2 * 10**6),
        routed([FIRST + 1], "unmatched", reason=Reason("KeyError", "no 100% in it", "")),
    ]
    home = make_home(tmp_path / "home", commits)
    index_home(home, commits, 2)
    return home


@pytest.mark.parametrize(
    ("query", "types"),
    [
        (Query(uuid=IDENTITY.uuid(FIRST)), ["ROUTE", "CREATE"]),
        (Query(filename="A_*", type="create"), ["CREATE"]),
        (Query(filename="a?1.json"), []),
        (Query(filename=IDENTITY.uuid(FIRST + 1)), ["DROP", "ROUTE", "CREATE"]),
        (Query(attributes={"tail_number": "N14228"}), ["DROP", "CLONE", "ROUTE", "CREATE"]),
        (Query(attributes={"tail_number": "N14228", "uuid": IDENTITY.uuid(FIRST + 9)}),
         ["DROP", "CLONE"]),
        (Query(attributes={"tail_number": "N14228", "filename": "other"}), []),
        (Query(component="write"), ["DROP"]),
        (Query(component="Output / write"), ["DROP"]),
        (Query(component="20"), ["DROP"]),
        (Query(component="fli*"), ["CREATE", "CREATE"]),
        (Query(relationship="late"), ["CLONE", "ROUTE"]),
        (Query(reason="100%"), ["ROUTE"]),
        (Query(reason="keyerror"), ["ROUTE"]),
        (Query(since=MOMENT + timedelta(seconds=1)), ["DROP"]),
        (Query(until=MOMENT + timedelta(microseconds=1)), ["CREATE", "CREATE"]),
    ],
)  # fmt: skip
def test_a_search_finds_exactly_its_events(
    flights: Home, query: Query, types: list[str]
) -> None:
    with Database(flights) as database:
        events, more = search(database, query)

    assert ([event.type for event in events], more) == (types, False)


def test_a_limit_keeps_the_newest_and_says_that_there_are_more(flights: Home) -> None:
    with Database(flights) as database:
        events, more = search(database, Query(limit=1))

    assert ([event.type for event in events], more) == (["DROP"], True)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (Query(uuid="17"), "'17' is no flowfile of this home; their UUIDs look like 12345678-"),
        (Query(type="GONE"), "'GONE' is no event type; there are CREATE, RECEIVE"),
        (Query(limit=0), "The limit is 0; it must be from 1 to 10000"),
    ],
)
def test_a_condition_that_nothing_can_meet_is_refused(
    flights: Home, query: Query, words: str
) -> None:
    with Database(flights) as database, pytest.raises(SearchError, match=words):
        search(database, query)


@pytest.mark.parametrize("id", [-1, 5, 1 << 80])
def test_an_unknown_event_is_named(flights: Home, id: int) -> None:
    with Database(flights) as database, pytest.raises(EventUnknownError, match=f"Event {id}: "):
        find_event(database, id)


def test_without_first_rows_the_state_is_what_is_known_and_says_so(tmp_path: Path) -> None:
    commits = [flow_edit(), created(flowfile(FIRST, a="1")), routed([FIRST], "late", Target(11))]
    home = make_home(tmp_path / "home", commits)
    index_home(home, commits, 3)
    for segment in home.index.segments()[:-1]:
        for file in segment.path.iterdir():
            file.unlink()
        segment.path.rmdir()
    with home.index.building():
        build(home.index, FlowNames(), [(4, routed([FIRST], "late", Target(11)))], until=4)
    first = home.index.segments()[0]
    if first.last < 4:
        for file in first.path.iterdir():
            file.unlink()
        first.path.rmdir()
    with Database(home) as database:
        state = state_after(database, FIRST, 4)
        assert (state.exists, state.complete, state.size) == (True, False, None)
    write_snapshot(home.index, 3, START, [flowfile(FIRST, a="1")])
    with Database(home) as database:
        state = state_after(database, FIRST, 4)
        assert (state.attributes, state.complete, state.size) == ({"a": "1"}, True, 0)


def test_like_patterns_take_everything_but_the_star_literally() -> None:
    assert like_pattern("50%_\\*") == "50\\%\\_\\\\%"
