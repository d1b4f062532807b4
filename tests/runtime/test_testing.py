"""The tool with which processors are tested, tested."""

import pytest

from runtime.commit import EventType
from runtime.processor import ControllerService, Input, Processor, Relationship
from runtime.properties import Properties as PropertiesOf
from runtime.properties import Property, Service
from runtime.session import Session
from runtime.testing import TestRunner, check_processor


class Dictionary(ControllerService):
    """Knows a word."""

    class Properties(PropertiesOf):
        word: str = Property("hello", description="The word.")

    properties: Properties


class Speak(Processor):
    """Write a word; some contents go wrong."""

    class Properties(PropertiesOf):
        count: int = Property(1, ge=1, description="How many times.")

    properties: Properties
    batch_size = 10
    success = Relationship("Spoken.")
    failure = Relationship("Not spoken.")

    def on_trigger(self, session: Session) -> None:
        for flowfile in session.take():
            content = session.read(flowfile)
            if content == b"raise":
                raise ValueError("not to be spoken")
            if content == b"fail":
                session.transfer(flowfile, self.failure, reason=ValueError("a bad word"))
                continue
            session.count("spoken", self.properties.count)
            session.set_state({"last": content.decode()})
            written = session.write(flowfile, content * self.properties.count)
            session.transfer(session.put(written, {"spoken": "yes"}), self.success)


class Asynchronous(Processor):
    """Pass flowfiles on from an event loop."""

    success = Relationship("All.")

    async def on_trigger(self, session: Session) -> None:
        session.transfer(session.take(), self.success)


class Source(Processor):
    """Create one flowfile each time."""

    input = Input.FORBIDDEN
    success = Relationship("The flowfile.")

    def on_trigger(self, session: Session) -> None:
        session.transfer(session.create(content=b"new"), self.success)


class Endless(Processor):
    """Send everything round."""

    input = Input.FORBIDDEN
    success = Relationship("More and more.")
    on_trigger = Source.on_trigger


class Asking(Processor):
    """Write the word of a dictionary."""

    class Properties(PropertiesOf):
        dictionary: Service[Dictionary] = Property(..., description="Where the word is.")

    properties: Properties
    success = Relationship("The word.")

    def on_trigger(self, session: Session) -> None:
        word = self.properties.dictionary.get().properties.word
        for flowfile in session.take():
            session.transfer(session.write(flowfile, word.encode()), self.success)


def test_a_flowfile_goes_in_and_comes_out_with_attributes_and_content() -> None:
    runner = TestRunner(Speak, {"Count": "2"})
    runner.enqueue(b"ha", {"a": "1"}, b="2")
    runner.run()

    result = runner.one("success")

    assert result.content == b"haha"
    assert {"a": "1", "b": "2", "spoken": "yes", "uuid": result.uuid}.items() <= (
        result.attributes.items()
    )
    assert (runner.queued, runner.counters, runner.state) == (0, {"spoken": 2}, {"last": "ha"})
    runner.assert_empty("failure")


def test_a_failure_has_its_reason() -> None:
    runner = TestRunner(Speak)
    runner.enqueue(b"fail")
    runner.run()

    reason = runner.one("failure").reason

    assert reason is not None and (reason.kind, reason.message) == ("ValueError", "a bad word")


def test_an_exception_reaches_the_test_after_the_roll_back() -> None:
    runner = TestRunner(Speak)
    runner.enqueue(b"raise")

    with pytest.raises(ValueError, match="^not to be spoken$"):
        runner.run()

    assert runner.queued == 1
    runner.assert_empty("success", "failure")


def test_a_penalized_flowfile_comes_back_when_time_has_passed() -> None:
    runner = TestRunner(Speak)
    runner.enqueue(b"raise")
    with pytest.raises(ValueError, match="spoken"):
        runner.run()
    runner.run()
    runner.advance(31)

    with pytest.raises(ValueError, match="spoken"):
        runner.run()


def test_problems_are_listed_and_a_start_is_refused() -> None:
    runner = TestRunner(Speak, {"Count": "0"})

    [problem] = runner.problems

    assert problem.property == "Count" and "'0'" in problem.message
    with pytest.raises(AssertionError, match="Count"):
        runner.run()
    assert TestRunner(Speak, {"Count": "1"}).problems == []


def test_a_relationship_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(AssertionError, match="^there is no relationship 'succes'; there are: "
                       "success, failure$"):  # fmt: skip
        TestRunner(Speak).flowfiles("succes")


def test_one_flowfile_means_one() -> None:
    runner = TestRunner(Speak)
    with pytest.raises(AssertionError, match="'success' has 0 flowfiles, not 1"):
        runner.one("success")
    for _ in range(2):
        runner.enqueue(b"x")
    runner.run_until_idle()

    with pytest.raises(AssertionError, match="'success' has 2 flowfiles, not 1"):
        runner.one("success")
    with pytest.raises(AssertionError, match="'success' has .*content=b'x'"):
        runner.assert_empty("failure", "success")


def test_running_until_idle_empties_the_queue() -> None:
    runner = TestRunner(Speak)
    for number in range(25):
        runner.enqueue(b"%d" % number)

    runner.run_until_idle()

    contents = [one.content for one in runner.flowfiles("success")]
    assert contents == [b"%d" % number for number in range(25)]


def test_a_processor_that_never_rests_is_named() -> None:
    with pytest.raises(AssertionError, match="^Endless is not idle after 3 triggers$"):
        TestRunner(Endless).run_until_idle(3)


def test_what_was_committed_survives_a_crash_and_the_queue_too() -> None:
    runner = TestRunner(Speak)
    runner.enqueue(b"first")
    runner.run()
    runner.enqueue(b"second")

    runner.crash()

    assert runner.one("success").content == b"first"
    assert (runner.queued, runner.state) == (1, {"last": "first"})
    runner.run()
    assert [one.content for one in runner.flowfiles("success")] == [b"first", b"second"]


def test_what_was_not_synced_is_gone_after_a_crash() -> None:
    runner = TestRunner(Speak)
    runner.enqueue(b"word")
    runner.start()
    runner._trigger()

    runner.crash()

    runner.assert_empty("success")
    assert (runner.queued, runner.state) == (1, {})


def test_a_coroutine_is_run_on_a_loop() -> None:
    runner = TestRunner(Asynchronous)
    runner.enqueue(b"x")
    runner.run()

    assert runner.one("success").content == b"x"
    runner.close()


def test_a_source_takes_no_input_and_its_births_are_reported() -> None:
    runner = TestRunner(Source)
    runner.run(2)

    assert [one.content for one in runner.flowfiles("success")] == [b"new"] * 2
    assert runner.reported == [(EventType.CREATE, None, None)] * 2


def test_a_service_is_enabled_while_the_processor_runs() -> None:
    services = {"words": (Dictionary, {"Word": "salut"})}
    runner = TestRunner(Asking, {"Dictionary": "words"}, services=services)
    runner.enqueue(b"")
    runner.run()

    assert runner.one("success").content == b"salut"
    runner.stop()


def test_the_conformance_suite_passes_what_keeps_the_rules() -> None:
    check_processor(Speak)
