import pytest

from processors.one_by_one import in_batches
from runtime.expression import ExpressionError
from runtime.processor import Processor, Relationship
from runtime.testing import TestRunner


class Picky(Processor):
    """Take everything but one kind."""

    batch_size = 10
    success = Relationship("What was taken.")

    def on_trigger(self, session):
        in_batches(session, self.step)

    def step(self, session, flowfiles):
        for flowfile in flowfiles:
            session.transfer(flowfile, self.success)
            if "bad" in flowfile.attributes:
                raise ExpressionError("is bad")


def test_without_flowfiles_nothing_is_done():
    runner = TestRunner(Picky)

    runner.run()

    runner.assert_empty("success")


def test_good_batch_is_one_commit():
    runner = TestRunner(Picky)
    for _ in range(5):
        runner.enqueue()
    before = len(runner.commits)

    runner.run()

    assert len(runner.commits) == before + 1
    assert len(runner.flowfiles("success")) == 5


def test_bad_flowfile_waits_its_penalty_alone():
    runner = TestRunner(Picky)
    good = [runner.enqueue(), runner.enqueue()]
    runner.enqueue(bad="yes")
    good.append(runner.enqueue())

    with pytest.raises(ExpressionError, match="is bad"):
        runner.run()
    runner.run()

    assert [one.flowfile for one in runner.flowfiles("success")] == good
    assert runner.queued == 1
    runner.advance(60)
    with pytest.raises(ExpressionError, match="is bad"):
        runner.run()
