"""JSON contents as documents, and JSONPath on them.

Paths are read by python-jsonpath. One that only names keys and positions (`$.a.b[0]`) is walked
directly, which is many times faster. The functions that Jayway's JSONPath allows at the end of
a path (`$.list.length()`) are known as well. A path that can find one value at most either finds
it or is *not found*; any other finds a list, which may be empty. Regular expressions in filters,
which a document may even bring along itself, run on RE2 or under a time limit.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Mapping
from typing import Any, Final

import jsonpath
import msgspec
from jsonpath.function_extensions import ExpressionType, FilterFunction

from runtime.patterns import PatternError, PatternFlag, compile_pattern

MISSING: Final = object()
_PLAIN: Final = re.compile(
    r"(?:\$|(?=[A-Za-z_]))((?:\.?[A-Za-z_][\w-]*|\[-?\d+\]|\['[^'\\]*'\])*)", re.ASCII
)
_STEP: Final = re.compile(r"([A-Za-z_][\w-]*)|\[(-?\d+)\]|\['([^']*)'\]", re.ASCII)
_FUNCTION: Final = re.compile(r"(.*)\.([a-z]+)\(\)\s*", re.DOTALL)


class JsonError(ValueError):
    """A content that is no JSON, or a value in it that cannot be used."""


def _numbers(value: object) -> list[float]:
    numbers = [one for one in value if type(one) in (int, float)] if isinstance(value, list) else []
    if not numbers:
        raise JsonError("The path ends in a function of numbers, and finds no list of numbers")
    return numbers


def _length(value: object) -> object:
    return len(value) if isinstance(value, list | dict | str) else None


def _item(value: object, index: int) -> object:
    return value[index] if isinstance(value, list) and value else MISSING


FUNCTIONS: Final[Mapping[str, Callable[[Any], object]]] = {
    "length": _length,
    "size": _length,
    "min": lambda value: min(_numbers(value)),
    "max": lambda value: max(_numbers(value)),
    "sum": lambda value: sum(_numbers(value)),
    "avg": lambda value: statistics.fmean(_numbers(value)),
    "stddev": lambda value: statistics.pstdev(_numbers(value)),
    "keys": lambda value: list(value) if isinstance(value, dict) else MISSING,
    "first": lambda value: _item(value, 0),
    "last": lambda value: _item(value, -1),
}


class JsonPath:
    """A compiled path; immutable, safe to use from many threads."""

    def __init__(self, text: str) -> None:
        if not text.strip():
            raise ValueError("is empty; it must be a JSONPath such as '$.name' or '$.items[0]'")
        self.text = text
        path, self._function = text.strip(), None
        if (match := _FUNCTION.fullmatch(path)) and match[2] in FUNCTIONS:
            path, self._function = match[1], FUNCTIONS[match[2]]
        self._steps = plain_steps(path)
        self._compiled = None if self._steps is not None else _compiled(path, text)

    def find(self, document: object) -> object:
        """Return what the path finds: a value, a list of values, or `MISSING`.

        Raises:
            JsonError: the path cannot be followed in this document.
        """
        found = document
        if self._steps is not None:
            for step in self._steps:
                if type(found) is dict and type(step) is str:
                    found = found.get(step, MISSING)
                elif type(found) is list and type(step) is int and -len(found) <= step < len(found):
                    found = found[step]
                else:
                    return MISSING
        else:
            found = self._search(document)
        if self._function is not None and found is not MISSING:
            return self._function(found)
        return found

    def _search(self, document: Any) -> object:
        assert self._compiled is not None
        try:
            values = self._compiled.findall(document)
        except (jsonpath.JSONPathError, PatternError, RecursionError, TypeError) as error:
            raise JsonError(f"JSONPath '{self.text}' cannot be followed: {error}") from error
        if isinstance(self._compiled, jsonpath.JSONPath) and self._compiled.singular_query():
            return values[0] if values else MISSING
        return values


def plain_steps(path: str) -> tuple[str | int, ...] | None:
    """Return the keys and positions of a path that has nothing else; None for other paths."""
    match = _PLAIN.fullmatch(path)
    if match is None:
        return None
    return tuple(
        int(step[2]) if step[2] else step[1] or step[3] for step in _STEP.finditer(match[1])
    )


class _Match(FilterFunction):
    """`match` and `search` of RFC 9535, on patterns that cannot run for long."""

    arg_types = [ExpressionType.VALUE, ExpressionType.VALUE]
    return_type = ExpressionType.LOGICAL

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole

    def __call__(self, value: object, pattern: object) -> bool:
        if not isinstance(value, str) or not isinstance(pattern, str):
            return False
        try:
            compiled = compile_pattern(pattern)
        except PatternError:
            return False  # as the RFC has it: what is no pattern matches nothing
        return compiled.matches(value) if self._whole else compiled.found_in(value)


_FLAGS: Final = {
    re.IGNORECASE: PatternFlag.IGNORE_CASE,
    re.MULTILINE: PatternFlag.MULTILINE,
    re.DOTALL: PatternFlag.DOT_ALL,
}


class _Environment(jsonpath.JSONPathEnvironment):
    def setup_function_extensions(self) -> None:
        super().setup_function_extensions()
        self.function_extensions["match"] = _Match(whole=True)
        self.function_extensions["search"] = _Match(whole=False)

    def compare(self, left: object, operator: str, right: object) -> bool:
        if operator == "=~" and isinstance(right, re.Pattern) and isinstance(left, str):
            flags = PatternFlag.NONE
            for theirs, ours in _FLAGS.items():
                flags |= ours if right.flags & theirs else PatternFlag.NONE
            return compile_pattern(right.pattern, flags).matches(left)
        return super().compare(left, operator, right)


_ENVIRONMENT: Final = _Environment()


def _compiled(path: str, text: str) -> jsonpath.JSONPath | jsonpath.CompoundJSONPath:
    try:
        return _ENVIRONMENT.compile(path)
    except (jsonpath.JSONPathError, RecursionError, re.error) as error:
        problem = str(error).partition("\n")[0]
        raise ValueError(
            f"is '{text}', which is not a JSONPath: {problem}; write it like '$.name', "
            "'$.items[0]' or '$.items[?@.price > 10]'"
        ) from error


def decoded(content: bytes, longest: int) -> object:
    """Return the document in a content: UTF-8, or UTF-16 or UTF-32 as JSON allows them.

    Raises:
        JsonError: it is none, or has a text of more than `longest` bytes.
    """
    try:
        document = _document(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise JsonError(f"The content is not JSON: {error}") from error
    if document is None:
        raise JsonError("The content is the JSON value null, in which there is nothing to find")
    # Only a content longer than the limit can have such a text in it.
    if len(content) > longest and _longest_text(document) > longest:
        raise JsonError(
            f"The content has a text of more than {longest:,} bytes, the Max String Length"
        )
    return document


def _document(content: bytes) -> object:
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        encoding = json.detect_encoding(content)
        if encoding == "utf-8":
            raise
        return msgspec.json.decode(content.decode(encoding))


def _longest_text(document: object) -> int:
    longest = 0
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            longest = max(longest, len(value.encode()))
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
    return longest


def is_scalar(value: object) -> bool:
    """Tell whether a value is neither an object nor an array."""
    return not isinstance(value, dict | list)


def shown(value: object, null: str) -> str:
    """Write a value as NiFi does: texts without quotes, structures as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return null
    return msgspec.json.encode(value).decode()
