"""Reading a flow: text in, model and problems out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.flow_text import shape
from runtime.flow_text.errors import FlowProblem, Problems
from runtime.flow_text.fields import Source
from runtime.flow_text.linking import Linker, Positions
from runtime.flow_text.matching import Gone
from runtime.flow_text.reader import read_draft
from runtime.flow_text.source import lines_of, parse_source
from runtime.model import FlowModel

if TYPE_CHECKING:
    from runtime.registry import Registry


@dataclass
class FlowReading:
    """What a text says.

    `model` is None when anything is wrong with the text; `partial` is then what could still be
    understood, for checking the rest of it. `gone` are parts of the known flow that the text has
    no more: park what they hold. `unplaced` are the ids of components without a position.
    """

    model: FlowModel | None
    problems: list[FlowProblem]
    partial: FlowModel | None = None
    positions: Positions = field(default_factory=Positions)
    gone: list[Gone] = field(default_factory=list)
    unplaced: frozenset[int] = frozenset()


def read_flow(
    text: str | bytes,
    *,
    file: str,
    registry: Registry | None,
    known: FlowModel | None = None,
) -> FlowReading:
    """Read a flow.

    Args:
        text: the YAML; bytes must be UTF-8.
        file: its name, for messages.
        registry: tells which relationship a bare `to: NAME` means and what a processor's period
            is by default; without it these are `success` and none.
        known: the flow whose ids, secrets and revision the components keep.
    """
    problems = Problems(file)
    root = parse_source(text, problems)
    if root is None:
        return FlowReading(None, problems.sorted())
    shown = text if isinstance(text, str) else text.decode("utf-8-sig")
    source = Source(lines_of(shown), problems)
    linker = Linker(read_draft(root, source, shape.vocabulary(registry)), known, problems)
    model = linker.link()
    return FlowReading(
        model=None if problems.found else model,
        problems=problems.sorted(),
        partial=model,
        positions=linker.positions,
        gone=linker.matcher.gone(),
        unplaced=frozenset(linker.unplaced),
    )
