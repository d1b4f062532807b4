"""Creating verbs: who descends from whom, with which attributes, by which event."""

from typing import Any

import pytest

from runtime.commit import Commit, EventType, decode, decode_ids
from runtime.creation import SessionError
from runtime.flowfile import FlowFile
from runtime.model import ConnectionModel, ProcessorModel
from runtime.session import Session
from tests.engine_world import World

A, B = 1, 2
IN, OUT = 10, 20


def _taken(*contents: bytes) -> tuple[World, Session, list[FlowFile]]:
    """Return B's session an hour after A created flowfiles."""
    world = World(
        (
            ProcessorModel(id=A, name="a", type="Step"),
            ProcessorModel(id=B, name="b", type="Step"),
        ),
        (
            ConnectionModel(id=IN, source=A, destination=B, relationships=("success",)),
            ConnectionModel(id=OUT, source=B, destination=A, relationships=("success",)),
        ),
    )
    session = world.open(A)
    made = [session.create({"n": str(n)}, content) for n, content in enumerate(contents)]
    session.transfer(made, "success")
    session.commit()
    world.advance(3600.0)
    session = world.open(B, 100)
    return world, session, session.take()


def _commit(world: World, session: Session) -> Commit:
    session.transfer(list(session.open.values()), "success")
    session.commit()
    folded = {
        entry.flowfile.id: entry.flowfile for entry in world.fold().queues.get(OUT, {}).values()
    }
    assert folded == world.live().get(OUT, {})
    return decode(world.records[-1])


def _families(record: Commit) -> list[tuple[int, list[int], list[int]]]:
    return [
        (
            one.event,
            list(decode_ids(one.parents)) if one.parents else [],
            [flowfile.id for flowfile in one.flowfiles],
        )
        for one in record.created
    ]


def test_without_parents_a_flowfile_is_created_or_received() -> None:
    world, session, _ = _taken()
    now = int(world.clock.wall() * 1000)
    attributes = {"a": "1"}
    first = session.create(attributes, b"one", details="by hand")
    second = session.create(content=b"two", received_from="test://there")
    attributes["a"] = "changed later"

    created = _commit(world, session).created

    assert [(one.event, one.transit_uri, one.details) for one in created] == [
        (EventType.CREATE, None, "by hand"),
        (EventType.RECEIVE, "test://there", None),
    ]
    assert (first.attributes, first.size) == ({"a": "1"}, 3)
    assert second.lineage_start == second.entered == now


def test_a_batch_is_created_as_one_family() -> None:
    world, session, _ = _taken()
    made = session.create_many([{"n": "0"}, {"n": "1"}], [b"x", b""])
    made += session.create_many([{"n": "2"}])
    assert session.create_many([]) == []

    record = _commit(world, session)

    assert _families(record) == [(EventType.CREATE, [], [one.id for one in made])]
    assert [world.engine.content.read(one.claim) for one in made] == [b"x", b"", b""]
    assert [one.size for one in made] == [1, 0, 0]


@pytest.mark.parametrize("contents", [[], [b"x"], [b"x"] * 3])
def test_a_batch_needs_one_content_for_each_flowfile(contents: list[bytes]) -> None:
    world, session, _ = _taken()

    with pytest.raises(ValueError, match="is (shorter|longer) than"):
        session.create_many([{}, {}], contents)
    assert (session.created, session.open) == ({}, {})
    session.commit()
    assert world.live() == {}


def test_a_child_inherits_from_its_parent() -> None:
    world, session, (parent,) = _taken(b"parent")
    session.put(parent, {"kept": "yes"})
    children = [session.create({"child": str(n)}, b"part", parents=parent) for n in range(2)]
    bare = session.create(parents=parent)

    record = _commit(world, session)

    assert _families(record) == [
        (EventType.FORK, [parent.id], [children[0].id, children[1].id, bare.id])
    ]
    assert children[1].attributes == {"n": "0", "kept": "yes", "child": "1"}
    assert bare.attributes == {"n": "0", "kept": "yes"}
    assert (bare.claim, bare.size) == (None, 0)
    assert bare.lineage_start == parent.lineage_start == parent.entered
    assert bare.entered == parent.entered + 3_600_000


def test_a_batch_of_children_is_as_children_one_by_one() -> None:
    world, session, (parent,) = _taken(b"parent")
    session.put(parent, {"kept": "yes"})
    parts = session.create_many([{"part": "0"}, {"part": "1"}], [b"a", b"b"], parent=parent)
    single = session.create({"part": "2"}, b"c", parents=parent)

    record = _commit(world, session)

    assert _families(record) == [
        (EventType.FORK, [parent.id], [parts[0].id, parts[1].id, single.id])
    ]
    for number, one in enumerate([*parts, single]):
        assert one.attributes == {"n": "0", "kept": "yes", "part": str(number)}
        assert (one.lineage_start, one.entered) == (single.lineage_start, single.entered)
    session.commit()
    with pytest.raises(SessionError, match="is not in this session"):
        session.create_many([{}], parent=parent)


def test_children_of_different_parents_or_details_are_different_families() -> None:
    world, session, (first, second) = _taken(b"1", b"2")
    one = session.create(parents=first)
    two = session.create(parents=second)
    three = session.create(parents=second, details="odd")

    record = _commit(world, session)

    assert _families(record) == [
        (EventType.FORK, [first.id], [one.id]),
        (EventType.FORK, [second.id], [two.id]),
        (EventType.FORK, [second.id], [three.id]),
    ]
    assert [family.details for family in record.created] == [None, None, "odd"]


def test_what_is_joined_has_what_its_parents_share() -> None:
    world, session, parents = _taken(b"1", b"2", b"3")
    session.put_all(parents, {"same": "yes", "other": "x"})
    session.put(parents[2], {"other": "y"})
    joined = session.create({"joined": "3"}, b"123", parents=parents)
    again = session.create(content=b"123", parents=parents)

    record = _commit(world, session)

    ids = [one.id for one in parents]
    # Two joins of the same parents are two events: a join has one child.
    assert _families(record) == [
        (EventType.JOIN, ids, [joined.id]),
        (EventType.JOIN, ids, [again.id]),
    ]
    assert joined.attributes == {"same": "yes", "joined": "3"}
    assert joined.lineage_start == parents[0].lineage_start


def test_a_clone_shares_content_and_attributes() -> None:
    world, session, parents = _taken(b"1", b"2")
    clones = [session.clone(parent) for parent in (parents[0], parents[1], parents[0])]

    record = _commit(world, session)

    assert _families(record) == [
        (
            EventType.CLONE,
            [parents[0].id, parents[1].id, parents[0].id],
            [one.id for one in clones],
        )
    ]
    assert [one.claim for one in clones] == [parents[0].claim, parents[1].claim, parents[0].claim]
    held = [world.engine.content.references.holders(one.segment)
            for one in world.engine.content.statistics()]  # fmt: skip
    assert sum(references for references, _ in held) == 5


@pytest.mark.parametrize(
    ("offset", "length", "expected", "event"),
    [
        (0, None, b"0123456789", EventType.CLONE),
        (0, 10, b"0123456789", EventType.CLONE),
        (3, 4, b"3456", EventType.FORK),
        (7, None, b"789", EventType.FORK),
        (10, None, b"", EventType.FORK),
        (4, 0, b"", EventType.FORK),
    ],
)
def test_a_slice_is_a_fork_that_shares_the_bytes(
    offset: int, length: int | None, expected: bytes, event: EventType
) -> None:
    world, session, (parent,) = _taken(b"0123456789")
    slice = session.clone(parent, offset, length)

    assert session.read(slice) == expected
    assert slice.size == len(expected)
    assert _families(_commit(world, session)) == [(event, [parent.id], [slice.id])]


@pytest.mark.parametrize(("offset", "length"), [(8, 4), (-1, 2), (0, -1), (11, 0), (11, None)])
def test_a_slice_outside_the_content_is_refused(offset: int, length: int | None) -> None:
    _, session, (parent,) = _taken(b"0123456789")
    shown = 10 - offset if length is None else length

    with pytest.raises(SessionError) as raised:
        session.clone(parent, offset, length)
    uuid = session.uuid(parent)
    assert str(raised.value) == (
        f"flowfile {uuid} ('{uuid}') has 10 bytes; a slice of {shown} bytes at {offset} is not "
        "inside"
    )
    assert session.families == ()


def test_children_of_what_was_created_here_are_recorded_in_their_final_version() -> None:
    world, session, _ = _taken()
    parent = session.create({"a": "1"}, b"parent")
    child = session.write(session.create({"b": "2"}, parents=parent), b"rewritten")
    session.put(child, {"b": None, "c": "3"})

    record = _commit(world, session)

    assert (record.changed, record.rewritten) == ([], [])
    final = record.created[1].flowfiles[0]
    assert (final.id, final.attributes, final.size) == (child.id, {"a": "1", "c": "3"}, 9)
    assert world.engine.content.read(final.claim) == b"rewritten"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"attributes": {"n": 5}}, r"attribute 'n' must be text, not 5: give it as str\(\.\.\.\)"),
        ({"attributes": {"n": None}}, "attribute 'n' must be text, not None: give it as .+"),
        ({"attributes": {5: "n"}}, "an attribute's name must be text, not 5: give it as .+"),
        ({"details": 5}, "details must be text, not 5: give it as .+"),
        ({"received_from": 5}, "the transit URI must be text, not 5: give it as .+"),
    ],
)
def test_what_the_log_could_not_be_read_back_with_is_refused(
    wrong: dict[str, Any], words: str
) -> None:
    world, session, (parent,) = _taken(b"1")

    with pytest.raises(TypeError, match=f"^{words}$"):
        session.create(**wrong)
    if "received_from" not in wrong:
        with pytest.raises(TypeError, match=f"^{words}$"):
            session.create(parents=parent, **wrong)
        with pytest.raises(TypeError, match=f"^{words}$"):
            session.create(parents=[parent, parent], **wrong)
    if "attributes" in wrong:
        with pytest.raises(TypeError, match=f"^{words}$"):
            session.create_many([{"n": "0"}, wrong["attributes"]])

    assert session.open.keys() == {parent.id}
    assert _families(_commit(world, session)) == []
