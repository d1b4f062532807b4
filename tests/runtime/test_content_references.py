import pytest

from runtime.content_references import SegmentReferences, count_segments
from runtime.flowfile import Claim


def claim(segment: int) -> Claim:
    return Claim(segment, 0, 1, 0)


def begun(*segments: int) -> SegmentReferences:
    references = SegmentReferences()
    for segment in segments:
        references.pin(segment, new=True)
    return references


def test_claims_are_counted_by_segment_and_empty_content_is_not() -> None:
    assert count_segments([claim(1), None, claim(2), claim(1)]) == {1: 2, 2: 1}


def test_an_end_counts_only_when_its_record_is_synced() -> None:
    references = begun(1)
    references.add([claim(1)])
    references.unpin(1)

    references.end([claim(1)], 7)
    references.durable(6)
    assert (references.holders(1), references.idle()) == ((1, 0), [])

    references.durable(7)
    assert (references.holders(1), references.idle()) == ((0, 0), [(1, True)])


def test_ends_reported_out_of_order_take_effect_with_their_own_records() -> None:
    references = begun(1, 2)
    references.add([claim(1), claim(2)])

    references.end([claim(2)], 9)
    references.end([claim(1)], 4)
    references.durable(4)

    assert (references.holders(1)[0], references.holders(2)[0]) == (0, 1)


def test_an_end_of_a_record_that_is_synced_already_counts_at_once() -> None:
    references = begun(1)
    references.add([claim(1)])
    references.durable(5)

    references.end([claim(1)], 5)

    assert references.holders(1) == (0, 1)


def test_an_end_without_a_record_counts_at_once() -> None:
    references = begun(1)
    references.add([claim(1)])

    references.end([claim(1)], 0)

    assert references.holders(1) == (0, 1)


def test_a_pinned_segment_is_not_idle() -> None:
    references = begun(1)
    references.pin(1)

    references.unpin(1)
    assert references.idle() == []
    references.unpin(1)

    assert references.idle() == [(1, False)]


def test_an_idle_segment_that_is_referenced_again_is_not_idle() -> None:
    references = begun(1)
    references.unpin(1)

    references.add([claim(1)])

    assert references.idle() == []


def test_more_ends_than_references_are_refused_by_name() -> None:
    references = begun(3)
    references.add([claim(3)])

    with pytest.raises(AssertionError, match="segment 3 lost more references than it had: -1"):
        references.end_counts({3: 2}, 0)


def test_a_held_or_unknown_segment_is_not_forgotten() -> None:
    references = begun(1, 2, 3)
    references.add([claim(2)])
    references.unpin(2)
    references.unpin(3)

    assert [references.forget(segment) for segment in (1, 2, 3, 4)] == [False, False, True, False]
    assert references.idle() == []


def test_a_segment_that_was_not_adopted_never_becomes_idle() -> None:
    references = SegmentReferences()
    references.pin(1)
    references.unpin(1)

    assert references.idle() == []


def test_adopting_makes_live_segments_without_references_idle() -> None:
    references = SegmentReferences()

    references.adopt({1: 3, 5: 1}, live=[1, 2], archived=[4, 5])

    assert references.idle() == [(2, True)]
    assert [references.holders(segment)[0] for segment in (1, 2, 4, 5)] == [3, 0, 0, 1]
    assert [references.forget(segment) for segment in (4, 5)] == [True, False]
