"""Each rule of the conformance suite, kept by one class and broken by its neighbour."""

from collections.abc import Callable
from typing import Any

import pytest

from runtime.processor import Example, Input, Processor, Relationship
from runtime.properties import Properties, Property
from runtime.session import Session
from runtime.testing import check_processor


class Upper(Processor):
    """Write large."""

    class Properties(Properties):
        suffix: str = Property("", description="What comes at the end.")
        loud: bool = Property(False, description="Whether it shouts.")
        volume: int = Property(
            1, ge=1, depends_on={"Loud": ("true",)}, description="How loud it is."
        )

    success = Relationship("All.")
    writes = {"large": "Set to true."}
    example = Example(
        "Hello",
        properties={"Suffix": "!"},
        attributes={"filename": "a"},
        content=b"hello",
        expect_attributes={"large": "true"},
        expect_content=b"HELLO!",
    )

    def on_trigger(self, session: Session) -> None:
        for flowfile in session.take():
            content = session.read(flowfile).upper() + self.properties.suffix.encode()
            written = session.write(flowfile, content)
            session.transfer(session.put(written, {"large": "true"}), self.success)


def test_a_processor_that_keeps_the_rules_passes() -> None:
    check_processor(Upper)


def _made(**changes: Any) -> type[Processor]:
    name = changes.pop("name", "Changed")
    changes.setdefault("__doc__", "Write large.")
    return type(name, (Upper,), changes)


def _example(**changes: Any) -> Example:
    return Example("Other", content=b"hello", **changes)


class Undescribed(Upper.Properties):
    nameless: str = Property("")


class Stray(Upper.Properties):
    stray: str = Property("", depends_on={"Nothing": ()}, description="Depends on nothing.")


class BadDefault(Upper.Properties):
    count: int = Property(0, ge=1, description="How many.")


class Open(Properties):
    model_config = {**Properties.model_config, "extra": "ignore"}


def _drop(self: Processor, session: Session) -> None:
    session.drop(session.take())


def _fragile(self: Processor, session: Session) -> None:
    for flowfile in session.take():
        if "no one reads this" in session.attributes(flowfile):
            raise KeyError("no one reads this")
        session.transfer(flowfile, "success")


def _commits(self: Processor, session: Session) -> None:
    flowfiles = session.take()
    session.transfer(flowfiles, "success")
    session.commit()


BREACHES: list[tuple[Callable[[], type[Processor]], str]] = [
    (lambda: _made(name="lower_case"), "lower_case: its name must be CamelCase"),
    (
        lambda: _made(__doc__=None),
        "Changed: it needs a docstring; its first line is shown on the canvas",
    ),
    (
        lambda: _made(__doc__="Write large"),
        "Changed: the summary must end with a full stop: 'Write large'",
    ),
    (
        lambda: _made(__doc__="This processor writes large."),
        "Changed: the summary says what happens; it need not say 'this processor'",
    ),
    (
        lambda: _made(writes={"large": ""}),
        "Changed: attribute 'large' in writes has no description",
    ),
    (lambda: _made(reads={"small": ""}), "Changed: attribute 'small' in reads has no description"),
    (
        lambda: _made(Properties=Undescribed),
        "Changed: property 'Nameless' has no description; the form shows it",
    ),
    (lambda: _made(Properties=Stray), "Changed: 'Stray' depends on unknown 'Nothing'"),
    (
        lambda: _made(Properties=BadDefault),
        "Changed: its defaults do not validate: [Problem(property='Count', message=\"is '0'; it "
        'must be at least 1")]',
    ),
    (lambda: _made(Properties=Open), "Changed: an unknown property must be refused"),
    (
        lambda: _made(success=Relationship("")),
        "Changed: relationship 'success' has no description",
    ),
    (
        lambda: _made(other=Relationship("Bad.", name="hold")),
        "Changed: no relationship may be called 'hold'",
    ),
    (
        lambda: _made(example=_example(properties={"Volume": "x", "Loud": "true"})),
        "Changed: its example is not valid: [Problem(property='Volume', message=\"is 'x'; it must "
        'be a whole number")]',
    ),
    (lambda: _made(on_trigger=_drop), "Changed: its example gives nothing to 'success'"),
    (
        lambda: _made(example=_example(expect_attributes={"large": "no"})),
        "Changed: its example gives large='true', not 'no'",
    ),
    (
        lambda: _made(example=_example(expect_content=b"hello")),
        "Changed: its example gives b'HELLO', not b'hello'",
    ),
    (
        lambda: _made(on_trigger=_commits, example=_example()),
        "Changed: a roll-back must give back what was taken",
    ),
]


@pytest.mark.parametrize(("made", "words"), BREACHES, ids=[words for _, words in BREACHES])
def test_a_processor_that_breaks_a_rule_is_told_which(
    made: Callable[[], type[Processor]], words: str
) -> None:
    with pytest.raises(AssertionError) as raised:
        check_processor(made())
    assert str(raised.value).partition("\nassert ")[0] == words


def test_an_attribute_that_nobody_asked_for_must_not_disturb() -> None:
    with pytest.raises(KeyError, match="no one reads this"):
        check_processor(_made(on_trigger=_fragile, example=_example()))


def test_a_source_needs_no_input_for_its_example() -> None:
    def make(self: Processor, session: Session) -> None:
        session.transfer(session.create(content=b"made"), "success")

    check_processor(
        _made(
            input=Input.FORBIDDEN, on_trigger=make, example=_example(expect_content=b"made")
        )
    )


def test_a_source_that_makes_nothing_is_told_so() -> None:
    def idle(self: Processor, session: Session) -> None:
        """Do nothing."""

    with pytest.raises(AssertionError, match="its example gives nothing to 'success'"):
        check_processor(_made(input=Input.FORBIDDEN, on_trigger=idle, example=_example()))
