"""YAML text as a tree of nodes that know their lines.

Scalars stay the text that a person wrote: `1.10`, `yes` and `0x1F` are no number, truth or hex
number here, so nothing is turned into something else and back. ruamel.yaml does the scanning and
parsing; the tree is built here because only so duplicates keep the line of the first one, depth
and aliases are bounded before anything recurses, and every node knows the lines that it covers.

Not used in flows: tags, merge keys, several documents, keys that are no text. Anchors and aliases
work (at most `MAX_NODES` nodes after expansion); a rewritten part has them written out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from runtime.flow_text.errors import Problems

MAX_CHARACTERS: Final = 4 * 2**20
"""Some 25,000 processors; ruamel.yaml needs about 20 s for them."""
MAX_DEPTH: Final = 100
MAX_NODES: Final = 500_000


@dataclass
class Node:
    """A piece of the text. Lines start at 1, columns at 0; `end_line` is its last own line."""

    line: int
    column: int
    end_line: int
    end_column: int
    weight: int = field(default=1, kw_only=True)
    alias: bool = field(default=False, kw_only=True)
    """It contains an alias, so its lines do not stand for themselves."""


@dataclass
class Scalar(Node):
    """A text. `plain`: without quotes."""

    text: str
    plain: bool

    @property
    def is_empty(self) -> bool:
        """Nothing, `~` or `null` stands where a value could."""
        return self.plain and self.text in ("", "~", "null", "Null", "NULL")


@dataclass
class Mapping(Node):
    """Keys and values in their order; `flow`: written in braces."""

    flow: bool
    entries: list[tuple[Scalar, Node]] = field(default_factory=list)


@dataclass
class Sequence(Node):
    """A list; `flow`: written in brackets."""

    flow: bool
    items: list[Node] = field(default_factory=list)


@dataclass
class _Open:
    """A collection under construction; `key` waits for its value."""

    node: Mapping | Sequence
    anchor: str | None
    key: Scalar | None = None
    skipped: bool = False
    """The key was refused; its value is read and dropped."""
    seen: dict[str, int] = field(default_factory=dict)


class _Stop(Exception):  # noqa: N818  # leaves the loop; the problem is noted already
    pass


def parse_source(text: str | bytes, problems: Problems) -> Mapping | None:
    """Parse a flow's text; None where it gives no mapping at all, with the reason noted."""
    decoded = _decode(text, problems)
    if decoded is None:
        return None
    if len(decoded) > MAX_CHARACTERS:
        problems.add(
            "LV-004",
            f"the text has {len(decoded):,} characters; at most {MAX_CHARACTERS:,} are read",
            "Move scripts and long contents into files of their own.",
        )
        return None
    try:
        root = _Composer(decoded, problems).compose()
    except _Stop:
        return None
    except YAMLError as error:
        _note_syntax(error, decoded, problems)
        return None
    if isinstance(root, Mapping):
        return root
    what = "is empty" if root is None else f"is {kind(root)}"
    problems.add(
        "LV-005",
        f"the text {what}; a flow is a mapping",
        "The shortest flow is `levada: 1`.",
        line=root.line if root else 1,
    )
    return None


def kind(node: Node) -> str:
    """Name a node's kind as messages do."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    assert isinstance(node, Scalar)
    return "empty" if node.is_empty else f"the text '{shorten(node.text)}'"


def shorten(text: str, length: int = 60) -> str:
    """Return the text on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def lines_of(text: str) -> list[str]:
    """Return the lines as YAML counts them; `str.splitlines` knows more line ends than YAML."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _decode(text: str | bytes, problems: Problems) -> str | None:
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problems.add(
            "LV-003",
            f"the byte 0x{text[error.start]:02x} at position {error.start} is not UTF-8",
            "Save the file as UTF-8.",
            line=text.count(b"\n", 0, error.start) + 1,
        )
        return None


def _note_syntax(error: YAMLError, text: str, problems: Problems) -> None:
    if not isinstance(error, MarkedYAMLError):
        position = int(getattr(error, "position", 0))
        code_point = ord(text[position]) if position < len(text) else 0
        problems.add(
            "LV-003",
            f"the character U+{code_point:04X} may not stand in YAML",
            'Write it in double quotes with an escape, such as "\\x01".',
            line=text.count("\n", 0, position) + 1,
        )
        return
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else None
    if "'\\t'" in str(error.problem):
        problems.add("LV-002", "a tab stands here", "Indent with spaces.", line=line)
        return
    context = f", {error.context}" if error.context else ""
    message = f"this is not YAML: {error.problem}{context}"
    problems.add("LV-001", message, _hint(str(error.problem)), line=line)


def _hint(problem: str) -> str:
    if "mapping values are not allowed" in problem:
        return "Check the indentation; a text that contains ': ' needs quotes."
    if "cannot start any token" in problem:
        return "A text that starts with this character needs quotes."
    if "end of stream" in problem or "stream end" in problem:
        return "Close the quote or bracket that is open."
    return "Check the indentation, quotes and brackets here."


class _Composer:
    """Builds the tree from ruamel.yaml's events, without recursion."""

    def __init__(self, text: str, problems: Problems) -> None:
        self._text = text
        self._problems = problems
        self._anchors: dict[str, Node] = {}
        self._stack: list[_Open] = []
        self._nodes = 0
        self._root: Node | None = None

    def compose(self) -> Node | None:
        documents = 0
        parser = YAML(typ="safe", pure=True)
        for event in parser.parse(self._text):
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._refuse(event, "a second document starts here", "Keep one flow in a file.")
                    raise _Stop
            elif isinstance(event, CollectionEndEvent):
                self._close(event)
            elif isinstance(event, NodeEvent):
                self._open(event)
        return self._root

    def _open(self, event: Any) -> None:
        if isinstance(event, AliasEvent):
            self._place(self._aliased(event))
            return
        if getattr(event, "tag", None) is not None:
            self._refuse(event, f"the tag '{event.tag}' stands here", "Leave it out.")
        if isinstance(event, ScalarEvent):
            self._place(self._anchored(event.anchor, _scalar(event)))
            return
        if len(self._stack) >= MAX_DEPTH:
            line = event.start_mark.line + 1
            message = f"the text is nested deeper than {MAX_DEPTH} levels"
            self._problems.add("LV-004", message, "Check the brackets here.", line=line)
            raise _Stop
        place = (event.start_mark.line + 1, event.start_mark.column, 0, 0)
        flow = bool(event.flow_style)
        node: Mapping | Sequence
        if isinstance(event, MappingStartEvent):
            node = Mapping(*place, flow)
        else:
            assert isinstance(event, SequenceStartEvent)
            node = Sequence(*place, flow)
        self._stack.append(_Open(node, event.anchor))

    def _close(self, event: Any) -> None:
        done = self._stack.pop()
        node = done.node
        if isinstance(node, Mapping):
            parts = [part for entry in node.entries for part in entry]
        else:
            parts = node.items
        node.weight = 1 + sum(part.weight for part in parts)
        node.alias = any(part.alias for part in parts)
        if node.flow or not parts:
            node.end_line, node.end_column = event.end_mark.line + 1, event.end_mark.column
        else:
            node.end_line, node.end_column = parts[-1].end_line, parts[-1].end_column
        self._place(self._anchored(done.anchor, node))

    def _anchored(self, anchor: str | None, node: Node) -> Node:
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _aliased(self, event: Any) -> Node:
        line, column = event.start_mark.line + 1, event.start_mark.column
        target = self._anchors.get(event.anchor)
        if target is None:
            self._refuse(
                event,
                f"the alias '*{event.anchor}' refers to nothing above it",
                f"Write '&{event.anchor}' before the value that it repeats.",
            )
            return Scalar(line, column, line, event.end_mark.column, "", True)
        place = {"line": line, "column": column, "end_line": line}
        return replace(target, **place, end_column=event.end_mark.column, alias=True)

    def _place(self, node: Node) -> None:
        self._nodes += node.weight if node.alias else 1
        if self._nodes > MAX_NODES:
            message = f"the text has more than {MAX_NODES:,} values, aliases written out"
            self._problems.add("LV-004", message, "Write less by aliases.", line=node.line)
            raise _Stop
        if not self._stack:
            self._root = node
            return
        parent = self._stack[-1]
        if isinstance(parent.node, Sequence):
            parent.node.items.append(node)
        elif parent.key is None and not parent.skipped:
            self._take_key(parent, node)
        else:
            if parent.key is not None:
                if isinstance(node, Scalar) and node.plain and not node.text:
                    # The parser places nothing where the next token is, lines below.
                    key = parent.key
                    node.line = node.end_line = key.end_line
                    node.column = node.end_column = key.end_column
                parent.node.entries.append((parent.key, node))
            parent.key, parent.skipped = None, False

    def _take_key(self, parent: _Open, node: Node) -> None:
        parent.skipped = True
        if not isinstance(node, Scalar):
            self._problems.add(
                "LV-012", f"a key is {kind(node)}", "A key is a text.", line=node.line
            )
        elif node.plain and node.text == "<<":
            self._problems.add(
                "LV-012", "'<<' merges mappings; flows do not use it",
                "Write the keys out, or repeat a whole value with an alias.", line=node.line,
            )  # fmt: skip
        elif node.text in parent.seen:
            self._problems.add(
                "LV-007",
                f"'{shorten(node.text)}' occurs twice; the first one is in line"
                f" {parent.seen[node.text]}",
                "Rename or remove one of them.",
                line=node.line,
            )
        else:
            parent.seen[node.text] = node.line
            parent.key, parent.skipped = node, False

    def _refuse(self, event: Any, message: str, remedy: str) -> None:
        self._problems.add("LV-012", message, remedy, line=event.start_mark.line + 1)


_BLOCK_SCALAR = ("|", ">")


def _scalar(event: Any) -> Scalar:
    start, end = event.start_mark, event.end_mark
    end_line, end_column = end.line + 1, end.column
    if event.style in _BLOCK_SCALAR and end.column == 0 and end.line > start.line:
        # The mark stands at the start of the line after the scalar's last one.
        end_line, end_column = end.line, 0
    return Scalar(
        start.line + 1, start.column, end_line, end_column,
        event.value, event.style is None,
    )  # fmt: skip
