"""Compiled expressions as nested closures.

A *node* is a source of a value (a constant, an attribute, a closure) and the steps that follow it.
Steps run in one closure instead of one inside the other, because each level of calls costs as
much as a step. On an attribute they are a pure function of its text, and texts repeat from
flowfile to flowfile (delays, airports, types), so a few hundred results are remembered: then
`${a:toNumber():gt(15)}` costs two dictionary look-ups, and so does a regular expression.

No source text is ever generated: names and literals reach the closures as values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from runtime.expression.values import Step, Type
from runtime.flowfile import FlowFile

Attributes: TypeAlias = Mapping[str, str]
Run: TypeAlias = Callable[[Any, FlowFile | None], Any]

# Python's stack holds a thousand calls by default, most of them the caller's to use.
DEPTH_MAX: Final = 150
REMEMBERED_MAX: Final = 512
REMEMBERED_LENGTH_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Lookup:
    """An attribute that is simply in the flowfile's mapping, or else has a fixed value."""

    name: str
    default: str | None


@dataclass(frozen=True, slots=True)
class Node:
    """A typed source and the steps behind it; `run` does all of it.

    `depth` is how many calls `run` nests. A constant's `run` needs neither attributes nor flowfile.
    """

    type: Type
    source: Lookup | Run
    steps: tuple[Step, ...]
    run: Run
    depth: int = 1
    constant: bool = False
    pure: bool = True


def constant(value: Any, type_: Type) -> Node:
    run: Run = lambda attributes, flowfile: value  # noqa: E731  # an alias gives mypy its type
    return Node(type_, run, (), run, constant=True)


def source(run: Run, type_: Type, depth: int = 1) -> Node:
    return Node(type_, run, (), run, depth + 1)


def lookup(name: str, default: str | None) -> Node:
    found = Lookup(name, default)
    return Node(Type.TEXT, found, (), _looked_up(found, None, ()))


def then(node: Node, step: Step, type_: Type, *, pure: bool = True) -> Node:
    """Append a step; on a constant it is taken at once.

    A step that is not `pure` gives different results for the same value.
    """
    if node.constant and pure:
        return constant(step(node.run({}, None)), type_)
    steps, pure = (*node.steps, step), node.pure and pure
    if isinstance(node.source, Lookup):
        run = _looked_up(node.source, Results(steps) if pure else None, steps)
    else:
        run = _followed(node.source, steps)
    return Node(type_, node.source, steps, run, max(node.depth, 2), pure=pure)


class Results(dict[str | None, Any]):
    """Remembered results of pure steps; `full` once there are more texts than it keeps.

    A reader gets what is remembered by subscription, from many threads: setting a key is atomic,
    and two threads that compute the same result store the same.
    """

    __slots__ = ("steps", "full")

    def __init__(self, steps: tuple[Step, ...]) -> None:
        self.steps = steps
        self.full = False

    def __missing__(self, text: str | None) -> Any:
        value: Any = text
        for step in self.steps:
            value = step(value)
        if len(self) >= REMEMBERED_MAX:
            self.full = True
        elif (text is None or len(text) <= REMEMBERED_LENGTH_MAX) and (
            not isinstance(value, str) or len(value) <= REMEMBERED_LENGTH_MAX
        ):
            self[text] = value
        return value


def _looked_up(found: Lookup, results: Results | None, steps: tuple[Step, ...]) -> Run:
    name, default = found.name, found.default
    if not steps:
        return lambda attributes, flowfile: attributes.get(name, default)
    if results is None:
        return _followed(_looked_up(found, None, ()), steps)
    return lambda attributes, flowfile: results[attributes.get(name, default)]


def _followed(run: Run, steps: tuple[Step, ...]) -> Run:
    match steps:
        case (first,):
            return lambda attributes, flowfile: first(run(attributes, flowfile))
        case (first, second):
            return lambda attributes, flowfile: second(first(run(attributes, flowfile)))
        case _:

            def follow(attributes: Attributes, flowfile: FlowFile | None) -> Any:
                value = run(attributes, flowfile)
                for step in steps:
                    value = step(value)
                return value

            return follow


def batch(node: Node) -> Callable[[Sequence[FlowFile]], list[Any]]:
    """Return a function for many flowfiles, with the loop inside."""
    run = node.run
    if not isinstance(node.source, Lookup) or not node.pure:
        return lambda flowfiles: [run(one.attributes, one) for one in flowfiles]
    name, default = node.source.name, node.source.default
    if not node.steps:
        return lambda flowfiles: [one.attributes.get(name, default) for one in flowfiles]
    results = Results(node.steps)
    # Where texts hardly repeat, remembering costs more than it saves.
    direct = _followed(_looked_up(node.source, None, ()), node.steps)

    def evaluate(flowfiles: Sequence[FlowFile]) -> list[Any]:
        if results.full:
            return [direct(one.attributes, one) for one in flowfiles]
        return [results[one.attributes.get(name, default)] for one in flowfiles]

    return evaluate
