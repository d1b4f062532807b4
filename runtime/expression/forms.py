"""Closures over closures: what must not evaluate all its parts, or looks at their types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from runtime.expression.nodes import Node, Run, constant, source, then
from runtime.expression.values import Type, text_from_instant, text_from_number
from runtime.flowfile import FlowFile


def joined(nodes: Sequence[Node]) -> Node:
    """Return the texts one behind the other; a missing one is empty."""
    if all(node.constant for node in nodes):
        return constant("".join([node.run({}, None) or "" for node in nodes]), Type.TEXT)
    varying = [index for index, node in enumerate(nodes) if not node.constant]
    if len(varying) == 1:
        [index] = varying
        head, tail = joined(nodes[:index]).run({}, None), joined(nodes[index + 1 :]).run({}, None)
        return then(nodes[index], lambda value: f"{head}{value or ''}{tail}", Type.TEXT)
    runs = [node.run for node in nodes]

    def run(attributes: Any, flowfile: FlowFile | None) -> str:
        return "".join([one(attributes, flowfile) or "" for one in runs])

    return source(run, Type.TEXT, max(node.depth for node in nodes) + 1)


def comparable(node: Node) -> Run:
    """Values of different types are compared as texts, dates as milliseconds."""
    run = node.run
    match node.type:
        case Type.TEXT:
            return run
        case Type.BOOLEAN:
            names = {True: "true", False: "false", None: None}
            return lambda attributes, flowfile: names[run(attributes, flowfile)]
        case Type.INSTANT:
            return lambda attributes, flowfile: text_from_instant(run(attributes, flowfile))
        case _:
            return lambda attributes, flowfile: text_from_number(run(attributes, flowfile))


def _both(one: Run, two: Run) -> Run:
    def run(attributes: Any, flowfile: FlowFile | None) -> bool | None:
        if one(attributes, flowfile) is False:
            return False
        return two(attributes, flowfile)  # type: ignore[no-any-return]  # cast to a boolean

    return run


def _either(one: Run, two: Run) -> Run:
    def run(attributes: Any, flowfile: FlowFile | None) -> bool | None:
        if one(attributes, flowfile) is True:
            return True
        return two(attributes, flowfile)  # type: ignore[no-any-return]  # cast to a boolean

    return run


def _chosen(condition: Run, one: Run, two: Run) -> Run:
    return lambda attributes, flowfile: (
        one(attributes, flowfile)
        if condition(attributes, flowfile) is True
        else two(attributes, flowfile)
    )


def _replaced_null(subject: Run, other: Run) -> Run:
    def run(attributes: Any, flowfile: FlowFile | None) -> str | None:
        value: str | None = subject(attributes, flowfile)
        if value is None:
            value = other(attributes, flowfile)
        return value

    return run


def _replaced_empty(subject: Run, other: Run) -> Run:
    def run(attributes: Any, flowfile: FlowFile | None) -> str | None:
        value = subject(attributes, flowfile)
        if value is None or not value or value.isspace():
            return other(attributes, flowfile)  # type: ignore[no-any-return]  # cast to a text
        return value  # type: ignore[no-any-return]  # cast to a text

    return run


LAZY: Final[dict[str, Callable[..., Run]]] = {
    "and": _both, "or": _either, "ifElse": _chosen, "replaceNull": _replaced_null,
    "replaceEmpty": _replaced_empty,
}  # fmt: skip
