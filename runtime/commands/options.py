"""Options that several commands share, and how errors reach the user."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from runtime.checkpoint import CheckpointDamagedError
from runtime.control import ControlError, NodeNotRunningError
from runtime.flow_binding import BindingError
from runtime.flow_home import FlowConflictError, FlowInvalidError
from runtime.fold import FoldError
from runtime.home import HomeError
from runtime.log import LogFailedError
from runtime.log_format import LogVersionError
from runtime.log_reader import LogDamagedError
from runtime.log_writer import LogStartError
from runtime.parameters import ParameterError, parse_override, parse_parameter_file
from runtime.registry import Registry
from runtime.secrets import SecretError
from runtime.settings import Settings, SettingsError, Source, load_settings
from runtime.units import parse_duration

EXTENSIONS: Final = "extensions"
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")
EXPECTED: Final = (
    BindingError,
    CheckpointDamagedError,
    ControlError,
    FlowConflictError,
    FlowInvalidError,
    FoldError,
    HomeError,
    LogDamagedError,
    LogFailedError,
    LogStartError,
    LogVersionError,
    NodeNotRunningError,
    ParameterError,
    SecretError,
    SettingsError,
)
"""Errors whose own words are for the user; anything else is a bug and shows its trace."""

home_option = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="LEVADA_HOME",
    default=Path(".levada"),
    show_default=True,
    help="The node's directory; LEVADA_HOME sets it too.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="SETTING=VALUE", help="Override a setting."
)
parameter_option = click.option(
    "--param", "parameters", multiple=True, metavar="NAME=VALUE", help="Set a flow parameter."
)
parameter_file_option = click.option(
    "--param-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Set flow parameters from NAME=VALUE lines or YAML.",
)
take_option = click.option(
    "--take",
    type=click.Choice(["file", "home"]),
    help="Which one counts when flow file and home both changed.",
)


class DurationType(click.ParamType):  # type: ignore[type-arg]  # generic only in click's stubs
    """A duration such as `30s` or `5 min`; a bare number is seconds."""

    name = "duration"

    def convert(self, value: Any, parameter: Any, context: Any) -> float:
        """Return seconds."""
        if isinstance(value, float):
            return value
        try:
            return parse_duration(f"{value} s" if _NUMBER.fullmatch(value) else value)
        except ValueError as error:
            self.fail(str(error), parameter, context)


def friendly(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let expected errors end a command with one message and status 1."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except EXPECTED as error:
            click.echo(f"levada: {error}", err=True)
            sys.exit(1)

    return wrapped


def read_settings(home: Path, overrides: tuple[str, ...]) -> tuple[Settings, list[Source]]:
    """Load the effective settings of a home."""
    return load_settings(home / "settings.yaml", overrides)


def read_parameters(parameters: tuple[str, ...], file: Path | None) -> dict[str, str]:
    """Gather `--param-file` and `--param`, of which the latter win."""
    values: dict[str, str] = {}
    if file is not None:
        values.update(parse_parameter_file(file.read_text(encoding="utf-8"), file=str(file)))
    values.update(parse_override(text) for text in parameters)
    return values


def make_registry(home: Path, flow: Path | None) -> Registry:
    """Find all types: installed ones, those of the home, and those that lie beside a flow file."""
    places = [home, *([flow.resolve().parent] if flow is not None else [])]
    # A flow may lie in its own home: nothing is looked at twice.
    directories = dict.fromkeys((place / EXTENSIONS).resolve() for place in places)
    return Registry(directories=list(directories))
