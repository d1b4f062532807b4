"""What is written about flows as text is true."""

import re
from pathlib import Path

import pytest

import runtime.flow_text
from runtime.flow_text import read_flow, write_flow
from runtime.flow_text.errors import CODES

DOCUMENT = Path(__file__).parents[3] / "docs" / "flow-text.md"
SNIPPETS = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("text", [*SNIPPETS, re.findall(
    r"```yaml\n(.*?)```", runtime.flow_text.__doc__ or "", re.DOTALL
)[0].replace("[count, ", "[route, ").replace("{merge:", "{flights:")])  # fmt: skip
def test_every_flow_that_is_shown_reads_and_is_written_back_as_it_is(text: str) -> None:
    reading = read_flow(text, file="flow.yaml", registry=None)

    assert reading.problems == []
    assert reading.model is not None
    assert write_flow(reading.model, registry=None, previous=text) == text
    again = read_flow(write_flow(reading.model, registry=None), file="x", registry=None)
    assert again.model is not None
    assert [one.name for one in again.model.root.processors] == [
        one.name for one in reading.model.root.processors
    ]


def test_the_table_of_codes_is_complete() -> None:
    table = re.findall(r"^\| (LV-\d{3}) \| (.*) \|$", DOCUMENT.read_text("utf-8"), re.MULTILINE)

    assert dict(table) == CODES
    assert len(SNIPPETS) == 5
