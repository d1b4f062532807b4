"""How a function is declared, and the table of all of them.

A function is a *maker*: called with its arguments it returns a *step*, which maps the subject's
value to the result. Arguments that are literals are bound once, when the expression is compiled;
so a regular expression or a date pattern in quotes is compiled once. The declaration gives the
types; subject and arguments are cast to them before. Every value may be None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from runtime.expression.errors import ExpressionError
from runtime.expression.values import Step, Type

OUTPUT_LENGTH_MAX: Final = 10_000_000

Maker = Callable[..., Step]


@dataclass(frozen=True, slots=True)
class Function:
    """A declared function.

    `subject` is None for one that takes any type as it is. `required` of the `arguments` must be
    given; with `repeats` the last may be given any number of times. `zoned` makers get the
    environment's time zone before their arguments. One that is not `pure` may give different
    results for the same values.
    """

    name: str
    subject: Type | None
    arguments: tuple[Type | None, ...]
    required: int
    result: Type
    make: Maker
    repeats: bool = False
    zoned: bool = False
    pure: bool = True

    def accepts(self, count: int) -> bool:
        return self.required <= count and (self.repeats or count <= len(self.arguments))


FUNCTIONS: Final[dict[str, Function]] = {}
# toDate and toInstant on what is already a number, date or instant: formats mean nothing there.
NUMERIC: Final[dict[str, Function]] = {}


def function(
    name: str,
    subject: Type | None,
    *arguments: Type | None,
    result: Type,
    optional: int = 0,
    repeats: bool = False,
    zoned: bool = False,
    pure: bool = True,
) -> Callable[[Maker], Maker]:
    """Declare a maker as the function `name`; `optional` counts from the last argument."""

    def declare(make: Maker) -> Maker:
        required = len(arguments) - optional
        declared = Function(name, subject, arguments, required, result, make, repeats, zoned, pure)
        table = NUMERIC if name in FUNCTIONS else FUNCTIONS
        table[name] = declared
        return make

    return declare


def bounded(text: str, function_name: str) -> str:
    """Return `text` unless it is too long.

    Raises:
        ExpressionError: it has more than `OUTPUT_LENGTH_MAX` characters.
    """
    if len(text) > OUTPUT_LENGTH_MAX:
        refuse_length(function_name)
    return text


def refuse_length(function_name: str) -> None:
    """Raise the error of a result that is, or would be, too long."""
    raise ExpressionError(
        f"{function_name}() makes a text of more than {OUTPUT_LENGTH_MAX:,} characters; "
        "an attribute is no place for it, put it into the content"
    )


def unless_null(apply: Callable[[Any], Any]) -> Step:
    """Return a step that leaves None as it is."""
    return lambda subject: None if subject is None else apply(subject)
