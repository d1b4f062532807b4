from typing import Any

import pytest

from runtime.expression import ExpressionError
from runtime.expression.compile import all_functions

Evaluate = Any


def test_all_functions_of_the_language_are_there() -> None:
    names = all_functions()

    assert len(names) == len(set(names)) == 110
    assert {"toUpper", "ifElse", "now", "allDelineatedValues", "math", "isValidDate"} <= {*names}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${a:toUper()}", "at position 5 'toUper' is not a function. Did you mean 'toUpper'\\?$"),
        ("x ${b:zzz()}", "at position 7 'zzz' is not a function$"),
        ("${a:now()}", "now\\(\\) stands at the start of an expression; write \\$\\{now\\(...\\)}"),
        ("${toUpper()}", "toUpper\\(\\) needs something to work on; write \\$\\{name:toUpper"),
        ("${equals('x')}", "equals\\(\\) needs something to work on"),
        ("${a:append(now())}", "the argument now\\(\\) stands without its braces; write"),
        ("${a:gt()}", "gt\\(\\) takes 1 argument and has 0"),
        ("${a:trim('x')}", "trim\\(\\) takes no arguments and has 1"),
        ("${a:ifElse('x')}", "ifElse\\(\\) takes 2 arguments and has 1"),
        ("${a:in()}", "in\\(\\) takes at least 1 argument and has 0"),
        ("${a:substring(1, 2, 3)}", "substring\\(\\) takes 1 to 2 arguments and has 3"),
        (
            "${a:isNull():toNumber()}",
            "what toNumber\\(\\) works on must be a whole number, and thi",
        ),
        (
            "${a:padLeft(true)}",
            "argument 1 of padLeft\\(\\) must be a whole number, and this is tru",
        ),
        ("${literal('x'):toDate('yyyy')}", "toDate\\(\\) has 'x', which does not follow the date"),
        ("${''}", "at position 3 the name of the attribute is empty"),
        ("${a:append('${b:nope()}')}", "at position 17 'nope' is not a function"),
    ],
)
def test_mistake_is_named_with_its_place(value: Evaluate, text: str, words: str) -> None:
    with pytest.raises(ExpressionError, match=words):
        value(text)


def test_long_text_is_cut_in_the_message(value: Evaluate) -> None:
    with pytest.raises(
        ExpressionError, match="^is '\\${a:x+…'; at position 5 'x+…' is not a function$"
    ):
        value("${a:" + "x" * 300 + "()}")
