"""NiFi's Expression Language: `${filename:toUpper()}` in the texts of properties.

A text is compiled once, when the property is set, and evaluated for each flowfile:

    text --template--> plain pieces, ${...}, #{...}
    ${...} --parse (grammar.lark)--> syntax --compile--> nested closures

Everything that can be decided is decided while compiling: names, types and casts, the number of
arguments, regular expressions and date patterns in quotes, parameters. What is wrong then raises
`ExpressionError` with the place in the text and a guess. While evaluating, the same error means
that a value does not fit (a text that is no date) or that a result passes its limit.

Evaluation is bounded: texts have at most 10 million characters, regular expressions run in linear
time or under a time limit, an expression nests at most 50 levels, and `evaluateELString` may run
at most 8 levels deep and 1,000 times for one flowfile.

Where it differs from NiFi, on purpose: a function's name may be an attribute's name (`${count}`);
lengths and positions count characters, not UTF-16 units; a mistake in a constant is found when
the property is set; `$$` is only special before `{`.
"""

from runtime.expression.environment import Environment
from runtime.expression.errors import ExpressionError
from runtime.expression.expression import (
    Condition,
    Expression,
    compile_condition,
    compile_expression,
)

__all__ = [
    "Condition",
    "Environment",
    "Expression",
    "ExpressionError",
    "compile_condition",
    "compile_expression",
]
