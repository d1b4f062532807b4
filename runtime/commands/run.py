"""`levada run`: a flow without a server, until it is idle or a time is over."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.commands.attachment import Attachments
from runtime.commands.options import (
    DurationType,
    friendly,
    home_option,
    json_option,
    make_registry,
    parameter_file_option,
    parameter_option,
    read_parameters,
    read_settings,
    set_option,
    take_option,
)
from runtime.commands.progress import Progress
from runtime.commands.up import open_flow
from runtime.node import Node
from runtime.status import is_idle, totals

if TYPE_CHECKING:
    from runtime.status import Totals

LOOK_SECONDS = 0.02


@click.command()
@click.argument("flow", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@home_option
@click.option("--until-idle", is_flag=True, help="Stop when nothing is left to do (the default).")
@click.option("--for", "duration", type=DurationType(), help="Stop after this time at the latest.")
@take_option
@parameter_option
@parameter_file_option
@set_option
@json_option
@click.pass_context
@friendly
def run(
    context: click.Context,
    flow: Path,
    home: Path,
    until_idle: bool,
    duration: float | None,
    take: Any,
    parameters: tuple[str, ...],
    param_file: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run FLOW headless; run again on the same home, it goes on where it stopped."""
    settings, _ = read_settings(home, overrides)
    values = read_parameters(parameters, param_file)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    node = Node(home, settings=settings, registry=make_registry(home, flow))
    try:
        # Standard output belongs to the JSON.
        open_flow(node, flow, take, values, to_error=as_json)
    except BaseException:
        node.stop()
        raise
    attachments: Attachments = context.obj
    for one in attachments.attachments:
        one.attach(node)
    before = totals(node)
    seconds = run_to_end(node, duration, idle_ends=until_idle or duration is None)
    node.controller.stop_all(settings.stop_timeout)
    summary = _summary(before, totals(node), seconds, node)
    for one in attachments.attachments:
        one.detach(node)
    node.stop()
    click.echo(json.dumps(summary) if as_json else _words(summary))
    sys.exit(1 if summary["errors"] else 0)


def run_to_end(node: Node, duration: float | None, *, idle_ends: bool) -> float:
    """Start the node's flow and wait for its end; return the seconds in which it worked."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    clock = node.clock
    progress = Progress(node)
    started = clock.monotonic()
    node.start()
    if not node.engine.hops:
        # Components took their time to start (a table to load, say) and nothing has moved yet.
        started = clock.monotonic()
    shown = moved = started
    last = (-1, -1)
    ended = started
    while not stop.wait(LOOK_SECONDS):
        now = clock.monotonic()
        current = (node.engine.sequence, node.engine.hops)
        if current != last:
            last, moved = current, now
        if duration is not None and now - started >= duration:
            break
        if idle_ends and is_idle(node, moved):
            break
        if now - shown >= 1:
            shown = now
            progress.show()
    node.log.sync()
    ended = clock.monotonic() if stop.is_set() or not idle_ends else max(moved, started + 1e-6)
    progress.end()
    return ended - started


def _summary(before: Totals, after: Totals, seconds: float, node: Node) -> dict[str, Any]:
    hops = after.hops - before.hops
    return {
        "flowfiles_in": after.flowfiles_in - before.flowfiles_in,
        "flowfiles_out": after.flowfiles_out - before.flowfiles_out,
        "bytes": after.bytes - before.bytes,
        "seconds": round(seconds, 3),
        "hops": hops,
        "hops_per_second": round(hops / seconds) if seconds > 0 else 0,
        "queued": after.queued,
        "held": after.held,
        "errors": after.errors - before.errors,
        "counters": dict(sorted(node.engine.counters.items())),
    }


def _words(summary: dict[str, Any]) -> str:
    lines = [
        f"in {summary['flowfiles_in']:,}, out {summary['flowfiles_out']:,} flowfiles, "
        f"{summary['bytes']:,} bytes written, in {summary['seconds']:.2f} s",
        f"{summary['hops']:,} hops, {summary['hops_per_second']:,} a second",
    ]
    if summary["queued"] or summary["held"]:
        lines.append(f"{summary['queued']:,} queued, {summary['held']:,} held")
    lines += [f"{name}: {value:,}" for name, value in summary["counters"].items()]
    if summary["errors"]:
        lines.append(f"{summary['errors']:,} errors")
    return "\n".join(lines)
