"""`levada provenance …`: search, show, lineage, content, replay, sql.

All but `replay` read a home's files, whether a node runs on it or not; `replay` asks the node.
Exit codes: 0; 1 for what cannot be done; 2 for a command line that makes no sense.
"""

import asyncio
import getpass
import shutil
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from rich.console import RenderableType

from provenance import formats
from provenance.content import Contents, ContentUnknownError, contents, open_content
from provenance.database import TIME_LIMIT_SECONDS, Database, QueryError, look
from provenance.event import EventUnknownError
from provenance.home import Home, HomeError, open_home
from provenance.lineage import lineage as lineage_of
from provenance.search import MAX_RESULTS, Query, SearchError, find_event
from provenance.search import search as search_events
from provenance.times import TimeError, parse_time

Result = TypeVar("Result")

EXPECTED: Final = (HomeError, QueryError, SearchError, EventUnknownError, ContentUnknownError)
"""Errors whose own words are for the user."""

home_option = click.option(
    "--home",
    type=click.Path(path_type=Path),
    envvar="LEVADA_HOME",
    default=Path(".levada"),
    show_default=True,
    help="The node's directory; LEVADA_HOME sets it too.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Moment(click.ParamType):  # type: ignore[type-arg]  # generic only in click's stubs
    """A time as people type it."""

    name = "time"

    def convert(self, value: Any, parameter: Any, context: Any) -> datetime:
        """Parse it; the command line is wrong when it is none."""
        if isinstance(value, datetime):
            return value
        try:
            return parse_time(value, datetime.now().astimezone())
        except TimeError as error:
            self.fail(str(error), parameter, context)


@click.group()
def provenance() -> None:
    """What happened to flowfiles: search it, follow it, replay it."""


@provenance.command()
@click.argument("attributes", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--uuid", help="One flowfile.")
@click.option("--filename", help="Its file name; * stands for anything.")
@click.option("--component", help="Name, group / name, or id of the component.")
@click.option("--type", "type_", help="Event type: CREATE, ROUTE, DROP, ...")
@click.option("--relationship", help="The relationship by which it left.")
@click.option("--reason", help="Part of the error's message or class.")
@click.option("--since", type=Moment(), help="2026-11-23, 14:05, '2 hours ago'.")
@click.option("--until", type=Moment(), help="The same forms; not included.")
@click.option("--limit", type=click.IntRange(1, MAX_RESULTS), default=100, show_default=True)
@home_option
@json_option
def search(
    attributes: tuple[str, ...], type_: str | None, home: Path, as_json: bool, **conditions: Any
) -> None:
    """List events, newest first.

    NAME=VALUE selects flowfiles that ever had this attribute value, and what descended from
    them: levada provenance search tail_number=N14228
    """
    query = Query(type=type_, attributes=dict(map(_attribute, attributes)), **conditions)
    events, more = _ask(home, lambda database: search_events(database, query))
    if as_json:
        found = [formats.event_json(event) for event in events]
        click.echo(formats.json_text({"events": found, "more": more}))
        return
    if not events:
        click.echo("No event meets these conditions.")
        return
    _show(formats.event_table(events))
    if more:
        click.echo(f"There are more than these {len(events)}; narrow the search or raise --limit.")


def _attribute(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise click.UsageError(f"'{text}' is no condition; write NAME=VALUE, such as carrier=UA")
    return name, value


@provenance.command()
@click.argument("event", type=int)
@home_option
@json_option
def show(event: int, home: Path, as_json: bool) -> None:
    """Show one event, and its flowfile before and after it."""
    found = _ask(home, _contents(event))
    if as_json:
        click.echo(formats.json_text(formats.contents_json(found)))
    else:
        _show(formats.details(found))


@provenance.command()
@click.argument("uuid")
@home_option
@json_option
def lineage(uuid: str, home: Path, as_json: bool) -> None:
    """Show where a flowfile came from and what became of it."""
    found = _ask(home, lambda database: lineage_of(database, uuid))
    if as_json:
        click.echo(formats.json_text(formats.lineage_json(found)))
        return
    if not found.events:
        raise click.ClickException(
            f"Flowfile {found.uuid} has no events; retention may have dropped them"
        )
    _show(formats.lineage_tree(found))


@provenance.command()
@click.argument("event", type=int)
@click.option("--before", "side", flag_value="before", help="The content that came in.")
@click.option("--after", "side", flag_value="after", default=True, help="What went out. [default]")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file.")
@home_option
@json_option
def content(event: int, side: str, output: Path | None, home: Path, as_json: bool) -> None:
    """Write the content before or after an event to standard output or a file."""
    from runtime.content import ContentError

    found = _ask(home, _contents(event))
    try:
        claim = found.claim("before" if side == "before" else "after")
        if as_json:
            click.echo(formats.json_text({"side": side, "content": formats.claim_json(claim)}))
            return
        with open_content(open_home(home), claim) as source:
            if output is None:
                shutil.copyfileobj(source, sys.stdout.buffer)
            else:
                with open(output, "wb") as target:
                    shutil.copyfileobj(source, target)
    except (ContentUnknownError, ContentError, OSError) as error:
        raise click.ClickException(str(error)) from error


@provenance.command()
@click.argument("event", type=int)
@click.option("--note", default="", help="Why; it is kept with the event.")
@home_option
@json_option
def replay(event: int, note: str, home: Path, as_json: bool) -> None:
    """Queue again what an event's component was given; the node must run."""
    _opened(home)
    from runtime.control import ControlError, NodeNotRunningError, call

    path = f"/provenance/events/{event}/replay"
    try:
        answer = asyncio.run(call(home, "POST", path, {"note": note, "user": getpass.getuser()}))
    except (ControlError, NodeNotRunningError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(formats.json_text(answer))
    else:
        click.echo(f"Queued {answer['uuid']} in connection {answer['connection']}.")


@provenance.command()
@click.argument("query")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=1000, show_default=True)
@click.option(
    "--seconds", type=click.FloatRange(0.1, 3600), default=TIME_LIMIT_SECONDS, show_default=True
)
@home_option
@json_option
def sql(query: str, limit: int, seconds: float, home: Path, as_json: bool) -> None:
    """Run one SELECT over the view `events` (DESCRIBE events lists its columns).

    levada provenance sql "select component_name, count(*) from events group by all"
    """
    names, rows, more = _ask(
        home, lambda database: database.select(query, limit=limit, seconds=seconds)
    )
    if as_json:
        found = [[formats.plain(value) for value in row] for row in rows]
        click.echo(formats.json_text({"columns": names, "rows": found, "more": more}))
        return
    _show(formats.result_table(names, rows))
    if more:
        click.echo(f"There are more than these {limit} rows; raise --limit to see them.", err=True)


def _contents(event: int) -> Callable[[Database], Contents]:
    return lambda database: contents(database, find_event(database, event))


def _ask(home: Path, question: Callable[[Database], Result]) -> Result:
    """Ask a home's events; known errors become the command's error, gaps a warning."""
    opened = _opened(home)
    try:
        answer = look(opened, question)
    except EXPECTED as error:
        raise click.ClickException(str(error)) from error
    for gap in opened.gaps:
        click.echo(f"Warning: {gap}", err=True)
    return answer


def _opened(home: Path) -> Home:
    try:
        return open_home(home)
    except HomeError as error:
        raise click.ClickException(str(error)) from error


def _show(what: RenderableType) -> None:
    formats.console(terminal=sys.stdout.isatty()).print(what)
