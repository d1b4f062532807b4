"""Controller services at run time: enabled before the processors that use them, shared by name.

A name is looked up in the group of whoever asks, then in the groups above it. A service whose
`enable` raises is tried again with growing pauses, until it succeeds or is disabled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from runtime.component import Component, ComponentContext
from runtime.expression import Environment
from runtime.model import FlowModel, GroupModel, ServiceModel
from runtime.processor import ControllerService, Processor
from runtime.properties import Scope, validate
from runtime.secrets import is_encrypted

if TYPE_CHECKING:
    from runtime.engine import Engine
    from runtime.registry import Registry

EnvironmentOf = Callable[[FlowModel, GroupModel], Environment]

PAUSE_SECONDS_MIN: Final = 1.0
PAUSE_SECONDS_MAX: Final = 60.0


class PooledService:
    """One service: its model, and its instance while it is enabled."""

    def __init__(self, model: ServiceModel, group: GroupModel) -> None:
        self.model = model
        self.group = group
        self.instance: ControllerService | None = None
        self.problem = ""
        self.raised = False
        """Its `enable` raised, so that it is worth another try; a wrong setting is not."""
        self.pause_seconds = 0.0


class ServicePool:
    """All services of a flow. Whoever calls holds `lock`, the controller's."""

    def __init__(
        self,
        engine: Engine,
        registry: Registry,
        *,
        decrypt: Callable[[str], str],
        lock: threading.RLock,
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._decrypt = decrypt
        self._lock = lock
        self._timer: threading.Timer | None = None
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
        self._cancel()
        waiting = [
            one for one in self.services.values() if one.model.enabled and one.instance is None
        ]
        while waiting:
            # One that needs another succeeds once that one is there, whatever their order.
            left = [one for one in waiting if self._enable(one)]
            if len(left) == len(waiting):
                break
            waiting = left
        for pooled in waiting:
            self._put_off(pooled)
        if pauses := [one.pause_seconds for one in waiting if one.raised]:
            self._timer = threading.Timer(min(pauses), self._try_again)
            self._timer.daemon = True
            self._timer.start()

    def _put_off(self, pooled: PooledService) -> None:
        following = ""
        if pooled.raised:
            pooled.pause_seconds = min(
                PAUSE_SECONDS_MAX, pooled.pause_seconds * 2 or PAUSE_SECONDS_MIN
            )
            following = f". Next try in {pooled.pause_seconds:g} s"
        self._problem(pooled, f"cannot be enabled: {pooled.problem}{following}")

    def disable_all(self) -> None:
        """Disable everything."""
        self._cancel()
        for pooled in self.services.values():
            self._disable(pooled)

    def _try_again(self) -> None:
        with self._lock:
            if self._timer is threading.current_thread():
                self.enable_all()

    def _cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _enable(self, pooled: PooledService) -> str:
        """Enable one; return what is in the way, empty when nothing is."""
        pooled.problem = self._attempt(pooled)
        return pooled.problem

    def _attempt(self, pooled: PooledService) -> str:
        model = pooled.model
        pooled.raised = False
        declaration = self._registry.service(model.type)
        if declaration is None:
            return f"type '{model.type}' is not known on this node"
        assert self._flow is not None and self._environment_of is not None
        flow, group = self._flow, pooled.group
        scope = Scope(self._environment_of(flow, group), lambda name: self.find(flow, group, name))
        texts = {
            name: self._decrypt(value) if is_encrypted(value) else value
            for name, value in model.properties.items()
        }
        outcome = validate(declaration.Properties, texts, scope)
        if outcome.properties is None:
            return "; ".join(str(one) for one in outcome.problems)
        component = Component(model.id, model.name, model.name, Processor)
        try:
            instance = declaration(outcome.properties, ComponentContext(self._engine, component))
            instance.enable()
        except Exception as error:  # the author's code
            pooled.raised = True
            return f"{type(error).__name__}: {error}"
        pooled.instance, pooled.pause_seconds = instance, 0.0
        return ""

    def _problem(self, pooled: PooledService, problem: str) -> None:
        model = pooled.model
        self._engine.bulletins.add(
            "ERROR", model.id, model.name,
            f"Controller service '{model.name}' ({model.type}) {problem}",
        )  # fmt: skip

    def _disable(self, pooled: PooledService) -> None:
        instance, pooled.instance = pooled.instance, None
        if instance is not None:
            try:
                instance.disable()
            except Exception as error:  # the author's code must not keep a flow from stopping
                words = f"{type(error).__name__}: {error}"
                self._problem(pooled, f"raised while it was disabled: {words}")


def _way_to(root: GroupModel, id: int) -> list[GroupModel]:
    """Return the groups from the root to the group `id`."""
    if root.id == id:
        return [root]
    for child in root.groups:
        way = _way_to(child, id)
        if way:
            return [root, *way]
    return []
