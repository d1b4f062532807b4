import pytest

from processors.template import Template
from runtime.expression import Environment, ExpressionError
from runtime.flowfile import FlowFile, Identity
from runtime.patterns import PatternError

ENVIRONMENT = Environment(identity=Identity(0))


def flowfile(**attributes):
    return FlowFile(1, attributes, None, 0, 0, 0)


def test_text_is_kept_in_its_parts():
    template = Template("a.${x}$1", ENVIRONMENT)

    first, expression, last = template.parts
    assert (first, expression.text, last) == ("a.", "${x}", "$1")
    assert not template.is_constant
    assert template.evaluate(flowfile(x=".")) == "a..$1"


def test_values_stand_for_themselves_in_a_pattern():
    pattern = Template(r"^${x}\d$", ENVIRONMENT).pattern(flowfile(x="a.(+\\E $"))

    assert pattern.matches("a.(+\\E $1")
    assert not pattern.matches("ab(+\\E $1")


def test_escaped_expression_is_literal():
    assert Template("$${x}", ENVIRONMENT).evaluate(flowfile(x="1")) == "${x}"


def test_bad_expression_and_bad_pattern_are_refused():
    with pytest.raises(ExpressionError):
        Template("${x:nothing()}", ENVIRONMENT)
    with pytest.raises(PatternError, match="is not a regular expression"):
        Template("(${x}", ENVIRONMENT).pattern(flowfile(x="a"))
