"""The JSON Schema knows the keys that the reader knows, and the types of the registry."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings

from runtime.flow_text import flow_schema, shape
from runtime.flow_text.plain import Plain, plain_flow
from runtime.model import FlowModel
from runtime.processor import ControllerService, Processor
from runtime.properties import Properties, Property
from runtime.registry import Registry
from tests.runtime.flow_text.flows import flows


class Speak(Processor):
    class Properties(Properties):
        words: str = Property("hello", description="What it says.")


class Voice(ControllerService):
    pass


def accepts(schema: Any, value: Plain, whole: Any) -> bool:
    """Judge by the part of JSON Schema that the generated one uses; texts stand for scalars."""
    if "$ref" in schema:
        return accepts(whole["$defs"][schema["$ref"].rpartition("/")[2]], value, whole)
    checks = [
        all(accepts(one, value, whole) for one in schema.get("allOf", ())),
        "anyOf" not in schema or any(accepts(one, value, whole) for one in schema["anyOf"]),
        "const" not in schema or value == str(schema["const"]),
        "enum" not in schema or value in schema["enum"],
    ]
    if "if" in schema:
        branch = "then" if accepts(schema["if"], value, whole) else "else"
        checks.append(accepts(schema.get(branch, {}), value, whole))
    kinds = schema.get("type")
    if kinds is not None:
        kinds = {kinds} if isinstance(kinds, str) else set(kinds)
        scalars = {"string", "number", "boolean", "integer"}
        allowed = {dict: {"object"}, list: {"array"}, str: scalars}[type(value)]
        checks.append(bool(kinds & allowed))
    if isinstance(value, dict):
        checks.append(_accepts_entries(schema, value, whole))
    if isinstance(value, list) and "items" in schema:
        checks.append(all(accepts(schema["items"], item, whole) for item in value))
    return all(checks)


def _accepts_entries(schema: Any, value: dict[str, Plain], whole: Any) -> bool:
    known = schema.get("properties", {})
    other = schema.get("additionalProperties", True)
    if any(key not in value for key in schema.get("required", ())):
        return False
    for key, one in value.items():
        rule = known.get(key, other)
        if rule is False or (rule is not True and not accepts(rule, one, whole)):
            return False
    return True


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(flows())
def test_what_is_written_conforms_to_the_schema(model: FlowModel) -> None:
    schema = flow_schema(None)

    assert accepts(schema, plain_flow(model, {}), schema)


def test_a_key_that_the_reader_does_not_know_does_not_conform() -> None:
    schema = flow_schema(None)
    flow: Plain = {"levada": "1", "flow": {"a": {"type": "Copy", "task": "2"}}}

    assert not accepts(schema, flow, schema)
    assert not accepts(schema, {"levada": "2"}, schema)
    assert not accepts(schema, {"name": "x"}, schema)


def test_the_schema_offers_types_and_their_properties() -> None:
    registry = Registry(modules=[])
    registry.add(Speak, Voice)

    schema = json.loads(json.dumps(flow_schema(registry)))

    rules = schema["$defs"]["component"]["allOf"]
    assert rules[1]["properties"]["type"]["examples"] == ["Speak", "funnel"]
    declared = rules[2]["then"]["properties"]["properties"]["properties"]
    assert declared["Words"]["description"] == "What it says."
    assert schema["$defs"]["service"]["allOf"][1]["properties"]["type"]["examples"] == ["Voice"]


def test_every_key_has_a_description() -> None:
    properties = flow_schema(None)["properties"]

    assert list(properties) == list(shape.FLOW_KEYS)
    assert all(one["description"].endswith(".") for one in properties.values())
