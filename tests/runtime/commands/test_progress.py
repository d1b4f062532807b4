"""The line that tells what flows."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.commands.progress import Progress, progress_line
from runtime.flow_home import FlowFile
from runtime.node import Node
from runtime.status import Totals
from tests.home_world import ended, make_home, open_node, wait_until

NOTHING = Totals(0, 0, 0, 0, 0, 0, 0, 0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    flow = make_home(tmp_path / "home")
    node = open_node(tmp_path / "home")
    FlowFile(node, flow).open()
    yield node
    node.stop()


def flowed(node: Node) -> None:
    node.start()
    wait_until(lambda: ended(node) == 3 and node.engine.counters)


def test_a_line_tells_totals_and_the_rate_since_the_last() -> None:
    now = Totals(12_345, 12_000, 0, 30_000, 0, 345, 0, 0)

    assert progress_line(NOTHING, now, 2.0) == "in 12,345  out 12,000  queued 345  15,000 hops/s"


def test_errors_stand_there_only_when_there_are_any() -> None:
    now = Totals(0, 0, 0, 0, 1_000, 0, 0, 0)

    assert progress_line(NOTHING, now, 1.0) == "in 0  out 0  queued 0  0 hops/s  errors 1,000"


def test_lines_stand_below_each_other_where_nobody_sees_a_terminal(node: Node) -> None:
    stream = io.StringIO()
    progress = Progress(node, stream)

    progress.show()
    flowed(node)
    progress.show()
    progress.end()

    first, second, rest = stream.getvalue().split("\n")
    assert first == "in 0  out 0  queued 0  0 hops/s"
    assert second.startswith("in 3  out 3  queued 0  ") and second.endswith("hops/s  numbers 3")
    assert rest == ""


def test_a_terminal_keeps_one_line_and_covers_a_longer_one(node: Node) -> None:
    flowed(node)
    stream = Terminal()
    progress = Progress(node, stream)

    progress.show()
    node.engine.counters.clear()
    progress.show()
    progress.end()

    _, first, second = stream.getvalue().split("\r")
    assert first.endswith("hops/s  numbers 3")
    assert second.rstrip("\n").endswith("hops/s           ")
    assert len(second.rstrip("\n")) == len(first)
    assert second.endswith("\n") and "\n" not in first


def test_a_line_that_was_never_begun_is_not_left(node: Node) -> None:
    stream = Terminal()

    Progress(node, stream).end()

    assert stream.getvalue() == ""
