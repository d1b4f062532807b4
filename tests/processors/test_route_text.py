import pytest

from processors.route_text import RouteText
from processors.text_lines import BLOCK_BYTES
from runtime.expression import ExpressionError
from runtime.properties import Problem
from runtime.testing import TestRunner, check_processor


def route(properties, content, **attributes):
    runner = TestRunner(RouteText, properties)
    assert runner.problems == []
    runner.enqueue(content, attributes)
    runner.run()
    return runner


def by(strategy, **more):
    return {"Matching Strategy": strategy} | more


def test_processor_keeps_the_rules():
    check_processor(RouteText)


@pytest.mark.parametrize(
    ("strategy", "value", "expected"),
    [
        ("Starts With", "ab", b"abc\n"),
        ("Ends With", "bc", b"abc\n bc\n"),
        ("Contains", "b", b"abc\n bc\n"),
        ("Equals", "abc", b"abc\n"),
        ("Matches Regular Expression", ".b?c", b" bc\n"),
        ("Contains Regular Expression", "^.b", b"abc\n"),
        ("Satisfies Expression", "${line:startsWith('a'):and(${lineNo:equals(1)})}", b"abc\n"),
    ],
)
def test_line_goes_where_it_matches(strategy, value, expected):
    properties = by(strategy, x=value, **{"Ignore Leading/Trailing Whitespace": "true"})
    if strategy == "Matches Regular Expression":
        properties["x"] = "b?c"
    runner = route(properties, b"abc\n bc\nx", other="kept")

    matched = runner.one("x")
    assert matched.content == expected
    assert matched.attributes["RouteText.Route"] == "x"
    assert matched.attributes["other"] == "kept"
    assert "RouteText.Group" not in matched.attributes
    assert runner.one("unmatched").attributes["RouteText.Route"] == "unmatched"
    original = runner.one("original")
    assert original.content == b"abc\n bc\nx"
    assert original.attributes["RouteText.Route"] == "original"


def test_white_space_may_count():
    properties = by("Starts With", x=" ", **{"Ignore Leading/Trailing Whitespace": "false"})

    assert route(properties, b" a\r\nb\r\n").one("x").content == b" a\r\n"


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_line_end_is_never_compared(end):
    for trim in ("true", "false"):
        properties = by("Equals", x="a", **{"Ignore Leading/Trailing Whitespace": trim})

        assert route(properties, f"a{end}b{end}".encode()).one("x").content == f"a{end}".encode()


@pytest.mark.parametrize("strategy", ["Equals", "Starts With", "Matches Regular Expression"])
def test_case_may_be_ignored(strategy):
    properties = by(strategy, x="AbC", **{"Ignore Case": "true"})

    assert route(properties, b"aBc\nx").one("x").content == b"aBc\n"


def test_line_goes_to_every_property_that_it_matches():
    runner = route(by("Contains", a="a", b="b", c="c"), b"ab\nb\n")

    assert runner.one("a").content == b"ab\n"
    assert runner.one("b").content == b"ab\nb\n"
    runner.assert_empty("c", "unmatched")


@pytest.mark.parametrize(
    ("routing", "matched", "unmatched"),
    [
        ("Route to 'matched' if line matches all conditions", b"ab\n", b"b\nc\n"),
        ("Route to 'matched' if lines matches any condition", b"ab\nb\n", b"c\n"),
    ],
)
def test_one_relationship_takes_what_matches_all_or_any(routing, matched, unmatched):
    properties = by("Contains", a="a", b="b", **{"Routing Strategy": routing})
    runner = route(properties, b"ab\nb\nc\n")

    assert runner.one("matched").content == matched
    assert runner.one("unmatched").content == unmatched


def test_values_may_depend_on_the_flowfile():
    assert route(by("Equals", x="${wanted}"), b"a\nb\n", wanted="b").one("x").content == b"b\n"


def test_lines_of_one_group_go_to_one_flowfile():
    properties = by("Contains", x="", **{"Grouping Regular Expression": "(.)(.)?,.*"})
    properties["x"] = "1"
    runner = route(properties, b"a,1\nb,1\na,1\ncd,1\n1\n2\n")

    groups = {one.attributes["RouteText.Group"]: one.content for one in runner.flowfiles("x")}
    assert groups == {"a, ": b"a,1\na,1\n", "b, ": b"b,1\n", "c, d": b"cd,1\n", "": b"1\n"}
    assert runner.one("unmatched").content == b"2\n"


def test_empty_content_has_no_lines():
    runner = route(by("Contains", x="a"), b"")

    runner.assert_empty("x", "unmatched")
    assert runner.one("original").content == b""


def test_bytes_that_are_not_text_stay_as_they_are():
    runner = route(by("Contains", x="a"), b"\xffa\n\xfe\n")

    assert runner.one("x").content == b"\xffa\n"
    assert runner.one("unmatched").content == b"\xfe\n"


def test_character_set_is_honoured():
    properties = by("Contains", x="\u00e4", **{"Character Set": "UTF-16LE"})
    runner = route(properties, "a\n\u00e4\n".encode("utf-16-le"))

    assert runner.one("x").content == "\u00e4\n".encode("utf-16-le")
    assert runner.one("unmatched").content == "a\n".encode("utf-16-le")


def test_large_content_is_routed_like_a_small_one():
    lines = [b"%d " % (number % 3) + b"x" * 1000 + b"\n" for number in range(BLOCK_BYTES // 250)]
    runner = route(by("Starts With", zero="0", one="1"), b"".join(lines))

    for index, name in enumerate(("zero", "one", "unmatched")):
        assert runner.one(name).content == b"".join(lines[index::3])


def test_gathered_lines_move_into_the_store_before_they_are_too_many(monkeypatch):
    monkeypatch.setattr("processors.route_text.GATHERED_BYTES_MAX", 10)
    properties = by("Contains", x="a", **{"Grouping Regular Expression": "(.).*"})
    runner = route(properties, b"1a\n2a\n1a\n2a\n1a\n2a\n")

    assert sorted(one.content for one in runner.flowfiles("x")) == [b"1a\n" * 3, b"2a\n" * 3]


def test_flowfile_on_which_an_expression_fails_waits_alone():
    properties = by("Satisfies Expression", x="${line:toDate('yyyy'):toNumber():gt(0)}")
    runner = TestRunner(RouteText, properties)
    for content in (b"2024\n", b"none\n", b"2025\n"):
        runner.enqueue(content)

    with pytest.raises(ExpressionError):
        runner.run()
    runner.run()

    assert [one.content for one in runner.flowfiles("x")] == [b"2024\n", b"2025\n"]
    assert runner.queued == 1


@pytest.mark.parametrize(
    ("properties", "problem"),
    [
        (
            by("Contains"),
            Problem(
                "",
                "a condition is not set; add a property whose name is the relationship and "
                "whose value is what to compare lines with",
            ),
        ),
        (
            by("Contains", x=""),
            Problem("x", "is empty; it must have something to compare lines with"),
        ),
        (
            by("Contains", original="x"),
            Problem(
                "",
                "property 'original' has the name of a relationship that exists already; "
                "choose another name",
            ),
        ),
        (
            by("Contains", x="x", **{"Grouping Regular Expression": "a"}),
            Problem(
                "Grouping Regular Expression",
                "is 'a', which has no capturing group; it must have at least one",
            ),
        ),
        ({"x": "a"}, Problem("Matching Strategy", "is not set; it is required")),
    ],
)
def test_settings_are_checked(properties, problem):
    assert TestRunner(RouteText, properties).problems == [problem]


@pytest.mark.parametrize(
    ("strategy", "value", "message"),
    [
        ("Satisfies Expression", "${line:length()}", "must be true or false"),
        ("Matches Regular Expression", "(a", "is not a regular expression"),
    ],
)
def test_condition_is_checked_under_its_strategy(strategy, value, message):
    (problem,) = TestRunner(RouteText, by(strategy, x=value)).problems

    assert problem.property == "x"
    assert message in problem.message
    assert TestRunner(RouteText, by("Contains", x=value)).problems == []
