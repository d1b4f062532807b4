"""Event columns into Arrow tables: runs are expanded and lists bounded here, all in Arrow."""

from array import array
from itertools import chain
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow has no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # pyarrow has no types

from provenance.schema import LAST_ORDINAL, ORDINAL_BITS, TYPES, edge_schema, event_schema

if TYPE_CHECKING:
    from provenance.events import EventColumns, Sparse

WORDS = (
    "type", "relationship", "transit_uri", "details",
    "reason_kind", "reason_message", "reason_place",
)  # fmt: skip


def event_table(columns: "EventColumns") -> pa.Table:
    """Return the rows in the schema of the index."""
    rows = columns.rows
    schema = event_schema()
    if rows == 0:
        return schema.empty_table()
    parts = _commit_columns(columns) | _facet_columns(columns)
    parts["flowfile"] = _numbers(columns.flowfiles, pa.uint64())
    parts["attributes"] = pa.MapArray.from_arrays(
        _offsets(columns.attributes, rows),
        pa.array(columns.keys, pa.string()),
        pa.array(columns.values, pa.large_string()),
    )
    parts["parents"] = pa.ListArray.from_arrays(
        _offsets(columns.parents, rows), _numbers(columns.parent_ids, pa.uint64())
    )
    parts |= _claim_columns(columns)
    return pa.table([parts[field.name] for field in schema], schema=schema)


def edge_table(columns: "EventColumns", events: pa.Table) -> pa.Table:
    """Return one row for each parent of each born flowfile."""
    if not columns.parent_ids:
        return edge_schema().empty_table()
    parents = events["parents"].combine_chunks()
    if isinstance(parents, pa.ChunkedArray):
        parents = parents.chunk(0)
    rows = pc.list_parent_indices(parents)
    return pa.table(
        [parents.flatten(), events["flowfile"].take(rows), events["id"].take(rows)],
        schema=edge_schema(),
    )


def _commit_columns(columns: "EventColumns") -> dict[str, pa.Array]:
    ends = columns.commit_ends
    sequences, first_rows, times, components, durations = zip(*columns.commits, strict=True)
    pairs = zip(sequences, first_rows, strict=True)
    bases = [(sequence << ORDINAL_BITS) - row for sequence, row in pairs]
    rows = _numbers(array("q", range(columns.rows)), pa.int64())
    ids = pc.add(_expand(ends, pa.array(bases, pa.int64())), rows)
    starts = chain((0,), ends)
    if any(end - start > LAST_ORDINAL for start, end in zip(starts, ends, strict=False)):
        last = [sequence << ORDINAL_BITS | LAST_ORDINAL for sequence in sequences]
        ids = pc.min_element_wise(ids, _expand(ends, pa.array(last, pa.int64())))
    numbers = _expand(ends, pa.array(components, pa.int32()))
    found = list(columns.components)
    parts = {
        "id": ids,
        "time": _expand(ends, pa.array(times, pa.int64())).cast(pa.timestamp("us")),
        "component": pa.array([id for id, _ in found], pa.int64()).take(numbers),
    }
    for field in ("name", "type", "group"):
        column = "group_path" if field == "group" else f"component_{field}"
        parts[column] = _words([getattr(item, field) for _, item in found], numbers)
    reported = pa.array([facet.duration or None for facet in columns.facets], pa.int64())
    parts["duration"] = pc.coalesce(
        reported.take(_facet_numbers(columns)), _expand(ends, pa.array(durations, pa.int64()))
    )
    return parts


def _facet_columns(columns: "EventColumns") -> dict[str, pa.Array]:
    facets = list(columns.facets)
    numbers = _facet_numbers(columns)
    words: dict[str, list[str | None]] = {
        "type": [TYPES[facet.type] for facet in facets],
        "relationship": [facet.relationship for facet in facets],
        "transit_uri": [facet.transit_uri for facet in facets],
        "details": [facet.details for facet in facets],
        "reason_kind": [facet.reason.kind if facet.reason else None for facet in facets],
        "reason_message": [facet.reason.message if facet.reason else None for facet in facets],
        "reason_place": [facet.reason.place if facet.reason else None for facet in facets],
    }
    parts = {name: _words(values, numbers) for name, values in words.items()}
    for name in ("taken_from", "put_into"):
        values = pa.array([getattr(facet, name) for facet in facets], pa.int64())
        parts[name] = values.take(numbers)
    parts["complete"] = pa.array([facet.complete for facet in facets], pa.bool_()).take(numbers)
    return parts


def _facet_numbers(columns: "EventColumns") -> pa.Array:
    return _expand(columns.facet_ends, _numbers(columns.facet_numbers, pa.int32()))


def _claim_columns(columns: "EventColumns") -> dict[str, pa.Array]:
    claims = columns.claim_values
    before = _offsets(columns.claims, columns.rows)
    here = pc.not_equal(before.slice(1), before.slice(0, columns.rows))
    index = pc.if_else(here, before.slice(0, columns.rows), pa.scalar(None, pa.int32()))
    fields: dict[str, tuple[list[int | None], pa.DataType]] = {
        "segment": ([claim.segment if claim else None for claim in claims], pa.int64()),
        "position": ([claim.offset if claim else None for claim in claims], pa.int64()),
        "length": ([claim.length if claim else 0 for claim in claims], pa.int64()),
        "checksum": ([claim.checksum if claim else None for claim in claims], pa.uint64()),
    }
    return {name: pa.array(values, type).take(index) for name, (values, type) in fields.items()}


def _words(values: list[str | None], numbers: pa.Array) -> pa.Array:
    """A dictionary-encoded column: each row's word is `values[number]`."""
    encoded = pa.array(values, pa.string()).dictionary_encode()
    return pa.DictionaryArray.from_arrays(encoded.indices.take(numbers), encoded.dictionary)


def _expand(ends: "array[int]", values: pa.Array) -> pa.Array:
    """Repeat each value up to where its run ends."""
    runs = pa.RunEndEncodedArray.from_arrays(_numbers(ends, pa.int32()), values)
    return pc.run_end_decode(runs)


def _offsets(sparse: "Sparse", rows: int) -> pa.Array:
    """Offsets of all rows into a value list: a row that has nothing begins where it ends."""
    run_ends = sparse.run_ends + array("i", [rows + 1])
    before = array("i", [0])
    before.extend(sparse.ends)
    return _expand(run_ends, _numbers(before, pa.int32()))


def _numbers(values: "array[Any]", type: pa.DataType) -> pa.Array:
    return pa.Array.from_buffers(type, len(values), [None, pa.py_buffer(values)])
