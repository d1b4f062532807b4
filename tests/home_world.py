"""What the tests of a whole node share: a flow that ends by itself, and a home for it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.flow_home import FlowFile
from runtime.node import Node
from runtime.registry import Registry
from runtime.settings import Settings

EXTENSION = '''
"""A source that ends, and a step that can go wrong."""

from levada import Effects, Input, Processor, Properties, Property, Relationship, Session


class Number(Processor):
    """Create numbered flowfiles, once in a home's life."""

    class Properties(Properties):
        count: int = Property(3, ge=0, description="How many.")

    properties: Properties
    input = Input.FORBIDDEN
    effects = Effects.READS_OUTSIDE
    success = Relationship("All of them.")

    def on_trigger(self, session: Session) -> None:
        if not session.state:
            for number in range(self.properties.count):
                made = session.create({"number": str(number)}, content=b"content %d" % number)
                session.transfer(made, self.success)
            session.set_state({"done": "yes"})
            session.count("numbers", self.properties.count)
        self.context.exhausted()


class Judge(Processor):
    """Pass all on, but one."""

    class Properties(Properties):
        refused: str = Property("none", description="The number that goes to failure.")

    properties: Properties
    effects = Effects.PURE
    batch_size = 10
    success = Relationship("Passed.")
    failure = Relationship("Refused.")

    def on_trigger(self, session: Session) -> None:
        for flowfile in session.take():
            refused = flowfile.attributes["number"] == self.properties.refused
            session.transfer(flowfile, self.failure if refused else self.success)
'''

FLOW = """
levada: 1
name: numbers
flow:
  number:                # makes them
    type: Number
    to: judge
  judge:
    type: Judge
    to: {success: end, failure: hold}
"""


def make_home(path: Path, *, flow: str = FLOW) -> Path:
    """Put the extension into a home and `flow.yaml` beside it; return the flow's path."""
    (path / "extensions").mkdir(parents=True)
    (path / "extensions" / "numbers.py").write_text(EXTENSION)
    file = path.parent / "flow.yaml"
    file.write_text(flow)
    return file


def open_node(home: Path) -> Node:
    """Open a node on a home as a command does, with small log files."""
    registry = Registry(modules=["processors"], directories=[home / "extensions"])
    settings = Settings.model_validate({"log_file_size": "1 MB", "stop_timeout": 5})
    return Node(home, settings=settings, registry=registry)


@contextmanager
def running(home: Path, flow: Path | None = None) -> Iterator[Node]:
    """Open a node, adopt a flow, start it, and stop it in the end."""
    node = open_node(home)
    try:
        if flow is not None:
            FlowFile(node, flow).open()
        node.start()
        yield node
    finally:
        node.stop()


def ended(node: Node) -> int:
    """Return how many flowfiles ended."""
    return sum(one.statistics.totals.ended for one in node.engine.components.values())


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until a condition holds."""
    event = threading.Event()
    for _ in range(int(seconds * 200)):
        if condition():
            return
        event.wait(0.005)
    raise AssertionError(f"the condition did not hold within {seconds} s")
