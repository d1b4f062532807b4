import inspect
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.expression import (
    Condition,
    Environment,
    Expression,
    ExpressionError,
    compile_condition,
    compile_expression,
)
from runtime.expression.expression import COMPILED_MAX, TEXT_LENGTH_MAX
from runtime.flowfile import FlowFile, Identity

Evaluate = Any


def flowfile(**attributes: str) -> FlowFile:
    return FlowFile(7, attributes, None, 1000, 2000, 30)


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("plain", "plain"),
        ("", ""),
        ("${a} and ${b}", "x and y"),
        ("${missing}", ""),
        ("[${missing}]", "[]"),
        ("'${a}'", "'x'"),
        ("${a:toUpper()}${b:length()}", "X1"),
        ("${ a\n : # a remark\n append( 'z' ) }", "xz"),
        ("${'with space'}", "quoted"),
        ("${${points}}", "x"),
        ("${count}", "an attribute may be called like a function"),
    ],
)
def test_text_is_rendered(text: str, rendered: str, environment: Environment) -> None:
    given = flowfile(
        a="x",
        b="y",
        points="a",
        count="an attribute may be called like a function",
        **{"with space": "quoted"},
    )

    assert compile_expression(text, environment).evaluate(given) == rendered


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("$${a}", "${a}"),
        ("$$${a}", "$x"),
        ("$$$${a}", "$${a}"),
        ("$$$$${a}", "$$x"),
        ("${a}$${a}$$${a}", "x${a}$x"),
        ("$5 and $$5", "$5 and $$5"),
        ("open $$${5", "open $$${5"),
        ("${a} and ${5", "x and ${5"),
        ("${literal('a$$')}", "a$$"),
        ("${'$$${a}'}", "dollar x"),
        ("${literal('$${a}')}", "${a}"),
        ("##{speed} ###{speed}", "#{speed} #3600"),
        ("#5 {x} #{", "#5 {x} #{"),
    ],
)
def test_dollars_and_hashes_are_escaped_in_pairs_before_a_brace(
    text: str, rendered: str, environment: Environment
) -> None:
    given = flowfile(a="x", **{"$x": "dollar x"})

    assert compile_expression(text, environment).evaluate(given) == rendered


@pytest.mark.parametrize(
    ("source", "result"),
    [
        (r"'a\'b'", "a'b"),
        (r'"a\"b"', 'a"b'),
        (r"'a\nb\rc\td'", "a\nb\rc\td"),
        (r"'a\\b'", r"a\b"),
        (r"'a\\nb'", r"a\nb"),
        (r"'\d+'", r"\d+"),
        ("'${a:append(\\'!\\')}'", "x!"),
        ("'<${a}|${a}>'", "<x|x>"),
    ],
)
def test_quoted_text_keeps_nifis_escapes(value: Evaluate, source: str, result: str) -> None:
    assert value(f"${{literal({source})}}", a="x") == result


def test_attributes_win_over_variables_and_extra_over_both(environment: Environment) -> None:
    name = compile_expression("${name} ${HOME_CITY}", environment)

    assert name.evaluate(flowfile()) == "from the environment Oslo"
    assert name.evaluate(flowfile(name="own")) == "own Oslo"
    assert name.evaluate(flowfile(name="own"), {"name": "extra"}) == "extra Oslo"
    assert name.evaluate() == "from the environment Oslo"


def test_extra_wins_over_what_every_flowfile_has(environment: Environment) -> None:
    assert compile_expression("${uuid}", environment).evaluate(flowfile(), {"uuid": "x"}) == "x"


def test_every_flowfile_has_identity_and_times(environment: Environment) -> None:
    uuid = environment.identity.uuid(7)

    rendered = compile_expression(
        "${uuid} ${filename} ${path} ${flowFileId} ${fileSize} ${entryDate} ${lineageStartDate}",
        environment,
    ).evaluate(flowfile())

    assert rendered == f"{uuid} {uuid} ./ 7 30 2000 1000"


def test_own_filename_and_path_win(environment: Environment) -> None:
    given = flowfile(filename="a.txt", path="in/")

    assert compile_expression("${path}${filename}", environment).evaluate(given) == "in/a.txt"


def test_computed_names_reach_what_every_flowfile_has(value: Evaluate) -> None:
    assert value("${${which}}", which="fileSize") == "30"
    assert value("${'${which}'}", which="HOME_CITY") == "Oslo"
    assert value("${${missing}}") is None


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("#{speed}", "3600"),
        ("${#{speed}:plus(1)}", "3601"),
        ("${now():format(#{Date Format})}", "2023"),
        ("${now():format(#{'Date Format'})}", "2023"),
        ("#{template}", "<own>"),
        ("${#{template}}", "<${name}>"),
    ],
)
def test_parameters_are_resolved_first(text: str, rendered: str, environment: Environment) -> None:
    assert compile_expression(text, environment).evaluate(flowfile(name="own")) == rendered


@pytest.mark.parametrize("text", ["#{sped}", "${#{sped}}", "${a:append(#{sped})}"])
def test_unknown_parameter_is_named_with_a_guess(text: str, environment: Environment) -> None:
    with pytest.raises(ExpressionError, match=r"parameter 'sped' does not exist. Did you mean #"):
        compile_expression(text, environment)


def test_value_keeps_the_type(value: Evaluate) -> None:
    assert value("${a:toNumber()}", a=" 5 ") == 5
    assert value("${a:toDecimal()}", a="5") == 5.0
    assert value("${a:isEmpty()}", a="") is True
    assert value("${missing}") is None
    assert value("x${a}", a="5") == "x5"
    assert value("${now()}") == datetime(2023, 11, 14, 22, 13, 20, 500000, UTC)


def test_constant_expressions_say_so(environment: Environment) -> None:
    def is_constant(text: str) -> bool:
        return compile_expression(text, environment).is_constant

    assert is_constant("text") and is_constant("#{speed}")
    assert is_constant("${literal(5):plus(2):toString()}")
    assert not is_constant("${a}") and not is_constant("${now()}")
    assert not is_constant("${literal('a'):repeat(1, 3)}")


def test_attribute_names_are_those_that_the_text_reads(environment: Environment) -> None:
    text = "${a:append(${b})} ${'c${d}'} ${allAttributes('e','f'):join(',')} #{speed}"

    assert compile_expression(text, environment).attribute_names == {"a", "b", "d", "e", "f"}


def test_evaluate_all_agrees_with_evaluate(environment: Environment) -> None:
    flowfiles = [flowfile(n=str(number), k="x") for number in range(1500)]
    del flowfiles[3].attributes["n"]
    for text in ("${n}", "${n:toNumber():mod(7)}", "${n:append(${k})}", "-${n}", "${uuid}", "c"):
        expression = compile_expression(text, environment)
        for _ in range(2):  # the second time results are remembered, or known not to repeat
            assert expression.evaluate_all(flowfiles) == [
                expression.evaluate(one) for one in flowfiles
            ]


def test_condition_answers_for_each_flowfile(environment: Environment) -> None:
    condition = compile_condition("${arr_delay:toNumber():gt(15)}", environment)
    flowfiles = [flowfile(arr_delay="16"), flowfile(arr_delay="15"), flowfile(arr_delay="NA")]

    assert condition.evaluate_all([*flowfiles, flowfile()]) == [True, False, False, False]
    assert [condition.evaluate(one) for one in flowfiles] == [True, False, False]
    assert condition.evaluate(flowfile(), {"arr_delay": "20"}) is True


def test_condition_with_a_text_holds_when_it_says_true(environment: Environment) -> None:
    condition = compile_condition(" ${flag} ", environment)

    flowfiles = [flowfile(flag=" TRUE "), flowfile(flag="yes"), flowfile()]
    assert condition.evaluate_all(flowfiles) == [True, False, False]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("${a:length()}", "a number"),
        ("${a:plus(1)}", "a number"),
        ("${a:toDecimal()}", "a number"),
        ("${now()}", "a date"),
    ],
)
def test_condition_must_be_boolean(text: str, kind: str, environment: Environment) -> None:
    with pytest.raises(ExpressionError, match=f"^is {kind}; a condition must be true or false$"):
        compile_condition(text, environment)


@pytest.mark.parametrize("text", ["true", "", "x${a}", "${a}${b}", "${a", "$${a}", "#{speed}"])
def test_condition_is_exactly_one_expression(text: str, environment: Environment) -> None:
    with pytest.raises(ExpressionError, match="a condition is exactly one expression, like"):
        compile_condition(text, environment)


def test_condition_names_the_place_of_a_mistake(environment: Environment) -> None:
    with pytest.raises(ExpressionError, match="at position 5 'isNul' is not a function. Did you"):
        compile_condition("${a:isNul()}", environment)


def test_same_text_and_environment_give_the_same_object(environment: Environment) -> None:
    assert compile_expression("${a}", environment) is compile_expression("${a}", environment)
    assert compile_condition("${a}", environment) is compile_condition("${a}", environment)
    assert isinstance(compile_condition("${a}", environment), Condition)
    other = Environment(identity=Identity(1))
    assert compile_expression("${a}", environment) is not compile_expression("${a}", other)


def test_kept_expressions_are_bounded() -> None:
    environment = Environment(identity=Identity(1))
    for number in range(COMPILED_MAX + 10):
        compile_expression(f"text {number}", environment)

    assert len(environment.compiled) <= COMPILED_MAX


def test_text_is_bounded(environment: Environment) -> None:
    with pytest.raises(ExpressionError, match="is a text of 100,001 characters; at most 100,000"):
        compile_expression("a" * (TEXT_LENGTH_MAX + 1), environment)


def test_error_while_evaluating_names_expression_and_value(value: Evaluate) -> None:
    with pytest.raises(
        ExpressionError,
        match=r"^expression '\$\{a:toDate\('yyyy'\)\}': toDate\(\) has 'x', which does not follow",
    ):
        value("${a:toDate('yyyy')}", a="x")


def test_errors_reach_every_way_to_evaluate(environment: Environment) -> None:
    condition = compile_condition("${a:toDate('yyyy'):toNumber():gt(1)}", environment)
    expression = compile_expression("${a:toDate('yyyy')}", environment)
    bad = flowfile(a="x")

    for evaluate in (condition.evaluate, expression.evaluate, expression.value):
        with pytest.raises(ExpressionError, match="expression '.*': toDate"):
            evaluate(bad)
    for evaluate_all in (condition.evaluate_all, expression.evaluate_all):
        with pytest.raises(ExpressionError, match="expression '.*': toDate"):
            evaluate_all([bad])


def test_expressions_show_their_text(environment: Environment) -> None:
    assert str(compile_expression("${a}", environment)) == "${a}"
    assert repr(compile_expression("${a}", environment)) == "Expression('${a}')"
    assert str(compile_condition("${a}", environment)) == "${a}"
    assert repr(compile_condition("${a}", environment)) == "Condition('${a}')"


def test_evaluate_el_string_sees_attributes_but_no_parameters(value: Evaluate) -> None:
    assert value("${q:evaluateELString():toUpper()}", q="id=${id}", id="a1") == "ID=A1"
    assert value("${q:evaluateELString()}", q="<#{speed}>") == "<>"
    assert value("${missing:evaluateELString()}") is None


def test_attribute_that_evaluates_itself_ends(value: Evaluate) -> None:
    with pytest.raises(ExpressionError, match="evaluateELString\\(\\) runs 9 levels deep; at most"):
        value("${q:evaluateELString()}", q="${q:evaluateELString()}")


def test_attributes_that_multiply_each_other_end(value: Evaluate) -> None:
    step = {f"a{n}": f"${{a{n + 1}:evaluateELString()}}" * 20 for n in range(7)}

    with pytest.raises(ExpressionError, match="runs more than 1,000 times for one value"):
        value("${a0:evaluateELString()}", **step, a7="x")


def test_mistake_in_an_evaluated_attribute_is_reported(value: Evaluate) -> None:
    with pytest.raises(ExpressionError, match="is '\\$\\{x:nope\\(\\)\\}'; at position 5 'nope'"):
        value("${q:evaluateELString()}", q="${x:nope()}")


def test_import_is_cheap_until_the_first_expression() -> None:
    program = (
        "import sys\n"
        "from runtime.expression import Environment, compile_expression\n"
        "from runtime.flowfile import Identity\n"
        "compile_expression('plain $5', Environment(identity=Identity(1)))\n"
        "heavy = {'lark', 're2', 'regex', 'jsonpath'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "compile_expression('${a}', Environment(identity=Identity(1)))\n"
        "assert 'lark' in sys.modules and 'jsonpath' not in sys.modules\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


WORDS = """
    ${ } ( ) : , ' " \\ # #{ $ a b 'a' 1 -2.5 null true append toNumber equals plus now literal
    allAttributes join replaceAll '(' matches format toDate 'yyyy' repeat 99999999
"""
PIECES = st.sampled_from(WORDS.split())


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES | st.text(max_size=3), max_size=20).map("".join), st.text(max_size=10))
@example("${a:toNumber():multiply(9e307):multiply(9e307):toNumber()}", "1")
@example("${a:plusDuration('999999999999999999 years')}", "1")
@example("${a:urlEncode()}${a:UUID3(null)}${a:escapeJson()}", "\ud800")
def test_no_text_and_no_value_raise_anything_else(text: str, attribute: str) -> None:
    environment = Environment(identity=Identity(1), variables={})
    started = time.monotonic()
    try:
        expression = compile_expression(text, environment)
        assert isinstance(expression, Expression)
        assert isinstance(expression.evaluate(flowfile(a=attribute, b=attribute)), str)
        compile_condition(text, environment).evaluate(flowfile(a=attribute))
    except ExpressionError as error:
        assert str(error)
    assert time.monotonic() - started < 20


def test_deep_nesting_is_refused(environment: Environment) -> None:
    deep = "${" * 60 + "a" + "}" * 60
    with pytest.raises(ExpressionError, match="expressions nest deeper than 50 levels"):
        compile_expression(deep, environment)
    assert compile_expression("${" * 50 + "a" + "}" * 50, environment).evaluate(flowfile()) == ""


def test_long_chains_run_or_are_refused(value: Evaluate, environment: Environment) -> None:
    assert value("${a" + ":append('b')" * 1000 + ":length()}", a="a") == 1001
    with pytest.raises(ExpressionError, match="nests more than 150 calculations; split it"):
        compile_expression("${a" + ":append(${b})" * 200 + "}", environment)


def test_callers_deep_in_the_stack_get_the_same_error(environment: Environment) -> None:
    expression = compile_expression("${a" + ":append(${b})" * 100 + "}", environment)
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(len(inspect.stack(0)) + 60)
        with pytest.raises(ExpressionError, match="^expression '.*…' nests too deep; split it$"):
            expression.evaluate(flowfile(a="x", b="y"))
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize(
    "text",
    [
        "${a:repeat(999999999)}",
        "${a:padLeft(999999999)}",
        "${a:padRight(999999999, 'xyz')}",
        "${literal(5):toRadix(2, 999999999)}",
        "${a" + ":replace('a', 'aaaaaaaaaa')" * 9 + "}",
        "${literal('\\\\\"')" + ":escapeJson()" * 25 + "}",
        "${literal(',\"')" + ":escapeCsv()" * 40 + "}",
        "${a" + ":base64Encode()" * 100 + "}",
    ],
)
def test_results_are_bounded(text: str, environment: Environment) -> None:
    with pytest.raises(ExpressionError, match="more than 10,000,000 characters"):
        compile_expression(text, environment).evaluate(flowfile(a="a"))


def test_replaced_text_is_bounded(value: Evaluate) -> None:
    with pytest.raises(ExpressionError, match="replacing '_' makes a text of more than 10,000,000"):
        value("${a:padLeft(200):replaceAll('_', ${b})}", a="a", b="b" * 60_000)


def test_no_text_reaches_python_as_code(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_expression("${a:append('b')}", environment)  # the parser makes itself beforehand

    def forbidden(*arguments: object, **options: object) -> None:
        raise AssertionError("an expression must not be compiled or evaluated as Python")

    for name in ("eval", "exec", "compile"):
        monkeypatch.setattr(f"builtins.{name}", forbidden)
    text = "${a:append('__import__(\"os\")'):replace(${b}, 'x'):equals('y')} ${'eval(1)'}"
    expression = compile_expression(text, environment)

    assert expression.evaluate(flowfile(a="exec('1')", b="1")) == "false "
