import logging

import pytest

from processors.log import PAYLOAD_BYTES_MAX, LogAttribute
from runtime.testing import TestRunner, check_processor

LOGGER = "levada.flow.LogAttribute"


def test_it_conforms() -> None:
    check_processor(LogAttribute)


def test_attributes_are_logged_line_by_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    runner = TestRunner(LogAttribute, {"Log Prefix": "from ${city}"})
    runner.enqueue(b"abc", city="Oslo", filename="a.txt")

    runner.run()

    assert runner.one("success").content == b"abc"
    text = caplog.messages[0]
    assert "Key: 'city'\n\tValue: 'Oslo'" in text
    assert "Key: 'fileSize'\n\tValue: '3'" in text
    rules = [line for line in text.splitlines() if line.startswith("-----")]
    assert len(rules) == 2
    assert len(rules[0]) == 50
    assert "-from Oslo-" in rules[0]


def test_a_single_line_holds_the_chosen_attributes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    runner = TestRunner(
        LogAttribute,
        {
            "Output Format": "Single Line",
            "Log FlowFile Properties": "false",
            "Attributes to Log": "city, country, secret",
            "Attributes to Log Regular Expression": "c.*|secret",
            "Attributes to Ignore": "secret",
            "Attributes to Ignore Regular Expression": "country",
        },
    )
    runner.enqueue(city="Oslo", country="Norway", secret="x", other="y")

    runner.run()

    assert caplog.messages[0].endswith("(0 bytes): {city=Oslo}")


def test_content_is_logged_up_to_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    runner = TestRunner(LogAttribute, {"Log Payload": "true", "Character Set": "${set}"})
    runner.enqueue(b"caf\xe9", set="ISO-8859-1")
    runner.enqueue(b"caf\xe9", set="no such one")
    runner.enqueue(b"x" * PAYLOAD_BYTES_MAX, set="UTF-8")

    runner.run()

    assert caplog.messages[0].endswith("\ncafé")
    assert caplog.messages[1].endswith("\ncaf\ufffd")
    assert caplog.messages[2].endswith("1 MB or more is not logged.")


def test_nothing_is_written_below_the_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    runner = TestRunner(LogAttribute, {"Log Level": "debug"})
    for number in range(1500):
        runner.enqueue(number=str(number))

    runner.run_until_idle()

    assert caplog.messages == []
    assert [
        flowfile.attributes["number"]
        for run in runner.outputs["success"].runs()
        for flowfile in run.flowfiles
    ] == [str(number) for number in range(1500)]


def test_an_unknown_character_set_is_refused() -> None:
    runner = TestRunner(LogAttribute, {"Character Set": "klingon"})

    assert [str(one) for one in runner.problems] == [
        "property 'Character Set' is 'klingon'; it must be a character set such as 'UTF-8', "
        "'ISO-8859-1' or 'UTF-16'"
    ]
