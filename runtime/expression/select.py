"""Expressions over several values: `anyAttribute`, `allMatchingAttributes` and their kin.

The rest of the chain is compiled once, reading its value from a reserved key; it then runs once
for each selected value over a copy of the attributes in which that key is set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from runtime.expression.environment import Environment
from runtime.expression.errors import ExpressionError
from runtime.expression.functions import bounded
from runtime.expression.functions_text import regular_expression
from runtime.expression.nodes import Node, Run, lookup, source
from runtime.expression.values import Type
from runtime.flowfile import FlowFile
from runtime.patterns import PatternError

# No attribute is called so: names from outside hold no NUL.
ITEM: Final = "\0item"

Values = Callable[[Any, FlowFile | None], Sequence[str | None]]


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected values, the node that reads one, and whether all of them must agree."""

    values: Values
    item: Node
    every: bool
    names: frozenset[str]
    depth: int


def select(function: str, arguments: Sequence[Node], environment: Environment) -> Selection:
    """Compile a selector.

    Raises:
        ExpressionError: the number or kind of its arguments is wrong.
    """
    kind = SELECTORS[function]
    every = function.startswith("all")
    depth = max((argument.depth for argument in arguments), default=1)
    names: frozenset[str] = frozenset()
    if kind == "delineated":
        if len(arguments) != 2:
            raise ExpressionError(f"{function}() takes a text and a delimiter")
        values = _delineated(arguments[0].run, arguments[1].run)
    else:
        texts = _constants(function, arguments)
        if kind == "named":
            names = frozenset(texts)
            values = _named(texts, environment)
        else:
            values = _matching(texts, environment)
    return Selection(values, lookup(ITEM, None), every, names, depth)


SELECTORS: Final = {
    "anyAttribute": "named", "allAttributes": "named",
    "anyMatchingAttribute": "matching", "allMatchingAttributes": "matching",
    "anyDelineatedValue": "delineated", "allDelineatedValues": "delineated",
}  # fmt: skip


def _constants(function: str, arguments: Sequence[Node]) -> list[str]:
    texts = [argument.run({}, None) for argument in arguments if argument.constant]
    if len(texts) < len(arguments) or not texts or not all(texts):
        raise ExpressionError(
            f"{function}() takes names in quotes, at least one, and none that is computed"
        )
    return texts


def _complete(attributes: Any, flowfile: FlowFile | None, environment: Environment) -> Any:
    if flowfile is None:
        return {**environment.variables, **attributes}
    uuid = environment.identity.uuid(flowfile.id)
    own = {"path": "./", "filename": uuid, "uuid": uuid}
    return {**own, **attributes}


def _named(names: Sequence[str], environment: Environment) -> Values:
    variables = environment.variables

    def values(attributes: Any, flowfile: FlowFile | None) -> list[str | None]:
        known = _complete(attributes, flowfile, environment)
        return [known.get(name, variables.get(name)) for name in names]

    return values


def _matching(texts: Sequence[str], environment: Environment) -> Values:
    patterns = [regular_expression(text) for text in texts]

    def values(attributes: Any, flowfile: FlowFile | None) -> list[str | None]:
        known = attributes if flowfile is None else _complete(attributes, flowfile, environment)
        try:
            return [
                known[name]
                for pattern in patterns
                for name in known
                if name != ITEM and pattern.matches(name)
            ]
        except PatternError as error:
            raise ExpressionError(str(error)) from error

    return values


def _delineated(text: Run, delimiter: Run) -> Values:
    def values(attributes: Any, flowfile: FlowFile | None) -> Sequence[str | None]:
        subject, mark = text(attributes, flowfile), delimiter(attributes, flowfile)
        if subject is None or mark is None:
            return []
        try:
            return regular_expression(mark).split(subject)
        except PatternError as error:
            raise ExpressionError(str(error)) from error

    return values


def reduced(selection: Selection, node: Node, reducer: str | None, delimiter: Run | None) -> Node:
    """Fold the chain over the selected values: any, all, `join` or `count`."""
    chain = node.run

    def results(attributes: Any, flowfile: FlowFile | None) -> Any:
        scope = dict(attributes)
        # With nothing selected the chain runs once on a missing value, as in NiFi.
        for value in selection.values(attributes, flowfile) or (None,):
            scope[ITEM] = value
            yield chain(scope, flowfile)

    def run_any(attributes: Any, flowfile: FlowFile | None) -> bool:
        return any(results(attributes, flowfile))

    def run_all(attributes: Any, flowfile: FlowFile | None) -> bool:
        return all(results(attributes, flowfile))

    def run_count(attributes: Any, flowfile: FlowFile | None) -> int:
        return sum(
            1 for one in results(attributes, flowfile) if one is not None and one is not False
        )

    def run_join(attributes: Any, flowfile: FlowFile | None) -> str:
        assert delimiter is not None
        between = delimiter(attributes, flowfile) or ""
        return bounded(between.join(one or "" for one in results(attributes, flowfile)), "join")

    depth = max(selection.depth, node.depth) + 2
    if reducer == "join":
        return source(run_join, Type.TEXT, depth)
    if reducer == "count":
        return source(run_count, Type.WHOLE, depth)
    return source(run_all if selection.every else run_any, Type.BOOLEAN, depth)
