import uuid

from processors.fragments import Budget, next_part, shared_attributes, split_in_parts
from runtime.processor import Processor, Relationship
from runtime.testing import TestRunner


class SplitLetters(Processor):
    """Make a flowfile of every letter of an attribute."""

    batch_size = 10
    done = Relationship("Originals.")
    letters = Relationship("Letters.")
    failure = Relationship("Others.")
    settings = "first"

    def on_trigger(self, session):
        def split(flowfile, budget):
            text = session.attribute(flowfile, "text")
            shared = shared_attributes(session, flowfile, 1, len(text))
            try:
                start, part, last = next_part(
                    session, flowfile, budget, (text, shared, self.settings)
                )
            except ValueError as error:
                session.transfer(flowfile, self.failure, reason=error)
                return True
            for index, letter in enumerate(part, start):
                attributes = {"letter": letter, "index": str(index)}
                session.transfer(session.create(attributes, parents=flowfile), self.letters)
            if last:
                session.transfer(flowfile, self.done)
            return last

        split_in_parts(session, session.take(), split)


def letters(runner):
    queue = runner.outputs["letters"]
    return "".join(one.attributes["letter"] for run in queue.runs() for one in run.flowfiles)


def test_budget_grants_at_least_one_fragment_and_ends():
    budget = Budget()

    assert budget.take(3, {"a": "1"}) == 3
    assert not budget.spent
    assert budget.take(5, {"a": "x" * 1_000_000}) == 1
    assert budget.spent
    assert budget.take(0, {}) == 0


def test_flowfiles_behind_a_long_one_wait_for_their_turn():
    runner = TestRunner(SplitLetters)
    runner.enqueue(text="abc", pad="x" * 200_000)
    runner.enqueue(text="de")

    runner.run()
    assert letters(runner) == "ab"
    runner.run_until_idle()

    assert letters(runner) == "abcde"
    assert len(runner.flowfiles("done")) == 2


def test_progress_survives_a_crash():
    runner = TestRunner(SplitLetters)
    runner.enqueue(text="abcdef", pad="x" * 200_000)
    runner.run()

    runner.crash()
    runner.run_until_idle()

    assert letters(runner) == "abcdef"


def test_settings_that_change_between_two_parts_end_the_split():
    runner = TestRunner(SplitLetters)
    flowfile = runner.enqueue(text="abc", pad="x" * 200_000)
    runner.run()

    runner.processor.settings = "second"
    runner.run_until_idle()

    uuid_of_it = runner.engine.identity.uuid(flowfile.id)
    assert runner.engine.keyed.read(1, uuid_of_it) is None

    assert letters(runner) == "ab"
    assert runner.one("failure").reason.message == (
        "2 fragments were made before the settings changed, and the others would not fit to "
        "them. Drop the fragments with this fragment.identifier and split again"
    )


def test_identifier_is_a_uuid_that_repeats():
    runner = TestRunner(SplitLetters)
    flowfile = runner.enqueue(text="", filename="name")
    session = runner.engine.open_session(runner.component)
    session.take()

    first = shared_attributes(session, flowfile, 1, 2)

    assert first == shared_attributes(session, flowfile, 1, 2)
    assert (
        first["fragment.identifier"]
        != (shared_attributes(session, flowfile, 3, 2)["fragment.identifier"])
    )
    assert str(uuid.UUID(first["fragment.identifier"])) == first["fragment.identifier"]
    assert first["segment.original.filename"] == "name"
    assert first["fragment.count"] == "2"
