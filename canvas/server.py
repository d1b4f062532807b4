"""The node's web server: metrics and probes, on loopback."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web

from canvas.metrics import render

if TYPE_CHECKING:
    from runtime.node import Node

NODE: web.AppKey[Any] = web.AppKey("node", object)


def application(node: Node) -> web.Application:
    """Assemble the application of a node."""
    app = web.Application()
    app[NODE] = node
    app.add_routes(
        [
            web.get("/", _about),
            web.get("/metrics", _metrics),
            web.get("/livez", _live),
            web.get("/readyz", _ready),
        ]
    )
    return app


class WebServer:
    """Serves one node; see `runtime.commands.attachment.Server`."""

    def __init__(self) -> None:
        self._runner: web.AppRunner | None = None

    async def start(self, node: Node, *, host: str, port: int) -> str:
        """Bind, and return the URL."""
        runner = web.AppRunner(application(node), access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        bound = runner.addresses[0][1]
        return f"http://{host}:{bound}"

    async def stop(self) -> None:
        """Answer what is under way, then close."""
        if self._runner is not None:
            await self._runner.cleanup()


async def _about(request: web.Request) -> web.Response:
    node: Node = request.app[NODE]
    return web.json_response({"flow": node.flow.name, "revision": node.flow.revision})


async def _metrics(request: web.Request) -> web.Response:
    text = await asyncio.to_thread(render, request.app[NODE])
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4"})


async def _live(request: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _ready(request: web.Request) -> web.Response:
    node: Node = request.app[NODE]
    reason = node.scheduler.triggers_stop or node.scheduler.sources_stop
    if reason:
        return web.Response(status=503, text=reason)
    return web.Response(text="ok")
