"""Merging flowfiles: MergeContent.

Flowfiles wait in bins (`processors.merge_bins`) until theirs is complete. While they wait they are
*held*: they stay in their queue's record, so a crash, a stop or an edit loses nothing and merges
nothing twice; they come back and are sorted in anew. A trigger that completes a bin resumes its
flowfiles and commits everything, the merged flowfile and its originals, in one record.

A commit that is refused after the trigger leaves bins that name flowfiles which are not held. The
session refuses to resume those, the bins are forgotten, and all is sorted in anew: one bulletin
more, and never a content twice.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationInfo, field_validator

from processors.compression_level import Level
from processors.merge_bins import COUNT, INDEX, Bin, Bins, Cause, Limits, Place
from processors.merge_formats import (
    Concatenation,
    FlowFileStream,
    MergeFormat,
    TarArchive,
    ZipArchive,
)
from runtime.expression import ExpressionError
from runtime.flowfile import CORE_ATTRIBUTES, FlowFile
from runtime.processor import Effects, Example, Input, Processor, Relationship
from runtime.properties import (
    Choice,
    Condition,
    DataSize,
    Duration,
    Expression,
    Properties,
    Property,
)
from runtime.session import Session
from runtime.units import format_duration

IDENTIFIER: Final = "fragment.identifier"
ORIGINAL_NAME: Final = "segment.original.filename"
DELIMITER_BYTES_MAX: Final = 2**20
_NUMBER: Final = re.compile(r"\d{1,9}", re.ASCII)


class Strategy(Choice):
    """How flowfiles find together."""

    PACK = "Bin-Packing Algorithm", "Bin-Packing Algorithm"
    DEFRAGMENT = "Defragment", "Defragment"


class Format(Choice):
    """What the merged content is."""

    TAR = "TAR", "TAR"
    ZIP = "ZIP", "ZIP"
    STREAM_3 = "FlowFile Stream, v3", "FlowFile Stream, v3"
    STREAM_2 = "FlowFile Stream, v2", "FlowFile Stream, v2"
    CONCATENATION = "Binary Concatenation", "Binary Concatenation"


class AttributeStrategy(Choice):
    """Which attributes the merged flowfile has."""

    COMMON = "Keep Only Common Attributes", "Keep only common attributes"
    UNIQUE = "Keep All Unique Attributes", "Keep all unique attributes"


class DelimiterStrategy(Choice):
    """What header, footer and demarcator are."""

    FILENAME = "Filename", "Names of files"
    TEXT = "Text", "Texts"
    NONE = "Do Not Use Delimiters", "Do not use delimiters"


class MergeError(ValueError):
    """A bin cannot be merged as it is; the message is the reason of its flowfiles."""


_PACKING: Final = {"Merge Strategy": ("Bin-Packing Algorithm",)}
_DELIMITED: Final = {
    "Merge Format": ("Binary Concatenation",),
    "Delimiter Strategy": ("Filename", "Text"),
}


class MergeProperties(Properties):
    """How to fill bins, and what to make of them."""

    strategy: Strategy = Property(
        Strategy.PACK,
        name="Merge Strategy",
        description="Pack flowfiles as they come, or put the fragments of one flowfile together "
        "again by the attributes fragment.identifier, fragment.index and fragment.count.",
    )
    format: Format = Property(
        Format.CONCATENATION, name="Merge Format", description="What the merged content is."
    )
    attributes: AttributeStrategy = Property(
        AttributeStrategy.COMMON,
        name="Attribute Strategy",
        description="Keep the attributes that all flowfiles have with the same value, or all "
        "whose values do not contradict each other.",
    )
    correlation: Expression | None = Property(
        None,
        name="Correlation Attribute Name",
        description="Merge only flowfiles that have the same value of this attribute.",
        depends_on=_PACKING,
    )
    min_entries: int = Property(
        1,
        name="Minimum Number of Entries",
        description="How many flowfiles a bin needs, unless it gets too old.",
        depends_on=_PACKING,
        ge=1,
    )
    max_entries: int = Property(
        1000,
        name="Maximum Number of Entries",
        description="A bin with so many flowfiles is merged at once.",
        depends_on=_PACKING,
        ge=1,
    )
    min_size: DataSize = Property(
        0,
        name="Minimum Group Size",
        description="How many bytes a bin needs, unless it gets too old.",
        depends_on=_PACKING,
    )
    max_size: DataSize | None = Property(
        None,
        name="Maximum Group Size",
        description="A bin never gets larger; a single larger flowfile is merged alone. Unless "
        "it is set there is no limit.",
        depends_on=_PACKING,
        ge=1,
    )
    ends_bin: Condition | None = Property(
        None,
        name="Bin Termination Check",
        description="A flowfile for which this is true ends its bin, whatever the minimums are.",
        depends_on=_PACKING,
    )
    place: Place = Property(
        Place.LAST,
        name="FlowFile Insertion Strategy",
        description="Where the flowfile that ends a bin goes.",
        depends_on={"Bin Termination Check": ()},
    )
    max_age: Duration | None = Property(
        None,
        name="Max Bin Age",
        description="A bin so old is merged as it is; an incomplete set of fragments then goes to "
        "failure. At least a second; unless it is set bins may wait for ever.",
    )
    max_bins: int = Property(
        5,
        name="Maximum Number of Bins",
        description="How many bins may be open at a time; when one more is needed the oldest is "
        "merged as it is.",
        formerly=("Maximum number of Bins",),
        ge=1,
    )
    delimiters: DelimiterStrategy = Property(
        DelimiterStrategy.NONE,
        name="Delimiter Strategy",
        description="Whether header, footer and demarcator are texts or names of files.",
        depends_on={"Merge Format": ("Binary Concatenation",)},
    )
    header: Expression | None = Property(
        None,
        name="Header",
        description="What stands before the first content.",
        formerly=("Header File",),
        depends_on=_DELIMITED,
    )
    footer: Expression | None = Property(
        None,
        name="Footer",
        description="What stands behind the last content.",
        formerly=("Footer File",),
        depends_on=_DELIMITED,
    )
    demarcator: Expression | None = Property(
        None,
        name="Demarcator",
        description="What stands between contents.",
        formerly=("Demarcator File",),
        depends_on=_DELIMITED,
    )
    level: Level = Property(
        Level.L1,
        name="Compression Level",
        description="From 0, not compressed, to 9, smallest.",
        depends_on={"Merge Format": ("ZIP",)},
    )
    keep_path: bool = Property(
        False,
        name="Keep Path",
        description="Whether entries are named with the flowfiles' paths.",
        depends_on={"Merge Format": ("TAR", "ZIP")},
    )
    tar_time: Expression = Property(
        "${file.lastModifiedTime}",
        name="Tar Modified Time",
        description="The entry's time in ISO 8601. Where it is none, the time of merging.",
        depends_on={"Merge Format": ("TAR",)},
    )

    @field_validator("max_age")
    @classmethod
    def _is_long_enough(cls, value: float | None) -> float | None:
        if value is not None and value < 1:
            raise ValueError(f"is {format_duration(value)}; it must be at least 1 sec")
        return value

    @field_validator("max_entries")
    @classmethod
    def _holds_min_entries(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("min_entries", 1):
            raise ValueError(
                f"is {value}; it must be at least Minimum Number of Entries, which is "
                f"{info.data['min_entries']}"
            )
        return value

    @field_validator("max_size")
    @classmethod
    def _holds_min_size(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and value < info.data.get("min_size", 0):
            raise ValueError(
                f"is {value} B; it must be at least Minimum Group Size, which is "
                f"{info.data['min_size']} B"
            )
        return value

    @field_validator("header", "footer", "demarcator")
    @classmethod
    def _names_a_file(cls, value: Expression | None, info: ValidationInfo) -> Expression | None:
        is_name = info.data.get("delimiters") is DelimiterStrategy.FILENAME
        if value is not None and is_name and value.is_constant and not Path(value.text).is_file():
            raise ValueError(f"is '{value.text}'; there is no such file")
        return value


class MergeContent(Processor):
    """Merge many flowfiles into one."""

    Properties = MergeProperties

    merged = Relationship("The merged flowfiles.")
    original = Relationship("The flowfiles that were merged.")
    failure = Relationship("Flowfiles that cannot be merged.")
    input = Input.REQUIRED
    effects = Effects.PURE
    batch_size = 1000
    # The bins are shared by all triggers.
    serial = True
    tags = ("merge", "content", "correlation", "tar", "zip", "concatenation", "archive",
            "flowfile-stream-v3", "batch", "bin")  # fmt: skip
    reads = {
        IDENTIFIER: "Fragments with the same value belong together.",
        INDEX: "A fragment's place, a whole number of its own.",
        COUNT: "How many fragments there are; at least one of them must say it.",
        ORIGINAL_NAME: "The file name of what the fragments were.",
        "tar.permissions": "The mode of a TAR entry: three digits from 0 to 7.",
    }
    writes = {
        "filename": "Of a single flowfile its own, of several segment.original.filename if there "
        "is one and otherwise the UUID; with .tar, .zip or .pkg.",
        "mime.type": "The type of the format; of a concatenation that which all contents have.",
        "merge.count": "How many flowfiles were merged.",
        "merge.bin.age": "How old the bin was, in milliseconds.",
        "merge.reason": "Why the bin was merged then.",
        "merge.uuid": "On the originals: the UUID of the merged flowfile.",
    }
    example = Example(
        "Lines into one text",
        properties={"Delimiter Strategy": "Text", "Header": "[", "Footer": "]"},
        attributes={"mime.type": "text/plain"},
        content=b"a line",
        expect="merged",
        expect_attributes={"merge.count": "1", "mime.type": "text/plain"},
        expect_content=b"[a line]",
    )

    properties: MergeProperties

    def start(self) -> None:
        """Begin with no bins."""
        properties = self.properties
        is_defragmenting = properties.strategy is Strategy.DEFRAGMENT
        check = properties.ends_bin
        self._bins = Bins(
            _limits(properties),
            is_defragmenting=is_defragmenting,
            ends_bin=None if check is None else check.evaluate_all,
            place=properties.place,
        )
        self._group_of = _grouping(properties)

    def on_returned(self) -> None:
        """The held flowfiles are in their queue again and will be sorted in anew."""
        self._bins.clear()

    def on_trigger(self, session: Session) -> None:
        """Sort flowfiles into bins and merge the complete ones."""
        try:
            flowfiles = session.take()
            now = self.context.clock.monotonic()
            self._bins.offer(self._groups(session, flowfiles), now)
            if len(flowfiles) < session.limit:
                self._bins.relax()
            wait = self._bins.expire(now)
            for bin in self._bins.completed():
                self._merge(session, bin, now)
            session.hold(self._bins.settle())
        except BaseException:
            # Everything goes back to the queue, what earlier triggers hold included.
            self._bins.clear()
            raise
        if self._bins.any_sufficient:
            self.context.wake_in(0.0)
        elif wait is not None:
            self.context.wake_in(wait)

    def _groups(
        self, session: Session, flowfiles: Sequence[FlowFile]
    ) -> Mapping[str | None, list[FlowFile]]:
        if self._group_of is None:
            return {None: list(flowfiles)} if flowfiles else {}
        groups: dict[str | None, list[FlowFile]] = {}
        group_of = self._group_of
        is_defragmenting = self.properties.strategy is Strategy.DEFRAGMENT
        for flowfile in flowfiles:
            try:
                group = group_of(session, flowfile)
            except ExpressionError as error:
                session.transfer(flowfile, self.failure, reason=error)
                continue
            if group is None and is_defragmenting:
                reason = MergeError(f"The attribute '{IDENTIFIER}' is missing")
                session.transfer(flowfile, self.failure, reason=reason)
                continue
            try:
                groups[group].append(flowfile)
            except KeyError:
                groups[group] = [flowfile]
        return groups

    def _merge(self, session: Session, bin: Bin, now: float) -> None:
        session.resume(bin.flowfiles[: bin.held])
        flowfiles = bin.flowfiles
        try:
            if self.properties.strategy is Strategy.DEFRAGMENT:
                flowfiles = _ordered(flowfiles)
            format = self._format(flowfiles[0])
        except (MergeError, ExpressionError, OSError) as error:
            session.transfer(flowfiles, self.failure, reason=error)
            return
        merged = session.create(self._attributes(flowfiles), parents=flowfiles)
        with session.open_write(merged) as target:
            left_out = format.write(session, flowfiles, target)
        assert bin.cause is not None
        uuid = session.uuid(merged)
        name = _filename(session, flowfiles) or uuid
        merged = session.put(
            target.flowfile,
            {
                "filename": name + format.extension,
                "mime.type": format.mime_type or _mime_type(flowfiles),
                "merge.count": str(len(flowfiles)),
                "merge.bin.age": str(int((now - bin.start) * 1000)),
                "merge.reason": bin.cause.value,
            },
        )
        session.transfer(merged, self.merged)
        for flowfile in left_out:
            reason = MergeError("Another flowfile of its bin has the same name in the archive")
            session.transfer(session.clone(flowfile), self.failure, reason=reason)
        session.transfer(session.put_all(flowfiles, {"merge.uuid": uuid}), self.original)

    def _attributes(self, flowfiles: Sequence[FlowFile]) -> dict[str, str]:
        if self.properties.attributes is AttributeStrategy.COMMON:
            return {}  # what all parents share is what a joined flowfile begins with
        kept: dict[str, str] = {}
        contradicted = set()
        for flowfile in flowfiles:
            for name, value in flowfile.attributes.items():
                if kept.setdefault(name, value) != value:
                    contradicted.add(name)
        return {name: value for name, value in kept.items() if name not in contradicted}

    def _format(self, first: FlowFile) -> MergeFormat:
        properties = self.properties
        match properties.format:
            case Format.TAR:
                return TarArchive(
                    keep_path=properties.keep_path,
                    modified=properties.tar_time,
                    now=self.context.clock.wall(),
                )
            case Format.ZIP:
                return ZipArchive(keep_path=properties.keep_path, level=int(properties.level))
            case Format.STREAM_3:
                return FlowFileStream(3)
            case Format.STREAM_2:
                return FlowFileStream(2)
        return Concatenation(
            header=self._delimiter(properties.header, first),
            footer=self._delimiter(properties.footer, first),
            demarcator=self._delimiter(properties.demarcator, first),
        )

    def _delimiter(self, text: Expression | None, first: FlowFile) -> bytes:
        if text is None or self.properties.delimiters is DelimiterStrategy.NONE:
            return b""
        value = text.evaluate(first)
        if self.properties.delimiters is DelimiterStrategy.TEXT:
            return value.encode()
        with open(value, "rb") as file:
            content = file.read(DELIMITER_BYTES_MAX + 1)
        if len(content) > DELIMITER_BYTES_MAX:
            raise MergeError(
                f"The file '{value}' is longer than {DELIMITER_BYTES_MAX:,} bytes, the limit for "
                "a header, footer or demarcator"
            )
        return content


def _limits(properties: MergeProperties) -> Limits:
    if properties.strategy is Strategy.DEFRAGMENT:
        # How many entries there are, the fragments themselves say.
        return Limits(
            min_entries=sys.maxsize,
            max_entries=sys.maxsize,
            max_age=properties.max_age,
            max_bins=properties.max_bins,
        )
    return Limits(
        min_entries=properties.min_entries,
        max_entries=properties.max_entries,
        min_size=properties.min_size,
        max_size=properties.max_size or sys.maxsize,
        max_age=properties.max_age,
        max_bins=properties.max_bins,
    )


def _grouping(
    properties: MergeProperties,
) -> Callable[[Session, FlowFile], str | None] | None:
    """Return what finds a flowfile's group; None when there is but one."""
    if properties.strategy is Strategy.DEFRAGMENT:
        return lambda session, flowfile: flowfile.attributes.get(IDENTIFIER)
    expression = properties.correlation
    if expression is None:
        return None
    if expression.is_constant and (name := expression.evaluate()) not in CORE_ATTRIBUTES:
        return lambda session, flowfile: flowfile.attributes.get(name)
    return lambda session, flowfile: session.attribute(flowfile, expression.evaluate(flowfile))


def _ordered(flowfiles: Sequence[FlowFile]) -> list[FlowFile]:
    """Sort fragments by their index.

    Raises:
        MergeError: some are missing or too many, or an attribute is not what it should be.
    """
    group = flowfiles[0].attributes.get(IDENTIFIER)
    for flowfile in flowfiles:
        index = flowfile.attributes.get(INDEX)
        if index is None or not _NUMBER.fullmatch(index):
            raise MergeError(
                f"A fragment of '{group}' has the attribute '{INDEX}' = {_shown(index)}; it must "
                "be a whole number"
            )
    counts = {flowfile.attributes[COUNT] for flowfile in flowfiles if COUNT in flowfile.attributes}
    if not counts:
        raise MergeError(f"No fragment of '{group}' has the attribute '{COUNT}'")
    if len(counts) > 1:
        listed = ", ".join(sorted(counts))
        raise MergeError(f"The fragments of '{group}' disagree on '{COUNT}': {listed}")
    (count,) = counts
    if not _NUMBER.fullmatch(count):
        raise MergeError(
            f"A fragment of '{group}' has the attribute '{COUNT}' = '{count}'; it must be a whole "
            "number"
        )
    if len(flowfiles) != int(count):
        raise MergeError(f"Of '{group}' there are {len(flowfiles)} fragments, not {count}")
    return sorted(flowfiles, key=lambda flowfile: int(flowfile.attributes[INDEX]))


def _shown(value: str | None) -> str:
    return "none" if value is None else f"'{value}'"


def _filename(session: Session, flowfiles: Sequence[FlowFile]) -> str | None:
    if len(flowfiles) == 1:
        return session.attribute(flowfiles[0], "filename")
    return flowfiles[0].attributes.get(ORIGINAL_NAME)


def _mime_type(flowfiles: Sequence[FlowFile]) -> str:
    types = {flowfile.attributes.get("mime.type") for flowfile in flowfiles}
    return (types.pop() if len(types) == 1 else None) or "application/octet-stream"


__all__ = ["Cause", "MergeContent"]
