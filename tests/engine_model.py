"""The flow of the engine's model test, and what the model knows of flowfiles and sessions."""

from dataclasses import dataclass, field

from runtime.flowfile import FlowFile
from runtime.model import HOLD, ConnectionModel, ProcessorModel, Retry
from runtime.session import Session

A, B, C, LOOP, HELD = 1, 2, 3, 12, 21
EXPIRES, EXPIRY_SECONDS = 30, 50.0
PROCESSORS = (
    ProcessorModel(id=A, name="a", type="Step", penalty_seconds=5.0),
    ProcessorModel(
        id=B,
        name="b",
        type="Sink",
        penalty_seconds=2.0,
        retry=Retry(relationships=("failure",), count=2),
    ),
    ProcessorModel(id=C, name="c", type="Step", penalty_seconds=5.0),
)
CONNECTIONS = (
    ConnectionModel(id=10, source=A, destination=B, relationships=("success",)),
    ConnectionModel(id=11, source=A, destination=C, relationships=("success",), max_count=4),
    ConnectionModel(id=LOOP, source=A, destination=A, relationships=("other",)),
    ConnectionModel(id=20, source=B, destination=C, relationships=("success", "other")),
    ConnectionModel(id=HELD, source=B, destination=HOLD, relationships=("failure",)),
    ConnectionModel(
        id=EXPIRES,
        source=C,
        destination=A,
        relationships=("success",),
        expiration_seconds=EXPIRY_SECONDS,
    ),
)
TARGETS = {
    (connection.source, relationship): [
        one.id
        for one in CONNECTIONS
        if one.source == connection.source and relationship in one.relationships
    ]
    for connection in CONNECTIONS
    for relationship in connection.relationships
}


@dataclass
class Known:
    """A flowfile as the model has it."""

    connection: int
    attributes: dict[str, str]
    content: bytes
    retries: int = 0
    waited: bool = False
    """Its place is not that of its arrival any more."""


@dataclass
class Open:
    """A session and what it did, as the model has it."""

    session: Session
    taken: dict[int, Known] = field(default_factory=dict)
    work: dict[int, tuple[FlowFile, dict[str, str], bytes]] = field(default_factory=dict)
    """Newest versions of what is not accounted for."""
    new: set[int] = field(default_factory=set)
    parents: dict[int, int] = field(default_factory=dict)
    routed: dict[int, tuple[str, dict[str, str], bytes, bool, str | None]] = field(
        default_factory=dict
    )
    routes: list[str] = field(default_factory=list)
    """Relationships in the order of their first use: that in which queues receive."""
    dropped: set[int] = field(default_factory=set)
    back: set[int] = field(default_factory=set)
    waiting_back: set[int] = field(default_factory=set)
    held: set[int] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)
    state: dict[str, str] | None = None


class Ticket:
    """Notes that its commit was acknowledged."""

    def __init__(self, called: list["Ticket"]) -> None:
        self.sequence = 0
        self.call = lambda: called.append(self)
