"""A model with names that text can refer to.

The engine goes by ids, so a model may hold doubles (an import from NiFi), funnels without a name,
or a component called `end`. Text goes by names: doubles get a number, nameless things a name.
"""

from __future__ import annotations

from msgspec.structs import replace

from runtime.flow_text.shape import RESERVED_NAMES
from runtime.model import FlowModel, GroupModel, ParameterContext


def with_distinct_names(model: FlowModel) -> FlowModel:
    """Return the model with names that are unique within their group, in the order of text."""
    name = model.name or model.root.name or "Levada"
    contexts = _contexts(model)
    return replace(model, name=name, parameter_contexts=contexts, root=_group(model.root, name))


def _group(group: GroupModel, name: str) -> GroupModel:
    taken = set(RESERVED_NAMES)
    inputs = [one for one in group.ports if one.kind == "input"]
    outputs = [one for one in group.ports if one.kind == "output"]
    named_inputs = [replace(one, name=_free(one.name or "in", taken)) for one in inputs]
    processors = [
        replace(one, name=_free(one.name or one.type or "processor", taken))
        for one in group.processors
    ]
    funnels = [replace(one, name=_free(one.name or "funnel", taken)) for one in group.funnels]
    named_outputs = [replace(one, name=_free(one.name or "out", taken)) for one in outputs]
    groups = [_group(one, _free(one.name or "group", taken)) for one in group.groups]
    services: set[str] = set()
    return replace(
        group,
        name=name,
        processors=tuple(processors),
        ports=(*named_inputs, *named_outputs),
        funnels=tuple(funnels),
        groups=tuple(groups),
        services=tuple(
            replace(one, name=_free(one.name or one.type or "service", services))
            for one in group.services
        ),
    )


def _contexts(model: FlowModel) -> tuple[ParameterContext, ...]:
    taken: set[str] = set()
    return tuple(
        replace(one, name=_free(one.name or "parameters", taken))
        for one in model.parameter_contexts
    )


def _free(name: str, taken: set[str]) -> str:
    name = name if name.strip() else "unnamed"
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name} {number}"
    taken.add(free)
    return free
