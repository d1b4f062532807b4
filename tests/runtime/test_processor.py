"""What an author writes against: relationships, and functions as processors."""

from collections.abc import Mapping

import pytest

from runtime.processor import (
    Effects,
    Input,
    Processor,
    Relationship,
    own_relationships,
    transform,
)
from runtime.testing import TestRunner


class Parent(Processor):
    """Has two ways out."""

    success = Relationship("All.")
    not_found = Relationship("None.", name="not.found")


class Child(Parent):
    """Says something else of one of them, and adds one."""

    success = Relationship("Better.", ended=True)
    other = Relationship("Others.")


def test_a_relationship_takes_the_name_of_its_attribute_unless_it_has_one() -> None:
    assert [one.name for one in own_relationships(Parent)] == ["success", "not.found"]
    assert repr(Parent.success) == "Relationship('success')"


def test_an_empty_name_is_a_name() -> None:
    class Port(Processor):
        """Has one way out without a name."""

        out = Relationship("All.", name="")

    assert [one.name for one in own_relationships(Port)] == [""]


def test_a_subclass_changes_and_adds_relationships_in_their_order() -> None:
    found = own_relationships(Child)
    assert [(one.name, one.description, one.ended) for one in found] == [
        ("success", "Better.", True),
        ("not.found", "None.", False),
        ("other", "Others.", False),
    ]
    assert Child.relationships(None) == found
    assert Child.effects_of(None) is Effects.WRITES_OUTSIDE


@transform(tags=["text"])  # type: ignore[untyped-decorator]  # what it makes is a class
def upper_case(content: bytes) -> bytes:
    """Write large."""
    return content.upper()


@transform
def note_sizes(content: bytes, attributes: Mapping[str, str]) -> tuple[bytes, dict[str, str]]:
    """Note the size."""
    return content, {"size": str(len(content)), "was": attributes["filename"]}


@transform
def parse(content: bytes) -> bytes:
    """Take a number apart."""
    return b"%d" % int(content)


RETURNED: dict[bytes, object] = {
    b"nothing": None,
    b"text": "text",
    b"pair": ("text", {}),
    b"odd": (b"a", {}, 1),
    b"something": b"something else",
}


@transform
def forgets(content: bytes) -> object:
    """Return what it should not."""
    return RETURNED[content]


def test_a_function_becomes_a_processor_of_its_name() -> None:
    assert (upper_case.__name__, upper_case.__doc__) == ("UpperCase", "Write large.")
    assert (upper_case.tags, upper_case.input) == (("text",), Input.REQUIRED)
    assert upper_case.effects is Effects.PURE
    assert upper_case.__module__ == __name__
    assert [one.name for one in own_relationships(upper_case)] == ["success", "failure"]


def test_a_function_transforms_the_content() -> None:
    runner = TestRunner(upper_case)
    runner.enqueue(b"hello", {"a": "1"})
    runner.run()

    found = runner.one("success")
    assert (found.content, found.attributes["a"]) == (b"HELLO", "1")
    runner.assert_empty("failure")


def test_a_function_changes_attributes_and_keeps_a_content_that_it_returns() -> None:
    runner = TestRunner(note_sizes)
    before = runner.enqueue(b"hello", filename="a.txt")
    runner.run()

    found = runner.one("success")
    assert (found.attributes["size"], found.attributes["was"]) == ("5", "a.txt")
    assert found.flowfile.claim == before.claim, "nothing was written again"


def test_an_exception_sends_just_that_flowfile_to_failure_with_its_reason() -> None:
    runner = TestRunner(parse)
    for content in (b"1", b"two", b"3"):
        runner.enqueue(content)
    runner.run()

    assert [one.content for one in runner.flowfiles("success")] == [b"1", b"3"]
    failed = runner.one("failure")
    assert failed.content == b"two"
    assert failed.reason is not None
    assert "invalid literal for int()" in failed.reason.message


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"nothing", "None"),
        (b"text", "a value of type str"),
        (b"pair", "(a value of type str, a value of type dict)"),
        (b"odd", "(a value of type bytes, a value of type dict, a value of type int)"),
    ],
)
def test_a_function_that_returns_no_bytes_is_told_what_it_returned(
    content: bytes, kind: str
) -> None:
    runner = TestRunner(forgets)
    runner.enqueue(content)
    runner.enqueue(b"something")
    runner.run()

    failed = runner.one("failure")
    assert failed.reason is not None
    assert failed.reason.message == (
        f"forgets returns {kind}; it must return bytes, or bytes and a mapping of changed "
        "attributes"
    )
    assert runner.one("success").content == b"something else"


def test_a_processor_needs_a_trigger() -> None:
    runner = TestRunner(Parent)
    runner.enqueue(b"x")
    with pytest.raises(TypeError) as raised:
        runner.run()
    assert str(raised.value) == "Parent has no on_trigger method; it needs one"
    assert runner.queued == 1
