"""Changing text contents: replace, prepend, append, surround, by line or as a whole.

Every strategy is an *edit* of bytes: a function that is given one line with its end, or the whole
content, and returns what takes its place. Contents up to `BLOCK_BYTES` are read and written at
once, larger ones pass through in blocks of whole lines. What an edit leaves alone keeps its bytes,
also where they are not text in the character set.

The replacement of a regular expression may refer to groups (`$1`) and may hold expressions, which
see the groups as attributes (`${'$1':toUpper()}`). The values of expressions are never read for
references or backslashes. As in NiFi, a `$` before anything but a digit makes the literal parts
of the replacement literal through and through, and a reference to a group that does not exist
stands for itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, assert_never

from pydantic import ValidationInfo, field_validator

from processors.character_set import CharacterSet
from processors.java_pattern import JavaPattern
from processors.template import Template, TemplateText
from processors.text_lines import (
    BLOCK_BYTES,
    Encoding,
    LineTooLongError,
    TextOutput,
    end_of,
    line_blocks,
    too_long,
)
from runtime.expression import Expression, ExpressionError
from runtime.flowfile import FlowFile
from runtime.patterns import Match, PatternError
from runtime.processor import Effects, Example, Processor, Relationship
from runtime.properties import Choice, DataSize, Property
from runtime.properties import Properties as Declaration
from runtime.session import Session

EVERYTHING: Final = "(?s)(^.*$)"
# A replacement may grow the text: to this many bytes, or to so many times the buffer.
OUTPUT_BYTES_MAX: Final = 16 << 20
OUTPUT_GROWTH_MAX: Final = 16

Edit = Callable[[bytes], bytes]


class ReplacementError(ValueError):
    """A replacement that would never end, or make too long a text."""


class Strategy(Choice):
    """What happens to a line or a content."""

    PREPEND = "Prepend"
    APPEND = "Append"
    SURROUND = "Surround"
    REGEX = "Regex Replace"
    LITERAL = "Literal Replace"
    ALWAYS = "Always Replace"
    SUBSTITUTE = "Substitute Variables"


class EvaluationMode(Choice):
    """What an edit is given."""

    LINES = "Line-by-Line"
    WHOLE = "Entire text"


class LineMode(Choice):
    """Which lines are edited."""

    ALL = "All"
    FIRST = "First-Line"
    LAST = "Last-Line"
    EXCEPT_FIRST = "Except-First-Line"
    EXCEPT_LAST = "Except-Last-Line"


SEARCHING: Final = (Strategy.REGEX.value, Strategy.LITERAL.value)
INSERTING: Final = (*SEARCHING, *(one.value for one in (
    Strategy.ALWAYS, Strategy.PREPEND, Strategy.APPEND)))  # fmt: skip


class ReplaceText(Processor):
    """Change text: replace what matches, or add to the start or end, by line or as a whole."""

    class Properties(Declaration):
        strategy: Strategy = Property(
            Strategy.REGEX,
            name="Replacement Strategy",
            description="How and what to replace.",
        )
        search_value: TemplateText = Property(
            EVERYTHING,
            description="What to look for: a regular expression or a literal text. The values of "
            "expressions in it stand for themselves.",
            depends_on={"Replacement Strategy": SEARCHING},
            formerly=("Regular Expression",),
        )
        replacement_value: TemplateText = Property(
            "$1",
            description="What to put in its place. With a regular expression, '$1' is the first "
            "group, also inside expressions: ${'$1':toUpper()}.",
            depends_on={"Replacement Strategy": INSERTING},
        )
        text_to_prepend: TemplateText = Property(
            "",
            name="Text to Prepend",
            description="What to put before each line or the content.",
            depends_on={"Replacement Strategy": (Strategy.SURROUND.value,)},
        )
        text_to_append: TemplateText = Property(
            "",
            name="Text to Append",
            description="What to put after each line or the content.",
            depends_on={"Replacement Strategy": (Strategy.SURROUND.value,)},
        )
        character_set: CharacterSet = Property(
            "UTF-8", description="The character set of the content."
        )
        maximum_buffer_size: DataSize = Property(
            "1 MB",
            description="The longest line, or with 'Entire text' the largest content, that is "
            "searched; a flowfile with more goes to 'failure'. Adding and replacing everything "
            "need no buffer.",
            ge=1,
        )
        evaluation_mode: EvaluationMode = Property(
            EvaluationMode.LINES,
            description="Whether each line is edited for itself, or the content as a whole.",
        )
        line_mode: LineMode = Property(
            LineMode.ALL,
            name="Line-by-Line Evaluation Mode",
            description="Which lines are edited.",
            depends_on={"Evaluation Mode": (EvaluationMode.LINES.value,)},
        )

        @field_validator("search_value")
        @classmethod
        def _can_be_searched(cls, value: Template, info: ValidationInfo) -> Template:
            strategy = info.data.get("strategy")
            if strategy is Strategy.LITERAL and not value.text:
                raise ValueError("is empty; it must have the text to look for")
            if strategy is Strategy.REGEX and value.is_constant:
                value.pattern()
            return value

        @property
        def replaces_everything(self) -> bool:
            """Whether nothing needs to be searched, whatever the strategy is called."""
            if self.strategy is Strategy.ALWAYS:
                return True
            return self.strategy is Strategy.REGEX and (
                self.search_value.text == ".*"
                or self.search_value.text == EVERYTHING
                and self.evaluation_mode is EvaluationMode.WHOLE
                and not self.replacement_value.text
            )

        @property
        def surrounds(self) -> bool:
            """Whether text is only added."""
            return self.strategy in (Strategy.PREPEND, Strategy.APPEND, Strategy.SURROUND)

    effects = Effects.PURE
    batch_size = 100
    tags = ("text", "replace", "regular expression", "update", "append", "prepend")
    example = Example(
        "Swap two fields",
        properties={"Search Value": r"(\w+),(\w+)", "Replacement Value": "$2,$1"},
        content=b"a,b\nc,d\n",
        expect_content=b"b,a\nd,c\n",
    )

    success = Relationship("Flowfiles that were edited, also when nothing had to be replaced.")
    failure = Relationship("Flowfiles with too long a line or content, or on whose values an "
                           "expression cannot be computed.")  # fmt: skip

    def __init__(self, properties: Any, context: Any) -> None:
        super().__init__(properties, context)
        self._encoding = Encoding(properties.character_set)
        self._searches = not (properties.surrounds or properties.replaces_everything)

    def on_trigger(self, session: Session) -> None:
        for flowfile in session.take():
            try:
                edited = self._edited(session, flowfile)
            except (ReplacementError, LineTooLongError, ExpressionError, PatternError) as error:
                session.transfer(flowfile, self.failure, reason=error)
            else:
                session.transfer(edited, self.success)

    def _edited(self, session: Session, flowfile: FlowFile) -> FlowFile:
        if self.properties.evaluation_mode is EvaluationMode.WHOLE:
            return self._edit_whole(session, flowfile)
        edit = self._edit(session, flowfile)
        encoding = self._encoding
        if flowfile.size <= BLOCK_BYTES:
            content = session.read(flowfile)
            blocks = [encoding.read(content)] if content else []
            edited = encoding.written(b"".join(self._edit_blocks(blocks, edit)))
            return flowfile if edited == content else session.write(flowfile, edited)
        limit = self.properties.maximum_buffer_size if self._searches else None
        with TextOutput(session, flowfile, encoding) as output, session.open_read(flowfile) as file:
            for block in self._edit_blocks(line_blocks(encoding.reader(file), limit=limit), edit):
                output.write(block)
        return output.flowfile

    def _edit_blocks(self, blocks: Iterable[bytes], edit: Edit) -> Iterator[bytes]:
        mode = self.properties.line_mode
        waiting: bytes | None = None  # whether a block is the last shows with the next one
        first = True
        for block in blocks:
            if waiting is not None:
                yield b"".join(
                    edited_lines(self._lines(waiting), edit, mode, first=first, last=False)
                )
                first = False
            waiting = block
        if waiting is not None:
            yield b"".join(edited_lines(self._lines(waiting), edit, mode, first=first, last=True))

    def _lines(self, block: bytes) -> list[bytes]:
        lines = block.splitlines(keepends=True)
        limit = self.properties.maximum_buffer_size
        if self._searches and len(block) > limit and len(max(lines, key=len)) > limit:
            raise LineTooLongError(too_long("a line", limit))
        return lines

    def _edit_whole(self, session: Session, flowfile: FlowFile) -> FlowFile:
        encoding = self._encoding
        if self.properties.replaces_everything:
            value = encoding.encode(self.properties.replacement_value.evaluate(flowfile))
            return session.write(flowfile, encoding.written(value))
        if self.properties.surrounds:
            return self._surround_whole(session, flowfile)
        limit = self.properties.maximum_buffer_size
        if flowfile.size > limit:
            raise LineTooLongError(too_long("a text", limit))
        content = session.read(flowfile)
        edited = encoding.written(self._edit(session, flowfile)(encoding.read(content)))
        return flowfile if edited == content else session.write(flowfile, edited)

    def _surround_whole(self, session: Session, flowfile: FlowFile) -> FlowFile:
        before, after = self._surroundings(flowfile)
        encoding = self._encoding
        with TextOutput(session, flowfile, encoding) as output, session.open_read(flowfile) as file:
            output.write(before)
            for block in line_blocks(encoding.reader(file)):
                output.write(block)
            output.write(after)
        return output.flowfile

    def _surroundings(self, flowfile: FlowFile) -> tuple[bytes, bytes]:
        properties = self.properties
        encode = self._encoding.encode
        if properties.strategy is Strategy.SURROUND:
            before = properties.text_to_prepend.evaluate(flowfile)
            return encode(before), encode(properties.text_to_append.evaluate(flowfile))
        value = encode(properties.replacement_value.evaluate(flowfile))
        return (value, b"") if properties.strategy is Strategy.PREPEND else (b"", value)

    def _edit(self, session: Session, flowfile: FlowFile) -> Edit:
        properties = self.properties
        if properties.surrounds:
            return surrounding(*self._surroundings(flowfile))
        encoding = self._encoding
        if properties.replaces_everything:
            value = encoding.encode(properties.replacement_value.evaluate(flowfile))
            return lambda line: value + line[end_of(line) :]
        limit = max(OUTPUT_BYTES_MAX, OUTPUT_GROWTH_MAX * properties.maximum_buffer_size)
        match properties.strategy:
            case Strategy.LITERAL:
                old = encoding.encode(properties.search_value.evaluate(flowfile))
                new = encoding.encode(properties.replacement_value.evaluate(flowfile))
                return replacing(old, new, limit)
            case Strategy.SUBSTITUTE:
                attributes = session.attributes(flowfile)
                return encoding_edit(encoding, lambda text: substituted(text, attributes, limit))
            case _:
                pattern = properties.search_value.pattern(flowfile)
                replacement = Replacement(properties.replacement_value, pattern, flowfile)
                return encoding_edit(encoding, lambda text: replacement.apply(text, limit))


def edited_lines(
    lines: list[bytes], edit: Edit, mode: LineMode, *, first: bool, last: bool
) -> list[bytes]:
    """Edit the lines of a block that `mode` chooses; it may be the first or last block."""
    start, end = 0, len(lines)
    match mode:
        case LineMode.ALL:
            pass
        case LineMode.FIRST:
            end = 1 if first else 0
        case LineMode.LAST:
            start = end - 1 if last else end
        case LineMode.EXCEPT_FIRST:
            start = 1 if first else 0
        case LineMode.EXCEPT_LAST:
            end -= 1 if last else 0
        case _:
            assert_never(mode)
    lines[start:end] = map(edit, lines[start:end])
    return lines


def surrounding(before: bytes, after: bytes) -> Edit:
    """Return an edit that adds to a line, before its end."""

    def edit(line: bytes) -> bytes:
        end = end_of(line)
        return b"".join((before, line[:end], after, line[end:]))

    return edit


def replacing(old: bytes, new: bytes, limit: int) -> Edit:
    """Return an edit that replaces a literal; an empty one is found nowhere."""

    def edit(data: bytes) -> bytes:
        if not old:
            return data
        if len(new) > len(old) and len(data) + data.count(old) * (len(new) - len(old)) > limit:
            raise ReplacementError(grown(limit))
        return data.replace(old, new)

    return edit


def encoding_edit(encoding: Encoding, edit: Callable[[str], str]) -> Edit:
    """Return an edit of bytes that works on text."""
    return lambda data: encoding.encode(edit(encoding.decode(data)))


def grown(limit: int) -> str:
    """Say that a replacement makes too much text."""
    return (
        f"The replacement makes a text of more than {limit:,} bytes out of one line or content. "
        "Make it shorter, or raise the Maximum Buffer Size"
    )


_REFERENCE: Final = re.compile(r"\\(.)|\$(\d+)", re.DOTALL)
_LITERAL_SIGN: Final = re.compile(r"\$\D")


class Replacement:
    """What takes the place of a pattern's matches in one flowfile.

    Its parts are literal texts, numbers of groups, and expressions that see the groups.
    """

    def __init__(self, template: Template, pattern: JavaPattern, flowfile: FlowFile) -> None:
        self._pattern = pattern
        self._flowfile = flowfile
        texts = [part for part in template.parts if isinstance(part, str)]
        literal = any(_LITERAL_SIGN.search(text) for text in texts)
        self._parts: list[str | int | Expression] = []
        for part in template.parts:
            if isinstance(part, str):
                self._parts += [part] if literal else references(part, pattern.groups)
            elif "$" in part.text[1:]:
                self._parts.append(part)
            else:
                self._parts.append(part.evaluate(flowfile))
        self._needs_groups = any(isinstance(part, Expression) for part in self._parts)

    def apply(self, text: str, limit: int) -> str:
        """Replace every match in `text`.

        Raises:
            ReplacementError: the result would have more than `limit` characters.
        """
        pieces: list[str] = []
        position = length = 0
        for match in self._pattern.for_text(text).finditer(text):
            pieces.append(text[position : match.start()])
            replaced = self._for_match(match)
            length += len(replaced)
            if length > limit:
                raise ReplacementError(grown(limit))
            pieces.append(replaced)
            position = match.end()
        if not pieces:
            return text
        pieces.append(text[position:])
        return "".join(pieces)

    def _for_match(self, match: Match) -> str:
        groups: Mapping[str, str] = {}
        if self._needs_groups:
            numbered = enumerate((match.group(), *match.groups()))
            groups = {f"${index}": text for index, text in numbered if text is not None}
        pieces: list[str] = []
        for part in self._parts:
            if isinstance(part, str):
                pieces.append(part)
            elif isinstance(part, int):
                pieces.append(match.group(part) or "")
            else:
                pieces.append(part.evaluate(self._flowfile, groups))
        return "".join(pieces)


def references(text: str, groups: int) -> list[str | int]:
    """Split a literal part of a replacement at its references to groups.

    `$12` is group 12 where there are so many, else group 1 and a `2`, else itself.
    """
    parts: list[str | int] = []
    position = 0
    for match in _REFERENCE.finditer(text):
        parts.append(text[position : match.start()])
        position = match.end()
        if match[1] is not None:
            parts.append(match[1])
            continue
        digits = match[2]
        taken = next((n for n in range(len(digits), 0, -1) if int(digits[:n]) <= groups), 0)
        parts += [int(digits[:taken]), digits[taken:]] if taken else [match[0]]
    parts.append(text[position:])
    return [part for part in parts if part != ""]


_VARIABLE: Final = re.compile(r"(\$?)\$\{(.*?)\}", re.DOTALL)


def substituted(text: str, attributes: Mapping[str, str], limit: int) -> str:
    """Replace `${name}` by attributes, `${name:-default}` by the default where there is none.

    Values are substituted too. `$${name}` stands for `${name}`; an unknown name stays.

    Raises:
        ReplacementError: attributes refer to each other in a circle, or the text grows beyond
            `limit` characters.
    """
    budget = [limit]

    def value_of(match: re.Match[str], names: tuple[str, ...]) -> str:
        if match[1]:
            return match[0][1:]
        name, _, default = match[2].partition(":-")
        value = attributes.get(name, default if ":-" in match[2] else None)
        if value is None:
            return match[0]
        if name in names:
            circle = " -> ".join((*names, name))
            raise ReplacementError(
                f"Attributes refer to each other in a circle: {circle}. Break it in one of them"
            )
        budget[0] -= len(value)
        if budget[0] < 0:
            raise ReplacementError(grown(limit))
        if "${" not in value:
            return value
        return _VARIABLE.sub(lambda inner: value_of(inner, (*names, name)), value)

    return _VARIABLE.sub(lambda match: value_of(match, ()), text)
