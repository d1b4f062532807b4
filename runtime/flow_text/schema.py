"""The JSON Schema of a flow's text, for completion and checks in editors.

Generated from the same tables that the reader knows its keys by. With a registry, `type` offers
the known types, and each type its properties with their descriptions. The names of parameters,
components and relationships are the user's, so targets are any text here; `levada check` knows
more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from runtime.flow_text import shape

if TYPE_CHECKING:
    from runtime.registry import Registry

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": ["string", "number", "boolean"]}
_TEXTS: Final[Schema] = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
_WHOLE: Final[Schema] = {"type": "integer", "minimum": 0}
_TRUTH: Final[Schema] = {"type": "boolean"}
_PAIR: Final[Schema] = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_DURATION: Final[Schema] = {"type": ["string", "integer"], "examples": ["5 sec", "10 min"]}


def flow_schema(registry: Registry | None) -> Schema:
    """Return the schema as JSON values (draft 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A Levada flow",
        **_object(shape.FLOW_KEYS, _flow_values(), required=("levada",)),
        "$defs": _definitions(registry),
    }


def _object(
    keys: Mapping[str, str], values: Mapping[str, Schema], required: tuple[str, ...] = ()
) -> Schema:
    properties = {
        key: {"description": description, **values.get(key, _TEXT)}
        for key, description in keys.items()
    }
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": list(required)} if required else {})


def _named(definition: str) -> Schema:
    return {"type": "object", "additionalProperties": _reference(definition)}


def _reference(definition: str) -> Schema:
    return {"$ref": f"#/$defs/{definition}"}


def _sections() -> dict[str, Schema]:
    return {
        "services": _named("service"),
        "inputs": _named("port"),
        "flow": _named("component"),
        "outputs": _named("port"),
        "groups": _named("group"),
    }


def _flow_values() -> dict[str, Schema]:
    place = {"anyOf": [_PAIR, _reference("place")]}
    return {
        "levada": {"const": int(shape.VERSION)},
        "parameters": {"anyOf": [{"type": "string"}, _named("parameter")]},
        "contexts": _named("context"),
        **_sections(),
        "labels": {"type": "array", "items": _reference("label")},
        "layout": {"type": "object", "additionalProperties": place},
    }


def _definitions(registry: Registry | None) -> dict[str, Schema]:
    points = {"type": "array", "items": _PAIR}
    definitions = {
        "parameter": {"anyOf": [_TEXT, _object(shape.PARAMETER_KEYS, {"sensitive": _TRUTH})]},
        "context": _object(
            shape.CONTEXT_KEYS, {"inherits": _TEXTS, "parameters": _named("parameter")}
        ),
        "group": {"anyOf": [{"type": "null"}, _object(shape.GROUP_KEYS, _sections())]},
        "port": {
            "anyOf": [
                {"type": "null"},
                _object(shape.PORT_KEYS, {"to": _reference("targets"), "state": _STATE}),
            ]
        },
        "targets": _targets(),
        "connection": _object(shape.CONNECTION_KEYS, _CONNECTION),
        "label": _object(shape.LABEL_KEYS, {"at": _PAIR, "size": _PAIR}),
        "place": _object(
            shape.LAYOUT_KEYS,
            {"at": _PAIR, "bends": {"type": "object", "additionalProperties": points}},
        ),
        "processor": _object(shape.PROCESSOR_KEYS, _processor_values(), ("type",)),
        "funnel": _object(
            shape.FUNNEL_KEYS,
            {"type": {"const": "funnel"}, "to": _reference("targets")},
            ("type",),
        ),
        "anyService": _object(shape.SERVICE_KEYS, _service_values(), ("type",)),
        "properties": {"type": "object", "additionalProperties": _property("")},
    }
    return definitions | _types(registry)


_STATE: Final[Schema] = {"enum": list(shape.STATES)}
_CONNECTION: Final[dict[str, Schema]] = {
    "max count": _WHOLE,
    "max size": {"type": ["string", "integer"], "examples": ["10 MB", "1 GB"]},
    "expires": _DURATION,
    "prioritize": _TEXTS,
}


def _targets() -> Schema:
    settings = {"anyOf": [{"type": "null"}, _reference("connection")]}
    one = {"anyOf": [_TEXT, {"type": "object", "additionalProperties": settings}]}
    return {"anyOf": [one, {"type": "array", "items": one}]}


def _processor_values() -> dict[str, Schema]:
    relationships = {"type": "object", "additionalProperties": _reference("targets")}
    return {
        "properties": _reference("properties"),
        "schedule": _object(shape.SCHEDULE_KEYS, {"every": _DURATION}),
        "tasks": _WHOLE,
        "batch size": _WHOLE,
        "run duration": _DURATION,
        "node": {"enum": list(shape.NODES)},
        "penalty": _DURATION,
        "yield": _DURATION,
        "retry": {"anyOf": [_TEXTS, _object(shape.RETRY_KEYS, {
            "relationships": _TEXTS, "count": _WHOLE,
            "backoff": {"enum": list(shape.BACKOFFS)}, "max backoff": _DURATION,
        })]},
        "bulletins": {"enum": list(shape.LEVELS)},
        "state": _STATE,
        "to": {"anyOf": [relationships, _reference("targets")]},
    }  # fmt: skip


def _service_values() -> dict[str, Schema]:
    return {"properties": _reference("properties"), "state": {"enum": list(shape.SERVICE_STATES)}}


def _property(description: str) -> Schema:
    secret = {
        "type": "object",
        "properties": {"sensitive": _TRUTH},
        "additionalProperties": False,
    }
    schema: Schema = {"anyOf": [_TEXT, secret]}
    return {"description": description, **schema} if description else schema


def _types(registry: Registry | None) -> dict[str, Schema]:
    known = registry.processors() if registry else {}
    services = registry.services() if registry else {}
    return {
        "component": _choice("processor", known, also="funnel"),
        "service": _choice("anyService", services),
    }


def _choice(definition: str, types: Mapping[str, Any], also: str = "") -> Schema:
    """Return any component of a kind, where a known type brings its own properties."""
    rules = [
        {
            "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
            "then": {"properties": {"properties": _declared(declared)}},
        }
        for name, declared in types.items()
    ]
    one: Schema = _reference(definition)
    if also:
        is_funnel = {"properties": {"type": {"const": also}}, "required": ["type"]}
        one = {"if": is_funnel, "then": _reference(also), "else": one}
    names = {"properties": {"type": {"examples": [*types, also] if also else list(types)}}}
    return {"allOf": [one, names, *rules]}


def _declared(declared: Any) -> Schema:
    fields = declared.Properties.model_fields
    return {
        "properties": {
            info.alias or name: _property(info.description or "") for name, info in fields.items()
        }
    }
