"""Ids for life: which component of a text is which of the flow that is known.

Within the same group a name decides; what is left goes by type and neighbours (a renamed
processor keeps its neighbours), then by name and type in another group (a moved one). A connection
is recognized by its two ends and relationships, then by its ends, then by its source and a shared
relationship (its destination changed), then by its destination and relationships (its source
did). So a queue keeps its flowfiles whichever end moves, one step at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Final

import msgspec

from runtime.flow_text.draft import Component, Draft, FlowDraft, GroupDraft
from runtime.flow_text.shape import Targets
from runtime.model import (
    HOLD,
    ConnectionModel,
    FlowModel,
    GroupModel,
    PortModel,
    ProcessorModel,
    ServiceModel,
)

MAX_PAIRS: Final = 250_000
"""More renamed components of one type than this allows are taken for new ones."""


class Gone(msgspec.Struct, frozen=True):
    """A part of the known flow that the text has no more. What it holds is to be parked."""

    id: int
    kind: str
    path: str


class Matcher:
    """Gives ids to the parts of one draft."""

    def __init__(self, known: FlowModel | None) -> None:
        self._known = known
        self._next = known.next_id if known else 1
        self._all: dict[int, Component] = {}
        self._left: dict[int, Component] = {}
        self._groups: dict[int, GroupModel] = {}
        self._paths: dict[int, tuple[str, str]] = {}
        self._connections: dict[int, ConnectionModel] = {}
        if known:
            self._collect(known.root, ())

    @property
    def next_id(self) -> int:
        """The first id that was not given."""
        return self._next

    def new_id(self) -> int:
        """Give the next id."""
        self._next += 1
        return self._next - 1

    def match(self, draft: FlowDraft) -> None:
        """Give an id to every group and component, and to contexts and labels."""
        if self._known:
            draft.root.id = self._known.root.id
            self._match_group(draft.root, self._known.root)
            self._match_moved(draft)
        for group in draft.root.walk():
            group.id = group.id or self.new_id()
            for component in group.components:
                component.id = component.id or self.new_id()
        self._match_contexts(draft)
        self._match_labels(draft)

    def match_connections(self, connections: list[ConnectionModel]) -> list[int]:
        """Return an id for each connection, whose ends have their ids already."""
        ids = [0] * len(connections)
        for keys in _CONNECTION_KEYS:
            left: dict[Hashable, list[int]] = defaultdict(list)
            for id, connection in self._connections.items():
                for key in keys(connection):
                    left[key].append(id)
            for index, connection in enumerate(connections):
                if not ids[index]:
                    ids[index] = self._take_connection(left, keys(connection))
        return [id or self.new_id() for id in ids]

    def gone(self) -> list[Gone]:
        """Return the known parts that no part of the draft took."""
        ids = [*self._groups, *self._left, *self._connections]
        return [Gone(id, *self._paths[id]) for id in sorted(ids)]

    def component(self, id: int) -> Component | None:
        """Return a known component."""
        return self._all.get(id)

    # Collecting

    def _collect(self, group: GroupModel, path: tuple[str, ...]) -> None:
        if path:
            self._groups[group.id] = group
            self._paths[group.id] = ("group", " / ".join(path))
        targets = Targets.of(group)
        for component in _components(group):
            self._left[component.id] = self._all[component.id] = component
            where = " / ".join((*path, component.name))
            self._paths[component.id] = (_kind(component)[0], where)
        for child in group.groups:
            self._collect(child, (*path, child.name))
        for connection in group.connections:
            self._connections[connection.id] = connection
            source = self._paths.get(connection.source, ("", ""))[1]
            end = "hold" if connection.destination == HOLD else targets.text(connection.destination)
            parts = [source, ", ".join(connection.relationships)] if source else [""]
            shown = " / ".join(part for part in parts if part)
            self._paths[connection.id] = ("connection", f"{shown} -> {end}")

    # Groups and components

    def _match_group(self, draft: GroupDraft, known: GroupModel) -> None:
        self._groups.pop(known.id, None)
        by_name = {(*_kind(one)[:1], one.name): one for one in _components(known)}
        for component in draft.components:
            found = by_name.get((*_kind(component.model)[:1], component.model.name))
            if found is not None:
                self._take(component, found)
        self._match_neighbours(draft, known)
        children = {child.name: child for child in known.groups}
        for group in draft.groups:
            if group.name in children:
                group.id = children[group.name].id
                self._match_group(group, children[group.name])
        self._match_renamed_groups(draft, known)

    def _match_renamed_groups(self, draft: GroupDraft, known: GroupModel) -> None:
        for group in draft.groups:
            if group.id:
                continue
            names = {one.model.name for one in group.components}
            left = [child for child in known.groups if child.id in self._groups]
            shared = [len(names & {one.name for one in _components(child)}) for child in left]
            if shared and max(shared) > 0:
                child = left[shared.index(max(shared))]
                group.id = child.id
                self._match_group(group, child)

    def _match_neighbours(self, draft: GroupDraft, known: GroupModel) -> None:
        fresh: dict[tuple[str, str], list[Draft]] = defaultdict(list)
        for component in draft.components:
            if not component.id:
                fresh[_kind(component.model)].append(component)
        old: dict[tuple[str, str], list[Component]] = defaultdict(list)
        for one in _components(known):
            if one.id in self._left:
                old[_kind(one)].append(one)
        near = None
        for kind, drafts in fresh.items():
            candidates = old.get(kind, [])
            if not candidates or len(drafts) * len(candidates) > MAX_PAIRS:
                continue
            near = near or (_draft_neighbours(draft), _known_neighbours(known))
            self._take_best(drafts, candidates, *near)

    def _take_best(
        self,
        drafts: list[Draft],
        candidates: list[Component],
        near: dict[str, set[str]],
        known_near: dict[str, set[str]],
    ) -> None:
        only = len(drafts) == len(candidates) == 1
        scored = [
            (_likeness(draft, one, near, known_near), draft, one)
            for draft in drafts
            for one in candidates
        ]
        for score, draft, one in sorted(scored, key=lambda entry: -entry[0]):
            if (score or only) and not draft.id and one.id in self._left:
                self._take(draft, one)

    def _match_moved(self, draft: FlowDraft) -> None:
        left: dict[tuple[tuple[str, str], str], list[Component]] = defaultdict(list)
        for one in self._left.values():
            left[_kind(one), one.name].append(one)
        for group in draft.root.walk():
            for component in group.components:
                if not component.id:
                    found = left.get((_kind(component.model), component.model.name), [])
                    if len(found) == 1 and found[0].id in self._left:
                        self._take(component, found[0])

    def _take(self, draft: Draft, known: Component) -> None:
        draft.id = known.id
        self._left.pop(known.id, None)

    # Connections, contexts, labels

    def _take_connection(self, left: dict[Hashable, list[int]], keys: Iterable[Hashable]) -> int:
        for key in keys:
            waiting = left.get(key, [])
            while waiting:
                id = waiting.pop(0)
                if self._connections.pop(id, None) is not None:
                    return id
        return 0

    def _match_contexts(self, draft: FlowDraft) -> None:
        known = self._known.parameter_contexts if self._known else ()
        ids = {context.name: context.id for context in known}
        for context in draft.contexts:
            context.id = ids.get(context.name) or self.new_id()

    def _match_labels(self, draft: FlowDraft) -> None:
        left: dict[tuple[str, ...], list[tuple[int, str]]] = {}
        if self._known:
            for path, group in walk_paths(self._known.root):
                left[path] = [(label.id, label.text) for label in group.labels]
        for same_text in (True, False):
            for label in draft.labels:
                waiting = left.get(label.group, [])
                found = [one for one in waiting if one[1] == label.model.text or not same_text]
                if found and not label.id:
                    label.id = found[0][0]
                    waiting.remove(found[0])
        for label in draft.labels:
            label.id = label.id or self.new_id()


def walk_paths(
    group: GroupModel, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], GroupModel]]:
    """Yield every group with the path that leads to it from the root."""
    yield path, group
    for child in group.groups:
        yield from walk_paths(child, (*path, child.name))


def _ends_and_relationships(one: ConnectionModel) -> list[Hashable]:
    return [(one.source, one.destination, frozenset(one.relationships), one.name)]


def _ends(one: ConnectionModel) -> list[Hashable]:
    shared = one.relationships or ("",)
    return [(one.source, one.destination, relationship) for relationship in shared]


def _source(one: ConnectionModel) -> list[Hashable]:
    return [(one.source, relationship) for relationship in one.relationships or ("",)]


def _destination(one: ConnectionModel) -> list[Hashable]:
    # Many components have a `hold`; that alone says nothing.
    return [(one.destination, one.relationships)] if one.destination != HOLD else []


def _exactly(one: ConnectionModel) -> list[Hashable]:
    return [(one.source, one.destination, frozenset(one.relationships))]


def _any_ends(one: ConnectionModel) -> list[Hashable]:
    return [(one.source, one.destination)]


_CONNECTION_KEYS: Final[tuple[Callable[[ConnectionModel], list[Hashable]], ...]] = (
    _ends_and_relationships, _exactly, _ends, _any_ends, _source, _destination,
)  # fmt: skip


def _components(group: GroupModel) -> list[Component]:
    return [*group.processors, *group.ports, *group.funnels, *group.services]


def _kind(component: Component) -> tuple[str, str]:
    if isinstance(component, ProcessorModel):
        return "processor", component.type
    if isinstance(component, ServiceModel):
        return "service", component.type
    if isinstance(component, PortModel):
        return f"{component.kind} port", ""
    return "funnel", ""


def _draft_neighbours(group: GroupDraft) -> dict[str, set[str]]:
    near: dict[str, set[str]] = defaultdict(set)
    for component in group.components:
        for wire in component.wires:
            near[component.model.name].add(f"> {wire.target}")
            near[wire.target].add(f"< {component.model.name}")
    return near


def _known_neighbours(group: GroupModel) -> dict[str, set[str]]:
    near: dict[str, set[str]] = defaultdict(set)
    targets = Targets.of(group)
    names = {one.id: one.name for one in _components(group)}
    for connection in group.connections:
        source = names.get(connection.source)
        end = "hold" if connection.destination == HOLD else targets.text(connection.destination)
        if source is not None:
            near[source].add(f"> {end}")
            near[end].add(f"< {source}")
    return near


def _likeness(
    draft: Draft, known: Component, near: dict[str, set[str]], known_near: dict[str, set[str]]
) -> int:
    # `hold` is everybody's neighbour.
    shared = near[draft.model.name] & known_near[known.name] - {"> hold"}
    mine: dict[str, str] = getattr(draft.model, "properties", {})
    theirs: dict[str, str] = getattr(known, "properties", {})
    same = [name for name, value in mine.items() if theirs.get(name) == value]
    return len(shared) + len(same)
