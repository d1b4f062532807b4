"""Telling verbs: state, keyed state and counters take effect with the commit or not at all."""

from collections.abc import Callable
from typing import Any

import pytest

from runtime.commit import EventType, decode
from runtime.creation import SessionError
from runtime.model import ProcessorModel
from runtime.reporting import STATE_BYTES_MAX
from runtime.session import Session
from tests.engine_world import World


def _world() -> World:
    return World((ProcessorModel(id=1, name="a", type="Step"),), ())


def test_state_is_seen_by_its_session_at_once_and_by_others_after_the_commit() -> None:
    world = _world()
    one, other = world.open(1), world.open(1)
    one.set_state({"at": "1"})
    one.set_key("k", b"v")
    one.count("lines", 2)
    one.count("lines")
    assert (one.state, one.key("k")) == ({"at": "1"}, b"v")
    assert (other.state, other.key("k")) == ({}, None)

    one.commit()

    assert (other.state, other.key("k")) == ({"at": "1"}, b"v")
    record = decode(world.records[-1])
    assert (record.state, record.keyed) == ({"at": "1"}, {"k": b"v"})
    assert record.counters == world.engine.counters == {"lines": 3}


def test_a_rollback_forgets_what_was_told() -> None:
    world = _world()
    session = world.open(1)
    session.set_state({"at": "1"})
    session.set_key("k", b"v")
    session.count("lines")

    session.rollback()
    session.commit()

    assert (session.state, session.key("k"), world.records) == ({}, None, [])


def test_a_removed_key_is_gone_for_the_session_at_once() -> None:
    world = _world()
    world.attempt(1, lambda session: session.set_key("k", b"v"))
    session = world.open(1)

    session.set_key("k", None)

    assert session.key("k") is None
    assert world.open(1).key("k") == b"v"


def test_small_state_ends_at_its_bytes_not_its_letters() -> None:
    session = _world().open(1)
    session.set_state({"k": "x" * (STATE_BYTES_MAX - 1)})

    with pytest.raises(SessionError) as raised:
        session.set_state({"k": "ü" * (STATE_BYTES_MAX // 2)})
    assert str(raised.value) == (
        "The state of a would have 65,537 bytes; small state ends at 65,536. Keep single keys "
        "with set_key"
    )
    assert session.state["k"] == "x" * (STATE_BYTES_MAX - 1)


Wrong = Callable[[Session, Any], Any]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda session, flowfile: session.set_state({"n": 5}),
         r"state 'n' must be text, not 5: give it as str\(\.\.\.\)"),
        (lambda session, flowfile: session.set_state({5: "n"}),
         r"a key of the state must be text, not 5: give it as str\(\.\.\.\)"),
        (lambda session, flowfile: session.set_key("k", "v"),
         r"state 'k' must be bytes, or None to remove it, not 'v'"),
        (lambda session, flowfile: session.set_key(5, b"v"),
         r"a key of the state must be text, not 5: give it as str\(\.\.\.\)"),
        (lambda session, flowfile: session.count("lines", 1.5),
         r"the step of counter 'lines' must be a whole number, not 1\.5"),
        (lambda session, flowfile: session.count(5),
         r"a counter's name must be text, not 5: give it as str\(\.\.\.\)"),
        (lambda session, flowfile: session.report(4, flowfile),
         r"the event must be one of EventType, not 4"),
        (lambda session, flowfile: session.sent(flowfile, 5),
         r"the transit URI must be text, not 5: give it as str\(\.\.\.\)"),
        (lambda session, flowfile: session.report(EventType.ADDINFO, flowfile, details=5),
         r"details must be text, not 5: give it as str\(\.\.\.\)"),
        (lambda session, flowfile: session.drop(flowfile, 5),
         r"details must be text, not 5: give it as str\(\.\.\.\)"),
        (lambda session, flowfile: session.put(flowfile, {"n": 5}),
         r"attribute 'n' must be text, not 5: give it as str\(\.\.\.\)"),
        (lambda session, flowfile: session.put_all([flowfile], {"n": None}),
         r"attribute 'n' must be text, not None: give it as str\(\.\.\.\)"),
        (lambda session, flowfile: session.put_each([flowfile], [{"n": 5}]),
         r"attribute 'n' must be text, not 5: give it as str\(\.\.\.\)"),
    ],
)  # fmt: skip
def test_what_the_log_could_not_be_read_back_with_is_refused_where_it_is_given(
    wrong: Wrong, words: str
) -> None:
    world = _world()
    session = world.open(1)
    flowfile = session.create()

    with pytest.raises(TypeError, match=f"^{words}$"):
        wrong(session, flowfile)

    # A processor that goes on regardless leaves a log that can be read.
    session.transfer(flowfile, "success")
    session.commit()
    assert world.fold().sequence == 1
