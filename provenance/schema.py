"""The columns of an event row, as they are kept in Parquet.

A row tells one event of one flowfile:

```
id             sequence << 20 | place among the commit's events
time           microseconds since the epoch, UTC
type           NiFi's event type, or SNAPSHOT (not an event: see below)
flowfile       the flowfile's 64-bit id
component, component_name, component_type, group_path
relationship   by which it left, where the row tells of leaving
taken_from     the connection it was taken from
put_into       the connection it was put into
complete       `attributes` holds all attributes, not a difference
attributes     name -> value; null removes. Empty: this row changed none
parents        ids of parents, for FORK, JOIN, CLONE and REPLAY
segment, position, length, checksum
               the content that this event gave the flowfile; all null: it gave none;
               length 0 and the rest null: empty content
transit_uri, details, duration (microseconds)
reason_kind, reason_message, reason_place
```

A row never repeats what an earlier row of its flowfile says: attributes and content *at* an event
are the fold of the flowfile's rows (`attributes.py`). So rows are made from a commit and the flow
model alone, without knowing what came before, and any range of the log can be indexed by itself.

A SNAPSHOT row holds a live flowfile whole, as it was after `sequence`; it stands in for rows that
retention has dropped. All of a snapshot share one id, because nobody addresses them.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow has no types

ORDINAL_BITS: Final = 20
LAST_ORDINAL: Final = (1 << ORDINAL_BITS) - 1
"""Also the id of all events beyond it; a commit of more than a million events has none so far."""

SNAPSHOT: Final = 0
TYPES: Final = (
    "SNAPSHOT", "CREATE", "RECEIVE", "FETCH", "SEND", "UPLOAD", "REMOTE_INVOCATION",
    "DOWNLOAD", "DROP", "EXPIRE", "FORK", "JOIN", "CLONE", "CONTENT_MODIFIED",
    "ATTRIBUTES_MODIFIED", "ROUTE", "ADDINFO", "REPLAY",
)  # fmt: skip
"""Names by number: `EventType`, with 0 for SNAPSHOT."""

ROW_GROUP_ROWS: Final = 128 * 1024


def event_schema() -> "pa.Schema":
    """The columns of the events file."""
    import pyarrow as pa

    word = pa.dictionary(pa.int32(), pa.string())
    number = pa.int64()
    return pa.schema(
        [
            ("id", number),
            ("time", pa.timestamp("us")),
            ("type", word),
            ("flowfile", pa.uint64()),
            ("component", number),
            ("component_name", word),
            ("component_type", word),
            ("group_path", word),
            ("relationship", word),
            ("taken_from", number),
            ("put_into", number),
            ("complete", pa.bool_()),
            ("attributes", pa.map_(pa.string(), pa.string())),
            ("parents", pa.list_(pa.uint64())),
            ("segment", number),
            ("position", number),
            ("length", number),
            ("checksum", pa.uint64()),
            ("transit_uri", word),
            ("details", word),
            ("duration", number),
            ("reason_kind", word),
            ("reason_message", word),
            ("reason_place", word),
        ]
    )


def edge_schema() -> "pa.Schema":
    """The columns of the edges file: who came from whom, at which event."""
    import pyarrow as pa

    return pa.schema([("parent", pa.uint64()), ("child", pa.uint64()), ("id", pa.int64())])
