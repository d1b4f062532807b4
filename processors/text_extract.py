"""Putting parts of a text content into attributes by regular expressions."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import PlainValidator, ValidationInfo

from processors.character_set import CharacterSet
from processors.java_pattern import JavaPattern, canonical, java_pattern, unicode_classes
from processors.one_by_one import in_batches
from processors.text_lines import Encoding, read_start
from runtime.flowfile import FlowFile
from runtime.patterns import Match, PatternFlag
from runtime.processor import Effects, Example, Processor, Relationship
from runtime.properties import DataSize, DynamicProperties, Property
from runtime.session import Session

GROUPS_MAX: Final = 40

_FLAGS: Final = {
    "ignore_case": PatternFlag.IGNORE_CASE,
    "dot_all": PatternFlag.DOT_ALL,
    "multiline": PatternFlag.MULTILINE,
    "literal": PatternFlag.LITERAL,
}


def _extraction(value: object, info: ValidationInfo) -> JavaPattern:
    """Compile a user's pattern under the options that were validated before it."""
    options = info.data
    text = str(value)
    flags = PatternFlag.NONE
    for name, flag in _FLAGS.items():
        flags |= flag if options.get(name) else PatternFlag.NONE
    if not options.get("literal"):
        if options.get("unicode_character_class"):
            text = unicode_classes(text)
        if options.get("comments"):
            text = f"(?x){text}"
    if options.get("canonical_equivalence"):
        text = canonical(text)
    pattern = java_pattern(text, flags, unix_lines=bool(options.get("unix_lines")))
    least = 0 if options.get("include_group_zero", True) else 1
    if not least <= pattern.groups <= GROUPS_MAX:
        raise ValueError(
            f"is '{value}', which has {pattern.groups} capturing groups; it must have "
            f"{least} to {GROUPS_MAX}"
        )
    if options.get("named_groups") and len(pattern.plain.names) != pattern.groups:
        raise ValueError(
            f"is '{value}', which has {pattern.groups} capturing groups, "
            f"{len(pattern.plain.names)} of them named; with 'Enable Named Groups' all must be"
        )
    return pattern


Extraction = Annotated[JavaPattern, PlainValidator(_extraction)]


class ExtractText(Processor):
    """Match regular expressions against the content and put what they capture into attributes."""

    class Properties(DynamicProperties[Extraction]):
        character_set: CharacterSet = Property(
            "UTF-8", description="The character set of the content."
        )
        maximum_buffer_size: DataSize = Property(
            "1 MB",
            description="How much of the content is looked at; what lies beyond is ignored.",
            ge=1,
        )
        maximum_capture_group_length: int = Property(
            1024, description="Captured text is cut to so many characters.", ge=1
        )
        canonical_equivalence: bool = Property(
            False,
            name="Enable Canonical Equivalence",
            description="Whether characters match that are the same when composed. What is "
            "captured is composed, too.",
        )
        ignore_case: bool = Property(
            False,
            name="Enable Case-insensitive Matching",
            description="Whether upper and lower case are the same.",
        )
        comments: bool = Property(
            False,
            name="Permit Whitespace and Comments in Pattern",
            description="Whether white space in a pattern is ignored, and what follows a '#'.",
        )
        dot_all: bool = Property(
            False,
            name="Enable DOTALL Mode",
            description="Whether '.' also matches line ends.",
        )
        literal: bool = Property(
            False,
            name="Enable Literal Parsing of the Pattern",
            description="Whether the pattern is a text in which no character is special.",
        )
        multiline: bool = Property(
            False,
            name="Enable Multiline Mode",
            description="Whether '^' and '$' match at each line's start and end.",
        )
        unicode_case: bool = Property(
            False,
            name="Enable Unicode-aware Case Folding",
            description="Accepted for flows from NiFi: case-insensitive matching always knows "
            "all of Unicode where RE2 runs the pattern.",
        )
        unicode_character_class: bool = Property(
            False,
            name="Enable Unicode Predefined Character Classes",
            description=r"Whether '\d', '\w' and '\s' mean all of Unicode, not only ASCII.",
        )
        unix_lines: bool = Property(
            False,
            name="Enable Unix Lines Mode",
            description=r"Whether only '\n' ends a line for '.', '^' and '$'.",
        )
        include_group_zero: bool = Property(
            True,
            name="Include Capture Group 0",
            description="Whether the whole match becomes an attribute as well.",
        )
        repeating: bool = Property(
            False,
            name="Enable Repeating Capture Group",
            formerly=(
                "extract-text-enable-repeating-capture-group",
                "Enable repeating capture group",
            ),
            description="Whether every match is extracted, not only the first.",
        )
        named_groups: bool = Property(
            False,
            name="Enable Named Groups",
            formerly=("extract-text-enable-named-groups", "Enable named group support"),
            description="Whether attributes are called after the names of groups, not their "
            "numbers. Every group needs a name then.",
        )

    effects = Effects.PURE
    batch_size = 100
    tags = ("extract", "text", "regular expression", "attributes")
    writes = {
        "(property name)": "What the first group captured.",
        "(property name).(number)": "What each group captured; 0 is the whole match.",
        "(property name).(group name)": "What each group captured, with 'Enable Named Groups'.",
    }
    example = Example(
        "The level of a log line",
        properties={"level": r"^\S+ ([A-Z]+) "},
        content=b"12:00 WARN low on space\n",
        expect="matched",
        expect_attributes={"level": "WARN", "level.0": "12:00 WARN ", "level.1": "WARN"},
    )

    matched = Relationship("Flowfiles that got at least one attribute.")
    unmatched = Relationship("Flowfiles whose content no expression matches.")

    def __init__(self, properties: Any, context: Any) -> None:
        super().__init__(properties, context)
        self._encoding = Encoding(properties.character_set)

    def on_trigger(self, session: Session) -> None:
        in_batches(session, self._extract)

    def _extract(self, session: Session, flowfiles: list[FlowFile]) -> None:
        for flowfile in flowfiles:
            text = self._text(session, flowfile)
            found: dict[str, str] = {}
            for name, pattern in self.properties.dynamic.items():
                found.update(self._captured(name, pattern, text))
            if found:
                session.transfer(session.put(flowfile, found), self.matched)
            else:
                session.transfer(flowfile, self.unmatched)

    def _text(self, session: Session, flowfile: FlowFile) -> str:
        start = read_start(session, flowfile, self.properties.maximum_buffer_size)
        # An attribute is text: what is not text in the content reads as U+FFFD there.
        text = self._encoding.read(start).decode(self._encoding.inner, "replace")
        return canonical(text) if self.properties.canonical_equivalence else text

    def _captured(self, name: str, pattern: JavaPattern, text: str) -> dict[str, str]:
        captured: dict[str, str] = {}
        add = self._add_named if self.properties.named_groups and pattern.groups else self._add
        for index, match in enumerate(pattern.for_text(text).finditer(text)):
            add(captured, name, index, match)
            if not self.properties.repeating:
                break
        return captured

    def _add(self, captured: dict[str, str], name: str, index: int, match: Match) -> None:
        # Groups are numbered on over repeated matches; the whole is there for the first only.
        count = len(match.spans) - 1
        first = 1 if index or not self.properties.include_group_zero else 0
        for group in range(first, count + 1):
            value = self._cut(match.group(group))
            if value:
                captured[f"{name}.{group + index * count}"] = value
                if group == 1 and index == 0:
                    captured[name] = value

    def _add_named(self, captured: dict[str, str], name: str, index: int, match: Match) -> None:
        suffix = f".{index}" if index else ""
        for group in match.names:
            value = self._cut(match.group(group))
            if value:
                captured[f"{name}.{group}{suffix}"] = value
        if index == 0 and self.properties.include_group_zero:
            captured[name] = match.group(0) or ""

    def _cut(self, value: str | None) -> str:
        return (value or "")[: self.properties.maximum_capture_group_length]
