from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from runtime.clock import ManualClock
from runtime.expression import Environment, compile_expression
from runtime.flowfile import FlowFile, Identity

Evaluate = Callable[..., Any]


@pytest.fixture(scope="session")
def environment() -> Environment:
    return Environment(
        identity=Identity(0x123456789ABC),
        parameters={"speed": "3600", "Date Format": "yyyy", "template": "<${name}>"},
        variables={"HOME_CITY": "Oslo", "name": "from the environment"},
        state={"count": "41"}.get,
        clock=ManualClock(1_700_000_000.5),
        timezone=ZoneInfo("UTC"),
        host_name=lambda: "node",
        full_host_name=lambda: "node.example",
        address=lambda: "10.0.0.1",
    )


@pytest.fixture(scope="session")
def value(environment: Environment) -> Evaluate:
    """Evaluate a text on a flowfile with the given attributes; the typed result."""

    def evaluate(text: str, /, **attributes: str) -> Any:
        flowfile = FlowFile(7, attributes, None, 1000, 2000, 30)
        return compile_expression(text, environment).value(flowfile)

    return evaluate
