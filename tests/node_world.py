"""A whole node with threads, on a disk in memory, and processors that a test opens and closes."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtime.memory_disk import MemoryDisk
from runtime.model import (
    ConnectionModel,
    FlowModel,
    GroupModel,
    ProcessorModel,
    ServiceModel,
)
from runtime.node import Node
from runtime.processor import ControllerService, Effects, Input, Processor, Relationship
from runtime.registry import Registry
from runtime.session import Session
from runtime.settings import Settings

END = ("success", "failure")


def wait_until(condition: Callable[[], object], what: str = "", seconds: float = 10.0) -> None:
    """Return when the condition holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or condition}"
        pause.wait(0.002)


class Gate:
    """What a test shares with its processors: doors that it opens, and what went through."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        self.seen: list[str] = []
        self.lock = threading.Lock()

    def note(self, word: str) -> None:
        with self.lock:
            self.seen.append(word)

    def count(self, word: str) -> int:
        with self.lock:
            return self.seen.count(word)


class Feed(Processor):
    """Creates `limit` flowfiles in all, a few at a time; counts in its state how many it made."""

    input = Input.FORBIDDEN
    effects = Effects.PURE
    success = Relationship("All of them.")
    limit = 10
    at_once = 10

    def on_trigger(self, session: Session) -> None:
        made = int(session.state.get("made", "0"))
        for number in range(made, min(self.limit, made + self.at_once)):
            session.transfer(session.create({"number": str(number)}, b"%d" % number), self.success)
            made = number + 1
        if made != int(session.state.get("made", "0")):
            session.set_state({"made": str(made)})


class Pass(Processor):
    """Sends on what comes."""

    effects = Effects.PURE
    success = Relationship("Everything.")
    failure = Relationship("Nothing.")

    def on_trigger(self, session: Session) -> None:
        session.transfer(session.take(), self.success)


def processor(id: int, type: type[Processor], **more: Any) -> ProcessorModel:
    """A processor of the flow; its name is its type's in small letters."""
    more.setdefault("name", f"{type.__name__.lower()} {id}")
    more.setdefault("ended", END)
    return ProcessorModel(id=id, type=type.__name__, **more)


def connection(id: int, source: int, destination: int, **more: Any) -> ConnectionModel:
    """A connection for what goes well."""
    more.setdefault("relationships", ("success",))
    return ConnectionModel(id=id, source=source, destination=destination, **more)


def flow(
    processors: Sequence[ProcessorModel],
    connections: Sequence[ConnectionModel] = (),
    services: Sequence[ServiceModel] = (),
    **more: Any,
) -> FlowModel:
    """A flow of one group."""
    root = GroupModel(
        id=1,
        name="test",
        processors=tuple(processors),
        connections=tuple(connections),
        services=tuple(services),
    )
    return FlowModel(root=root, name="test", next_id=1000, **more)


def registry(*types: type[Processor] | type[ControllerService]) -> Registry:
    """A registry of just these and of the two above."""
    found = Registry([])
    found.add(Feed, Pass, *types)
    return found


def open_node(
    home: Path,
    *types: type[Processor] | type[ControllerService],
    disk: MemoryDisk | None = None,
    settings: Mapping[str, Any] | None = None,
    on_fenced: Callable[[BaseException], None] | None = None,
) -> Node:
    """Open a node on a home whose log and content are on a disk in memory."""
    values = {"log_file_size": 2**20, "stop_timeout": 2.0, "disk_reserve": 0} | dict(settings or {})
    return Node(
        home,
        settings=Settings.model_validate(values),
        registry=registry(*types),
        disk=disk if disk is not None else MemoryDisk(),
        on_fenced=on_fenced,
    )


@contextmanager
def running(node: Node, model: FlowModel | None = None) -> Iterator[Node]:
    """Take a flow, start, and stop at the end whatever happened."""
    try:
        if model is not None:
            node.controller.edit(model, user="test", note="begin")
        node.start()
        yield node
    finally:
        node.stop()


def queued(node: Node, id: int) -> int:
    """How many flowfiles a connection has, those that sessions took included."""
    return node.engine.queues[id].count


def messages(node: Node) -> list[str]:
    """All bulletins, oldest first."""
    return [one.message for one in node.bulletins.recent(float("inf"))]


def after_power_loss(node: Node, target: Path) -> MemoryDisk:
    """Make of `target` the home that would be found if the power went now; return its disk."""
    disk, found = node.disk, MemoryDisk()
    assert isinstance(disk, MemoryDisk)
    target.mkdir()
    shutil.copy(node.home.path / "node.json", target)
    with disk.lock:
        for path, file in disk._synced_names.items():
            copied = found.create(target / path.relative_to(node.home.path))
            copied.write(bytes(file.synced), 0)
            copied.sync()
    for directory in {path.parent for path in found.files}:
        found.sync_directory(directory)
    return found
