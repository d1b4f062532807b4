"""The parsed form of an expression, and its way back to text.

`position` is where a node starts in the whole property text; it is left out of comparison, so
that an expression equals itself printed and parsed again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, TypeAlias, assert_never


@dataclass(frozen=True, slots=True)
class Text:
    """A quoted text after the escapes of the quotes; it may hold further `${...}`."""

    value: str
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number (64 bits) or a decimal."""

    value: int | float
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Literal:
    """`true`, `false` or `null`."""

    value: bool | None
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Parameter:
    """`#{name}`."""

    name: str
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Name:
    """An attribute's name, as `Text` when it was quoted."""

    text: Text


@dataclass(frozen=True, slots=True)
class Call:
    """A function and its arguments."""

    function: str
    arguments: tuple[Argument, ...]
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Query:
    """`${subject:call():call()}`."""

    subject: Subject
    calls: tuple[Call, ...]


Subject: TypeAlias = Name | Call | Query | Parameter
Argument: TypeAlias = Text | Number | Literal | Parameter | Query | Call
Node: TypeAlias = Name | Argument

# Backslash pairs stay pairs here: the second stage (`unescape`) turns them into one backslash,
# after nested expressions have been cut out.
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "'": "'", '"': '"'}
_QUOTED: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "'": "\\'"}


def unquote(source: str) -> str:
    """Take the quotes off and resolve the escapes that belong to them."""
    return re.sub(r"\\([\s\S])", lambda match: _ESCAPES.get(match[1], match[0]), source[1:-1])


def unescape(text: str) -> str:
    """Resolve the backslashes that are left in a literal piece of a quoted text, as NiFi does."""
    if "\\" not in text:
        return text
    steps = {"n": "\n", "r": "\r", "\\": "\\"}
    return re.sub(
        r"\\([\s\S]|\Z)",
        lambda match: steps.get(match[1], match[0] if match[1] else ""),
        text,
    )


def quote(text: str) -> str:
    """Write a text so that `unquote` gives it back."""
    return "'" + "".join(_QUOTED.get(character, character) for character in text) + "'"


def print_node(node: Node) -> str:
    """Write a node so that parsing gives an equal one."""
    match node:
        case Text(value):
            return quote(value)
        case Number(value):
            return repr(value)
        case Literal(value):
            return "null" if value is None else str(value).lower()
        case Parameter(name):
            return f"#{{{name}}}"
        case Name(text):
            return quote(text.value)
        case Call(function, arguments):
            return f"{function}({', '.join(map(print_node, arguments))})"
        case Query(subject, calls):
            chain = ":".join([print_node(subject), *map(print_node, calls)])
            return f"${{{chain}}}"
        case _:
            assert_never(node)
