from typing import Any

import pytest
from hypothesis import given, settings

from provenance.event import COLUMNS, claim_of
from provenance.events import EventColumns
from provenance.names import FlowNames
from provenance.schema import LAST_ORDINAL
from runtime.commit import (
    Changed,
    Commit,
    Created,
    Dropped,
    EventType,
    Reason,
    Reported,
    Target,
    encode_ids,
)
from runtime.flowfile import Claim
from tests.provenance.histories import (
    FIRST,
    START,
    created,
    flow_edit,
    flowfile,
    histories,
    numbered,
    routed,
)
from tests.provenance.reference import plain_events


def rows_of(*commits: Commit) -> list[dict[str, Any]]:
    """The event rows of commits as dictionaries."""
    columns = EventColumns(FlowNames())
    for sequence, commit in numbered(commits):
        columns.add(sequence, commit)
    events, _ = columns.tables()
    return cells_of(events.to_pylist())


def cells_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with their claim put together, comparable with the reference."""
    found = []
    for row in rows:
        cells = {name: row[name] for name in COLUMNS}
        cells["attributes"] = dict(cells["attributes"])
        cells["content"] = cells["length"] is not None
        cells["claim"] = claim_of(cells)
        cells["parents"] = tuple(cells["parents"])
        found.append(cells)
    return found


def assert_same(rows: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Rows say what the reference says; what it leaves out is empty."""
    absent = {"content": False, "claim": None, "details": None, "transit_uri": None,
              "relationship": None, "put_into": None, "taken_from": None, "reason_message": None}
    compared = set(absent) | {"id", "type", "flowfile", "attributes", "parents", "complete",
                              "component", "component_name", "duration"}
    assert [{name: row[name] for name in compared} for row in rows] == [
        {name: (absent | entry)[name] for name in compared} for entry in expected
    ]


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(histories())
def test_columns_tell_the_same_as_one_event_at_a_time(commits: list[Commit]) -> None:
    assert_same(rows_of(*commits), plain_events(numbered(commits)))


def test_an_event_id_is_the_commit_and_the_place_in_it() -> None:
    rows = rows_of(flow_edit(), created(flowfile(FIRST), flowfile(FIRST + 1)))

    assert [row["id"] for row in rows] == [2 << 20, 2 << 20 | 1]


def test_leaving_by_the_only_relationship_is_no_event() -> None:
    assert rows_of(flow_edit(), routed([FIRST], "success", Target(11), component=2)) == []


def test_leaving_by_one_of_several_relationships_is_a_route() -> None:
    (row,) = rows_of(flow_edit(), routed([FIRST], "late", Target(11)))

    assert (row["type"], row["relationship"]) == ("ROUTE", "late")
    assert (row["taken_from"], row["put_into"]) == (10, 11)
    assert (row["component_name"], row["component_type"]) == ("route", "RouteOnAttribute")


def test_leaving_for_a_reason_is_a_route_even_by_the_only_relationship() -> None:
    reason = Reason("OSError", "disk full", "put.py:7")
    commit = routed([FIRST], "success", Target(11), component=2, reason=reason)
    (row,) = rows_of(flow_edit(), commit)

    assert (row["reason_kind"], row["reason_message"]) == ("OSError", "disk full")


def test_a_changed_attribute_of_a_routed_flowfile_stands_on_its_route() -> None:
    commit = routed([FIRST], "late", Target(11))
    commit.changed.append(Changed(encode_ids([FIRST]), [{"a": "1", "b": None}]))
    (row,) = rows_of(flow_edit(), commit)

    assert (row["type"], row["attributes"]) == ("ROUTE", {"a": "1", "b": None})


def test_an_ended_relationship_drops_and_names_itself() -> None:
    rows = rows_of(flow_edit(), routed([FIRST], "unmatched"))

    assert [row["type"] for row in rows] == ["ROUTE", "DROP"]
    assert rows[1]["details"] == "auto-terminated by unmatched"


def test_a_birth_that_is_reported_as_received_is_one_event() -> None:
    commit = created(flowfile(FIRST, Claim(1, 0, 5, 9), a="1"))
    commit.reported.append(Reported(EventType.RECEIVE, encode_ids([FIRST]), "http://x", None, 77))
    (row,) = rows_of(commit)

    assert (row["type"], row["transit_uri"], row["duration"]) == ("RECEIVE", "http://x", 77)
    assert (row["attributes"], row["claim"]) == ({"a": "1"}, Claim(1, 0, 5, 9))


def test_who_emptied_a_queue_and_why_stands_in_the_details() -> None:
    commit = flow_edit()
    assert commit.action is not None
    commit.action.note = "wrong day"
    commit.action.kind = "empty queue"
    commit.dropped.append(Dropped(EventType.DROP, encode_ids([FIRST])))
    (row,) = rows_of(commit)

    assert row["details"] == "empty queue by ada: wrong day"


def test_join_children_name_all_parents_and_fork_children_the_one() -> None:
    join = Commit(START, 3, created=[
        Created(EventType.JOIN, [flowfile(FIRST + 5)], encode_ids([FIRST, FIRST + 2])),
        Created(EventType.FORK, [flowfile(FIRST + 6), flowfile(FIRST + 7)], encode_ids([FIRST])),
    ])

    assert [row["parents"] for row in rows_of(join)] == [
        (FIRST, FIRST + 2), (FIRST,), (FIRST,)
    ]  # fmt: skip


@pytest.mark.slow
def test_a_commit_of_more_events_than_ids_keeps_every_row() -> None:
    count = LAST_ORDINAL + 3
    commit = Commit(START, 0, dropped=[Dropped(EventType.DROP, (FIRST, count, None))])
    columns = EventColumns(FlowNames())
    columns.add(1, commit)
    columns.add(2, routed([FIRST], "late", Target(11)))
    ids = columns.tables()[0]["id"]

    assert len(ids) == count + 1
    assert ids[count - 1].as_py() == 1 << 20 | LAST_ORDINAL
    assert ids[count].as_py() == 2 << 20
