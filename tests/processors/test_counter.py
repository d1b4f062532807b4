import pytest

from processors.counter import UpdateCounter
from runtime.expression import ExpressionError
from runtime.properties import Problem
from runtime.testing import TestRunner, check_processor


def test_processor_keeps_the_rules():
    check_processor(UpdateCounter)


def test_each_flowfile_adds_one_and_goes_on_unchanged():
    runner = TestRunner(UpdateCounter, {"Counter Name": "seen"})
    first = runner.enqueue(b"\xff\x00", city="Porto")
    runner.enqueue()

    runner.run_until_idle()

    assert runner.counters == {"seen": 2}
    found = runner.flowfiles("success")
    assert found[0].flowfile == first
    assert (found[0].content, found[1].content) == (b"\xff\x00", b"")


def test_name_and_delta_are_made_of_attributes():
    runner = TestRunner(UpdateCounter, {"Counter Name": "from ${city}", "Delta": "${change}"})
    for city, change in (("Porto", "2"), ("Faro", "-3"), ("Porto", " +5 ")):
        runner.enqueue(city=city, change=change)

    runner.run_until_idle()

    assert runner.counters == {"from Porto": 7, "from Faro": -3}


def test_large_batches_are_counted_in_one_commit_each():
    runner = TestRunner(UpdateCounter, {"Counter Name": "seen", "Delta": "2"})
    for _ in range(1500):
        runner.enqueue()
    before = len(runner.commits)

    runner.run(2)

    assert runner.counters == {"seen": 3000}
    assert len(runner.commits) - before == 2
    assert runner.queued == 0


def test_crash_takes_neither_more_nor_less_than_the_flowfiles():
    runner = TestRunner(UpdateCounter, {"Counter Name": "seen"})
    runner.enqueue(number="1")
    runner.run()
    runner.enqueue(number="2")

    runner.crash()
    runner.run_until_idle()

    counted = [record.counters for record in runner.commits if record.counters]
    assert counted == [{"seen": 1}, {"seen": 1}]
    numbers = [one.attributes["number"] for one in runner.flowfiles("success")]
    assert numbers == ["1", "2"]


@pytest.mark.parametrize("delta", ["", "many", "1.5", "1" * 40, "9" * 16, "٣"])
def test_bad_delta_holds_up_nobody_else_and_says_what_is_allowed(delta):
    runner = TestRunner(UpdateCounter, {"Counter Name": "seen", "Delta": "${change}"})
    runner.enqueue(change="1")
    runner.enqueue(change=delta)
    runner.enqueue(change="1")

    with pytest.raises(ExpressionError) as caught:
        runner.run()

    assert str(caught.value) == (
        f"The delta '${{change}}' is '{delta}'; it must be a whole number, at most "
        "1,000,000,000,000,000"
    )
    assert runner.counters == {"seen": 1}
    assert len(runner.flowfiles("success")) == 1
    assert runner.queued == 2


def test_flowfile_without_a_name_for_its_counter_is_not_counted():
    runner = TestRunner(UpdateCounter, {"Counter Name": "${city}"})
    runner.enqueue()

    with pytest.raises(ExpressionError, match=r"'\$\{city\}', is empty for this flowfile"):
        runner.run()

    assert runner.counters == {}
    assert runner.queued == 1


@pytest.mark.parametrize(
    ("properties", "problem"),
    [
        ({}, Problem("Counter Name", "is not set; it is required")),
        (
            {"Counter Name": " "},
            Problem("Counter Name", "is empty; it must be the name of a counter"),
        ),
        (
            {"Counter Name": "seen", "Delta": "two"},
            Problem(
                "Delta", "is 'two'; it must be a whole number, at most 1,000,000,000,000,000"
            ),
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(properties, problem):
    assert TestRunner(UpdateCounter, properties).problems == [problem]


def test_names_of_older_flows_are_understood():
    runner = TestRunner(UpdateCounter, {"counter-name": "seen", "delta": "3"})
    runner.enqueue()

    runner.run()

    assert runner.counters == {"seen": 3}
