"""What the author of a processor or controller service writes against.

A processor is one class. Its declaration (properties, relationships, input, effects, example) is
read by validation, the canvas form, REST, the manual and the tests; nothing is told twice.

Life cycle: an instance is made from validated properties each time the processor starts or its
settings change; `start` runs before the first trigger, `stop` after the last one. `on_trigger`
runs on a worker thread (`def`) or on the event loop (`async def`); it takes flowfiles from the
session, and every one of them must be transferred, dropped, held or put back before it returns.
The engine then commits. An exception rolls the session back, penalizes what it had taken,
yields the processor and raises a bulletin; no processor catches errors for that, touches
statistics or logs.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from runtime.properties import Properties

if TYPE_CHECKING:
    from runtime.clock import Clock
    from runtime.session import Session

Level = Literal["DEBUG", "INFO", "WARN", "ERROR"]


class Relationship:
    """A named way out of a processor.

    As a class attribute it takes the attribute's name; `name` sets another (`not.found`).
    """

    __slots__ = ("_is_named", "description", "ended", "name")

    def __init__(self, description: str, *, name: str | None = None, ended: bool = False) -> None:
        self.description = description
        self.name = name or ""
        # The one way out of a port has the empty name.
        self._is_named = name is not None
        self.ended = ended
        """Auto-terminated unless the flow says otherwise."""

    def __set_name__(self, owner: type, name: str) -> None:
        if not self._is_named:
            self.name, self._is_named = name, True

    def __repr__(self) -> str:
        return f"Relationship({self.name!r})"


class Input(Enum):
    """Whether a processor has incoming connections."""

    REQUIRED = "required"
    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"


class Effects(Enum):
    """What a step does beside its session.

    A pure one can be repeated and memoised. One that writes outside is offered a flowfile only
    when the record that queued it is durable, so that no effect runs ahead of the log.
    """

    PURE = "pure"
    READS_OUTSIDE = "reads outside"
    WRITES_OUTSIDE = "writes outside"


@dataclass(frozen=True)
class Example:
    """A configuration with one input and what it gives: shown in the manual and run as a test.

    `given` and `expect` are (attributes, content); `expect` holds those attributes that matter,
    and `expect_content` None means that the content is not compared.
    """

    title: str
    properties: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    expect: str = "success"
    expect_attributes: Mapping[str, str] = field(default_factory=dict)
    expect_content: bytes | None = None


class Context(Protocol):
    """What the engine offers an instance besides its sessions. Safe to call from any thread."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str:
        """The group path and name, as messages show it: `Ingest / tail`."""
        ...

    @property
    def clock(self) -> Clock: ...
    @property
    def stopping(self) -> bool:
        """True once the processor is to stop; a long trigger should come to an end."""
        ...

    @property
    def state(self) -> Mapping[str, str]:
        """The small state as last committed; change it through a session."""
        ...

    def report(self, level: Level, message: str) -> None:
        """Show a bulletin; an exception from `on_trigger` needs none of its own."""
        ...

    def wake(self) -> None:
        """Something arrived: trigger soon."""
        ...

    def wake_in(self, seconds: float) -> None:
        """Trigger at the latest in so many seconds; replaces an earlier wish."""
        ...

    def yield_for(self, seconds: float | None = None) -> None:
        """Do not trigger for a while; None is the processor's configured yield duration."""
        ...

    def exhausted(self) -> None:
        """A source says that nothing more will come until something changes."""
        ...

    def has_room(self) -> bool:
        """False while an outgoing connection holds back pressure."""
        ...

    def open_session(self) -> Session:
        """A session outside a trigger, for servers that answer requests on the event loop.

        Whoever opens it commits it or rolls it back; `async` code awaits `commit_async`.
        """
        ...


class Processor:
    """Base class of processors; see the module for the life cycle."""

    Properties: type[Properties] = Properties
    input: ClassVar[Input] = Input.REQUIRED
    effects: ClassVar[Effects] = Effects.WRITES_OUTSIDE
    """The default is the careful one; `effects_of` can make it depend on the properties."""
    batch_size: ClassVar[int] = 100
    """How many flowfiles a trigger is offered at most; one commit covers them."""
    serial: ClassVar[bool] = False
    """Never more than one concurrent task."""
    trigger_when_empty: ClassVar[bool] = False
    """Trigger by schedule even where no flowfile waits in an incoming connection."""
    primary_node_only: ClassVar[bool] = False
    exclusive: ClassVar[bool] = False
    """Holds a resource that two instances cannot share (a port): restarted by an edit."""
    default_period: ClassVar[str] = "0 sec"
    tags: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[Mapping[str, str]] = {}
    writes: ClassVar[Mapping[str, str]] = {}
    """Attributes that it reads and writes, each with a sentence."""
    delivery: ClassVar[str] = ""
    """What a crash can repeat outside, where anything can."""
    example: ClassVar[Example | None] = None

    def __init__(self, properties: Any, context: Context) -> None:
        self.properties = properties
        self.context = context

    @classmethod
    def relationships(cls, properties: Any) -> list[Relationship]:
        """Return the ways out under these properties; by default the class's own."""
        return own_relationships(cls)

    @classmethod
    def effects_of(cls, properties: Any) -> Effects:
        """Return the effects under these properties."""
        return cls.effects

    def start(self) -> None | Awaitable[None]:
        """Prepare; may be `async def`. An exception is shown and tried again after the yield."""

    def stop(self) -> None | Awaitable[None]:
        """Release what `start` acquired; runs once after the last trigger, also after a failure."""

    def on_trigger(self, session: Session) -> None | Awaitable[None]:
        """Do the work; see the module."""
        raise TypeError(f"{type(self).__name__} has no on_trigger method; it needs one")

    def on_returned(self) -> None:
        """Held flowfiles went back to their queues: forget them."""


class ControllerService:
    """A resource that processors share; enabled before they start, disabled after they stop."""

    Properties: type[Properties] = Properties
    provides: ClassVar[tuple[str, ...]] = ()
    """Names of the interfaces that it serves, besides its own class name."""
    tags: ClassVar[tuple[str, ...]] = ()

    def __init__(self, properties: Any, context: Context) -> None:
        self.properties = properties
        self.context = context

    def enable(self) -> None:
        """Acquire; an exception leaves it enabling and is tried again, with growing pauses."""

    def disable(self) -> None:
        """Release what `enable` acquired."""


def own_relationships(cls: type[Processor]) -> list[Relationship]:
    """Return a class's relationship attributes in the order of their definition."""
    found: dict[str, Relationship] = {}
    for base in reversed(cls.__mro__):
        for value in vars(base).values():
            if isinstance(value, Relationship):
                found[value.name] = value
    return list(found.values())


def transform(
    function: Callable[..., Any] | None = None, *, tags: tuple[str, ...] | list[str] = ()
) -> Any:
    """Make a processor of a function `(content: bytes, attributes: Mapping[str, str])`.

    It returns the new content, or (content, changed attributes); an exception sends the flowfile
    to `failure` with the error as its reason. The function's name in CamelCase is the type, its
    docstring the description, and it counts as pure.
    """
    if function is None:
        return lambda decorated: transform(decorated, tags=tags)
    return _processor_of(function, tuple(tags))


def _processor_of(function: Callable[..., Any], tags: tuple[str, ...]) -> type[Processor]:
    takes_attributes = len(inspect.signature(function).parameters) > 1

    class Transform(Processor):
        input = Input.REQUIRED
        effects = Effects.PURE
        success = Relationship("Flowfiles that the function transformed.")
        failure = Relationship("Flowfiles at which it raised an exception.")

        def on_trigger(self, session: Session) -> None:
            for flowfile in session.take():
                content = session.read(flowfile)
                try:
                    result = (
                        function(content, session.attributes(flowfile))
                        if takes_attributes
                        else function(content)
                    )
                    written, changed = _content_and_changes(function, result)
                except Exception as error:  # the function is the user's: its error is data
                    session.transfer(flowfile, self.failure, reason=error)
                    continue
                if written is not content:
                    flowfile = session.write(flowfile, written)
                if changed:
                    flowfile = session.put(flowfile, changed)
                session.transfer(flowfile, self.success)

    Transform.__name__ = "".join(part.title() for part in function.__name__.split("_"))
    Transform.__qualname__ = Transform.__name__
    Transform.__module__ = function.__module__
    Transform.__doc__ = function.__doc__
    Transform.tags = tags
    return Transform


def _content_and_changes(
    function: Callable[..., Any], result: Any
) -> tuple[bytes, Mapping[str, str | None]]:
    content, changed = result if isinstance(result, tuple) and len(result) == 2 else (result, {})
    if isinstance(content, bytes) and isinstance(changed, Mapping):
        return content, changed
    raise TypeError(
        f"{function.__name__} returns {_kind(result)}; it must return bytes, or bytes and a "
        "mapping of changed attributes"
    )


def _kind(result: Any) -> str:
    if isinstance(result, tuple):
        return f"({', '.join(_kind(one) for one in result)})"
    return "None" if result is None else f"a value of type {type(result).__name__}"
