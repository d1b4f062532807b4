"""Model to text and back, and what stays of a text that people wrote."""

import asyncio
import difflib
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from ruamel.yaml import YAML

from runtime.flow_text import read_flow, with_distinct_names, write_flow
from runtime.flow_text.emit import scalar
from runtime.flow_text.errors import Problems
from runtime.flow_text.shape import join_names, join_path, split_names
from runtime.flow_text.source import Scalar, parse_source
from runtime.flow_text.writer_process import WriterError, write_flow_aside
from runtime.model import (
    HOLD,
    ConnectionModel,
    FlowModel,
    GroupModel,
    Parameter,
    ParameterContext,
    ProcessorModel,
    Schedule,
    empty_flow,
)
from runtime.processor import Processor
from runtime.properties import Properties as PropertiesOf
from runtime.properties import Property
from runtime.registry import Registry
from tests.runtime.flow_text.flows import flows

# Without shrinking: a flow that fails is small enough to read, and shrinking one takes minutes.
quick = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


def without_ids(model: FlowModel) -> FlowModel:
    """Return the model with ids counted in the order of the text."""
    contexts = {one.id: index for index, one in enumerate(model.parameter_contexts)}
    own_contexts = tuple(
        replace(one, id=contexts[one.id], inherits=tuple(contexts[id] for id in one.inherits))
        for one in model.parameter_contexts
    )
    root = _renumbered(model.root, {HOLD: HOLD}, contexts)
    return replace(model, parameter_contexts=own_contexts, root=root, next_id=0)


def _renumbered(group: GroupModel, numbers: dict[int, int], contexts: dict[int, int]) -> GroupModel:
    def number(id: int) -> int:
        return numbers.setdefault(id, len(numbers))

    def all_of(parts: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(replace(one, id=number(one.id)) for one in parts)

    context = group.parameter_context
    return replace(
        group,
        id=number(group.id),
        ports=all_of(group.ports),
        # Which relationships end is a set: text lists them where their other targets stand.
        processors=all_of(replace(one, ended=tuple(sorted(one.ended))) for one in group.processors),
        funnels=all_of(group.funnels),
        services=all_of(group.services),
        labels=all_of(group.labels),
        groups=tuple(_renumbered(child, numbers, contexts) for child in group.groups),
        connections=tuple(
            replace(one, id=0, source=numbers[one.source], destination=numbers[one.destination])
            for one in group.connections
        ),
        parameter_context=None if context is None else contexts[context],
    )


@pytest.mark.slow
@quick
@given(flows())
def test_a_flow_reads_back_as_it_was_written(model: FlowModel) -> None:
    text = write_flow(model, registry=None)

    reading = read_flow(text, file="flow.yaml", registry=None)

    assert reading.problems == []
    assert reading.model is not None
    named = replace(model, root=replace(model.root, name=model.name))
    assert without_ids(reading.model) == without_ids(named)


@pytest.mark.slow
@quick
@given(flows(), flows())
def test_a_text_over_any_other_means_the_flow_that_was_written(
    before: FlowModel, model: FlowModel
) -> None:
    previous = write_flow(before, registry=None)

    text = write_flow(model, registry=None, previous=previous)

    reading = read_flow(text, file="flow.yaml", registry=None)
    assert reading.model is not None
    assert without_ids(reading.model) == without_ids(
        replace(model, root=replace(model.root, name=model.name))
    )


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.booleans())
def test_any_text_is_a_scalar_that_reads_back(text: str, flow: bool) -> None:
    written = f"{{k: {scalar(text, flow=True)}}}" if flow else f"k: {scalar(text)}"

    problems = Problems()
    root = parse_source(written, problems)
    assert root is not None and problems.found == []
    [(_, node)] = root.entries
    assert isinstance(node, Scalar) and node.text == text and not node.is_empty
    # Another reader of YAML may see a number or a date, and no other text.
    other = YAML(typ="safe", pure=True).load(written)["k"]
    assert other == text or not isinstance(other, str | None)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(alphabet='ab", /', max_size=5), min_size=1, max_size=3))
def test_joined_names_split_into_the_same_names(names: list[str]) -> None:
    assert split_names(join_names(names, ", "), ",") == names
    assert split_names(join_path(names), "/") == names


WRITTEN = """\
# Made for the demo.
levada: 1
name: Demo   # shown above the canvas

parameters:
  speed: {value: 3600, description: Times faster}

flow:
  # Where it starts.
  source:
    type: GenerateFlowFile
    schedule: {every: 5 s}   # often enough
    tasks: 1
    properties:
      # Bytes.
      File Size: 10 B
      Custom Text: |
        one
        # not a comment
        two
    to: {success: route}

  route:   # the heart
    type: RouteOnAttribute
    properties: {big: "${fileSize:gt(5)}"}
    to:
      big: [sink,
            other]   # two ways
      unmatched: end
      # below the last relationship
  sink: {type: LogAttribute, to: {success: end}}
  other: {type: LogAttribute, to: {success: end}}
layout:
  source: [0, 0]
  # pinned
  route: [400, 0]
# The end.
"""


def edited(change: Callable[[ProcessorModel], ProcessorModel], text: str = WRITTEN) -> list[str]:
    """Return the lines of a diff after `change` was applied to every processor."""
    model = read_flow(text, file="flow.yaml", registry=None).model
    assert model is not None
    processors = tuple(change(one) for one in model.root.processors)
    after = replace(model, root=replace(model.root, processors=processors))
    written = write_flow(after, registry=None, previous=text)
    reread = read_flow(written, file="flow.yaml", registry=None).model
    assert reread is not None and without_ids(reread) == without_ids(after)
    lines = difflib.ndiff(text.splitlines(), written.splitlines())
    return [line for line in lines if line[0] in "+-"]


def only(name: str, **changes: Any) -> Callable[[ProcessorModel], ProcessorModel]:
    return lambda one: replace(one, **changes) if one.name == name else one


def test_an_unchanged_flow_keeps_every_character() -> None:
    assert edited(lambda one: one) == []


def test_a_moved_box_touches_its_line_of_the_layout_alone() -> None:
    assert edited(only("route", position=(500.0, 20.0))) == [
        "-   route: [400, 0]",
        "+   route: [500, 20]",
    ]


def test_a_box_that_had_no_position_gets_one() -> None:
    assert edited(only("sink", position=(1.0, 2.0))) == ["+   sink: [1, 2]"]


def test_a_changed_property_keeps_the_comment_above_it() -> None:
    changed = {"File Size": "1 KB", "Custom Text": "one\n# not a comment\ntwo\n"}

    assert edited(only("source", properties=changed)) == [
        "-       File Size: 10 B",
        "+       File Size: 1 KB",
    ]


def test_a_changed_block_text_replaces_only_itself() -> None:
    changed = {"File Size": "10 B", "Custom Text": "one\n# not a comment\nthree\n"}

    assert edited(only("source", properties=changed)) == ["-         two", "+         three"]


def test_a_comment_at_the_end_of_a_changed_line_stays_there() -> None:
    changed = Schedule(period="9 sec")

    assert edited(only("source", schedule=changed)) == [
        "-     schedule: {every: 5 s}   # often enough",
        "+     schedule: {every: 9 sec}   # often enough",
    ]


def test_a_new_setting_goes_to_its_place_and_a_lost_one_takes_only_its_line() -> None:
    assert edited(only("route", penalty_seconds=60.0, properties={})) == [
        '-     properties: {big: "${fileSize:gt(5)}"}',
        "+     penalty: 1 min",
    ]


def test_a_comment_inside_a_replaced_list_moves_above_it() -> None:
    def lead_elsewhere(model: FlowModel) -> FlowModel:
        connections = tuple(one for one in model.root.connections if one.relationships != ("big",))
        kept = replace(model.root, connections=connections)
        route = kept.processors[1]
        ended = replace(route, ended=("big", "unmatched"))
        return replace(
            model, root=replace(kept, processors=(kept.processors[0], ended, *kept.processors[2:]))
        )

    model = read_flow(WRITTEN, file="flow.yaml", registry=None).model
    assert model is not None

    written = write_flow(lead_elsewhere(model), registry=None, previous=WRITTEN)

    assert "      # two ways\n      big: end\n      unmatched: end\n" in written
    assert "      # below the last relationship\n  sink:" in written


def test_a_removed_component_takes_its_comment_with_it_and_no_other() -> None:
    model = read_flow(WRITTEN, file="flow.yaml", registry=None).model
    assert model is not None
    root = model.root
    kept = replace(
        root,
        processors=root.processors[1:],
        connections=tuple(one for one in root.connections if one.source != root.processors[0].id),
    )

    written = write_flow(replace(model, root=kept), registry=None, previous=WRITTEN)

    assert "source" not in written and "Where it starts" not in written
    assert "  route:   # the heart\n" in written and "# Made for the demo." in written
    assert written.endswith("  # pinned\n  route: [400, 0]\n# The end.\n")


def test_another_order_on_screen_is_another_order_in_the_text() -> None:
    model = read_flow(WRITTEN, file="flow.yaml", registry=None).model
    assert model is not None
    turned = replace(model.root, processors=tuple(reversed(model.root.processors)))

    written = write_flow(replace(model, root=turned), registry=None, previous=WRITTEN)

    reading = read_flow(written, file="flow.yaml", registry=None).model
    assert reading is not None
    names = [one.name for one in reading.root.processors]
    assert names == ["other", "sink", "route", "source"]
    assert "  # Where it starts.\n  source:" in written


def test_windows_line_ends_are_read_and_become_plain_ones() -> None:
    model = read_flow(WRITTEN.replace("\n", "\r\n"), file="flow.yaml", registry=None).model
    assert model is not None

    assert write_flow(model, registry=None, previous=WRITTEN.replace("\n", "\r\n")) == WRITTEN


def test_an_alias_is_written_out_where_its_part_changes_and_still_means_the_same() -> None:
    text = """\
levada: 1
flow:
  a: {type: LogAttribute, properties: &shared {x: 1}, to: {success: end}}
  b:
    type: LogAttribute
    # as above
    properties: *shared
    to: {success: end}
"""
    lines = edited(only("b", comments="new"), text)

    assert lines == [
        "+     comments: new",
        "-     properties: *shared",
        "+     properties: {x: 1}",
    ]


def test_a_previous_text_that_is_broken_is_not_kept() -> None:
    model = read_flow(WRITTEN, file="flow.yaml", registry=None).model
    assert model is not None

    assert write_flow(model, registry=None, previous="a: [") == write_flow(model, registry=None)


def test_a_secret_is_never_written() -> None:
    class Mail(Processor):
        class Properties(PropertiesOf):
            password: str = Property("", sensitive=True)

    registry = Registry(modules=[])
    registry.add(Mail)
    secret = ProcessorModel(
        id=2, name="mail", type="Mail", properties={"Password": "hunter2", "Other": "enc:v1:AAAA"}
    )
    root = GroupModel(id=1, name="x", processors=(secret,))
    kept = Parameter(value="enc:v1:BBBB", sensitive=True)
    context = ParameterContext(id=3, name="flow", parameters={"p": kept})
    root = replace(root, parameter_context=3)
    model = FlowModel(root=root, name="x", parameter_contexts=(context,), next_id=4)

    text = write_flow(model, registry=registry)

    assert "hunter2" not in text and "enc:" not in text
    assert "      Password: {sensitive: true}\n      Other: {sensitive: true}\n" in text
    reading = read_flow(text, file="flow.yaml", registry=registry, known=model)
    assert reading.model is not None
    assert reading.model.parameter_contexts == (context,)
    assert reading.model.root.processors[0].properties["Other"] == "enc:v1:AAAA"


def test_doubles_get_numbers_and_reserved_names_too() -> None:
    processors = tuple(
        ProcessorModel(id=id, name=name, type="LogAttribute")
        for id, name in enumerate(["log", "log", "end", ""], start=2)
    )
    model = FlowModel(root=GroupModel(id=1, name="x", processors=processors), name="x")

    named = with_distinct_names(model)

    assert [one.name for one in named.root.processors] == ["log", "log 2", "end 2", "LogAttribute"]


def test_another_process_writes_the_same_text() -> None:
    model = read_flow(WRITTEN, file="flow.yaml", registry=None).model
    assert model is not None

    text = asyncio.run(write_flow_aside(model, registry=None, previous=WRITTEN))

    assert text == WRITTEN


def test_a_writer_process_that_dies_is_an_error_with_its_last_words() -> None:
    model = replace(empty_flow(), root=GroupModel(id=1, name="x", parameter_context=None))
    broken = replace(
        model,
        root=replace(model.root, connections=(ConnectionModel(id=2, source=1, destination=99),)),
    )

    with pytest.raises(WriterError, match="ended with an error: KeyError: 99"):
        asyncio.run(write_flow_aside(broken, registry=None))
