"""Routing whole flowfiles: by their attributes, or by what their content matches.

Both processors have one relationship for each of the user's properties. A flowfile that meets
several conditions goes to each of their relationships: itself to the first, in the order in
which the properties were set, and clones to the others. The name of the relationship is written
to an attribute, as NiFi does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Self

from pydantic import model_validator

from processors.character_set import CharacterSet
from processors.one_by_one import in_batches
from processors.template import TemplatePattern
from processors.text_lines import Encoding, read_start
from runtime.flowfile import FlowFile
from runtime.processor import Effects, Example, Processor, Relationship
from runtime.properties import Choice, Condition, DataSize, DynamicProperties, Property
from runtime.session import Session

UNMATCHED: Final = "unmatched"
MATCHED: Final = "matched"
ROUTE_ATTRIBUTE: Final = "RouteOnAttribute.Route"


class RoutingStrategy(Choice):
    """NiFi stores 'match' where it shows 'matched'."""

    BY_NAME = "Route to Property name"
    ALL = "Route to 'match' if all match", "Route to 'matched' if all match"
    ANY = "Route to 'match' if any matches", "Route to 'matched' if any matches"


class MatchRequirement(Choice):
    """How much of the content a pattern must match."""

    EXACTLY = "content must match exactly"
    CONTAINS = "content must contain match"


class RouteOnAttribute(Processor):
    """Route flowfiles by conditions on their attributes."""

    class Properties(DynamicProperties[Condition]):
        strategy: RoutingStrategy = Property(
            RoutingStrategy.BY_NAME,
            name="Routing Strategy",
            description="Where a flowfile goes: to each property whose condition it meets, or to "
            "'matched' when it meets all or any of the conditions.",
        )

        @model_validator(mode="after")
        def _names_are_free(self) -> Self:
            if self.strategy is RoutingStrategy.BY_NAME:
                check_names(self.dynamic, (UNMATCHED,))
            return self

    effects = Effects.PURE
    batch_size = 1000
    tags = ("route", "attributes", "condition", "filter")
    writes = {"RouteOnAttribute.Route": "The relationship that the flowfile was routed to."}
    example = Example(
        "Late flights",
        properties={"late": "${delay:toNumber():gt(15)}"},
        attributes={"delay": "20"},
        expect="late",
        expect_attributes={"RouteOnAttribute.Route": "late"},
    )

    unmatched = Relationship("Flowfiles that do not meet the conditions.")

    @classmethod
    def relationships(cls, properties: Any) -> list[Relationship]:
        if properties.strategy is RoutingStrategy.BY_NAME:
            return [*by_property(properties.dynamic), cls.unmatched]
        return [
            Relationship("Flowfiles that meet the conditions.", name=MATCHED),
            cls.unmatched,
        ]

    def __init__(self, properties: Any, context: Any) -> None:
        super().__init__(properties, context)
        self._conditions = tuple(properties.dynamic.items())

    def on_trigger(self, session: Session) -> None:
        in_batches(session, self._route)

    def _route(self, session: Session, flowfiles: list[FlowFile]) -> None:
        columns = [condition.evaluate_all(flowfiles) for _, condition in self._conditions]
        match self.properties.strategy:
            case RoutingStrategy.BY_NAME if len(columns) == 1:
                self._split(session, flowfiles, columns[0], self._conditions[0][0])
            case RoutingStrategy.BY_NAME if columns:
                self._route_to_each(session, flowfiles, columns)
            case RoutingStrategy.BY_NAME:
                _move_all(session, flowfiles, UNMATCHED)
            case strategy:
                decide = all if strategy is RoutingStrategy.ALL else any
                # Without conditions all are met and none is, as in NiFi.
                rows = zip(*columns, strict=True) if columns else [()] * len(flowfiles)
                self._split(session, flowfiles, [decide(row) for row in rows], MATCHED)

    def _split(
        self, session: Session, flowfiles: list[FlowFile], met: Sequence[bool], name: str
    ) -> None:
        pairs = list(zip(flowfiles, met, strict=True))
        routes = (
            (name, [flowfile for flowfile, yes in pairs if yes]),
            (UNMATCHED, [flowfile for flowfile, yes in pairs if not yes]),
        )
        for route, members in routes:
            _move_all(session, members, route)

    def _route_to_each(
        self, session: Session, flowfiles: list[FlowFile], columns: list[list[bool]]
    ) -> None:
        names = [name for name, _ in self._conditions]
        # Flowfiles that meet the same conditions move together, in one call.
        alike: dict[tuple[bool, ...], list[FlowFile]] = {}
        for flowfile, row in zip(flowfiles, zip(*columns, strict=True), strict=True):
            try:
                alike[row].append(flowfile)
            except KeyError:
                alike[row] = [flowfile]
        for row, members in alike.items():
            met = [name for name, yes in zip(names, row, strict=True) if yes]
            if len(met) < 2:
                _move_all(session, members, met[0] if met else UNMATCHED)
                continue
            routes: dict[str, list[FlowFile]] = {name: [] for name in met}
            for flowfile in members:
                route_to(session, routes, flowfile, met, attribute=ROUTE_ATTRIBUTE)
            move(session, routes)


def _move_all(session: Session, flowfiles: list[FlowFile], name: str) -> None:
    if flowfiles:
        session.transfer(session.put_all(flowfiles, {ROUTE_ATTRIBUTE: name}), name)


class RouteOnContent(Processor):
    """Route flowfiles whose content matches a regular expression."""

    class Properties(DynamicProperties[TemplatePattern]):
        match_requirement: MatchRequirement = Property(
            MatchRequirement.EXACTLY,
            description="Whether the whole content must match, or any part of it.",
        )
        character_set: CharacterSet = Property(
            "UTF-8", description="The character set of the content."
        )
        content_buffer_size: DataSize = Property(
            "1 MB",
            description="How much of the content is looked at; what lies beyond is ignored.",
            ge=1,
        )

        @model_validator(mode="after")
        def _names_are_free(self) -> Self:
            check_names(self.dynamic, (UNMATCHED,))
            return self

    effects = Effects.PURE
    batch_size = 100
    tags = ("route", "content", "regular expression", "filter", "text")
    writes = {"RouteOnContent.Route": "The relationship that the flowfile was routed to."}
    example = Example(
        "Lines with an error",
        properties={"Match Requirement": "content must contain match", "error": r"\bERROR\b"},
        content=b"12:00 ERROR no room\n",
        expect="error",
        expect_attributes={"RouteOnContent.Route": "error"},
    )

    unmatched = Relationship("Flowfiles whose content matches none of the expressions.")

    @classmethod
    def relationships(cls, properties: Any) -> list[Relationship]:
        return [*by_property(properties.dynamic), cls.unmatched]

    def __init__(self, properties: Any, context: Any) -> None:
        super().__init__(properties, context)
        self._encoding = Encoding(properties.character_set)
        self._templates = tuple(properties.dynamic.items())

    def on_trigger(self, session: Session) -> None:
        in_batches(session, self._route)

    def _route(self, session: Session, flowfiles: list[FlowFile]) -> None:
        names = (*(name for name, _ in self._templates), UNMATCHED)
        routes: dict[str, list[FlowFile]] = {name: [] for name in names}
        for flowfile in flowfiles:
            start = read_start(session, flowfile, self.properties.content_buffer_size)
            text = self._encoding.decode(self._encoding.read(start))
            met = [name for name, _ in self._templates if self._matches(name, flowfile, text)]
            route_to(session, routes, flowfile, met, attribute="RouteOnContent.Route")
        move(session, routes)

    def _matches(self, name: str, flowfile: FlowFile, text: str) -> bool:
        pattern = self.properties.dynamic[name].pattern(flowfile)
        if self.properties.match_requirement is MatchRequirement.EXACTLY:
            return bool(pattern.matches(text))
        return bool(pattern.found_in(text))


def by_property(names: Iterable[str]) -> list[Relationship]:
    """Return a relationship for each of the user's properties."""
    return [
        Relationship(f"Flowfiles that meet the condition '{name}'.", name=name) for name in names
    ]


def check_names(names: Iterable[str], taken: Sequence[str]) -> None:
    """Refuse properties that would give two relationships one name.

    Raises:
        ValueError: naming the property.
    """
    for name in names:
        if name in taken:
            raise ValueError(
                f"property '{name}' has the name of a relationship that exists already; "
                "choose another name"
            )


def route_to(
    session: Session,
    routes: dict[str, list[FlowFile]],
    flowfile: FlowFile,
    met: list[str],
    *,
    attribute: str,
) -> None:
    """Note where a flowfile goes: to the first of `met`, clones of it to the others."""
    for name in met[1:]:
        routes[name].append(session.put(session.clone(flowfile), {attribute: name}))
    first = met[0] if met else UNMATCHED
    routes[first].append(session.put(flowfile, {attribute: first}))


def move(session: Session, routes: dict[str, list[FlowFile]]) -> None:
    """Transfer what was noted, one call a relationship."""
    for name, flowfiles in routes.items():
        if flowfiles:
            session.transfer(flowfiles, name)
