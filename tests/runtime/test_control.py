"""The node's socket, between a node and its commands."""

import asyncio
import json
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from runtime.control import (
    ControlError,
    ControlServer,
    NodeNotRunningError,
    call,
    node_of,
    socket_path,
)
from runtime.node import Node
from tests.home_world import open_node


async def _name(request: web.Request) -> web.Response:
    body = await request.json() if request.can_read_body else {}
    return web.json_response({"flow": node_of(request).flow.name, "body": body})


def raising(error: Exception) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(request: web.Request) -> web.Response:
        raise error

    return handler


def serve(home: Path, work: Callable[[Node], Awaitable[Any]], *routes: web.RouteDef) -> Any:
    """Serve a node on its socket while `work` is done, and return what that gives."""
    node = open_node(home)

    async def main() -> Any:
        server = ControlServer(node, [web.get("/name", _name), web.post("/name", _name), *routes])
        await server.start()
        try:
            return await work(node)
        finally:
            await server.stop()

    try:
        return asyncio.run(main())
    finally:
        node.stop()


def test_a_request_reaches_the_node_and_its_answer_comes_back(tmp_path: Path) -> None:
    answer = serve(tmp_path, lambda node: call(tmp_path, "POST", "/name", {"take": "file"}))

    assert answer == {"flow": tmp_path.name, "body": {"take": "file"}}


def test_only_the_owner_may_use_the_socket(tmp_path: Path) -> None:
    async def look(node: Node) -> int:
        return (tmp_path / "control.sock").stat().st_mode

    mode = serve(tmp_path, look)

    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600


def test_the_mask_for_new_files_is_what_it_was(tmp_path: Path) -> None:
    async def look(node: Node) -> int:
        (tmp_path / "made").touch()
        return stat.S_IMODE((tmp_path / "made").stat().st_mode)

    before = os.umask(0o022)
    try:
        assert serve(tmp_path, look) == 0o644
    finally:
        os.umask(before)


def test_a_stopped_node_leaves_no_socket(tmp_path: Path) -> None:
    serve(tmp_path, lambda node: call(tmp_path, "GET", "/name"))

    assert not (tmp_path / "control.sock").exists()
    assert not (tmp_path / "control.json").exists()


def test_a_socket_left_by_a_crash_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "control.sock"))

    assert serve(tmp_path, lambda node: call(tmp_path, "GET", "/name"))["flow"] == tmp_path.name


@pytest.fixture
def deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose path is too long for a socket; short ones go to `tmp_path`/run."""
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    path = tmp_path / ("deep" * 20) / ("er" * 20)
    path.mkdir(parents=True)
    return path


def test_a_home_with_a_long_path_has_its_socket_elsewhere(deep: Path, tmp_path: Path) -> None:
    async def look(node: Node) -> tuple[str, list[str]]:
        named = json.loads((deep / "control.json").read_text())
        assert named["pid"] == os.getpid()
        await call(deep, "GET", "/name")
        return named["socket"], os.listdir(tmp_path / "run")

    named, found = serve(deep, look)

    assert [Path(named).name] == found and Path(named).parent == tmp_path / "run"
    assert os.listdir(tmp_path / "run") == []


def test_a_command_with_another_environment_finds_the_socket(
    deep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(node: Node) -> Any:
        monkeypatch.delenv("XDG_RUNTIME_DIR")
        return await call(deep, "GET", "/name")

    assert serve(deep, look)["flow"] == deep.name


def test_two_long_homes_have_two_sockets(deep: Path) -> None:
    other = deep.parent / ("other" * 10)
    other.mkdir()

    assert socket_path(deep) != socket_path(other)


@pytest.mark.parametrize("name", ["nowhere", ""])
def test_a_home_without_a_node_is_named_with_the_way_to_start_one(
    tmp_path: Path, name: str
) -> None:
    home = tmp_path / name

    with pytest.raises(NodeNotRunningError) as caught:
        asyncio.run(call(home, "GET", "/name"))

    assert str(caught.value) == (
        f"No node runs on {home}. Start one with: levada up --home {home}"
    )


def test_a_node_without_its_socket_may_be_starting(tmp_path: Path) -> None:
    node = open_node(tmp_path)
    try:
        with pytest.raises(NodeNotRunningError, match="does not answer .*It may be starting or "
                           "stopping; try again in a moment"):  # fmt: skip
            asyncio.run(call(tmp_path, "GET", "/name"))
    finally:
        node.stop()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (LookupError("connection 7 does not exist"), "^connection 7 does not exist$"),
        (ValueError("event 3 is a JOIN"), "^event 3 is a JOIN$"),
        (RuntimeError("the flow file changed"), "^the flow file changed$"),
        (web.HTTPBadRequest(text="an event is named by its number"), "^an event is named by its"),
    ],
)
def test_a_refusal_comes_in_the_words_of_the_node(
    tmp_path: Path, error: Exception, words: str
) -> None:
    with pytest.raises(ControlError, match=words):
        serve(
            tmp_path,
            lambda node: call(tmp_path, "GET", "/refused"),
            web.get("/refused", raising(error)),
        )


def test_an_unknown_path_is_a_refusal_too(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="Not Found"):
        serve(tmp_path, lambda node: call(tmp_path, "GET", "/unknown"))


def test_a_bug_in_the_node_is_told_and_its_output_has_the_trace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ControlError, match="^the node ended the request with ZeroDivisionError: "
                       "by nought. Its output has the trace$"):  # fmt: skip
        serve(
            tmp_path,
            lambda node: call(tmp_path, "GET", "/bug"),
            web.get("/bug", raising(ZeroDivisionError("by nought"))),
        )

    assert "GET /bug ended with an error" in caplog.text and "Traceback" in caplog.text
