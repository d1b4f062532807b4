import threading
import uuid
from typing import Any

import pytest

from runtime.expression import Environment, ExpressionError, compile_expression
from runtime.flowfile import Identity

Evaluate = Any


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${hostname()}", "node"),
        ("${hostname(false)}", "node"),
        ("${hostname(true)}", "node.example"),
        ("${ip()}", "10.0.0.1"),
        ("${now():toNumber()}", 1_700_000_000_500),
        ("${literal(5)}", "5"),
        ("${literal(5.0):toNumber()}", 5),
        ("${literal(null)}", None),
        ("${literal(true):ifElse('a', 'b')}", "a"),
        ("${getStateValue('count'):plus(1)}", 42),
        ("${getStateValue('none')}", None),
        ("${getStateValue(${missing})}", None),
        (
            "${getUri('https', 'u:p', 'a.org', '1234', '/p q ', 'k=v &l=w', 'f')}",
            "https://u:p@a.org:1234/p%20q%20?k=v%20&l=w#f",
        ),
        ("${getUri('http', null, 'a.org', -1, '/é', null, null)}", "http://a.org/%C3%A9"),
        ("${getUri('http', null, ${'HOME_CITY'}, 80, '', null, null)}", "http://Oslo:80"),
    ],
)
def test_function_gives(value: Evaluate, text: str, result: Any) -> None:
    assert value(text) == result


def test_next_int_counts_on(value: Evaluate) -> None:
    first = value("${nextInt()}")

    assert [value("${nextInt()}"), value("${nextInt()}")] == [first + 1, first + 2]


def test_random_is_never_negative_and_uuids_differ(value: Evaluate) -> None:
    assert all(0 <= value("${random()}") < 2**63 for _ in range(50))
    assert 0 <= value("${math('random')}") < 1
    assert value("${UUID()}") != value("${UUID()}")
    assert uuid.UUID(value("${UUID()}")).version == 4


def test_thread_is_the_one_that_evaluates(value: Evaluate) -> None:
    assert value("${thread()}") == threading.current_thread().name


def test_defaults_ask_the_machine() -> None:
    environment = Environment(identity=Identity(1))

    for text in ("${ip()}", "${hostname()}", "${hostname(true)}"):
        assert compile_expression(text, environment).evaluate()
    assert compile_expression("${getStateValue('x')}", environment).value() is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${getUri('https')}", "getUri\\(\\) takes 7 arguments and has 1"),
        ("${getUri('https', null, 'h', 'x', '/', null, null)}", "has 'x' as port; write a number"),
        ("${getUri('a b', null, 'h', 1, '/', null, null)}", "has 'a b' as scheme; it must be a"),
        ("${getUri('http', null, 'h', 1, 'p', null, null)}", "has 'p' as path; it must start"),
        ("${hostname(${a})}", "hostname\\(\\) takes true or false, nothing that is computed"),
        ("${now('x')}", "now\\(\\) takes no arguments and has 1"),
        ("${literal()}", "literal\\(\\) takes 1 argument and has 0"),
    ],
)
def test_bad_argument_is_named(value: Evaluate, text: str, words: str) -> None:
    with pytest.raises(ExpressionError, match=words):
        value(text)
