"""Levada: a visual dataflow runtime for streaming records.

This module is the front door: the names that authors of processors and tests import, and `main`,
the command line. The packages behind it are internal.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import runtime

if Path(str(runtime.__file__)).resolve().parent.parent != Path(__file__).resolve().parent:
    # The imports below would only say which part is missing. `main` looks at the other packages.
    raise ImportError(
        f"another module named 'runtime' ({runtime.__file__ or list(runtime.__path__)}) stands in "
        "the way of Levada's; remove it from the path"
    )

from runtime.commit import EventType
from runtime.creation import SessionError
from runtime.flowfile import Claim, FlowFile
from runtime.processor import (
    Context,
    ControllerService,
    Effects,
    Example,
    Input,
    Processor,
    Relationship,
    transform,
)
from runtime.properties import (
    Choice,
    Condition,
    DataSize,
    Duration,
    DynamicProperties,
    Expression,
    Pattern,
    Properties,
    Property,
    Service,
)
from runtime.session import Session

if TYPE_CHECKING:
    from runtime.testing import TestRunner, check_processor

__version__ = "0.1.0"

__all__ = [
    "Choice",
    "Claim",
    "Condition",
    "Context",
    "ControllerService",
    "DataSize",
    "Duration",
    "DynamicProperties",
    "Effects",
    "EventType",
    "Example",
    "Expression",
    "FlowFile",
    "Input",
    "Pattern",
    "Processor",
    "Properties",
    "Property",
    "Relationship",
    "Service",
    "Session",
    "SessionError",
    "TestRunner",
    "check_processor",
    "main",
    "transform",
]

PACKAGES = ("runtime", "processors", "provenance", "cluster", "canvas")


def __getattr__(name: str) -> object:
    # Tests need these; a node that starts does not.
    if name in ("TestRunner", "check_processor"):
        from runtime import testing

        found: object = getattr(testing, name)
        return found
    raise AttributeError(f"module 'levada' has no attribute '{name}'")


def main() -> None:
    """Run the command line."""
    if sys.flags.optimize:
        sys.exit("levada: Python runs with -O, which removes checks that Levada relies on")
    intruder = _intruder()
    if intruder:
        sys.exit(f"levada: {intruder}")
    _commands()()


def _commands() -> Callable[[], None]:
    import click

    from canvas.server import WebServer
    from provenance.attachment import ProvenanceAttachment
    from provenance.commands import provenance
    from runtime.commands.attachment import Attachments
    from runtime.commands.inspect import check, reload, settings, status
    from runtime.commands.repair import repair, verify
    from runtime.commands.run import run
    from runtime.commands.up import up

    @click.group()
    @click.version_option(__version__, prog_name="levada")
    @click.pass_context
    def levada(context: click.Context) -> None:
        """Levada: a dataflow runtime that loses nothing and remembers everything."""
        context.obj = Attachments([ProvenanceAttachment()], WebServer())

    for command in (up, run, check, status, settings, reload, verify, repair, provenance):
        levada.add_command(command)
    return levada


def _intruder() -> str:
    """Name a module that stands in the place of one of ours."""
    here = Path(__file__).resolve().parent
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None:
            return f"the package '{name}' is missing; reinstall levada"
        # A directory without __init__.py has no origin, but places where it was found.
        found = spec.origin or next(iter(spec.submodule_search_locations or ()), "")
        if spec.origin is None or Path(found).resolve().parent.parent != here:
            return (
                f"another module named '{name}' ({found}) stands in the way of Levada's; remove "
                "it from the path"
            )
    return ""


if __name__ == "__main__":
    main()
