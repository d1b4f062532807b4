"""What an edit changed, in lines that people read: `route: property 'delayed' 15 -> 30`.

Components are compared by their ids, so a renamed one is not a removed and a new one. Secrets are
named, never shown; positions are one line for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from runtime.flow_text.matching import walk_paths
from runtime.flow_text.plain import Plain, Table, connection_settings, placed, plain_component
from runtime.flow_text.shape import Targets
from runtime.flow_text.source import shorten
from runtime.model import (
    HOLD,
    ConnectionModel,
    FlowModel,
    FunnelModel,
    GroupModel,
    LabelModel,
    Parameter,
    ParameterContext,
    PortModel,
    Position,
    ProcessorModel,
    ServiceModel,
)
from runtime.secrets import is_encrypted

_Component = ProcessorModel | PortModel | FunnelModel | ServiceModel | GroupModel


class _Part(msgspec.Struct):
    path: str
    component: _Component


def difference(old: FlowModel, new: FlowModel) -> list[str]:
    """Return one line for each change, in the order of the new flow; none if nothing changed."""
    lines = [
        *_values("the flow", {"name": old.name, "description": old.description},
                 {"name": new.name, "description": new.description}),
        *_contexts(old.parameter_contexts, new.parameter_contexts),
    ]  # fmt: skip
    before, after = _parts(old.root), _parts(new.root)
    for id, part in after.items():
        if id not in before:
            lines.append(f"{part.path}: new {_kind(part.component)}")
        else:
            lines += _changes(before[id], part, (old, new))
    lines += [f"{part.path}: {_kind(part.component)} removed"
              for id, part in before.items() if id not in after]  # fmt: skip
    return [*lines, *_connections(old.root, new.root), *_canvas(old.root, new.root)]


def _parts(root: GroupModel) -> dict[int, _Part]:
    found: dict[int, _Part] = {}
    for path, group in walk_paths(root):
        found[group.id] = _Part(" / ".join(path) or "the root group", group)
        own: list[_Component] = [*group.services, *group.ports, *group.processors, *group.funnels]
        for one in own:
            found[one.id] = _Part(" / ".join((*path, one.name)), one)
    return found


def _kind(component: _Component) -> str:
    if isinstance(component, ProcessorModel):
        return f"{component.type}"
    if isinstance(component, ServiceModel):
        return f"controller service {component.type}"
    if isinstance(component, PortModel):
        return f"{component.kind} port"
    return "funnel" if isinstance(component, FunnelModel) else "group"


def _changes(before: _Part, after: _Part, models: tuple[FlowModel, FlowModel]) -> list[str]:
    path = after.path
    lines = []
    if before.path != path and before.component.name != after.component.name:
        lines.append(f"{path}: renamed from '{before.component.name}'")
    elif before.path.rpartition(" / ")[0] != path.rpartition(" / ")[0]:
        lines.append(f"{path}: moved from '{before.path}'")
    old = _table(before.component, models[0])
    new = _table(after.component, models[1])
    mine, theirs = _properties(before.component), _properties(after.component)
    lines += [
        f"{path}: property '{name}' {_shown(mine.get(name))} -> {_shown(theirs.get(name))}"
        for name in dict.fromkeys([*mine, *theirs])
        if mine.get(name) != theirs.get(name)
    ]
    return [*lines, *_values(path, old, new)]


def _table(component: _Component, model: FlowModel) -> Table:
    if isinstance(component, GroupModel):
        names: dict[int | None, str] = {one.id: one.name for one in model.parameter_contexts}
        context = names.get(component.parameter_context, "")
        return {"comments": component.comments, "parameters": context}
    return plain_component(component)


def _properties(component: _Component) -> Mapping[str, str]:
    return component.properties if isinstance(component, ProcessorModel | ServiceModel) else {}


def _values(path: str, old: Table, new: Table) -> list[str]:
    return [
        f"{path}: {key} {_shown(old.get(key))} -> {_shown(new.get(key))}"
        for key in dict.fromkeys([*old, *new])
        if (old.get(key) or None) != (new.get(key) or None)
    ]


def _shown(value: Plain | None) -> str:
    if not value:
        return "(none)" if value is None else "(empty)"
    if isinstance(value, str):
        return "(secret)" if is_encrypted(value) else shorten(value)
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value)
    return ", ".join(f"{key} {_shown(one)}" for key, one in value.items())


# Contexts


def _contexts(old: Iterable[ParameterContext], new: Iterable[ParameterContext]) -> list[str]:
    before, after = {one.id: one for one in old}, {one.id: one for one in new}
    lines = []
    for id, context in after.items():
        name = f"parameter context '{context.name}'"
        if id not in before:
            lines.append(f"{name}: new")
            continue
        earlier = before[id]
        lines += _values(name, {"name": earlier.name, "description": earlier.description,
                                "inherits": [str(one) for one in earlier.inherits]},
                         {"name": context.name, "description": context.description,
                          "inherits": [str(one) for one in context.inherits]})  # fmt: skip
        lines += _parameters(earlier.parameters, context.parameters)
    return lines + [
        f"parameter context '{one.name}': removed" for id, one in before.items() if id not in after
    ]


def _parameters(old: Mapping[str, Parameter], new: Mapping[str, Parameter]) -> list[str]:
    lines = []
    for name in dict.fromkeys([*old, *new]):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        if before is None:
            lines.append(f"parameter '{name}': new")
        elif after is None:
            lines.append(f"parameter '{name}': removed")
        elif before.value != after.value or before.sensitive != after.sensitive:
            lines.append(f"parameter '{name}' {_parameter(before)} -> {_parameter(after)}")
        else:
            lines.append(f"parameter '{name}': description changed")
    return lines


def _parameter(one: Parameter) -> str:
    return "(secret)" if one.sensitive else _shown(one.value)


# Connections and canvas


def _connections(old: GroupModel, new: GroupModel) -> list[str]:
    before, after = _named_connections(old), _named_connections(new)
    lines = []
    for id, (name, one) in after.items():
        if id not in before:
            lines.append(f"connection {name}: new")
            continue
        earlier_name, earlier = before[id]
        if _ends(earlier) != _ends(one):
            lines.append(f"connection {earlier_name}: is now {name}")
        old_settings, new_settings = connection_settings(earlier), connection_settings(one)
        lines += _values(f"connection {name}", old_settings, new_settings)
    return lines + [
        f"connection {name}: removed" for id, (name, _) in before.items() if id not in after
    ]


def _ends(one: ConnectionModel) -> tuple[object, ...]:
    return one.source, one.destination, one.relationships


def _named_connections(root: GroupModel) -> dict[int, tuple[str, ConnectionModel]]:
    found = {}
    for _, group in walk_paths(root):
        targets = Targets.of(group)
        names = {one.id: one.name for one in placed(group)}
        for child in group.groups:
            names.update((port.id, f"{child.name}/{port.name}") for port in child.ports)
        for one in group.connections:
            end = "hold" if one.destination == HOLD else targets.text(one.destination)
            relationships = f" ({', '.join(one.relationships)})" if one.relationships else ""
            found[one.id] = f"{names.get(one.source, '?')} -> {end}{relationships}", one
    return found


def _canvas(old: GroupModel, new: GroupModel) -> list[str]:
    before, after = _positions(old), _positions(new)
    moved = sum(after[id] != before[id] for id in after if id in before)
    lines = [f"layout: {moved} moved"] if moved else []
    if _labels(old) != _labels(new):
        lines.append("labels changed")
    return lines


def _positions(root: GroupModel) -> dict[int, tuple[Position, ...]]:
    found: dict[int, tuple[Position, ...]] = {}
    for _, group in walk_paths(root):
        found[group.id] = (group.position,)
        for one in placed(group):
            found[one.id] = (one.position,)
        for connection in group.connections:
            found[connection.id] = connection.bends
    return found


def _labels(root: GroupModel) -> list[LabelModel]:
    return [label for group in root.walk() for label in group.labels]
