"""The flow as frozen data: engine, YAML, REST and canvas are its readers.

Every component and connection has an integer id that is unique in its home for life; queues,
log records and REST speak of ids, people of names. An edit makes a new `FlowModel` with the
next revision; nothing here has behaviour beyond walking the tree.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

RunState = Literal["running", "stopped", "disabled"]
Strategy = Literal["timer", "cron"]
Backoff = Literal["penalize", "yield"]
Position = tuple[float, float]

HOLD = 0
"""As a connection's destination: the queue keeps its flowfiles until somebody decides."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a processor runs. `period` is a duration (`5 sec`) or a CRON line of six fields."""

    strategy: Strategy = "timer"
    period: str = "0 sec"
    concurrent_tasks: int = 1
    run_duration_ms: int = 0
    primary_node_only: bool = False
    batch_size: int | None = None


class Retry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Relationships whose flowfiles are tried again first, and how. Seconds."""

    relationships: tuple[str, ...] = ()
    count: int = 10
    backoff: Backoff = "penalize"
    max_backoff_seconds: float = 600.0


class ProcessorModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A processor. `ended` are its auto-terminated relationships.

    A property's value is as the user wrote it (parameters and expressions unresolved); a sensitive
    one is encrypted (`runtime.secrets`). A property that is absent has its default.
    """

    id: int
    name: str
    type: str
    properties: dict[str, str] = {}
    ended: tuple[str, ...] = ()
    schedule: Schedule | None = None
    retry: Retry = Retry()
    penalty_seconds: float = 30.0
    yield_seconds: float = 1.0
    bulletin_level: str = "WARN"
    comments: str = ""
    state: RunState = "running"
    position: Position = (0.0, 0.0)


class PortModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An input or output port of a group."""

    id: int
    name: str
    kind: Literal["input", "output"]
    comments: str = ""
    state: RunState = "running"
    position: Position = (0.0, 0.0)


class FunnelModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A point where connections meet. In text it goes by its name."""

    id: int
    name: str = ""
    position: Position = (0.0, 0.0)


class LabelModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Words on the canvas."""

    id: int
    text: str
    position: Position = (0.0, 0.0)
    size: Position = (150.0, 40.0)
    colour: str = ""


class ConnectionModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A queue from a source's relationships to a destination.

    `destination` is HOLD for relationships that keep their flowfiles. Sources and destinations
    are ids of processors, funnels, or ports: of the connection's own group, or of its direct child
    groups. Zero disables a back-pressure limit; `expiration_seconds` 0 means never.
    `prioritizers`: `fifo`, `newest`, `oldest`, `attribute` or an expression (`${priority}`).
    """

    id: int
    source: int
    destination: int
    relationships: tuple[str, ...] = ()
    name: str = ""
    max_count: int = 10_000
    max_bytes: int = 2**30
    expiration_seconds: float = 0.0
    prioritizers: tuple[str, ...] = ()
    load_balance: str = ""
    bends: tuple[Position, ...] = ()


class ServiceModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A controller service, visible in its group and the groups below."""

    id: int
    name: str
    type: str
    properties: dict[str, str] = {}
    enabled: bool = True
    comments: str = ""


class Parameter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A named value; a sensitive one is encrypted. None: declared, but without a value."""

    value: str | None = None
    description: str = ""
    sensitive: bool = False


class ParameterContext(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A set of parameters; own ones win, then those of `inherits` (ids) in order."""

    id: int
    name: str
    parameters: dict[str, Parameter] = {}
    inherits: tuple[int, ...] = ()
    description: str = ""


class GroupModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A process group: components, their connections, services and child groups."""

    id: int
    name: str
    processors: tuple[ProcessorModel, ...] = ()
    ports: tuple[PortModel, ...] = ()
    funnels: tuple[FunnelModel, ...] = ()
    labels: tuple[LabelModel, ...] = ()
    connections: tuple[ConnectionModel, ...] = ()
    services: tuple[ServiceModel, ...] = ()
    groups: tuple["GroupModel", ...] = ()
    parameter_context: int | None = None
    comments: str = ""
    position: Position = (0.0, 0.0)

    def walk(self) -> Iterator["GroupModel"]:
        """Yield this group and all below it, parents first."""
        yield self
        for group in self.groups:
            yield from group.walk()


class FlowModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole flow at one revision. `next_id` is the first id never given."""

    root: GroupModel
    name: str = ""
    description: str = ""
    parameter_contexts: tuple[ParameterContext, ...] = ()
    revision: int = 0
    next_id: int = 1


encode_flow = msgspec.msgpack.Encoder().encode
decode_flow = msgspec.msgpack.Decoder(FlowModel).decode


def empty_flow(name: str = "Levada") -> FlowModel:
    """A flow with nothing but its root group."""
    return FlowModel(root=GroupModel(id=1, name=name), name=name, next_id=2)
