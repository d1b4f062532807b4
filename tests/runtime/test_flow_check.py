"""Each mistake that keeps a flow from running, with its exact words and line."""

from typing import Any

import pytest
from msgspec.structs import replace

from runtime.flow_check import check_flow, cron_problem, read_and_check
from runtime.flow_text import read_flow
from runtime.model import FlowModel, GroupModel, ProcessorModel, Schedule
from runtime.processor import ControllerService, Input, Processor, Relationship
from runtime.properties import (
    Condition,
    DynamicProperties,
    Expression,
    Properties,
    Property,
    Service,
)
from runtime.registry import Registry


class Source(Processor):
    class Properties(Properties):
        count: int = Property(1, ge=1)
        text: Expression = Property("")

    input = Input.FORBIDDEN
    success = Relationship("All.")


class Route(Processor):
    class Properties(DynamicProperties[Condition]):
        pass

    unmatched = Relationship("None of them.")

    @classmethod
    def relationships(cls, properties: Any) -> list[Relationship]:
        named = [Relationship("Meets it.", name=name) for name in properties.dynamic]
        return [cls.unmatched, *named]


class Sink(Processor):
    class Properties(Properties):
        password: str = Property("", sensitive=True)
        pool: Service[Any] | None = Property(
            None, service_type="Pool", formerly=("Connection Pool",)
        )

    serial = True
    success = Relationship("All.", ended=True)
    failure = Relationship("Errors.")


class Pool(ControllerService):
    class Properties(Properties):
        size: int = Property(4)


class BigPool(Pool):
    pass


class Other(ControllerService):
    pass


class Also(ControllerService):
    provides = ("Pool",)


@pytest.fixture
def registry() -> Registry:
    registry = Registry(modules=[])
    registry.add(Source, Route, Sink, Pool, BigPool, Other, Also)
    return registry


GOOD = """\
levada: 1
parameters: {n: 2, key: {sensitive: true}}
services:
  pool: {type: Pool}
  big: {type: BigPool}
  also: {type: Also}
  other: {type: Other}
  off: {type: Pool, state: disabled}
flow:
  source: {type: Source, to: route}
  route: {type: Route, properties: {a: "${x:equals('1')}"}, to: {a: sink, unmatched: route}}
  sink: {type: Sink, to: {failure: hold}}
groups:
  inner:
    inputs: {in: {to: keep}}
    flow: {keep: {type: Sink, properties: {Pool: pool}, to: {success: out, failure: end}}}
    outputs: {out: {}}
"""


def problems_of(text: str, registry: Registry) -> list[str]:
    reading = read_and_check(text, file="f", registry=registry)
    return [str(one) for one in reading.problems]


def test_a_good_flow_with_a_loop_has_no_problems(registry: Registry) -> None:
    assert problems_of(GOOD, registry) == []


LEADS_NOWHERE = (
    "leads nowhere.\n        Give it a target in `to`; `{0}: end` drops its flowfiles,"
    " `{0}: hold` keeps them."
)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("type: Source", "type: Sorce", "LV-016  source (Sorce), f line 10: the processor type"
         " 'Sorce' is not known here.\n        Did you mean 'Source'?"),
        ("type: Source", "type: Pool", "LV-016  source (Pool), f line 10: the processor type"
         " 'Pool' is not known here.\n        `levada processors` lists all."),
        ("{type: Other}", "{type: Othr}", "LV-016  other (Othr), f line 7: the controller service"
         " type 'Othr' is not known here.\n        Did you mean 'Other'?"),
        ("Source, to", "Source, properties: {Count: 0}, to", "LV-019  source (Source), f line 10:"
         " property 'Count' is '0'; it must be at least 1."),
        ("Source, to", "Source, properties: {Cont: 1}, to", "LV-019  source (Source), f line 10:"
         " property 'Cont' does not exist. There are: Count, Text."),
        ("big: {type: BigPool}", "big: {type: BigPool, properties: {Size: x}}", "LV-019  big"
         " (BigPool), f line 5: property 'Size' is 'x'; it must be a whole number."),
        ("Source, to", 'Source, properties: {Count: "#{m}"}, to', "LV-023  source (Source), f line"
         " 10: property 'Count' refers to the parameter 'm', which does not exist.\n"
         "        Its group's parameter context has: n, key."),
        ("Source, to", 'Source, properties: {Text: "#{key}"}, to', "LV-024  source (Source), f"
         " line 10: property 'Text' is not sensitive and refers to the sensitive parameter"
         " 'key'.\n        Only a sensitive property may use it: its value would be shown here."),
        ("Sink, to: {f", "Sink, properties: {Password: x}, to: {f", "LV-014  sink (Sink), f line"
         " 12: property 'Password' is a secret in plain text.\n"
         '        Write `Password: "#{name}"` with a sensitive parameter and give its value with'
         " --param, or set it on the canvas."),
        ("Sink, to: {f", "Sink, properties: {Password: {sensitive: true}}, to: {f", "LV-027  sink"
         " (Sink), f line 12: property 'Password' is a secret whose value is not in this home.\n"
         "        Set it on the canvas."),
        ("unmatched: route", "unmatched: route, b: end", "LV-017  route (Route), f line 11: has no"
         " relationship 'b'.\n        It has: unmatched, a."),
        ("a: sink", "A: sink, a: end", "LV-017  route (Route), f line 11: has no relationship"
         " 'A'.\n        It has: unmatched, a. Did you mean 'a'?"),
        (", unmatched: route", "", "LV-018  route (Route), f line 11: its relationship 'unmatched' "
         + LEADS_NOWHERE.format("unmatched")),
        (", to: route}", "}", "LV-018  source (Source), f line 10: its relationship 'success' "
         + LEADS_NOWHERE.format("success")),
        ("Sink, to: {f", "Sink, retry: faliure, to: {f", "LV-017  sink (Sink), f line 12: retries"
         " 'faliure', which is no relationship of it.\n        It has: success, failure. Did you"
         " mean 'failure'?"),
        ("unmatched: route", "unmatched: [route, source]", "LV-020  source (Source), f line 10:"
         " takes no flowfiles, and a connection leads to it.\n"
         "        Lead the connection elsewhere."),
        ("a: sink", "a: end", "LV-021  sink (Sink), f line 12: needs flowfiles, and no connection"
         " leads to it.\n        Name it as a target in another component's `to`."),
        ("Source, to", "Source, schedule: {cron: 5 min}, to", "LV-022  source (Source), f line 10:"
         " the schedule '5 min' has 2 fields; it must have six, seconds first: '0 */5 * * * *'."),
        ("Sink, to: {f", "Sink, tasks: 2, to: {f", "LV-022  sink (Sink), f line 12: tasks is 2;"
         " this type runs one at a time.\n        Remove `tasks`."),
        ("Pool: pool", "Pool: pol", "LV-025  inner / keep (Sink), f line 16: property 'Pool' names"
         " the controller service 'pol', which does not exist.\n        Controller services here"
         " are: pool, big, also, other, off. Did you mean 'pool'?"),
        ("Pool: pool", "Pool: other", "LV-025  inner / keep (Sink), f line 16: property 'Pool'"
         " names 'other', which is a Other.\n        A Pool is needed; there are: pool, big, also,"
         " off."),
        ("Pool: pool", "Pool: off", "LV-025  inner / keep (Sink), f line 16: property 'Pool' names"
         " the controller service 'off', which is disabled.\n        Enable it."),
        ("outputs: {out: {}}", "outputs: {out: {}, more: {}}", "LV-026  inner / more (output port),"
         " f line 17: gets nothing.\n        Name it as a target within its group."),
        ("in: {to: keep}", "in: {to: keep}, two: {}", "LV-026  inner / two (input port), f line"
         " 15: leads nowhere.\n        Give it a `to`."),
        ("a: sink,", "a: {sink: {prioritize: sooner}},", "LV-028  route (Route), f line 11: its"
         " queue is ordered by 'sooner'.\n        It must be one of fifo, newest, oldest,"
         " attribute, or an expression such as '${priority}'."),
        ("services:", "contexts: {c: {inherits: c}}\nservices:", "LV-015  context 'c', f line 3:"
         " inherits from itself: c -> c.\n        Remove one of these."),
    ],
)  # fmt: skip
def test_a_mistake_is_named_once(old: str, new: str, expected: str, registry: Registry) -> None:
    assert old in GOOD

    assert problems_of(GOOD.replace(old, new, 1), registry) == [expected]


def test_an_expression_that_does_not_compile_is_a_problem_of_its_property(
    registry: Registry,
) -> None:
    text = GOOD.replace("${x:equals('1')}", "${x:length()}")

    [problem] = problems_of(text, registry)

    assert problem.startswith("LV-019  route (Route), f line 11: property 'a' ")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Pool: pool", "Pool: big"),
        ("Pool: pool", "Pool: also"),
        ("Pool: pool", "Connection Pool: pool"),
        ("Source, to", 'Source, properties: {Count: "#{n}", Text: "${x} #{n}"}, to'),
        ("Sink, to: {f", "Sink, state: disabled, properties: {Nope: 1}, to: {nope"),
        ("a: sink,", "a: {sink: {prioritize: [oldest, '${priority}']}},"),
        ("Source, to", "Source, schedule: {cron: '0 0 12 ? * MON-FRI'}, to"),
    ],
)
def test_the_neighbour_of_a_mistake_is_none(old: str, new: str, registry: Registry) -> None:
    assert old in GOOD
    assert problems_of(GOOD.replace(old, new, 1), registry) == []


def test_mistakes_of_text_and_meaning_are_reported_together_and_do_not_follow_each_other(
    registry: Registry,
) -> None:
    text = GOOD.replace("a: sink,", "a: sinc,").replace("{failure: hold}", "{failure: }")

    assert [one[:6] for one in problems_of(text, registry)] == ["LV-011", "LV-005", "LV-021"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("0 */5 * * * *", None),
        ("0 0 12 ? * 2-6", None),
        ("* * * * *", "has 5 fields; it must have six, seconds first: '0 */5 * * * *'"),
        ("61 * * * * *", "does not parse (bad second); an example is '0 */5 * * * *'"),
        ("0 0 0 30 2 *", "does not parse (bad day-of-month); an example is '0 */5 * * * *'"),
    ],
)
def test_a_cron_line_has_six_fields(line: str, problem: str | None) -> None:
    assert cron_problem(line) == problem


def test_a_model_that_came_without_text_is_checked_without_lines(registry: Registry) -> None:
    processors = tuple(
        ProcessorModel(id=id, name=name, type="Source", ended=("success",))
        for id, name in ((2, "a"), (3, "a"), (4, "end"))
    )
    model = read_flow(GOOD, file="f", registry=registry).model
    assert model is not None
    changed = replace(model, root=GroupModel(id=1, name="x", processors=processors))

    assert [str(one) for one in check_flow(changed, registry)] == [
        "LV-007  a: its name occurs twice.\n        Names are unique within their group, whatever"
        " their kind: rename one.",
        "LV-009  end: 'end' is no name for a component; as a target it has a meaning.\n"
        "        Choose another name.",
    ]


def test_a_period_that_is_no_duration_is_found_in_a_model_too(registry: Registry) -> None:
    one = ProcessorModel(
        id=2, name="a", type="Source", ended=("success",), schedule=Schedule(period="soon")
    )
    model = FlowModel(root=GroupModel(id=1, name="x", processors=(one,)))

    assert [one.message for one in check_flow(model, registry)] == [
        "the period is 'soon'; it must be a duration such as '30 sec', '5 min' or '1 hour'"
    ]


def test_a_relationship_that_python_computes_may_raise_without_stopping_the_check(
    registry: Registry,
) -> None:
    class Broken(Processor):
        @classmethod
        def relationships(cls, properties: Any) -> list[Relationship]:
            raise RuntimeError("oops")

    registry.add(Broken)
    model = GOOD.replace("type: Source, to: route", "type: Broken, to: {x: route}")

    first = problems_of(model, registry)[0]

    assert first == (
        "LV-019  source (Broken), f line 10: cannot tell its relationships: RuntimeError: oops.\n"
        "        It is a mistake in the processor's code."
    )
