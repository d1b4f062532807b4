"""The web server of a node, over a real connection."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from canvas.server import WebServer
from runtime.node import Node
from tests.home_world import open_node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = open_node(tmp_path / "home")
    yield node
    node.stop()


def visit(node: Node, work: Callable[[aiohttp.ClientSession], Awaitable[Any]]) -> Any:
    """Serve the node, and return what `work` gives."""

    async def main() -> Any:
        server = WebServer()
        url = await server.start(node, host="127.0.0.1", port=0)
        try:
            async with aiohttp.ClientSession(url) as client:
                return await work(client)
        finally:
            await server.stop()

    return asyncio.run(main())


def get(node: Node, path: str) -> tuple[int, str, str]:
    """Return an answer's status, type and text."""

    async def work(client: aiohttp.ClientSession) -> tuple[int, str, str]:
        async with client.get(path) as response:
            return response.status, response.headers["Content-Type"], await response.text()

    found: tuple[int, str, str] = visit(node, work)
    return found


def test_the_first_page_names_the_flow(node: Node) -> None:
    assert get(node, "/") == (
        200, "application/json; charset=utf-8", '{"flow": "home", "revision": 0}'
    )  # fmt: skip


def test_metrics_come_in_the_text_format(node: Node) -> None:
    status, kind, text = get(node, "/metrics")

    assert (status, kind) == (200, "text/plain; version=0.0.4")
    assert "# TYPE levada_hops_total counter\nlevada_hops_total 0.0\n" in text


def test_a_node_that_works_is_alive_and_ready(node: Node) -> None:
    for path in ("/livez", "/readyz"):
        assert get(node, path) == (200, "text/plain; charset=utf-8", "ok")


@pytest.mark.parametrize("stop", ["sources_stop", "triggers_stop"])
def test_a_node_that_waits_is_alive_but_not_ready_and_says_why(node: Node, stop: str) -> None:
    setattr(node.scheduler, stop, "The disk of /home is full: everything waits")

    assert get(node, "/readyz") == (
        503, "text/plain; charset=utf-8", "The disk of /home is full: everything waits"
    )  # fmt: skip
    assert get(node, "/livez")[0] == 200


def test_an_unknown_page_is_not_found(node: Node) -> None:
    assert get(node, "/nothing")[0] == 404


def test_the_url_names_the_port_that_was_given(node: Node) -> None:
    async def main() -> str:
        server = WebServer()
        url = await server.start(node, host="127.0.0.1", port=0)
        await server.stop()
        return url

    host, _, port = asyncio.run(main()).rpartition(":")
    assert host == "http://127.0.0.1" and int(port) > 0


def test_a_port_in_use_is_refused_and_nothing_stays_open(node: Node) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        async def main() -> None:
            server = WebServer()
            with pytest.raises(OSError, match="address already in use"):
                await server.start(node, host="127.0.0.1", port=port)
            await server.stop()

        asyncio.run(main())
