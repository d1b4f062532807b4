"""What the reader found, before names become ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from runtime.model import (
    FunnelModel,
    LabelModel,
    Parameter,
    PortModel,
    Position,
    ProcessorModel,
    ServiceModel,
)

Component = ProcessorModel | PortModel | FunnelModel | ServiceModel


@dataclass
class Wire:
    """One line of a `to:`. `relationships` None: the component's one relationship is meant.

    `settings` are fields of `ConnectionModel`.
    """

    relationships: tuple[str, ...] | None
    target: str
    line: int
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class Draft:
    """A component with what cannot stand in its model yet. Its id is 0 until it is matched.

    `lines` are those of its parts: `property NAME`, `relationship NAME`, or a key of the text.
    `secrets` are properties whose value stays in the home.
    """

    model: Component
    line: int
    at: str
    id: int = 0
    wires: list[Wire] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    """Parts with a problem of their own, so that no second one follows from it."""


@dataclass
class GroupDraft:
    """A group; `path` leads to it from the root, whose path is empty."""

    name: str
    path: tuple[str, ...]
    line: int
    id: int = 0
    comments: str = ""
    context: str | None = None
    context_line: int = 0
    components: list[Draft] = field(default_factory=list)
    groups: list[GroupDraft] = field(default_factory=list)

    @property
    def at(self) -> str:
        """The path as people see it."""
        return " / ".join(self.path)

    def walk(self) -> Iterator[GroupDraft]:
        """Yield this group and all below it, parents first."""
        yield self
        for group in self.groups:
            yield from group.walk()


@dataclass
class LabelDraft:
    """A label and the path of its group."""

    model: LabelModel
    group: tuple[str, ...]
    line: int
    id: int = 0


@dataclass
class ContextDraft:
    """A parameter context; `inherits` holds names."""

    name: str
    line: int
    id: int = 0
    description: str = ""
    inherits: tuple[str, ...] = ()
    parameters: dict[str, Parameter] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)


@dataclass
class Place:
    """An entry of the layout."""

    at: Position
    bends: dict[str, tuple[Position, ...]] = field(default_factory=dict)


@dataclass
class FlowDraft:
    """Everything that a text says."""

    root: GroupDraft
    name: str = ""
    description: str = ""
    contexts: list[ContextDraft] = field(default_factory=list)
    labels: list[LabelDraft] = field(default_factory=list)
    layout: dict[tuple[str, ...], Place] = field(default_factory=dict)
