"""Reading values out of JSON contents by JSONPath, and splitting JSON arrays."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Final, Self

from pydantic import PlainValidator, model_validator

from processors.fragments import (
    INDEX,
    WRITTEN,
    Budget,
    PartlySplitError,
    mark_original,
    next_part,
    shared_attributes,
    split_in_parts,
)
from processors.json_document import MISSING, JsonError, JsonPath, decoded, is_scalar, shown
from runtime.flowfile import FlowFile
from runtime.processor import Effects, Example, Processor, Relationship
from runtime.properties import Choice, DataSize, DynamicProperties, Property
from runtime.properties import Properties as Declaration
from runtime.session import Session

PathValue = Annotated[JsonPath, PlainValidator(lambda value: JsonPath(str(value)))]


class NullRepresentation(Choice):
    """What becomes of null."""

    EMPTY = "empty string"
    NULL = "the string 'null'"


NULL_TEXTS: Final = {NullRepresentation.EMPTY: "", NullRepresentation.NULL: "null"}


class Destination(Choice):
    """Where the values go."""

    CONTENT = "flowfile-content"
    ATTRIBUTE = "flowfile-attribute"


class ReturnType(Choice):
    """What a path may find."""

    AUTO = "auto-detect"
    JSON = "json"
    SCALAR = "scalar"


class PathNotFound(Choice):
    """What happens when a path finds nothing."""

    WARN = "warn"
    IGNORE = "ignore"
    SKIP = "skip"


NULL_DESCRIPTION: Final = "What a null becomes."
LONGEST_DESCRIPTION: Final = "A content with a longer text in it goes to 'failure'."


class EvaluateJsonPath(Processor):
    """Read values out of JSON into attributes, or replace the content by one of them."""

    class Properties(DynamicProperties[PathValue]):
        destination: Destination = Property(
            Destination.CONTENT,
            description="Whether each of your paths sets the attribute it is named after, or the "
            "only one replaces the content.",
        )
        return_type: ReturnType = Property(
            ReturnType.AUTO,
            description="'scalar' refuses objects and arrays. 'auto-detect' is 'scalar' for "
            "attributes and 'json' for the content.",
        )
        path_not_found: PathNotFound = Property(
            PathNotFound.IGNORE,
            name="Path Not Found Behavior",
            description="Whether a path that finds nothing sets an empty attribute, does so with "
            "a warning, or sets none.",
            depends_on={"Destination": (Destination.ATTRIBUTE.value,)},
        )
        null_value_representation: NullRepresentation = Property(
            NullRepresentation.EMPTY, description=NULL_DESCRIPTION
        )
        max_string_length: DataSize = Property("20 MB", description=LONGEST_DESCRIPTION, ge=1)

        @model_validator(mode="after")
        def _content_has_one_path(self) -> Self:
            if self.destination is Destination.CONTENT and len(self.dynamic) != 1:
                found = f"{len(self.dynamic)} JSONPaths are set"
                raise ValueError(
                    f"{found if self.dynamic else 'a JSONPath is not set'}; the destination "
                    "'flowfile-content' takes exactly one"
                )
            return self

        @property
        def only_scalars(self) -> bool:
            """Whether objects and arrays are refused."""
            if self.return_type is ReturnType.AUTO:
                return self.destination is Destination.ATTRIBUTE
            return self.return_type is ReturnType.SCALAR

    effects = Effects.PURE
    batch_size = 1000
    tags = ("json", "jsonpath", "evaluate", "attributes")
    writes = {"(property name)": "What the path found, where the destination is an attribute."}
    example = Example(
        "A flight's delay",
        properties={"Destination": "flowfile-attribute", "delay": "$.arrival.delay"},
        content=b'{"arrival": {"delay": 20}}',
        expect="matched",
        expect_attributes={"delay": "20"},
    )

    matched = Relationship("Flowfiles that were changed by what was found.")
    unmatched = Relationship("Flowfiles whose content was to be replaced, and nothing was found.")
    failure = Relationship("Flowfiles that are not JSON, or where something other than a single "
                           "value was found and only that is wanted.")  # fmt: skip

    def __init__(self, properties: Any, context: Any) -> None:
        super().__init__(properties, context)
        self._paths = tuple(properties.dynamic.items())
        self._null = NULL_TEXTS[properties.null_value_representation]

    def on_trigger(self, session: Session) -> None:
        to_content = self.properties.destination is Destination.CONTENT
        evaluate = self._replace if to_content else self._describe
        missing: Counter[str] = Counter()
        flowfiles = session.take()
        longest = self.properties.max_string_length
        for flowfile, content in zip(flowfiles, contents(session, flowfiles), strict=True):
            try:
                evaluate(session, flowfile, decoded(content, longest), missing)
            except JsonError as error:
                session.transfer(flowfile, self.failure, reason=error)
        if missing and self.properties.path_not_found is PathNotFound.WARN:
            for path, count in missing.items():
                self.context.report("WARN", f"JSONPath '{path}' found nothing in {count} flowfiles")

    def _replace(
        self, session: Session, flowfile: FlowFile, document: object, missing: Counter[str]
    ) -> None:
        ((_, path),) = self._paths
        value = path.find(document)
        if value is MISSING:
            session.transfer(flowfile, self.unmatched)
            return
        written = session.write(flowfile, self._text(path, value).encode())
        session.transfer(written, self.matched)

    def _describe(
        self, session: Session, flowfile: FlowFile, document: object, missing: Counter[str]
    ) -> None:
        skips = self.properties.path_not_found is PathNotFound.SKIP
        attributes: dict[str, str] = {}
        absent: list[str] = []
        for name, path in self._paths:
            value = path.find(document)
            if value is not MISSING:
                attributes[name] = self._text(path, value)
                continue
            absent.append(path.text)
            if not skips:
                attributes[name] = ""
        missing.update(absent)
        if attributes:
            flowfile = session.put(flowfile, attributes)
        session.transfer(flowfile, self.matched)

    def _text(self, path: JsonPath, value: object) -> str:
        if type(value) is str:
            return value
        if self.properties.only_scalars and not is_scalar(value):
            kind = "an array" if isinstance(value, list) else "an object"
            raise JsonError(
                f"JSONPath '{path.text}' finds {kind}; only single values are wanted. "
                "Set the Return Type to 'json', or make the path more exact"
            )
        return shown(value, self._null)


GATHERED_BYTES_MAX: Final = 16 << 20


def contents(session: Session, flowfiles: list[FlowFile]) -> Any:
    """Yield contents in order: read together where they are small, one by one else."""
    if sum(flowfile.size for flowfile in flowfiles) <= GATHERED_BYTES_MAX:
        return session.read_many(flowfiles)
    return (session.read(flowfile) for flowfile in flowfiles)


class SplitJson(Processor):
    """Split a JSON array into a flowfile for each of its elements."""

    class Properties(Declaration):
        json_path_expression: PathValue = Property(
            name="JsonPath Expression",
            description="What finds the array: a path to one, or a path that finds many values.",
        )
        null_value_representation: NullRepresentation = Property(
            NullRepresentation.EMPTY, description=NULL_DESCRIPTION
        )
        max_string_length: DataSize = Property("20 MB", description=LONGEST_DESCRIPTION, ge=1)

    effects = Effects.PURE
    batch_size = 100
    tags = ("json", "jsonpath", "split", "array")
    writes = WRITTEN | {INDEX: "The place of the fragment, from 0."}
    example = Example(
        "One city each",
        properties={"JsonPath Expression": "$.cities"},
        content=b'{"cities": [{"name": "Porto"}]}',
        expect="split",
        expect_attributes={"fragment.index": "0", "fragment.count": "1"},
        expect_content=b'{"name":"Porto"}',
    )

    delivery = (
        "An array with very many elements is split over several commits; after a crash it goes "
        "on behind the last one, without losing or doubling an element."
    )

    original = Relationship("The flowfiles that were split.")
    split = Relationship("The elements.")
    failure = Relationship("Flowfiles that are not JSON, or where no array was found.")

    def __init__(self, properties: Any, context: Any) -> None:
        super().__init__(properties, context)
        self._null = NULL_TEXTS[properties.null_value_representation]
        self._settings = properties.json_path_expression.text
        self._elements_of: dict[int, list[object]] = {}

    def on_trigger(self, session: Session) -> None:
        def split(flowfile: FlowFile, budget: Budget) -> bool:
            try:
                return self._split(session, flowfile, budget)
            except (JsonError, PartlySplitError) as error:
                session.transfer(flowfile, self.failure, reason=error)
                return True

        split_in_parts(session, session.take(), split)

    def _elements(self, session: Session, flowfile: FlowFile) -> list[object]:
        # A flowfile that comes back for its next part is not read again, unless after a restart.
        waiting = self._elements_of.pop(flowfile.id, None)
        if waiting is not None:
            return waiting
        content = session.read(flowfile)
        path = self.properties.json_path_expression
        found = path.find(decoded(content, self.properties.max_string_length))
        if found is MISSING:
            raise JsonError(f"JSONPath '{path.text}' finds nothing; it must find an array")
        if not isinstance(found, list):
            kind = "an object" if isinstance(found, dict) else "a single value"
            raise JsonError(f"JSONPath '{path.text}' finds {kind}; it must find an array")
        return found

    def _split(self, session: Session, flowfile: FlowFile, budget: Budget) -> bool:
        elements = self._elements(session, flowfile)
        shared = shared_attributes(session, flowfile, self.context.id, len(elements))
        plan = (elements, shared, self._settings)
        done, part, last = next_part(session, flowfile, budget, plan)
        null = self._null
        fragments = session.create_many(
            [{**shared, INDEX: str(index)} for index in range(done, done + len(part))],
            [shown(element, null).encode() for element in part],
            parent=flowfile,
        )
        session.transfer(fragments, self.split)
        if last:
            session.transfer(mark_original(session, flowfile, shared), self.original)
        else:
            self._elements_of.clear()  # one is enough: the same flowfile comes back first
            self._elements_of[flowfile.id] = elements
        return last
