"""Commands that look: `check`, `status`, `settings`, `verify`, and `reload`, `repair`."""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from runtime.commands.options import (
    friendly,
    home_option,
    json_option,
    make_registry,
    read_settings,
    set_option,
    take_option,
)
from runtime.control import call
from runtime.flow_check import read_and_check
from runtime.settings import template
from runtime.units import format_size


@click.command()
@click.argument("flow", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@home_option
@json_option
@friendly
def check(flow: Path, home: Path, as_json: bool) -> None:
    """Find every mistake in FLOW, with its line and its remedy."""
    registry = make_registry(home, flow)
    reading = read_and_check(flow.read_bytes(), file=str(flow), registry=registry)
    if as_json:
        click.echo(json.dumps([_problem(one) for one in reading.problems]))
    else:
        for problem in registry.problems:
            click.echo(f"{problem.origin}: {problem.message}", err=True)
        for one in reading.problems:
            click.echo(str(one))
        if not reading.problems and reading.model is not None:
            count = sum(len(group.processors) for group in reading.model.root.walk())
            click.echo(f"{flow} is valid: {count} processors")
    sys.exit(1 if reading.problems else 0)


@click.command()
@home_option
@click.option("--watch", is_flag=True, help="Look again every second.")
@json_option
@friendly
def status(home: Path, watch: bool, as_json: bool) -> None:
    """Show components, queues, rates and bulletins of a running node."""
    found = asyncio.run(call(home, "GET", "/status"))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    # A pipe has no width of its own; lines that are cut short would lose names.
    console = Console(width=None if sys.stdout.isatty() else 160)
    if not watch:
        for table in _tables(found):
            console.print(table)
        return
    with Live(console=console, auto_refresh=False, screen=True) as live:
        try:
            while True:
                live.update(_grid(asyncio.run(call(home, "GET", "/status"))), refresh=True)
                time.sleep(1)  # noqa: TID251  # a person watches; nothing else runs here
        except KeyboardInterrupt:
            return


@click.command()
@home_option
@set_option
@click.option("--template", "as_template", is_flag=True, help="Print a settings.yaml to edit.")
@json_option
@friendly
def settings(home: Path, overrides: tuple[str, ...], as_template: bool, as_json: bool) -> None:
    """Print the effective settings and where each comes from."""
    if as_template:
        click.echo(template())
        return
    _, sources = read_settings(home, overrides)
    if as_json:
        click.echo(json.dumps({one.name: {"value": one.value, "origin": one.origin}
                               for one in sources}))  # fmt: skip
        return
    table = Table("setting", "value", "from", "meaning")
    for one in sources:
        table.add_row(one.name, one.value, one.origin, one.description)
    Console().print(table)


@click.command()
@home_option
@take_option
@click.option("--flow", type=click.Path(path_type=Path, dir_okay=False), help="Another flow file.")
@friendly
def reload(home: Path, take: str | None, flow: Path | None) -> None:
    """Bring a running node and its flow file together again."""
    body = {"take": take, "user": getpass.getuser(),
            "flow": str(flow.absolute()) if flow else None}  # fmt: skip
    answer = asyncio.run(call(home, "POST", "/reload", body))
    for line in answer["lines"] or ["Nothing to do: file and home agree"]:
        click.echo(line)


def _problem(one: Any) -> dict[str, Any]:
    return {
        "code": one.code,
        "file": one.file,
        "line": one.line,
        "component": one.component,
        "message": one.message,
        "remedy": one.remedy,
    }


def _grid(found: dict[str, Any]) -> Table:
    grid = Table.grid()
    for table in _tables(found):
        grid.add_row(table)
    return grid


def _tables(found: dict[str, Any]) -> list[Table]:
    totals = found["totals"]
    head = Table(title=f"{found['flow']}, revision {found['revision']}", show_header=False)
    head.add_row("in / out", f"{totals['flowfiles_in']:,} / {totals['flowfiles_out']:,} flowfiles")
    head.add_row("queued", f"{totals['queued']:,} ({format_size(totals['queued_bytes'])})")
    head.add_row("hops", f"{totals['hops']:,}")
    for name, value in sorted(found["counters"].items()):
        head.add_row(name, f"{value:,}")
    if found["stopped"]:
        head.add_row("waits", found["stopped"])
    tables = [head, _components(found["components"]), _connections(found["connections"])]
    if found["bulletins"]:
        tables.append(_bulletins(found["bulletins"]))
    return tables


def _components(rows: list[dict[str, Any]]) -> Table:
    table = Table("component", "type", "status", "in", "out", "read", "written", "tasks", "time",
                  title="Components, last 5 minutes")  # fmt: skip
    for row in rows:
        recent = row["five_minutes"]
        state = row["status"] + (f" ({row['problems'][0]})" if row["problems"] else "")
        table.add_row(
            row["path"],
            row["type"],
            state,
            f"{recent['in_count']:,}",
            f"{recent['out_count']:,}",
            format_size(recent["read_bytes"]),
            format_size(recent["written_bytes"]),
            f"{recent['tasks']:,}",
            f"{recent['task_seconds']:.2f} s",
        )
    return table


def _connections(rows: list[dict[str, Any]]) -> Table:
    table = Table("from", "relationship", "to", "queued", "bytes", title="Connections")
    for row in rows:
        table.add_row(
            row["source"] or "parked",
            ", ".join(row["relationships"]),
            row["destination"] or "hold",
            f"{row['queued']:,}" + (" full" if row["full"] else ""),
            format_size(row["queued_bytes"]),
        )
    return table


def _bulletins(rows: list[dict[str, Any]]) -> Table:
    table = Table("time", "level", "source", "message", title="Bulletins")
    for row in rows[-10:]:
        at = time.strftime("%H:%M:%S", time.localtime(row["time"]))
        times = f" ({row['repeats']} times)" if row["repeats"] > 1 else ""
        table.add_row(at, row["level"], row["source"], row["message"] + times)
    return table
