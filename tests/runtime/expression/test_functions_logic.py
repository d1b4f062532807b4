from typing import Any

import pytest

from runtime.expression import ExpressionError

Evaluate = Any


@pytest.mark.parametrize(
    ("text", "subject", "result"),
    [
        ("${a:isNull()}", "", False),
        ("${a:notNull()}", "", True),
        ("${a:isEmpty()}", " \n", True),
        ("${a:isEmpty()}", "x", False),
        ("${a:equals('x')}", "x", True),
        ("${a:equals('X')}", "x", False),
        ("${a:equals(null)}", "x", False),
        ("${a:equals(5)}", "5", True),
        ("${a:equals(5.0)}", "5", False),
        ("${a:toNumber():equals(5)}", "5", True),
        ("${a:toNumber():equals('5')}", "5", True),
        ("${a:plus(0):equals(5.0)}", "5", False),
        ("${a:isNull():equals('false')}", "x", True),
        ("${a:isNull():equals(false)}", "x", True),
        ("${a:equals(${b})}", "bee", True),
        ("${a:toDate('yyyy'):equals(0)}", "1970", True),
        ("${a:toDate('yyyy'):toInstant():equals('1970-01-01T00:00:00Z')}", "1970", True),
        ("${a:toDecimal():equals(${a:toDecimal()})}", "NaN", True),
        ("${a:equalsIgnoreCase('X')}", "x", True),
        ("${a:in('x', 'y')}", "y", True),
        ("${a:in('x', ${b})}", "bee", True),
        ("${a:in('x')}", "z", False),
        ("${a:gt(4)}", "5", True),
        ("${a:ge(5)}", "5.0", True),
        ("${a:lt('0x6')}", "5", True),
        ("${a:le(4.9)}", "5", False),
        ("${a:gt(4)}", "many", False),
        ("${a:gt('many')}", "5", False),
        ("${a:startsWith('ab')}", "abc", True),
        ("${a:endsWith('bc')}", "abc", True),
        ("${a:contains('b')}", "abc", True),
        ("${a:contains(null)}", "abc", False),
        ("${a:find('b')}", "abc", True),
        ("${a:matches('b')}", "abc", False),
        ("${a:matches('[a-c]+')}", "abc", True),
        (r"${a:matches('(\w)\1.*')}", "aab", True),
        ("${a:find(${b})}", "bee", True),
        ("${a:indexOf('b')}", "abcb", 1),
        ("${a:lastIndexOf('b')}", "abcb", 3),
        ("${a:indexOf('x')}", "abc", -1),
        ("${a:isEmpty():not()}", "x", True),
        ("${a:isEmpty():or(${a:equals('x')})}", "x", True),
        ("${a:isEmpty():and(true)}", "x", False),
        ("${a:and('TRUE')}", "true", True),
        ("${a:ifElse('yes', 'no')}", "true", "yes"),
        ("${a:isNull():ifElse('yes', 'no')}", "x", "no"),
        ("${a:isJson()}", ' {"a": [1]} ', True),
        ("${a:isJson()}", "[1, NaN]", False),
        ("${a:isJson()}", "[" * 100_000 + "]" * 100_000, False),
        ("${a:isJson()}", '"text"', False),
    ],
)
def test_function_gives(value: Evaluate, text: str, subject: str, result: Any) -> None:
    assert value(text, a=subject, b="bee") == result


@pytest.mark.parametrize(
    ("call", "result"),
    [
        ("isNull()", True),
        ("notNull()", False),
        ("isEmpty()", True),
        ("equals('')", False),
        ("equalsIgnoreCase('')", False),
        ("in('x')", False),
        ("gt(-1)", False),
        ("contains('')", False),
        ("startsWith('')", False),
        ("matches('.*')", False),
        ("indexOf('')", -1),
        ("lastIndexOf('')", -1),
        ("isJson()", False),
        ("not()", None),
        ("ifElse('yes', 'no')", "no"),
    ],
)
def test_missing_subject_gives(value: Evaluate, call: str, result: Any) -> None:
    assert value(f"${{missing:{call}}}") == result


@pytest.mark.parametrize(
    "call", ["equalsIgnoreCase", "gt", "startsWith", "endsWith", "contains", "find", "matches"]
)
def test_missing_argument_never_holds(value: Evaluate, call: str) -> None:
    assert value(f"${{a:{call}(${{missing}})}}", a="x") is False


def test_only_the_chosen_side_is_evaluated(value: Evaluate) -> None:
    assert value("${a:isNull():ifElse(${a:toDate('yyyy')}, 'fine')}", a="x") == "fine"
    assert value("${a:isNull():and(${a:toDate('yyyy'):gt(1)})}", a="x") is False
    assert value("${a:notNull():or(${a:toDate('yyyy'):gt(1)})}", a="x") is True
    assert value("${a:replaceNull(${a:toDate('yyyy')})}", a="x") == "x"


def test_truth_is_no_number(value: Evaluate) -> None:
    with pytest.raises(ExpressionError, match="works on must be a number, and this is true or fal"):
        value("${a:isNull():gt(1)}")


def test_number_is_no_truth(value: Evaluate) -> None:
    with pytest.raises(ExpressionError, match="argument 1 of or\\(\\) must be true or false, and"):
        value("${a:isNull():or(5)}")
