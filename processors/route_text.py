"""Routing text line by line.

Each line is compared with the user's properties, under one matching strategy for all of them, and
appended to a flowfile for its relationship and, with a grouping expression, its group. Lines keep
their bytes and their ends. Memory stays bounded however large the content and however many the
groups: what is gathered beyond `GATHERED_BYTES_MAX` moves into the content store.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Annotated, Any, Final, Self

from pydantic import PlainValidator, ValidationInfo, model_validator

from processors.character_set import CharacterSet
from processors.one_by_one import in_batches
from processors.route import MATCHED, UNMATCHED, by_property, check_names
from processors.text_lines import Encoding, TextOutput, end_of, line_blocks
from runtime import expression, patterns
from runtime.flowfile import FlowFile
from runtime.patterns import PatternFlag, compile_pattern
from runtime.processor import Effects, Example, Processor, Relationship
from runtime.properties import Choice, DynamicProperties, Property, Scope
from runtime.session import Session

ROUTE: Final = "RouteText.Route"
GROUP: Final = "RouteText.Group"
ORIGINAL: Final = "original"
GATHERED_BYTES_MAX: Final = 32 << 20
# Java's trim: everything up to the space.
WHITESPACE: Final = "".join(map(chr, range(33)))

Test = Callable[[str, int], bool]
"""Whether a line, without its end, with this number (from 1) meets a condition."""


class RoutingStrategy(Choice):
    """Where a line goes; the values are NiFi's, `lines matches` included."""

    BY_NAME = "Route to each matching Property Name"
    ALL = "Route to 'matched' if line matches all conditions"
    ANY = "Route to 'matched' if lines matches any condition"


class MatchingStrategy(Choice):
    """How a line is compared with a property."""

    EXPRESSION = "Satisfies Expression"
    STARTS = "Starts With"
    ENDS = "Ends With"
    CONTAINS = "Contains"
    EQUALS = "Equals"
    MATCHES_REGEX = "Matches Regular Expression"
    CONTAINS_REGEX = "Contains Regular Expression"


REGEX_STRATEGIES: Final = (MatchingStrategy.MATCHES_REGEX, MatchingStrategy.CONTAINS_REGEX)


def _condition(value: object, info: ValidationInfo) -> expression.Expression:
    scope = info.context if isinstance(info.context, Scope) else Scope()
    text = str(value)
    if not text:
        raise ValueError("is empty; it must have something to compare lines with")
    compiled = expression.compile_expression(text, scope.environment)
    strategy = info.data.get("matching_strategy")
    if strategy is MatchingStrategy.EXPRESSION:
        expression.compile_condition(text, scope.environment)
    elif strategy in REGEX_STRATEGIES and compiled.is_constant:
        compile_pattern(compiled.evaluate())
    return compiled


def _grouping(value: object) -> patterns.Pattern:
    pattern = compile_pattern(str(value))
    if not pattern.groups:
        raise ValueError(f"is '{value}', which has no capturing group; it must have at least one")
    return pattern


LineCondition = Annotated[expression.Expression, PlainValidator(_condition)]
GroupingPattern = Annotated[patterns.Pattern, PlainValidator(_grouping)]


class RouteText(Processor):
    """Route the lines of a text by what they are, each for itself."""

    class Properties(DynamicProperties[LineCondition]):
        routing_strategy: RoutingStrategy = Property(
            RoutingStrategy.BY_NAME,
            description="Where a line goes: to each property that it matches, or to 'matched' "
            "when it matches all or any of them.",
        )
        matching_strategy: MatchingStrategy = Property(
            description="How a line is compared with your properties. An expression sees it as "
            "'line' and its number, from 1, as 'lineNo'.",
        )
        character_set: CharacterSet = Property(
            "UTF-8", description="The character set of the content."
        )
        trim: bool = Property(
            True,
            name="Ignore Leading/Trailing Whitespace",
            description="Whether white space around a line is left out of the comparison.",
        )
        ignore_case: bool = Property(
            False,
            description="Whether upper and lower case are the same. Expressions decide that "
            "for themselves.",
        )
        grouping: GroupingPattern | None = Property(
            None,
            name="Grouping Regular Expression",
            description="A regular expression that must match a whole line; lines for which its "
            "groups capture different texts go to different flowfiles.",
        )

        @model_validator(mode="after")
        def _there_are_conditions(self) -> Self:
            if not self.dynamic:
                raise ValueError(
                    "a condition is not set; add a property whose name is the relationship and "
                    "whose value is what to compare lines with"
                )
            if self.routing_strategy is RoutingStrategy.BY_NAME:
                check_names(self.dynamic, (UNMATCHED, ORIGINAL))
            return self

    effects = Effects.PURE
    batch_size = 10
    tags = ("route", "text", "lines", "filter", "regular expression", "logs")
    writes = {
        ROUTE: "The relationship that the flowfile was routed to.",
        GROUP: "What the groups of the grouping expression captured, separated by commas.",
    }
    example = Example(
        "Errors of a log",
        properties={"Matching Strategy": "Contains", "errors": "ERROR"},
        content=b"INFO start\nERROR disk\n",
        expect="errors",
        expect_attributes={ROUTE: "errors"},
        expect_content=b"ERROR disk\n",
    )

    original = Relationship("The flowfiles whose lines were routed.")
    unmatched = Relationship("Lines that do not meet the conditions.")

    @classmethod
    def relationships(cls, properties: Any) -> list[Relationship]:
        fixed = [cls.original, cls.unmatched]
        if properties.routing_strategy is RoutingStrategy.BY_NAME:
            return [*by_property(properties.dynamic), *fixed]
        return [Relationship("Lines that meet the conditions.", name=MATCHED), *fixed]

    def __init__(self, properties: Any, context: Any) -> None:
        super().__init__(properties, context)
        self._encoding = Encoding(properties.character_set)

    def on_trigger(self, session: Session) -> None:
        in_batches(session, self._route)

    def _route(self, session: Session, flowfiles: list[FlowFile]) -> None:
        for flowfile in flowfiles:
            outputs = Outputs(session, flowfile, self._encoding)
            with outputs.open, session.open_read(flowfile) as file:
                self._route_lines(line_blocks(self._encoding.reader(file)), flowfile, outputs)
            for (name, group), output in outputs.by_key.items():
                attributes = {ROUTE: name} if group is None else {ROUTE: name, GROUP: group}
                session.transfer(session.put(output.flowfile, attributes), name)
            session.transfer(session.put(flowfile, {ROUTE: ORIGINAL}), ORIGINAL)

    def _route_lines(self, blocks: Any, flowfile: FlowFile, outputs: Outputs) -> None:
        names_of = self._chooser(flowfile)
        grouping = self.properties.grouping
        trim = self.properties.trim
        decode = self._encoding.decode
        number = 0
        for block in blocks:
            for data in block.splitlines(keepends=True):
                number += 1
                line = decode(data)
                line = line.strip(WHITESPACE) if trim else line[: end_of(line)]
                group = None if grouping is None else captured(grouping, line)
                for name in names_of(line, number):
                    outputs.add(name, group, data)

    def _chooser(self, flowfile: FlowFile) -> Callable[[str, int], list[str]]:
        """Return a function from a line and its number to its relationships."""
        tests = [
            (name, self._test(condition, flowfile))
            for name, condition in self.properties.dynamic.items()
        ]
        if self.properties.routing_strategy is RoutingStrategy.BY_NAME:
            return lambda line, number: (
                [name for name, test in tests if test(line, number)] or [UNMATCHED]
            )
        decide = all if self.properties.routing_strategy is RoutingStrategy.ALL else any
        return lambda line, number: (
            [MATCHED] if decide(test(line, number) for _, test in tests) else [UNMATCHED]
        )

    def _test(self, condition: expression.Expression, flowfile: FlowFile) -> Test:
        strategy = self.properties.matching_strategy
        if strategy is MatchingStrategy.EXPRESSION:
            evaluate = condition.evaluate
            return lambda line, number: (
                evaluate(flowfile, {"line": line, "lineNo": str(number)}) == "true"
            )
        value = condition.evaluate(flowfile)
        if strategy in REGEX_STRATEGIES:
            flags = PatternFlag.IGNORE_CASE if self.properties.ignore_case else PatternFlag.NONE
            pattern = compile_pattern(value, flags)
            whole = strategy is MatchingStrategy.MATCHES_REGEX
            matches = pattern.matches if whole else pattern.found_in
            return lambda line, number: matches(line)
        if self.properties.ignore_case:
            compare = comparison(strategy, value.lower())
            return lambda line, number: compare(line.lower())
        compare = comparison(strategy, value)
        return lambda line, number: compare(line)


def comparison(strategy: MatchingStrategy, value: str) -> Callable[[str], bool]:
    """Return a comparison of a line with a text."""
    match strategy:
        case MatchingStrategy.STARTS:
            return lambda line: line.startswith(value)
        case MatchingStrategy.ENDS:
            return lambda line: line.endswith(value)
        case MatchingStrategy.CONTAINS:
            return lambda line: value in line
        case _:
            return value.__eq__


def captured(pattern: patterns.Pattern, line: str) -> str:
    """Return the group that a line belongs to; the empty one when the pattern does not match."""
    match = pattern.fullmatch(line)
    return ", ".join(text or "" for text in match.groups()) if match else ""


class Outputs:
    """The flowfiles that a content's lines go to, by relationship and group.

    `open` closes their contents, or drops them after an exception.
    """

    def __init__(self, session: Session, parent: FlowFile, encoding: Encoding) -> None:
        self._session = session
        self._parent = parent
        self._encoding = encoding
        self._added = 0
        self.by_key: dict[tuple[str, str | None], TextOutput] = {}
        self.open = ExitStack()

    def add(self, name: str, group: str | None, line: bytes) -> None:
        """Append a line."""
        output = self.by_key.get((name, group))
        if output is None:
            flowfile = self._session.create(parents=self._parent)
            output = TextOutput(self._session, flowfile, self._encoding)
            self.by_key[name, group] = self.open.enter_context(output)
        output.write(line)
        self._added += len(line)
        if self._added >= GATHERED_BYTES_MAX:
            self._added = 0
            for one in self.by_key.values():
                one.spill()
