"""Writing what passes by to the log, for looking into a flow from outside."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Final

from pydantic import field_validator

from processors.character_set import checked, is_known
from runtime.flowfile import FlowFile
from runtime.processor import Effects, Example, Processor, Relationship
from runtime.properties import Choice, Expression, Pattern, Property
from runtime.properties import Properties as Declaration
from runtime.session import Session

PAYLOAD_BYTES_MAX: Final = 1 << 20
RULE_WIDTH: Final = 50
PREFIX_WIDTH: Final = 40


class LogLevel(Choice):
    """The levels of the log. Python's logging has no `trace`; it is below `debug`."""

    TRACE = "trace"
    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


LEVELS: Final = {
    LogLevel.TRACE: 5,
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARN: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}


class OutputFormat(Choice):
    """How the attributes are laid out."""

    LINES = "Line per Attribute"
    SINGLE = "Single Line"


class LogAttribute(Processor):
    """Write the attributes of each flowfile, and its content where wanted, to the log."""

    class Properties(Declaration):
        log_level: LogLevel = Property(LogLevel.INFO, description="The level to log at.")
        log_payload: bool = Property(
            False, description="Whether to log the content too; one of 1 MB or more is left out."
        )
        attributes_to_log: str | None = Property(
            None,
            name="Attributes to Log",
            description="Names of the attributes to log, separated by commas; all where not set. "
            "The regular expression must match as well.",
        )
        attributes_to_log_pattern: Pattern = Property(
            ".*",
            name="Attributes to Log Regular Expression",
            formerly=("attributes-to-log-regex",),
            description="Only attributes whose whole name matches are logged.",
        )
        attributes_to_ignore: str | None = Property(
            None,
            name="Attributes to Ignore",
            description="Names of attributes to leave out, separated by commas.",
        )
        attributes_to_ignore_pattern: Pattern | None = Property(
            None,
            name="Attributes to Ignore Regular Expression",
            formerly=("attributes-to-ignore-regex",),
            description="Attributes whose whole name matches are left out.",
        )
        log_flowfile_properties: bool = Property(
            True,
            name="Log FlowFile Properties",
            description="Whether to log entry date, lineage start date and size as well.",
        )
        output_format: OutputFormat = Property(
            OutputFormat.LINES,
            description="Two lines for each attribute, or all of them in a single line.",
        )
        log_prefix: Expression | None = Property(
            None,
            formerly=("Log prefix",),
            description="A text in the rules around each entry, to tell several loggers apart.",
        )
        character_set: Expression = Property(
            "UTF-8",
            formerly=("character-set",),
            description="The encoding of the content; bytes outside it are shown as '\ufffd'.",
        )

        @field_validator("character_set")
        @classmethod
        def _is_known(cls, value: Expression) -> Expression:
            if value.is_constant:
                checked(value.text)
            return value

    # It reads nothing outside, but a run must not be left out as a pure one might.
    effects = Effects.READS_OUTSIDE
    batch_size = 1000
    tags = ("attributes", "logging", "debug")
    success = Relationship("All flowfiles, unchanged.")
    example = Example(
        "Log file names only",
        properties={"Attributes to Log": "filename", "Output Format": "Single Line"},
        attributes={"filename": "a.txt", "secret": "not logged"},
        expect_attributes={"filename": "a.txt"},
    )

    properties: Properties

    def start(self) -> None:
        # A dot would make a parent logger of what stands before it.
        self.logger = logging.getLogger(f"levada.flow.{self.context.name.replace('.', '_')}")
        self.level = LEVELS[self.properties.log_level]
        self.wanted = _names(self.properties.attributes_to_log)
        self.ignored = _names(self.properties.attributes_to_ignore)

    def on_trigger(self, session: Session) -> None:
        flowfiles = session.take()
        if self.logger.isEnabledFor(self.level):
            for flowfile in flowfiles:
                self.logger.log(self.level, "%s", self._entry(session, flowfile))
        session.transfer(flowfiles, self.success)

    def _entry(self, session: Session, flowfile: FlowFile) -> str:
        attributes = session.attributes(flowfile)
        shown = {name: attributes[name] for name in sorted(attributes) if self._is_shown(name)}
        facts = {}
        if self.properties.log_flowfile_properties:
            facts = {
                "entryDate": _date(flowfile.entered),
                "lineageStartDate": _date(flowfile.lineage_start),
                "fileSize": str(flowfile.size),
            }
        head = f"Flowfile {attributes['uuid']} ({flowfile.size} bytes)"
        if self.properties.output_format is OutputFormat.SINGLE:
            pairs = ", ".join(f"{name}={value}" for name, value in sorted((shown | facts).items()))
            entry = f"{head}: {{{pairs}}}"
        else:
            entry = "\n".join([head, *self._lines(flowfile, facts, shown)])
        return entry + self._payload(session, flowfile)

    def _is_shown(self, name: str) -> bool:
        properties = self.properties
        return (
            (not self.wanted or name in self.wanted)
            and properties.attributes_to_log_pattern.matches(name)
            and name not in self.ignored
            and not (
                properties.attributes_to_ignore_pattern is not None
                and properties.attributes_to_ignore_pattern.matches(name)
            )
        )

    def _lines(
        self, flowfile: FlowFile, facts: dict[str, str], shown: dict[str, str]
    ) -> list[str]:
        prefix = self.properties.log_prefix
        rule = _rule(prefix.evaluate(flowfile) if prefix else "")
        lines = [rule]
        if facts:
            lines.append("Properties")
            lines += [f"Key: '{name}'\n\tValue: '{value}'" for name, value in facts.items()]
        lines.append("Attributes")
        lines += [f"Key: '{name}'\n\tValue: '{value}'" for name, value in shown.items()]
        return [*lines, rule]

    def _payload(self, session: Session, flowfile: FlowFile) -> str:
        if not self.properties.log_payload:
            return ""
        if flowfile.size >= PAYLOAD_BYTES_MAX:
            return f"\nContent of {flowfile.size} bytes left out: 1 MB or more is not logged."
        encoding = self.properties.character_set.evaluate(flowfile)
        if not is_known(encoding):
            encoding = "UTF-8"
        return "\n" + session.read(flowfile).decode(encoding, "replace")


def _names(text: str | None) -> frozenset[str]:
    names = (name.strip() for name in (text or "").split(","))
    return frozenset(name for name in names if name)


def _rule(prefix: str) -> str:
    if not prefix.strip():
        return "-" * RULE_WIDTH
    if len(prefix) > PREFIX_WIDTH:
        prefix = prefix[: PREFIX_WIDTH - 3] + "..."
    return prefix.center(PREFIX_WIDTH, "-").center(RULE_WIDTH, "-")


def _date(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000).astimezone()
    return moment.isoformat(sep=" ", timespec="milliseconds")
