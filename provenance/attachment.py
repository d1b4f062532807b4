"""Provenance on a running node: its index is kept up to date, and replays are carried out."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from provenance.content import contents
from provenance.database import look
from provenance.home import open_home
from provenance.index import Index
from provenance.index_builder import IndexBuilder, write_snapshot
from provenance.replay import prepare
from provenance.search import find_event
from runtime.actions import requeue
from runtime.checkpoint import load_newest
from runtime.control import node_of

if TYPE_CHECKING:
    from runtime.flowfile import Claim
    from runtime.node import Node


@dataclass
class _Indexed:
    """How far the index reaches, for the retention of the log."""

    node: Node
    builder: IndexBuilder

    @property
    def sequence(self) -> int:
        self.builder.running()
        return self.builder.indexed_sequence

    def catch_up(self, sequence: int) -> None:
        self.builder.start(sequence, events=self.node.engine.hops, wall=self.node.clock.wall())

    def before_drop(self, sequence: int) -> None:
        """Give each live flowfile a row with all that it has: its birth may be about to go."""
        node = self.node
        newest = load_newest(node.home.directory("checkpoints"), node.disk, node.home.log_home)
        if newest is None:
            return
        head, fold, _ = newest
        flowfiles = [
            entry.flowfile for queue in fold.queues.values() for entry in queue.values()
        ]
        index = Index(node.home.path / "provenance")
        with index.building():
            write_snapshot(index, head.sequence, head.wall_ms * 1000, flowfiles)


class ProvenanceAttachment:
    """See `runtime.commands.attachment.Attachment`."""

    def __init__(self) -> None:
        self._builder: IndexBuilder | None = None

    def routes(self) -> list[web.RouteDef]:
        """Routes for the control socket."""
        return [web.post("/provenance/events/{event}/replay", _replay)]

    def attach(self, node: Node) -> None:
        """Let the index follow the node."""
        settings = node.settings
        limits = [
            "--max-seconds", str(settings.provenance_max_age),
            "--max-bytes", str(settings.provenance_max_size),
        ]  # fmt: skip
        builder = self._builder = IndexBuilder(node.home.path, limits=limits)
        node.maintenance.indexed.append(_Indexed(node, builder))
        node.maintenance.on_look.append(
            lambda: builder.due(
                node.log.durable, events=node.engine.hops, wall=node.clock.wall()
            )
        )

    def detach(self, node: Node) -> None:
        """Let a child that is at work end."""
        if self._builder is not None:
            self._builder.close()


async def _replay(request: web.Request) -> web.Response:
    try:
        event = int(request.match_info["event"])
    except ValueError:
        raise web.HTTPBadRequest(text="an event is named by its number") from None
    body: dict[str, Any] = await request.json() if request.can_read_body else {}
    node = node_of(request)
    answer = await asyncio.to_thread(replay, node, event, body)
    return web.json_response(answer)


def replay(node: Node, event: int, body: dict[str, Any]) -> dict[str, Any]:
    """Queue again what an event's component was given.

    Raises:
        ReplayRefusedError, EventUnknownError: saying why not.
    """
    node.log.wait_durable(node.engine.sequence)
    home = open_home(node.home.path)
    found = look(home, lambda database: contents(database, find_event(database, event)))

    def has_content(claim: Claim) -> bool:
        return node.content.verify(claim)

    plan = prepare(found, node.flow, has_content=has_content, now=datetime.now(UTC))
    flowfile = requeue(
        node.engine,
        plan.connection,
        parent=plan.parent,
        attributes=plan.attributes,
        claim=plan.claim,
        lineage_start=plan.lineage_start,
        user=str(body.get("user", "")),
        note=str(body.get("note", "")) or f"replay of event {event}",
    )
    return {"uuid": node.home.identity.uuid(flowfile.id), "connection": plan.connection}
