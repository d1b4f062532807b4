"""What people do to flowfiles, on a real node."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime import commit as commits
from runtime.actions import requeue
from runtime.commit import EventType, decode_ids
from runtime.content import ContentGoneError
from runtime.disk import SystemDisk
from runtime.flow_home import FlowFile
from runtime.flowfile import Claim
from runtime.flowfile import FlowFile as Flowfile
from runtime.log_reader import read_log
from runtime.node import Node
from runtime.queue import Queue
from tests.home_world import FLOW, make_home, open_node, wait_until

STOPPED = FLOW.replace("type: Judge", "type: Judge\n    state: stopped")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_home(tmp_path / "home", flow=STOPPED)
    return tmp_path / "home"


@pytest.fixture
def node(home: Path) -> Iterator[Node]:
    """Three flowfiles wait before `judge`, which is stopped."""
    node = open_node(home)
    FlowFile(node, home.parent / "flow.yaml").open()
    node.start()
    wait_until(lambda: waiting(node).count == 3)
    yield node
    node.stop()


def waiting(node: Node) -> Queue:
    return next(one for one in node.engine.queues.values() if one.destination is not None)


def flowfiles(node: Node) -> list[Flowfile]:
    return [one for run in waiting(node).runs() for one in run.flowfiles]


def replay(node: Node, parent: Flowfile, *, connection: int | None = None) -> Flowfile:
    return requeue(
        node.engine,
        waiting(node).id if connection is None else connection,
        parent=parent.id,
        attributes={**parent.attributes, "again": "yes"},
        claim=parent.claim,
        lineage_start=parent.lineage_start,
        user="ada",
        note="once more",
    )


def test_a_replayed_flowfile_waits_in_its_queue_with_content_and_lineage(node: Node) -> None:
    parent = flowfiles(node)[0]

    made = replay(node, parent)

    assert flowfiles(node)[-1] is made
    assert made.id != parent.id and made.attributes["again"] == "yes"
    assert (made.claim, made.size) == (parent.claim, 9)
    assert made.lineage_start == parent.lineage_start


def test_a_replay_is_a_record_with_who_why_and_of_what(home: Path, node: Node) -> None:
    parent = flowfiles(node)[0]
    made = replay(node, parent)
    node.log.sync()

    *_, (_, _, data) = read_log(home / "log", SystemDisk(), after=0)
    record = commits.decode(data)

    assert record.action is not None
    assert (record.action.kind, record.action.user, record.action.note) == (
        "replay", "ada", "once more",
    )  # fmt: skip
    [created] = record.created
    assert created.event == EventType.REPLAY
    assert created.parents is not None
    assert list(decode_ids(created.parents)) == [parent.id]
    assert [one.id for one in created.flowfiles] == [made.id]


def test_a_replayed_flowfile_survives_a_restart(home: Path, node: Node) -> None:
    made = replay(node, flowfiles(node)[0])
    node.maintenance.checkpoint()
    # What a crash leaves: the files as they are, copied while the node runs.
    shutil.copytree(home, home.with_name("copy"))

    again = open_node(home.with_name("copy"))
    try:
        found = {one.id: one for one in flowfiles(again)}
        assert len(found) == 4 and found[made.id].attributes["again"] == "yes"
        claim = found[made.id].claim
        assert claim is not None and again.content.verify(claim)
    finally:
        again.stop()


def test_a_replay_without_a_known_lineage_begins_one(node: Node) -> None:
    made = requeue(
        node.engine,
        waiting(node).id,
        parent=1,
        attributes={},
        claim=None,
        lineage_start=None,
        user="",
        note="",
    )

    assert made.lineage_start == made.entered
    assert made.size == 0


def test_a_replay_into_a_connection_that_is_gone_is_refused(node: Node) -> None:
    before = node.engine.sequence

    with pytest.raises(LookupError, match="^connection 4711 does not exist$"):
        replay(node, flowfiles(node)[0], connection=4711)

    assert node.engine.sequence == before and waiting(node).count == 3


def test_a_replay_of_content_that_is_gone_is_refused(node: Node) -> None:
    before = node.engine.sequence

    with pytest.raises(ContentGoneError, match="segment 9999"):
        requeue(
            node.engine,
            waiting(node).id,
            parent=1,
            attributes={},
            claim=Claim(9999, 0, 5, 1),
            lineage_start=None,
            user="",
            note="",
        )

    assert node.engine.sequence == before and waiting(node).count == 3
