"""The shape of a flow's text: its keys, its names, and what it must know of processor types.

The tables are read by the reader (which keys exist), the writer (their order) and the JSON Schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from runtime.model import GroupModel

if TYPE_CHECKING:
    from runtime.processor import ControllerService, Processor
    from runtime.registry import Registry

VERSION: Final = "1"
END: Final = "end"
KEEP: Final = "hold"
RESERVED_NAMES: Final = (END, KEEP)
OWN_CONTEXT: Final = "flow"
"""The name of the parameter context that `parameters` at the top makes."""

FLOW_KEYS: Final = {
    "levada": "The version of this format: 1.",
    "name": "The flow's name.",
    "description": "What the flow is for.",
    "comments": "Notes on the root group.",
    "parameters": "The flow's own parameters, or the name of one of `contexts`.",
    "contexts": "Further parameter contexts by name.",
    "services": "Controller services by name.",
    "inputs": "Input ports by name.",
    "flow": "Processors and funnels by name; their order is the order on screen.",
    "outputs": "Output ports by name; beside a child's port stands where it leads in its parent.",
    "groups": "Process groups by name.",
    "labels": "Words on the canvas.",
    "layout": "Positions on the canvas by name, those in groups as group/name.",
}
GROUP_KEYS: Final = {
    "comments": "Notes.",
    "parameters": "The name of the group's parameter context.",
    **{key: FLOW_KEYS[key] for key in ("services", "inputs", "flow", "outputs", "groups")},
}
PROCESSOR_KEYS: Final = {
    "type": "The processor's type.",
    "comments": "Notes.",
    "properties": "Properties that differ from their default.",
    "schedule": "`every` a duration, or `cron` with six fields (seconds first).",
    "tasks": "How many triggers may run at once.",
    "batch size": "How many flowfiles a trigger takes at most.",
    "run duration": "How long a trigger may go on with one commit.",
    "node": "`primary`: only on the primary node of a cluster.",
    "penalty": "How long a penalized flowfile waits.",
    "yield": "How long the processor pauses after a yield.",
    "retry": "Relationships whose flowfiles are tried again first.",
    "bulletins": "The least level that is shown.",
    "state": "`stopped` or `disabled`; otherwise it runs.",
    "to": "Where each relationship leads; `end` terminates it, `hold` keeps its flowfiles.",
}
SERVICE_KEYS: Final = {
    "type": "The service's type.",
    "comments": "Notes.",
    "properties": "Properties that differ from their default.",
    "state": "`disabled`; otherwise it is enabled.",
}
FUNNEL_KEYS: Final = {"type": "`funnel`.", "to": "Where its flowfiles go."}
PORT_KEYS: Final = {key: PROCESSOR_KEYS[key] for key in ("comments", "state", "to")}
SCHEDULE_KEYS: Final = {"every": "A duration.", "cron": "Six fields, seconds first."}
RETRY_KEYS: Final = {
    "relationships": "One or several.",
    "count": "How many times.",
    "backoff": "`penalize` the flowfile or `yield` the processor.",
    "max backoff": "The longest pause.",
}
CONNECTION_KEYS: Final = {
    "name": "The connection's name.",
    "max count": "Back pressure from so many flowfiles; 0 switches it off.",
    "max size": "Back pressure from so much content; 0 switches it off.",
    "expires": "How long a flowfile may wait.",
    "prioritize": "`fifo`, `newest`, `oldest`, `attribute` or an expression; one or several.",
    "balance": "How a cluster spreads the flowfiles.",
}
PARAMETER_KEYS: Final = {
    "value": "The value; never that of a sensitive one.",
    "description": "What it is for.",
    "sensitive": "`true`: a secret, whose value is kept in the home.",
}
CONTEXT_KEYS: Final = {
    "description": "What it is for.",
    "inherits": "Contexts whose parameters it has too; its own win, then those listed earlier.",
    "parameters": "Its own parameters by name.",
}
LABEL_KEYS: Final = {
    "text": "The words.",
    "in": "The group that it lies in, as a path; nothing for the root.",
    "at": "Its position.",
    "size": "Its width and height.",
    "colour": "Its colour.",
}
LAYOUT_KEYS: Final = {"at": "The position.", "bends": "Bend points of its connections."}

STATES: Final = ("running", "stopped", "disabled")
SERVICE_STATES: Final = ("enabled", "disabled")
LEVELS: Final = ("DEBUG", "INFO", "WARN", "ERROR", "NONE")
NODES: Final = ("all", "primary")
BACKOFFS: Final = ("penalize", "yield")


class TypeFacts(msgspec.Struct, frozen=True):
    """What text needs to know of a type."""

    relationship: str | None = None
    """Its one relationship, where it has exactly one whatever its properties say."""
    period: str = "0 sec"
    secrets: tuple[str, ...] = ()
    """Names of its sensitive properties."""
    is_processor: bool = True


Vocabulary = Mapping[str, TypeFacts]
"""Facts by type name; plain data, so that another process can be told."""


def vocabulary(registry: Registry | None) -> dict[str, TypeFacts]:
    """Return the facts of all known types; none without a registry."""
    if registry is None:
        return {}
    facts = {}
    for name, service in registry.services().items():
        facts[name] = TypeFacts(secrets=_secrets(service), is_processor=False)
    for name, processor in registry.processors().items():
        one = _only_relationship(processor)
        facts[name] = TypeFacts(one, processor.default_period, _secrets(processor))
    return facts


def facts_of(known: Vocabulary, type: str) -> TypeFacts | None:
    """Return a type's facts, its name being simple or qualified."""
    return known.get(type.rpartition(".")[2])


def _only_relationship(processor: type) -> str | None:
    # Properties know parameters, parameters know problems of flows: at import it would be a circle.
    from runtime.processor import Processor, own_relationships

    assert issubclass(processor, Processor)
    computed = processor.relationships.__func__  # type: ignore[attr-defined]  # a class method
    if computed is not Processor.relationships.__func__:  # type: ignore[attr-defined]  # same
        return None
    own = own_relationships(processor)
    return own[0].name if len(own) == 1 else None


def _secrets(declared: type[Processor | ControllerService]) -> tuple[str, ...]:
    names = []
    for name, info in declared.Properties.model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and extra.get("sensitive"):
            former: Any = extra.get("formerly", ())
            names += [info.alias or name, *former]
    return tuple(names)


def join_names(names: Iterable[str], separator: str) -> str:
    """Join names so that `split_names` finds them again: one that needs it stands in quotes."""
    return separator.join(_quoted(name, separator.strip() or separator) for name in names)


def _quoted(name: str, separator: str) -> str:
    plain = name and name == name.strip() and name[0] != '"' and separator not in name
    return name if plain else '"' + name.replace('"', '""') + '"'


def split_names(text: str, separator: str) -> list[str]:
    """Split at `separator` outside of double quotes; two quotes within quotes mean one."""
    names, current, index, quoted, closed = [], "", 0, False, False
    while index < len(text):
        character = text[index]
        if quoted and character == '"' and text[index + 1 : index + 2] == '"':
            current, index = current + '"', index + 1
        elif character == '"' and (quoted or not current.strip()):
            quoted, closed = not quoted, quoted
            current = current if closed else ""
        elif character == separator and not quoted:
            names.append(current if closed else current.strip())
            current, closed = "", False
        elif not closed:
            current += character
        index += 1
    names.append(current if closed else current.strip())
    return names


def join_path(names: Iterable[str]) -> str:
    """Write a path of names: `group/name`."""
    return join_names(names, "/")


class Targets:
    """What a `to:` of one group can name, and how.

    A name alone is a processor, a funnel or an output port of the group; `group/port` is an input
    port of a child group. A text that is a name as it stands means that name; otherwise slashes
    separate, and a part in double quotes may hold a slash.
    """

    def __init__(self, own: Mapping[str, int], ports: Mapping[tuple[str, str], int]) -> None:
        self._own = own
        self._ports = ports
        self._texts: dict[int, str] = {}

    @classmethod
    def of(cls, group: GroupModel) -> Targets:
        """Collect a group's targets."""
        own = {one.name: one.id for one in group.processors}
        own |= {one.name: one.id for one in group.funnels}
        own |= {port.name: port.id for port in group.ports if port.kind == "output"}
        ports = {
            (child.name, port.name): port.id
            for child in group.groups
            for port in child.ports
            if port.kind == "input"
        }
        return cls(own, ports)

    def find(self, text: str) -> int | None:
        """Return the id of what a text names; None when it names nothing."""
        if not text.startswith('"') and text in self._own:
            return self._own[text]
        match split_names(text, "/"):
            case [name]:
                return self._own.get(name)
            case [group, port]:
                return self._ports.get((group, port))
            case _:
                return None

    def text(self, id: int) -> str:
        """Write a target so that `find` returns it."""
        if not self._texts:
            for name, found in self._own.items():
                self._texts[found] = self._shortest((name,), found)
            for names, found in self._ports.items():
                self._texts[found] = self._shortest(names, found)
        return self._texts[id]

    def _shortest(self, names: tuple[str, ...], id: int) -> str:
        plain = "/".join(names)
        if self.find(plain) == id and plain not in RESERVED_NAMES:
            return plain
        return "/".join('"' + name.replace('"', '""') + '"' for name in names)

    def texts(self) -> list[str]:
        """Return all targets, for messages."""
        return [*self._own, *("/".join(names) for names in self._ports)]
