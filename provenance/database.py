"""DuckDB over the index and over the events that are not in it yet, locked down.

Tables that a query sees:

* `events`: the documented columns (`EVENT_COLUMNS`), one row an event;
* `edges`: parent, child, id of the event;
* `rows`: the columns of `schema.py`, snapshots included: what attributes are folded from.

and the macros `uuid_of(flowfile)` and `flowfile_of('uuid')`.

A query may come from a user, and DuckDB would read any file and write to any path. So it gets the
index files as its only paths, no access outside, no extensions, no configuration, no Python
variables, no spilling to disk, a memory limit, a time limit, and only single SELECTs: even an
allowed path could be written with COPY.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, final

from provenance.events import EventColumns
from provenance.home import Home
from provenance.index import EDGES, EVENTS
from provenance.schema import ORDINAL_BITS, edge_schema, event_schema

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow has no types

MEMORY_LIMIT: Final = "1GB"
TIME_LIMIT_SECONDS: Final = 60.0
OPEN_ATTEMPTS: Final = 3

EVENT_COLUMNS: Final = (
    ("id", "the event's number"),
    ("sequence", "the commit's number in the log"),
    ("time", "when, UTC"),
    ("type", "NiFi's event type"),
    ("uuid", "the flowfile, as text; slower to filter by than `flowfile`"),
    ("flowfile", "the flowfile, as a number: flowfile_of('...') makes it from a UUID"),
    ("component", "id of the acting component"),
    ("component_name", "its name then"),
    ("component_type", "its type"),
    ("group_path", "its group then, / at the root"),
    ("relationship", "by which the flowfile left"),
    ("taken_from", "id of the connection it was taken from"),
    ("put_into", "id of the connection it was put into"),
    ("attributes", "what this event set, as a map; null removed: attributes['filename']"),
    ("complete", "whether these are all its attributes, not a difference"),
    ("parents", "for FORK, JOIN, CLONE, REPLAY: the flowfiles it came from"),
    ("segment", "where its new content is, null when the event gave it none: segment,"),
    ("position", "offset in the segment in bytes,"),
    ("length", "length in bytes,"),
    ("checksum", "xxh3-64 of the content"),
    ("transit_uri", "where it came from or went to, outside"),
    ("details", "words of the processor, or who did it and why"),
    ("duration", "of the session or the transfer, in microseconds"),
    ("reason_kind", "class of the error for which it was routed"),
    ("reason_message", "its message"),
    ("reason_place", "where it was raised"),
)

_COMPUTED: Final = {
    "sequence": f"id >> {ORDINAL_BITS} AS sequence",
    "uuid": "uuid_of(flowfile) AS uuid",
}

Result = TypeVar("Result")


class QueryError(ValueError):
    """A query is not one that may run, or DuckDB does not understand it."""


@final
class Database:
    """One look at a home's events: as they were when it was made. Belongs to one thread.

    The log behind the index is decoded once, at the start (about 0.5 s for 200,000 events).
    """

    def __init__(self, home: Home) -> None:
        import duckdb

        self.home = home
        index = home.index
        segments = index.segments()
        snapshots = index.snapshots()
        columns = EventColumns(home.names())
        # Stretches that the log still has are not looked for here: only what is newer than the
        # index, because the builder goes through the log without leaving anything out.
        for sequence, commit in home.commits(segments[-1].last if segments else 0):
            columns.add(sequence, commit)
        events, edges = columns.tables()
        indexed = [str(segment.path / EVENTS) for segment in segments]
        folded = [str(snapshot.path / EVENTS) for snapshot in snapshots]
        linked = [str(segment.path / EDGES) for segment in segments]
        self.connection = duckdb.connect(":memory:")
        self._define(events, edges, (indexed, folded, linked))
        self._lock_down([*indexed, *folded, *linked])

    def _define(
        self, events: "pa.Table", edges: "pa.Table", files: tuple[list[str], list[str], list[str]]
    ) -> None:
        connection = self.connection
        connection.register("recent_events", events)
        connection.register("recent_edges", edges)
        for macro in _macros(self.home.identity.home):
            connection.execute(macro)
        indexed, folded, linked = files
        names = ", ".join(event_schema().names)
        connection.execute(f"CREATE VIEW event_rows AS {_union(names, indexed, 'recent_events')}")
        connection.execute(
            f"CREATE VIEW rows AS {_union(names, folded, 'event_rows')}"
        )
        edge_names = ", ".join(edge_schema().names)
        connection.execute(f"CREATE VIEW edges AS {_union(edge_names, linked, 'recent_edges')}")
        columns = ", ".join(_COMPUTED.get(name, name) for name, _ in EVENT_COLUMNS)
        connection.execute(f"CREATE VIEW events AS SELECT {columns} FROM event_rows")

    def _lock_down(self, paths: Sequence[str]) -> None:
        for statement in (
            f"SET allowed_paths = [{', '.join(map(_text, paths))}]",
            f"SET memory_limit = '{MEMORY_LIMIT}'",
            "SET temp_directory = ''",
            "SET parquet_metadata_cache = true",
            "SET python_enable_replacements = false",
            "SET autoinstall_known_extensions = false",
            "SET autoload_known_extensions = false",
            "SET enable_external_access = false",
            "SET lock_configuration = true",
        ):
            self.connection.execute(statement)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.connection.close()

    def fetch(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run our own query and return all its rows."""
        return self.connection.execute(query, list(parameters)).fetchall()

    def select(
        self, query: str, *, limit: int, seconds: float = TIME_LIMIT_SECONDS
    ) -> tuple[list[str], list[tuple[Any, ...]], bool]:
        """Run a user's query: column names, at most `limit` rows, whether there were more.

        Raises:
            QueryError: it is not a single SELECT, DuckDB refuses it, or it takes over `seconds`.
        """
        import duckdb

        with _interrupted(self.connection, seconds) as expired:
            try:
                statements = self.connection.extract_statements(query)
                if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                    raise QueryError(
                        "A provenance query is one SELECT statement; this text holds "
                        f"{_described(statements)}"
                    )
                cursor = self.connection.execute(statements[0])
                rows = cursor.fetchmany(limit + 1)
                names = [column[0] for column in cursor.description or ()]
            except duckdb.InterruptException:
                raise _time_error(seconds) from None
            except duckdb.IOException:
                raise
            except duckdb.Error as error:
                if expired.is_set():
                    raise _time_error(seconds) from None
                raise QueryError(f"DuckDB does not run this query: {error}") from error
        return names, rows[:limit], len(rows) > limit


def look(home: Home, question: Callable[[Database], Result]) -> Result:
    """Open the events of a home, ask, and close.

    A builder that merges segments meanwhile takes files away; then it is asked again.
    """
    import duckdb

    for _ in range(OPEN_ATTEMPTS - 1):
        with suppress(duckdb.IOException, FileNotFoundError), Database(home) as database:
            return question(database)
    with Database(home) as database:
        return question(database)


@final
class _interrupted:  # noqa: N801  # used as a statement
    """Interrupt a connection when its time is up; the event says that it happened."""

    def __init__(self, connection: "duckdb.DuckDBPyConnection", seconds: float) -> None:
        self._expired = threading.Event()
        self._connection = connection
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def _expire(self) -> None:
        self._expired.set()
        self._connection.interrupt()

    def __enter__(self) -> threading.Event:
        self._timer.start()
        return self._expired

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()


def _time_error(seconds: float) -> QueryError:
    return QueryError(
        f"The query has run {seconds:g} s, the longest it may; narrow it by id, time or flowfile"
    )


def _described(statements: "Sequence[duckdb.Statement]") -> str:
    if not statements:
        return "none"
    if len(statements) > 1:
        return f"{len(statements)} statements"
    return f"a {statements[0].type.name} statement"


def _union(names: str, files: Sequence[str], other: str) -> str:
    own = f"SELECT {names} FROM {other}"
    if not files:
        return own
    # Newest first: a search for the newest events then passes over most of the rest.
    listed = ", ".join(map(_text, reversed(files)))
    return f"{own} UNION ALL SELECT {names} FROM read_parquet([{listed}])"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _macros(home: int) -> tuple[str, str]:
    prefix = f"{home >> 16:08x}-{home & 0xFFFF:04x}-8"
    digits = "lpad(format('{:x}', flowfile), 16, '0')"
    return (
        f"CREATE MACRO uuid_of(flowfile) AS '{prefix}' || substr({digits}, 1, 3) || '-' || "
        f"format('{{:04x}}', 32768 | ((flowfile >> 40) & 4095)::INTEGER) || '-' || "
        f"lpad(format('{{:x}}', flowfile & 1099511627775), 12, '0')",
        "CREATE MACRO flowfile_of(uuid) AS "
        "(('0x' || substr(uuid, 16, 3))::UBIGINT << 52) | "
        "((('0x' || substr(uuid, 20, 4))::UBIGINT & 4095) << 40) | "
        "('0x' || substr(uuid, 25, 12))::UBIGINT",
    )
