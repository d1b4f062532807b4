from typing import Any

import pytest

from runtime.expression import ExpressionError

Evaluate = Any
GIVEN = {"a1": "1", "a2": "22", "b": "x", "yes": "true"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${anyAttribute('a1', 'b'):equals('x')}", True),
        ("${anyAttribute('a1', 'a2'):equals('x')}", False),
        ("${allAttributes('a1', 'a2'):matches('[0-9]+')}", True),
        ("${allAttributes('a1', 'b'):matches('[0-9]+')}", False),
        ("${allAttributes('a1', 'missing'):isNull()}", False),
        ("${allAttributes('a1', 'HOME_CITY'):join('-')}", "1-Oslo"),
        ("${allAttributes('a1', 'missing', 'b'):join(',')}", "1,,x"),
        ("${allAttributes('a1', 'missing', 'b'):count()}", 2),
        ("${allAttributes('a1', 'a2'):toNumber():plus(1):join('+')}", "2+23"),
        ("${anyMatchingAttribute('a.'):length():gt(1)}", True),
        ("${allMatchingAttributes('a.'):length():gt(1)}", False),
        ("${allMatchingAttributes('a.'):length():gt(1):count()}", 1),
        ("${allMatchingAttributes('a.', 'b'):join('')}", "122x"),
        ("${allMatchingAttributes('nothing'):isNull()}", True),
        ("${allMatchingAttributes('nothing'):count()}", 0),
        ("${allMatchingAttributes('path'):join('')}", "./"),
        ("${anyMatchingAttribute('a.'):equals('1'):and(${b:equals('x')})}", True),
        ("${anyMatchingAttribute('a.'):equals('1'):not()}", True),
        ("${anyDelineatedValue('p,q,r', ','):equals('q')}", True),
        ("${allDelineatedValues(${list}, '|'):count()}", 5),
        ("${allDelineatedValues('p,q,,', ','):join('-')}", "p-q"),
        ("${anyDelineatedValue(${missing}, ','):isNull()}", True),
        ("${allAttributes('yes'):equals(${anyAttribute('b'):equals('x')})}", True),
        ("${literal(${allAttributes('a1', 'a2'):join(',')}):length()}", 4),
        ("${b:join(',')}", "x"),
        ("${missing:join(',')}", ""),
        ("${b:count()}", 1),
        ("${missing:count()}", 0),
    ],
)
def test_chain_is_folded_over_the_values(value: Evaluate, text: str, result: Any) -> None:
    # A delimiter is a regular expression, as in NiFi: `|` alone splits between all characters.
    assert value(text, **GIVEN, list="1|2|3") == result


def test_matching_sees_what_every_flowfile_has(value: Evaluate) -> None:
    assert value("${allMatchingAttributes('uuid|filename|path'):count()}") == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "${anyAttribute('a'):toUpper()}",
            "several values; the expression must end in a condition$",
        ),
        ("${allAttributes('a'):toUpper()}", "must end in a condition, join\\(\\) or count\\(\\)"),
        ("${anyAttribute('a'):count()}", "the expression must end in a condition"),
        ("${allAttributes('a'):join(','):toUpper()}", "join\\(\\) ends the expression; to go on"),
        (
            "${a:count():plus(1)}",
            "count\\(\\) ends the expression; .*literal\\(\\$\\{...\\}\\):plus",
        ),
        ("${allAttributes('a'):join()}", "join\\(\\) takes 1 argument and has 0"),
        ("${allAttributes()}", "takes names in quotes, at least one, and none that is computed"),
        ("${anyAttribute(''):isNull()}", "takes names in quotes, at least one"),
        ("${anyAttribute(${a}):isNull()}", "takes names in quotes"),
        ("${anyDelineatedValue('a'):isNull()}", "takes a text and a delimiter"),
        ("${allMatchingAttributes('('):count()}", "the regular expression is '\\('"),
        ("${a:allAttributes('b')}", "allAttributes\\(\\) stands at the start of an expression"),
    ],
)
def test_mistake_is_named(value: Evaluate, text: str, words: str) -> None:
    with pytest.raises(ExpressionError, match=words):
        value(text)


def test_backtracking_is_bounded(value: Evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.patterns.TIME_LIMIT_SECONDS", 0.05)
    for text in ("${anyMatchingAttribute('^(a|aa)+$(?!x)'):isNull()}",
                 "${anyDelineatedValue(${text}, '^(a|aa)+$(?!x)'):isNull()}"):  # fmt: skip
        with pytest.raises(ExpressionError, match="takes longer than 0.05 s on this text"):
            value(text, **{"a" * 60 + "b": "x", "yes": "true"}, text="a" * 60 + "b")
