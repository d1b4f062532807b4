"""What other packages add to a running node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from aiohttp import web

    from runtime.node import Node


class Attachment(Protocol):
    """Starts and stops with the node; called on the event loop of `levada up`.

    `run` calls `attach` and `detach` as well, but serves no routes.
    """

    def routes(self) -> list[web.RouteDef]:
        """Routes for the node's control socket."""
        ...

    def attach(self, node: Node) -> None:
        """The node is open; its flow has not started."""
        ...

    def detach(self, node: Node) -> None:
        """The flow has stopped; the node is about to close."""
        ...


class Server(Protocol):
    """Serves the node to the web."""

    async def start(self, node: Node, *, host: str, port: int) -> str:
        """Bind, and return the URL to print.

        Raises:
            OSError: the port cannot be had.
        """
        ...

    async def stop(self) -> None: ...


class Attachments:
    """Everything that `levada.main` puts in."""

    def __init__(self, attachments: list[Attachment], server: Server) -> None:
        self.attachments = attachments
        self.server = server
