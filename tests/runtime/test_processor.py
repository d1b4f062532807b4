"""What a declaration says, and a function that becomes a processor."""

from collections.abc import Mapping

import pytest

from runtime.commit import EventType
from runtime.processor import Effects, Input, Processor, Relationship, own_relationships, transform
from runtime.testing import TestRunner


class First(Processor):
    """Has two ways out."""

    success = Relationship("Went well.")
    not_found = Relationship("Is not there.", name="not.found")


class Second(First):
    """Says something else about one, and adds another."""

    success = Relationship("Went very well.")
    other = Relationship("Something else.", ended=True)


@transform
def shout(content: bytes) -> bytes:
    """Upper-case the content."""
    return content.upper()


@transform(tags=["text", "count"])
def count_words(content: bytes, attributes: Mapping[str, str]) -> tuple[bytes, dict[str, str]]:
    """Count the words."""
    assert attributes["filename"]
    return content, {"words": str(len(content.split()))}


@transform
def parse_number(content: bytes) -> bytes:
    return b"%d" % int(content)


def test_a_relationship_goes_by_its_attribute_or_by_its_own_name() -> None:
    assert [one.name for one in own_relationships(First)] == ["success", "not.found"]


def test_a_subclass_keeps_the_ways_out_and_their_order() -> None:
    found = own_relationships(Second)

    assert [one.name for one in found] == ["success", "not.found", "other"]
    assert [one.description for one in found][0] == "Went very well."
    assert [one.ended for one in found] == [False, False, True]
    assert Second.relationships(None) == found


def test_a_way_out_may_have_the_empty_name() -> None:
    class Port(Processor):
        out = Relationship("Everything.", name="")

    assert [one.name for one in own_relationships(Port)] == [""]


def test_effects_are_careful_unless_declared() -> None:
    assert First.effects_of(None) is Effects.WRITES_OUTSIDE
    assert First.input is Input.REQUIRED


def test_a_processor_without_work_says_what_it_lacks() -> None:
    runner = TestRunner(First)
    runner.enqueue(b"x")

    with pytest.raises(TypeError, match="^First has no on_trigger method; it needs one$"):
        runner.run()


def test_a_function_becomes_a_pure_processor_with_its_name_and_words() -> None:
    assert (shout.__name__, shout.__doc__) == ("Shout", "Upper-case the content.")
    assert (count_words.__name__, count_words.tags) == ("CountWords", ("text", "count"))
    assert shout.effects is Effects.PURE and shout.__module__ == __name__
    assert [one.name for one in own_relationships(shout)] == ["success", "failure"]


def test_a_function_gives_new_content() -> None:
    runner = TestRunner(shout)
    runner.enqueue(b"hello", {"a": "1"})
    runner.run()

    result = runner.one("success")

    assert (result.content, result.attributes["a"]) == (b"HELLO", "1")


def test_a_function_gives_attributes_and_leaves_the_content_alone() -> None:
    runner = TestRunner(count_words)
    given = runner.enqueue(b"one two three")
    runner.run()

    result = runner.one("success")

    assert result.attributes["words"] == "3"
    assert result.flowfile.claim == given.claim


def test_an_exception_of_a_function_is_the_reason_of_a_failure() -> None:
    runner = TestRunner(parse_number)
    runner.enqueue(b"seven")
    runner.enqueue(b"007")
    runner.run()

    failed = runner.one("failure")

    assert failed.content == b"seven"
    assert failed.reason is not None and failed.reason.kind == "ValueError"
    assert "b'seven'" in failed.reason.message
    assert runner.one("success").content == b"7"
    assert EventType.SEND not in {event for event, _, _ in runner.reported}
