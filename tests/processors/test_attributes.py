import json

import pytest

from processors.attributes import AttributesToJSON, UpdateAttribute
from runtime.commit import EventType
from runtime.expression import ExpressionError
from runtime.properties import Problem
from runtime.testing import TestRunner, check_processor

COUNTING = {
    "Store State": "Store state locally",
    "Stateful Variables Initial Value": "0",
    "count": "${getStateValue('count'):plus(1)}",
}
TO_CONTENT = {"Destination": "flowfile-content"}


@pytest.mark.parametrize("declaration", [UpdateAttribute, AttributesToJSON])
def test_processor_keeps_the_rules(declaration):
    check_processor(declaration)


def test_values_are_computed_from_the_flowfile_as_it_came_in():
    runner = TestRunner(UpdateAttribute, {"a": "${b}", "b": "${a}", "fixed": "x"})
    runner.enqueue(b"content", a="1", b="2")

    runner.run()

    result = runner.one("success")
    assert result.content == b"content"
    assert [result.attributes[name] for name in ("a", "b", "fixed")] == ["2", "1", "x"]


def test_without_properties_flowfiles_pass_unchanged():
    runner = TestRunner(UpdateAttribute)
    flowfile = runner.enqueue(a="1")

    runner.run()

    assert runner.one("success").flowfile == flowfile


def test_attributes_whose_whole_name_matches_are_deleted_also_when_they_are_set():
    properties = {"Delete Attributes Expression": "temp\\..*|uuid", "temp.a": "2", "temp.c": "3"}
    runner = TestRunner(UpdateAttribute, properties)
    runner.enqueue(b"", {"temp.a": "1", "temp.b": "1", "not.temp.b": "1"})

    runner.run()

    attributes = runner.one("success").attributes
    assert "temp.a" not in attributes
    assert "temp.b" not in attributes
    assert attributes["not.temp.b"] == "1"
    assert attributes["temp.c"] == "3"
    assert "uuid" in attributes


def test_delete_expression_may_depend_on_the_flowfile():
    runner = TestRunner(UpdateAttribute, {"Delete Attributes Expression": "${unwanted}"})
    runner.enqueue(unwanted="a", a="1", b="1")

    runner.run()

    attributes = runner.one("success").attributes
    assert "a" not in attributes
    assert attributes["b"] == "1"


def test_delete_expression_is_checked_when_it_is_set():
    (problem,) = TestRunner(UpdateAttribute, {"Delete Attributes Expression": "(a"}).problems

    assert problem.property == "Delete Attributes Expression"
    assert "is not a regular expression" in problem.message


def test_equal_values_share_memory():
    runner = TestRunner(UpdateAttribute, {"day": "day ${n:mod(2)}"})
    for number in range(4):
        runner.enqueue(n=str(number))

    runner.run()

    values = [one.flowfile.attributes["day"] for one in runner.flowfiles("success")]
    assert values == ["day 0", "day 1", "day 0", "day 1"]
    assert values[0] is values[2]


@pytest.mark.parametrize("size", ["0", "2"])
def test_cache_of_values_may_be_small(size):
    runner = TestRunner(UpdateAttribute, {"Cache Value Lookup Cache Size": size, "x": "n${n}"})
    for _ in range(2):
        for number in range(5):
            runner.enqueue(n=str(number))
        runner.run()

    assert [one.attributes["x"] for one in runner.flowfiles("success")] == [
        f"n{number}" for number in range(5)
    ] * 2


def test_alternate_identifier_is_reported():
    runner = TestRunner(UpdateAttribute, {"alternate.identifier": "${id}"})
    runner.enqueue(id="urn:isbn:1")
    runner.enqueue(id="no uri")

    runner.run()

    assert runner.reported == [
        (EventType.ADDINFO, None, "Alternate identifier urn:isbn:1"),
    ]


def test_state_goes_from_one_flowfile_to_the_next():
    runner = TestRunner(UpdateAttribute, COUNTING)
    for _ in range(3):
        runner.enqueue()
    runner.run()
    runner.enqueue()

    runner.run()

    counts = [one.attributes["count"] for one in runner.flowfiles("success")]
    assert counts == ["1", "2", "3", "4"]
    assert runner.state == {"count": "4"}


def test_state_survives_a_crash_together_with_its_flowfiles():
    runner = TestRunner(UpdateAttribute, COUNTING)
    for _ in range(3):
        runner.enqueue()
    runner.run()

    runner.crash()
    runner.enqueue()
    runner.run()

    counts = [one.attributes["count"] for one in runner.flowfiles("success")]
    assert counts == ["1", "2", "3", "4"]


def test_state_of_a_failed_flowfile_is_not_kept():
    properties = COUNTING | {"day": "${text:toDate('yyyy'):format('yyyy')}"}
    runner = TestRunner(UpdateAttribute, properties)
    for text in ("2024", "bad", "2025"):
        runner.enqueue(text=text)

    with pytest.raises(ExpressionError):
        runner.run()
    runner.run()

    assert [one.attributes["count"] for one in runner.flowfiles("success")] == ["1", "2"]
    assert runner.state["count"] == "2"
    assert runner.queued == 1


def test_value_that_would_not_fit_into_the_state_is_not_stored():
    runner = TestRunner(UpdateAttribute, COUNTING | {"long": "${text}"})
    runner.enqueue(text="x" * 70_000)
    runner.enqueue(text="short")

    runner.run()

    failed = runner.one("set state fail")
    assert failed.reason.message == (
        "The state would grow beyond 64 KB. Store fewer or shorter values"
    )
    assert "count" not in failed.attributes
    assert runner.one("success").attributes["count"] == "1"
    assert runner.state == {"count": "1", "long": "short"}


def test_state_needs_an_initial_value():
    runner = TestRunner(UpdateAttribute, {"Store State": "Store state locally"})

    message = (
        "property 'Stateful Variables Initial Value' is not set; it is required where state is "
        "stored, and may be an empty text"
    )
    assert runner.problems == [Problem("", message)]


def test_listed_attributes_become_json_in_their_order():
    runner = TestRunner(AttributesToJSON, {"Attributes List": "b, a,none"})
    runner.enqueue(b"content", a='say "x"', b="\u00e4", c="3")

    runner.run()

    result = runner.one("success")
    assert result.attributes["JSONAttributes"] == '{"b":"\u00e4","a":"say \\"x\\"","none":""}'
    assert result.content == b"content"


def test_absent_attribute_may_become_null():
    runner = TestRunner(AttributesToJSON, {"Attributes List": "none", "Null Value": "true"})
    runner.enqueue()

    runner.run()

    assert runner.one("success").attributes["JSONAttributes"] == '{"none":null}'


def test_attributes_are_chosen_by_name_and_by_expression():
    properties = {"Attributes List": "x", "Attributes Regular Expression": "a\\..+"}
    runner = TestRunner(AttributesToJSON, properties)
    runner.enqueue(b"", {"x": "0", "a.1": "1", "ba.1": "2"})

    runner.run()

    assert runner.one("success").attributes["JSONAttributes"] == '{"x":"0","a.1":"1"}'


@pytest.mark.parametrize("core", [True, False])
def test_core_attributes_are_included_unless_told_otherwise(core):
    runner = TestRunner(AttributesToJSON, {"Include Core Attributes": str(core).lower()})
    runner.enqueue(b"", {"a": "1", "mime.type": "text/plain"})

    runner.run()

    document = json.loads(runner.one("success").attributes["JSONAttributes"])
    expected = {"path", "filename", "uuid", "a", "mime.type"} if core else {"a"}
    assert set(document) == expected


def test_json_may_become_the_content():
    runner = TestRunner(AttributesToJSON, TO_CONTENT | {"Attributes List": "a"})
    runner.enqueue(b"before", a="1")

    runner.run()

    result = runner.one("success")
    assert result.content == b'{"a":"1"}'
    assert result.attributes["mime.type"] == "application/json"


def test_content_may_be_spread_over_lines():
    properties = TO_CONTENT | {"Attributes List": "a", "Pretty Print": "true"}
    runner = TestRunner(AttributesToJSON, properties)
    runner.enqueue(a="1")

    runner.run()

    assert runner.one("success").content == b'{\n  "a": "1"\n}'


def test_nested_json_becomes_part_of_the_structure():
    properties = {"Attributes List": "a,b,c", "JSON Handling Strategy": "NESTED"}
    runner = TestRunner(AttributesToJSON, properties)
    runner.enqueue(a=' {"x": [1]} ', b="[true]", c="{not closed")

    runner.run()

    document = json.loads(runner.one("success").attributes["JSONAttributes"])
    assert document == {"a": {"x": [1]}, "b": [True], "c": "{not closed"}


@pytest.mark.parametrize("value", ["{no json}", "[" * 100_000 + "]" * 100_000])
def test_value_that_only_looks_like_json_fails(value):
    runner = TestRunner(
        AttributesToJSON, TO_CONTENT | {"Attributes List": "a", "JSON Handling Strategy": "Nested"}
    )
    runner.enqueue(b"before", a=value)

    runner.run()

    failed = runner.one("failure")
    assert failed.content == b"before"
    assert failed.reason is not None
    runner.assert_empty("success")


def test_regular_expression_of_names_is_checked_when_it_is_set():
    (problem,) = TestRunner(AttributesToJSON, {"Attributes Regular Expression": "(a"}).problems

    assert problem.property == "Attributes Regular Expression"
    assert "is not a regular expression" in problem.message
