"""Commits into event rows, column by column.

Which events a commit has, in their order (their place is the low part of their id):

1. *Births.* One row for each created flowfile: CREATE, RECEIVE, FORK, JOIN, CLONE or REPLAY, with
   all attributes. (NiFi writes one FORK for all children; here each child has a row, because it
   carries the child's attributes. Rows of one sequence and parent belong together.) A CREATE
   whose flowfile is also reported as RECEIVE or FETCH has no row of its own.
2. *Reports* of the processor: SEND, FETCH, RECEIVE, ADDINFO, DOWNLOAD, ...
3. *Routes*, a relationship at a time: ROUTE for each flowfile that was not born here, where
   leaving was a choice (the component has more than one relationship) or there is a reason.
   After it CLONE for each copy, when several connections take the relationship; such a copy
   has no attributes of its own, it begins with its parent's.
4. CONTENT_MODIFIED for each flowfile with new content that was not born here.
5. ATTRIBUTES_MODIFIED for each flowfile with changed attributes and no event so far.
6. ADDINFO for each flowfile that goes back to its queue for a reason (a retry).
7. *Ends*: EXPIRE and DROP, and DROP "auto-terminated by <relationship>".

A flowfile's attribute delta stands in the first of its rows; before and after are told apart by
commit, never inside one, because a commit records no order between its parts. `relationship` and
`put_into` stand on ROUTE, on births, on automatic DROPs, and on ATTRIBUTES_MODIFIED.

Speed: nothing here makes an object for each event. What all events of one list share is a *facet*,
stored once and expanded by Arrow from runs; ids go straight into an array; attributes, claims
and parents are kept only for the rows that have them. 1.6 million events/s with facets against
0.4 million with a tuple an event.
"""

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, final

from provenance.names import Component, FlowNames
from provenance.schema import SNAPSHOT
from runtime.commit import Commit, Created, EventType, Ids, Reason, Reported, Routed, decode_ids
from runtime.flowfile import Claim, FlowFile

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow has no types

Delta = Mapping[str, str | None]
Sources = Mapping[int, int] | int | None
"""Where flowfiles were taken from: one connection for all, or by flowfile."""

PAIRED = (EventType.CLONE, EventType.REPLAY)
OUTSIDE_BIRTHS = (EventType.RECEIVE, EventType.FETCH)


class Facet(NamedTuple):
    """What the rows of one list share. `duration` 0: the commit's."""

    type: int
    relationship: str | None = None
    taken_from: int | None = None
    put_into: int | None = None
    complete: bool = False
    transit_uri: str | None = None
    details: str | None = None
    duration: int = 0
    reason: Reason | None = None


@final
class EventColumns:
    """Event rows of commits that are added in log order; `tables` makes Arrow tables of them.

    Used by one thread. `rows` and `characters` (of attribute values) tell how large it has grown.
    """

    def __init__(self, names: FlowNames) -> None:
        self.names = names
        self.characters = 0
        self.flowfiles = array("Q")
        self.facets: dict[Facet, int] = {}
        self.facet_ends = array("i")
        self.facet_numbers = array("i")
        self.commit_ends = array("i")
        self.commits: list[tuple[int, int, int, int, int]] = []
        self.components: dict[tuple[int, Component], int] = {}
        self.attributes = Sparse()
        self.keys: list[str] = []
        self.values: list[str | None] = []
        self.parents = Sparse()
        self.parent_ids = array("Q")
        self.claims = Sparse()
        self.claim_values: list[Claim | None] = []

    @property
    def rows(self) -> int:
        """How many event rows there are."""
        return len(self.flowfiles)

    def add(self, sequence: int, commit: Commit) -> None:
        """Append the events of a commit."""
        self.names.see(commit)
        first_row = len(self.flowfiles)
        first_value = len(self.values)
        _CommitRows(self, commit).append()
        if len(self.flowfiles) == first_row:
            return
        self._close_commit(sequence, first_row, commit)
        self.characters += sum(map(len, filter(None, self.values[first_value:])))

    def add_snapshot(self, sequence: int, time: int, flowfiles: Iterable[FlowFile]) -> None:
        """Append live flowfiles as they were after `sequence`; `time` in microseconds."""
        first_row = len(self.flowfiles)
        self.begin(Facet(SNAPSHOT, complete=True))
        for flowfile in flowfiles:
            self.whole(flowfile)
        self.end()
        if len(self.flowfiles) > first_row:
            self._close_commit(sequence, first_row, Commit(time, 0))

    def _close_commit(self, sequence: int, first_row: int, commit: Commit) -> None:
        key = (commit.component, self.names.component(commit.component))
        component = self.components.setdefault(key, len(self.components))
        self.commits.append((sequence, first_row, commit.time, component, commit.duration))
        self.commit_ends.append(len(self.flowfiles))

    # Rows: between `begin` and `end` all that is appended shares a facet.

    def begin(self, facet: Facet) -> None:
        """Start a list of rows that share `facet`."""
        self.facet_numbers.append(self.facets.setdefault(facet, len(self.facets)))

    def end(self) -> None:
        """End the list of rows; an empty one leaves no trace."""
        rows = len(self.flowfiles)
        if rows > (self.facet_ends[-1] if self.facet_ends else 0):
            self.facet_ends.append(rows)
        else:
            self.facet_numbers.pop()

    def plain(self, ids: Iterable[int]) -> None:
        """Append rows that change nothing."""
        self.flowfiles.extend(ids)

    def changed(self, id: int, delta: Delta) -> None:
        """Append a row that changes attributes."""
        self.put_attributes(delta)
        self.flowfiles.append(id)

    def whole(self, flowfile: FlowFile) -> None:
        """Append a row that holds a flowfile completely."""
        self.put_attributes(flowfile.attributes)
        self.put_claim(flowfile.claim)
        self.flowfiles.append(flowfile.id)

    def put_attributes(self, delta: Delta) -> None:
        """Give the next row attributes."""
        if delta:
            self.keys.extend(delta)
            self.values.extend(delta.values())
            self.attributes.run_ends.append(len(self.flowfiles) + 1)
            self.attributes.ends.append(len(self.keys))

    def put_claim(self, claim: Claim | None) -> None:
        """Give the next row content."""
        self.claim_values.append(claim)
        self.claims.run_ends.append(len(self.flowfiles) + 1)
        self.claims.ends.append(len(self.claim_values))

    def put_parents(self, ids: Iterable[int]) -> None:
        """Give the next row parents."""
        self.parent_ids.extend(ids)
        self.parents.run_ends.append(len(self.flowfiles) + 1)
        self.parents.ends.append(len(self.parent_ids))

    def tables(self) -> "tuple[pa.Table, pa.Table]":
        """Return the event table and the edge table."""
        from provenance.tables import edge_table, event_table

        events = event_table(self)
        return events, edge_table(self, events)


@final
class Sparse:
    """For the rows that have something: the row after it, and where its part of a list ends."""

    __slots__ = ("ends", "run_ends")

    def __init__(self) -> None:
        self.run_ends = array("i")
        self.ends = array("i")


@final
class _CommitRows:
    """Appends one commit's rows; what several of its parts need is worked out once."""

    __slots__ = (
        "born", "claims", "columns", "commit", "deltas", "reported", "routes", "sources",
    )  # fmt: skip

    def __init__(self, columns: EventColumns, commit: Commit) -> None:
        self.columns = columns
        self.commit = commit
        self.deltas = _merge_deltas(commit)
        self.claims: dict[int, Claim | None] = {}
        for rewritten in commit.rewritten:
            self.claims.update(zip(decode_ids(rewritten.ids), rewritten.claims, strict=True))
        self.sources = _sources(commit)
        self.routes = [(route, decode_ids(route.ids)) for route in commit.routed]
        self.born: set[int] = set()
        self.reported = [(report, decode_ids(report.ids)) for report in commit.reported]

    def append(self) -> None:
        """Append all rows, in the order that the module describes."""
        commit = self.commit
        if commit.created:
            self._births()
        for report, ids in self.reported:
            self._existing(_report_facet(report), ids)
        for route, ids in self.routes:
            self._route(route, ids)
        if self.claims:
            self._rewritten()
        if self.deltas:
            self._remaining_deltas()
        for deferred in commit.deferred:
            if deferred.reason is not None:
                details = f"waits for another try (tried {deferred.retries} times)"
                facet = Facet(
                    EventType.ADDINFO,
                    put_into=deferred.connection,
                    details=details,
                    reason=deferred.reason,
                )
                self._existing(facet, decode_ids(deferred.ids))
        for dropped in commit.dropped:
            facet = Facet(dropped.event, details=_action_details(dropped.details, commit))
            self._existing(facet, decode_ids(dropped.ids))
        for route, ids in self.routes:
            if not route.targets:
                details = f"auto-terminated by {route.relationship}"
                facet = Facet(EventType.DROP, route.relationship, details=details)
                self._existing(facet, ids)

    # Births

    def _births(self) -> None:
        outside = self._received()
        # With one route and nothing else all births went there.
        single = len(self.routes) == 1 and not (self.commit.dropped or self.commit.deferred)
        where = None if single else self._destinations()
        only = _destination(self.routes[0][0]) if single else (None, None)
        for created in self.commit.created:
            facet = Facet(
                created.event,
                complete=True,
                transit_uri=created.transit_uri,
                details=_action_details(created.details, self.commit),
            )
            flowfiles: Sequence[FlowFile] = created.flowfiles
            self.born.update([flowfile.id for flowfile in flowfiles])
            parents = _parents_of(created)
            if created.event == EventType.CREATE and outside:
                flowfiles = self._reported_births(flowfiles, outside)
            if where is None:
                self._born_rows(facet._replace(relationship=only[0], put_into=only[1]),
                                flowfiles, parents)
                continue
            for place, group in groupby(flowfiles, lambda flowfile: where.get(flowfile.id)):
                relationship, connection = place or (None, None)
                self._born_rows(facet._replace(relationship=relationship, put_into=connection),
                                group, parents)

    def _born_rows(
        self, facet: Facet, flowfiles: Iterable[FlowFile], parents: Iterator[Sequence[int]] | None
    ) -> None:
        columns = self.columns
        columns.begin(facet)
        if parents is None:
            _append_whole(columns, flowfiles)
        else:
            for flowfile in flowfiles:
                columns.put_parents(next(parents))
                columns.whole(flowfile)
        columns.end()

    def _received(self) -> "dict[int, tuple[Reported, int]]":
        """Reports that stand in for a CREATE, by flowfile: the report and its number."""
        found: dict[int, tuple[Reported, int]] = {}
        for number, (report, ids) in enumerate(self.reported):
            if report.event in OUTSIDE_BIRTHS:
                for id in ids:
                    found.setdefault(id, (report, number))
        return found

    def _reported_births(
        self, flowfiles: Sequence[FlowFile], outside: "dict[int, tuple[Reported, int]]"
    ) -> list[FlowFile]:
        """Append births that a report tells of; return the others."""
        columns = self.columns
        others = []
        for flowfile in flowfiles:
            report, number = outside.get(flowfile.id, (None, 0))
            if report is None:
                others.append(flowfile)
                continue
            ids = self.reported[number][1]
            self.reported[number] = (report, [id for id in ids if id != flowfile.id])
            columns.begin(_report_facet(report)._replace(complete=True))
            columns.whole(flowfile)
            columns.end()
        return others

    def _destinations(self) -> dict[int, tuple[str, int | None]]:
        found: dict[int, tuple[str, int | None]] = {}
        for route, ids in self.routes:
            found.update(dict.fromkeys(ids, _destination(route)))
        return found

    # Flowfiles that were there before

    def _existing(self, facet: Facet, ids: Collection[int]) -> None:
        """Append rows for flowfiles, with the deltas that no row of theirs has had yet."""
        sources = self.sources
        if self.born or not (sources is None or isinstance(sources, int)):
            for source, group in groupby(ids, self._source):
                self._rows(facet._replace(taken_from=source), group)
        else:
            self._rows(facet._replace(taken_from=sources), ids)

    def _source(self, id: int) -> int | None:
        if id in self.born:
            return None
        sources = self.sources
        return sources if sources is None or isinstance(sources, int) else sources.get(id)

    def _rows(self, facet: Facet, ids: Iterable[int]) -> None:
        columns = self.columns
        deltas = self.deltas
        columns.begin(facet)
        if deltas:
            for id in ids:
                delta = deltas.pop(id, None)
                if delta:
                    columns.put_attributes(delta)
                columns.flowfiles.append(id)
        else:
            columns.plain(ids)
        columns.end()

    def _route(self, route: Routed, ids: Sequence[int]) -> None:
        relationship, connection = _destination(route)
        facet = Facet(
            EventType.ROUTE, relationship, put_into=connection, reason=route.reason
        )
        if route.reason is not None:
            self._existing(facet, ids)
        elif self.columns.names.chooses(self.commit.component):
            self._existing(facet, [id for id in ids if id not in self.born] if self.born else ids)
        for target in route.targets:
            if target.clones is not None:
                self._clones(Facet(EventType.CLONE, relationship, put_into=target.connection),
                             target.clones, ids)

    def _clones(self, facet: Facet, clones: Ids, parents: Sequence[int]) -> None:
        columns = self.columns
        columns.begin(facet)
        for clone, parent in zip(decode_ids(clones), parents, strict=True):
            columns.put_parents((parent,))
            columns.flowfiles.append(clone)
        columns.end()

    def _rewritten(self) -> None:
        columns = self.columns
        deltas = self.deltas
        for source, group in groupby(self.claims.items(), lambda item: self._source(item[0])):
            columns.begin(Facet(EventType.CONTENT_MODIFIED, taken_from=source))
            for id, claim in group:
                delta = deltas.pop(id, None)
                if delta:
                    columns.put_attributes(delta)
                columns.put_claim(claim)
                columns.flowfiles.append(id)
            columns.end()

    def _remaining_deltas(self) -> None:
        """ATTRIBUTES_MODIFIED for what has no event so far and none below."""
        ending = self._ending()
        for route, ids in self.routes:
            relationship, connection = _destination(route)
            modified = [id for id in ids if id in self.deltas and id not in ending]
            self._existing(
                Facet(EventType.ATTRIBUTES_MODIFIED, relationship, put_into=connection), modified
            )
        stayed = [id for id in self.deltas if id not in ending]
        details = _action_details(None, self.commit)
        self._existing(Facet(EventType.ATTRIBUTES_MODIFIED, details=details), stayed)

    def _ending(self) -> set[int]:
        found: set[int] = set()
        for dropped in self.commit.dropped:
            found.update(decode_ids(dropped.ids))
        for deferred in self.commit.deferred:
            if deferred.reason is not None:
                found.update(decode_ids(deferred.ids))
        for route, ids in self.routes:
            if not route.targets:
                found.update(ids)
        return found


def _append_whole(columns: EventColumns, flowfiles: Iterable[FlowFile]) -> None:
    # Local names and no calls into the class: 0.5 us a flowfile against 1.1.
    ids, keys, values = columns.flowfiles, columns.keys, columns.values
    attribute_rows, attribute_ends = columns.attributes.run_ends, columns.attributes.ends
    claim_rows, claim_ends = columns.claims.run_ends, columns.claims.ends
    claims = columns.claim_values
    row = len(ids)
    for flowfile in flowfiles:
        row += 1
        attributes = flowfile.attributes
        if attributes:
            keys.extend(attributes)
            values.extend(attributes.values())
            attribute_rows.append(row)
            attribute_ends.append(len(keys))
        claims.append(flowfile.claim)
        claim_rows.append(row)
        claim_ends.append(len(claims))
        ids.append(flowfile.id)


def _merge_deltas(commit: Commit) -> dict[int, dict[str, str | None]]:
    deltas: dict[int, dict[str, str | None]] = {}
    for changed in commit.changed:
        if not deltas:
            deltas = dict(zip(decode_ids(changed.ids), changed.deltas, strict=True))
            if len(deltas) == changed.ids[1]:
                continue
            deltas = {}
        for id, delta in zip(decode_ids(changed.ids), changed.deltas, strict=True):
            known = deltas.get(id)
            deltas[id] = {**known, **delta} if known else delta
    return deltas


def _sources(commit: Commit) -> Sources:
    if len(commit.taken) == 1:
        return commit.taken[0].connection
    found: dict[int, int] = {}
    for taken in commit.taken:
        found.update(dict.fromkeys(decode_ids(taken.ids), taken.connection))
    return found or None


def _destination(route: Routed) -> tuple[str, int | None]:
    """By which relationship, and the connection that took the originals."""
    for target in route.targets:
        if target.clones is None:
            return route.relationship, target.connection
    return route.relationship, None


def _parents_of(created: Created) -> Iterator[Sequence[int]] | None:
    """The parents of each child, in the children's order; None where there are none."""
    if created.parents is None:
        return None
    parents = decode_ids(created.parents)
    if created.event in PAIRED:
        return ((parent,) for parent in parents)
    return (parents for _ in created.flowfiles)


def _report_facet(report: Reported) -> Facet:
    return Facet(
        report.event,
        transit_uri=report.transit_uri,
        details=report.details,
        duration=report.duration,
    )


def _action_details(details: str | None, commit: Commit) -> str | None:
    """Name who acted and why, where a person did."""
    action = commit.action
    if action is None:
        return details
    words = f"{action.kind} by {action.user}" + (f": {action.note}" if action.note else "")
    return f"{details} ({words})" if details else words
