"""Provenance on a running node: replays from event to queue, and the index that follows."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from provenance.attachment import ProvenanceAttachment, replay
from provenance.commands import provenance
from provenance.database import look
from provenance.event import Event, EventUnknownError
from provenance.home import open_home
from provenance.replay import ReplayRefusedError
from provenance.search import Query, search
from runtime.control import ControlError, ControlServer, call
from runtime.flow_home import FlowFile
from runtime.flow_text import read_flow
from runtime.node import Node
from tests.home_world import FLOW, ended, make_home, open_node, wait_until


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_home(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def node(home: Path) -> Iterator[Node]:
    """`number` made three flowfiles, which `judge` ended."""
    node = open_node(home)
    FlowFile(node, home.parent / "flow.yaml").open()
    node.start()
    wait_until(lambda: ended(node) == 3)
    node.log.sync()
    yield node
    node.stop()


def events(node: Node, **conditions: Any) -> list[Event]:
    """Return the events that meet the conditions, oldest first."""
    found, _ = look(
        open_home(node.home.path), lambda database: search(database, Query(**conditions))
    )
    return found[::-1]


def served(node: Node, work: Callable[[], Awaitable[Any]]) -> Any:
    """Serve the attachment's routes on the node's socket while `work` is done."""

    async def main() -> Any:
        server = ControlServer(node, ProvenanceAttachment().routes())
        await server.start()
        try:
            return await work()
        finally:
            await server.stop()

    return asyncio.run(main())


def test_a_replayed_flowfile_runs_through_its_component_again(node: Node) -> None:
    end = events(node, type="DROP")[1]

    answer = replay(node, end.id, {"user": "ada", "note": "once more"})
    wait_until(lambda: ended(node) == 4)
    node.log.sync()

    made = events(node, uuid=answer["uuid"])
    assert [one.type for one in made] == ["REPLAY", "ROUTE", "DROP"]
    assert made[0].parents == (end.uuid,)
    assert made[0].attributes["number"] == "1"
    assert made[0].attributes["flowfile.replay"] == "true"
    assert made[0].attributes["filename"] == end.uuid
    assert answer["connection"] == made[1].taken_from == end.taken_from


def test_a_replayed_flowfile_has_its_old_content(node: Node) -> None:
    end = events(node, type="DROP")[1]

    answer = replay(node, end.id, {})
    node.log.sync()

    [born] = events(node, uuid=answer["uuid"], type="REPLAY")
    assert born.claim is not None and node.content.verify(born.claim)
    with node.content.open(born.claim) as content:
        assert content.read() == b"content 1"


def test_a_replay_is_asked_for_on_the_socket(node: Node, home: Path) -> None:
    end = events(node, type="DROP")[0]

    answer = served(
        node, lambda: call(home, "POST", f"/provenance/events/{end.id}/replay", {"user": "ada"})
    )

    assert answer.keys() == {"uuid", "connection"}
    wait_until(lambda: ended(node) == 4)


def test_the_command_queues_and_says_what(node: Node, home: Path) -> None:
    end = events(node, type="DROP")[0]

    async def work() -> Any:
        words = ["replay", str(end.id), "--home", str(home)]
        return await asyncio.to_thread(CliRunner().invoke, provenance, words)

    result = served(node, work)

    assert result.exit_code == 0
    assert result.output.startswith("Queued ") and f"connection {end.taken_from}." in result.output


def test_the_command_says_in_one_line_why_an_event_cannot_be_replayed(
    node: Node, home: Path
) -> None:
    birth = events(node, type="CREATE")[0]

    async def work() -> Any:
        words = ["replay", str(birth.id), "--home", str(home)]
        return await asyncio.to_thread(CliRunner().invoke, provenance, words)

    result = served(node, work)

    assert result.exit_code == 1
    assert result.output == (
        f"Error: Event {birth.id} cannot be replayed: its flowfile was taken from no connection "
        "by number; replay an event of the next component\n"
    )


def test_a_birth_cannot_be_replayed_and_nothing_is_queued(node: Node) -> None:
    birth = events(node, type="CREATE")[0]
    before = node.engine.sequence

    with pytest.raises(ReplayRefusedError, match="taken from no connection by number; replay an"):
        replay(node, birth.id, {})

    assert node.engine.sequence == before


def test_an_event_that_does_not_exist_is_refused(node: Node) -> None:
    with pytest.raises(EventUnknownError, match="^Event 4711: there is none with this number"):
        replay(node, 4711, {})


def test_an_event_is_named_by_a_number(node: Node, home: Path) -> None:
    with pytest.raises(ControlError, match="^an event is named by its number$"):
        served(node, lambda: call(home, "POST", "/provenance/events/first/replay", {}))


def test_a_replay_into_a_connection_that_was_removed_is_refused(node: Node) -> None:
    end = events(node, type="DROP")[0]
    text = FLOW[: FLOW.index("  judge:")].replace("to: judge", "to: end")
    model = read_flow(text, file="", registry=node.registry, known=node.flow).model
    assert model is not None
    node.controller.edit(model, user="ada", note="")

    with pytest.raises(ReplayRefusedError, match=f"connection {end.taken_from}, from which judge "
                       "took it, no longer exists"):  # fmt: skip
        replay(node, end.id, {})


def test_a_replay_whose_content_is_gone_is_refused(node: Node, home: Path) -> None:
    end = events(node, type="DROP")[0]
    for file in (home / "content").rglob("*"):
        if file.is_file():
            file.write_bytes(bytes(file.stat().st_size))

    with pytest.raises(ReplayRefusedError, match="its content is gone"):
        replay(node, end.id, {})


def test_an_event_is_found_right_after_its_commit(home: Path) -> None:
    node = open_node(home)
    try:
        FlowFile(node, home.parent / "flow.yaml").open()
        node.start()
        wait_until(lambda: ended(node) == 3)
        # Nothing was synced by hand: a replay waits until what it looks for is durable.
        answer = replay(node, (node.engine.sequence << 20), {})
    finally:
        node.stop()

    assert answer["uuid"]


@pytest.mark.slow
def test_the_index_follows_the_node_when_it_is_due(node: Node, home: Path) -> None:
    attachment = ProvenanceAttachment()
    attachment.attach(node)
    builder = attachment._builder
    assert builder is not None
    [follower] = node.maintenance.indexed
    node.maintenance.look()
    assert not builder.running() and follower.sequence == 0

    builder._due_events = 1
    node.maintenance.look()
    wait_until(lambda: not builder.running(), 30)

    assert builder.last_status == 0
    assert follower.sequence == node.engine.sequence
    attachment.detach(node)
    assert [one.type for one in events(node)] == ["CREATE"] * 3 + ["ROUTE"] * 3 + ["DROP"] * 3


@pytest.mark.slow
def test_a_stop_ends_the_builder(node: Node, home: Path) -> None:
    attachment = ProvenanceAttachment()
    attachment.attach(node)
    builder = attachment._builder
    assert builder is not None
    builder.start(node.engine.sequence)

    attachment.detach(node)

    assert not builder.running() and builder.last_status is not None


def test_a_detached_attachment_that_never_attached_is_quiet(node: Node) -> None:
    ProvenanceAttachment().detach(node)


def test_a_replay_works_in_a_home_that_was_copied(node: Node, home: Path) -> None:
    end = events(node, type="DROP")[0]
    node.maintenance.checkpoint()
    copy = home.with_name("copy")
    shutil.copytree(home, copy)
    other = open_node(copy)
    try:
        other.start()
        answer = replay(other, end.id, {})
        wait_until(lambda: ended(other) == 1)
    finally:
        other.stop()

    assert json.loads((copy / "node.json").read_text())["home"] != node.home.identity.home
    assert answer["connection"] == end.taken_from
