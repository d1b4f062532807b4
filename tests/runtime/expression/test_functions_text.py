from typing import Any

import pytest

from runtime.expression import ExpressionError

Evaluate = Any

CASES = [
    ("${a:toUpper()}", "X y", "X Y"),
    ("${a:toLower()}", "X y", "x y"),
    ("${a:trim()}", " \tx ", "x"),
    ("${a:length()}", "abc", 3),
    ("${a:append('!')}", "x", "x!"),
    ("${a:prepend('!')}", "x", "!x"),
    ("${a:append(null)}", "x", "x"),
    ("${a:substring(1)}", "abc", "bc"),
    ("${a:substring(1, 2)}", "abc", "b"),
    ("${a:substring(4)}", "abc", ""),
    ("${a:substring(-1)}", "abc", ""),
    ("${a:substring(2, 1)}", "abc", ""),
    ("${a:substringBefore('.')}", "a.b.c", "a"),
    ("${a:substringBeforeLast('.')}", "a.b.c", "a.b"),
    ("${a:substringAfter('.')}", "a.b.c", "b.c"),
    ("${a:substringAfterLast('.')}", "a.b.c", "c"),
    ("${a:substringBefore('x')}", "a.b", "a.b"),
    ("${a:substringBeforeLast('x')}", "a.b", "a.b"),
    ("${a:substringAfter('x')}", "a.b", "a.b"),
    ("${a:substringAfterLast('x')}", "a.b", "a.b"),
    ("${a:substringAfterLast('')}", "a.b", "a.b"),
    ("${a:replace('.', '_')}", "a.b.c", "a_b_c"),
    ("${a:replace('', '-')}", "ab", "-a-b-"),
    (r"${a:replaceFirst('(\w)\.', '<$1>')}", "a.b.c", "<a>b.c"),
    (r"${a:replaceAll('\.(\w)', '-$1')}", "a.b.c", "a-b-c"),
    ("${a:replaceAll('(?<=a)b', 'x')}", "ab b", "ax b"),
    ("${a:replaceByPattern('x.*:one, a.*:two')}", "abc", "two"),
    ("${a:replaceByPattern('x.*:one')}", "abc", "abc"),
    ("${a:padLeft(5)}", "abc", "__abc"),
    ("${a:padLeft(6, 'xy')}", "abc", "xyxabc"),
    ("${a:padRight(5)}", "abc", "abc__"),
    ("${a:padRight(6, 'xy')}", "abc", "abcxyx"),
    ("${a:padRight(2)}", "abc", "abc"),
    ("${a:padLeft(9999999999)}", "abc", "abc"),
    ("${a:repeat(3)}", "ab", "ababab"),
    ("${a:repeat(2, 2)}", "ab", "abab"),
    ("${a:unique(',')}", "b,a,b", "b,a"),
    ("${a:unique('')}", "b,b", "b,b"),
    ("${a:compactDelimitedList('|')}", "||a||b|", "a|b"),
    ("${a:trimDelimitedList(',')}", ",,a,,b,", "a,,b"),
    ("${a:trimDelimitedList(',')}", ",,", ""),
    ("${a:getDelimitedField(2)}", "a,b,c", "b"),
    ("${a:getDelimitedField(2, ';')}", "a;b;c", "b"),
    ("${a:getDelimitedField(2)}", 'a,"b,c",d', '"b,c"'),
    (r"${a:getDelimitedField(2, ',', '\"', '\\', true)}", 'a,"b,\\"c",d', 'b,"c'),
    (r"${a:getDelimitedField(1)}", "a\\,b,c", "a\\,b"),
    ("${a:getDelimitedField(4)}", "a,b,c", ""),
    ("${a:getDelimitedField(0)}", "a,b,c", ""),
    ("${a:replaceNull('x')}", "", ""),
    ("${a:replaceEmpty('x')}", " ", "x"),
    ("${a:replaceEmpty('x')}", "b", "b"),
    ("${a:toString():length()}", "abc", 3),
]


@pytest.mark.parametrize(("text", "subject", "result"), CASES)
def test_function_gives(value: Evaluate, text: str, subject: str, result: Any) -> None:
    assert value(text, a=subject) == result


@pytest.mark.parametrize(
    ("call", "result"),
    [
        ("toUpper()", None),
        ("trim()", None),
        ("replace('a', 'b')", None),
        ("replaceAll('a', 'b')", None),
        ("padLeft(3)", None),
        ("hash('MD5')", None),
        ("append('x')", "x"),
        ("prepend('x')", "x"),
        ("length()", 0),
        ("substring(1)", ""),
        ("substringAfter('x')", ""),
        ("repeat(2)", ""),
        ("unique(',')", ""),
        ("getDelimitedField(1)", ""),
        ("escapeJson()", ""),
        ("replaceNull('x')", "x"),
        ("replaceEmpty('x')", "x"),
    ],
)
def test_missing_subject_gives(value: Evaluate, call: str, result: Any) -> None:
    assert value(f"${{missing:{call}}}") == result


def test_arguments_may_be_computed(value: Evaluate) -> None:
    assert value("${a:replaceAll(${b}, '${c}')}", a="a1", b="[0-9]", c="x") == "ax"
    assert value("${a:padLeft(${b}, ${c})}", a="a", b="3", c="0") == "00a"


def test_repeat_draws_from_its_range_each_time(value: Evaluate) -> None:
    lengths = {len(value("${a:repeat(1, 3)}", a="x")) for _ in range(200)}

    assert lengths == {1, 2, 3}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${a:repeat(0)}", "repeat\\(\\) is asked for 0 to 0 times; the first number must be"),
        ("${a:repeat(3, 2)}", "repeat\\(\\) is asked for 3 to 2 times"),
        ("${a:getDelimitedField(1, '')}", "has '' as delimiter character; it must be a single"),
        ("${a:getDelimitedField(1, '\"')}", "has the same character twice; delimiter, quote and"),
        ("${a:getDelimitedField('x')}", "has no index; the first field is 1"),
        ("${a:replaceAll('(', '')}", "the regular expression is '\\(', which is not a regular"),
        ("${a:replaceAll('a', '$1')}", "refers to group 1; the pattern has 0"),
        ("${a:replaceByPattern('nocolon')}", "has the rule 'nocolon'; a rule is 'pattern:repl"),
    ],
)
def test_bad_argument_is_found_while_compiling(value: Evaluate, text: str, words: str) -> None:
    with pytest.raises(ExpressionError, match=words):
        value(text)


@pytest.mark.parametrize(
    "call", ["matches('^(a|aa)+$(?!x)')", "replaceAll('^(a|aa)+$(?!x)', '')",
             "replaceByPattern('^(a|aa)+$(?!x)b:c')"]
)  # fmt: skip
def test_backtracking_is_bounded(
    value: Evaluate, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.patterns.TIME_LIMIT_SECONDS", 0.05)
    with pytest.raises(ExpressionError, match="takes longer than 0.05 s on this text"):
        value(f"${{a:{call}}}", a="a" * 60 + "b")
