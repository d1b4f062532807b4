"""A model as a tree of plain values in the text's shape: what differs from a default, in order.

Mappings are dicts, lists are lists, everything else is a text already written as people do. The
writer compares two such trees to find what changed, and `difference` puts it into words.
"""

from __future__ import annotations

from collections.abc import Iterable

from runtime.flow_text import shape
from runtime.flow_text.linking import BendKeys
from runtime.flow_text.matching import walk_paths
from runtime.flow_text.names import with_distinct_names
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
    Retry,
    Schedule,
    ServiceModel,
)
from runtime.secrets import is_encrypted
from runtime.units import format_duration, format_size

Plain = str | list["Plain"] | dict[str, "Plain"]
Table = dict[str, Plain]
# What a text leaves out is what these have.
_SCHEDULE = Schedule()
_RETRY = Retry()
_PROCESSOR = ProcessorModel(id=0, name="", type="")
_CONNECTION = ConnectionModel(id=0, source=0, destination=0)
_LABEL = LabelModel(id=0, text="")

_SENSITIVE: Plain = {"sensitive": "true"}


def plain_flow(model: FlowModel, known: shape.Vocabulary) -> Table:
    """Return the whole flow."""
    model = with_distinct_names(model)
    names = {one.id: one.name for one in model.parameter_contexts}
    contexts = {one.name: one for one in model.parameter_contexts}
    own = contexts.get(shape.OWN_CONTEXT)
    if own is not None and (
        own.id != model.root.parameter_context or own.inherits or own.description
    ):
        own = None
    table: Table = {"levada": shape.VERSION, "name": model.name}
    _put(table, "description", model.description)
    if own is not None:
        table["parameters"] = _parameters(own)
        contexts.pop(own.name)
    group = _Group(model.root, names, known).table()
    if own is not None:
        group.pop("parameters", None)
    comments = group.pop("comments", "")
    _put(table, "comments", comments)
    if "parameters" in group:
        table["parameters"] = group.pop("parameters")
    _put(table, "contexts", {name: _context(one, names) for name, one in contexts.items()})
    table |= group
    _put(table, "labels", _labels(model.root))
    _put(table, "layout", _layout(model.root))
    return table


def _put(table: Table, key: str, value: Plain) -> None:
    if value:
        table[key] = value


def _parameters(context: ParameterContext) -> Plain:
    return {name: _parameter(one) for name, one in context.parameters.items()}


def _parameter(one: Parameter) -> Plain:
    table: Table = {}
    if one.value is not None and not one.sensitive:
        if not one.description:
            return one.value
        table["value"] = one.value
    _put(table, "description", one.description)
    if one.sensitive:
        table["sensitive"] = "true"
    return table


def _context(one: ParameterContext, names: dict[int, str]) -> Plain:
    table: Table = {}
    _put(table, "description", one.description)
    inherits: list[Plain] = [names[id] for id in one.inherits if id in names]
    _put(table, "inherits", inherits)
    _put(table, "parameters", _parameters(one))
    return table


class _Group:
    """One group's table; connections go to their sources' `to`."""

    def __init__(self, group: GroupModel, contexts: dict[int, str], known: shape.Vocabulary):
        self._group = group
        self._contexts = contexts
        self._known = known
        self._outgoing = by_source(group.connections)
        self._targets = shape.Targets.of(group)

    def table(self, parent: _Group | None = None) -> Table:
        group, table = self._group, Table()
        _put(table, "comments", group.comments)
        if group.parameter_context in self._contexts:
            table["parameters"] = self._contexts[group.parameter_context]
        _put(table, "services", self._services())
        inputs = [one for one in group.ports if one.kind == "input"]
        outputs = [one for one in group.ports if one.kind == "output"]
        _put(table, "inputs", {one.name: self._port(one, self) for one in inputs})
        flow: Table = {one.name: self._processor(one) for one in group.processors}
        flow |= {one.name: self._funnel(one) for one in group.funnels}
        _put(table, "flow", flow)
        _put(table, "outputs", {one.name: self._port(one, parent) for one in outputs})
        children = {
            one.name: _Group(one, self._contexts, self._known).table(self) for one in group.groups
        }
        table |= {"groups": dict(children)} if children else {}
        return table

    def _processor(self, one: ProcessorModel) -> Plain:
        facts = shape.facts_of(self._known, one.type)
        table = _processor(one, facts)
        _put(table, "to", self._processor_targets(one, facts))
        return table

    def _services(self) -> Table:
        return {
            one.name: _service(one, shape.facts_of(self._known, one.type))
            for one in self._group.services
        }

    def _funnel(self, one: FunnelModel) -> Plain:
        table: Table = {"type": "funnel"}
        _put(table, "to", _alone(self._to(one.id)))
        return table

    def _port(self, one: PortModel, owner: _Group | None) -> Plain:
        table: Table = {}
        _put(table, "comments", one.comments)
        if one.state != "running":
            table["state"] = one.state
        if owner is not None:
            _put(table, "to", _alone(owner._to(one.id)))
        return table

    # Connections

    def _to(self, source: int) -> list[Plain]:
        return [self._target(one) for one in self._outgoing.get(source, ())]

    def _target(self, one: ConnectionModel) -> Plain:
        name = shape.KEEP if one.destination == HOLD else self._targets.text(one.destination)
        settings = connection_settings(one)
        return {name: settings} if settings else name

    def _processor_targets(self, one: ProcessorModel, facts: shape.TypeFacts | None) -> Plain:
        by_key: dict[str, list[Plain]] = {}
        for connection in self._outgoing.get(one.id, ()):
            key = shape.join_names(connection.relationships, ", ")
            by_key.setdefault(key, []).append(self._target(connection))
        for name in one.ended:
            by_key.setdefault(shape.join_names([name], ", "), []).append(shape.END)
        only = facts.relationship if facts else None
        if only is not None and list(by_key) == [only]:
            targets = by_key[only]
            if all(isinstance(target, str) for target in targets):
                return _alone(targets)
        return {key: _alone(targets) for key, targets in by_key.items()}


def by_source(connections: Iterable[ConnectionModel]) -> dict[int, list[ConnectionModel]]:
    """Return connections by their source, in their order."""
    found: dict[int, list[ConnectionModel]] = {}
    for one in connections:
        found.setdefault(one.source, []).append(one)
    return found


def _alone(items: list[Plain]) -> Plain:
    return items[0] if len(items) == 1 else items


def connection_settings(one: ConnectionModel) -> Table:
    """Return what differs from a connection's defaults."""
    table: Table = {}
    _put(table, "name", one.name)
    if one.max_count != _CONNECTION.max_count:
        table["max count"] = str(one.max_count)
    if one.max_bytes != _CONNECTION.max_bytes:
        table["max size"] = format_size(one.max_bytes)
    if one.expiration_seconds != _CONNECTION.expiration_seconds:
        table["expires"] = format_duration(one.expiration_seconds)
    _put(table, "prioritize", _alone(list(one.prioritizers)))
    _put(table, "balance", one.load_balance)
    return table


def plain_component(one: ProcessorModel | PortModel | FunnelModel | ServiceModel) -> Table:
    """Return a component's settings without properties and targets."""
    if isinstance(one, ProcessorModel):
        table = _processor(one, None)
        ended: list[Plain] = [*sorted(one.ended)]
        table["ended"] = ended
    elif isinstance(one, ServiceModel):
        table = _service(one, None)
    elif isinstance(one, PortModel):
        table = {"comments": one.comments, "state": one.state}
    else:
        table = {}
    table.pop("properties", None)
    return table


def _processor(one: ProcessorModel, facts: shape.TypeFacts | None) -> Table:
    table: Table = {"type": one.type}
    _put(table, "comments", one.comments)
    _put(table, "properties", _properties(one.properties, facts))
    table |= _schedule(one.schedule, facts)
    if one.penalty_seconds != _PROCESSOR.penalty_seconds:
        table["penalty"] = format_duration(one.penalty_seconds)
    if one.yield_seconds != _PROCESSOR.yield_seconds:
        table["yield"] = format_duration(one.yield_seconds)
    _put(table, "retry", _retry(one.retry))
    if one.bulletin_level != _PROCESSOR.bulletin_level:
        table["bulletins"] = one.bulletin_level
    if one.state != "running":
        table["state"] = one.state
    return table


def _service(one: ServiceModel, facts: shape.TypeFacts | None) -> Table:
    table: Table = {"type": one.type}
    _put(table, "comments", one.comments)
    _put(table, "properties", _properties(one.properties, facts))
    if not one.enabled:
        table["state"] = "disabled"
    return table


def _properties(properties: dict[str, str], facts: shape.TypeFacts | None) -> Plain:
    secrets = facts.secrets if facts else ()
    return {
        name: _SENSITIVE if is_secret(value, name in secrets) else value
        for name, value in properties.items()
    }


def is_secret(value: str, sensitive: bool) -> bool:
    """Tell whether a property's value may not be written."""
    is_reference = value.startswith("#{") and value.endswith("}")
    return is_encrypted(value) or (sensitive and not is_reference)


def _schedule(one: Schedule | None, facts: shape.TypeFacts | None) -> Table:
    if one is None:
        return {}
    table: Table = {}
    if one.concurrent_tasks != 1:
        table["tasks"] = str(one.concurrent_tasks)
    if one.batch_size is not None:
        table["batch size"] = str(one.batch_size)
    if one.run_duration_ms != _SCHEDULE.run_duration_ms:
        table["run duration"] = format_duration(one.run_duration_ms / 1000)
    if one.primary_node_only:
        table["node"] = "primary"
    if one.strategy == "cron":
        return {"schedule": {"cron": one.period}, **table}
    if table and facts is not None and one.period == facts.period:
        return table
    return {"schedule": {"every": one.period}, **table}


def _retry(one: Retry) -> Plain:
    table: Table = {}
    if one.count != _RETRY.count:
        table["count"] = str(one.count)
    if one.backoff != "penalize":
        table["backoff"] = one.backoff
    if one.max_backoff_seconds != _RETRY.max_backoff_seconds:
        table["max backoff"] = format_duration(one.max_backoff_seconds)
    relationships = _alone(list(one.relationships))
    if not table:
        return relationships
    return {"relationships": relationships, **table} if relationships else table


# Canvas


def _labels(root: GroupModel) -> list[Plain]:
    labels: list[Plain] = []
    for path, group in walk_paths(root):
        for one in group.labels:
            table: Table = {"text": one.text}
            _put(table, "in", shape.join_path(path))
            table["at"] = _pair(one.position)
            if one.size != _LABEL.size:
                table["size"] = _pair(one.size)
            _put(table, "colour", one.colour)
            labels.append(table)
    return labels


def _layout(root: GroupModel) -> Table:
    layout: Table = {}
    bends: dict[int, Plain] = {}
    for path, group in walk_paths(root):
        # Bends of a child's output port belong to this group's connections: its turn comes later.
        bends |= _bends(group)
        for one in placed(group):
            at = _pair(one.position)
            bent = bends.get(one.id)
            layout[shape.join_path((*path, one.name))] = {"at": at, "bends": bent} if bent else at
        for child in group.groups:
            layout[shape.join_path((*path, child.name))] = _pair(child.position)
    return layout


def placed(group: GroupModel) -> list[PortModel | ProcessorModel | FunnelModel]:
    """Return the components of a group that have a position."""
    return [*group.ports, *group.processors, *group.funnels]


def _bends(group: GroupModel) -> dict[int, Plain]:
    keys = BendKeys(shape.Targets.of(group))
    found: dict[int, Plain] = {}
    for one in group.connections:
        key = keys.key(one)
        if one.bends:
            table = found.setdefault(one.source, {})
            assert isinstance(table, dict)
            table[key] = [_pair(bend) for bend in one.bends]
    return found


def _pair(position: Position) -> Plain:
    return [_coordinate(number) for number in position]


def _coordinate(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)
