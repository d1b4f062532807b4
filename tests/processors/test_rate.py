import pytest

from processors.rate import ControlRate
from runtime.testing import TestRunner, check_processor

BY_COUNT = {"Rate Control Criteria": "flowfile count", "Time Duration": "10 sec"}


def test_it_conforms() -> None:
    check_processor(ControlRate)


def test_no_more_than_the_maximum_passes_in_a_window() -> None:
    runner = TestRunner(ControlRate, {**BY_COUNT, "Maximum Rate": "3"})
    for number in range(8):
        runner.enqueue(str(number).encode())

    passed = []
    for _ in range(3):
        runner.run(3)
        passed.append(len(runner.flowfiles("success")))
        runner.advance(10)

    assert passed == [3, 6, 8]
    assert b"".join(one.content for one in runner.flowfiles("success")) == b"01234567"


def test_nothing_passes_before_the_window_ends() -> None:
    runner = TestRunner(ControlRate, {**BY_COUNT, "Maximum Rate": "1"})
    runner.enqueue(b"a")
    runner.enqueue(b"b")
    runner.run()
    runner.advance(9.99)
    runner.run()
    assert runner.queued == 1

    runner.advance(0.01)
    runner.run()

    assert runner.queued == 0


def test_an_excess_is_paid_off_by_the_windows_after_it() -> None:
    runner = TestRunner(ControlRate, {"Maximum Rate": "100 B", "Time Duration": "10 sec"})
    for size in (60, 250, 1):
        runner.enqueue(b"x" * size)
    sizes = []
    for _ in range(5):
        runner.run(2)
        sizes.append(sum(len(one.content) for one in runner.flowfiles("success")))
        runner.advance(10)

    # 310 bytes in the first window leave nothing for two more.
    assert sizes == [310, 310, 310, 311, 311]


def test_a_pause_does_not_save_up_for_a_burst() -> None:
    runner = TestRunner(ControlRate, {**BY_COUNT, "Maximum Rate": "2"})
    runner.enqueue(b"")
    runner.run()
    runner.advance(1000)
    for _ in range(5):
        runner.enqueue(b"")

    runner.run(3)

    assert len(runner.flowfiles("success")) == 3


def test_each_group_has_a_rate_of_its_own_and_keeps_its_order() -> None:
    runner = TestRunner(
        ControlRate, {**BY_COUNT, "Maximum Rate": "1", "Grouping Attribute": "team"}
    )
    for content, team in ((b"a1", "a"), (b"a2", "a"), (b"b1", "b"), (b"a3", "a")):
        runner.enqueue(content, team=team)
    runner.enqueue(b"none")

    runner.run()
    assert [one.content for one in runner.flowfiles("success")] == [b"a1", b"b1", b"none"]
    assert runner.queued == 2

    runner.advance(10)
    runner.run()
    runner.advance(10)
    runner.run()
    assert [one.content for one in runner.flowfiles("success")][3:] == [b"a2", b"a3"]


def test_attribute_values_are_added_up() -> None:
    runner = TestRunner(
        ControlRate,
        {
            "Rate Control Criteria": "attribute value",
            "Rate Controlled Attribute": "cost",
            "Maximum Rate": "10",
        },
    )
    for cost in ("4", "6", "1"):
        runner.enqueue(cost=cost)

    runner.run()

    assert len(runner.flowfiles("success")) == 2


@pytest.mark.parametrize("cost", ["", "0", "-1", "1.5", "٣", "9" * 19])
def test_an_attribute_that_is_no_positive_number_fails(cost: str) -> None:
    runner = TestRunner(
        ControlRate,
        {
            "Rate Control Criteria": "attribute value",
            "Rate Controlled Attribute": "cost",
            "Maximum Rate": "10",
        },
    )
    runner.enqueue(cost=cost)
    runner.enqueue()

    runner.run()

    reasons = [one.reason.message for one in runner.flowfiles("failure") if one.reason]
    assert reasons == [
        f"The attribute 'cost' is '{cost}'; it must be a positive whole number of at most 18 "
        "digits",
        "The attribute 'cost' is missing; it holds what counts as rate",
    ]


def test_bytes_and_flowfiles_can_both_be_limited() -> None:
    runner = TestRunner(
        ControlRate,
        {
            "Rate Control Criteria": "data rate or flowfile count",
            "Maximum Data Rate": "10 B",
            "Maximum FlowFile Rate": "3",
        },
    )
    for size in (6, 6, 6):
        runner.enqueue(b"x" * size)
    runner.run()
    assert len(runner.flowfiles("success")) == 2

    runner.advance(600)
    for _ in range(4):
        runner.enqueue()
    runner.run()
    assert len(runner.flowfiles("success")) == 5


def test_what_exceeds_the_rate_can_leave_by_its_own_way() -> None:
    strategy = {"Rate Exceeded Strategy": "Route to 'rate exceeded'"}
    runner = TestRunner(ControlRate, {**BY_COUNT, **strategy, "Maximum Rate": "2"})
    for _ in range(5):
        runner.enqueue()

    runner.run()

    assert len(runner.flowfiles("success")) == 2
    assert len(runner.flowfiles("rate exceeded")) == 3


def test_groups_that_come_no_more_take_no_memory() -> None:
    runner = TestRunner(
        ControlRate, {**BY_COUNT, "Maximum Rate": "5", "Grouping Attribute": "team"}
    )
    for number in range(50):
        runner.enqueue(team=str(number))
    runner.run()

    runner.advance(100)
    runner.run()

    assert len(runner.processor._windows) == 0


def test_a_crash_loses_nothing_that_waits() -> None:
    runner = TestRunner(ControlRate, {**BY_COUNT, "Maximum Rate": "2"})
    for number in range(4):
        runner.enqueue(str(number).encode())
    runner.run()

    runner.crash()
    runner.run()

    assert runner.queued == 0
    assert [one.content for one in runner.flowfiles("success")] == [b"0", b"1", b"2", b"3"]


@pytest.mark.parametrize(
    ("properties", "name", "message"),
    [
        ({}, "Maximum Rate", "is not set; it is required here"),
        ({"Maximum Rate": "0 B"}, "Maximum Rate", "is '0 B'; it must be more than zero"),
        (
            {"Maximum Rate": "10"},
            "Maximum Rate",
            "is '10'; it must be a size such as '512 B', '10 MB' or '1 GB'",
        ),
        (
            {**BY_COUNT, "Maximum Rate": "1 MB"},
            "Maximum Rate",
            "is '1 MB'; it must be a positive whole number, as counts are",
        ),
        (
            {"Maximum Rate": "1 MB", "Time Duration": "500 ms"},
            "Time Duration",
            "is 500 ms; it must be at least 1 sec",
        ),
    ],
)
def test_a_maximum_must_fit_what_is_counted(
    properties: dict[str, str], name: str, message: str
) -> None:
    (problem,) = TestRunner(ControlRate, properties).problems

    assert (problem.property, problem.message) == (name, message)
