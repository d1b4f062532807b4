"""The fold: what each part of a record does to the queues, and what it must not contradict."""

from typing import Any

import pytest

from runtime.commit import (
    Action,
    Changed,
    Commit,
    Created,
    Deferred,
    Dropped,
    EventType,
    Reason,
    Rewritten,
    Routed,
    Taken,
    Target,
    encode_ids,
)
from runtime.flowfile import Claim, FlowFile
from runtime.fold import Entry, Fold, FoldError

IN, OUT, COPY = 10, 20, 21


def _flowfile(id: int, segment: int = 0, **attributes: str) -> FlowFile:
    claim = Claim(segment, 0, 5, 1) if segment else None
    return FlowFile(id, attributes, claim, 100, 100, 5 if segment else 0)


def _created(*ids: int, connection: int = IN, segment: int = 0, **more: Any) -> Commit:
    flowfiles = [_flowfile(id, segment) for id in ids]
    return Commit(
        1_000_000,
        1,
        created=[Created(EventType.CREATE, flowfiles)],
        routed=[Routed("success", encode_ids(ids), [Target(connection)])],
        **more,
    )


def _moved(*ids: int, **more: Any) -> Commit:
    """Take from IN; `more` says what happens to them."""
    return Commit(2_000_000, 2, taken=[Taken(IN, encode_ids(ids))], **more)


def _folded(*commits: Commit) -> Fold:
    fold = Fold()
    for sequence, commit in enumerate(commits, 1):
        fold.apply(sequence, commit)
    return fold


def _ids(fold: Fold) -> dict[int, list[int]]:
    return {id: list(queue) for id, queue in fold.queues.items() if queue}


def _to(*connections: int, ids: tuple[int, ...] = (1,), **more: Any) -> Routed:
    return Routed("success", encode_ids(ids), [Target(one) for one in connections], **more)


# What records do


def test_what_is_created_lies_where_it_was_routed_to() -> None:
    fold = _folded(_created(1, 2))

    assert list(fold.queues[IN].values()) == [
        Entry(_flowfile(1), 1, 0),
        Entry(_flowfile(2), 1, 1),
    ]
    assert fold.count() == 2


def test_what_is_moved_carries_its_changes_along() -> None:
    fold = _folded(
        _created(1, 2, segment=3),
        _moved(
            1,
            2,
            changed=[
                Changed(encode_ids([1]), [{"a": "1", "b": "2"}]),
                Changed(encode_ids([1]), [{"b": None}]),
            ],
            rewritten=[Rewritten(encode_ids([1, 2]), [Claim(7, 0, 9, 1), None])],
            routed=[_to(OUT, ids=(1, 2))],
        ),
    )

    first, second = (entry.flowfile for entry in fold.queues[OUT].values())
    assert (first.attributes, first.claim, first.size) == ({"a": "1"}, Claim(7, 0, 9, 1), 9)
    assert (second.attributes, second.claim, second.size) == ({}, None, 0)
    assert list(fold.live_claims()) == [Claim(7, 0, 9, 1)]
    assert fold.highest_segment == 7


def test_clones_share_all_but_id_and_time_of_entry() -> None:
    copies = Routed("success", encode_ids([1]), [Target(OUT), Target(COPY, encode_ids([5]))])
    fold = _folded(_created(1, segment=3), _moved(1, routed=[copies]))

    assert fold.queues[OUT][1].flowfile == _flowfile(1, 3)
    assert fold.queues[COPY][5].flowfile == FlowFile(5, {}, Claim(3, 0, 5, 1), 100, 2_000, 5)


def test_what_ends_is_nowhere() -> None:
    fold = _folded(
        _created(1, 2, 3),
        _moved(1, 2, 3, routed=[_to(ids=(1,))], dropped=[
            Dropped(EventType.DROP, encode_ids([2])),
            Dropped(EventType.EXPIRE, encode_ids([3])),
        ]),
    )  # fmt: skip

    assert fold.count() == 0


def test_one_record_numbers_what_it_puts_into_a_queue() -> None:
    fold = _folded(
        _created(1, 2, 3),
        _moved(1, 2, 3, routed=[_to(OUT, ids=(3,)), _to(OUT, ids=(1, 2))]),
    )

    assert [(id, one.index) for id, one in fold.queues[OUT].items()] == [(3, 0), (1, 1), (2, 2)]


def test_a_penalty_is_due_in_the_queue_that_it_leads_to() -> None:
    fold = _folded(_created(1), _moved(1, routed=[_to(OUT, due=9_000)]))

    assert fold.queues[OUT][1] == Entry(_flowfile(1), 2, 0, due=9_000, since=2_000)


def test_what_is_deferred_goes_behind_and_waits() -> None:
    waits = Deferred(IN, encode_ids([1]), 9_000, 2, Reason("", "not yet"))
    fold = _folded(_created(1, 2), Commit(2_000_000, 2, deferred=[waits]))

    assert _ids(fold) == {IN: [2, 1]}
    assert fold.queues[IN][1] == Entry(_flowfile(1), 2, 0, retries=2, due=9_000, since=2_000)


def test_what_is_deferred_comes_behind_what_the_record_put_there() -> None:
    fold = _folded(
        _created(1, 2, 3),
        _moved(1, routed=[_to(IN)], deferred=[
            Deferred(IN, encode_ids([2, 3]), 9_000),
        ]),
    )  # fmt: skip

    assert [(id, one.index) for id, one in fold.queues[IN].items()] == [(1, 0), (2, 1), (3, 2)]


def test_state_counters_revision_and_flow_are_the_newest() -> None:
    fold = _folded(
        _created(1, state={"at": "1"}, counters={"lines": 2}, revision=1),
        Commit(0, 1, state={"at": "2"}, keyed={"k": b"v"}, counters={"lines": 3}, revision=2),
        Commit(0, 0, action=Action("edit", "admin", flow=b"flow"), revision=3),
        Commit(0, 0, action=Action("empty", "admin"), revision=3),
    )

    assert (fold.states, fold.counters) == ({1: {"at": "2"}}, {"lines": 5})
    assert fold.keyed == [(2, 1, {"k": b"v"})]
    assert (fold.flow, fold.revision, fold.sequence) == (b"flow", 3, 4)


def test_a_record_that_the_state_holds_already_changes_nothing() -> None:
    fold = _folded(_created(1), _moved(1, routed=[_to(OUT)]))

    fold.apply(1, _created(1))
    fold.apply(2, _moved(1))

    assert _ids(fold) == {OUT: [1]}
    assert fold.sequence == 2


def test_runs_are_what_one_record_put_side_by_side() -> None:
    fold = _folded(
        _created(1, 2, segment=3),
        _created(3, 4),
        _created(5, connection=OUT),
        Commit(2_000_000, 2, deferred=[Deferred(IN, encode_ids([3]), 9_000, 1)]),
    )

    runs = fold.runs(IN)

    assert [[one.id for one in run.flowfiles] for run in runs] == [[1, 2], [4], [3]]
    assert [(run.sequence, run.index) for run in runs] == [(1, 0), (2, 1), (4, 0)]
    assert [run.size for run in runs] == [10, 0, 0]
    assert [(run.retries, run.due, run.since) for run in runs[1:]] == [(0, 0, 0), (1, 9_000, 2_000)]
    assert fold.runs(99) == []


def test_what_waits_is_in_another_run_than_its_neighbour() -> None:
    fold = _folded(
        _created(1, 2),
        _moved(1, 2, routed=[_to(OUT, ids=(1,), due=9_000), _to(OUT, ids=(2,))]),
    )

    assert [(run.index, run.due, run.since) for run in fold.runs(OUT)] == [
        (0, 9_000, 2_000),
        (1, 0, 0),
    ]


# What contradicts


ONE = encode_ids([1])
ABSENT = encode_ids([0xFF])


@pytest.mark.parametrize(
    ("commit", "words"),
    [
        (Commit(0, 1, taken=[Taken(IN, ABSENT)]),
         "takes flowfile 0xff, which is not in connection 10"),
        (Commit(0, 1, taken=[Taken(OUT, ONE)]),
         "takes flowfile 0x1, which is not in connection 20"),
        (Commit(0, 1, taken=[Taken(IN, ONE)]), "takes flowfile 0x1, which goes nowhere"),
        (_moved(1, changed=[Changed(ABSENT, [{}])]), "changes flowfile 0xff, which is not there"),
        (_moved(1, rewritten=[Rewritten(ABSENT, [None])]),
         "rewrites flowfile 0xff, which is not there"),
        (_moved(1, routed=[_to(OUT, ids=(0xFF,))]), "routes flowfile 0xff, which is not there"),
        (_moved(1, routed=[_to(OUT), _to(OUT)]), "routes flowfile 0x1, which is not there"),
        (_moved(1, dropped=[Dropped(EventType.DROP, ABSENT)]),
         "ends flowfile 0xff, which is not there"),
        (_moved(1, routed=[_to(OUT)], dropped=[Dropped(EventType.DROP, ONE)]),
         "ends flowfile 0x1, which is not there"),
        (Commit(0, 1, deferred=[Deferred(IN, ABSENT, 5)]),
         "defers flowfile 0xff, which is not in connection 10"),
        (_moved(1, deferred=[Deferred(IN, ONE, 5)]),
         "defers flowfile 0x1, which is not in connection 10"),
    ],
)  # fmt: skip
def test_a_contradiction_is_refused_in_words(commit: Commit, words: str) -> None:
    fold = _folded(_created(1))

    with pytest.raises(FoldError) as raised:
        fold.apply(2, commit)
    assert str(raised.value) == f"Record 2 {words}"


def test_a_gap_between_records_is_refused() -> None:
    fold = _folded(_created(1))

    with pytest.raises(FoldError, match=r"^Record 3 follows record 1$"):
        fold.apply(3, _moved(1))
    assert _ids(fold) == {IN: [1]}


def test_an_empty_fold_begins_anywhere() -> None:
    fold = Fold()

    fold.apply(40, _created(1))

    assert fold.sequence == 40
