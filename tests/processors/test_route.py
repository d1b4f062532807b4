import pytest

from processors.route import RouteOnAttribute, RouteOnContent
from runtime.expression import ExpressionError
from runtime.properties import Problem
from runtime.testing import TestRunner, check_processor

ALL = {"Routing Strategy": "Route to 'match' if all match"}
ANY = {"Routing Strategy": "Route to 'match' if any matches"}


@pytest.mark.parametrize("declaration", [RouteOnAttribute, RouteOnContent])
def test_processor_keeps_the_rules(declaration):
    check_processor(declaration)


def test_flowfile_goes_to_the_property_whose_condition_it_meets():
    runner = TestRunner(RouteOnAttribute, {"late": "${delay:gt(15)}"})
    runner.enqueue(b"content", delay="20")
    runner.enqueue(delay="10")

    runner.run()

    late = runner.one("late")
    assert late.content == b"content"
    assert late.attributes["RouteOnAttribute.Route"] == "late"
    assert runner.one("unmatched").attributes["RouteOnAttribute.Route"] == "unmatched"


def test_flowfile_that_meets_several_conditions_goes_to_the_first_and_clones_to_the_others():
    runner = TestRunner(
        RouteOnAttribute,
        {"late": "${delay:gt(15)}", "very late": "${delay:gt(60)}", "early": "${delay:lt(0)}"},
    )
    flowfile = runner.enqueue(b"content", delay="90")

    runner.run()

    runner.assert_empty("early", "unmatched")
    assert runner.one("late").flowfile.id == flowfile.id
    clone = runner.one("very late")
    assert clone.flowfile.id != flowfile.id
    assert clone.content == b"content"
    assert clone.attributes["RouteOnAttribute.Route"] == "very late"


@pytest.mark.parametrize(
    ("strategy", "delay", "carrier", "expected"),
    [
        (ALL, "20", "TP", "matched"),
        (ALL, "20", "UA", "unmatched"),
        (ANY, "20", "UA", "matched"),
        (ANY, "10", "UA", "unmatched"),
    ],
)
def test_one_relationship_takes_what_meets_all_or_any_condition(strategy, delay, carrier, expected):
    conditions = {"a": "${delay:gt(15)}", "b": "${carrier:equals('TP')}"}
    runner = TestRunner(RouteOnAttribute, strategy | conditions)
    runner.enqueue(delay=delay, carrier=carrier)

    runner.run()

    assert runner.one(expected).attributes["RouteOnAttribute.Route"] == expected


def test_without_conditions_all_are_met_and_none_is():
    for strategy, expected in (({}, "unmatched"), (ALL, "matched"), (ANY, "unmatched")):
        runner = TestRunner(RouteOnAttribute, strategy)
        runner.enqueue()

        runner.run()

        assert len(runner.flowfiles(expected)) == 1


def test_title_of_a_strategy_means_its_value():
    runner = TestRunner(RouteOnAttribute, {"Routing Strategy": "Route to 'matched' if all match"})

    assert runner.problems == []


def test_condition_must_be_true_or_false():
    runner = TestRunner(RouteOnAttribute, {"big": "${filename:length()}"})

    (problem,) = runner.problems
    assert problem.property == "big"
    assert "must be true or false" in problem.message


@pytest.mark.parametrize("declaration", [RouteOnAttribute, RouteOnContent])
def test_property_must_not_have_the_name_of_a_relationship(declaration):
    runner = TestRunner(declaration, {"unmatched": "${a:isNull()}"})

    message = (
        "property 'unmatched' has the name of a relationship that exists already; "
        "choose another name"
    )
    assert runner.problems == [Problem("", message)]


def test_name_of_a_relationship_is_free_where_properties_make_none():
    assert TestRunner(RouteOnAttribute, ALL | {"unmatched": "${a:isNull()}"}).problems == []


def test_large_batch_is_one_commit_and_keeps_its_order():
    runner = TestRunner(RouteOnAttribute, {"even": "${n:mod(2):equals(0)}"})
    for number in range(1000):
        runner.enqueue(n=str(number))
    before = len(runner.commits)

    runner.run()

    assert len(runner.commits) == before + 1
    (run,) = runner.outputs["even"].runs()
    assert [int(one.attributes["n"]) for one in run.flowfiles] == list(range(0, 1000, 2))
    assert runner.outputs["unmatched"].count == 500


def test_flowfile_on_which_a_condition_fails_waits_alone():
    runner = TestRunner(RouteOnAttribute, {"new": "${day:toDate('yyyy-MM-dd'):toNumber():gt(0)}"})
    for day in ("2024-01-01", "no day", "2024-01-02"):
        runner.enqueue(day=day)

    with pytest.raises(ExpressionError):
        runner.run()
    runner.run()

    assert [one.attributes["day"] for one in runner.flowfiles("new")] == [
        "2024-01-01",
        "2024-01-02",
    ]
    assert runner.queued == 1


def test_content_must_match_as_a_whole_unless_told_otherwise():
    runner = TestRunner(RouteOnContent, {"digits": r"\d+"})
    for content in (b"123", b"a123", b""):
        runner.enqueue(content)

    runner.run()

    assert runner.one("digits").content == b"123"
    assert [one.content for one in runner.flowfiles("unmatched")] == [b"a123", b""]


def test_content_may_contain_several_matches():
    properties = {
        "Match Requirement": "content must contain match",
        "digits": r"\d",
        "letters": "[a-z]",
    }
    runner = TestRunner(RouteOnContent, properties)
    runner.enqueue(b"a1")

    runner.run()

    assert runner.one("digits").attributes["RouteOnContent.Route"] == "digits"
    assert runner.one("letters").content == b"a1"
    runner.assert_empty("unmatched")


def test_values_of_expressions_stand_for_themselves_in_a_pattern():
    runner = TestRunner(RouteOnContent, {"same": r"${wanted}\d"})
    runner.enqueue(b"a.c1", wanted="a.c")
    runner.enqueue(b"abc1", wanted="a.c")

    runner.run()

    assert runner.one("same").content == b"a.c1"


def test_only_the_buffer_is_looked_at():
    properties = {"Content Buffer Size": "4 B", "Match Requirement": "content must contain match"}
    runner = TestRunner(RouteOnContent, properties | {"b": "b"})
    runner.enqueue(b"aaaab")
    runner.enqueue(b"aaab")

    runner.run()

    assert runner.one("b").content == b"aaab"


def test_bytes_that_are_not_text_do_not_disturb_a_match():
    runner = TestRunner(
        RouteOnContent, {"Match Requirement": "content must contain match", "x": "x$"}
    )
    runner.enqueue(b"\xff\xfe\x80x\n")

    runner.run()

    assert runner.one("x").content == b"\xff\xfe\x80x\n"


def test_pattern_is_checked_when_it_is_set():
    (problem,) = TestRunner(RouteOnContent, {"open": "(a"}).problems

    assert problem.property == "open"
    assert "is not a regular expression" in problem.message


def test_unknown_character_set_is_refused():
    (problem,) = TestRunner(RouteOnContent, {"Character Set": "rot13"}).problems

    assert problem.property == "Character Set"
    assert "it must be a character set" in problem.message
