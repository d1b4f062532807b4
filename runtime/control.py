"""The node's socket: how commands on a running home talk to the node.

A Unix socket in the home, mode 0600, speaking HTTP with JSON bodies. Where the home's path is too
long for a socket, a short one in the user's runtime directory is used and named in
`control.json`. Only who holds the home's lock removes a stale socket.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp import web

from runtime.home import is_running

if TYPE_CHECKING:
    from runtime.node import Node

SOCKET_NAME: Final = "control.sock"
CONTROL_NAME: Final = "control.json"
PATH_LENGTH_MAX: Final = 100
NODE_KEY: Final = web.AppKey("node", object)

log = logging.getLogger("levada")


class NodeNotRunningError(RuntimeError):
    """No node runs on the home."""


class ControlError(RuntimeError):
    """The node refused a request; the message is its own."""


class ControlServer:
    """Serves the socket on the running event loop."""

    def __init__(self, node: Node, routes: list[web.RouteDef]) -> None:
        self._node = node
        self._application = web.Application(middlewares=[_errors_as_json])
        self._application[NODE_KEY] = node
        self._application.add_routes(routes)
        self._runner = web.AppRunner(self._application, access_log=None)
        self._path: Path | None = None

    async def start(self) -> None:
        """Bind the socket, replacing a stale one."""
        home = self._node.home.path
        path = socket_path(home)
        path.unlink(missing_ok=True)
        await self._runner.setup()
        before = os.umask(0o177)
        try:
            await web.UnixSite(self._runner, str(path)).start()
        finally:
            os.umask(before)
        (home / CONTROL_NAME).write_text(json.dumps({"socket": str(path), "pid": os.getpid()}))
        self._path = path

    async def stop(self) -> None:
        """Answer what is under way, then remove the socket."""
        await self._runner.cleanup()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            (self._node.home.path / CONTROL_NAME).unlink(missing_ok=True)


def node_of(request: web.Request) -> Node:
    """Return the node that a control request is for."""
    node: Any = request.app[NODE_KEY]
    found: Node = node
    return found


def socket_path(home: Path) -> Path:
    """Return where a home's socket lies."""
    path = home.absolute() / SOCKET_NAME
    if len(os.fsencode(path)) <= PATH_LENGTH_MAX:
        return path
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    stat = home.stat()
    return runtime / f"levada-{os.getuid()}-{stat.st_dev:x}-{stat.st_ino:x}.sock"


async def call(
    home: Path, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Ask the node that runs on a home.

    Raises:
        NodeNotRunningError: no node runs there.
        ControlError: it refused; the message says why.
    """
    if not home.is_dir() or not is_running(home):
        raise NodeNotRunningError(
            f"No node runs on {home}. Start one with: levada up --home {home}"
        )
    connector = aiohttp.UnixConnector(str(_named_socket(home)))
    timeout = aiohttp.ClientTimeout(total=60)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as client,
            client.request(method, f"http://node{path}", json=body) as response,
        ):
            answer = await response.json()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise NodeNotRunningError(
            f"The node on {home} does not answer ({error}). It may be starting or stopping; "
            "try again in a moment"
        ) from error
    if response.status >= 400:
        raise ControlError(str(answer.get("error", response.status)))
    result: dict[str, Any] = answer
    return result


def _named_socket(home: Path) -> Path:
    """Return the socket that the node names: its environment may have been another one."""
    try:
        return Path(json.loads((home / CONTROL_NAME).read_text())["socket"])
    except (OSError, ValueError, KeyError, TypeError):
        return socket_path(home)


@web.middleware
async def _errors_as_json(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPException as error:
        return web.json_response({"error": error.text or error.reason}, status=error.status)
    except (ValueError, LookupError, RuntimeError) as error:
        return web.json_response({"error": str(error)}, status=409)
    except Exception as error:  # the HTTP boundary: the caller is told, the log has the trace
        log.exception("%s %s ended with an error", request.method, request.path)
        words = f"{type(error).__name__}: {error}"
        return web.json_response(
            {"error": f"the node ended the request with {words}. Its output has the trace"},
            status=500,
        )
    return response
