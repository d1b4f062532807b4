import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.expression.errors import PlacedError
from runtime.expression.parse import parse
from runtime.expression.syntax import (
    Call,
    Literal,
    Name,
    Number,
    Parameter,
    Query,
    Text,
    print_node,
    quote,
    unescape,
    unquote,
)

# What a quoted text can hold: backslashes come in pairs or before another character.
TEXTS = st.lists(
    st.sampled_from(["a", "'", '"', "\n", "\r", "\t", "\\\\", "\\d", "$", "{", "}", "é", " "]),
    max_size=6,
).map("".join)
WORDS = st.text(string.ascii_letters + "_.-", min_size=1, max_size=6).filter(
    lambda word: word not in ("true", "false", "null") and not word.startswith(("-", "."))
)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = (
    TEXTS.map(Text)
    | NUMBERS.map(Number)
    | st.sampled_from([True, False, None]).map(Literal)
    | WORDS.map(Parameter)
)


def calls(arguments: st.SearchStrategy) -> st.SearchStrategy:
    return st.builds(Call, WORDS, st.lists(arguments, max_size=3).map(tuple))


def queries(arguments: st.SearchStrategy) -> st.SearchStrategy:
    subjects = TEXTS.map(lambda text: Name(Text(text))) | calls(arguments) | WORDS.map(Parameter)
    return st.builds(Query, subjects, st.lists(calls(arguments), max_size=3).map(tuple))


@settings(max_examples=60, deadline=None)
@given(queries(st.recursive(LEAVES, queries, max_leaves=6)))
def test_printed_expression_parses_to_itself(query: Query) -> None:
    assert parse(print_node(query)) == query


@given(TEXTS)
def test_quoting_is_undone_by_unquoting(text: str) -> None:
    assert unquote(quote(text)) == text


@given(st.text(max_size=10))
def test_any_text_can_be_written_as_a_literal(text: str) -> None:
    assert unescape(unquote(quote(text.replace("\\", "\\\\")))) == text


def test_positions_count_from_the_offset() -> None:
    query = parse("${a:gt(5)}", offset=10)

    assert query.calls[0].position == 14
    assert query.calls[0].arguments[0].position == 17  # type: ignore[union-attr]  # a number


@pytest.mark.parametrize(
    ("source", "number"),
    [("5", 5), ("-5", -5), ("+5", 5), ("5.", 5.0), (".5", 0.5), ("-.5E+2", -50.0), ("5e-1", 0.5)],
)
def test_numbers_are_whole_or_decimal(source: str, number: float) -> None:
    [argument] = parse(f"${{a:f({source})}}").calls[0].arguments

    assert argument == Number(number) and isinstance(argument, Number)
    assert type(argument.value) is type(number)


@pytest.mark.parametrize(
    ("source", "position", "words"),
    [
        ("${a:}", 4, "there is '}', where one of these is expected: a name"),
        ("${a b}", 4, "there is 'b', where one of these is expected: '(', ':', '}'"),
        ("${}", 2, "there is '}', where one of these is expected: '#{parameter}', '${'"),
        ("${a:f(x)}", 6, "'x' stands without quotes; write 'x' in quotes for this text, or ${x}"),
        ("${a:f('x}", 6, "a quoted text starts with ' and does not end; close the quote"),
        ("${5a}", 2, "there is a stray '5'; a name with spaces or any of"),
        ("${a:f(99999999999999999999)}", 6, "the whole number 99999999999999999999 has more than"),
        ("${a:f('1'", 9, "there is the end, where one of these is expected: ')', ','"),
        ("${a}x", 4, "there is 'x', where one of these is expected"),
    ],
)
def test_mistake_is_placed_and_named(source: str, position: int, words: str) -> None:
    with pytest.raises(PlacedError) as caught:
        parse(source)

    assert words in caught.value.problem
    assert caught.value.position == position
