"""Commands that look: at a flow, at settings, at a running node."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from runtime.commands.attachment import Attachments
from runtime.commands.up import Service
from runtime.flow_home import FlowFile
from runtime.node import Node
from runtime.settings import Settings, load_settings
from tests.home_world import FLOW, ended, open_node, wait_until
from tests.runtime.commands.conftest import Command

REFUSING = FLOW.replace("type: Judge", 'type: Judge\n    properties: {Refused: "1"}')


def test_a_flow_without_mistakes_is_valid(command: Command, flow: Path) -> None:
    result = command("check", flow)

    assert (result.exit_code, result.output) == (0, f"{flow} is valid: 2 processors\n")


def test_every_mistake_is_printed_with_its_line(command: Command, flow: Path) -> None:
    flow.write_text(FLOW.replace("type: Number", "type: Numbr").replace(", failure: hold", ""))

    result = command("check", flow)

    assert result.exit_code == 1
    assert f"LV-016  number (Numbr), {flow} line 6:" in result.output
    assert "Did you mean 'Number'?" in result.output
    assert "LV-018  judge (Judge)" in result.output


def test_mistakes_are_plain_data_too(command: Command, flow: Path) -> None:
    flow.write_text(FLOW.replace("type: Number", "type: Numbr"))

    [found] = json.loads(command("check", flow, "--json").stdout)

    assert found.keys() == {"code", "file", "line", "component", "message", "remedy"}
    assert (found["code"], found["line"], found["component"]) == ("LV-016", 6, "number (Numbr)")
    assert command("check", flow, "--json").exit_code == 1


def test_a_flow_in_its_own_home_is_checked_without_complaint(
    command: Command, flow: Path, home: Path
) -> None:
    own = flow.rename(home / "flow.yaml")

    result = command("check", own)

    assert (result.exit_code, result.output) == (0, f"{own} is valid: 2 processors\n")


def test_an_extension_that_cannot_be_read_is_named(
    command: Command, flow: Path, home: Path
) -> None:
    broken = home / "extensions" / "broken.py"
    broken.write_text("1 / 0")

    result = command("check", flow)

    assert result.stderr == f"{broken}: ZeroDivisionError: division by zero\n"
    assert result.exit_code == 0


def test_a_flow_that_is_no_text_is_a_mistake_and_no_crash(command: Command, flow: Path) -> None:
    flow.write_bytes(b"\xff\xfe\x00")

    result = command("check", flow)

    assert result.exit_code == 1 and "LV-003" in result.output


def test_settings_show_where_each_comes_from(command: Command, home: Path) -> None:
    found = json.loads(command("settings", "--set", "fsync=never", "--json").stdout)

    assert found["fsync"] == {"value": "never", "origin": "--set"}
    assert found["log_file_size"] == {"value": "1 MB", "origin": str(home / "settings.yaml")}
    assert found["gather"] == {"value": "20 ms", "origin": "default"}
    assert found.keys() == Settings.model_fields.keys()


def test_settings_are_a_table_for_people(command: Command) -> None:
    output = command("settings").output

    assert "setting" in output and "fsync" in output and "default" in output


def test_the_template_of_settings_can_be_used_as_it_is(command: Command, tmp_path: Path) -> None:
    text = command("settings", "--template").output
    file = tmp_path / "settings.yaml"
    file.write_text(text.replace("#fsync: group", "fsync: always"))

    settings, _ = load_settings(file)

    assert settings == Settings(fsync="always")  # type: ignore[call-arg]  # all have defaults


def test_a_setting_that_cannot_be_used_is_refused(command: Command) -> None:
    result = command("settings", "--set", "fsync=sometimes")

    assert result.exit_code == 1
    assert result.output.startswith("levada: --set: setting 'fsync' is 'sometimes': ")


@pytest.mark.parametrize("words", [("status",), ("reload",)])
def test_a_home_without_a_node_is_told(
    command: Command, home: Path, words: tuple[str, ...]
) -> None:
    result = command(*words)

    assert result.exit_code == 1
    assert result.output == (
        f"levada: No node runs on {home}. Start one with: levada up --home {home}\n"
    )


class NoServer:
    """Serves nothing to the web."""

    async def start(self, node: Node, *, host: str, port: int) -> str:
        return "nowhere"

    async def stop(self) -> None:
        return None


@contextmanager
def served(home: Path, flow: Path) -> Iterator[Node]:
    """Serve a node's socket in another thread, as `levada up` does in another process."""
    node = open_node(home)
    file = FlowFile(node, flow)
    file.open()
    loop = asyncio.new_event_loop()
    service = Service(node, Attachments([], NoServer()), file)
    # Only the main thread may catch signals; this service is stopped by hand.
    thread = threading.Thread(target=lambda: loop.run_until_complete(_serve(service, node)))
    thread.start()
    try:
        wait_until(lambda: (home / "control.json").exists())
        node.start()
        wait_until(lambda: ended(node) >= 2)
        yield node
    finally:
        loop.call_soon_threadsafe(service._stop.set)
        thread.join()
        loop.close()
        node.stop()


async def _serve(service: Service, node: Node) -> None:
    from runtime.commands.up import _status
    from runtime.control import ControlServer

    routes = [web.get("/status", _status), web.post("/reload", service._reload)]
    server = ControlServer(node, routes)
    await server.start()
    await service._stop.wait()
    await server.stop()


def test_the_status_is_tables_of_components_connections_and_bulletins(
    command: Command, home: Path, flow: Path
) -> None:
    flow.write_text(REFUSING)
    with served(home, flow) as node:
        node.bulletins.add("WARN", 0, "flow file", "changed outside")
        output = command("status").output

    assert "numbers, revision 1" in output
    assert "3 / 2 flowfiles" in output
    for words in (("number", "Number", "running"), ("judge", "failure", "hold", "9 B"),
                  ("WARN", "flow file", "changed outside")):  # fmt: skip
        assert any(all(one in line for one in words) for line in output.splitlines()), words


def test_a_component_that_is_wrong_says_why_in_the_status(
    command: Command, home: Path, flow: Path
) -> None:
    with served(home, flow) as node:
        component = next(iter(node.engine.components.values()))
        component.problems = ("property 'Count' is missing",)
        output = command("status").output

    assert "(property 'Count' is missing)" in " ".join(output.split())


def test_the_status_is_plain_data_too(command: Command, home: Path, flow: Path) -> None:
    with served(home, flow):
        found: dict[str, Any] = json.loads(command("status", "--json").stdout)

    assert found["totals"]["flowfiles_in"] == 3
    assert [one["path"] for one in found["components"]] == ["number", "judge"]


def test_a_reload_tells_what_it_did(command: Command, home: Path, flow: Path) -> None:
    with served(home, flow):
        nothing = command("reload")
        flow.write_text(FLOW.replace("name: numbers", "name: others"))
        changed = command("reload")

    assert nothing.output == "Nothing to do: file and home agree\n"
    assert changed.output == (
        f"{flow} changed; it is revision 2 now:\n  the flow: name numbers -> others\n"
    )


def test_a_reload_that_is_refused_says_why(command: Command, home: Path, flow: Path) -> None:
    with served(home, flow):
        flow.write_text("levada: [")
        result = command("reload")

    assert result.exit_code == 1
    assert result.output.startswith(f"levada: {flow} has 1 problem:\nLV-001")
