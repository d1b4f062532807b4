"""A draft becomes a model: ids are matched, names of targets and contexts become ids."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import msgspec

from runtime.flow_text import shape
from runtime.flow_text.draft import ContextDraft, Draft, FlowDraft, GroupDraft, Place, Wire
from runtime.flow_text.errors import Problems, choices
from runtime.flow_text.matching import Matcher
from runtime.flow_text.names import with_distinct_names
from runtime.model import (
    HOLD,
    ConnectionModel,
    FlowModel,
    FunnelModel,
    GroupModel,
    Parameter,
    ParameterContext,
    PortModel,
    ProcessorModel,
    ServiceModel,
)
from runtime.secrets import ABSENT, PREFIX


@dataclass
class Positions:
    """Where in a text the parts of a model stand, by id and part.

    Parts: `property NAME`, `relationship NAME`, `parameter NAME`, or a key such as `schedule`; an
    empty one is the whole. A part in `broken` has a problem that was reported already.
    """

    lines: dict[tuple[int, str], int] = field(default_factory=dict)
    broken: set[tuple[int, str]] = field(default_factory=set)

    def line(self, id: int, *parts: str) -> int | None:
        """Return the line of the first of these parts that has one, else that of the whole."""
        for part in (*parts, ""):
            if (id, part) in self.lines:
                return self.lines[id, part]
        return None


class Linker:
    """Links one draft. `unplaced` are the ids of components that the layout does not name."""

    def __init__(self, draft: FlowDraft, known: FlowModel | None, problems: Problems) -> None:
        self._draft = draft
        # Texts are written with distinct names, so that is how the known flow is recognized.
        self._known = known = with_distinct_names(known) if known else None
        self._problems = problems
        self._contexts: dict[str, ContextDraft] = {one.name: one for one in draft.contexts}
        self.matcher = Matcher(known)
        self.positions = Positions()
        self.unplaced: set[int] = set()

    def link(self) -> FlowModel:
        """Build the model; names that lead nowhere are noted and left out."""
        draft = self._draft
        self.matcher.match(draft)
        self._note_positions()
        wired = [wired for group in draft.root.walk() for wired in self._connections(group)]
        ids = self.matcher.match_connections([connection for _, connection, _ in wired])
        connections: dict[int, list[ConnectionModel]] = {}
        for id, (group, connection, line) in zip(ids, wired, strict=True):
            self.positions.lines[id, ""] = line
            connections.setdefault(group, []).append(msgspec.structs.replace(connection, id=id))
        root = self._group(draft.root, connections)
        return FlowModel(
            root=root,
            name=draft.name,
            description=draft.description,
            parameter_contexts=tuple(self._context(one) for one in draft.contexts),
            revision=self._known.revision if self._known else 0,
            next_id=self.matcher.next_id,
        )

    def _note_positions(self) -> None:
        lines = self.positions.lines
        for group in self._draft.root.walk():
            lines[group.id, ""] = group.line
            lines[group.id, "parameters"] = group.context_line or group.line
            for component in group.components:
                lines[component.id, ""] = component.line
                lines.update({(component.id, part): at for part, at in component.lines.items()})
        for context in self._draft.contexts:
            lines[context.id, ""] = context.line
            for name, line in context.lines.items():
                part = name if name == "inherits" else f"parameter {name}"
                lines[context.id, part] = line

    # Connections

    def _connections(self, group: GroupDraft) -> list[tuple[int, ConnectionModel, int]]:
        targets = _targets(group)
        found = []
        outside = [one for child in group.groups for one in child.components if _is_output(one)]
        inside = [one for one in group.components if not _is_output(one)]
        for component in (*inside, *outside):
            for wire in component.wires:
                connection = self._connection(component, wire, targets)
                if connection is not None:
                    found.append((group.id, connection, wire.line))
        return found

    def _connection(
        self, source: Draft, wire: Wire, targets: shape.Targets
    ) -> ConnectionModel | None:
        destination = HOLD if wire.target == shape.KEEP else targets.find(wire.target)
        if destination is None:
            source.broken.update(f"relationship {one}" for one in wire.relationships or ())
            remedy = choices(wire.target, targets.texts(), intro="In its group there are")
            remedy += " `end` terminates a relationship, `hold` keeps its flowfiles."
            message = f"leads to '{wire.target}', which does not exist"
            self._problems.add("LV-011", message, remedy, line=wire.line, at=source.at)
            return None
        settings: dict[str, Any] = wire.settings
        return ConnectionModel(
            id=0,
            source=source.id,
            destination=destination,
            relationships=wire.relationships or (),
            **settings,
        )

    # Groups

    def _group(
        self, draft: GroupDraft, connections: dict[int, list[ConnectionModel]]
    ) -> GroupModel:
        keys = BendKeys(_targets(draft))
        places = self._places(draft)
        for child in draft.groups:
            places |= self._places(child)
        models = [self._component(one, places) for one in draft.components]
        bent = []
        for one in connections.get(draft.id, ()):
            place = places.get(one.source)
            bends = place.bends.get(keys.key(one), ()) if place else ()
            bent.append(msgspec.structs.replace(one, bends=bends) if bends else one)
        own = self._draft.layout.get(draft.path) if draft.path else None
        if draft.path and (own is None or math.isnan(own.at[0])):
            self.unplaced.add(draft.id)
        return GroupModel(
            id=draft.id,
            name=draft.name,
            processors=tuple(one for one in models if isinstance(one, ProcessorModel)),
            ports=tuple(one for one in models if isinstance(one, PortModel)),
            funnels=tuple(one for one in models if isinstance(one, FunnelModel)),
            labels=self._labels(draft),
            connections=tuple(bent),
            services=tuple(one for one in models if isinstance(one, ServiceModel)),
            groups=tuple(self._group(child, connections) for child in draft.groups),
            parameter_context=self._context_id(draft),
            comments=draft.comments,
            position=(0.0, 0.0) if own is None or math.isnan(own.at[0]) else own.at,
        )

    def _places(self, draft: GroupDraft) -> dict[int, Place]:
        layout = self._draft.layout
        paths = {one.id: (*draft.path, one.model.name) for one in draft.components}
        return {id: layout[path] for id, path in paths.items() if path in layout}

    def _component(
        self, draft: Draft, places: dict[int, Place]
    ) -> ProcessorModel | PortModel | FunnelModel | ServiceModel:
        self.positions.broken.update((draft.id, part) for part in draft.broken)
        model = msgspec.structs.replace(draft.model, id=draft.id)
        if isinstance(model, ProcessorModel | ServiceModel):
            properties = model.properties | self._kept_secrets(draft)
            ordered = {name: properties[name] for name in _property_names(draft, properties)}
            model = msgspec.structs.replace(model, properties=ordered)
        if isinstance(model, ServiceModel):
            return model
        place = places.get(draft.id)
        if place is None or math.isnan(place.at[0]):
            self.unplaced.add(draft.id)
            return model
        return msgspec.structs.replace(model, position=place.at)

    def _kept_secrets(self, draft: Draft) -> dict[str, str]:
        known = self.matcher.component(draft.id)
        kept = getattr(known, "properties", {})
        return {
            name: kept[name] if kept.get(name, "").startswith(PREFIX) else ABSENT
            for name in draft.secrets
        }

    def _labels(self, draft: GroupDraft) -> tuple[Any, ...]:
        labels = [one for one in self._draft.labels if one.group == draft.path]
        return tuple(msgspec.structs.replace(one.model, id=one.id) for one in labels)

    # Contexts

    def _context_id(self, draft: GroupDraft) -> int | None:
        if draft.context is None:
            return None
        found = self._contexts.get(draft.context)
        if found is None:
            self._unknown_context(draft.context, draft.context_line, draft.at)
        return found.id if found else None

    def _unknown_context(self, name: str, line: int, at: str) -> None:
        remedy = choices(name, self._contexts, intro="Parameter contexts are")
        message = f"the parameter context '{name}' does not exist"
        self._problems.add("LV-015", message, remedy, line=line, at=at)

    def _context(self, draft: ContextDraft) -> ParameterContext:
        known = self._known.parameter_contexts if self._known else ()
        secrets = {
            name: one.value
            for context in known
            if context.id == draft.id
            for name, one in context.parameters.items()
            if one.sensitive
        }
        parameters: dict[str, Parameter] = {}
        for name, one in draft.parameters.items():
            kept = one.sensitive and secrets.get(name) is not None
            parameters[name] = msgspec.structs.replace(one, value=secrets[name]) if kept else one
        inherits = []
        for name in draft.inherits:
            if name in self._contexts:
                inherits.append(self._contexts[name].id)
            else:
                at = f"context '{draft.name}'"
                self._unknown_context(name, draft.lines.get("inherits", draft.line), at)
        return ParameterContext(
            id=draft.id,
            name=draft.name,
            parameters=parameters,
            inherits=tuple(inherits),
            description=draft.description,
        )


class BendKeys:
    """Names a group's connections in the layout: `delayed -> merge`, numbered where it repeats."""

    def __init__(self, targets: shape.Targets) -> None:
        self._targets = targets
        self._seen: dict[tuple[int, str], int] = {}

    def key(self, connection: ConnectionModel) -> str:
        """Return the next connection's name; ask once for each, in their order."""
        target = (
            shape.KEEP
            if connection.destination == HOLD
            else self._targets.text(connection.destination)
        )
        key = f"{shape.join_names(connection.relationships, ', ')} -> {target}".strip()
        count = self._seen[connection.source, key] = self._seen.get((connection.source, key), 0) + 1
        return key if count == 1 else f"{key} {count}"


def _targets(group: GroupDraft) -> shape.Targets:
    own = {
        one.model.name: one.id
        for one in group.components
        if isinstance(one.model, ProcessorModel | FunnelModel) or _is_output(one)
    }
    ports = {
        (child.name, one.model.name): one.id
        for child in group.groups
        for one in child.components
        if isinstance(one.model, PortModel) and one.model.kind == "input"
    }
    return shape.Targets(own, ports)


def _is_output(draft: Draft) -> bool:
    return isinstance(draft.model, PortModel) and draft.model.kind == "output"


def _property_names(draft: Draft, properties: dict[str, str]) -> list[str]:
    # The text's order, in which secrets stand among the others.
    named = [part.removeprefix("property ") for part in draft.lines if part.startswith("property ")]
    return [name for name in named if name in properties]
