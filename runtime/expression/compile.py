"""Parsed expressions to nodes: names, types and arguments are decided here, once.

`Compiler` is made for one text. Forms that must not evaluate all their arguments (`and`, `or`,
`ifElse`, `replaceNull`, `replaceEmpty`), or that look at types (`equals`), are methods here;
every other function is declared in a `functions_...` module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, assert_never

from runtime.expression import (  # noqa: F401  # each module declares its functions when imported
    functions_encode,
    functions_json,
    functions_logic,
    functions_number,
    functions_text,
)
from runtime.expression.casts import cast
from runtime.expression.environment import Environment
from runtime.expression.errors import ExpressionError, PlacedError, guess, shown
from runtime.expression.forms import LAZY, comparable, joined
from runtime.expression.functions import FUNCTIONS, NUMERIC, Function
from runtime.expression.functions_alone import ALONE
from runtime.expression.nodes import DEPTH_MAX, Node, Run, constant, lookup, source, then
from runtime.expression.parse import parse
from runtime.expression.select import SELECTORS, Selection, reduced, select
from runtime.expression.syntax import (
    Argument,
    Call,
    Literal,
    Name,
    Number,
    Parameter,
    Query,
    Text,
    unescape,
)
from runtime.expression.template import pieces
from runtime.expression.values import Type
from runtime.flowfile import FlowFile

TEXT, BOOLEAN = Type.TEXT, Type.BOOLEAN
REDUCERS: Final = ("join", "count")
FORMS: Final = {
    "and": 1, "or": 1, "equals": 1, "ifElse": 2, "replaceNull": 1, "replaceEmpty": 1,
    "evaluateELString": 0, "join": 1, "count": 0,
}  # fmt: skip


def all_functions() -> list[str]:
    """Return the names of all functions, in alphabetical order."""
    return sorted({*FUNCTIONS, *FORMS, *ALONE, *SELECTORS}, key=str.lower)


class Compiler:
    """Compiles the pieces of one text; collects the attributes that they read.

    Without `parameters` (in evaluateELString) a `#{name}` is a missing value.
    """

    def __init__(
        self,
        environment: Environment,
        render: Callable[[str], Run],
        parameters: bool = True,
    ) -> None:
        self.environment = environment
        self.names: set[str] = set()
        self._render = render
        self._parameters = parameters

    def query(self, query: Query) -> Node:
        """Compile one `${...}`.

        Raises:
            PlacedError: a function, type or argument is wrong.
        """
        subject = query.subject
        if isinstance(subject, Call) and subject.function in SELECTORS:
            return self._selection(subject, query.calls)
        node = self._subject(subject)
        for index, call in enumerate(query.calls):
            _check_last(call, query.calls[index + 1 :])
            node = self._call(node, call)
        return node

    def _subject(self, subject: Name | Call | Query | Parameter) -> Node:
        match subject:
            case Name(text):
                return self._attribute(self.text(text), text.position)
            case Call():
                return self._alone(subject)
            case Query():
                return self._attribute(self._cast(self.query(subject), TEXT, 0, "a name"), 0)
            case Parameter():
                return self.parameter(subject.name, subject.position)
            case _:
                assert_never(subject)

    def _attribute(self, name: Node, position: int) -> Node:
        identity = self.environment.identity
        variables = self.environment.variables
        if name.constant:
            known = name.run({}, None)
            if not known:
                raise PlacedError(position, "the name of the attribute is empty")
            self.names.add(known)
            special = _SPECIAL.get(known)
            if special is None:
                return lookup(known, variables.get(known))
            fallback = variables.get(known)
            uuid = identity.uuid

            def run(attributes: Any, flowfile: FlowFile | None) -> str | None:
                value = attributes.get(known)
                if value is not None:
                    return value  # type: ignore[no-any-return]  # attributes are texts
                return fallback if flowfile is None else special(flowfile, uuid)

            return source(run, TEXT)
        inner = name.run

        def dynamic(attributes: Any, flowfile: FlowFile | None) -> str | None:
            key = inner(attributes, flowfile)
            value = attributes.get(key)
            if value is None and flowfile is not None and key in _SPECIAL:
                return _SPECIAL[key](flowfile, identity.uuid)
            return variables.get(key) if value is None and key is not None else value

        return source(dynamic, TEXT, name.depth)

    def parameter(self, name: str, position: int) -> Node:
        """Compile `#{name}`: its value is a constant."""
        if not self._parameters:
            return constant(None, TEXT)
        known = self.environment.parameters
        if name not in known:
            raise PlacedError(
                position, f"parameter '{name}' does not exist{guess(name, known, '#{{{}}}')}"
            )
        return constant(known[name], TEXT)

    def text(self, text: Text) -> Node:
        """Compile a quoted text with the expressions in it."""
        parts: list[Node] = []
        for piece in pieces(text.value, parameters=False):
            if piece.kind:
                offset = text.position + 1 + piece.position
                parts.append(self.query(parse(piece.text, offset)))
            else:
                parts.append(constant(unescape(piece.text), TEXT))
        if not parts:
            return constant("", TEXT)
        nodes = [self._cast(part, TEXT, text.position, "a quoted text") for part in parts]
        return nodes[0] if len(nodes) == 1 else joined(nodes)

    def _argument(self, argument: Argument) -> Node:
        match argument:
            case Text():
                return self.text(argument)
            case Number(value):
                return constant(value, Type.WHOLE if isinstance(value, int) else Type.DECIMAL)
            case Literal(value):
                return constant(value, TEXT if value is None else BOOLEAN)
            case Parameter():
                return self.parameter(argument.name, argument.position)
            case Query():
                return self.query(argument)
            case Call(function, _, position):
                raise PlacedError(
                    position,
                    f"the argument {function}() stands without its braces; write "
                    f"${{{function}(...)}} or ${{name:{function}(...)}}",
                )
            case _:
                assert_never(argument)

    def _arguments(self, call: Call, types: Sequence[Type | None]) -> list[Node]:
        """Compile and cast the arguments; the last type counts for all that follow."""
        return [
            self._cast(
                self._argument(one),
                types[min(index, len(types) - 1)],
                call.position,
                _nth(index, call),
            )
            for index, one in enumerate(call.arguments)
        ]

    def _cast(self, node: Node, wanted: Type | None, position: int, what: str) -> Node:
        try:
            result = cast(node, wanted, self.environment.timezone)
        except ExpressionError as error:
            raise PlacedError(position, str(error)) from error
        if result is None:
            assert wanted is not None
            raise PlacedError(
                position, f"{what} must be {wanted.value}, and this is {node.type.value}"
            )
        return result

    def _alone(self, call: Call) -> Node:
        alone = ALONE.get(call.function)
        if alone is None:
            raise PlacedError(call.position, self._unknown(call.function, alone=True))
        _check_count(call, alone.accepts, alone.required, len(alone.arguments))
        arguments = self._arguments(call, alone.arguments)
        try:
            return self._limited(alone.make(self.environment, *arguments), call)
        except ExpressionError as error:
            raise PlacedError(call.position, str(error)) from error

    def _call(self, subject: Node, call: Call) -> Node:
        name = call.function
        try:
            if name in FORMS:
                count = FORMS[name]
                _check_count(call, lambda given: given == count, count, count)
                return self._limited(self._form(subject, call), call)
            function = FUNCTIONS.get(name)
            if function is None:
                raise PlacedError(call.position, self._unknown(name, alone=False))
            if name in NUMERIC and (not call.arguments or subject.type is not TEXT):
                function = NUMERIC[name]
            return self._limited(self._function(function, subject, call), call)
        except ExpressionError as error:
            raise PlacedError(call.position, str(error)) from error

    def _limited(self, node: Node, call: Call) -> Node:
        if node.depth > DEPTH_MAX:
            raise PlacedError(
                call.position,
                f"the expression nests more than {DEPTH_MAX} calculations; split it over "
                "several attributes",
            )
        return node

    def _function(self, function: Function, subject: Node, call: Call) -> Node:
        count = None if function.repeats else len(function.arguments)
        _check_count(call, function.accepts, function.required, count)
        what = f"what {call.function}() works on"
        node = self._cast(subject, function.subject, call.position, what)
        arguments = self._arguments(call, function.arguments)
        first = (self.environment.timezone,) if function.zoned else ()
        make, result = function.make, function.result
        if all(argument.constant for argument in arguments):
            step = make(*first, *[argument.run({}, None) for argument in arguments])
            return then(node, step, result, pure=function.pure)
        runs, inner = [argument.run for argument in arguments], node.run

        def run(attributes: Any, flowfile: FlowFile | None) -> Any:
            step = make(*first, *[one(attributes, flowfile) for one in runs])
            return step(inner(attributes, flowfile))

        return source(run, result, max(node.depth, *[one.depth for one in arguments]))

    def _form(self, subject: Node, call: Call) -> Node:
        arguments = [self._argument(one) for one in call.arguments]
        match call.function:
            case "equals":
                return self._equals(subject, arguments[0])
            case "evaluateELString":
                text = self._cast(subject, TEXT, call.position, "what evaluateELString() works on")
                return source(self._evaluated(text.run), TEXT, text.depth + 5)
            case "count":
                return then(
                    subject, lambda value: int(value is not None and value is not False), Type.WHOLE
                )
            case "join":
                text = self._cast(subject, TEXT, call.position, "what join() gathers")
                return then(text, lambda value: value or "", TEXT)
        wanted = BOOLEAN if call.function in ("and", "or", "ifElse") else TEXT
        node = self._cast(subject, wanted, call.position, f"what {call.function}() works on")
        type_ = BOOLEAN if call.function in ("and", "or") else TEXT
        others = [
            self._cast(one, type_, call.position, _nth(index, call))
            for index, one in enumerate(arguments)
        ]
        run = LAZY[call.function](node.run, *[one.run for one in others])
        if node.constant and all(one.constant for one in others):
            return constant(run({}, None), type_)
        return source(run, type_, max(node.depth, *[one.depth for one in others]))

    def _equals(self, subject: Node, other: Node) -> Node:
        if subject.type is TEXT and other.type is TEXT and other.constant:
            wanted = other.run({}, None)
            if wanted is None:
                return constant(False, BOOLEAN)
            return then(subject, lambda value: value == wanted, BOOLEAN)
        one, two = subject.run, other.run
        if subject.type is not other.type:
            one, two = comparable(subject), comparable(other)

        def run(attributes: Any, flowfile: FlowFile | None) -> bool:
            value = one(attributes, flowfile)
            second = two(attributes, flowfile)
            return (
                value is not None
                and type(value) is type(second)
                and (bool(value == second) or value != value and second != second)
            )

        if subject.constant and other.constant:
            return constant(run({}, None), BOOLEAN)
        return source(run, BOOLEAN, max(subject.depth, other.depth) + 1)

    def _evaluated(self, text: Run) -> Run:
        render = self._render

        def run(attributes: Any, flowfile: FlowFile | None) -> str | None:
            value = text(attributes, flowfile)
            return None if value is None else render(value)(attributes, flowfile)

        return run

    def _selection(self, subject: Call, calls: Sequence[Call]) -> Node:
        arguments = self._arguments(subject, (TEXT,))
        try:
            selection: Selection = select(subject.function, arguments, self.environment)
        except ExpressionError as error:
            raise PlacedError(subject.position, str(error)) from error
        self.names.update(selection.names)
        node, reducer = selection.item, None
        for index, call in enumerate(calls):
            _check_last(call, calls[index + 1 :])
            if call.function in REDUCERS and selection.every:
                reducer = call
            else:
                node = self._call(node, call)
        return self._reduced(selection, node, reducer, subject)

    def _reduced(
        self, selection: Selection, node: Node, reducer: Call | None, subject: Call
    ) -> Node:
        name = reducer.function if reducer else None
        if reducer is None and node.type is not BOOLEAN:
            ending = "a condition, join() or count()" if selection.every else "a condition"
            raise PlacedError(
                subject.position,
                f"{subject.function}() has several values; the expression must end in {ending}",
            )
        delimiter = None
        if reducer is not None:
            count = FORMS[reducer.function]
            _check_count(reducer, lambda given: given == count, count, count)
            if reducer.function == "join":
                node = self._cast(node, TEXT, reducer.position, "what join() gathers")
                delimiter = self._cast(
                    self._argument(reducer.arguments[0]), TEXT, reducer.position, _nth(0, reducer)
                ).run
        return self._limited(reduced(selection, node, name, delimiter), subject)

    def _unknown(self, name: str, *, alone: bool) -> str:
        if alone and (name in FUNCTIONS or name in FORMS):
            return f"{name}() needs something to work on; write ${{name:{name}(...)}}"
        if not alone and (name in ALONE or name in SELECTORS):
            return f"{name}() stands at the start of an expression; write ${{{name}(...)}}"
        return f"'{shown(name)}' is not a function{guess(name, all_functions())}"


def _check_last(call: Call, rest: Sequence[Call]) -> None:
    if call.function in REDUCERS and rest:
        raise PlacedError(
            rest[0].position,
            f"{call.function}() ends the expression; to go on with its result write "
            "${literal(${...}):" + rest[0].function + "(...)}",
        )


def _check_count(call: Call, accepts: Callable[[int], bool], least: int, most: int | None) -> None:
    given = len(call.arguments)
    if accepts(given):
        return
    if most is None:
        wanted = f"at least {least}"
    else:
        wanted = str(least) if least == most else f"{least} to {most}"
    plural = "" if wanted in ("1", "at least 1") else "s"
    raise PlacedError(
        call.position,
        f"{call.function}() takes {'no' if wanted == '0' else wanted} argument{plural} "
        f"and has {given}",
    )


def _nth(index: int, call: Call) -> str:
    return f"argument {index + 1} of {call.function}()"


_SPECIAL: Final[dict[str, Callable[[FlowFile, Callable[[int], str]], str]]] = {
    "uuid": lambda flowfile, uuid: uuid(flowfile.id),
    "filename": lambda flowfile, uuid: uuid(flowfile.id),
    "path": lambda flowfile, uuid: "./",
    "flowFileId": lambda flowfile, uuid: str(flowfile.id),
    "fileSize": lambda flowfile, uuid: str(flowfile.size),
    "entryDate": lambda flowfile, uuid: str(flowfile.entered),
    "lineageStartDate": lambda flowfile, uuid: str(flowfile.lineage_start),
}
