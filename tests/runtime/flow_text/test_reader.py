"""What is wrong with a text, with its exact words and line; and the neighbour that is not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.flow_text import FlowProblem, read_flow
from runtime.flow_text import source as limits
from runtime.flow_text.errors import CODES
from runtime.model import HOLD, FlowModel
from runtime.processor import Processor, Relationship
from runtime.registry import Registry


def problems_of(text: str | bytes, registry: Registry | None = None) -> list[str]:
    return [str(one) for one in read_flow(text, file="flow.yaml", registry=registry).problems]


def in_flow(text: str, registry: Registry | None = None) -> list[str]:
    """Return the problems of a flow whose components these are; the first one is in line 3."""
    lines = "".join(f"  {line}\n" for line in text.splitlines())
    return problems_of(f"levada: 1\nflow:\n{lines}", registry)


def model_of(text: str, registry: Registry | None = None) -> FlowModel:
    reading = read_flow(text, file="flow.yaml", registry=registry)
    assert reading.problems == []
    assert reading.model is not None
    return reading.model


class Copy(Processor):
    success = Relationship("All.")


class Split(Processor):
    big = Relationship("Some.")
    small = Relationship("Others.")


@pytest.fixture
def registry() -> Registry:
    registry = Registry(modules=[])
    registry.add(Copy, Split)
    return registry


# The text as a whole


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "LV-005  flow.yaml line 1: the text is empty; a flow is a mapping.\n"
             "        The shortest flow is `levada: 1`."),
        ("- a", "LV-005  flow.yaml line 1: the text is a list; a flow is a mapping.\n"
                "        The shortest flow is `levada: 1`."),
        ("just words", "LV-005  flow.yaml line 1: the text is the text 'just words'; a flow is a"
                       " mapping.\n        The shortest flow is `levada: 1`."),
        ("name: x", "LV-006  flow.yaml line 1: the text does not say which version of the format"
                    " it is.\n        Start it with `levada: 1`."),
        ("levada: 2", "LV-006  flow.yaml line 1: the format is version '2'; this Levada reads"
                      " version 1.\n        Use a newer Levada, or write `levada: 1`."),
        ("levada: 1\nflow:\n\ta: b", "LV-002  flow.yaml line 3: a tab stands here.\n"
                                     "        Indent with spaces."),
        ("levada: 1\nname: a: b", "LV-001  flow.yaml line 2: this is not YAML: mapping values are"
         " not allowed here.\n        Check the indentation; a text that contains ': ' needs"
         " quotes."),
        ("levada: 1\nname: @x", "LV-001  flow.yaml line 2: this is not YAML: found character '@'"
         " that cannot start any token, while scanning for the next token.\n"
         "        A text that starts with this character needs quotes."),
        ("levada: 1\nname: 'x", "LV-001  flow.yaml line 2: this is not YAML: found unexpected end"
         " of stream, while scanning a quoted scalar.\n"
         "        Close the quote or bracket that is open."),
        (b"levada: 1\nname: \xff", "LV-003  flow.yaml line 2: the byte 0xff at position 16 is not"
         " UTF-8.\n        Save the file as UTF-8."),
        ("levada: 1\nname: \x01", "LV-003  flow.yaml line 2: the character U+0001 may not stand in"
         ' YAML.\n        Write it in double quotes with an escape, such as "\\x01".'),
        ("levada: 1\n---\na: b", "LV-012  flow.yaml line 2: a second document starts here.\n"
                                 "        Keep one flow in a file."),
        ("levada: 1\nname: !x y", "LV-012  flow.yaml line 2: the tag '!x' stands here.\n"
                                  "        Leave it out."),
        ("levada: 1\nname: *x", "LV-012  flow.yaml line 2: the alias '*x' refers to nothing above"
                                " it.\n        Write '&x' before the value that it repeats."),
        ("levada: 1\n? [a]\n: b", "LV-012  flow.yaml line 2: a key is a list.\n"
                                  "        A key is a text."),
        ("levada: 1\nflow: {<<: {}}", "LV-012  flow.yaml line 2: '<<' merges mappings; flows do"
         " not use it.\n        Write the keys out, or repeat a whole value with an alias."),
        ("levada: 1\nname: a\nname: b", "LV-007  flow.yaml line 3: 'name' occurs twice; the first"
         " one is in line 2.\n        Rename or remove one of them."),
        ("levada: 1\nflows: {}", "LV-008  flow.yaml line 2: the flow has no key 'flows'.\n"
         "        There are: levada, name, description, comments, parameters, contexts, services,"
         " inputs, flow, outputs, groups, labels, layout. Did you mean 'flow'?"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_flow_is_explained(text: str | bytes, expected: str) -> None:
    first, *others = problems_of(text)

    assert first == expected
    assert all("LV-012" in other or "LV-005" in other for other in others)


def test_a_byte_order_mark_is_no_problem() -> None:
    assert problems_of("\ufefflevada: 1".encode()) == []


def test_brackets_a_hundred_thousand_deep_are_refused_at_once() -> None:
    assert problems_of("levada: 1\nname: " + "[" * 100_000) == [
        "LV-004  flow.yaml line 2: the text is nested deeper than 100 levels.\n"
        "        Check the brackets here."
    ]


def test_aliases_that_multiply_are_refused_before_they_are_expanded() -> None:
    lines = ["levada: 1", "a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for previous, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{previous}'] * 10)}]")

    assert problems_of("\n".join(lines))[0].startswith(
        "LV-004  flow.yaml line 7: the text has more than 500,000 values, aliases written out."
    )


def test_a_text_of_five_million_characters_is_refused_before_it_is_parsed() -> None:
    assert problems_of("x" * 5_000_000) == [
        "LV-004  flow.yaml: the text has 5,000,000 characters; at most 4,194,304 are read.\n"
        "        Move scripts and long contents into files of their own."
    ]


def test_a_value_is_the_text_that_stands_there() -> None:
    text = "levada: 1\nflow:\n  a: {type: Copy, properties: {x: 1.10, y: yes, z: 0x1F, w: ''}}"

    properties = model_of(text).root.processors[0].properties

    assert properties == {"x": "1.10", "y": "yes", "z": "0x1F", "w": ""}


# Components


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: {to: end}", "LV-005  a, flow.yaml line 3: it has no `type`.\n"
                         "        Add a line such as `type: RouteOnAttribute`."),
        ("a: Copy", "LV-005  a, flow.yaml line 3: a processor is the text 'Copy'; it must be a"
                    " mapping."),
        ("a: {type: Copy, property: 1}", "LV-008  a (Copy), flow.yaml line 3: a processor has no"
         " key 'property'.\n        There are: type, comments, properties, schedule, tasks, batch"
         " size, run duration, node, penalty, yield, retry, bulletins, state, to. Did you mean"
         " 'properties'?"),
        ("end: {type: Copy}", "LV-009  flow.yaml line 3: 'end' is the name of a component; as a"
         " target it terminates a relationship.\n        Choose another name."),
        ("hold: {type: funnel}", "LV-009  flow.yaml line 3: 'hold' is the name of a component; as"
         " a target it keeps flowfiles.\n        Choose another name."),
        ("'': {type: funnel}", "LV-009  flow.yaml line 3: a name under flow is empty."),
        ("a: {type: Copy, properties: {x: [1]}}", "LV-005  a (Copy), flow.yaml line 3: property"
         " 'x' is a list; it must be a text."),
        ("a: {type: Copy, properties: {x: {y: 1}}}", "LV-005  a (Copy), flow.yaml line 3: property"
         " 'x' is a mapping; it must be a text.\n        A property's value is a text; a mapping or"
         " list needs quotes around it."),
        ("a:\n  type: Copy\n  properties:\n    x: #{speed}", "LV-005  a (Copy), flow.yaml line 6:"
         " property 'x' has no value.\n"
         '        A `#` starts a comment here: write "#{speed}" in quotes.'),
        ("a: {type: Copy, properties: {x: null}}", "LV-005  a (Copy), flow.yaml line 3: property"
         " 'x' has no value.\n        Write 'null' in quotes if it is meant as a text."),
        ("a: {type: Copy, properties: {x: }}", "LV-005  a (Copy), flow.yaml line 3: property 'x'"
         " has no value.\n        Write '' for an empty text, or remove the line."),
        ("a: {type: Copy, properties: {x: 'enc:v1:AA'}}", "LV-014  a (Copy), flow.yaml line 3:"
         " property 'x' is an encrypted value; it has no meaning in a text.\n"
         "        Write `x: {sensitive: true}` to keep the value of the home."),
        ("a: {type: Copy, tasks: 0}", "LV-010  a (Copy), flow.yaml line 3: tasks is '0'; it must"
                                      " be a whole number of at least 1."),
        ("a: {type: Copy, penalty: soon}", "LV-010  a (Copy), flow.yaml line 3: penalty is 'soon';"
         " it must be a duration such as '30 sec', '5 min' or '1 hour'."),
        ("a: {type: Copy, state: off}", "LV-010  a (Copy), flow.yaml line 3: state is 'off'; it"
                                        " must be one of: running, stopped, disabled."),
        ("a: {type: Copy, schedule: {every: 5 sec, cron: x}}", "LV-010  a (Copy), flow.yaml line"
         " 3: schedule has both `every` and `cron`; one of them says when it runs.\n"
         "        Remove one."),
        ("a: {type: Copy, to: {success: sinc}}\nsink: {type: Copy}", "LV-011  a (Copy), flow.yaml"
         " line 3: leads to 'sinc', which does not exist.\n        In its group there are: a,"
         " sink. Did you mean 'sink'? `end` terminates a relationship, `hold` keeps its"
         " flowfiles."),
        ("a: {type: Copy, to: {success: {max count: 3}}}", "LV-005  a (Copy), flow.yaml line 3:"
         " 'max count' is a connection's setting; it stands where a target belongs.\n"
         "        Write `NAME: {max count: ...}` with the target's name."),
        ("a: {type: Copy, to: {success: {a: {max size: 3}}}}", "LV-010  a (Copy), flow.yaml line"
         " 3: the connection to 'a': max size is '3'; it must be a size such as '512 B', '10 MB'"
         " or '1 GB'."),
        ("a: {type: Copy, to: {success: {end: {max count: 3}}}}", "LV-010  a (Copy), flow.yaml"
         " line 3: `end` has settings; nothing waits there.\n"
         "        Use `hold` to keep flowfiles."),
        ("f: {type: funnel, to: end}", "LV-011  f (funnel), flow.yaml line 3: `end` terminates a"
         " relationship, and this has none.\n        Let it lead to a component, or to `hold`."),
    ],
)  # fmt: skip
def test_a_mistake_in_a_component_is_named_with_its_line(text: str, expected: str) -> None:
    assert in_flow(text) == [expected]


def test_every_mistake_is_reported_at_once_in_the_order_of_the_text() -> None:
    found = problems_of(
        "levada: 1\nnam: x\nflow:\n  a: {type: Copy, tasks: no, to: {success: b}}\n"
        "  c: {type: Copy, yield: 5}\n  a: {type: Copy}\n"
    )

    assert [one[:6] for one in found] == ["LV-008", "LV-010", "LV-011", "LV-010", "LV-007"]


def test_a_name_is_unique_among_all_kinds_of_components() -> None:
    found = problems_of(
        "levada: 1\nflow:\n  a: {type: Copy}\ngroups:\n  a: {}\nservices:\n  a: {type: Copy}\n"
    )

    assert found == [
        "LV-007  flow.yaml line 5: the name 'a' occurs twice; the first one is in line 3.\n"
        "        Names are unique within their group, whatever their kind: rename one."
    ]


def test_the_one_relationship_needs_no_name_and_several_do(registry: Registry) -> None:
    model = model_of("levada: 1\nflow: {a: {type: Copy, to: a}}", registry)
    assert model.root.connections[0].relationships == ("success",)

    assert in_flow("a: {type: Split, to: a}", registry) == [
        "LV-013  a (Split), flow.yaml line 3: `to` does not say which relationship leads there.\n"
        "        Write `to: {success: NAME}` with its relationships."
    ]


def test_to_takes_lists_settings_shared_keys_end_and_hold() -> None:
    model = model_of(
        "levada: 1\nflow:\n  b: {type: Copy}\n  a:\n    type: Copy\n    to:\n"
        "      x, y: [b, {b: {max count: 5, expires: 1 min, prioritize: [oldest, '${a}']}}]\n"
        "      z: [hold, end]\n"
    )

    first, second, kept = model.root.connections
    assert first.relationships == second.relationships == ("x", "y")
    assert (second.max_count, second.expiration_seconds) == (5, 60.0)
    assert second.prioritizers == ("oldest", "${a}")
    assert (kept.relationships, kept.destination) == (("z",), HOLD)
    assert model.root.processors[1].ended == ("z",)


def test_ports_lead_in_and_out_of_groups() -> None:
    model = model_of(
        "levada: 1\nflow:\n  a: {type: Copy, to: {success: inner/in}}\n  b: {type: Copy}\n"
        "groups:\n  inner:\n    inputs: {in: {to: c}}\n    flow: {c: {type: Copy, to: {s: out}}}\n"
        "    outputs: {out: {to: b}}\n"
    )

    a, b = model.root.processors
    inner = model.root.groups[0]
    enter, leave = inner.ports
    ends = [(one.source, one.destination) for one in model.root.connections]
    assert ends == [(a.id, enter.id), (leave.id, b.id)]
    inside = [(one.source, one.destination) for one in inner.connections]
    assert inside == [(enter.id, inner.processors[0].id), (inner.processors[0].id, leave.id)]


def test_an_output_of_the_root_leads_nowhere_within() -> None:
    assert problems_of("levada: 1\noutputs: {out: {to: out}}") == [
        "LV-008  out (output port), flow.yaml line 2: an output port of the root group leads out"
        " of the flow; it has no `to`.\n        Remove it."
    ]


def test_a_name_with_a_slash_is_a_target_as_it_stands_and_in_quotes() -> None:
    text = "levada: 1\nflow:\n  a/b: {type: Copy}\n  c: {type: Copy, to: {s: a/b, t: '\"a/b\"'}}"

    assert {one.destination for one in model_of(text).root.connections} == {2}


# Parameters


def test_parameters_make_the_context_flow_and_groups_name_theirs() -> None:
    model = model_of(
        "levada: 1\nparameters:\n  a: 1\n  b: {value: 2, description: two}\n"
        "  c: {sensitive: true}\n"
        "contexts:\n  other: {inherits: flow, parameters: {d: 4}}\n"
        "groups:\n  g: {parameters: other}\n  h: {}\n"
    )

    own, other = model.parameter_contexts
    assert (own.name, model.root.parameter_context) == ("flow", own.id)
    assert [(one.value, one.sensitive) for one in own.parameters.values()] == [
        ("1", False), ("2", False), (None, True),
    ]  # fmt: skip
    assert other.inherits == (own.id,)
    assert [one.parameter_context for one in model.root.groups] == [other.id, None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("parameters: {p: {value: x, sensitive: true}}", "LV-014  parameter 'p', flow.yaml line 2:"
         " it is sensitive and has its value in the text.\n        Remove the value and give it"
         " with --param or on the canvas; the home keeps it encrypted."),
        ("parameters: {p: {value: x, sensitive: maybe}}", "LV-010  parameter 'p', flow.yaml line"
         " 2: sensitive is 'maybe'; it must be one of: true, false."),
        ("parameters: {p: }", "LV-005  parameter 'p', flow.yaml line 2: it has no value.\n"
                              "        Write '' for an empty text, or remove the line."),
        ("groups: {g: {parameters: nowhere}}", "LV-015  g, flow.yaml line 2: the parameter context"
         " 'nowhere' does not exist.\n        Parameter contexts are none."),
        ("contexts: {a: {inherits: b}}", "LV-015  context 'a', flow.yaml line 2: the parameter"
         " context 'b' does not exist.\n        Parameter contexts are: a."),
        ("parameters: {}\ncontexts: {flow: {}}", "LV-007  flow.yaml line 3: 'flow' names the"
         " flow's own parameters, in line 2.\n        Choose another name."),
        ("labels: {a: b}", "LV-005  flow.yaml line 2: labels must be a list.\n"
                           "        Start each with `- text:`."),
        ("layout: {a: [1]}", "LV-010  layout of 'a', flow.yaml line 2: it is not a pair of"
                             " numbers.\n        Write it as [400, 0]."),
        ("layout: {a: [1, nan]}", "LV-010  layout of 'a', flow.yaml line 2: it is not a pair of"
                                  " numbers.\n        Write it as [400, 0]."),
        ("layout: {a: {bends: {x: 5}}}", "LV-005  layout of 'a', flow.yaml line 2: bends is the"
                                         " text '5'; it must be a list."),
    ],
)  # fmt: skip
def test_a_mistake_beside_the_components_is_named(text: str, expected: str) -> None:
    assert problems_of(f"levada: 1\n{text}") == [expected]


def test_a_position_is_told_from_none() -> None:
    reading = read_flow(
        "levada: 1\nflow: {a: {type: Copy}, b: {type: Copy}}\nlayout: {a: [0, 0], gone: [1, 1]}",
        file="flow.yaml",
        registry=None,
    )

    assert reading.model is not None
    assert reading.unplaced == {reading.model.root.processors[1].id}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(
    ["levada: 1\n", "flow:", "\n", "  ", "a", ": ", "[", "]", "{", "}", "- ", "'", '"', "|\n", "#",
     "to: ", "type: ", "hold", "&x ", "*x", "\t", "groups:", "layout:", "\x85", "?", "properties:"]
), max_size=25))  # fmt: skip
def test_no_text_makes_reading_raise(pieces: list[str]) -> None:
    reading = read_flow("levada: 1\n" + "".join(pieces), file="flow.yaml", registry=None)

    assert (reading.model is None) == bool(reading.problems)
    assert all(one.code in CODES and one.line for one in reading.problems)


def test_a_problem_without_a_place_is_its_message() -> None:
    assert str(FlowProblem("LV-001", "it is odd")) == "it is odd."
    assert limits.MAX_DEPTH == 100
