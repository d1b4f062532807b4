"""`Expression` and `Condition`: what the engine and the processors hold.

Texts without `${` and `#{` never reach the parser, so importing this is cheap.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, final

from runtime.expression.environment import Environment
from runtime.expression.errors import ExpressionError, PlacedError, placed, shown
from runtime.expression.template import pieces
from runtime.flowfile import FlowFile

if TYPE_CHECKING:
    from runtime.expression.compile import Compiler
    from runtime.expression.nodes import Node, Run

COMPILED_MAX: Final = 2000
TEXT_LENGTH_MAX: Final = 100_000
NESTED_LEVELS_MAX: Final = 8
NESTED_RUNS_MAX: Final = 1000

_NO_ATTRIBUTES: Final[Mapping[str, str]] = {}


@final
class Expression:
    """A compiled text; immutable, safe to use from many threads.

    `attribute_names` are the attributes that it names in its text; names that are computed, or
    matched by a pattern, are not among them. `is_constant` says that no flowfile changes it.
    """

    __slots__ = (
        "text", "is_constant", "attribute_names", "_constant", "_run", "_single", "_batch",
        "_filled",
    )  # fmt: skip

    def __init__(
        self, text: str, node: Node | str, *, single: Node | None, names: frozenset[str]
    ) -> None:
        self.text = text
        self.attribute_names = names
        self._single = single
        self._run: Run | None = None
        self._batch: Callable[[Sequence[FlowFile]], list[Any]] | None = None
        self._filled = False
        self._constant = node if isinstance(node, str) else ""
        self.is_constant = isinstance(node, str)
        if not isinstance(node, str):
            from runtime.expression.nodes import Lookup, batch, lookup

            if isinstance(node.source, Lookup) and not node.steps:
                node = lookup(node.source.name, node.source.default or "")
                self._filled = True
            self._run, self._batch = node.run, batch(node)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def evaluate(
        self, flowfile: FlowFile | None = None, extra: Mapping[str, str] | None = None
    ) -> str:
        """Render the text; a missing value is an empty text.

        Args:
            extra: names that win over the flowfile's attributes.

        Raises:
            ExpressionError: a value does not fit, or the result is too long.
        """
        if self._run is None:
            return self._constant
        attributes = _NO_ATTRIBUTES if flowfile is None else flowfile.attributes
        if extra:
            attributes = {**attributes, **extra}
        try:
            return self._run(attributes, flowfile) or ""
        except (ExpressionError, RecursionError) as error:
            raise _while_evaluating(self.text, error) from error

    def evaluate_all(self, flowfiles: Sequence[FlowFile]) -> list[str]:
        """Render the text for each flowfile, in their order; raises as `evaluate` does."""
        if self._batch is None:
            return [self._constant] * len(flowfiles)
        try:
            values = self._batch(flowfiles)
            return values if self._filled else [value or "" for value in values]
        except (ExpressionError, RecursionError) as error:
            raise _while_evaluating(self.text, error) from error

    def value(self, flowfile: FlowFile | None = None) -> str | bool | int | float | datetime | None:
        """Return the typed result of a text that is exactly one `${...}`, else the rendered text.

        Dates and instants come as aware datetimes, a missing value as None.
        """
        if self._single is None:
            return self.evaluate(flowfile)
        from runtime.expression.values import Type, as_datetime

        attributes = _NO_ATTRIBUTES if flowfile is None else flowfile.attributes
        try:
            value = self._single.run(attributes, flowfile)
            if value is not None and self._single.type in (Type.DATE, Type.INSTANT):
                return as_datetime(value, self._single.type)
        except (ExpressionError, RecursionError) as error:
            raise _while_evaluating(self.text, error) from error
        return value  # type: ignore[no-any-return]  # the types that the language has


@final
class Condition:
    """A compiled condition; immutable, safe to use from many threads."""

    __slots__ = ("text", "is_constant", "attribute_names", "_run", "_batch")

    def __init__(self, text: str, node: Node, names: frozenset[str]) -> None:
        from runtime.expression.nodes import batch

        self.text = text
        self.is_constant = node.constant
        self.attribute_names = names
        self._run, self._batch = node.run, batch(node)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Condition({self.text!r})"

    def evaluate(
        self, flowfile: FlowFile | None = None, extra: Mapping[str, str] | None = None
    ) -> bool:
        """Tell whether it holds; a missing value means no. Raises as `Expression.evaluate`."""
        attributes = _NO_ATTRIBUTES if flowfile is None else flowfile.attributes
        if extra:
            attributes = {**attributes, **extra}
        try:
            return self._run(attributes, flowfile) is True
        except (ExpressionError, RecursionError) as error:
            raise _while_evaluating(self.text, error) from error

    def evaluate_all(self, flowfiles: Sequence[FlowFile]) -> list[bool]:
        """Tell for each flowfile, in their order, whether it holds."""
        try:
            values = self._batch(flowfiles)
            # Few conditions can answer with a missing value, and looking for one is cheap.
            return [value is True for value in values] if None in values else values
        except (ExpressionError, RecursionError) as error:
            raise _while_evaluating(self.text, error) from error


def compile_expression(text: str, environment: Environment) -> Expression:
    """Compile a text; the same text and environment give the same object.

    Raises:
        ExpressionError: it is wrong; the message names the place and, where it can, the remedy.
    """
    found: Expression | None = environment.compiled.get(("expression", text))
    if found is None:
        found = _compile(text, environment, parameters=True)
        _remember(environment, ("expression", text), found)
    return found


def compile_condition(text: str, environment: Environment) -> Condition:
    """Compile a text that is exactly one `${...}` and answers true or false.

    An expression whose result is a text holds when that is `true`, in any capitals.

    Raises:
        ExpressionError: it is wrong, or its result can be neither true nor false.
    """
    found: Condition | None = environment.compiled.get(("condition", text))
    if found is None:
        found = _compile_condition(text, environment)
        _remember(environment, ("condition", text), found)
    return found


def _remember(environment: Environment, key: tuple[str, str], value: object) -> None:
    if len(environment.compiled) >= COMPILED_MAX:
        environment.compiled.clear()
    environment.compiled[key] = value


def _while_evaluating(text: str, error: Exception) -> ExpressionError:
    if isinstance(error, RecursionError):
        return ExpressionError(f"expression '{shown(text)}' nests too deep; split it")
    if str(error).startswith("expression '"):
        return ExpressionError(str(error))
    return ExpressionError(f"expression '{shown(text)}': {error}")


def _compile(text: str, environment: Environment, *, parameters: bool) -> Expression:
    if len(text) > TEXT_LENGTH_MAX:
        raise ExpressionError(
            f"is a text of {len(text):,} characters; at most {TEXT_LENGTH_MAX:,} are allowed"
        )
    if "${" not in text and "#{" not in text:
        return Expression(text, text, single=None, names=frozenset())
    from runtime.expression.forms import joined
    from runtime.expression.values import Type

    compiler = _compiler(environment, parameters)
    try:
        parts = list(_parts(text, compiler, parameters))
    except PlacedError as error:
        raise placed(text, error) from None
    single = parts[0][1] if len(parts) == 1 and parts[0][0] else None
    nodes = [_as_type(node, Type.TEXT, environment) for _, node in parts]
    whole = nodes[0] if len(nodes) == 1 else joined(nodes)
    node = (whole.run({}, None) or "") if whole.constant else whole
    return Expression(text, node, single=single, names=frozenset(compiler.names))


def _compiler(environment: Environment, parameters: bool) -> Compiler:
    from runtime.expression.compile import Compiler

    return Compiler(environment, lambda nested: _nested(nested, environment), parameters)


def _parts(text: str, compiler: Compiler, parameters: bool) -> Iterator[tuple[str, Node]]:
    """Yield the kind and the node of each piece; parameters give pieces of their own."""
    from runtime.expression.nodes import constant
    from runtime.expression.parse import parameter_name, parse
    from runtime.expression.values import Type

    for piece in pieces(text):
        if piece.kind == "$":
            yield "$", compiler.query(parse(piece.text, piece.position))
        elif piece.kind == "#":
            node = compiler.parameter(parameter_name(piece.text[2:-1]), piece.position)
            # A parameter may hold expressions; parameters in it are not looked at again.
            value = node.run({}, None) or ""
            for inner in pieces(value, parameters=False) if parameters else ():
                if inner.kind:
                    yield "", compiler.query(parse(inner.text, piece.position))
                else:
                    yield "", constant(inner.text, Type.TEXT)
        else:
            yield "", constant(piece.text, Type.TEXT)


def _as_type(node: Node, wanted: Any, environment: Environment) -> Node:
    from runtime.expression.casts import cast

    result = cast(node, wanted, environment.timezone)
    assert result is not None, "every type has a text"
    return result


def _compile_condition(text: str, environment: Environment) -> Condition:
    from runtime.expression.parse import parse
    from runtime.expression.values import Type

    source = text.strip()
    compiler = _compiler(environment, parameters=True)
    try:
        found = list(pieces(source))
        if len(found) != 1 or found[0].kind != "$":
            raise ExpressionError(
                f"is '{shown(text)}'; a condition is exactly one expression, like "
                "${size:toNumber():gt(5)}, with nothing around it"
            )
        node = compiler.query(parse(source))
    except PlacedError as error:
        raise placed(text, error) from None
    if node.type is Type.TEXT:
        node = _as_type(node, Type.BOOLEAN, environment)
    if node.type is not Type.BOOLEAN:
        kind = node.type.value.replace("whole ", "").replace("decimal ", "")
        raise ExpressionError(f"is {kind}; a condition must be true or false")
    return Condition(text, node, frozenset(compiler.names))


class _Nesting(threading.local):
    level = 0
    runs = 0


_nesting = _Nesting()


def _nested(text: str, environment: Environment) -> Run:
    """Return the run of a text found in an attribute, for evaluateELString."""
    key = ("nested", text)
    found: Expression | None = environment.compiled.get(key)
    if found is None:
        found = _compile(text, environment, parameters=False)
        _remember(environment, key, found)
    expression = found

    def run(attributes: Mapping[str, str], flowfile: FlowFile | None) -> str:
        with _counted():
            if expression._run is None:
                return expression._constant
            return expression._run(attributes, flowfile) or ""

    return run


@contextmanager
def _counted() -> Iterator[None]:
    if _nesting.level == 0:
        _nesting.runs = 0
    _nesting.level += 1
    _nesting.runs += 1
    try:
        if _nesting.level > NESTED_LEVELS_MAX:
            raise ExpressionError(
                f"evaluateELString() runs {_nesting.level} levels deep; at most "
                f"{NESTED_LEVELS_MAX} are allowed, and an attribute must not evaluate itself"
            )
        if _nesting.runs > NESTED_RUNS_MAX:
            raise ExpressionError(
                f"evaluateELString() runs more than {NESTED_RUNS_MAX:,} times for one value"
            )
        yield
    finally:
        _nesting.level -= 1
