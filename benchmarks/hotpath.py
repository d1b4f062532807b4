"""The hot path: four hops in the real engine against the bare loop, side by side.

    python -m benchmarks.hotpath --json

Create (five attributes, 200-byte content), change one attribute, route by one comparison, drop;
a session takes at most n flowfiles, group commit and provenance on. The two contestants run in
turn, five times each; figures are medians.
"""

import argparse
import json
import statistics
import tempfile
import threading
from pathlib import Path

from benchmarks import bare_loop
from runtime.flowfile import FlowFile
from runtime.model import ConnectionModel, FlowModel, GroupModel, ProcessorModel, Schedule
from runtime.node import Node
from runtime.processor import Effects, Input, Processor, Relationship
from runtime.registry import Registry
from runtime.session import Session

BATCHES = (1, 10, 100, 1_000)


class Make(Processor):
    """Create flowfiles as fast as there is room."""

    input = Input.FORBIDDEN
    effects = Effects.PURE
    success = Relationship("Everything.")

    def start(self) -> None:
        """Begin to count."""
        self._number = 0

    def on_trigger(self, session: Session) -> None:
        number, batch = self._number, session.limit
        self._number += batch
        attributes = [bare_loop.attributes(one) for one in range(number, number + batch)]
        made = session.create_many(attributes, [bare_loop.CONTENT] * batch)
        session.transfer(made, self.success)


class Change(Processor):
    """Set one attribute."""

    effects = Effects.PURE
    success = Relationship("Everything.")

    def on_trigger(self, session: Session) -> None:
        session.transfer(session.put_all(session.take(), {"priority": "7"}), self.success)


class Route(Processor):
    """Route by one comparison."""

    effects = Effects.PURE
    matched = Relationship("Those of priority 7.")
    unmatched = Relationship("The others.")

    def on_trigger(self, session: Session) -> None:
        matched: list[FlowFile] = []
        unmatched: list[FlowFile] = []
        for flowfile in session.take():
            (matched if flowfile.attributes["priority"] == "7" else unmatched).append(flowfile)
        session.transfer(matched, self.matched)
        session.transfer(unmatched, self.unmatched)


class End(Processor):
    """Drop everything."""

    effects = Effects.PURE

    def on_trigger(self, session: Session) -> None:
        session.drop(session.take())


def flow(batch: int) -> FlowModel:
    """The four-hop flow at one batch size."""
    schedule = Schedule(batch_size=batch)
    names = (("make", "Make"), ("change", "Change"), ("route", "Route"), ("end", "End"))
    processors = tuple(
        ProcessorModel(id=id, name=name, type=type, schedule=schedule)
        for id, (name, type) in enumerate(names, 2)
    )
    connections = (
        ConnectionModel(id=10, source=2, destination=3, relationships=("success",)),
        ConnectionModel(id=11, source=3, destination=4, relationships=("success",)),
        ConnectionModel(id=12, source=4, destination=5, relationships=("matched",)),
        ConnectionModel(id=13, source=4, destination=5, relationships=("unmatched",)),
    )
    root = GroupModel(id=1, name="bench", processors=processors, connections=connections)
    return FlowModel(root=root, name="bench", next_id=20)


def run_engine(directory: Path, batch: int, seconds: float) -> float:
    """Return hops per second of the real engine."""
    registry = Registry([])
    registry.add(Make, Change, Route, End)
    node = Node(directory / "home", registry=registry)
    node.controller.edit(flow(batch), user="benchmark", note="")
    node.start()
    settle = threading.Event()
    settle.wait(0.2)
    before, began = node.engine.hops, node.clock.monotonic()
    settle.wait(seconds)
    after, ended = node.engine.hops, node.clock.monotonic()
    node.stop()
    return (after - before) / (ended - began)


def measure(batch: int, rounds: int, seconds: float) -> dict[str, float]:
    """Return medians for one batch size."""
    engine, bare, copies = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as directory:
            bare.append(bare_loop.run(Path(directory), batch, seconds))
            copies.append(bare_loop.copy_ratio(bare[-1]))
        with tempfile.TemporaryDirectory() as directory:
            engine.append(run_engine(Path(directory), batch, seconds))
    ratios = [one / other for one, other in zip(engine, bare, strict=True)]
    return {
        "engine": round(statistics.median(engine)),
        "bare": round(statistics.median(bare)),
        "ratio": round(statistics.median(ratios), 3),
        "bare_in_copies": round(statistics.median(copies), 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--batch", type=int, action="append")
    options = parser.parse_args()
    batches = options.batch or BATCHES
    found = {str(one): measure(one, options.rounds, options.seconds) for one in batches}
    if options.json:
        print(json.dumps({"batch": found}))
        return
    for batch, one in found.items():
        print(
            f"batch {batch:>5}: engine {one['engine']:>10,}  bare {one['bare']:>10,} hops/s  "
            f"ratio {one['ratio']:.2f}"
        )
    void = found.get("100", {}).get("bare_in_copies", 0) > bare_loop.COPY_LIMIT
    if void:
        print("void: the bare loop at batch 100 costs more than 3.5 dictionary copies a hop")


if __name__ == "__main__":
    main()
