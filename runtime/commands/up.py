"""`levada up`: serve a node until SIGTERM or Ctrl-C, then stop it cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click
from aiohttp import web

from runtime.commands.attachment import Attachments
from runtime.commands.options import (
    DurationType,
    friendly,
    home_option,
    make_registry,
    parameter_file_option,
    parameter_option,
    read_parameters,
    read_settings,
    set_option,
    take_option,
)
from runtime.commands.progress import Progress
from runtime.control import ControlServer, node_of
from runtime.flow_binding import BindingError
from runtime.flow_home import FlowFile, bound_file, check_overrides
from runtime.flow_text.writer_process import WriterError
from runtime.node import Node
from runtime.status import status

EDIT_GATHER_SECONDS = 2.0


@click.command()
@home_option
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
@click.option(
    "--flow",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A flow file to run; edits are written back to it.",
)
@take_option
@parameter_option
@parameter_file_option
@set_option
@click.option("--for", "duration", type=DurationType(), help="Stop by itself after this time.")
@click.option("--progress/--no-progress", default=None, help="Print what flows, once a second.")
@click.pass_context
@friendly
def up(
    context: click.Context,
    home: Path,
    port: int,
    flow: Path | None,
    take: Any,
    parameters: tuple[str, ...],
    param_file: Path | None,
    overrides: tuple[str, ...],
    duration: float | None,
    progress: bool | None,
) -> None:
    """Start a node and serve it until Ctrl-C."""
    settings, _ = read_settings(home, overrides)
    values = read_parameters(parameters, param_file)
    logging.basicConfig(level=settings.bulletin_level.replace("WARN", "WARNING"),
                        format="%(asctime)s %(levelname)s %(message)s")  # fmt: skip
    logging.getLogger("aiohttp").setLevel(logging.WARNING)
    bound = flow if flow is not None else bound_file(home)
    node = Node(home, settings=settings, registry=make_registry(home, bound))
    try:
        file = open_flow(node, flow, take, values)
    except BaseException:
        node.stop()
        raise
    attachments: Attachments = context.obj
    shown = sys.stdout.isatty() if progress is None else progress
    service = Service(node, attachments, file)
    status_code = asyncio.run(service.run(port=port, duration=duration, progress=shown))
    sys.exit(status_code)


def open_flow(
    node: Node, flow: Path | None, take: Any, values: dict[str, str], *, to_error: bool = False
) -> FlowFile | None:
    """Bind the node to its flow file and set parameters; print what happened."""
    for line in node.recovered:
        click.echo(f"levada: {line}", err=True)
    path = flow if flow is not None else bound_file(node.home.path)
    file = None
    if path is not None:
        file = FlowFile(node, path)
        for line in file.open(take, getpass.getuser()):
            click.echo(line, err=to_error)
    if values:
        check_overrides(node.flow, values)
        node.overrides = values
        node.controller.adopt(node.flow)
    return file


class Service:
    """A node that is being served."""

    def __init__(self, node: Node, attachments: Attachments, file: FlowFile | None) -> None:
        self._node = node
        self._attachments = attachments
        self._file = file
        self._stop = asyncio.Event()
        self._edited = asyncio.Event()

    async def run(self, *, port: int, duration: float | None, progress: bool) -> int:
        """Serve until told to stop; return the process's exit status."""
        node = self._node
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        routes = [web.get("/status", _status), web.post("/reload", self._reload)]
        for one in self._attachments.attachments:
            routes += one.routes()
        control = ControlServer(node, routes)
        await control.start()
        try:
            url = await self._attachments.server.start(node, host="127.0.0.1", port=port)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            click.echo(f"levada: port {port} cannot be had: {reason}. Choose another one with "
                       "--port", err=True)  # fmt: skip
            await control.stop()
            await asyncio.to_thread(node.stop)
            return 1
        node.controller.listeners.append(lambda flow: self._note_edit(loop))
        await self._serve(url, duration, progress)
        await self._attachments.server.stop()
        await control.stop()
        return 0

    def _note_edit(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon_threadsafe(self._edited.set)

    async def _serve(self, url: str, duration: float | None, progress: bool) -> None:
        node = self._node
        for one in self._attachments.attachments:
            one.attach(node)
        await asyncio.to_thread(node.start)
        click.echo(f"Levada runs '{node.flow.name}' from {node.home.path}")
        click.echo(f"{url}  (Ctrl-C stops)")
        async with asyncio.TaskGroup() as tasks:
            helpers = [tasks.create_task(self._write_edits(), name="flow file")]
            if progress:
                helpers.append(tasks.create_task(self._show(), name="progress"))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), duration)
            for helper in helpers:
                helper.cancel()
        click.echo("Stopping")
        late = await asyncio.to_thread(self._end)
        for path in late:
            click.echo(f"levada: {path} did not end in time; what it had taken is still queued",
                       err=True)  # fmt: skip

    def _end(self) -> list[str]:
        node = self._node
        node.controller.stop_all(node.settings.stop_timeout)
        for one in self._attachments.attachments:
            one.detach(node)
        if self._file is not None and self._edited.is_set():
            try:
                self._file.write()
            except BindingError as error:
                self._not_written(error)
        return node.stop()

    async def _write_edits(self) -> None:
        while True:
            await self._edited.wait()
            await asyncio.sleep(EDIT_GATHER_SECONDS)
            self._edited.clear()
            if self._file is None:
                continue
            try:
                await self._file.write_aside()
            except (BindingError, WriterError, OSError) as error:
                self._not_written(error)
            except asyncio.CancelledError:
                # Given up in the middle: it is written once more at the end.
                self._edited.set()
                raise

    def _not_written(self, error: Exception) -> None:
        self._node.bulletins.add("WARN", 0, "flow file", str(error))

    async def _show(self) -> None:
        progress = Progress(self._node)
        while True:
            await asyncio.sleep(1)
            progress.show()

    async def _reload(self, request: web.Request) -> web.Response:
        body = await request.json()
        path = body.get("flow")
        file = FlowFile(self._node, Path(path)) if path else self._file
        if file is None:
            raise LookupError("This node is bound to no flow file. Name one with --flow")
        lines = await asyncio.to_thread(file.open, body.get("take"), body.get("user", ""))
        self._file = file
        return web.json_response({"lines": lines, "revision": self._node.flow.revision})


async def _status(request: web.Request) -> web.Response:
    return web.json_response(await asyncio.to_thread(status, node_of(request)))
