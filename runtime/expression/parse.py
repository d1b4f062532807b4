"""Text inside `${...}` to `syntax`, by the grammar in grammar.lark.

The parser is LALR, made once a process when the first expression is parsed (lark is imported
then). Its callbacks build the nodes bottom up, so parsing does not recurse; how deep the result
nests is bounded by `template.NESTING_MAX`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runtime.expression.errors import PlacedError, shown
from runtime.expression.syntax import (
    Argument,
    Call,
    Literal,
    Name,
    Number,
    Parameter,
    Query,
    Text,
    unquote,
)

if TYPE_CHECKING:
    from lark import Lark, Token

LITERALS: Final = {"true": True, "false": False, "null": None}
WHOLE_MIN: Final = -(2**63)
WHOLE_MAX: Final = 2**63 - 1


def parse(source: str, offset: int = 0) -> Query:
    """Parse one `${...}`; `offset` is its position in the property's text.

    Raises:
        PlacedError: it does not follow the grammar.
    """
    from lark import UnexpectedCharacters, UnexpectedToken
    from lark.exceptions import VisitError

    try:
        query: Query = _parser().parse(source)  # type: ignore[assignment]  # by the callbacks
    except UnexpectedCharacters as error:
        position = error.pos_in_stream or 0
        raise PlacedError(offset + position, _stray(source[position])) from None
    except UnexpectedToken as error:
        at_end = error.token.type == "$END"
        position = len(source) if at_end else error.pos_in_stream or 0
        raise PlacedError(offset + position, _unexpected(error.token, error.accepts)) from None
    except VisitError as error:
        if isinstance(error.orig_exc, PlacedError):
            placed = error.orig_exc
            raise PlacedError(offset + placed.position, placed.problem) from None
        raise
    return _moved(query, offset) if offset else query


@cache
def _parser() -> Lark:
    from lark import Lark

    grammar = Path(__file__).with_name("grammar.lark").read_text(encoding="utf-8")
    return Lark(
        grammar, parser="lalr", start="query", maybe_placeholders=False, transformer=_callbacks()
    )


def _callbacks() -> Any:
    from lark import Transformer, v_args

    @v_args(inline=True)
    class Build(Transformer):  # type: ignore[type-arg]  # lark's class is generic and untyped
        def bare_name(self, word: Token) -> Name:
            return Name(Text(str(word), word.start_pos or 0))

        def quoted_name(self, string: Token) -> Name:
            return Name(Text(unquote(string), string.start_pos or 0))

        def text(self, string: Token) -> Text:
            return Text(unquote(string), string.start_pos or 0)

        def number(self, digits: Token) -> Number:
            return Number(_number(digits), digits.start_pos or 0)

        def literal(self, word: Token) -> Literal:
            if word in LITERALS:
                return Literal(LITERALS[word], word.start_pos or 0)
            raise PlacedError(
                word.start_pos or 0,
                f"'{shown(word)}' stands without quotes; write '{shown(word)}' in quotes for this "
                f"text, or ${{{shown(word)}}} for the attribute",
            )

        def parameter(self, token: Token) -> Parameter:
            return Parameter(parameter_name(token[2:-1]), token.start_pos or 0)

        def call(self, word: Token, *arguments: Argument) -> Call:
            return Call(str(word), arguments, word.start_pos or 0)

        def query(self, subject: Any, *calls: Call) -> Query:
            return Query(subject, calls)

    return Build()


def parameter_name(inside: str) -> str:
    """Return what `#{...}` names: quotes around the name are optional."""
    if len(inside) >= 2 and inside[0] == inside[-1] and inside[0] in "'\"":
        return inside[1:-1]
    return inside


def _number(digits: Token) -> int | float:
    try:
        value = int(digits)
    except ValueError:
        return float(digits)
    if WHOLE_MIN <= value <= WHOLE_MAX:
        return value
    raise PlacedError(
        digits.start_pos or 0,
        f"the whole number {shown(digits)} has more than 64 bits; write it with a decimal point",
    )


_EXPECTED: Final = {
    "COLON": "':'", "RBRACE": "'}'", "LPAR": "'('", "RPAR": "')'", "COMMA": "','",
    "WORD": "a name", "STRING": "a quoted text", "NUMBER": "a number",
    "PARAMETER": "'#{parameter}'", "__ANON_0": "'${'",
}  # fmt: skip


def _unexpected(token: Token, accepts: set[str] | None) -> str:
    expected = ", ".join(sorted(_EXPECTED[name] for name in accepts or () if name in _EXPECTED))
    found = "the end" if token.type == "$END" else f"'{shown(token)}'"
    return f"there is {found}, where one of these is expected: {expected}"


def _stray(character: str) -> str:
    if character in "'\"":
        return (
            f"a quoted text starts with {character} and does not end; close the quote, and write "
            "a line break inside it as \\n, a tab as \\t"
        )
    return (
        f"there is a stray '{character}'; a name with spaces or any of $ {{ }} ( ) [ ] , : ; / * "
        "or a digit in front goes in quotes, like ${'my name'}"
    )


def _moved(query: Query, offset: int) -> Query:
    """Shift every position by `offset`."""

    def move(node: Any) -> Any:
        match node:
            case Name(text):
                return Name(Text(text.value, text.position + offset))
            case Call(function, arguments, position):
                return Call(function, tuple(map(move, arguments)), position + offset)
            case Query(subject, calls):
                return Query(move(subject), tuple(map(move, calls)))
            case _:
                return replace(node, position=node.position + offset)

    return move(query)  # type: ignore[no-any-return]  # move keeps the type
