"""Everything that is wrong with a flow, all at once.

`read_flow` knows whether a text can be understood; this knows whether the flow can run: types,
properties, parameters, relationships, inputs, schedules, services, ports. A component that is
disabled is not checked. Loops are fine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cronsim import CronSim, CronSimError

from runtime.expression import Environment
from runtime.flow_text.errors import FlowProblem, Problems, choices
from runtime.flow_text.linking import Positions
from runtime.flow_text.matching import walk_paths
from runtime.flow_text.plain import is_secret, placed
from runtime.flow_text.reading import FlowReading, read_flow
from runtime.flow_text.shape import RESERVED_NAMES
from runtime.flowfile import Identity
from runtime.model import (
    FlowModel,
    GroupModel,
    Parameter,
    PortModel,
    ProcessorModel,
    Schedule,
    ServiceModel,
)
from runtime.parameters import effective, inheritance_cycles, property_texts, substitute
from runtime.processor import ControllerService, Input, Processor
from runtime.properties import Scope, canonical, details, is_service, validate
from runtime.registry import Registry
from runtime.secrets import ABSENT, is_encrypted
from runtime.units import parse_duration

_PRIORITIZERS = ("fifo", "newest", "oldest", "attribute")


def check_flow(
    model: FlowModel,
    registry: Registry,
    positions: Positions | None = None,
    *,
    file: str = "",
) -> list[FlowProblem]:
    """Return what keeps parts of a flow from running, in the order of the text."""
    checker = _Checker(model, registry, positions or Positions(), file)
    checker.check()
    return checker.problems.sorted()


def read_and_check(
    text: str | bytes, *, file: str, registry: Registry, known: FlowModel | None = None
) -> FlowReading:
    """Read a flow and check what could be understood of it; `problems` has both."""
    reading = read_flow(text, file=file, registry=registry, known=known)
    if reading.partial is not None:
        found = check_flow(reading.partial, registry, reading.positions, file=file)
        together = [*reading.problems, *found]
        reading.problems = sorted(dict.fromkeys(together), key=lambda one: one.line or 0)
    return reading


def cron_problem(line: str) -> str | None:
    """Return what is wrong with a CRON line, None if it can be kept.

    It has six fields: second, minute, hour, day of month, month, day of week; `?` means `*`.
    """
    fields = line.split()
    if len(fields) != 6:
        return f"has {len(fields)} fields; it must have six, seconds first: '0 */5 * * * *'"
    try:
        CronSim(line.replace("?", "*"), datetime(2024, 1, 1))
    except CronSimError as error:
        return f"does not parse ({str(error).lower()}); an example is '0 */5 * * * *'"
    return None


@dataclass
class _Group:
    """What the components of one group see."""

    model: GroupModel
    path: tuple[str, ...]
    parameters: dict[str, Parameter]
    services: dict[str, ServiceModel]
    incoming: set[int]
    outgoing: dict[int, set[str]]


class _Checker:
    def __init__(
        self, model: FlowModel, registry: Registry, positions: Positions, file: str
    ) -> None:
        self._model = model
        self._registry = registry
        self._positions = positions
        self.problems = Problems(file)

    def check(self) -> None:
        for context, circle in inheritance_cycles(self._model.parameter_contexts):
            line = self._positions.line(context.id, "inherits")
            self.problems.add(
                "LV-015", f"inherits from itself: {circle}", "Remove one of these.",
                line=line, at=f"context '{context.name}'",
            )  # fmt: skip
        services: dict[int, dict[str, ServiceModel]] = {}
        for path, group in walk_paths(self._model.root):
            above = services.get(group.id, {})
            visible = above | {one.name: one for one in group.services}
            services.update((child.id, visible) for child in group.groups)
            self._check_group(self._seen_by(group, path, visible))

    def _seen_by(
        self, group: GroupModel, path: tuple[str, ...], services: dict[str, ServiceModel]
    ) -> _Group:
        outgoing: dict[int, set[str]] = {}
        for one in group.connections:
            outgoing.setdefault(one.source, set()).update(one.relationships or ("",))
        return _Group(
            group,
            path,
            effective(self._model.parameter_contexts, group.parameter_context),
            services,
            {one.destination for one in group.connections},
            outgoing,
        )

    def _check_group(self, group: _Group) -> None:
        self._check_names(group)
        for service in group.model.services:
            if service.enabled:
                self._check_service(service, group)
        for processor in group.model.processors:
            if processor.state != "disabled":
                self._check_processor(processor, group)
        for port in group.model.ports:
            if group.path and port.state != "disabled":
                self._check_port(port, group)
        self._check_connections(group)

    def _check_names(self, group: _Group) -> None:
        model = group.model
        seen: set[str] = set()
        for one in [*placed(model), *model.groups]:
            at = " / ".join((*group.path, one.name))
            line = self._positions.line(one.id)
            if one.name in seen:
                remedy = "Names are unique within their group, whatever their kind: rename one."
                self.problems.add("LV-007", "its name occurs twice", remedy, line=line, at=at)
            if one.name in RESERVED_NAMES:
                message = f"'{one.name}' is no name for a component; as a target it has a meaning"
                self.problems.add("LV-009", message, "Choose another name.", line=line, at=at)
            if one.name:
                seen.add(one.name)

    def _check_connections(self, group: _Group) -> None:
        names = {one.id: one for one in group.model.processors}
        for connection in group.model.connections:
            for one in connection.prioritizers:
                if one not in _PRIORITIZERS and "${" not in one:
                    source = names.get(connection.source)
                    known = ", ".join(_PRIORITIZERS)
                    self.problems.add(
                        "LV-028", f"its queue is ordered by '{one}'",
                        f"It must be one of {known}, or an expression such as '${{priority}}'.",
                        line=self._positions.line(connection.id),
                        at=_at(group, source) if source else "",
                    )  # fmt: skip

    # Components

    def _check_processor(self, one: ProcessorModel, group: _Group) -> None:
        if (one.id, "type") in self._positions.broken:
            return
        declared = self._registry.processor(one.type)
        if declared is None:
            self._unknown_type(one, group, "processor", self._registry.processors())
            return
        properties = self._check_properties(one, declared, group)
        self._check_schedule(one, declared, group)
        if properties is not None:
            self._check_relationships(one, declared, properties, group)
        arrives = one.id in group.incoming
        if declared.input is Input.FORBIDDEN and arrives:
            self._note(
                one,
                group,
                "LV-020",
                "takes no flowfiles, and a connection leads to it",
                remedy="Lead the connection elsewhere.",
            )
        if declared.input is Input.REQUIRED and not arrives:
            self._note(
                one,
                group,
                "LV-021",
                "needs flowfiles, and no connection leads to it",
                remedy="Name it as a target in another component's `to`.",
            )

    def _check_service(self, one: ServiceModel, group: _Group) -> None:
        if (one.id, "type") in self._positions.broken:
            return
        declared = self._registry.service(one.type)
        if declared is None:
            self._unknown_type(one, group, "controller service", self._registry.services())
        else:
            self._check_properties(one, declared, group)

    def _unknown_type(
        self, one: ProcessorModel | ServiceModel, group: _Group, kind: str, known: Iterable[str]
    ) -> None:
        guess = self._registry.closest(one.type)
        guess = guess if guess in set(known) else None
        remedy = f"Did you mean '{guess}'?" if guess else "`levada processors` lists all."
        self._note(
            one,
            group,
            "LV-016",
            f"the {kind} type '{one.type}' is not known here",
            remedy=remedy,
            parts=("type",),
        )

    def _check_properties(
        self,
        one: ProcessorModel | ServiceModel,
        declared: type[Processor] | type[ControllerService],
        group: _Group,
    ) -> Any:
        raw = canonical(declared.Properties, one.properties)
        resolved = property_texts(declared.Properties, raw, group.parameters)
        told = {name for name, *_ in resolved.problems}
        for name, code, message, remedy in resolved.problems:
            part = f"property {name}"
            self._note(
                one, group, code, f"property '{name}' {message}", remedy=remedy, parts=(part,)
            )
        told |= self._check_secrets(one, declared, group, raw)
        environment = Environment(identity=Identity(0), parameters=resolved.parameters)
        outcome = validate(declared.Properties, resolved.texts, Scope(environment))
        for problem in outcome.problems:
            part = f"property {problem.property}"
            if problem.property not in told and (one.id, part) not in self._positions.broken:
                self._note(
                    one,
                    group,
                    "LV-019",
                    str(problem),
                    parts=(part, "properties"),
                )
        texts = {
            name: substitute(text, resolved.parameters) for name, text in resolved.texts.items()
        }
        self._check_services(one, declared, texts, group)
        return outcome.properties

    def _check_secrets(
        self,
        one: ProcessorModel | ServiceModel,
        declared: type[Processor] | type[ControllerService],
        group: _Group,
        raw: dict[str, str],
    ) -> set[str]:
        told = set()
        for field_name, info in declared.Properties.model_fields.items():
            name = info.alias or field_name
            text = raw.get(name)
            part = f"property {name}"
            if text == ABSENT:
                told.add(name)
                self._note(
                    one,
                    group,
                    "LV-027",
                    f"property '{name}' is a secret whose value is not in this home",
                    remedy="Set it on the canvas.",
                    parts=(part,),
                )
            elif text and details(info).get("sensitive") and is_secret(text, True):
                if is_encrypted(text):
                    continue
                told.add(name)
                self._note(
                    one,
                    group,
                    "LV-014",
                    f"property '{name}' is a secret in plain text",
                    remedy=f'Write `{name}: "#{{name}}"` with a sensitive parameter and give its'
                    " value with --param, or set it on the canvas.",
                    parts=(part,),
                )
        return told

    def _check_services(
        self,
        one: ProcessorModel | ServiceModel,
        declared: type[Processor] | type[ControllerService],
        texts: dict[str, str],
        group: _Group,
    ) -> None:
        for field_name, info in declared.Properties.model_fields.items():
            name = info.alias or field_name
            if is_service(info) and texts.get(name):
                message, remedy = self._service_problem(
                    texts[name], details(info).get("service_type", ""), group
                )
                if message:
                    text = f"property '{name}' names {message}"
                    self._note(
                        one, group, "LV-025", text, remedy=remedy, parts=(f"property {name}",)
                    )

    def _service_problem(self, name: str, wanted: str, group: _Group) -> tuple[str, str]:
        service = group.services.get(name)
        if service is None:
            remedy = choices(name, group.services, intro="Controller services here are")
            return f"the controller service '{name}', which does not exist", remedy
        declared = self._registry.service(service.type)
        if wanted and declared is not None and not _serves(declared, wanted):
            fitting = [
                other.name
                for other in group.services.values()
                if (known := self._registry.service(other.type)) and _serves(known, wanted)
            ]
            remedy = choices(name, fitting, intro=f"A {wanted} is needed; there are")
            return f"'{name}', which is a {service.type}", remedy
        if not service.enabled:
            return f"the controller service '{name}', which is disabled", "Enable it."
        return "", ""

    def _check_schedule(
        self, one: ProcessorModel, declared: type[Processor], group: _Group
    ) -> None:
        schedule = one.schedule
        if schedule is None:
            return
        message = _schedule_problem(schedule)
        if message and (one.id, "schedule") not in self._positions.broken:
            self._note(one, group, "LV-022", message, parts=("schedule",))
        if declared.serial and schedule.concurrent_tasks > 1:
            self._note(
                one,
                group,
                "LV-022",
                f"tasks is {schedule.concurrent_tasks}; this type runs one at a time",
                remedy="Remove `tasks`.",
                parts=("tasks",),
            )

    def _check_relationships(
        self, one: ProcessorModel, declared: type[Processor], properties: Any, group: _Group
    ) -> None:
        try:
            known = {each.name: each for each in declared.relationships(properties)}
        except Exception as error:  # the processor's author is somebody else: name it and go on
            message = f"cannot tell its relationships: {type(error).__name__}: {error}"
            remedy = "It is a mistake in the processor's code."
            self._note(one, group, "LV-019", message, remedy=remedy, parts=("type",))
            return
        used = group.outgoing.get(one.id, set()) | set(one.ended)
        broken = self._positions.broken
        for name in sorted(used - known.keys()):
            if name and (one.id, f"relationship {name}") not in broken:
                remedy = choices(name, known, intro="It has")
                parts = (f"relationship {name}", "to")
                self._note(
                    one,
                    group,
                    "LV-017",
                    f"has no relationship '{name}'",
                    remedy=remedy,
                    parts=parts,
                )
        for name in one.retry.relationships:
            if name not in known:
                message = f"retries '{name}', which is no relationship of it"
                remedy = choices(name, known, intro="It has")
                self._note(one, group, "LV-017", message, remedy=remedy, parts=("retry",))
        if (one.id, "to") in broken:
            return
        for name, each in known.items():
            is_told = (one.id, f"relationship {name}") in broken
            if name not in used and not each.ended and not is_told:
                self._note(
                    one,
                    group,
                    "LV-018",
                    f"its relationship '{name}' leads nowhere",
                    remedy=f"Give it a target in `to`; `{name}: end` drops its flowfiles,"
                    f" `{name}: hold` keeps them.",
                    parts=("to",),
                )

    def _check_port(self, port: PortModel, group: _Group) -> None:
        if port.kind == "input" and port.id not in group.outgoing:
            message, remedy = "leads nowhere", "Give it a `to`."
        elif port.kind == "output" and port.id not in group.incoming:
            message, remedy = "gets nothing", "Name it as a target within its group."
        else:
            return
        at = f"{' / '.join((*group.path, port.name))} ({port.kind} port)"
        line = self._positions.line(port.id)
        self.problems.add("LV-026", message, remedy, line=line, at=at)

    def _note(
        self,
        one: ProcessorModel | ServiceModel,
        group: _Group,
        code: str,
        message: str,
        *,
        remedy: str = "",
        parts: tuple[str, ...] = (),
    ) -> None:
        line = self._positions.line(one.id, *parts)
        self.problems.add(code, message, remedy, line=line, at=_at(group, one))


def _at(group: _Group, one: ProcessorModel | ServiceModel) -> str:
    return f"{' / '.join((*group.path, one.name))} ({one.type})"


def _serves(declared: type[ControllerService], wanted: str) -> bool:
    names = {base.__name__ for base in declared.__mro__}
    return wanted in names or wanted in declared.provides


def _schedule_problem(schedule: Schedule) -> str | None:
    if schedule.strategy == "cron":
        problem = cron_problem(schedule.period)
        return f"the schedule '{schedule.period}' {problem}" if problem else None
    try:
        parse_duration(schedule.period)
    except ValueError as error:
        return f"the period {error}"
    return None
