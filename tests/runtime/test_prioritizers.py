"""The orders of a queue."""

import pytest

from runtime.expression import Environment
from runtime.flowfile import FlowFile, Identity
from runtime.prioritizers import NAMES, priority_key

ENVIRONMENT = Environment(identity=Identity(7))


def _flowfile(id: int, priority: str | None = None, *, began: int = 0) -> FlowFile:
    attributes = {} if priority is None else {"priority": priority}
    return FlowFile(id, attributes, None, began, 0, 0)


def _order(prioritizers: tuple[str, ...], *flowfiles: FlowFile) -> list[int]:
    """Return the ids in the order of taking; each flowfile came with a record of its own."""
    key = priority_key(prioritizers, ENVIRONMENT)
    keyed = [(key(one, place, 0), place, one.id) for place, one in enumerate(flowfiles)]
    return [id for _, _, id in sorted(keyed)]


def test_newest_and_oldest_go_by_the_start_of_the_lineage() -> None:
    flowfiles = [_flowfile(1, began=20), _flowfile(2, began=30), _flowfile(3, began=10)]
    assert _order(("newest",), *flowfiles) == [2, 1, 3]
    assert _order(("oldest",), *flowfiles) == [3, 1, 2]
    assert _order(("fifo",), *flowfiles) == [1, 2, 3]


def test_priorities_are_numbers_first_then_texts_then_none() -> None:
    flowfiles = [
        _flowfile(1),
        _flowfile(2, "beta"),
        _flowfile(3, "10"),
        _flowfile(4, "alpha"),
        _flowfile(5, "9"),
        _flowfile(6, "-1"),
        _flowfile(7, ""),
    ]
    assert _order(("attribute",), *flowfiles) == [6, 5, 3, 4, 2, 1, 7]


def test_an_expression_orders_like_the_attribute() -> None:
    flowfiles = [_flowfile(1, "10"), _flowfile(2, "9"), _flowfile(3)]
    assert _order(("${priority}",), *flowfiles) == [2, 1, 3]
    assert _order(("${priority:multiply(-1)}",), *flowfiles[:2]) == [1, 2]


def test_a_flowfile_for_which_the_expression_cannot_be_evaluated_comes_last() -> None:
    flowfiles = [_flowfile(1, "no date"), _flowfile(2, "2024-01-31")]
    order = ("${priority:toDate('yyyy-MM-dd', 'UTC'):toNumber()}",)
    assert _order(order, *flowfiles) == [2, 1]


def test_several_apply_in_turn() -> None:
    flowfiles = [
        _flowfile(1, "2", began=10),
        _flowfile(2, "1", began=10),
        _flowfile(3, "1", began=20),
    ]
    assert _order(("attribute", "newest"), *flowfiles) == [3, 2, 1]


def test_an_unknown_prioritizer_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="is 'soonest'; it must be one of fifo, newest, oldest"):
        priority_key(("soonest",), ENVIRONMENT)
    with pytest.raises(ValueError, match=r"or an expression such as '\$\{priority\}'"):
        priority_key(("soonest",), ENVIRONMENT)
    assert NAMES == ("fifo", "newest", "oldest", "attribute")
