"""The rules of provenance once more, one event and one flowfile at a time, for comparison."""

from collections.abc import Iterable
from typing import Any

from provenance.names import FlowNames
from runtime.commit import Commit, EventType, Routed, decode_ids
from runtime.flowfile import Claim, FlowFile

Entry = dict[str, Any]


def plain_events(commits: Iterable[tuple[int, Commit]]) -> list[Entry]:
    """Every event of the commits, in order, as a dictionary of what it says."""
    names = FlowNames()
    found = []
    for sequence, commit in commits:
        names.see(commit)
        for ordinal, event in enumerate(_Reference(commit, names).events()):
            component = names.component(commit.component)
            event |= {
                "id": sequence << 20 | ordinal,
                "component": commit.component,
                "component_name": component.name,
                "duration": event.get("duration") or commit.duration,
            }
            found.append(event)
    return found


class _Reference:
    def __init__(self, commit: Commit, names: FlowNames) -> None:
        self.commit = commit
        self.chooses = names.chooses(commit.component)
        self.born = {f.id: f for created in commit.created for f in created.flowfiles}
        self.delta: dict[int, dict[str, str | None]] = {}
        for changed in commit.changed:
            for id, delta in zip(decode_ids(changed.ids), changed.deltas, strict=True):
                self.delta[id] = self.delta.get(id, {}) | delta
        self.claims: dict[int, Claim | None] = {}
        for rewritten in commit.rewritten:
            for id, claim in zip(decode_ids(rewritten.ids), rewritten.claims, strict=True):
                self.claims[id] = claim
        self.source = {id: t.connection for t in commit.taken for id in decode_ids(t.ids)}

    def source_of(self, id: int) -> int | None:
        if id in self.born:
            return None
        if len(self.commit.taken) == 1:
            return self.commit.taken[0].connection
        return self.source.get(id)

    def event(self, kind: int, id: int, **more: Any) -> Entry:
        event: Entry = {
            "type": EventType(kind).name, "flowfile": id, "taken_from": self.source_of(id),
            "attributes": self.delta.pop(id, {}), "parents": (), "complete": False,
        }  # fmt: skip
        return event | more

    def whole(self, kind: int, flowfile: FlowFile, **more: Any) -> Entry:
        event = self.event(kind, flowfile.id, complete=True, claim=flowfile.claim, content=True)
        return event | {"attributes": flowfile.attributes} | more

    def destination(self, id: int) -> Entry:
        for route in self.commit.routed:
            if id in decode_ids(route.ids):
                return _went(route)
        return {}

    def events(self) -> list[Entry]:
        return [
            *self.births(), *self.reports(), *self.routes(), *self.rewrites(),
            *self.modifications(), *self.retries(), *self.ends(),
        ]  # fmt: skip

    def births(self) -> Iterable[Entry]:
        self.stand_in: dict[int, int] = {}
        outside: dict[int, int] = {}
        for number, report in enumerate(self.commit.reported):
            if report.event in (EventType.RECEIVE, EventType.FETCH):
                for id in decode_ids(report.ids):
                    outside.setdefault(id, number)
        for created in self.commit.created:
            kept = []
            for position, flowfile in enumerate(created.flowfiles):
                stand_in = outside.get(flowfile.id)
                if created.event == EventType.CREATE and stand_in is not None:
                    self.stand_in[flowfile.id] = stand_in
                    report = self.commit.reported[stand_in]
                    yield self.whole(
                        report.event, flowfile, transit_uri=report.transit_uri,
                        duration=report.duration,
                    )  # fmt: skip
                else:
                    kept.append((position, flowfile))
            for position, flowfile in kept:
                parents = tuple(decode_ids(created.parents)) if created.parents else ()
                if created.event in (EventType.CLONE, EventType.REPLAY):
                    parents = parents[position : position + 1]
                yield self.whole(
                    created.event, flowfile, parents=parents, **self.destination(flowfile.id)
                )

    def reports(self) -> Iterable[Entry]:
        for number, report in enumerate(self.commit.reported):
            for id in decode_ids(report.ids):
                if self.stand_in.get(id) != number:
                    yield self.event(
                        report.event, id, transit_uri=report.transit_uri, duration=report.duration
                    )

    def routes(self) -> Iterable[Entry]:
        for route in self.commit.routed:
            for id in decode_ids(route.ids):
                if route.reason or (self.chooses and id not in self.born):
                    reason = route.reason.message if route.reason else None
                    yield self.event(EventType.ROUTE, id, reason_message=reason, **_went(route))
            for target in route.targets:
                if target.clones:
                    pairs = zip(decode_ids(target.clones), decode_ids(route.ids), strict=True)
                    for clone, parent in pairs:
                        yield {
                            "type": "CLONE", "flowfile": clone, "parents": (parent,),
                            "relationship": route.relationship, "put_into": target.connection,
                            "attributes": {}, "complete": False,
                        }  # fmt: skip

    def rewrites(self) -> Iterable[Entry]:
        for id, claim in self.claims.items():
            yield self.event(EventType.CONTENT_MODIFIED, id, claim=claim, content=True)

    def modifications(self) -> Iterable[Entry]:
        ending = {id for d in self.commit.dropped for id in decode_ids(d.ids)}
        ending |= {id for r in self.commit.routed if not r.targets for id in decode_ids(r.ids)}
        ending |= {id for d in self.commit.deferred if d.reason for id in decode_ids(d.ids)}
        for route in self.commit.routed:
            for id in decode_ids(route.ids):
                if id in self.delta and id not in ending:
                    yield self.event(EventType.ATTRIBUTES_MODIFIED, id, **_went(route))
        for id in [id for id in self.delta if id not in ending]:
            yield self.event(EventType.ATTRIBUTES_MODIFIED, id)

    def retries(self) -> Iterable[Entry]:
        for deferred in self.commit.deferred:
            for id in decode_ids(deferred.ids):
                if deferred.reason:
                    yield self.event(
                        EventType.ADDINFO, id, put_into=deferred.connection,
                        reason_message=deferred.reason.message,
                        details=f"waits for another try (tried {deferred.retries} times)",
                    )  # fmt: skip

    def ends(self) -> Iterable[Entry]:
        for dropped in self.commit.dropped:
            for id in decode_ids(dropped.ids):
                yield self.event(dropped.event, id, details=dropped.details)
        for route in self.commit.routed:
            if not route.targets:
                for id in decode_ids(route.ids):
                    details = f"auto-terminated by {route.relationship}"
                    yield self.event(
                        EventType.DROP, id, details=details, relationship=route.relationship
                    )


def _went(route: Routed) -> Entry:
    for target in route.targets:
        if target.clones is None:
            return {"relationship": route.relationship, "put_into": target.connection}
    return {"relationship": route.relationship, "put_into": None}


def plain_states(commits: Iterable[tuple[int, Commit]]) -> dict[tuple[int, int], Any]:
    """Attributes and claim of each flowfile after each commit that knows it."""
    state: dict[int, tuple[dict[str, str], Claim | None]] = {}
    found: dict[tuple[int, int], Any] = {}
    for sequence, commit in commits:
        for created in commit.created:
            for flowfile in created.flowfiles:
                state[flowfile.id] = (dict(flowfile.attributes), flowfile.claim)
        for changed in commit.changed:
            for id, delta in zip(decode_ids(changed.ids), changed.deltas, strict=True):
                merged = state[id][0] | delta
                kept = {k: v for k, v in merged.items() if v is not None}
                state[id] = (kept, state[id][1])
        for rewritten in commit.rewritten:
            for id, claim in zip(decode_ids(rewritten.ids), rewritten.claims, strict=True):
                state[id] = (state[id][0], claim)
        for route in commit.routed:
            for target in route.targets:
                clones = decode_ids(target.clones) if target.clones else ()
                for number, clone in enumerate(clones):
                    state[clone] = state[decode_ids(route.ids)[number]]
        found |= {(id, sequence): value for id, value in state.items()}
    return found
