"""Setting, counting with and removing attributes, and writing them down as JSON.

`UpdateAttribute` computes every new value from the flowfile as it came in. With state, each
flowfile sees in `getStateValue` what the one before it left; the state is part of the session's
commit, so after a crash it agrees with the flowfiles that carry its values.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import Annotated, Any, Final, Self

import msgspec
from pydantic import PlainValidator, ValidationInfo, model_validator

from processors.one_by_one import in_batches
from runtime import expression, patterns
from runtime.commit import EventType
from runtime.flowfile import FlowFile
from runtime.processor import Effects, Example, Processor, Relationship
from runtime.properties import Choice, DynamicProperties, Property, Scope
from runtime.properties import Properties as Declaration
from runtime.session import Session

CORE_NAMES: Final = frozenset(
    {
        "path", "absolute.path", "filename", "uuid", "priority", "mime.type", "discard.reason",
        "alternate.identifier",
    }
)  # fmt: skip

STATE_SIZE_MAX: Final = 65_536

_NO_STATE: Final[Mapping[str, str]] = {}
_working_state: ContextVar[Mapping[str, str]] = ContextVar("state", default=_NO_STATE)


class StoreState(Choice):
    """Whether values are remembered from flowfile to flowfile."""

    NONE = "Do not store state"
    LOCAL = "Store state locally"


def _stateful_expression(value: object, info: ValidationInfo) -> expression.Expression:
    scope = info.context if isinstance(info.context, Scope) else Scope()
    environment = scope.environment
    if info.data.get("store_state") is StoreState.LOCAL:
        # A flowfile sees the state of the one before it, which is not committed yet.
        environment = replace(environment, state=lambda name: _working_state.get().get(name))
    return expression.compile_expression(str(value), environment)


def _constant_pattern_checked(value: object, info: ValidationInfo) -> expression.Expression:
    compiled = _stateful_expression(value, info)
    if compiled.is_constant:
        patterns.compile_pattern(compiled.evaluate())
    return compiled


StatefulExpression = Annotated[expression.Expression, PlainValidator(_stateful_expression)]
NamePattern = Annotated[expression.Expression, PlainValidator(_constant_pattern_checked)]


class UpdateAttribute(Processor):
    """Set attributes to the values of expressions, and delete others."""

    class Properties(DynamicProperties[StatefulExpression]):
        store_state: StoreState = Property(
            StoreState.NONE,
            description="Whether the values are also remembered, so that an expression can refer "
            "to the value of the flowfile before with 'getStateValue'.",
        )
        delete_attributes_expression: NamePattern | None = Property(
            None,
            description="A regular expression; attributes that a flowfile came with and whose "
            "whole name matches are deleted, also when they would be set.",
        )
        stateful_variables_initial_value: str | None = Property(
            None,
            description="What 'getStateValue' returns for a value that was never stored. Needed "
            "where state is stored; it may be empty.",
        )
        cache_value_lookup_cache_size: int = Property(
            100,
            name="Cache Value Lookup Cache Size",
            formerly=("canonical-value-lookup-cache-size",),
            description="How many computed values are kept, so that equal ones share memory.",
            ge=0,
        )

        @model_validator(mode="after")
        def _state_has_a_start(self) -> Self:
            stateful = self.store_state is StoreState.LOCAL
            if stateful and self.stateful_variables_initial_value is None:
                raise ValueError(
                    "property 'Stateful Variables Initial Value' is not set; it is required "
                    "where state is stored, and may be an empty text"
                )
            return self

    effects = Effects.PURE
    batch_size = 1000
    tags = ("attributes", "update", "delete", "state", "expression")
    writes = {"(the user's properties)": "Each gets the value of its expression."}
    delivery = (
        "State is committed together with the flowfiles that it was computed from: after a "
        "crash nothing is counted twice and nothing is left out."
    )
    example = Example(
        "A greeting",
        properties={"greeting": "Hello ${name}"},
        attributes={"name": "Ana"},
        expect_attributes={"greeting": "Hello Ana", "name": "Ana"},
    )

    success = Relationship("Flowfiles with their attributes updated.")

    @classmethod
    def relationships(cls, properties: Any) -> list[Relationship]:
        if properties.store_state is StoreState.NONE:
            return [cls.success]
        full = "Flowfiles whose values would not fit into the state, which ends at 64 KB."
        return [cls.success, Relationship(full, name="set state fail")]

    def __init__(self, properties: Any, context: Any) -> None:
        super().__init__(properties, context)
        self._expressions = tuple(properties.dynamic.items())
        self._deleted = properties.delete_attributes_expression
        # A state must be read and committed by one thread at a time, or values get lost.
        self._state_lock = threading.Lock()
        self._shared: dict[str, str] = {}

    def on_trigger(self, session: Session) -> None:
        if self.properties.store_state is StoreState.NONE:
            in_batches(session, self._update)
            return
        with self._state_lock:
            in_batches(session, self._update_with_state)
            session.commit()

    def _update(self, session: Session, flowfiles: list[FlowFile]) -> None:
        names = [name for name, _ in self._expressions]
        columns = [self._values(one, flowfiles) for _, one in self._expressions]
        if columns:
            changes = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        else:
            changes = [{} for _ in flowfiles]
        if self._deleted is not None:
            for flowfile, change in zip(flowfiles, changes, strict=True):
                self._delete(session, flowfile, change)
        if "alternate.identifier" in names:
            for flowfile, change in zip(flowfiles, changes, strict=True):
                associate(session, flowfile, change["alternate.identifier"])
        if self._deleted is not None or "uuid" in names:
            flowfiles = list(map(session.put, flowfiles, changes))
        elif self._expressions:
            flowfiles = session.put_each(flowfiles, changes)
        session.transfer(flowfiles, self.success)

    def _values(self, one: expression.Expression, flowfiles: list[FlowFile]) -> list[str]:
        if one.is_constant:
            return [one.evaluate(flowfiles[0])] * len(flowfiles)
        limit = self.properties.cache_value_lookup_cache_size
        values = one.evaluate_all(flowfiles)
        if not limit:
            return values
        shared = self._shared
        if len(shared) > limit:
            shared.clear()
        distinct = set(values)
        if len(shared) + len(distinct) <= limit:
            shared.update((value, value) for value in distinct if value not in shared)
            return [shared[value] for value in values]
        return values

    def _delete(self, session: Session, flowfile: FlowFile, changes: dict[str, str | None]) -> None:
        assert self._deleted is not None
        pattern = patterns.compile_pattern(self._deleted.evaluate(flowfile))
        for name in session.attributes(flowfile):
            if name != "uuid" and pattern.matches(name):
                changes[name] = None

    def _update_with_state(self, session: Session, flowfiles: list[FlowFile]) -> None:
        initial = self.properties.stateful_variables_initial_value
        kept = dict(session.state)
        state = {name: initial for name, _ in self._expressions} | kept
        own = {name for name, _ in self._expressions}
        room = STATE_SIZE_MAX - sum(len(name) + len(kept[name]) for name in kept.keys() - own)
        for flowfile in flowfiles:
            token = _working_state.set(state)
            try:
                values = {name: one.evaluate(flowfile) for name, one in self._expressions}
            finally:
                _working_state.reset(token)
            if sum(map(len, values)) + sum(map(len, values.values())) > room:
                reason = "The state would grow beyond 64 KB. Store fewer or shorter values"
                session.transfer(flowfile, "set state fail", reason=reason)
                continue
            state |= values
            changes: dict[str, str | None] = dict(values)
            if self._deleted is not None:
                self._delete(session, flowfile, changes)
            session.transfer(session.put(flowfile, changes), self.success)
        if flowfiles:
            session.set_state(state)


def associate(session: Session, flowfile: FlowFile, identifier: str | None) -> None:
    """Report ADDINFO for an `alternate.identifier` that is a URI, as NiFi does."""
    scheme, colon, _ = (identifier or "").partition(":")
    if colon and scheme and scheme[0].isalpha() and scheme.replace("+", "").isalnum():
        session.report(EventType.ADDINFO, flowfile, details=f"Alternate identifier {identifier}")


class JsonDestination(Choice):
    """Where the JSON goes."""

    ATTRIBUTE = "flowfile-attribute"
    CONTENT = "flowfile-content"


class JsonHandling(Choice):
    """What happens to values that are JSON themselves."""

    ESCAPED = "ESCAPED", "Escaped"
    NESTED = "NESTED", "Nested"


def _environment_pattern(value: object, info: ValidationInfo) -> patterns.Pattern:
    scope = info.context if isinstance(info.context, Scope) else Scope()
    compiled = expression.compile_expression(str(value), scope.environment)
    return patterns.compile_pattern(compiled.evaluate())


EnvironmentPattern = Annotated[patterns.Pattern, PlainValidator(_environment_pattern)]


class AttributesToJSON(Processor):
    """Write attributes as a JSON object, to the content or to an attribute."""

    class Properties(Declaration):
        attributes_list: str | None = Property(
            None,
            description="Names of the attributes to write, separated by commas. Where neither "
            "names nor an expression are set, all are written.",
        )
        attributes_regular_expression: EnvironmentPattern | None = Property(
            None,
            formerly=("attributes-to-json-regex",),
            description="Attributes whose whole name matches are written, beside those listed.",
        )
        destination: JsonDestination = Property(
            JsonDestination.ATTRIBUTE,
            description="Whether the JSON becomes the attribute 'JSONAttributes' or the content.",
        )
        include_core_attributes: bool = Property(
            True,
            description="Whether 'uuid', 'filename', 'path' and the like are among all attributes.",
        )
        null_value: bool = Property(
            False,
            description="Whether a listed attribute that is absent becomes null, not empty.",
        )
        json_handling_strategy: JsonHandling = Property(
            JsonHandling.ESCAPED,
            name="JSON Handling Strategy",
            description="Whether a value that is a JSON object or array is written as text, or "
            "as part of the structure.",
        )
        pretty_print: bool = Property(
            False,
            description="Whether the JSON is spread over lines.",
            depends_on={"Destination": (JsonDestination.CONTENT.value,)},
        )

    effects = Effects.PURE
    batch_size = 1000
    tags = ("json", "attributes")
    writes = {
        "JSONAttributes": "The JSON, where the destination is an attribute.",
        "mime.type": "application/json, where the destination is the content.",
    }
    example = Example(
        "Two attributes",
        properties={"Attributes List": "city, country"},
        attributes={"city": "Lisboa", "country": "PT"},
        expect_attributes={"JSONAttributes": '{"city":"Lisboa","country":"PT"}'},
    )

    success = Relationship("Flowfiles with their attributes written as JSON.")
    failure = Relationship("Flowfiles with a value that looks like JSON and is none.")

    def __init__(self, properties: Any, context: Any) -> None:
        super().__init__(properties, context)
        listed = [name.strip() for name in (properties.attributes_list or "").split(",")]
        self._names = [name for name in listed if name]

    def on_trigger(self, session: Session) -> None:
        for flowfile in session.take():
            try:
                document = self._document(session.attributes(flowfile))
            except (msgspec.DecodeError, RecursionError) as error:
                session.transfer(flowfile, self.failure, reason=error)
                continue
            encoded = msgspec.json.encode(document)
            if self.properties.destination is JsonDestination.ATTRIBUTE:
                flowfile = session.put(flowfile, {"JSONAttributes": encoded.decode()})
            else:
                if self.properties.pretty_print:
                    encoded = msgspec.json.format(encoded, indent=2)
                flowfile = session.write(flowfile, encoded)
                flowfile = session.put(flowfile, {"mime.type": "application/json"})
            session.transfer(flowfile, self.success)

    def _document(self, attributes: Mapping[str, str]) -> dict[str, object]:
        chosen = self._chosen(attributes)
        if self.properties.json_handling_strategy is JsonHandling.ESCAPED:
            return dict(chosen)
        return {name: nested(value) for name, value in chosen.items()}

    def _chosen(self, attributes: Mapping[str, str]) -> Mapping[str, str | None]:
        pattern = self.properties.attributes_regular_expression
        if not self._names and pattern is None:
            if self.properties.include_core_attributes:
                return attributes
            return {name: attributes[name] for name in attributes if name not in CORE_NAMES}
        absent = None if self.properties.null_value else ""
        chosen: dict[str, str | None] = {name: attributes.get(name, absent) for name in self._names}
        if pattern is not None:
            chosen |= {name: attributes[name] for name in attributes if pattern.matches(name)}
        return chosen


def nested(value: str | None) -> object:
    """Return the structure of a text that is a JSON object or array, any other text as it is.

    Raises:
        msgspec.DecodeError: it begins and ends like JSON, and is none.
    """
    trimmed = value.strip() if value else ""
    if (trimmed[:1], trimmed[-1:]) in (("{", "}"), ("[", "]")):
        return msgspec.json.decode(trimmed)
    return value
