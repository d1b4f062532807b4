"""Queues against a list, and what each verb promises."""

import random
from itertools import count
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runtime.flowfile import FlowFile
from runtime.model import ConnectionModel
from runtime.queue import PrioritizedQueue, Queue, Run, flowfiles_in


def _model(**changes: Any) -> ConnectionModel:
    return ConnectionModel(id=7, source=1, destination=2, **changes)


def _flowfiles(*sizes: int, first: int = 1) -> list[FlowFile]:
    return [FlowFile(first + n, {}, None, 0, 0, size) for n, size in enumerate(sizes)]


def _run(sequence: int, *sizes: int, first: int | None = None, index: int = 0) -> Run:
    flowfiles = _flowfiles(*sizes, first=sequence * 100 + index if first is None else first)
    return Run(sequence, flowfiles, sum(sizes), index=index)


def _ids(runs: list[Run]) -> list[int]:
    return [flowfile.id for run in runs for flowfile in run.flowfiles]


class _Entry:
    """What the model knows of one flowfile: its place, its state, its due time."""

    def __init__(self, flowfile: FlowFile, sequence: int, index: int) -> None:
        self.flowfile = flowfile
        self.place = (sequence, index)
        self.state = "queued"
        self.due = 0.0


class QueueMachine(RuleBasedStateMachine):
    """Every flowfile is queued, waiting or taken; the queue must agree after each step."""

    def make(self) -> Queue:
        return Queue(_model(max_count=25, max_bytes=400))

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.queue = self.make()
        self.entries: dict[int, _Entry] = {}
        self.sequence = 0
        self.now = 0.0
        self.ids = count(1)
        self.durable = 0

    def one_of(self, state: str) -> list[_Entry]:
        """Return the entries in a state, in the order of their places."""
        found = [one for one in self.entries.values() if one.state == state]
        return sorted(found, key=lambda one: one.place)

    def next_run(self, sizes: list[int], index: int = 0) -> Run:
        flowfiles = [FlowFile(next(self.ids), {}, None, size % 3, 0, size) for size in sizes]
        for offset, flowfile in enumerate(flowfiles, index):
            self.entries[flowfile.id] = _Entry(flowfile, self.sequence, offset)
        return Run(self.sequence, flowfiles, sum(sizes), index=index)

    @rule(parts=st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=9), min_size=1,
                         max_size=2))  # fmt: skip
    def put(self, parts: list[list[int]]) -> None:
        """One record puts one run or two here."""
        self.sequence += 1
        index = 0
        for sizes in parts:
            self.queue.put(self.next_run(sizes, index))
            index += len(sizes)

    @rule(size=st.just(300))
    def put_many(self, size: int) -> None:
        self.sequence += 1
        self.queue.put(self.next_run([0] * size))

    @rule(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=4), wait=st.integers(0, 5))
    def put_waiting(self, sizes: list[int], wait: int) -> None:
        self.sequence += 1
        run = self.next_run(sizes)
        for flowfile in run.flowfiles:
            self.entries[flowfile.id].state = "waiting"
            self.entries[flowfile.id].due = self.now + wait
        run.due = run.since = 1
        self.queue.put_waiting(run, self.now + wait)

    @rule(limit=st.sampled_from([1, 2, 5, 1000]))
    def take(self, limit: int) -> None:
        expected = self.one_of("queued")[:limit]
        self.expect_taken(self.queue.take(limit, None), expected)

    def expect_taken(self, runs: list[Run], expected: list[_Entry]) -> None:
        assert _ids(runs) == [one.flowfile.id for one in expected]
        for run in runs:
            assert run.size == sum(one.size for one in run.flowfiles)
            assert run.due == 0
            for index, flowfile in enumerate(run.flowfiles, run.index):
                entry = self.entries[flowfile.id]
                assert entry.place == (run.sequence, index)
                entry.state = "taken"

    def some_taken(self) -> list[_Entry]:
        taken = self.one_of("taken")
        return self.choose.sample(taken, self.choose.randint(1, len(taken))) if taken else []

    def single(self, entry: _Entry) -> Run:
        sequence, index = entry.place
        return Run(sequence, [entry.flowfile], entry.flowfile.size, index=index)

    @precondition(lambda self: self.one_of("taken"))
    @rule()
    def settle(self) -> None:
        gone = self.some_taken()
        self.queue.settle(len(gone), sum(one.flowfile.size for one in gone))
        for one in gone:
            del self.entries[one.flowfile.id]

    @precondition(lambda self: self.one_of("taken"))
    @rule()
    def give_back(self) -> None:
        """Some return to their places, in any order."""
        returned = self.some_taken()
        self.queue.give_back([self.single(one) for one in returned])
        for one in returned:
            one.state = "queued"

    @precondition(lambda self: self.one_of("taken"))
    @rule(wait=st.integers(0, 5))
    def give_back_waiting(self, wait: int) -> None:
        self.sequence += 1
        for index, one in enumerate(self.some_taken()):
            one.state, one.due, one.place = "waiting", self.now + wait, (self.sequence, index)
            self.queue.give_back_waiting(self.single(one), one.due)

    @rule(seconds=st.integers(0, 4))
    def let_time_pass(self, seconds: int) -> None:
        self.now += seconds
        due = [one for one in self.one_of("waiting") if one.due <= self.now]
        assert self.queue.admit_due(self.now) == bool(due)
        placed = {
            flowfile.id: (run.sequence, index)
            for run in self.queue.runs()
            for index, flowfile in enumerate(run.flowfiles, run.index)
        }
        before = self.one_of("queued")
        for one in due:
            one.state, one.place = "queued", placed[one.flowfile.id]
        # Behind all that was here.
        assert not before or all(one.place > before[-1].place for one in due)

    @rule()
    def clear(self) -> None:
        expected = [one.flowfile.id for one in self.one_of("queued") + self.one_of("waiting")]
        removed = _ids(self.queue.clear())
        assert sorted(removed) == sorted(expected)
        for id in removed:
            del self.entries[id]

    @invariant()
    def counts_agree(self) -> None:
        entries = [one.flowfile for one in self.entries.values()]
        queue = self.queue
        assert queue.count == len(entries)
        assert queue.size == sum(flowfile.size for flowfile in entries)
        assert queue.available == len(self.one_of("queued"))
        assert queue.is_full == (len(entries) >= 25 or queue.size >= 400)
        assert queue.is_ready(None) == bool(self.one_of("queued"))

    @invariant()
    def all_that_lies_here_is_listed(self) -> None:
        listed = [flowfile.id for flowfile in flowfiles_in(self.queue)]
        waiting = {one.flowfile.id for one in self.one_of("waiting")}
        assert set(listed[len(listed) - len(waiting) :]) == waiting
        self.expect_listed(listed[: len(listed) - len(waiting)])

    def expect_listed(self, listed: list[int]) -> None:
        assert listed == [one.flowfile.id for one in self.one_of("queued")]


class PrioritizedQueueMachine(QueueMachine):
    """The same verbs; what is taken is the least by its key, equal ones by their places."""

    def make(self) -> Queue:
        return PrioritizedQueue(
            _model(max_count=25, max_bytes=400), lambda one, sequence, index: one.lineage_start
        )

    def one_of(self, state: str) -> list[_Entry]:
        found = super().one_of(state)
        if state == "queued":
            found.sort(key=lambda one: one.flowfile.lineage_start)
        return found

    def take(self, limit: int) -> None:
        """Replaced by the rule below."""

    @rule(limit=st.sampled_from([1, 2, 5, 1000]))
    def take_the_least(self, limit: int) -> None:
        expected = [one.flowfile.lineage_start for one in self.one_of("queued")[:limit]]
        runs = self.queue.take(limit, None)
        taken = [flowfile for run in runs for flowfile in run.flowfiles]
        assert [flowfile.lineage_start for flowfile in taken] == expected
        self.expect_taken(runs, [self.entries[flowfile.id] for flowfile in taken])

    @rule(seconds=st.integers(0, 4))
    def let_time_pass(self, seconds: int) -> None:
        self.now += seconds
        due = [one for one in self.one_of("waiting") if one.due <= self.now]
        assert self.queue.admit_due(self.now) == bool(due)
        for run in self.queue.runs():
            for index, flowfile in enumerate(run.flowfiles, run.index):
                entry = self.entries[flowfile.id]
                entry.place = (run.sequence, index)
        for one in due:
            one.state = "queued"

    def expect_listed(self, listed: list[int]) -> None:
        keys = [self.entries[id].flowfile.lineage_start for id in listed]
        assert keys == [one.flowfile.lineage_start for one in self.one_of("queued")]
        assert set(listed) == {one.flowfile.id for one in self.one_of("queued")}


QueueMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
PrioritizedQueueMachine.TestCase.settings = QueueMachine.TestCase.settings
TestQueue = QueueMachine.TestCase
TestPrioritizedQueue = PrioritizedQueueMachine.TestCase


def test_what_is_not_durable_is_not_offered_and_holds_up_what_is_behind() -> None:
    queue = Queue(_model())
    for sequence in (3, 5, 9):
        queue.put(_run(sequence, 1, 1))

    assert not queue.is_ready(2)
    assert queue.is_ready(3)
    assert _ids(queue.take(10, 5)) == [300, 301, 500, 501]
    assert queue.take(10, 8) == []
    assert _ids(queue.take(10, None)) == [900, 901]


def test_the_least_of_the_durable_ones_is_next() -> None:
    queue = PrioritizedQueue(_model(), lambda one, sequence, index: -one.id)
    queue.put(_run(3, 1, 1))
    queue.put(_run(9, 1))

    assert not queue.is_ready(2)
    assert _ids(queue.take(10, 8)) == [301, 300]
    assert not queue.is_ready(8)
    assert _ids(queue.take(10, 9)) == [900]


def test_flowfiles_of_equal_key_and_place_do_not_confuse_the_order() -> None:
    """Places can meet when waiting flowfiles re-enter behind a run that is partly taken."""
    queue = PrioritizedQueue(_model(), lambda one, sequence, index: 0)
    queue.put(_run(3, 1, first=30))
    queue.put(_run(3, 1, first=10))
    queue.put(_run(3, 1, first=20))

    assert _ids(queue.runs()) == _ids(queue.take(3, None)) == [10, 20, 30]


@pytest.mark.parametrize(
    ("limits", "full"),
    [
        ({"max_count": 3}, True),
        ({"max_count": 4}, False),
        ({"max_count": 0}, False),
        ({"max_bytes": 60}, True),
        ({"max_bytes": 61}, False),
        ({"max_bytes": 0, "max_count": 0}, False),
    ],
)
def test_a_queue_is_full_from_its_limits_on(limits: dict[str, int], full: bool) -> None:
    queue = Queue(_model(**limits))
    queue.put(_run(1, 10, 20, 30))
    assert queue.is_full is full


def test_taken_flowfiles_count_until_they_are_settled() -> None:
    queue = Queue(_model(max_count=2))
    queue.put(_run(1, 10, 20))
    queue.take(2, None)
    assert (queue.count, queue.size, queue.available, queue.is_full) == (2, 30, 0, True)
    queue.settle(1, 10)
    assert (queue.count, queue.size, queue.available, queue.is_full) == (1, 20, 0, False)


def test_taking_one_by_one_from_a_long_run_keeps_order_and_places() -> None:
    queue = Queue(_model())
    queue.put(_run(4, *[1] * 3000, first=0))
    runs = [queue.take(1, None)[0] for _ in range(3000)]
    assert _ids(runs) == list(range(3000))
    assert [run.index for run in runs] == list(range(3000))


def test_a_split_run_keeps_what_its_members_waited_for() -> None:
    run = Run(8, _flowfiles(5, 6, 7), 18, index=4, retries=2, due=90, since=80)
    head = run.split(2)
    assert (head.sequence, head.index, head.size) == (8, 4, 11)
    assert (head.retries, head.due, head.since) == (2, 90, 80)
    assert (run.index, run.size, len(run.flowfiles)) == (6, 7, 1)


def test_other_limits_apply_to_what_lies_here() -> None:
    queue = Queue(_model(max_count=10))
    queue.put(_run(1, 1, 1))
    queue.model = _model(max_count=2)
    assert queue.is_full


def test_waiting_flowfiles_are_taken_out_with_their_times() -> None:
    queue = Queue(_model())
    queue.put(_run(1, 1))
    queue.put_waiting(_run(2, 5), 8.0)
    queue.put_waiting(_run(3, 6), 4.0)

    assert queue.due_times() == [4.0, 8.0]
    assert [(at, run.sequence) for at, run in queue.take_waiting()] == [(4.0, 3), (8.0, 2)]
    assert (queue.count, queue.size) == (1, 1)
