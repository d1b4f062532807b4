from pathlib import Path

import duckdb
import pytest

from provenance.database import EVENT_COLUMNS, Database, QueryError, look
from provenance.home import Home
from provenance.index_builder import build
from provenance.names import FlowNames
from runtime.flowfile import Identity
from tests.provenance.histories import (
    FIRST,
    HOME,
    created,
    flow_edit,
    flowfile,
    make_home,
    numbered,
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Two created flowfiles, the first of them indexed."""
    commits = [flow_edit(), created(flowfile(FIRST, a="1")), created(flowfile(FIRST + 1))]
    found = make_home(tmp_path / "home", commits)
    with found.index.building():
        build(found.index, FlowNames(), numbered(commits), until=2)
    return found


def test_a_query_sees_indexed_and_newer_events_under_the_documented_columns(home: Home) -> None:
    with Database(home) as database:
        names, rows, more = database.select("SELECT * FROM events ORDER BY id", limit=10)

    assert names == [name for name, _ in EVENT_COLUMNS]
    assert [row[names.index("flowfile")] for row in rows] == [FIRST, FIRST + 1]
    assert [row[names.index("sequence")] for row in rows] == [2, 3]
    assert rows[0][names.index("attributes")] == {"a": "1"}
    assert not more


@pytest.mark.parametrize("id", [0, FIRST, (1 << 64) - 1, (1 << 63) | (1 << 51) | 0xABC << 40])
def test_the_macros_agree_with_the_engine_about_uuids(home: Home, id: int) -> None:
    with Database(home) as database:
        [(uuid, back)] = database.fetch(
            "SELECT uuid_of(?::UBIGINT), flowfile_of(uuid_of(?::UBIGINT))", (id, id)
        )

    assert (uuid, back) == (Identity(HOME).uuid(id), id)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT * FROM read_text('/etc/passwd')", "Cannot access file"),
        ("SELECT * FROM glob('/etc/*')", "Cannot access file"),
        ("SELECT * FROM 'x.parquet'", "does not run this query"),
        ("SELECT * FROM home", "Table with name home does not exist"),
        ("COPY (SELECT 1) TO 'x'", "one SELECT statement; this text holds a COPY statement"),
        ("ATTACH 'x.db'", "holds a ATTACH statement"),
        ("SET memory_limit = '9GB'", "holds a SET statement"),
        ("INSTALL httpfs", "one SELECT statement"),
        ("DROP VIEW events", "holds a DROP statement"),
        ("SELECT 1; SELECT 2", "holds 2 statements"),
        ("", "holds none"),
        ("SELEC 1", "syntax error"),
        ("SELECT nothing FROM events", "nothing"),
    ],
)
def test_a_query_that_is_more_than_one_look_is_refused(
    home: Home, query: str, words: str
) -> None:
    with Database(home) as database, pytest.raises(QueryError, match=words):
        database.select(query, limit=10)


def test_an_index_file_cannot_be_overwritten(home: Home) -> None:
    path = home.index.segments()[0].path / "events.parquet"
    before = path.read_bytes()
    with Database(home) as database, pytest.raises(QueryError, match="a COPY statement"):
        database.select(f"COPY (SELECT 1) TO '{path}' (USE_TMP_FILE false)", limit=1)

    assert path.read_bytes() == before


def test_a_query_beyond_its_time_is_interrupted(home: Home) -> None:
    endless = "SELECT count(*) FROM range(10000000000) a, range(1000) b WHERE a.range % 7 = b.range"
    with Database(home) as database, pytest.raises(QueryError, match=r"has run 0.1 s, the longest"):
        database.select(endless, limit=1, seconds=0.1)


def test_more_rows_than_the_limit_are_announced(home: Home) -> None:
    with Database(home) as database:
        _, rows, more = database.select("SELECT * FROM events", limit=1)

    assert (len(rows), more) == (1, True)


def test_a_look_that_merging_disturbs_is_taken_again(home: Home) -> None:
    asked = []

    def question(database: Database) -> int:
        asked.append(database)
        if len(asked) == 1:
            raise duckdb.IOException("No such file")
        return len(database.fetch("SELECT id FROM events"))

    assert look(home, question) == 2
    assert len(asked) == 2


def test_a_disturbance_that_stays_is_raised(home: Home) -> None:
    def question(database: Database) -> int:
        raise duckdb.IOException("No such file")

    with pytest.raises(duckdb.IOException, match="No such file"):
        look(home, question)
