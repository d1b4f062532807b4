"""A model as text, keeping the words of a previous text where nothing changed.

The previous text is not parsed into a document and dumped again: what did not change is copied
line by line, so comments, quotes, blank lines and spelling (`5 s`, an explicit default) stay as
they are, and a diff shows the edit alone. Three trees are compared key by key: the previous
text's nodes, what it meant, and what is meant now. A key whose meaning is the same is copied; a
mapping in lines of its own is entered; anything else is written anew under its old comments.

What is written is read back; if it should mean anything else than the model, the text is written
from the model alone, because a comment less is better than another flow.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runtime.flow_text import shape
from runtime.flow_text.emit import emit_entry, emit_mapping
from runtime.flow_text.errors import Problems
from runtime.flow_text.fields import Source
from runtime.flow_text.linking import Linker
from runtime.flow_text.plain import Plain, Table, plain_flow
from runtime.flow_text.reader import read_draft
from runtime.flow_text.source import Mapping, Node, Scalar, lines_of, parse_source
from runtime.model import FlowModel

if TYPE_CHECKING:
    from runtime.registry import Registry

_COMMENT = re.compile(r"\s+#.*")


def write_flow(model: FlowModel, *, registry: Registry | None, previous: str | None = None) -> str:
    """Write a flow; `previous` lends its comments, order and spelling."""
    return write_with(model, shape.vocabulary(registry), previous)


def write_with(model: FlowModel, known: shape.Vocabulary, previous: str | None) -> str:
    """Write a flow, knowing of types only these facts."""
    now = plain_flow(model, known)
    if previous is not None:
        read = _read(previous, known)
        if read is not None:
            text = _Merge(previous).text(*read, now)
            if _means(text, known) == _ordered(now):
                return text
    return "\n".join(emit_mapping(now, 0)) + "\n"


def _read(text: str, known: shape.Vocabulary) -> tuple[Mapping, Table] | None:
    """Return a text's nodes and what they mean; None if anything is wrong with it."""
    problems = Problems()
    root = parse_source(text, problems)
    if root is None or problems.found:
        return None
    draft = read_draft(root, Source(lines_of(text), problems), known)
    model = Linker(draft, None, problems).link()
    return None if problems.found else (root, plain_flow(model, known))


def _means(text: str, known: shape.Vocabulary) -> object:
    read = _read(text, known)
    return None if read is None else _ordered(read[1])


def _ordered(value: Plain) -> object:
    """Return what compares equal only when order is equal too."""
    if isinstance(value, dict):
        return [(key, _ordered(one)) for key, one in value.items()]
    return [_ordered(item) for item in value] if isinstance(value, list) else value


class _Merge:
    def __init__(self, text: str) -> None:
        self._lines = lines_of(text)

    def text(self, root: Mapping, before: Table, now: Table) -> str:
        if root.flow or not root.entries:
            return "\n".join(emit_mapping(now, 0)) + "\n"
        last = self._entry_end(root, len(root.entries) - 1, len(self._lines))
        lines = self._mapping(root, before, now, (1, last))
        tail = self._lines[last:]
        while tail and not tail[-1].strip():
            tail.pop()
        return "\n".join([*lines, *tail]) + "\n"

    def _mapping(
        self, node: Mapping, before: Table, now: Table, span: tuple[int, int]
    ) -> list[str]:
        """Return the lines of a block mapping; `span` are its first and last line."""
        indent = node.entries[0][0].column
        old, start = {}, span[0]
        for index, (key, value) in enumerate(node.entries):
            end = self._entry_end(node, index, span[1])
            old[key.text] = (key, value, (start, end))
            start = end + 1
        lines: list[str] = []
        for name in _order(list(old), before, now):
            if name not in old:
                lines += emit_entry(name, now[name], indent)
                continue
            key, value, span_of = old[name]
            if name in before or name in now:
                meaning = before.get(name), now.get(name)
                lines += self._entry(key, value, span_of, meaning)
            else:
                # A default that somebody wrote out.
                lines += self._lines[span_of[0] - 1 : span_of[1]]
        return lines + self._lines[start - 1 : span[1]]

    def _entry_end(self, node: Mapping, index: int, limit: int) -> int:
        """Return the last line of an entry, with comments below that are indented deeper."""
        key, value = node.entries[index]
        end = max(value.end_line, key.end_line)
        for number in range(end + 1, limit + 1):
            line = self._lines[number - 1]
            if line.lstrip(" ").startswith("#"):
                if len(line) - len(line.lstrip(" ")) <= key.column:
                    break
                end = number
            elif line.strip():
                break
        return end

    def _entry(
        self,
        key: Scalar,
        value: Node,
        span: tuple[int, int],
        meaning: tuple[Plain | None, Plain | None],
    ) -> list[str]:
        before, now = meaning
        same = before is not None and now is not None and _ordered(before) == _ordered(now)
        if same and not value.alias:
            return self._lines[span[0] - 1 : span[1]]
        lead = self._lines[span[0] - 1 : key.line - 1]
        assert now is not None
        enterable = (
            isinstance(value, Mapping)
            and not value.flow
            and bool(value.entries)
            and value.entries[0][0].line > key.line
            and isinstance(before, dict)
            and isinstance(now, dict)
            and bool(now)
        )
        if enterable:
            assert isinstance(value, Mapping) and isinstance(before, dict) and isinstance(now, dict)
            head = self._lines[key.line - 1]
            inner = self._mapping(value, before, now, (key.line + 1, span[1]))
            return [*lead, head, *inner]
        comments = self._inner_comments(key, value, span)
        lines = emit_entry(key.text, now, key.column)
        end_of_line = self._end_comment(value) if value.end_line == key.line else ""
        if end_of_line and not lines[0].endswith(("|", "|-")):
            lines[0] += end_of_line
        elif end_of_line:
            comments = [" " * key.column + end_of_line.strip(), *comments]
        return [*lead, *comments, *lines]

    def _end_comment(self, value: Node) -> str:
        rest = self._lines[value.end_line - 1][value.end_column :]
        match = _COMMENT.fullmatch(rest)
        return match[0].rstrip() if match else ""

    def _inner_comments(self, key: Scalar, value: Node, span: tuple[int, int]) -> list[str]:
        """Return comments within a value that is replaced: they go above its key."""
        if value.end_line == key.line:
            first = value.end_line + 1
            found = self._lines[first - 1 : span[1]]
        else:
            covered = _scalar_lines(value)
            found = [self._after(number, covered) for number in range(key.line, span[1] + 1)]
        return [" " * key.column + line.strip() for line in found if line.strip().startswith("#")]

    def _after(self, number: int, covered: dict[int, int]) -> str:
        line = self._lines[number - 1]
        start = covered.get(number, -1)
        if start < 0:
            # A line of its own, or the one that holds only the key.
            match = re.search(r":\s+(#.*)$", line)
            return line if line.lstrip().startswith("#") else (match[1] if match else "")
        match = re.search(r"\s(#.*)$", line[start:])
        return match[1] if match else ""


def _scalar_lines(node: Node) -> dict[int, int]:
    """Return the lines that texts cover, and from which column on a comment may stand there."""
    covered: dict[int, int] = {}
    pending = [node]
    while pending:
        one = pending.pop()
        if isinstance(one, Scalar):
            for line in range(one.line, one.end_line):
                covered[line] = 1 << 30
            covered[one.end_line] = max(covered.get(one.end_line, 0), one.end_column or 1 << 30)
        elif isinstance(one, Mapping):
            pending += [part for entry in one.entries for part in entry]
        else:
            pending += getattr(one, "items", [])
    return covered


def _order(old: list[str], before: Table, now: Table) -> list[str]:
    """Return the keys to write: the old order where it still holds, new keys at their place."""
    shared = [name for name in now if name in before]
    if shared != [name for name in before if name in now]:
        # Their order changed: it is the order on screen. Explicit defaults go first.
        return [name for name in old if name not in before and name not in now] + list(now)
    kept = [name for name in old if name in now or name not in before]
    order = list(kept)
    previous: str | None = None
    for name in now:
        # A key that the old text did not need for the same meaning is not needed now either.
        implied = name in before and _ordered(before[name]) == _ordered(now[name])
        if name not in order and not implied:
            order.insert(0 if previous is None else order.index(previous) + 1, name)
        previous = name if name in order else previous
    return order
