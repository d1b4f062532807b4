"""Latency of a single flowfile through an idle flow of four pure steps.

    python -m benchmarks.latency --json

A source is woken, creates one flowfile, four steps each change an attribute, the last drops it.
Between two flowfiles the node is idle. Milliseconds from the wake to the last step.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path

from runtime.model import ConnectionModel, FlowModel, GroupModel, ProcessorModel
from runtime.node import Node
from runtime.processor import Effects, Input, Processor, Relationship
from runtime.registry import Registry
from runtime.session import Session

STEPS = 4
PAUSE_SECONDS = 0.02


class Ask(Processor):
    """Create one flowfile each time it is woken."""

    input = Input.FORBIDDEN
    effects = Effects.PURE
    success = Relationship("The flowfile.")
    asked = 0

    def on_trigger(self, session: Session) -> None:
        if self.asked:
            self.asked -= 1
            session.transfer(session.create({"step": "0"}), self.success)
        self.context.exhausted()


class Step(Processor):
    """Change one attribute."""

    effects = Effects.PURE
    success = Relationship("The flowfile.")

    def on_trigger(self, session: Session) -> None:
        for flowfile in session.take():
            session.transfer(session.put(flowfile, {"step": "1"}), self.success)


class Last(Processor):
    """Drop it and tell."""

    effects = Effects.PURE
    arrived = threading.Event()

    def on_trigger(self, session: Session) -> None:
        session.drop(session.take())
        self.arrived.set()


def flow() -> FlowModel:
    """Ask, four steps, last."""
    types = ["Ask", *["Step"] * STEPS, "Last"]
    processors = tuple(
        ProcessorModel(id=id, name=f"{type} {id}", type=type) for id, type in enumerate(types, 2)
    )
    connections = tuple(
        ConnectionModel(id=20 + id, source=id, destination=id + 1, relationships=("success",))
        for id in range(2, 2 + len(types) - 1)
    )
    root = GroupModel(id=1, name="latency", processors=processors, connections=connections)
    return FlowModel(root=root, name="latency", next_id=50)


def measure(count: int) -> list[float]:
    """Return the latencies of `count` flowfiles, in milliseconds."""
    registry = Registry([])
    registry.add(Ask, Step, Last)
    with tempfile.TemporaryDirectory() as directory:
        node = Node(Path(directory) / "home", registry=registry)
        node.controller.edit(flow(), user="benchmark", note="")
        node.start()
        ask = node.engine.components[2].instance
        assert isinstance(ask, Ask)
        pause = threading.Event()
        found = []
        for _ in range(count):
            pause.wait(PAUSE_SECONDS)
            Last.arrived.clear()
            ask.asked += 1
            started = time.perf_counter()
            ask.context.wake()
            if not Last.arrived.wait(5):
                raise RuntimeError("The flowfile did not arrive within 5 seconds")
            found.append((time.perf_counter() - started) * 1000)
        node.stop()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--count", type=int, default=500)
    options = parser.parse_args()
    found = sorted(measure(options.count))
    figures = {
        "p50_ms": round(statistics.median(found), 3),
        "p99_ms": round(found[int(len(found) * 0.99)], 3),
    }
    print(json.dumps(figures) if options.json else f"{STEPS} steps: {figures}")


if __name__ == "__main__":
    main()
