import pytest

from processors.text_extract import ExtractText
from runtime.testing import TestRunner, check_processor


def extract(properties, content):
    runner = TestRunner(ExtractText, properties)
    assert runner.problems == []
    runner.enqueue(content)
    runner.run()
    return runner


def found(properties, content):
    attributes = extract(properties, content).one("matched").attributes
    return {name: value for name, value in attributes.items() if name.startswith("x")}


def test_processor_keeps_the_rules():
    check_processor(ExtractText)


def test_groups_become_numbered_attributes_and_the_first_has_the_name():
    assert found({"x": "(a)(b)?(c)"}, b"1ac2") == {"x": "a", "x.0": "ac", "x.1": "a", "x.3": "c"}


def test_whole_match_can_be_left_out():
    assert found({"x": "(a)b", "Include Capture Group 0": "false"}, b"ab") == {"x": "a", "x.1": "a"}


def test_no_match_goes_to_unmatched_unchanged():
    runner = extract({"x": "(a)"}, b"b")

    assert runner.one("unmatched").content == b"b"
    runner.assert_empty("matched")


def test_one_match_of_several_patterns_is_enough():
    runner = extract({"x": "(a)", "y": "(b)"}, b"b")

    assert runner.one("matched").attributes["y"] == "b"


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_content_without_text_can_match_nothing(content):
    assert extract({"x": "(.+)"}, content).one("unmatched").content == content


def test_repeated_matches_number_their_groups_on():
    properties = {"x": "(.)=(.)", "Enable Repeating Capture Group": "true"}

    assert found(properties, b"a=1,b=2") == {
        "x": "a",
        "x.0": "a=1",
        "x.1": "a",
        "x.2": "1",
        "x.3": "b",
        "x.4": "2",
    }


def test_named_groups_name_attributes():
    properties = {
        "x": "(?<key>.)=(?<value>.)",
        "Enable Named Groups": "true",
        "Enable Repeating Capture Group": "true",
    }

    assert found(properties, b"a=1,b=2") == {
        "x": "a=1",
        "x.key": "a",
        "x.value": "1",
        "x.key.1": "b",
        "x.value.1": "2",
    }


def test_captured_text_is_cut():
    assert found({"x": "(a+)", "Maximum Capture Group Length": "3"}, b"aaaa")["x"] == "aaa"


def test_only_the_buffer_is_looked_at():
    assert found({"x": "(a+)", "Maximum Buffer Size": "2 B"}, b"aaaa")["x"] == "aa"


@pytest.mark.parametrize(
    ("option", "pattern", "content", "expected"),
    [
        ("Enable Case-insensitive Matching", "(abc)", "ABC", "ABC"),
        ("Permit Whitespace and Comments in Pattern", "(a b) # two letters", "ab", "ab"),
        ("Enable DOTALL Mode", "(a.b)", "a\nb", "a\nb"),
        ("Enable Multiline Mode", "^(b)$", "a\nb\nc", "b"),
        ("Enable Multiline Mode", "^(b.*)$", "a\r\nbc\r\nd", "bc"),
        ("Enable Unicode Predefined Character Classes", r"(\w+)", "\u00e4b", "\u00e4b"),
        ("Enable Unix Lines Mode", "(a.+)", "a\rb\n", "a\rb"),
        ("Enable Canonical Equivalence", "(\u00e4)", "a\u0308", "\u00e4"),
        ("Enable Unicode-aware Case Folding", "(a)", "a", "a"),
    ],
)
def test_option_changes_how_a_pattern_is_read(option, pattern, content, expected):
    assert found({"x": pattern, option: "true"}, content.encode())["x"] == expected
    without = extract({"x": pattern}, content.encode())
    if option != "Enable Unicode-aware Case Folding":
        assert [one.attributes["x"] for one in without.flowfiles("matched")] != [expected]


def test_pattern_may_be_literal():
    properties = {"x": "a.(b", "Enable Literal Parsing of the Pattern": "true"}

    assert found(properties, b"a.(b") == {"x.0": "a.(b"}
    assert extract(properties, b"axb").one("unmatched").content == b"axb"


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_end_of_the_text_is_before_its_last_line_end(end):
    assert found({"x": "^(.*)$"}, b"abc" + end) == {"x": "abc", "x.0": "abc", "x.1": "abc"}


def test_bytes_that_are_not_text_become_replacement_characters():
    assert found({"x": "(a.b)"}, b"a\xffb")["x"] == "a\ufffdb"


def test_character_set_is_honoured():
    assert found({"x": "(.)", "Character Set": "ISO-8859-1"}, b"\xe4")["x"] == "\u00e4"
    assert found({"x": "(.)", "Character Set": "UTF-16LE"}, b"\xe4\x00")["x"] == "\u00e4"


def test_large_batch_keeps_its_order():
    runner = TestRunner(ExtractText, {"x": r"(\d+)"})
    for number in range(100):
        runner.enqueue(b"%d" % number)

    runner.run()

    numbers = [int(one.attributes["x"]) for one in runner.flowfiles("matched")]
    assert numbers == list(range(100))


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        (
            {"x": "a", "Include Capture Group 0": "false"},
            "is 'a', which has 0 capturing groups; it must have 1 to 40",
        ),
        (
            {"x": "(a)" * 41},
            f"is '{'(a)' * 41}', which has 41 capturing groups; it must have 0 to 40",
        ),
        (
            {"x": "(a)(?<b>b)", "Enable Named Groups": "true"},
            "is '(a)(?<b>b)', which has 2 capturing groups, 1 of them named; "
            "with 'Enable Named Groups' all must be",
        ),
    ],
)
def test_groups_of_a_pattern_are_checked_when_it_is_set(properties, message):
    (problem,) = TestRunner(ExtractText, properties).problems

    assert (problem.property, problem.message) == ("x", message)


def test_pattern_is_checked_when_it_is_set():
    (problem,) = TestRunner(ExtractText, {"x": "(a"}).problems

    assert "is not a regular expression" in problem.message
