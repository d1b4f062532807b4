"""JSONPath on attributes that hold JSON, by python-jsonpath, imported when one is compiled."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from runtime.expression.errors import ExpressionError, shown
from runtime.expression.functions import bounded, function
from runtime.expression.values import Step, Type, text_from_decimal

if TYPE_CHECKING:
    from jsonpath import JSONPath, JSONPathMatch

TEXT = Type.TEXT


@lru_cache(maxsize=256)
def _path(text: str) -> JSONPath:
    import jsonpath

    try:
        compiled = jsonpath.compile(text)
    except (jsonpath.JSONPathError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "it nests too deep"
        raise ExpressionError(f"'{shown(text)}' is not a JSONPath: {reason}") from None
    if not isinstance(compiled, jsonpath.JSONPath):
        raise ExpressionError(
            f"'{shown(text)}' combines several JSONPaths; write a single one, like '$.name'"
        )
    return compiled


def _document(name: str, subject: str | None) -> Any:
    try:
        return json.loads(subject or "")
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it nests too deep"
        raise ExpressionError(
            f"{name}() has '{shown(subject or '')}', which is not JSON: {reason}"
        ) from None


def _json(name: str, value: Any) -> str:
    return bounded(json.dumps(value, ensure_ascii=False, separators=(",", ":")), name)


def _matches(path: JSONPath, document: Any) -> list[JSONPathMatch]:
    import jsonpath

    try:
        return list(path.finditer(document))
    except (jsonpath.JSONPathError, RecursionError, TypeError):
        return []


@function("jsonPath", TEXT, TEXT, result=TEXT)
def json_path(text: str | None) -> Step:
    path = _path(text or "")
    single = path.singular_query()

    def apply(subject: str | None) -> str:
        found = [match.obj for match in _matches(path, _document("jsonPath", subject))]
        if single and not found:
            return ""
        return _shown_result(found[0] if single else found)

    return apply


def _shown_result(value: Any) -> str:
    """Write a scalar as it is; a list of one item as that item; the rest as JSON."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    match value:
        case None:
            return ""
        case str():
            return value
        case float():
            return text_from_decimal(value)
        case _:
            return _json("jsonPath", value)


def _update(
    name: str, subject: str | None, path: JSONPath, change: Callable[[JSONPathMatch], bool]
) -> str:
    """Apply `change` to every match, last first; an empty text when one cannot be changed."""
    document = _document(name, subject)
    # The last first: deleting an item of a list moves the ones behind it.
    for match in reversed(_matches(path, document)):
        if not change(match):
            return ""
    return _json(name, document)


def _container(match: JSONPathMatch) -> tuple[Any, Any] | None:
    """Return what holds a match and its key there; None for the root."""
    return (match.parent.obj, match.parts[-1]) if match.parent is not None else None


@function("jsonPathDelete", TEXT, TEXT, result=TEXT)
def json_path_delete(text: str | None) -> Step:
    path = _path(text or "")

    def delete(match: JSONPathMatch) -> bool:
        place = _container(match)
        if place is not None:
            del place[0][place[1]]
        return place is not None

    return lambda subject: _update("jsonPathDelete", subject, path, delete)


@function("jsonPathSet", TEXT, TEXT, None, result=TEXT)
def json_path_set(text: str | None, value: Any) -> Step:
    path = _path(text or "")

    def put(match: JSONPathMatch) -> bool:
        place = _container(match)
        if place is not None:
            place[0][place[1]] = value
        return place is not None

    return lambda subject: _update("jsonPathSet", subject, path, put)


@function("jsonPathAdd", TEXT, TEXT, None, result=TEXT)
def json_path_add(text: str | None, value: Any) -> Step:
    path = _path(text or "")

    def add(match: JSONPathMatch) -> bool:
        if isinstance(match.obj, list):
            match.obj.append(value)
        return isinstance(match.obj, list)

    return lambda subject: _update("jsonPathAdd", subject, path, add)


@function("jsonPathPut", TEXT, TEXT, None, TEXT, result=TEXT)
def json_path_put(text: str | None, value: Any, key: str | None) -> Step:
    path = _path(text or "")

    def put(match: JSONPathMatch) -> bool:
        if isinstance(match.obj, dict):
            match.obj[key or ""] = value
        return isinstance(match.obj, dict)

    return lambda subject: _update("jsonPathPut", subject, path, put)
