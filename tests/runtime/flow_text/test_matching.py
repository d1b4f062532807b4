"""Ids for life: who keeps its id when a text changes."""

from runtime.flow_text import read_flow, write_flow
from runtime.flow_text.reading import FlowReading
from runtime.model import HOLD, FlowModel, GroupModel, ProcessorModel

BEFORE = """\
levada: 1
parameters: {p: 1}
flow:
  source: {type: GenerateFlowFile, to: {success: route}}
  route:
    type: RouteOnAttribute
    properties: {big: "${size:gt(1)}"}
    to: {big: store, unmatched: hold}
  store: {type: PutFile, to: {success: end, failure: hold}}
  merge: {type: funnel, to: store}
groups:
  inner:
    flow: {log: {type: LogAttribute, to: {success: end}}}
labels: [{text: hello}, {text: bye}]
"""


def read(text: str, known: FlowModel | None = None) -> FlowReading:
    reading = read_flow(text, file="flow.yaml", registry=None, known=known)
    assert reading.problems == []
    return reading


def model(text: str, known: FlowModel | None = None) -> FlowModel:
    found = read(text, known).model
    assert found is not None
    return found


def ids(flow: FlowModel) -> dict[str, int]:
    found = {}
    for group in flow.root.walk():
        for one in (*group.processors, *group.funnels, *group.ports, *group.groups):
            found[one.name] = one.id
        names = {one.id: one.name for one in (*group.processors, *group.funnels)} | {HOLD: "hold"}
        for connection in group.connections:
            ends = f"{names[connection.source]} -> {names[connection.destination]}"
            found[f"{ends} {','.join(connection.relationships)}".strip()] = connection.id
        found.update((label.text, label.id) for label in group.labels)
    return found


def test_the_same_text_keeps_every_id() -> None:
    known = model(BEFORE)

    reading = read(BEFORE, known)

    assert reading.model == known
    assert reading.gone == []


def test_ids_are_unique_and_counted_on_from_those_that_were_given() -> None:
    known = model(BEFORE)
    all_ids = list(ids(known).values())
    assert len(set(all_ids)) == len(all_ids) and max(all_ids) < known.next_id

    after = model(BEFORE.replace("  merge:", "  fresh: {type: Copy}\n  merge:"), known)

    assert ids(after) == ids(known) | {"fresh": known.next_id}
    assert after.next_id == known.next_id + 1


def test_a_renamed_processor_is_known_by_its_type_and_neighbours() -> None:
    known = model(BEFORE)

    after = model(BEFORE.replace("route", "decide"), known)

    before_ids, after_ids = ids(known), ids(after)
    assert after_ids["decide"] == before_ids["route"]
    assert after_ids["decide -> store big"] == before_ids["route -> store big"]
    assert after_ids["decide -> hold unmatched"] == before_ids["route -> hold unmatched"]


def test_of_two_renamed_processors_of_a_type_neighbours_decide() -> None:
    text = """\
levada: 1
flow:
  a: {type: Copy, to: {success: x}}
  b: {type: Copy, to: {success: y}}
  x: {type: Sink, to: {success: end}}
  y: {type: Sink, to: {success: end}}
"""
    known = model(text)

    after = model(text.replace("  a:", "  second:").replace("  b:", "  first:"), known)

    assert ids(after)["second"] == ids(known)["a"]
    assert ids(after)["first"] == ids(known)["b"]


def test_another_type_under_another_name_is_new_and_the_old_one_is_gone() -> None:
    known = model(BEFORE)

    reading = read(BEFORE.replace("route:\n    type: RouteOnAttribute", "route 2:\n    type: Other")
                   .replace("success: route}", "success: route 2}"), known)  # fmt: skip

    assert reading.model is not None
    after = ids(reading.model)
    assert after["route 2"] == known.next_id
    assert after["source -> route 2 success"] == ids(known)["source -> route success"]
    assert [(one.kind, one.path) for one in reading.gone] == [("processor", "route"),
        ("connection", "route / unmatched -> hold")]  # fmt: skip


def test_a_processor_that_moves_to_another_group_keeps_its_id() -> None:
    known = model(BEFORE)
    line = "  store: {type: PutFile, to: {success: end, failure: hold}}\n"
    text = BEFORE.replace(line, "").replace("flow: {log:", f"flow: {{{line.strip()}, log:")
    text = text.replace("big: store", "big: hold").replace(", to: store", "")

    after = model(text, known)

    assert [one.id for one in after.root.groups[0].processors][0] == ids(known)["store"]


def test_a_renamed_group_is_known_by_what_it_holds() -> None:
    known = model(BEFORE)

    after = model(BEFORE.replace("  inner:", "  outer:"), known)

    assert ids(after)["outer"] == ids(known)["inner"]
    assert ids(after)["log"] == ids(known)["log"]


def test_a_queue_moves_with_its_destination_and_out_of_hold() -> None:
    known = model(BEFORE)

    after = model(BEFORE.replace("unmatched: hold", "unmatched: merge"), known)

    assert ids(after)["route -> merge unmatched"] == ids(known)["route -> hold unmatched"]


def test_what_the_text_has_no_more_is_listed_with_its_path() -> None:
    known = model(BEFORE)
    text = BEFORE[: BEFORE.index("groups:")].replace("failure: hold", "failure: end")

    reading = read(text, known)

    assert {(one.kind, one.path) for one in reading.gone} == {
        ("group", "inner"),
        ("processor", "inner / log"),
        ("connection", "store / failure -> hold"),
    }


def test_many_renamed_processors_of_a_type_are_taken_for_new_ones_in_short_time() -> None:
    def flow(letter: str) -> str:
        lines = "".join(f"  {letter}{number}: {{type: Copy}}\n" for number in range(600))
        return f"levada: 1\nflow:\n{lines}"

    known = model(flow("a"))

    reading = read(flow("b"), known)

    assert len(reading.gone) == 600


def test_doubles_of_an_import_keep_their_ids_under_the_names_that_text_gives_them() -> None:
    doubles = tuple(ProcessorModel(id=id, name="log", type="LogAttribute") for id in (2, 3))
    known = FlowModel(root=GroupModel(id=1, name="x", processors=doubles), name="x", next_id=4)

    after = model(write_flow(known, registry=None), known)

    assert [(one.id, one.name) for one in after.root.processors] == [(2, "log"), (3, "log 2")]


def test_labels_and_contexts_keep_their_ids() -> None:
    known = model(BEFORE)

    after = model(BEFORE.replace("{text: hello}", "{text: hi}"), known)

    assert ids(after)["hi"] == ids(known)["hello"]
    assert after.parameter_contexts == known.parameter_contexts
