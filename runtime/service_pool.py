"""Controller services at run time: enabled before the processors that use them, shared by name.

A name is looked up in the group of whoever asks, then in the groups above it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from runtime.component import Component, ComponentContext
from runtime.expression import Environment
from runtime.model import FlowModel, GroupModel, ServiceModel
from runtime.processor import ControllerService, Processor
from runtime.properties import Scope, validate

if TYPE_CHECKING:
    from runtime.engine import Engine
    from runtime.registry import Registry

EnvironmentOf = Callable[[FlowModel, GroupModel], Environment]


class PooledService:
    """One service: its model, and its instance while it is enabled."""

    def __init__(self, model: ServiceModel, group: GroupModel) -> None:
        self.model = model
        self.group = group
        self.instance: ControllerService | None = None
        self.problem = ""


class ServicePool:
    """All services of a flow. Whoever calls holds the controller's lock."""

    def __init__(self, engine: Engine, registry: Registry) -> None:
        self._engine = engine
        self._registry = registry
        self._flow: FlowModel | None = None
        self._environment_of: EnvironmentOf | None = None
        self.services: dict[int, PooledService] = {}

    def adopt(self, flow: FlowModel, environment_of: EnvironmentOf) -> None:
        """Follow the flow: disable what is gone or changed; `enable_all` brings up the rest."""
        self._flow = flow
        self._environment_of = environment_of
        present: dict[int, PooledService] = {}
        for group in flow.root.walk():
            for model in group.services:
                known = self.services.get(model.id)
                if known is not None and known.model == model:
                    known.group = group
                    present[model.id] = known
                    continue
                if known is not None:
                    self._disable(known)
                present[model.id] = PooledService(model, group)
        for id, gone in self.services.items():
            if id not in present:
                self._disable(gone)
        self.services = present

    def find(self, flow: FlowModel, group: GroupModel, name: str) -> ControllerService:
        """Return the enabled service that `name` means in a group.

        Raises:
            LookupError: there is none, or it is not enabled; the message says which and why.
        """
        for candidate in reversed(_way_to(flow.root, group.id)):
            for model in candidate.services:
                if model.name == name:
                    return self._enabled(model)
        known = sorted({one.model.name for one in self.services.values()})
        raise LookupError(
            f"controller service '{name}' does not exist. There are: {', '.join(known) or 'none'}"
        )

    def _enabled(self, model: ServiceModel) -> ControllerService:
        pooled = self.services[model.id]
        if pooled.instance is None:
            why = pooled.problem or "it is disabled"
            raise LookupError(f"controller service '{model.name}' is not enabled: {why}")
        return pooled.instance

    def enable_all(self) -> None:
        """Enable what is meant to be and is not yet; problems become bulletins."""
        for pooled in self.services.values():
            if pooled.model.enabled and pooled.instance is None:
                self._enable(pooled)

    def disable_all(self) -> None:
        """Disable everything."""
        for pooled in self.services.values():
            self._disable(pooled)

    def _enable(self, pooled: PooledService) -> None:
        model = pooled.model
        declaration = self._registry.service(model.type)
        if declaration is None:
            self._problem(pooled, f"type '{model.type}' is not known on this node")
            return
        assert self._flow is not None and self._environment_of is not None
        flow, group = self._flow, pooled.group
        scope = Scope(self._environment_of(flow, group), lambda name: self.find(flow, group, name))
        outcome = validate(declaration.Properties, model.properties, scope)
        if outcome.properties is None:
            self._problem(pooled, "; ".join(str(one) for one in outcome.problems))
            return
        component = Component(model.id, model.name, model.name, Processor)
        try:
            instance = declaration(outcome.properties, ComponentContext(self._engine, component))
            instance.enable()
        except Exception as error:  # the author's code
            self._problem(pooled, f"{type(error).__name__}: {error}")
            return
        pooled.instance, pooled.problem = instance, ""

    def _problem(self, pooled: PooledService, problem: str) -> None:
        pooled.problem = problem
        model = pooled.model
        self._engine.bulletins.add(
            "ERROR", model.id, model.name,
            f"Controller service '{model.name}' ({model.type}) cannot be enabled: {problem}",
        )  # fmt: skip

    def _disable(self, pooled: PooledService) -> None:
        instance, pooled.instance = pooled.instance, None
        if instance is not None:
            try:
                instance.disable()
            except Exception as error:  # the author's code must not keep a flow from stopping
                self._problem(pooled, f"raised while it was disabled: {error}")


def _way_to(root: GroupModel, id: int) -> list[GroupModel]:
    """Return the groups from the root to the group `id`."""
    if root.id == id:
        return [root]
    for child in root.groups:
        way = _way_to(child, id)
        if way:
            return [root, *way]
    return []
