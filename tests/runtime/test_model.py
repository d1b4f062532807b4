"""The flow as data: its tree, its bytes."""

import msgspec
import pytest

from runtime.model import (
    HOLD,
    ConnectionModel,
    FlowModel,
    GroupModel,
    ProcessorModel,
    Schedule,
    decode_flow,
    empty_flow,
    encode_flow,
)

INNER = GroupModel(id=3, name="inner", processors=(ProcessorModel(id=4, name="a", type="A"),))
FLOW = FlowModel(
    root=GroupModel(
        id=1,
        name="root",
        groups=(GroupModel(id=2, name="outer", groups=(INNER,)), GroupModel(id=5, name="last")),
        connections=(ConnectionModel(id=6, source=4, destination=HOLD, relationships=("x",)),),
    ),
    revision=7,
    next_id=8,
)


def test_groups_are_walked_parents_first_in_their_order() -> None:
    assert [group.name for group in FLOW.root.walk()] == ["root", "outer", "inner", "last"]


def test_a_flow_is_read_back_from_its_bytes_as_it_was() -> None:
    assert decode_flow(encode_flow(FLOW)) == FLOW


def test_defaults_take_no_bytes() -> None:
    plain = ProcessorModel(id=1, name="a", type="A")

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(plain)) == {
        "id": 1, "name": "a", "type": "A",
    }  # fmt: skip


def test_an_empty_flow_has_its_root_group_and_the_next_id() -> None:
    flow = empty_flow("mine")

    assert (flow.name, flow.root.name, flow.revision) == ("mine", "mine", 0)
    assert flow.root.id < flow.next_id
    assert [group.id for group in flow.root.walk()] == [flow.root.id]


def test_bytes_that_mean_no_flow_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="missing required field `root`"):
        decode_flow(msgspec.msgpack.encode({"name": "x"}))


def test_a_flow_cannot_be_changed_in_place() -> None:
    with pytest.raises(AttributeError):
        FLOW.revision = 8  # type: ignore[misc]  # that is what the test asks


def test_a_schedule_knows_timer_and_cron_only() -> None:
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'often'"):
        msgspec.json.decode('{"strategy": "often"}', type=Schedule)
