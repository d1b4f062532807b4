"""A home whose state store is missing or damaged gets its keys back from the log."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.memory_disk import MemoryDisk
from runtime.node import Node
from runtime.processor import Processor
from runtime.session import Session
from tests.node_world import Feed, connection, flow, open_node, processor, running, wait_until

COUNT = 30


class Remember(Processor):
    """Keeps the content of each flowfile under its number."""

    batch_size = 5

    def on_trigger(self, session: Session) -> None:
        for flowfile in session.take():
            session.set_key(f"n{flowfile.attributes['number']}", session.read(flowfile))
            session.drop(flowfile)


class Enough(Feed):
    limit = COUNT


FLOW = flow([processor(10, Enough), processor(11, Remember)], [connection(20, 10, 11)])
KEYS = {f"n{number}": b"%d" % number for number in range(COUNT)}


def _fill(home: Path) -> MemoryDisk:
    """Run until all keys are there; return the disk of the stopped node."""
    node = open_node(home, Enough, Remember)
    with running(node, FLOW):
        wait_until(lambda: len(node.keyed.items(11)) == COUNT)
    assert isinstance(node.disk, MemoryDisk)
    return node.disk


def _opened(home: Path, disk: MemoryDisk) -> Node:
    return open_node(home, Enough, Remember, disk=disk)


def _remove(state: Path) -> None:
    shutil.rmtree(state)


def _damage(state: Path) -> None:
    for path in state.glob("MANIFEST*"):
        path.write_bytes(b"\xff" * path.stat().st_size)


def _empty(state: Path) -> None:
    for path in [*state.glob("MANIFEST*"), *state.glob("*.sst")]:
        path.write_bytes(b"")


@pytest.mark.parametrize("harm", [_remove, _damage, _empty])
def test_keys_come_back_from_the_log(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    home = tmp_path / "home"
    disk = _fill(home)
    harm(home / "state")

    node = _opened(home, disk)
    try:
        assert node.keyed.items(11) == KEYS
        told = [one for one in node.recovered if "The state store lacked keys" in one]
        assert len(told) == 1
        assert told[0].endswith("those of record 1 and later were restored from the log")
    finally:
        node.stop()

    node = _opened(home, disk)
    try:
        assert node.keyed.items(11) == KEYS
        assert node.recovered == []
    finally:
        node.stop()


def test_a_whole_store_needs_no_log(tmp_path: Path) -> None:
    home = tmp_path / "home"
    disk = _fill(home)
    node = _opened(home, disk)
    try:
        assert node.keyed.items(11) == KEYS
        assert node.recovered == []
        assert not node.keyed.has_pending
    finally:
        node.stop()


def test_what_the_log_has_no_more_is_told_as_lost(tmp_path: Path) -> None:
    home = tmp_path / "home"
    disk = _fill(home)
    # Retention drops whole files; a restart begins the next one.
    node = _opened(home, disk)
    node.maintenance.checkpoint()
    assert node.log.drop(node.log.durable + 1)
    node.stop()
    shutil.rmtree(home / "state")

    node = _opened(home, disk)
    try:
        assert node.keyed.items(11) == {}
        [told] = [one for one in node.recovered if "The state store lacked keys" in one]
        assert told.endswith("; what older records set may be lost")
    finally:
        node.stop()
