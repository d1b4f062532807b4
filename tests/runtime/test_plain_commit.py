"""The short way of committing against the general one: the same records, the same state."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.commit import EventType, decode
from runtime.engine import TerminatedError
from runtime.flowfile import FlowFile
from runtime.model import ConnectionModel, ProcessorModel, Retry
from runtime.plain_commit import is_plain
from runtime.session import Session
from tests.engine_world import World

A, B = 1, 2
RELATIONSHIPS = ("success", "failure", "other")
PROCESSORS = (
    ProcessorModel(id=A, name="a", type="Step"),
    ProcessorModel(id=B, name="b", type="Sink"),
)
CONNECTIONS = (
    # Two relationships share a queue; the third ends where nothing leads on.
    ConnectionModel(id=10, source=A, destination=B, relationships=("success", "failure")),
    ConnectionModel(id=11, source=A, destination=A, relationships=("other",), max_count=3),
    ConnectionModel(id=20, source=B, destination=A, relationships=("success",), max_count=2),
)

Act = Callable[[Session], None]


def _open(session: Session) -> list[FlowFile]:
    return list(session.open.values())


def _take(count: int) -> Act:
    def act(session: Session) -> None:
        session.take(count)

    return act


def _create(contents: list[bytes], received: bool, attribute: str) -> Act:
    def act(session: Session) -> None:
        session.create_many(
            [{"n": attribute} for _ in contents],
            contents,
            received_from="test://there" if received else None,
            details=attribute or None,
        )

    return act


def _descend(kind: str) -> Act:
    def act(session: Session) -> None:
        parents = _open(session)
        if kind == "join" and len(parents) > 1:
            session.create({"joined": "yes"}, b"together", parents=parents)
        elif kind == "clone" and parents:
            session.clone(parents[0])
        elif kind == "fork" and parents:
            session.create({"child": "1"}, b"a child", parents=parents[-1])

    return act


def _put(changes: dict[str, str | None], many: bool) -> Act:
    def act(session: Session) -> None:
        flowfiles = _open(session)
        if many:
            session.put_all(flowfiles, {name: value or "" for name, value in changes.items()})
        elif flowfiles:
            session.put(flowfiles[0], changes)

    return act


def _transfer(relationship: str, count: int) -> Act:
    return lambda session: session.transfer(_open(session)[:count], relationship)


def _drop(details: str | None) -> Act:
    def act(session: Session) -> None:
        # Dropping after creating takes the general way: what was created may be among them.
        if not session.created:
            session.drop(_open(session)[:2], details)

    return act


def _tell(value: str) -> Act:
    def act(session: Session) -> None:
        session.set_state({"at": value})
        session.set_key(value, value.encode())
        session.count(value, len(value))
        for flowfile in _open(session)[:1]:
            session.report(EventType.ADDINFO, flowfile, details=value)

    return act


def _await(session: Session) -> None:
    session.when_durable(lambda: None)


words = st.sampled_from(["", "p", "qq"])
acts = st.one_of(
    st.integers(0, 4).map(_take),
    st.builds(_create, st.lists(st.sampled_from([b"", b"x", b"y" * 900]), max_size=4),
              st.booleans(), words),
    st.sampled_from(["join", "clone", "fork"]).map(_descend),
    st.builds(_put, st.dictionaries(st.sampled_from("abc"), st.none() | words), st.booleans()),
    st.builds(_transfer, st.sampled_from(RELATIONSHIPS), st.integers(1, 5)),
    st.sampled_from([None, "no use"]).map(_drop),
    words.map(_tell),
    st.just(_await),
)  # fmt: skip
sessions = st.tuples(
    st.sampled_from([A, B]), st.lists(acts, max_size=8), st.sampled_from(RELATIONSHIPS)
)


class Twin:
    """A world that commits one way, and notes what it tells the log besides its records."""

    def __init__(self, *, plain: bool) -> None:
        self.world = World(PROCESSORS, CONNECTIONS)
        self.plain = plain
        self.options: list[Any] = []
        append = self.world.log.append

        def listening(record: bytes, **options: Any) -> int:
            self.options.append((options["urgent"], options["flowfiles"], len(options["dirty"])))
            return append(record, **options)

        self.world.log.append = listening  # type: ignore[method-assign]  # listens in, no more

    def run(self, component: int, work: list[Act], last: str) -> None:
        session = self.world.open(component, 4)
        for act in work:
            act(session)
        session.transfer(_open(session), last)
        assert is_plain(self.world.engine, session)
        session.special = not self.plain
        session.commit()
        self.world.engine.close_session(session)
        self.world.advance(1.0)

    def state(self) -> dict[str, Any]:
        """Return everything that a commit changes."""
        engine = self.world.engine
        components = engine.components.values()
        return {
            "records": self.world.records,
            "told to the log": self.options,
            "queues": {id: self.queue(id) for id in engine.queues},
            "totals": [one.statistics.totals for one in components],
            "states": [(one.state, one.counters, one.is_queued) for one in components],
            "keys": [engine.keyed.read(id, key) for id in (A, B) for key in ("", "p", "qq")],
            "engine": (engine.sequence, engine.hops, engine.counters),
        }

    def queue(self, id: int) -> Any:
        queue = self.world.queue(id)
        runs = [(run.sequence, run.index, run.size, run.flowfiles) for run in queue.runs()]
        return queue.count, queue.size, queue.available, runs

    def references(self) -> dict[int, tuple[int, int]]:
        self.world.log.sync()
        content = self.world.engine.content
        return {
            one.segment: content.references.holders(one.segment) for one in content.statistics()
        }


@pytest.mark.slow
@settings(max_examples=60)
@given(st.lists(sessions, min_size=1, max_size=6))
def test_both_ways_write_the_same_record_and_leave_the_same_state(
    script: list[tuple[int, list[Act], str]],
) -> None:
    short, general = Twin(plain=True), Twin(plain=False)

    for component, work, last in script:
        short.run(component, work, last)
        general.run(component, work, last)

        assert short.state() == general.state()

    assert short.references() == general.references()
    folded = {
        id: {entry.flowfile.id: entry.flowfile for entry in queue.values()}
        for id, queue in short.world.fold().queues.items()
        if queue
    }
    assert folded == short.world.live()


def test_a_family_without_children_is_in_no_record() -> None:
    for plain in (True, False):
        twin = Twin(plain=plain)
        twin.run(A, [_create([b"x"], True, "p"), _create([], False, "qq")], "success")

        assert [one.details for one in _last(twin).created] == ["p"]


def test_nothing_is_recorded_when_nothing_was_done() -> None:
    for plain in (True, False):
        twin = Twin(plain=plain)
        twin.run(A, [_take(3)], "success")

        assert twin.world.records == []


def test_a_second_relationship_into_one_queue_goes_on_where_the_first_ended() -> None:
    twin = Twin(plain=True)
    twin.run(A, [_create([b"1", b"2"], False, ""), _transfer("success", 2),
                 _create([b"3"], False, "")], "failure")  # fmt: skip

    assert [(run.index, len(run.flowfiles)) for run in twin.world.queue(10).runs()] == [
        (0, 2),
        (2, 1),
    ]


@pytest.mark.parametrize(
    "why", ["penalized", "reason", "rewritten", "put back", "held", "dropped after creating"]
)
def test_what_needs_more_takes_the_general_way(why: str) -> None:
    world = World(PROCESSORS, CONNECTIONS)
    world.put(A, b"x", relationship="other")
    session = world.open(A)
    flowfile = session.take()[0]
    assert is_plain(world.engine, session)

    if why == "penalized":
        session.penalize(flowfile)
    elif why == "reason":
        session.transfer(flowfile, "failure", reason="no such place")
    elif why == "rewritten":
        session.write(flowfile, b"other")
    elif why == "put back":
        session.put_back(flowfile)
    elif why == "held":
        session.hold(flowfile)
    else:
        session.drop(session.create())

    assert not is_plain(world.engine, session)


def test_clones_retries_and_late_effects_take_the_general_way() -> None:
    doubled = ConnectionModel(id=12, source=A, destination=B, relationships=("success",))
    world = World(PROCESSORS, (*CONNECTIONS, doubled))
    session = world.open(A)
    session.transfer(session.create(), "success")
    assert not is_plain(world.engine, session)

    retrying = ProcessorModel(id=A, name="a", type="Step", retry=Retry(relationships=("failure",)))
    world = World((retrying, PROCESSORS[1]), CONNECTIONS)
    assert not is_plain(world.engine, world.open(A))

    world = World(PROCESSORS, CONNECTIONS, effects_wait=True)
    assert not is_plain(world.engine, world.open(A))


def test_a_terminated_session_commits_nothing() -> None:
    world = World(PROCESSORS, CONNECTIONS)
    session = world.open(A)
    session.transfer(session.create(), "success")
    session.fenced = True

    with pytest.raises(TerminatedError, match=r"^a was terminated$"):
        session.commit()
    assert world.records == []


def test_a_session_that_is_terminated_while_it_waits_for_room_commits_nothing() -> None:
    world = World(PROCESSORS, CONNECTIONS)
    session = world.open(A)
    session.transfer(session.create(), "success")

    def terminate() -> None:
        session.fenced = True

    world.log.wait_for_room = terminate  # type: ignore[method-assign]  # comes in between

    with pytest.raises(TerminatedError, match=r"^a was terminated$"):
        session.commit()
    assert world.records == []
    assert world.live() == {}


def test_a_wiring_that_changes_before_the_commit_is_planned_again() -> None:
    world = World(PROCESSORS, CONNECTIONS)
    session = world.open(A)
    session.transfer(session.create(), "success")
    wait_for_room = world.log.wait_for_room

    def rewire() -> None:
        world.log.wait_for_room = wait_for_room  # type: ignore[method-assign]  # once is enough
        moved = ConnectionModel(id=13, source=A, destination=B, relationships=("success",))
        world.wire((moved, *CONNECTIONS[1:]))

    world.log.wait_for_room = rewire  # type: ignore[method-assign]  # an edit comes in between

    session.commit()

    assert len(world.ids(13)) == 1
    assert world.ids(10) == []
    assert len(world.records) == 1


def _last(twin: Twin) -> Any:
    return decode(twin.world.records[-1])
