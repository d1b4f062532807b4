"""An edit in words."""

import pytest

from runtime.flow_text import difference, read_flow
from runtime.model import FlowModel

BEFORE = """\
levada: 1
parameters: {speed: 1, key: {sensitive: true}}
contexts: {other: {}}
services: {map: {type: Map}}
flow:
  route:
    type: RouteOnAttribute
    properties: {delayed: 15}
    schedule: {every: 5 sec}
    to: {delayed: merge, unmatched: end}
  merge: {type: funnel}
groups:
  inner: {flow: {log: {type: Log}}}
labels: [{text: hello}]
layout: {route: [0, 0]}
"""


def model(text: str, known: FlowModel | None = None) -> FlowModel:
    found = read_flow(text, file="flow.yaml", registry=None, known=known).model
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("delayed: 15", "delayed: 30", ["route: property 'delayed' 15 -> 30"]),
        ("{delayed: 15}", "{late: 15}", ["route: property 'delayed' 15 -> (none)",
                                         "route: property 'late' (none) -> 15"]),
        ("every: 5 sec", "every: 9 sec", ["route: schedule every 5 sec -> every 9 sec"]),
        ("unmatched: end", "unmatched: hold", ["route: ended unmatched -> (empty)",
                                               "connection route -> hold (unmatched): new"]),
        ("delayed: merge", "delayed: {merge: {max count: 5}}",
         ["connection route -> merge (delayed): max count (none) -> 5"]),
        ("delayed: merge", "delayed: hold",
         ["connection route -> merge (delayed): is now route -> hold (delayed)"]),
        ("delayed: merge, ", "", ["connection route -> merge (delayed): removed"]),
        ("speed: 1", "speed: 2", ["parameter 'speed' 1 -> 2"]),
        ("speed: 1", "speed: {value: 1, description: x}", ["parameter 'speed': description"
                                                           " changed"]),
        ("speed: 1, ", "", ["parameter 'speed': removed"]),
        ("speed: 1", "speed: 1, more: 2", ["parameter 'more': new"]),
        ("contexts: {other: {}}", "contexts: {}", ["parameter context 'other': removed"]),
        ("{other: {}}", "{other: {}, third: {}}", ["parameter context 'third': new"]),
        ("{other: {}}", "{other: {description: x}}",
         ["parameter context 'other': description (empty) -> x"]),
        ("inner: {", "inner: {parameters: other, ", ["inner: parameters (empty) -> other"]),
        ("{type: Map}", "{type: Map, state: disabled}", ["map: state (none) -> disabled"]),
        ("  inner: {", "  outer: {", ["outer: renamed from 'inner'",
                                      "outer / log: moved from 'inner / log'"]),
        ("{log: {type: Log}}", "{}", ["inner / log: Log removed"]),
        ("{log: {type: Log}}", "{log: {type: Log}, out: {type: funnel}}",
         ["inner / out: new funnel"]),
        ("route: [0, 0]", "route: [1, 0]", ["layout: 1 moved"]),
        ("text: hello", "text: hi", ["labels changed"]),
        ("levada: 1", "levada: 1\nname: X", ["the flow: name Levada -> X"]),
        ("levada: 1", "levada: 1 # x", []),
    ],
)  # fmt: skip
def test_an_edit_is_told_in_one_line_each(old: str, new: str, expected: list[str]) -> None:
    assert old in BEFORE
    known = model(BEFORE)

    assert difference(known, model(BEFORE.replace(old, new), known)) == expected


def test_a_secret_is_named_and_not_shown() -> None:
    from msgspec.structs import replace

    known = model(BEFORE)
    context = known.parameter_contexts[0]
    secret = replace(context.parameters["key"], value="enc:v1:AAAA")
    parameters = {**context.parameters, "key": secret}
    contexts = (replace(context, parameters=parameters), known.parameter_contexts[1])

    lines = difference(known, replace(known, parameter_contexts=contexts))

    assert lines == ["parameter 'key' (secret) -> (secret)"]
