"""Flows that Hypothesis makes up, in the order that text gives them."""

from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from runtime.flow_text import with_distinct_names
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
    ProcessorModel,
    Retry,
    Schedule,
    ServiceModel,
)

# Names and texts come from a pool: drawing each of them character by character is slow, and it is
# the odd ones that matter. `strange_texts` in the scalar tests draws free ones.
words = ["a", "b", "merge", "end", "a/b", 'say "x"', "x, y", "null", "#1", "- z", "'", "\\", "é"]
names = st.sampled_from(words)
texts = st.sampled_from(
    ["", "", "", *words, "${a:gt(1)}", "#{p}", "a\nb", "a\n\n", " a", "a: b", "\x85", "\n", "~"]
)
seconds = st.sampled_from([0.0, 1.0, 30.0, 600.0, 0.001, 1.5, 86_400.0, 90.0])
pairs = st.sampled_from([(0.0, 0.0), (400.0, -7.0), (0.5, 1e-07)])
properties = st.dictionaries(names, texts, max_size=3)
relationships = st.lists(names, min_size=1, max_size=2, unique=True).map(tuple)

schedules = st.builds(
    Schedule,
    strategy=st.sampled_from(["timer", "cron"]),
    period=st.sampled_from(["0 sec", "5 min", "1.5 hours"]),
    concurrent_tasks=st.integers(1, 3),
    run_duration_ms=st.sampled_from([0, 25, 1500]),
    primary_node_only=st.booleans(),
    batch_size=st.none() | st.integers(1, 9),
)
retries = st.builds(
    Retry,
    relationships=st.lists(names, max_size=2).map(tuple),
    count=st.integers(0, 11),
    backoff=st.sampled_from(["penalize", "yield"]),
    max_backoff_seconds=seconds,
)
states = st.sampled_from(["running", "stopped", "disabled"])
parameters = st.builds(
    Parameter, value=st.none() | texts, description=texts, sensitive=st.booleans()
).map(lambda one: Parameter(description=one.description, sensitive=True) if one.sensitive else one)


@st.composite
def flows(draw: st.DrawFn) -> FlowModel:
    """Draw a flow that reads back as it is once its names are distinct."""
    maker = _Maker(draw)
    contexts = draw(st.lists(st.tuples(names, st.dictionaries(names, parameters, max_size=2)),
                             max_size=2))  # fmt: skip
    made: list[ParameterContext] = []
    for name, own in contexts:
        inherits = tuple(one.id for one in made if draw(st.booleans()))
        made.append(ParameterContext(id=maker.id(), name=name, parameters=own, inherits=inherits))
    root = maker.group("", 1, [one.id for one in made])
    model = FlowModel(
        root=root, name=draw(names), description=draw(texts), parameter_contexts=tuple(made)
    )
    return with_distinct_names(model)


class _Maker:
    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._last = 0

    def id(self) -> int:
        self._last += 1
        return self._last

    def several(self, strategy: st.SearchStrategy[Any], most: int = 2) -> list[Any]:
        return self._draw(st.lists(strategy, max_size=most))

    def group(self, name: str, depth: int, contexts: list[int]) -> GroupModel:
        draw = self._draw
        id = self.id()
        ports = [
            PortModel(id=self.id(), name=one, kind=kind, comments=draw(texts), state=draw(states))
            for kind in ("input", "output")
            for one in self.several(names)
        ]
        processors = [
            ProcessorModel(
                id=self.id(), name=one, type=draw(names), properties=draw(properties),
                schedule=draw(st.none() | schedules), retry=draw(retries),
                penalty_seconds=draw(seconds), yield_seconds=draw(seconds),
                bulletin_level=draw(st.sampled_from(["WARN", "ERROR"])),
                comments=draw(texts), state=draw(states), position=draw(pairs),
                ended=tuple(dict.fromkeys(self.several(names))),
            )
            for one in self.several(names, 3)
        ]  # fmt: skip
        processors = [one for one in processors if one.type != "funnel"]
        funnels = [
            FunnelModel(id=self.id(), name=one, position=draw(pairs)) for one in self.several(names)
        ]
        services = [
            ServiceModel(id=self.id(), name=one, type=draw(names), properties=draw(properties),
                         enabled=draw(st.booleans()), comments=draw(texts))
            for one in self.several(names)
        ]  # fmt: skip
        labels = [
            LabelModel(id=self.id(), text=one, position=draw(pairs), colour=draw(texts))
            for one in self.several(texts)
        ]
        groups = [
            self.group(one, depth - 1, contexts) for one in (self.several(names) if depth else [])
        ]
        group = GroupModel(
            id=id, name=name, processors=tuple(processors), ports=tuple(ports),
            funnels=tuple(funnels), services=tuple(services), labels=tuple(labels),
            groups=tuple(groups), comments=draw(texts),
            position=draw(pairs) if name else (0.0, 0.0),
            parameter_context=draw(st.sampled_from([None, *contexts])),
        )  # fmt: skip
        return _connected(draw, self, group)


def _connected(draw: st.DrawFn, maker: _Maker, group: GroupModel) -> GroupModel:
    children = [port for child in group.groups for port in child.ports]
    sources: list[Any] = [
        *(one for one in group.ports if one.kind == "input"), *group.processors, *group.funnels,
        *(port for port in children if port.kind == "output"),
    ]  # fmt: skip
    targets = [
        HOLD, *(one.id for one in group.processors), *(one.id for one in group.funnels),
        *(one.id for one in group.ports if one.kind == "output"),
        *(port.id for port in children if port.kind == "input"),
    ]  # fmt: skip
    connections = []
    for source in sources:
        by_key = draw(st.lists(relationships, max_size=2, unique=True))
        for key in by_key if isinstance(source, ProcessorModel) else [()]:
            connections += [
                ConnectionModel(
                    id=maker.id(), source=source.id, destination=target, relationships=key,
                    name=draw(texts), max_count=draw(st.sampled_from([0, 10_000, 20_000])),
                    max_bytes=draw(st.sampled_from([0, 2**30, 1000])),
                    expiration_seconds=draw(seconds),
                    prioritizers=draw(st.lists(names, max_size=2).map(tuple)),
                    load_balance=draw(texts), bends=draw(st.lists(pairs, max_size=2).map(tuple)),
                )
                for target in draw(st.lists(st.sampled_from(targets), max_size=2))
            ]  # fmt: skip
    return replace(group, connections=tuple(connections))
