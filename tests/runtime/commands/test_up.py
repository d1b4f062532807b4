"""`levada up`: a node that is served, told things, and stopped."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

import levada
from canvas.server import WebServer
from runtime.commands.attachment import Attachment, Attachments
from runtime.commands.up import Service
from runtime.control import ControlError, call
from runtime.flow_home import FlowFile, bound_file
from runtime.home import Home, is_running
from runtime.node import Node
from tests.home_world import FLOW, ended, open_node, wait_until
from tests.runtime.commands.conftest import Command


class Watcher:
    """An attachment that notes when it is called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/watched", self._answer)]

    async def _answer(self, request: web.Request) -> web.Response:
        return web.json_response({"calls": self.calls})

    def attach(self, node: Node) -> None:
        self.calls.append(f"attach after {node.engine.sequence}")

    def detach(self, node: Node) -> None:
        self.calls.append(f"detach while {'open' if is_running(node.home.path) else 'closed'}")


def serve(
    home: Path,
    flow: Path | None,
    work: Callable[[Node], Awaitable[Any]],
    *attachments: Attachment,
    number: int = signal.SIGTERM,
) -> Any:
    """Serve a node until `work` is done, stop it with a signal, and return what `work` gave."""
    node = open_node(home)
    file = None
    if flow is not None:
        file = FlowFile(node, flow)
        file.open()

    async def main() -> Any:
        service = Service(node, Attachments(list(attachments), WebServer()), file)
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(service.run(port=0, duration=60, progress=False))
            try:
                await until(lambda: (home / "control.json").exists())
                await until(lambda: not flow or node.engine.counters)
                return await work(node)
            finally:
                os.kill(os.getpid(), number)
                assert await serving == 0

    return asyncio.run(main())


async def until(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(wait_until, condition)


def edit(node: Node, name: str) -> None:
    flow = msgspec.structs.replace(node.flow, name=name)
    node.controller.edit(flow, user="ada", note="a new name")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_node_runs_its_flow_until_a_signal_and_leaves_its_home_free(
    home: Path, flow: Path, number: int
) -> None:
    async def work(node: Node) -> int:
        await until(lambda: ended(node) == 3)
        return ended(node)

    assert serve(home, flow, work, number=number) == 3
    Home(home).close()
    assert not (home / "control.json").exists()


def test_the_status_is_asked_for_on_the_socket(home: Path, flow: Path) -> None:
    found = serve(home, flow, lambda node: call(home, "GET", "/status"))

    assert (found["flow"], found["counters"]) == ("numbers", {"numbers": 3})


def test_attachments_add_routes_and_are_told_of_start_and_end(home: Path, flow: Path) -> None:
    watcher = Watcher()

    found = serve(home, flow, lambda node: call(home, "GET", "/watched"), watcher)

    assert found == {"calls": ["attach after 1"]}
    assert watcher.calls == ["attach after 1", "detach while open"]


def test_a_reload_adopts_the_file_and_tells_what_changed(home: Path, flow: Path) -> None:
    async def work(node: Node) -> Any:
        flow.write_text(FLOW.replace("name: numbers", "name: others"))
        return await call(home, "POST", "/reload", {"take": None, "user": "ada"})

    found = serve(home, flow, work)

    assert found == {
        "lines": [f"{flow} changed; it is revision 2 now:", "  the flow: name numbers -> others"],
        "revision": 2,
    }


def test_a_reload_can_bind_the_node_to_another_file(home: Path, flow: Path) -> None:
    other = flow.with_name("other.yaml")
    other.write_text(FLOW.replace("name: numbers", "name: others"))

    async def work(node: Node) -> Any:
        return await call(home, "POST", "/reload", {"take": "file", "flow": str(other)})

    assert serve(home, flow, work)["revision"] == 2
    assert bound_file(home) == other
    assert flow.read_text() == FLOW


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"flow": "/nonexistent/x"}, "^the flow file '/nonexistent/x' cannot be written .No su"),
        ({"take": "file", "flow": "."}, "^the flow file .* cannot be read .Is a directory.; check"),
    ],
)
def test_a_reload_that_cannot_be_done_says_why(
    home: Path, flow: Path, body: dict[str, Any], words: str
) -> None:
    async def work(node: Node) -> None:
        with pytest.raises(ControlError, match=words):
            await call(home, "POST", "/reload", body)
        assert (node.flow.name, node.flow.revision) == ("numbers", 1)

    serve(home, flow, work)
    assert bound_file(home) == flow


def test_a_node_without_a_file_has_nothing_to_reload(home: Path) -> None:
    async def work(node: Node) -> None:
        with pytest.raises(ControlError, match="^This node is bound to no flow file. Name one wi"):
            await call(home, "POST", "/reload", {"take": None})

    serve(home, None, work)


@pytest.mark.slow
def test_edits_are_gathered_and_written_while_the_node_runs(
    home: Path, flow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.commands.up.EDIT_GATHER_SECONDS", 0.05)

    async def work(node: Node) -> None:
        edit(node, "first")
        edit(node, "second")
        await until(lambda: "name: second" in flow.read_text())

    serve(home, flow, work)
    assert flow.read_text() == FLOW.replace("name: numbers", "name: second")


def test_an_edit_right_before_the_stop_is_written_at_the_stop(home: Path, flow: Path) -> None:
    async def work(node: Node) -> None:
        edit(node, "last words")

    serve(home, flow, work)

    assert flow.read_text() == FLOW.replace("name: numbers", "name: last words")


def test_a_stop_in_the_middle_of_a_write_leaves_the_file_complete(
    home: Path, flow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.commands.up.EDIT_GATHER_SECONDS", 0.0)

    async def work(node: Node) -> None:
        edit(node, "last words")
        # Let the service take the edit up, and its writing begin.
        for _ in range(5):
            await asyncio.to_thread(lambda: None)

    serve(home, flow, work)

    assert flow.read_text() == FLOW.replace("name: numbers", "name: last words")


def test_a_file_changed_outside_is_left_and_a_bulletin_says_so(
    home: Path, flow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.commands.up.EDIT_GATHER_SECONDS", 0.05)
    mine = FLOW + "# mine\n"

    async def work(node: Node) -> list[str]:
        flow.write_text(mine)
        edit(node, "renamed")
        await until(node.bulletins.recent)
        return [one.message for one in node.bulletins.recent()]

    [message] = serve(home, flow, work)

    assert message == (
        f"'{flow}' was changed outside; nothing was written. `levada reload --take file` adopts "
        "it, `--take home` overwrites it"
    )
    assert flow.read_text() == mine


def test_a_port_in_use_is_named_with_the_way_out(command: Command, home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = command("up", "--port", port)

    assert result.exit_code == 1
    assert result.output == (
        f"levada: port {port} cannot be had: Address already in use. Choose another one with "
        "--port\n"
    )
    Home(home).close()


def test_a_node_stops_by_itself_when_its_time_is_over(
    command: Command, home: Path, flow: Path
) -> None:
    result = command("up", "--flow", flow, "--port", 0, "--for", "0.2", "--no-progress")

    assert result.exit_code == 0
    assert re.fullmatch(
        f"Levada runs 'numbers' from {home}\n"
        r"http://127\.0\.0\.1:\d+  \(Ctrl-C stops\)\nStopping\n",
        result.output,
    )


def test_the_bound_flow_is_known_at_the_next_start(command: Command, flow: Path) -> None:
    command("up", "--flow", flow, "--port", 0, "--for", "0.1")
    flow.write_text(FLOW.replace("name: numbers", "name: others"))

    result = command("up", "--port", 0, "--for", "0.1")

    assert result.output.startswith(f"{flow} changed; it is revision 2 now:\n  the flow: name")


def test_a_missing_flow_file_is_named(command: Command, flow: Path) -> None:
    flow.unlink()

    result = command("up", "--flow", flow, "--port", 0)

    assert result.exit_code == 1
    assert f"The flow file {flow} does not exist" in result.output


@contextmanager
def process(home: Path, *options: object) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Start `levada up` as a process, and yield it with the lines that it prints."""
    script = str(Path(levada.__file__))
    child = subprocess.Popen(
        [sys.executable, script, "up", "--home", str(home), "--port", "0", *map(str, options)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    lines: list[str] = []
    assert child.stdout is not None
    output = child.stdout
    reader = threading.Thread(target=lambda: lines.extend(iter(output.readline, "")))
    reader.start()
    try:
        yield child, lines
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
        reader.join()
        output.close()


@pytest.mark.slow
def test_a_signal_stops_the_process_cleanly(home: Path, flow: Path) -> None:
    with process(home, "--flow", flow) as (child, lines):
        wait_until(lambda: any(line.startswith("http") for line in lines), 30)
        url = next(line for line in lines if line.startswith("http")).split()[0]
        with urllib.request.urlopen(url + "/readyz", timeout=10) as answer:
            assert answer.read() == b"ok"
        found = asyncio.run(call(home, "GET", "/status"))
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0

    assert found["revision"] == 1
    assert lines[-1] == "Stopping\n"
    Home(home).close()
