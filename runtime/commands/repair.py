"""`levada verify` and `levada repair`: on a stopped home."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from runtime.commands.options import friendly, home_option, json_option
from runtime.home import HomeError, is_running
from runtime.verify import repair_home, report_lines, verify_home


@click.command()
@home_option
@json_option
@friendly
def verify(home: Path, as_json: bool) -> None:
    """Prove that log, checkpoints, queues and contents of a stopped home agree."""
    _must_be_stopped(home)
    report = verify_home(home)
    if as_json:
        click.echo(json.dumps(asdict(report)))
    else:
        for line in report_lines(report):
            click.echo(line)
        if report.problems:
            click.echo("`levada repair` says what a repair would cut", err=True)
    sys.exit(1 if report.problems else 0)


@click.command()
@home_option
@click.option("--yes", is_flag=True, help="Do it; without it nothing is changed.")
@friendly
def repair(home: Path, yes: bool) -> None:
    """Say what a repair of a damaged log loses, and do it when told --yes."""
    _must_be_stopped(home)
    plan = repair_home(home, confirmed=False)
    for sentence in plan.describe():
        click.echo(sentence)
    if not plan.needed:
        return
    if not yes:
        click.echo("Nothing was changed. `levada repair --yes` does it")
        sys.exit(1)
    for sentence in repair_home(home, confirmed=True).describe():
        click.echo(f"Done: {sentence}")


def _must_be_stopped(home: Path) -> None:
    if is_running(home):
        raise HomeError(f"A node runs on {home}. Stop it first")
