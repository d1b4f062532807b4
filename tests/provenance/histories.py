"""Histories of commits for tests: built by hand, drawn by Hypothesis, and homes that hold them."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from hypothesis import strategies as st

from provenance.home import Home, open_home
from runtime.clock import ManualClock
from runtime.commit import (
    Action,
    Changed,
    Commit,
    Created,
    Deferred,
    Dropped,
    EventType,
    Reason,
    Reported,
    Rewritten,
    Routed,
    Taken,
    Target,
    encode,
    encode_ids,
)
from runtime.disk import SystemDisk
from runtime.flowfile import Claim, FlowFile, Identity
from runtime.log import Log
from runtime.log_format import LogEnd
from runtime.model import (
    ConnectionModel,
    FlowModel,
    GroupModel,
    ProcessorModel,
    encode_flow,
)

HOME = 0x123456789ABC
IDENTITY = Identity(HOME)
START = 1_700_000_000_000_000
FIRST = 1 << 44

FLOW = FlowModel(
    root=GroupModel(
        id=1,
        name="Levada",
        processors=(
            ProcessorModel(id=2, name="flights", type="ReplayFlights"),
            ProcessorModel(id=3, name="route", type="RouteOnAttribute", ended=("unmatched",)),
            ProcessorModel(id=4, name="mark", type="UpdateAttribute", ended=("success",)),
        ),
        connections=(
            ConnectionModel(id=10, source=2, destination=3, relationships=("success",)),
            ConnectionModel(id=11, source=3, destination=4, relationships=("late",)),
            ConnectionModel(id=12, source=3, destination=20, relationships=("late",)),
        ),
        groups=(
            GroupModel(
                id=5,
                name="Output",
                processors=(ProcessorModel(id=20, name="write", type="PutFile"),),
            ),
        ),
    ),
    next_id=30,
)


def flow_edit(flow: FlowModel = FLOW) -> Commit:
    """The commit that puts a flow in force."""
    return Commit(START, 0, action=Action("edit flow", "ada", flow=encode_flow(flow)))


def flowfile(id: int, content: Claim | None = None, **attributes: str) -> FlowFile:
    """A flowfile with these attributes."""
    size = content.length if content else 0
    return FlowFile(id, attributes, content, START // 1000, START // 1000, size)


def created(*flowfiles: FlowFile, time: int = START) -> Commit:
    """A source's commit: flowfiles that went into connection 10."""
    ids = [item.id for item in flowfiles]
    return Commit(
        time,
        2,
        created=[Created(EventType.CREATE, list(flowfiles))],
        routed=[Routed("success", encode_ids(ids), [Target(10)])],
    )


def routed(
    ids: Sequence[int],
    relationship: str,
    *targets: Target,
    component: int = 3,
    taken: int = 10,
    reason: Reason | None = None,
    time: int = START + 1,
) -> Commit:
    """A commit that moves flowfiles."""
    packed = encode_ids(ids)
    return Commit(
        time,
        component,
        taken=[Taken(taken, packed)],
        routed=[Routed(relationship, packed, list(targets), reason=reason)],
    )


def numbered(commits: Iterable[Commit]) -> list[tuple[int, Commit]]:
    """Commits with their sequences, from 1."""
    return list(enumerate(commits, 1))


def make_home(path: Path, commits: Iterable[Commit]) -> Home:
    """A home whose log holds these commits, durable."""
    path.mkdir(exist_ok=True)
    (path / "node.json").write_text(json.dumps({"home": HOME}))
    append_commits(path, commits, start=LogEnd())
    return open_home(path)


def append_commits(path: Path, commits: Iterable[Commit], *, start: LogEnd) -> LogEnd:
    """Go on with a home's log; return where it ends."""
    log = Log(
        path / "log",
        disk=SystemDisk(),
        clock=ManualClock(),
        home=HOME,
        start=start,
        dispatch=lambda callbacks: None,
        on_durable=lambda sequence: None,
        on_failure=lambda error: None,
        file_bytes=2**20,
    )
    for commit in commits:
        log.append(encode(commit))
    log.sync()
    end = log.end()
    log.close()
    return end


WORDS = st.sampled_from(["a", "b", "filename", "tail_number"])
VALUES = st.sampled_from(["", "x", "y", "N14228", "ü\n", "100%"])
CLAIMS = st.none() | st.builds(
    Claim,
    st.integers(1, 9),
    st.integers(0, 1000),
    st.integers(1, 1000),
    st.integers(0, 2**64 - 1),
)
DELTAS = st.dictionaries(WORDS, st.none() | VALUES, max_size=3)
REASONS = st.none() | st.builds(Reason, WORDS, VALUES, st.just(""))


@st.composite
def histories(draw: st.DrawFn) -> list[Commit]:
    """Commits that an engine could have written, of every kind of event."""
    numbers = iter(range(FIRST, FIRST + 10_000))
    live: list[int] = []
    commits = [flow_edit()] if draw(st.booleans()) else []
    for step in range(draw(st.integers(1, 8))):
        commit = Commit(START + step, draw(st.sampled_from([2, 3, 4, 20, 99])), duration=step)
        taken = draw(st.lists(st.sampled_from(live), unique=True, max_size=5)) if live else []
        half = draw(st.integers(0, len(taken)))
        for connection, ids in ((10, taken[:half]), (11, taken[half:])):
            if ids:
                commit.taken.append(Taken(connection, encode_ids(ids)))
        born = _births(draw, commit, taken, numbers)
        _changes(draw, commit, taken, born)
        ended = _endings(draw, commit, taken + born, numbers, live)
        live = [id for id in live if id not in ended] + [id for id in born if id not in ended]
        commits.append(commit)
    return commits


def _births(
    draw: st.DrawFn, commit: Commit, taken: list[int], numbers: "Iterable[int]"
) -> list[int]:
    source = iter(numbers)
    born: list[int] = []
    for event in draw(st.lists(st.sampled_from([1, 2, 10, 11, 12, 17]), max_size=2)):
        if event >= EventType.FORK and not taken:
            continue
        count = 1 if event == EventType.JOIN else len(taken) if event in (12, 17) else 2
        ids = [next(source) for _ in range(count)]
        parents = {10: taken[:1], 11: taken, 12: taken, 17: taken}.get(event)
        children = [
            FlowFile(id, draw(st.dictionaries(WORDS, VALUES, max_size=2)), draw(CLAIMS), 1, 1, 0)
            for id in ids
        ]
        packed = encode_ids(parents) if parents else None
        commit.created.append(Created(event, children, packed))
        born += ids
    return born


def _changes(draw: st.DrawFn, commit: Commit, taken: list[int], born: list[int]) -> None:
    if taken:
        some = st.lists(st.sampled_from(taken), min_size=1, unique=True)
        for ids in draw(st.lists(some, max_size=2)):
            deltas = [draw(DELTAS) for _ in ids]
            commit.changed.append(Changed(encode_ids(ids), deltas))
        if draw(st.booleans()):
            commit.rewritten.append(
                Rewritten(encode_ids(taken), [draw(CLAIMS) for _ in taken])
            )
    for id in draw(st.lists(st.sampled_from(taken + born), max_size=2)) if taken + born else []:
        event = draw(st.sampled_from([2, 3, 4, 16]))
        commit.reported.append(Reported(event, encode_ids([id]), "file:///x", None, event))


def _endings(
    draw: st.DrawFn, commit: Commit, ids: list[int], numbers: "Iterable[int]", live: list[int]
) -> set[int]:
    """Share out all flowfiles of the commit; return those that ended."""
    source = iter(numbers)
    ended: set[int] = set()
    groups: dict[str, list[int]] = {}
    for id in ids:
        groups.setdefault(draw(st.sampled_from(["late", "end", "drop", "defer"])), []).append(id)
    for kind, members in groups.items():
        packed = encode_ids(members)
        if kind == "late":
            clones = [next(source) for _ in members] if draw(st.booleans()) else []
            targets = [Target(12, encode_ids(clones))] if clones else []
            live += clones
            commit.routed.append(Routed("late", packed, [*targets, Target(11)], 0, draw(REASONS)))
        elif kind == "end":
            commit.routed.append(Routed("unmatched", packed, []))
            ended.update(members)
        elif kind == "drop":
            event = draw(st.sampled_from([EventType.DROP, EventType.EXPIRE]))
            commit.dropped.append(Dropped(event, packed, draw(st.none() | VALUES)))
            ended.update(members)
        else:
            commit.deferred.append(Deferred(10, packed, 5, 1, draw(REASONS)))
    return ended
