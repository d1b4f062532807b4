import json

import pytest

from processors.json_path import EvaluateJsonPath, SplitJson
from runtime.properties import Problem
from runtime.testing import TestRunner, check_processor

TO_ATTRIBUTE = {"Destination": "flowfile-attribute"}
DOCUMENT = {
    "a": {"b": [1, 2.5, None, "x", True, {"c": "\u00e4"}], "b-c": "dash"},
    "items": [{"price": 5, "name": "p"}, {"price": 15, "name": "q"}],
    "numbers": [1, 2, 3],
}
CONTENT = json.dumps(DOCUMENT).encode()


@pytest.mark.parametrize("declaration", [EvaluateJsonPath, SplitJson])
def test_processor_keeps_the_rules(declaration):
    check_processor(declaration)


def evaluate(properties, content=CONTENT):
    runner = TestRunner(EvaluateJsonPath, properties)
    assert runner.problems == []
    runner.enqueue(content)
    runner.run()
    return runner


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.a.b[0]", "1"),
        ("$.a.b[1]", "2.5"),
        ("$.a.b[2]", ""),
        ("$.a.b[3]", "x"),
        ("$.a.b[4]", "true"),
        ("$.a.b[-1].c", "\u00e4"),
        ("$['a']['b-c']", "dash"),
        ("a.b-c", "dash"),
        ("$.numbers.length()", "3"),
        ("$.items.size()", "2"),
        ("$.a.b[3].length()", "1"),
        ("$.numbers.min()", "1"),
        ("$.numbers.max()", "3"),
        ("$.numbers.sum()", "6"),
        ("$.numbers.avg()", "2.0"),
        ("$..price.max()", "15"),
        ("$.numbers.first()", "1"),
        ("$.numbers.last()", "3"),
        ("$.numbers.stddev()", "0.816496580927726"),
        ("$.none", ""),
        ("$.a.b[9]", ""),
        ("$.numbers.name", ""),
    ],
)
def test_path_sets_the_attribute_that_it_is_named_after(path, expected):
    result = evaluate(TO_ATTRIBUTE | {"found": path}).one("matched")

    assert result.attributes["found"] == expected
    assert result.content == CONTENT


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.a.b[5]", b'{"c":"\xc3\xa4"}'),
        ("$.items[?(@.price > 10)].name", b'["q"]'),
        ("$.items[*].price", b"[5,15]"),
        ("$..nothing", b"[]"),
        ("$.a.b[3]", b"x"),
        ("$.a.keys()", b'["b","b-c"]'),
    ],
)
def test_only_path_replaces_the_content(path, expected):
    assert evaluate({"any name": path}).one("matched").content == expected


def test_path_that_finds_nothing_for_the_content_is_unmatched():
    runner = evaluate({"x": "$.none"})

    assert runner.one("unmatched").content == CONTENT
    runner.assert_empty("matched", "failure")


def test_attribute_takes_single_values_unless_told_otherwise():
    runner = evaluate(TO_ATTRIBUTE | {"x": "$.numbers"})

    assert runner.one("failure").reason.message == (
        "JSONPath '$.numbers' finds an array; only single values are wanted. "
        "Set the Return Type to 'json', or make the path more exact"
    )
    result = evaluate(TO_ATTRIBUTE | {"x": "$.numbers", "Return Type": "json"}).one("matched")
    assert result.attributes["x"] == "[1,2,3]"


def test_content_takes_only_single_values_when_told_so():
    runner = evaluate({"x": "$.a", "Return Type": "scalar"})

    assert "finds an object" in runner.one("failure").reason.message


def test_null_may_be_written_out():
    properties = TO_ATTRIBUTE | {"Null Value Representation": "the string 'null'"}

    assert evaluate(properties | {"x": "$.a.b[2]"}).one("matched").attributes["x"] == "null"


def test_path_that_finds_nothing_may_set_no_attribute():
    properties = TO_ATTRIBUTE | {"Path Not Found Behavior": "skip", "x": "$.none"}
    result = evaluate(properties).one("matched")

    assert "x" not in result.attributes


def test_paths_that_find_nothing_may_give_one_warning_a_batch():
    properties = TO_ATTRIBUTE | {"Path Not Found Behavior": "warn", "x": "$.none"}
    runner = TestRunner(EvaluateJsonPath, properties)
    for _ in range(3):
        runner.enqueue(CONTENT)

    runner.run()

    (bulletin,) = runner.bulletins
    assert bulletin.level == "WARN"
    assert "JSONPath '$.none' found nothing in 3 flowfiles" in bulletin.message
    assert [one.attributes["x"] for one in runner.flowfiles("matched")] == ["", "", ""]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe\xfa", b"{} {}", b"NaN", b'{"a": 1e999}', b"[" * 100_000],
)
def test_content_that_is_not_json_fails(content):
    runner = evaluate(TO_ATTRIBUTE | {"x": "$.a"}, content)

    failed = runner.one("failure")
    assert failed.reason.message.startswith("The content is not JSON: ")
    assert failed.content == content


def test_null_document_fails():
    assert evaluate({"x": "$"}, b"null").one("failure").reason.message == (
        "The content is the JSON value null, in which there is nothing to find"
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_of_json_are_known(encoding):
    runner = evaluate(TO_ATTRIBUTE | {"x": "$.a"}, '{"a": "\u00e4"}'.encode(encoding))

    assert runner.one("matched").attributes["x"] == "\u00e4"


def test_too_long_a_text_fails():
    properties = TO_ATTRIBUTE | {"Max String Length": "10 B", "x": "$.a[0].b"}
    content = b'{"a": [{"b": "%s"}]}'

    assert evaluate(properties, content % (b"x" * 10)).one("matched").attributes["x"] == "x" * 10
    assert evaluate(properties, content % (b"x" * 11)).one("failure").reason.message == (
        "The content has a text of more than 10 bytes, the Max String Length"
    )


def test_bad_content_does_not_hold_up_its_batch():
    runner = TestRunner(EvaluateJsonPath, TO_ATTRIBUTE | {"n": "$.n"})
    for number in range(100):
        runner.enqueue(b'{"n": %d}' % number if number != 50 else b"no")

    runner.run()

    found = [one.attributes["n"] for one in runner.flowfiles("matched")]
    assert found == [str(number) for number in range(100) if number != 50]
    assert runner.one("failure").content == b"no"


def test_function_of_numbers_needs_numbers():
    runner = evaluate(TO_ATTRIBUTE | {"x": "$.a.sum()"})

    assert runner.one("failure").reason.message == (
        "The path ends in a function of numbers, and finds no list of numbers"
    )


def test_document_that_is_too_deep_for_a_search_fails():
    content = b'{"a":' * 300 + b"1" + b"}" * 300
    runner = evaluate({"x": "$..nothing"}, content)

    assert runner.one("failure").reason.message.startswith(
        "JSONPath '$..nothing' cannot be followed: "
    )


@pytest.mark.parametrize("path", ["$[", "$.a.unknown()", "$[?@.a =~ /(/]"])
def test_path_is_checked_when_it_is_set(path):
    (problem,) = TestRunner(EvaluateJsonPath, {"x": path}).problems
    assert problem.property == "x"
    assert problem.message.startswith(f"is '{path}', which is not a JSONPath: ")


def test_path_must_not_be_empty():

    (problem,) = TestRunner(EvaluateJsonPath, {"x": " "}).problems
    assert problem == Problem(
        "x", "is empty; it must be a JSONPath such as '$.name' or '$.items[0]'"
    )


@pytest.mark.parametrize(
    ("paths", "found"),
    [({}, "a JSONPath is not set"), ({"a": "$", "b": "$"}, "2 JSONPaths are set")],
)
def test_content_takes_exactly_one_path(paths, found):
    message = f"{found}; the destination 'flowfile-content' takes exactly one"

    assert TestRunner(EvaluateJsonPath, paths).problems == [Problem("", message)]


def test_elements_of_an_array_become_flowfiles():
    runner = TestRunner(SplitJson, {"JsonPath Expression": "$.a.b"})
    runner.enqueue(CONTENT, filename="a.json", other="kept")

    runner.run()

    splits = runner.flowfiles("split")
    assert [one.content for one in splits] == [
        b"1",
        b"2.5",
        b"",
        b"x",
        b"true",
        b'{"c":"\xc3\xa4"}',
    ]
    original = runner.one("original")
    for index, one in enumerate(splits):
        assert one.attributes["fragment.index"] == str(index)
        assert one.attributes["fragment.count"] == "6"
        assert one.attributes["segment.original.filename"] == "a.json"
        assert one.attributes["other"] == "kept"
        identifier = one.attributes["fragment.identifier"]
        assert identifier == original.attributes["fragment.identifier"]
    assert original.attributes["fragment.count"] == "6"


def test_path_that_finds_many_values_is_split_as_well():
    runner = TestRunner(SplitJson, {"JsonPath Expression": "$.items[*].name"})
    runner.enqueue(CONTENT)

    runner.run()

    assert [one.content for one in runner.flowfiles("split")] == [b"p", b"q"]


def test_empty_array_gives_no_fragments():
    runner = TestRunner(SplitJson, {"JsonPath Expression": "$"})
    runner.enqueue(b"[]")

    runner.run()

    runner.assert_empty("split", "failure")
    assert runner.one("original").attributes["fragment.count"] == "0"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("$.none", "JSONPath '$.none' finds nothing; it must find an array"),
        ("$.a", "JSONPath '$.a' finds an object; it must find an array"),
        ("$.a.b[0]", "JSONPath '$.a.b[0]' finds a single value; it must find an array"),
    ],
)
def test_what_is_no_array_cannot_be_split(path, message):
    runner = TestRunner(SplitJson, {"JsonPath Expression": path})
    runner.enqueue(CONTENT)

    runner.run()

    assert runner.one("failure").reason.message == message
    runner.assert_empty("split", "original")


def test_very_many_elements_are_made_in_several_commits_and_survive_a_crash():
    runner = TestRunner(SplitJson, {"JsonPath Expression": "$"})
    runner.enqueue(json.dumps(list(range(5000))).encode())
    runner.run()
    assert runner.queued == 1

    runner.crash()
    runner.run_until_idle()

    queue = runner.outputs["split"]
    found = [runner.read(one.claim) for run in queue.runs() for one in run.flowfiles]
    assert found == [str(number).encode() for number in range(5000)]
    assert len(runner.flowfiles("original")) == 1
