"""A node's life on its home: open, stop, reopen, copies, and the end when the log fails."""

import subprocess
import sys
from pathlib import Path

import pytest

from runtime.checkpoint import CheckpointDamagedError
from runtime.flowfile import FlowFile
from runtime.home import HomeError
from runtime.log import LogFailedError
from runtime.memory_disk import MemoryDisk
from runtime.model import HOLD
from runtime.node import FENCED_STATUS, Node
from runtime.processor import Effects, Processor, Relationship
from runtime.session import Session
from tests.faulty_disk import FaultyDisk
from tests.node_world import (
    Feed,
    Gate,
    Pass,
    after_power_loss,
    connection,
    flow,
    messages,
    open_node,
    processor,
    queued,
    running,
    wait_until,
)

ROOT = Path(__file__).parents[2]
FLOW = flow([processor(10, Feed)], [connection(20, 10, HOLD)])


def _flowfiles(node: Node, id: int) -> list[FlowFile]:
    return [flowfile for run in node.engine.queues[id].runs() for flowfile in run.flowfiles]


def _contents(node: Node, id: int) -> list[bytes]:
    return [node.content.read(one.claim) for one in _flowfiles(node, id)]


def _uuids(node: Node, id: int) -> list[str]:
    return [node.engine.identity.uuid(one.id) for one in _flowfiles(node, id)]


def test_what_a_node_holds_is_there_again_after_a_restart(tmp_path: Path) -> None:
    disk = MemoryDisk()
    with running(open_node(tmp_path, disk=disk), FLOW) as node:
        wait_until(lambda: queued(node, 20) == Feed.limit)
        uuids = _uuids(node, 20)

    with running(open_node(tmp_path, disk=disk)) as again:
        assert again.recovered == []
        assert again.flow == node.flow
        assert _uuids(again, 20) == uuids
        assert _contents(again, 20) == [b"%d" % number for number in range(Feed.limit)]
        assert again.engine.components[10].state == {"made": "10"}


def test_a_power_loss_takes_nothing_that_was_durable(tmp_path: Path) -> None:
    first = open_node(tmp_path)
    with running(first, FLOW):
        wait_until(lambda: queued(first, 20) == Feed.limit)
        first.log.sync()
        uuids = _uuids(first, 20)
        lost = after_power_loss(first, tmp_path / "after")

    with running(open_node(tmp_path / "after", disk=lost)) as again:
        assert _uuids(again, 20) == uuids
        assert _contents(again, 20) == [b"%d" % number for number in range(Feed.limit)]


def test_two_nodes_never_run_on_one_home(tmp_path: Path) -> None:
    node = open_node(tmp_path)
    try:
        with pytest.raises(HomeError, match=r"A node \(process \d+\) runs on the home .* already"):
            open_node(tmp_path)
    finally:
        node.stop()
    open_node(tmp_path).stop()


def test_a_copied_home_goes_on_and_old_flowfiles_keep_their_uuids(tmp_path: Path) -> None:
    original = open_node(tmp_path / "original")
    with running(original, FLOW):
        wait_until(lambda: queued(original, 20) == Feed.limit)
        uuids = _uuids(original, 20)
    disk = after_power_loss(original, tmp_path / "copy")

    with running(open_node(tmp_path / "copy", disk=disk)) as node:
        assert node.home.identity.home != original.home.identity.home
        assert _uuids(node, 20) == uuids
        node.engine.components[10].state = {}
        wait_until(lambda: queued(node, 20) == 2 * Feed.limit, "new ones beside the old ones")
        new = _uuids(node, 20)[Feed.limit :]
        assert len({*uuids, *new}) == 2 * Feed.limit
        assert {one[:13] for one in new}.isdisjoint({one[:13] for one in uuids})


def test_always_shows_a_commit_only_when_it_is_synced(tmp_path: Path) -> None:
    class Look(Processor):
        """Notes whether what it was offered was durable."""

        effects = Effects.PURE
        success = Relationship("All.")

        def on_trigger(self, session: Session) -> None:
            flowfiles = session.take()
            synced = node.log.synced
            for _, runs in session.taken:
                gate.note("synced" if all(one.sequence <= synced for one in runs) else "early")
            session.transfer(flowfiles, self.success)

    gate = Gate()
    model = flow([processor(10, Feed), processor(11, Look)], [connection(20, 10, 11)])
    node = open_node(tmp_path, Look, settings={"fsync": "always"})
    with running(node, model):
        wait_until(lambda: node.engine.components[11].statistics.totals.ended == Feed.limit)
    assert set(gate.seen) == {"synced"}


def test_a_failed_sync_ends_the_node_and_says_so(tmp_path: Path) -> None:
    class Stiff(FaultyDisk):
        failing = False

        def before(self, operation: str, path: Path, size: int) -> None:
            if self.failing and operation in ("sync", "write") and "log" in path.parts:
                raise OSError(5, "Input/output error", str(path))
            super().before(operation, path, size)

    fenced: list[BaseException] = []
    disk = Stiff()
    node = open_node(tmp_path, disk=disk, on_fenced=fenced.append)
    node.controller.edit(FLOW, user="test", note="begin")
    node.log.sync()
    disk.failing = True
    node.start()
    wait_until(lambda: fenced)
    durable = node.log.durable

    assert len(fenced) == 1
    assert "Input/output error" in str(fenced[0])
    [said] = [one for one in messages(node) if "the node stops here" in one]
    assert said.startswith("The log cannot be written (")
    assert said.endswith(
        "); the node stops here. Nothing acknowledged is lost: mend the disk and start it again"
    )
    with pytest.raises(LogFailedError):
        node.stop()
    disk.failing = False

    again = open_node(tmp_path, disk=disk)
    assert again.engine.sequence >= durable
    again.stop()


FENCED = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.faulty_disk import FaultyDisk
from tests.node_world import Feed, connection, flow, open_node, processor
from runtime.model import HOLD

disk = FaultyDisk()
node = open_node(Path({home!r}), disk=disk)
node.controller.edit(
    flow([processor(10, Feed)], [connection(20, 10, HOLD)]), user="test", note="begin"
)
node.log.sync()
disk.fail_on = "sync"
node.start()
node.log.wait_durable(1 << 40, 20)
"""


@pytest.mark.slow
def test_a_fenced_process_exits_with_a_status_of_its_own(tmp_path: Path) -> None:
    script = FENCED.format(root=str(ROOT), home=str(tmp_path / "home"))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == FENCED_STATUS == 75, done.stderr
    assert "the node stops here. Nothing acknowledged is lost" in done.stderr


def test_a_callback_that_raises_is_told_and_the_next_one_runs(tmp_path: Path) -> None:
    gate = Gate()

    def refuse() -> None:
        raise ConnectionError("the client went away")

    with running(open_node(tmp_path)) as node:
        for callback in (refuse, lambda: gate.note("told")):
            node.log.when_durable(node.engine.sequence, callback)
        wait_until(lambda: gate.seen)
        assert messages(node) == ["ConnectionError: the client went away"]


def test_acknowledgements_come_in_order_and_only_after_the_sync(tmp_path: Path) -> None:
    class Acknowledge(Feed):
        """Says what it made once it is durable."""

        at_once = 1

        def on_trigger(self, session: Session) -> None:
            super().on_trigger(session)

            def told() -> None:
                early = node.log.synced < session.committed
                gate.note(f"{session.committed}{' early' if early else ''}")

            session.when_durable(told)

    gate = Gate()
    model = flow([processor(10, Acknowledge)], [connection(20, 10, HOLD)])
    node = open_node(tmp_path, Acknowledge)
    with running(node, model):
        wait_until(lambda: len(gate.seen) >= Feed.limit)
    first = int(gate.seen[0])
    assert gate.seen[: Feed.limit] == [str(first + n) for n in range(Feed.limit)]


def test_a_connection_that_the_recovered_flow_lacks_is_parked_and_named(tmp_path: Path) -> None:
    disk = MemoryDisk()
    with running(open_node(tmp_path, disk=disk), FLOW) as node:
        wait_until(lambda: queued(node, 20) == Feed.limit)
        node.controller.edit(flow([]), user="test", note="remove everything")
        assert node.controller.parked[20].count == Feed.limit

    with running(open_node(tmp_path, disk=disk)) as again:
        assert again.recovered == [
            "10 flowfiles are parked in connection 20, which the flow no longer has"
        ]
        assert messages(again) == again.recovered
        assert queued(again, 20) == Feed.limit
        again.controller.edit(
            flow([processor(11, Pass)], [connection(20, 11, HOLD)]), user="test", note="back"
        )
        assert _contents(again, 20) == [b"%d" % number for number in range(Feed.limit)]


def test_a_component_that_fails_is_told_with_what_happens_next(tmp_path: Path) -> None:
    class Fail(Pass):
        """Never succeeds."""

        def on_trigger(self, session: Session) -> None:
            session.take()
            raise ValueError("no such table")

    model = flow(
        [processor(10, Feed), processor(11, Fail, penalty_seconds=60.0, yield_seconds=90.0)],
        [connection(20, 10, 11)],
    )
    Feed.limit, before = 1, Feed.limit
    try:
        with running(open_node(tmp_path, Fail), model) as node:
            wait_until(lambda: messages(node))
            assert messages(node) == [
                "fail 11 rolled back: ValueError: no such table. Its flowfile waits 60 s; next "
                "try in 90 s"
            ]
            assert queued(node, 20) == 1
    finally:
        Feed.limit = before


def test_a_home_of_a_stopped_node_is_free_even_when_opening_was_refused(tmp_path: Path) -> None:
    disk = MemoryDisk()
    with running(open_node(tmp_path, disk=disk), FLOW) as node:
        wait_until(lambda: queued(node, 20) == Feed.limit)
    for path in list(disk.files):
        if path.parent.name == "checkpoints":
            disk.files[path].write(b"\xff" * 64, 0)
    for _ in range(2):
        with pytest.raises(CheckpointDamagedError) as raised:
            open_node(tmp_path, disk=disk)
        assert str(raised.value).endswith(
            "No whole checkpoint is left: restore one from a backup of the home"
        )
