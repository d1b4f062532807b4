import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from provenance.commands import provenance
from runtime.clock import SystemClock
from runtime.commit import Changed, Commit, Created, EventType, Reason, Target, encode_ids
from runtime.content import ContentStore
from runtime.disk import SystemDisk
from tests.provenance.histories import (
    FIRST,
    IDENTITY,
    START,
    created,
    flow_edit,
    flowfile,
    make_home,
    routed,
)

UUID = IDENTITY.uuid(FIRST)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A flowfile with content that is routed, copied, split, joined and ends."""
    path = tmp_path / "home"
    path.mkdir()
    store = ContentStore(path / "content", disk=SystemDisk(), clock=SystemClock())
    writer = store.writer()
    claim = writer.append(b"hello")
    writer.flush()
    store.close()
    changed = routed([FIRST], "late", Target(12, encode_ids([FIRST + 9])), Target(11),
                     reason=Reason("KeyError", "no \x1b[31m key", "x.py:3"))  # fmt: skip
    changed.changed.append(Changed(encode_ids([FIRST]), [{"a": "2", "old": None}]))
    split = Commit(START + 2, 3, created=[
        Created(EventType.FORK, [flowfile(FIRST + 2), flowfile(FIRST + 3)], encode_ids([FIRST])),
        Created(EventType.JOIN, [flowfile(FIRST + 4)], encode_ids([FIRST + 2, FIRST + 3])),
    ])  # fmt: skip
    birth = created(flowfile(FIRST, claim, a="1", old="x"))
    make_home(path, [flow_edit(), birth, changed, split, routed([FIRST], "unmatched")])
    return path


def run(home: Path, *arguments: str) -> Result:
    """Run a command on a home."""
    return CliRunner().invoke(provenance, [*arguments, "--home", str(home)])


def run_json(home: Path, *arguments: str) -> Any:
    """Run a command for JSON."""
    result = run(home, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_search_lists_events_newest_first(home: Path) -> None:
    lines = run(home, "search", "a=1", "--component", "route", "--uuid", UUID).output.splitlines()

    assert lines[0].split()[:2] == ["Event", "Time"]
    assert ["DROP" in line for line in lines[1:]] == [True, False, False]
    assert "because of KeyError: no \\x1b[31m key at x.py:3" in lines[-1]
    assert "a=2, old removed" in lines[-1]


def test_search_as_json_holds_the_events(home: Path) -> None:
    found = run_json(home, "search", "--type", "create")

    assert found["more"] is False
    assert [event["uuid"] for event in found["events"]] == [UUID]
    assert found["events"][0]["content"]["length"] == 5
    assert found["events"][0]["component"]["name"] == "flights"


def test_a_search_without_result_says_so(home: Path) -> None:
    assert run(home, "search", "a=9").output == "No event meets these conditions.\n"


def test_a_search_that_finds_more_than_its_limit_says_so(home: Path) -> None:
    assert "There are more than these 1; narrow" in run(home, "search", "--limit", "1").output


def test_show_tells_an_event_with_attributes_before_and_after(home: Path) -> None:
    text = run(home, "show", str(3 << 20)).output
    found = run_json(home, "show", str(3 << 20))

    assert "Reason          KeyError: no \\x1b[31m key at x.py:3" in text.replace("  ", "  ")
    assert found["before"]["attributes"] == {"a": "1", "old": "x"}
    assert found["after"]["attributes"] == {"a": "2"}
    assert found["after"]["content"]["length"] == 5


def test_lineage_is_a_tree_in_text_and_a_graph_in_json(home: Path) -> None:
    text = run(home, "lineage", UUID).output
    found = run_json(home, "lineage", UUID)

    for number in (0, 2, 3, 4, 9):
        assert IDENTITY.uuid(FIRST + number) in text
    assert f"part of {IDENTITY.uuid(FIRST + 4)}, shown at its first parent" in text
    kinds = {node["id"]: node["type"] for node in found["nodes"]}
    edges = {(kinds[edge["source"]], kinds[edge["target"]]) for edge in found["edges"]}
    assert {("CREATE", "ROUTE"), ("ROUTE", "CLONE"), ("ROUTE", "FORK"), ("FORK", "JOIN")} <= edges
    assert len([edge for edge in found["edges"] if kinds[edge["target"]] == "JOIN"]) == 2


def test_lineage_of_a_flowfile_without_events_is_an_error(home: Path) -> None:
    result = run(home, "lineage", IDENTITY.uuid(FIRST + 500))

    assert result.exit_code == 1
    assert "has no events; retention may have dropped them" in result.output


def test_content_goes_to_standard_output_or_a_file(home: Path, tmp_path: Path) -> None:
    target = tmp_path / "content.bin"

    assert run(home, "content", str(3 << 20), "--before").output == "hello"
    assert run(home, "content", str(3 << 20), "--output", str(target)).exit_code == 0
    assert target.read_bytes() == b"hello"
    assert run_json(home, "content", str(2 << 20))["content"]["length"] == 5


def test_sql_prints_a_table_or_json(home: Path) -> None:
    query = "SELECT type, count(*) AS n, sum(id::HUGEINT << 60) AS big FROM events " \
            "GROUP BY type ORDER BY n DESC, type LIMIT 1"  # fmt: skip
    lines = run(home, "sql", query).output.splitlines()
    found = run_json(home, "sql", query)

    assert lines[0].split() == ["type", "n", "big"]
    assert found["columns"] == ["type", "n", "big"]
    assert found["rows"][0][:2] == ["FORK", 2]
    assert isinstance(found["rows"][0][2], str)


def test_sql_values_of_every_kind_fit_into_json(home: Path) -> None:
    values = "time, [1.5, 'nan'::DOUBLE], true, map {'a': NULL}, 1.5::DECIMAL"
    [row] = run_json(home, "sql", f"SELECT {values} FROM events LIMIT 1")["rows"]

    assert row[0].startswith("2023-11-14T22:13:20")
    assert row[1:] == [[1.5, None], True, {"a": None}, "1.500"]


def test_a_warning_names_rows_beyond_the_limit(home: Path) -> None:
    assert "more than these 1 rows" in run(home, "sql", "FROM events", "--limit", "1").output


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["search", "--uuid", "17"], 1, "'17' is no flowfile of this home"),
        (["search", "--type", "x"], 1, "'x' is no event type"),
        (["search", "--since", "soon"], 2, "'soon' is no time; write a date"),
        (["search", "tail"], 2, "'tail' is no condition; write NAME=VALUE"),
        (["show", "5"], 1, "Event 5: there is none with this number"),
        (["content", str(2 << 20), "--before"], 1, "did not exist before it"),
        (["content", "5"], 1, "Event 5: there is none"),
        (["lineage", "x"], 1, "'x' is no flowfile of this home"),
        (["sql", "DROP VIEW events"], 1, "one SELECT statement"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_exit_code(
    home: Path, arguments: list[str], status: int, words: str
) -> None:
    result = run(home, *arguments)

    assert (result.exit_code, words in result.output) == (status, True), result.output


@pytest.mark.parametrize("command", [["search"], ["show", "1"], ["sql", "x"], ["replay", "1"]])
def test_a_directory_that_is_no_home_is_named(tmp_path: Path, command: list[str]) -> None:
    result = run(tmp_path, *command)

    assert result.exit_code == 1
    assert "is no home: it has no node.json" in result.output
