"""The stored form of a commit: lists of ids, and records that other decoders read as well."""

from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

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
    decode,
    decode_ids,
    encode,
    encode_ids,
    new_claims,
)
from runtime.flowfile import NUMBER_BITS, START_BITS, Claim, FlowFile

# Differences between ids must fit into a signed number: that is half of all starts there can be.
LAST_ID = (1 << START_BITS + NUMBER_BITS - 1) - 1

ids = st.lists(st.integers(0, LAST_ID), min_size=1, max_size=20) | st.builds(
    lambda first, count: list(range(first, first + count)),
    st.integers(0, 2**60),
    st.integers(1, 2_000),
)


@given(ids)
@example([LAST_ID, 0])
@example([0, LAST_ID])
@example([1, 5, 3])  # as long as a run from the first to the last, and none
def test_ids_come_back_from_their_stored_form(numbers: list[int]) -> None:
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(encode_ids(numbers)))

    assert list(decode_ids(stored)) == numbers
    assert msgpack.unpackb(msgspec.msgpack.encode(encode_ids(numbers))) == list(stored)


def test_consecutive_ids_take_no_more_room_than_two_numbers() -> None:
    first = 5 << NUMBER_BITS

    assert encode_ids([first]) == (first, 1, None)
    assert encode_ids(list(range(first, first + 1_000))) == (first, 1_000, None)
    assert encode_ids([first, first + 2]) == (first, 2, [2])


def _records() -> list[Commit]:
    claim = Claim(2**40, 2**33, 7, 2**64 - 1)
    flowfile = FlowFile(LAST_ID, {"filename": "ümlaut", "": ""}, claim, 1, 2, 7)
    one = encode_ids([LAST_ID])
    reason = Reason("ValueError", "no such place", "step.py:12")
    return [
        Commit(0, 0),
        Commit(
            2**60, 1, 2, 2**64 - 1, 5,
            taken=[Taken(10, one)],
            created=[Created(EventType.RECEIVE, [flowfile], one, "test://there", "details")],
            changed=[Changed(one, [{"a": "1", "b": None}])],
            rewritten=[Rewritten(encode_ids([1, 9]), [claim, None])],
            routed=[Routed("success", one, [Target(20), Target(21, one)], 2**42, reason)],
            dropped=[Dropped(EventType.EXPIRE, one, "too old")],
            deferred=[Deferred(10, one, 2**42, 3, reason)],
            reported=[Reported(EventType.SEND, one, "test://there", None, 99)],
            state={"at": "1"}, keyed={"k": b"\0\xff", "gone": None}, counters={"lines": -3},
            action=Action("edit", "admin", "why", b"flow"),
        ),
    ]  # fmt: skip


def _plain(value: Any) -> Any:
    """Return what a decoder that knows nothing of the types makes of a record."""
    if isinstance(value, msgspec.Struct):
        return [_plain(getattr(value, name)) for name in value.__struct_fields__]
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return value


@pytest.mark.parametrize("record", _records())
def test_a_record_is_the_array_of_its_fields_for_any_decoder(record: Commit) -> None:
    data = encode(record)

    assert decode(data) == record
    assert msgpack.unpackb(data, strict_map_key=False) == _plain(record)


def test_a_record_of_an_earlier_release_has_fewer_fields() -> None:
    short = msgpack.packb([5, 1, 2])

    assert decode(short) == Commit(5, 1, 2)


def test_the_numbers_of_event_types_are_for_ever() -> None:
    assert {event.name: event.value for event in EventType} == {
        "CREATE": 1,
        "RECEIVE": 2,
        "FETCH": 3,
        "SEND": 4,
        "UPLOAD": 5,
        "REMOTE_INVOCATION": 6,
        "DOWNLOAD": 7,
        "DROP": 8,
        "EXPIRE": 9,
        "FORK": 10,
        "JOIN": 11,
        "CLONE": 12,
        "CONTENT_MODIFIED": 13,
        "ATTRIBUTES_MODIFIED": 14,
        "ROUTE": 15,
        "ADDINFO": 16,
        "REPLAY": 17,
    }


def test_new_claims_are_those_of_created_and_rewritten_flowfiles() -> None:
    first, second = Claim(1, 0, 5, 1), Claim(2, 0, 5, 1)
    record = Commit(
        0, 1,
        created=[Created(EventType.CREATE, [
            FlowFile(1, {}, first, 0, 0, 5), FlowFile(2, {}, None, 0, 0, 0)
        ])],
        rewritten=[Rewritten(encode_ids([3, 4]), [None, second])],
    )  # fmt: skip

    assert list(new_claims(record)) == [first, second]
