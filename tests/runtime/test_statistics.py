"""Totals since start and of the last five minutes, against a list of what happened."""

from hypothesis import given
from hypothesis import strategies as st

from runtime.statistics import SAMPLE_SECONDS, WINDOW_SECONDS, Statistics, Totals


def test_the_window_forgets_and_the_totals_do_not() -> None:
    statistics = Statistics()
    statistics.touch(0.0).in_count += 5
    statistics.touch(200.0).in_count += 7

    assert statistics.recent(200.0).in_count == 12
    assert statistics.recent(400.0).in_count == 7
    assert statistics.recent(600.0).in_count == 0
    assert statistics.totals.in_count == 12


def test_what_came_long_before_a_pause_does_not_come_back_after_it() -> None:
    statistics = Statistics()
    statistics.touch(0.0).in_count += 5
    statistics.touch(9.0).in_count += 5
    statistics.touch(995.0).in_count += 1
    assert statistics.recent(1000.0).in_count == 1


def test_a_snapshot_does_not_move_on() -> None:
    totals = Totals(in_count=3, task_seconds=0.5)
    before = totals.copy()
    totals.in_count += 4
    assert (before.in_count, totals.minus(before)) == (3, Totals(in_count=4))


def test_nothing_happened_is_all_zeros() -> None:
    assert Statistics().recent(10.0) == Totals()


@given(st.lists(st.tuples(st.floats(0, 400), st.integers(1, 9)), max_size=30), st.floats(0, 700))
def test_the_last_five_minutes_are_right_to_ten_seconds(
    steps: list[tuple[float, int]], later: float
) -> None:
    statistics = Statistics()
    now, events = 1000.0, []
    for pause, count in steps:
        now += pause
        statistics.touch(now).out_count += count
        events.append((now, count))
    now += later

    found = statistics.recent(now).out_count

    surely = sum(count for at, count in events if at > now - WINDOW_SECONDS + SAMPLE_SECONDS)
    perhaps = sum(count for at, count in events if at > now - WINDOW_SECONDS - SAMPLE_SECONDS)
    assert surely <= found <= perhaps


def test_a_busy_component_keeps_few_samples() -> None:
    statistics = Statistics()
    for tenth in range(20_000):
        statistics.touch(tenth / 10).tasks += 1
    assert len(statistics._samples) <= WINDOW_SECONDS / SAMPLE_SECONDS + 2
