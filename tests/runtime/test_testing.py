"""The harness itself: it judges what it shows, and a crash in it is a crash."""

import pytest

from runtime.commit import EventType
from runtime.memory_disk import MemoryDisk
from runtime.processor import ControllerService, Effects, Input, Processor, Relationship
from runtime.properties import Problem, Properties, Property, Service
from runtime.session import Session
from runtime.testing import TestRunner


class Ledger(ControllerService):
    """Keeps accounts."""

    class Properties(Properties):
        currency: str = Property("EUR", description="Which one.")

    is_enabled = False

    def enable(self) -> None:
        self.is_enabled = True

    def disable(self) -> None:
        self.is_enabled = False


class Count(Processor):
    """Numbers what comes, and asks a service."""

    class Properties(Properties):
        ledger: Service[Ledger] | None = Property(None, description="The accounts.")
        step: int = Property(1, ge=1, description="By how much.")

    effects = Effects.PURE
    success = Relationship("All.")
    poison = Relationship("What nobody wants.")
    batch_size = 2

    def on_trigger(self, session: Session) -> None:
        number = int(session.state.get("number", "0"))
        flowfiles = session.take()
        if not flowfiles:
            return
        for flowfile in flowfiles:
            if session.read(flowfile) == b"bad":
                raise ValueError("a bad one")
            if session.read(flowfile) == b"poison":
                session.transfer(session.penalize(flowfile), self.poison, reason="poisoned")
                continue
            number += self.properties.step
            currency = self.properties.ledger.get().properties.currency if (
                self.properties.ledger
            ) else "none"  # fmt: skip
            numbered = session.put(flowfile, {"number": str(number), "currency": currency})
            session.transfer(numbered, self.success)
        session.set_state({"number": str(number)})
        session.count("triggers")


def test_what_leaves_is_shown_by_relationship_and_in_order() -> None:
    runner = TestRunner(Count, {"Step": "10"})
    for content in (b"a", b"b", b"c"):
        runner.enqueue(content)
    runner.run_until_idle()

    found = runner.flowfiles("success")
    assert [(one.content, one.attributes["number"]) for one in found] == [
        (b"a", "10"), (b"b", "20"), (b"c", "30"),
    ]  # fmt: skip
    assert len({one.uuid for one in found}) == 3
    assert (runner.queued, runner.state) == (0, {"number": "30"})
    assert runner.counters["triggers"] >= 2
    runner.assert_empty("poison")


def test_a_trigger_is_offered_a_batch() -> None:
    runner = TestRunner(Count)
    for content in (b"a", b"b", b"c"):
        runner.enqueue(content)
    runner.run()
    assert (runner.queued, len(runner.flowfiles("success"))) == (1, 2)


def test_a_penalized_result_says_so_and_why() -> None:
    runner = TestRunner(Count)
    runner.enqueue(b"poison")
    runner.run()
    found = runner.one("poison")
    assert found.penalized
    assert found.reason is not None
    assert found.reason.message == "poisoned"


def test_an_exception_propagates_after_the_roll_back() -> None:
    runner = TestRunner(Count)
    runner.enqueue(b"bad")
    with pytest.raises(ValueError, match="a bad one"):
        runner.run()
    assert (runner.queued, runner.state) == (1, {})

    runner.run()  # It waits for its penalty.
    assert runner.queued == 1
    runner.advance(30)
    with pytest.raises(ValueError, match="a bad one"):
        runner.run()


def test_problems_of_the_configuration_are_shown() -> None:
    runner = TestRunner(Count, {"Step": "0"})
    assert runner.problems == [Problem("Step", "is '0'; it must be at least 1")]
    with pytest.raises(AssertionError, match="it must be at least 1"):
        runner.start()


def test_a_service_is_enabled_before_the_start_and_disabled_after_the_stop() -> None:
    runner = TestRunner(
        Count, {"Ledger": "books"}, services={"books": (Ledger, {"Currency": "NOK"})}
    )
    runner.enqueue(b"a")
    runner.run()
    service = runner.processor.properties.ledger.get()
    assert (runner.one("success").attributes["currency"], service.is_enabled) == ("NOK", True)

    runner.stop()
    assert not service.is_enabled


def test_a_service_that_is_not_there_is_named() -> None:
    runner = TestRunner(Count, {"Ledger": "books"})
    runner.enqueue(b"a")
    with pytest.raises(LookupError) as raised:
        runner.run()
    assert str(raised.value) == "controller service 'books' is not enabled"


def test_parameters_reach_the_properties() -> None:
    runner = TestRunner(Count, {"Step": "#{step}"}, parameters={"step": "7"})
    runner.enqueue(b"a")
    runner.run()
    assert runner.state == {"number": "7"}


def test_after_a_crash_state_queues_and_results_are_those_that_were_durable() -> None:
    runner = TestRunner(Count)
    for content in (b"a", b"b", b"c"):
        runner.enqueue(content)
    runner.run()
    ids = [one.uuid for one in runner.flowfiles("success")]

    runner.crash()

    assert [one.uuid for one in runner.flowfiles("success")] == ids
    assert (runner.queued, runner.state) == (1, {"number": "2"})
    runner.run()
    assert [one.attributes["number"] for one in runner.flowfiles("success")] == ["1", "2", "3"]


def test_what_was_not_synced_is_lost_in_a_crash() -> None:
    runner = TestRunner(Count)
    runner.enqueue(b"a")
    session = runner.engine.open_session(runner.component)
    session.transfer(session.take(), "success")
    session.commit()
    assert len(runner.flowfiles("success")) == 1
    assert isinstance(runner.disk, MemoryDisk)

    lost = TestRunner(Count)
    lost.enqueue(b"a")
    session = lost.engine.open_session(lost.component)
    session.transfer(session.take(), "success")
    session.commit()
    lost.crash()
    assert (len(lost.flowfiles("success")), lost.queued) == (0, 1)


def test_wrong_expectations_are_told_in_words() -> None:
    runner = TestRunner(Count)
    runner.enqueue(b"a")
    runner.run()
    with pytest.raises(AssertionError) as raised:
        runner.flowfiles("failure")
    assert str(raised.value) == (
        "there is no relationship 'failure'; there are: success, poison"
    )
    with pytest.raises(AssertionError, match="'poison' has 0 flowfiles, not 1"):
        runner.one("poison")
    with pytest.raises(AssertionError, match="'success' has "):
        runner.assert_empty("poison", "success")


def test_a_processor_that_never_rests_is_told() -> None:
    class Restless(Processor):
        """Makes one more each time."""

        input = Input.FORBIDDEN
        success = Relationship("All.")

        def on_trigger(self, session: Session) -> None:
            session.transfer(session.create(), self.success)

    with pytest.raises(AssertionError) as raised:
        TestRunner(Restless).run_until_idle(limit=5)
    assert str(raised.value) == "Restless is not idle after 5 triggers"


def test_provenance_that_was_reported_is_shown() -> None:
    class Send(Processor):
        """Tells where it sent something."""

        success = Relationship("All.")

        def on_trigger(self, session: Session) -> None:
            for flowfile in session.take():
                session.sent(flowfile, "https://example.org/a")
                session.transfer(flowfile, self.success)

    runner = TestRunner(Send)
    runner.enqueue(b"a")
    runner.run()
    assert runner.reported == [(EventType.SEND, "https://example.org/a", None)]


def test_bulletins_are_shown() -> None:
    class Warn(Processor):
        """Warns."""

        success = Relationship("All.")

        def on_trigger(self, session: Session) -> None:
            self.context.report("WARN", "the sea is rough")
            session.transfer(session.take(), self.success)

    runner = TestRunner(Warn)
    runner.run()
    assert [(one.level, one.source, one.message) for one in runner.bulletins] == [
        ("WARN", "Warn", "the sea is rough")
    ]


def test_async_processors_run_on_a_loop_of_their_own() -> None:
    class Later(Processor):
        """Runs on a loop."""

        success = Relationship("All.")

        async def on_trigger(self, session: Session) -> None:
            session.transfer(session.take(), self.success)

    async def answer() -> int:
        return 42

    runner = TestRunner(Later)
    try:
        runner.enqueue(b"a")
        runner.run()
        assert runner.one("success").content == b"a"
        assert runner.on_loop(answer()) == 42
    finally:
        runner.close()


def test_held_flowfiles_return_at_the_stop() -> None:
    class Hold(Processor):
        """Holds everything."""

        success = Relationship("None.")

        def on_trigger(self, session: Session) -> None:
            session.hold(session.take())

    runner = TestRunner(Hold)
    runner.enqueue(b"a")
    runner.run()
    assert (len(runner.component.held), runner.queued) == (1, 1)
    runner.stop()
    assert (len(runner.component.held), runner.component.inputs[0].available) == (0, 1)
