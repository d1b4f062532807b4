"""Plain values as YAML text: blocks that people read, short leaves on one line."""

from __future__ import annotations

import re
from typing import Final

from runtime.flow_text.plain import Plain

WIDTH: Final = 100
STEP: Final = 2

# Collections that always stand in lines of their own, and those that do from the second entry on.
_BLOCK_KEYS: Final = frozenset(
    ("parameters", "contexts", "services", "inputs", "flow", "outputs", "groups")
    + ("layout", "labels")
)
_ONE_KEYS: Final = frozenset(("properties", "to"))

# What may stand without quotes, careful on purpose: every YAML reader must see the same text.
_PLAIN = re.compile(
    r"(?:[^\W]|[$/.+(]|-(?=\d))[^\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]*"
)
_AMBIGUOUS = re.compile(r": |:$| #|^\s|\s$|^(?:~|null|Null|NULL)$|^(?:\.\.\.|---)")
_FLOW_INDICATOR = re.compile(r"[,\[\]{}:#?]")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff\"\\]")
_BLOCK = re.compile(r"[^\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]*")


def emit_entry(key: str, value: Plain, indent: int) -> list[str]:
    """Return the lines of one key and its value."""
    start = " " * indent + scalar(key) + ":"
    if isinstance(value, str):
        return _block(start, value, indent) or [f"{start} {scalar(value)}"]
    one_line = f"{start} {inline(value)}"
    if _fits(key, value, one_line):
        return [one_line]
    if isinstance(value, dict):
        return [start, *emit_mapping(value, indent + STEP)]
    # A list whose items are long or are mappings of their own.
    return [start, *_items(value, indent + STEP)]


def emit_mapping(table: dict[str, Plain], indent: int) -> list[str]:
    """Return the lines of a mapping's entries."""
    return [line for key, value in table.items() for line in emit_entry(key, value, indent)]


def _items(items: list[Plain], indent: int) -> list[str]:
    lines: list[str] = []
    for item in items:
        start = " " * indent + "- "
        one_line = start + inline(item)
        if not isinstance(item, dict) or _fits("", item, one_line):
            lines.append(one_line)
        else:
            block = emit_mapping(item, indent + STEP)
            lines += [start + block[0].lstrip(" "), *block[1:]]
    return lines


def inline(value: Plain) -> str:
    """Return a value on one line, in braces and brackets."""
    if isinstance(value, str):
        return scalar(value, flow=True)
    if isinstance(value, list):
        return f"[{', '.join(inline(item) for item in value)}]"
    entries = (f"{scalar(key, flow=True)}: {inline(one)}" for key, one in value.items())
    return "{" + ", ".join(entries) + "}"


def scalar(text: str, *, flow: bool = False) -> str:
    """Return a text, in quotes where it needs them."""
    careful = _PLAIN.fullmatch(text) and not _AMBIGUOUS.search(text)
    if careful and not (flow and _FLOW_INDICATOR.search(text)):
        return text
    if not _UNPRINTABLE.search(text):
        return f'"{text}"'
    if "'" not in text and not _UNPRINTABLE.search(text.replace('"', "").replace("\\", "")):
        return f"'{text}'"
    return '"' + _UNPRINTABLE.sub(_escape, text) + '"'


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character in '"\\':
        return "\\" + character
    short = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character)
    code = ord(character)
    return short or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def _block(start: str, text: str, indent: int) -> list[str] | None:
    """Return a text of several lines as they are; None where a block cannot hold it."""
    body = text.removesuffix("\n")
    lines = body.split("\n")
    if len(lines) < 2 or not _BLOCK.fullmatch(text) or text.endswith("\n\n"):
        return None
    if not lines[0].strip() or lines[0][0] == " " or not lines[-1].strip():
        return None
    mark = "|" if text.endswith("\n") else "|-"
    space = " " * (indent + STEP)
    return [f"{start} {mark}", *(space + line if line else "" for line in lines)]


def _fits(key: str, value: Plain, line: str) -> bool:
    if not value:
        return True
    if isinstance(value, dict) and (key in _BLOCK_KEYS or (key in _ONE_KEYS and len(value) > 1)):
        return False
    return len(line) <= WIDTH and _is_leaf(value)


def _is_leaf(value: Plain) -> bool:
    if isinstance(value, str):
        return "\n" not in value
    if isinstance(value, list):
        return all(_is_leaf(item) for item in value)
    if _BLOCK_KEYS & value.keys() or ("type" in value and len(value) > 1):
        return False
    return all(_is_leaf(one) for one in value.values())
