"""Who a component is: its name, type and group in the flow revision that was in force.

A commit whose action holds an encoded flow starts a new revision, for itself and for all
commits after it, so `FlowNames` is fed every commit in log order.
"""

from typing import NamedTuple

from runtime.commit import Commit
from runtime.model import FlowModel, GroupModel, decode_flow


class Component(NamedTuple):
    """A component as people know it. `group` is the path of its group, `/` at the root."""

    name: str
    type: str
    group: str


NODE = Component("", "Node", "")
PATH_SEPARATOR = " / "


class FlowNames:
    """Names of components, and which of them choose between relationships.

    `encoded` is the flow model in force (None before the first is seen): what the index keeps
    beside each segment, so that the next one can go on from there.
    """

    def __init__(self, encoded: bytes | None = None) -> None:
        self.encoded: bytes | None = None
        self._components: dict[int, Component] = {}
        self._relationships: dict[int, set[str]] = {}
        if encoded is not None:
            self.replace(encoded)

    def replace(self, encoded: bytes) -> None:
        """Put another flow revision in force."""
        self.encoded = encoded
        model = decode_flow(encoded)
        self._components = dict(_components(model.root, ()))
        self._relationships = _relationships(model)

    def see(self, commit: Commit) -> None:
        """Take over the flow revision that a commit starts, if it starts one."""
        if commit.action is not None and commit.action.flow is not None:
            self.replace(commit.action.flow)

    def component(self, id: int) -> Component:
        """Return who `id` is; a component that the revision does not have keeps its number."""
        if id == 0:
            return NODE
        return self._components.get(id) or Component(f"component {id}", "", "")

    def chooses(self, id: int) -> bool:
        """Whether leaving this component was a choice: it has more than one relationship.

        The relationships are those of its connections and the ended ones: a processor is valid
        only when these are all. Without a flow model, or for a component that the model does not
        have, the answer is yes, because a route too many is better than one that is lost.
        """
        return id not in self._components or len(self._relationships.get(id, ())) > 1


def _components(
    group: GroupModel, parents: tuple[str, ...]
) -> "list[tuple[int, Component]]":
    path = PATH_SEPARATOR.join(parents) or "/"
    found = [(item.id, Component(item.name, item.type, path)) for item in group.processors]
    found += [(port.id, Component(port.name, f"{port.kind} port", path)) for port in group.ports]
    found += [(funnel.id, Component(funnel.name, "funnel", path)) for funnel in group.funnels]
    for child in group.groups:
        found += _components(child, (*parents, child.name))
    return found


def _relationships(model: FlowModel) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for group in model.root.walk():
        for connection in group.connections:
            found.setdefault(connection.source, set()).update(connection.relationships)
        for processor in group.processors:
            found.setdefault(processor.id, set()).update(processor.ended)
    return found
