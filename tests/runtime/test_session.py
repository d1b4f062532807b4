"""A session's promises: each flowfile is accounted for once, and a commit is all or nothing."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.commit import EventType, decode
from runtime.creation import SessionError
from runtime.flowfile import FlowFile
from runtime.model import ConnectionModel, ProcessorModel
from runtime.session import Session
from tests.engine_world import World

A, B = 1, 2
IN, OUT = 10, 20


def _world() -> World:
    return World(
        (
            ProcessorModel(id=A, name="a", type="Step"),
            ProcessorModel(id=B, name="b", type="Step", penalty_seconds=5.0),
        ),
        (
            ConnectionModel(id=IN, source=A, destination=B, relationships=("success",)),
            ConnectionModel(id=OUT, source=B, destination=A, relationships=("success",)),
        ),
    )


def _taken(*contents: bytes) -> tuple[World, Session, list[FlowFile]]:
    world = _world()
    world.put(A, *contents)
    session = world.open(B, 100)
    return world, session, session.take()


def _lying(world: World, connection: int) -> list[FlowFile]:
    return [one for run in world.queue(connection).runs() for one in run.flowfiles]


# Taking


def test_what_was_taken_is_not_offered_to_another_session() -> None:
    world, session, flowfiles = _taken(b"1", b"2")

    assert world.open(B, 100).take() == []
    assert (world.queue(IN).count, world.queue(IN).available) == (2, 0)
    assert session.take_one() is None
    assert session.taken_count == session.size == len(flowfiles) == 2


def test_take_gives_at_most_what_was_asked_for() -> None:
    world = _world()
    world.put(A, *[b"x"] * 5)
    session = world.open(B, 4)

    assert len(session.take(1)) == 1
    assert len(session.take()) == 4
    assert session.take_one() is None


def test_a_cautious_session_takes_one_by_one_whatever_is_asked_for() -> None:
    world = _world()
    world.put(A, b"1", b"2")
    session = world.open(B, 1)
    session.cautious = True

    assert len(session.take(100)) == 1


def test_inputs_take_turns() -> None:
    world = _world()
    world.wire(
        (*world.connections,
         ConnectionModel(id=11, source=A, destination=B, relationships=("other",)))
    )  # fmt: skip
    world.put(A, b"1", b"1")
    world.put(A, b"2", b"2", relationship="other")
    session = world.open(B, 1)

    contents = [session.read(session.take()[0]) for _ in range(4)]

    assert contents in ([b"1", b"2"] * 2, [b"2", b"1"] * 2)


# Versions


words = st.sampled_from(["a", "b", "filename", "path", "uuid"])
changes = st.dictionaries(words, st.none() | st.sampled_from(["", "x", "y"]))


@pytest.mark.slow
@settings(max_examples=50)
@given(st.lists(st.tuples(changes, st.booleans()), max_size=6))
def test_the_newest_version_has_all_changes_and_so_has_the_record(
    steps: list[tuple[dict[str, str | None], bool]],
) -> None:
    world, session, (first,) = _taken(b"content")
    expected: dict[str, str] = {}
    for delta, old_version in steps:
        newest = session.put(first if old_version else session.open[first.id], delta)
        for name, value in delta.items():
            if value is not None and name != "uuid":
                expected[name] = value
            elif name not in ("uuid", "filename", "path"):
                expected.pop(name, None)
        assert newest.attributes == expected
    session.transfer(first, "success")
    session.commit()

    assert first.attributes == {}
    assert _lying(world, OUT)[0].attributes == expected
    assert world.fold().queues[OUT][first.id].flowfile.attributes == expected


def test_a_batch_is_changed_as_one_by_one() -> None:
    world, session, flowfiles = _taken(b"1", b"2", b"3")
    created = session.create({"n": "0"})

    both = session.put_all([*flowfiles, created], {"a": "1"})
    each = session.put_each(both[:2], [{"b": "2"}, {"b": "3"}])

    assert [one.attributes for one in both] == [{"a": "1"}] * 3 + [{"n": "0", "a": "1"}]
    assert [one.attributes for one in each] == [{"a": "1", "b": "2"}, {"a": "1", "b": "3"}]
    session.transfer(session.put(flowfiles[0], {"c": "4"}), "success")
    session.transfer([*flowfiles[1:], created], "success")
    session.commit()
    assert {one.id: one.attributes for one in _lying(world, OUT)} == {
        flowfiles[0].id: {"a": "1", "b": "2", "c": "4"},
        flowfiles[1].id: {"a": "1", "b": "3"},
        flowfiles[2].id: {"a": "1"},
        created.id: {"n": "0", "a": "1"},
    }
    assert world.fold().queues[OUT].keys() == {one.id for one in _lying(world, OUT)}


def test_a_batch_needs_one_mapping_for_each_flowfile() -> None:
    _, session, flowfiles = _taken(b"1", b"2")

    with pytest.raises(ValueError, match="is shorter than"):
        session.put_each(flowfiles, [{"a": "1"}])
    assert session.changed == {}


def test_core_attributes_are_there_without_being_set() -> None:
    _, session, (flowfile,) = _taken(b"1")
    uuid = session.uuid(flowfile)

    assert session.attributes(flowfile) == {"uuid": uuid, "filename": uuid, "path": "./"}
    session.put(flowfile, {"filename": "a.txt"})
    assert session.attribute(flowfile, "filename") == "a.txt"
    assert session.attribute(flowfile, "absent") is None


# Content


def test_a_new_content_is_read_by_any_version_before_and_after_the_commit() -> None:
    world, session, flowfiles = _taken(b"1", b"2", b"3", b"4")
    session.write(flowfiles[0], b"written")
    session.append(flowfiles[1], b" and more")
    session.write(flowfiles[2], b"")
    with session.open_write(flowfiles[3]) as target:
        assert target.write(b"in ") == 3
        target.write(b"parts")

    expected = [b"written", b"2 and more", b"", b"in parts"]
    assert [session.read(one) for one in flowfiles] == session.read_many(flowfiles) == expected
    with session.open_read(flowfiles[1]) as source:
        assert source.read() == expected[1]
    session.transfer(flowfiles, "success")
    session.commit()
    assert [world.engine.content.read(one.claim) for one in _lying(world, OUT)] == expected
    assert [one.size for one in _lying(world, OUT)] == [7, 10, 0, 8]


def test_an_exception_while_writing_leaves_the_content_as_it_was() -> None:
    _, session, (flowfile,) = _taken(b"before")

    with pytest.raises(KeyError), session.open_write(flowfile) as target:
        target.write(b"half")
        raise KeyError

    assert session.read(flowfile) == b"before"
    assert session.rewritten == {}


# Accounting


def test_a_commit_with_flowfiles_left_names_the_first() -> None:
    world, session, flowfiles = _taken(b"1", b"2")
    named = session.put(flowfiles[0], {"filename": "a.txt"})

    with pytest.raises(SessionError) as raised:
        session.commit()

    assert str(raised.value) == (
        f"b left 2 flowfile(s) unaccounted for, the first is {session.uuid(named)} ('a.txt'). "
        "Each one must be transferred, dropped, held or put back before the trigger ends"
    )
    assert len(world.records) == 1
    session.transfer(flowfiles, "success")
    session.commit()
    assert len(world.records) == 2


def test_an_unknown_relationship_is_refused_with_those_there_are() -> None:
    _, session, flowfiles = _taken(b"1")

    with pytest.raises(SessionError) as raised:
        session.transfer(flowfiles, "sucess")

    assert str(raised.value) == ("b has no relationship 'sucess'. It has: failure, other, success")
    assert list(session.open) == [flowfiles[0].id]


Wrong = Callable[[Session, list[FlowFile]], Any]
STRANGE = (
    r"^flowfile [-0-9a-f]{36} \('[-0-9a-f]{36}'\) is not in this session: it was transferred, "
    r"dropped or put back already, is named twice, or belongs to another one$"
)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda session, flowfiles: session.transfer([*flowfiles, flowfiles[0]], "success"),
        lambda session, flowfiles: session.drop([flowfiles[0]] * 2),
        lambda session, flowfiles: session.put_back([flowfiles[1]] * 2),
        lambda session, flowfiles: session.hold([flowfiles[1]] * 2),
    ],
)
def test_a_refused_call_closes_nothing(wrong: Wrong) -> None:
    world, session, flowfiles = _taken(b"1", b"2")

    with pytest.raises(SessionError, match=STRANGE):
        wrong(session, flowfiles)

    assert session.open.keys() == {one.id for one in flowfiles}
    # A processor that goes on regardless commits a record that fits to the others.
    session.transfer(flowfiles, "success")
    session.commit()
    assert world.fold().queues[OUT].keys() == world.live()[OUT].keys()
    assert world.live().keys() == {OUT}


@pytest.mark.parametrize(
    "use",
    [
        lambda session, flowfile: session.put(flowfile, {"a": "1"}),
        lambda session, flowfile: session.put_all([flowfile], {"a": "1"}),
        lambda session, flowfile: session.write(flowfile, b"x"),
        lambda session, flowfile: session.open_write(flowfile),
        lambda session, flowfile: session.transfer(flowfile, "success"),
        lambda session, flowfile: session.penalize(flowfile),
        lambda session, flowfile: session.clone(flowfile),
        lambda session, flowfile: session.create(parents=flowfile),
    ],
)
def test_a_flowfile_that_was_transferred_is_out_of_reach(
    use: Callable[[Session, FlowFile], Any],
) -> None:
    _, session, (flowfile,) = _taken(b"1")
    session.transfer(flowfile, "success")

    with pytest.raises(SessionError, match=STRANGE):
        use(session, flowfile)


def test_only_what_came_from_a_queue_can_go_back_or_be_held() -> None:
    world, session, (flowfile,) = _taken(b"1")
    created = session.create({"filename": "new.txt"})
    uuid = session.uuid(created)

    with pytest.raises(SessionError) as raised:
        session.put_back([flowfile, created])
    assert str(raised.value) == (
        f"flowfile {uuid} ('new.txt') was created in this session; it has no queue to go back to"
    )
    with pytest.raises(SessionError) as raised:
        session.hold([flowfile, created])
    assert str(raised.value) == (
        f"flowfile {uuid} ('new.txt') was changed or created in this session; only flowfiles as "
        "they were taken can be held"
    )
    with pytest.raises(ValueError, match="could not convert string to float: 'soon'"):
        session.put_back(flowfile, wait_seconds="soon")  # type: ignore[arg-type]  # the mistake
    assert session.open.keys() == {flowfile.id, created.id}
    session.drop([flowfile, created])
    session.commit()
    assert world.live() == {}
    assert world.fold().count() == 0


def test_only_held_flowfiles_can_be_resumed() -> None:
    world, session, flowfiles = _taken(b"1", b"2")
    session.hold(flowfiles[0])
    session.transfer(flowfiles[1], "success")
    session.commit()

    with pytest.raises(SessionError, match=r"^flowfile .+ is not held by b$"):
        session.resume(flowfiles)
    assert session.open == {}

    session.resume([flowfiles[0], flowfiles[0]])
    assert list(session.open.values()) == [flowfiles[0]]
    session.drop(flowfiles[0])
    session.commit()
    assert world.live().keys() == {OUT}


# Ending


def test_a_rollback_leaves_everything_as_it_was() -> None:
    world, session, flowfiles = _taken(b"1", b"2")
    before = world.live()
    changed = session.write(session.put(flowfiles[0], {"a": "1"}), b"other")
    session.transfer([changed, session.create(content=b"new")], "success")
    session.set_state({"at": "1"})
    session.count("lines")
    session.when_durable(lambda: pytest.fail("nothing was committed"))

    session.rollback()

    assert world.live() == before
    assert world.ids(IN) == [one.id for one in flowfiles]
    assert len(world.records) == 1
    world.log.sync()
    session.commit()
    assert len(world.records) == 1
    assert world.engine.components[B].state == {}
    content = world.engine.content
    held = [content.references.holders(one.segment) for one in content.statistics()]
    assert sum(references for references, _ in held) == 2


def test_a_rollback_with_penalty_is_recorded_with_its_reason() -> None:
    world, session, flowfiles = _taken(b"1", b"2")

    session.rollback(penalize=True, reason=ValueError("no such place"))

    record = decode(world.records[-1])
    assert [(one.connection, one.ids[1]) for one in record.deferred] == [(IN, 2)]
    assert record.deferred[0].reason is not None
    assert record.deferred[0].reason.message == "no such place"
    assert (world.queue(IN).count, world.queue(IN).available) == (2, 0)
    world.advance(5.0)
    assert world.open(B, 100).take() == flowfiles


def test_a_callback_runs_once_the_commit_is_durable_and_not_before() -> None:
    world, session, flowfiles = _taken(b"1")
    called: list[int] = []
    session.when_durable(lambda: called.append(1))
    session.when_durable(lambda: called.append(2))
    session.transfer(flowfiles, "success")
    session.commit()
    assert called == []

    world.log.sync()
    world.log.sync()

    assert called == [1, 2]


def test_a_session_begins_anew_after_its_commit() -> None:
    _, session, flowfiles = _taken(b"1")
    session.transfer(session.write(flowfiles[0], b"2"), "failure", reason="why")
    session.set_state({"at": "1"})
    session.commit()

    assert session.__dict__.keys().isdisjoint({"rewritten", "reasons", "new_state", "special"})
    assert (session.routes, session.open, session.taken_count) == ({}, {}, 0)
    assert session.state == {"at": "1"}


def test_closing_rolls_back_what_is_not_committed() -> None:
    world, session, _ = _taken(b"1")

    session.close()

    assert world.queue(IN).available == 1
    assert session not in world.engine.sessions


def test_a_disk_that_fails_while_content_is_written_leaves_everything_as_it_was() -> None:
    world, session, flowfiles = _taken(b"1")
    before = world.live()
    session.transfer(session.write(flowfiles[0], b"x" * 100), "success")
    world.disk.fail_on = "write"

    with pytest.raises(OSError, match="the disk answers with an error"):
        session.commit()
    world.disk.fail_on = None
    session.rollback()

    assert world.live() == before
    assert len(world.records) == 1
    assert world.open(B, 9).take() == flowfiles


def test_an_origin_is_known_only_of_what_was_taken() -> None:
    _, session, (flowfile,) = _taken(b"1")
    session.put(flowfile, {"a": "1"})

    assert session.original(flowfile.id) == flowfile
    with pytest.raises(SessionError, match=r"^flowfile .{36} was not taken by this session$"):
        session.original(session.create().id)


def test_reported_events_belong_to_the_record() -> None:
    world, session, (flowfile,) = _taken(b"1")
    session.sent(flowfile, "test://there", details="all", duration_seconds=0.5)
    session.fetched(flowfile, "test://here")
    session.transfer(flowfile, "success")
    session.commit()

    told = [
        (one.event, one.transit_uri, one.details, one.duration)
        for one in decode(world.records[-1]).reported
    ]
    assert told == [
        (EventType.SEND, "test://there", "all", 500_000),
        (EventType.FETCH, "test://here", None, 0),
    ]
