"""A tree of YAML nodes as a draft of a flow: every key is looked at, every mistake noted."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from runtime.flow_text import shape
from runtime.flow_text.draft import (
    ContextDraft,
    Draft,
    FlowDraft,
    GroupDraft,
    LabelDraft,
    Place,
)
from runtime.flow_text.fields import Source
from runtime.flow_text.source import Mapping, Node, Scalar, Sequence
from runtime.flow_text.wires import read_wires
from runtime.model import (
    FunnelModel,
    LabelModel,
    Parameter,
    PortModel,
    ProcessorModel,
    Retry,
    Schedule,
    ServiceModel,
)
from runtime.secrets import PREFIX

Fields = dict[str, tuple[Scalar, Node]]


def read_draft(root: Mapping, source: Source, known: shape.Vocabulary) -> FlowDraft:
    """Read a flow's tree."""
    return _Reader(source, known).flow(root)


class _Reader:
    def __init__(self, source: Source, known: shape.Vocabulary) -> None:
        self._source = source
        self._vocabulary = known

    def flow(self, root: Mapping) -> FlowDraft:
        fields = self._source.fields(root, "", "the flow", shape.FLOW_KEYS)
        self._check_version(root, fields)
        name = self._text(fields, "name", "") or "Levada"
        group = GroupDraft(name, (), 1)
        draft = FlowDraft(group, name, self._text(fields, "description", "") or "")
        self._read_contexts(fields, draft)
        self._fill_group(group, fields)
        if "labels" in fields:
            draft.labels = list(self._labels(fields["labels"][1]))
        if "layout" in fields:
            draft.layout = self._layout(fields["layout"][1])
        return draft

    def _check_version(self, root: Mapping, fields: Fields) -> None:
        if "levada" not in fields:
            self._source.problems.add(
                "LV-006",
                "the text does not say which version of the format it is",
                "Start it with `levada: 1`.",
                line=root.line,
            )
            return
        node = fields["levada"][1]
        version = self._source.text(node, "", "levada")
        if version is not None and version != shape.VERSION:
            message = f"the format is version '{version}'; this Levada reads version 1"
            remedy = "Use a newer Levada, or write `levada: 1`."
            self._source.wrong(node, "", message, remedy, code="LV-006")

    # Contexts

    def _read_contexts(self, fields: Fields, draft: FlowDraft) -> None:
        if "parameters" in fields and isinstance(fields["parameters"][1], Mapping):
            key, node = fields.pop("parameters")
            own = ContextDraft(shape.OWN_CONTEXT, key.line)
            self._read_parameters(node, own)
            draft.contexts.append(own)
            draft.root.context, draft.root.context_line = own.name, key.line
        if "contexts" not in fields:
            return
        seen = {context.name: context.line for context in draft.contexts}
        for name, key, node in self._source.entries(fields["contexts"][1], "", "contexts"):
            if name in seen:
                message = f"'{name}' names the flow's own parameters, in line {seen[name]}"
                self._source.wrong(key, "", message, "Choose another name.", code="LV-007")
                continue
            draft.contexts.append(self._context(name, key, node))

    def _context(self, name: str, key: Scalar, node: Node) -> ContextDraft:
        at = f"context '{name}'"
        context = ContextDraft(name, key.line)
        fields = self._source.fields(node, at, "it", shape.CONTEXT_KEYS)
        context.description = self._text(fields, "description", at) or ""
        if "inherits" in fields:
            inherits = self._source.texts(fields["inherits"][1], at, "inherits")
            context.inherits = tuple(dict.fromkeys(inherits))
            context.lines["inherits"] = fields["inherits"][0].line
        if "parameters" in fields:
            self._read_parameters(fields["parameters"][1], context)
        return context

    def _read_parameters(self, node: Node, context: ContextDraft) -> None:
        for name, key, value in self._source.entries(node, "", "parameters"):
            context.parameters[name] = self._parameter(name, value)
            context.lines[name] = key.line

    def _parameter(self, name: str, node: Node) -> Parameter:
        at = f"parameter '{name}'"
        if not isinstance(node, Mapping):
            return Parameter(value=self._source.text(node, at, "it"))
        fields = self._source.fields(node, at, "it", shape.PARAMETER_KEYS)
        sensitive = False
        if "sensitive" in fields:
            sensitive = bool(self._source.truth(fields["sensitive"][1], at, "sensitive"))
        value = self._text(fields, "value", at)
        if value is not None and (sensitive or value.startswith(PREFIX)):
            self._source.wrong(
                fields["value"][1], at, "it is sensitive and has its value in the text",
                "Remove the value and give it with --param or on the canvas; the home keeps it"
                " encrypted.", code="LV-014",
            )  # fmt: skip
            value = None
        description = self._text(fields, "description", at) or ""
        return Parameter(value=value, description=description, sensitive=sensitive)

    # Groups

    def _fill_group(self, group: GroupDraft, fields: Fields) -> None:
        source, at = self._source, group.at
        group.comments = self._text(fields, "comments", at) or ""
        if "parameters" in fields:
            key, node = fields["parameters"]
            group.context = source.text(node, at, "parameters")
            group.context_line = key.line
        readers: dict[str, Callable[[GroupDraft, str, Scalar, Node], Draft]] = {
            "inputs": partial(self._port, direction="input"),
            "flow": self._component,
            "outputs": partial(self._port, direction="output"),
        }
        seen: dict[str, int] = {}
        for section, read in readers.items():
            if section in fields:
                for name, key, node in source.entries(fields[section][1], at, section):
                    if self._is_free(name, key, seen, at):
                        draft = read(group, name, key, node)
                        group.components.append(draft)
        if "services" in fields:
            for name, key, node in source.entries(fields["services"][1], at, "services"):
                group.components.append(self._service(group, name, key, node))
        if "groups" in fields:
            for name, key, node in source.entries(fields["groups"][1], at, "groups"):
                if self._is_free(name, key, seen, at):
                    self._add_child(group, name, key, node)

    def _add_child(self, group: GroupDraft, name: str, key: Scalar, node: Node) -> None:
        child = GroupDraft(name, (*group.path, name), key.line)
        group.groups.append(child)
        if not (isinstance(node, Scalar) and node.is_empty):
            fields = self._source.fields(node, child.at, "a group", shape.GROUP_KEYS)
            self._fill_group(child, fields)

    def _is_free(self, name: str, key: Scalar, seen: dict[str, int], at: str) -> bool:
        if name in shape.RESERVED_NAMES:
            meaning = "terminates a relationship" if name == shape.END else "keeps flowfiles"
            self._source.wrong(
                key, at, f"'{name}' is the name of a component; as a target it {meaning}",
                "Choose another name.", code="LV-009",
            )  # fmt: skip
        elif name in seen:
            self._source.wrong(
                key, at, f"the name '{name}' occurs twice; the first one is in line {seen[name]}",
                "Names are unique within their group, whatever their kind: rename one.",
                code="LV-007",
            )  # fmt: skip
        else:
            seen[name] = key.line
            return True
        return False

    # Components

    def _component(self, group: GroupDraft, name: str, key: Scalar, node: Node) -> Draft:
        type_name = self._type_of(node)
        if type_name == "funnel":
            return self._funnel(group, name, key, node)
        at = _place(group, name, type_name)
        draft = Draft(ProcessorModel(id=0, name=name, type=type_name), key.line, at)
        fields = self._source.fields(node, at, "a processor", shape.PROCESSOR_KEYS)
        _note_lines(draft, fields)
        self._require_type(fields, (key, node), draft)
        values = self._processor_values(fields, at, draft)
        ended = self._read_to(fields, at, draft)
        draft.model = ProcessorModel(id=0, name=name, type=type_name, ended=ended, **values)
        return draft

    def _processor_values(self, fields: Fields, at: str, draft: Draft) -> dict[str, Any]:
        source = self._source
        values: dict[str, Any] = {
            "comments": self._text(fields, "comments", at),
            "properties": self._properties(fields, at, draft),
            "schedule": self._schedule(fields, at, draft),
            "retry": self._retry(fields, at),
        }
        for key, name in (("penalty", "penalty_seconds"), ("yield", "yield_seconds")):
            if key in fields:
                values[name] = source.duration(fields[key][1], at, key)
        if "bulletins" in fields:
            values["bulletin_level"] = source.choice(
                fields["bulletins"][1], at, "bulletins", shape.LEVELS
            )
        if "state" in fields:
            values["state"] = source.choice(fields["state"][1], at, "state", shape.STATES)
        return {name: value for name, value in values.items() if value is not None}

    def _schedule(self, fields: Fields, at: str, draft: Draft) -> Schedule | None:
        source = self._source
        values: dict[str, Any] = {}
        if "schedule" in fields:
            values |= self._period(fields["schedule"][1], at)
        for key, name, least in (("tasks", "concurrent_tasks", 1), ("batch size", "batch_size", 1)):
            if key in fields:
                values[name] = source.number(fields[key][1], at, key, least)
        if "run duration" in fields:
            seconds = source.duration(fields["run duration"][1], at, "run duration")
            values["run_duration_ms"] = None if seconds is None else round(seconds * 1000)
        if "node" in fields:
            node = source.choice(fields["node"][1], at, "node", shape.NODES)
            values["primary_node_only"] = node == "primary"
        if not values:
            return None
        if "period" not in values:
            facts = shape.facts_of(self._vocabulary, _type(draft))
            values["period"] = facts.period if facts else "0 sec"
        return Schedule(**{name: value for name, value in values.items() if value is not None})

    def _period(self, node: Node, at: str) -> dict[str, Any]:
        fields = self._source.fields(node, at, "schedule", shape.SCHEDULE_KEYS)
        if len(fields) == 2:
            message = "schedule has both `every` and `cron`; one of them says when it runs"
            self._source.wrong(node, at, message, "Remove one.")
        if "cron" in fields:
            return {"strategy": "cron", "period": self._text(fields, "cron", at)}
        if "every" in fields:
            self._source.duration(fields["every"][1], at, "every")
            every = fields["every"][1]
            return {"period": every.text if isinstance(every, Scalar) else None}
        return {}

    def _retry(self, fields: Fields, at: str) -> Retry | None:
        if "retry" not in fields:
            return None
        source, node = self._source, fields["retry"][1]
        if not isinstance(node, Mapping):
            return Retry(relationships=source.texts(node, at, "retry"))
        inner = source.fields(node, at, "retry", shape.RETRY_KEYS)
        values: dict[str, Any] = {}
        if "relationships" in inner:
            values["relationships"] = source.texts(
                inner["relationships"][1], at, "retry relationships"
            )
        if "count" in inner:
            values["count"] = source.number(inner["count"][1], at, "retry count")
        if "backoff" in inner:
            values["backoff"] = source.choice(
                inner["backoff"][1], at, "retry backoff", shape.BACKOFFS
            )
        if "max backoff" in inner:
            values["max_backoff_seconds"] = source.duration(
                inner["max backoff"][1], at, "retry max backoff"
            )
        return Retry(**{name: value for name, value in values.items() if value is not None})

    def _service(self, group: GroupDraft, name: str, key: Scalar, node: Node) -> Draft:
        type_name = self._type_of(node)
        at = _place(group, name, type_name)
        draft = Draft(ServiceModel(id=0, name=name, type=type_name), key.line, at)
        fields = self._source.fields(node, at, "a service", shape.SERVICE_KEYS)
        _note_lines(draft, fields)
        self._require_type(fields, (key, node), draft)
        state = "enabled"
        if "state" in fields:
            node = fields["state"][1]
            state = self._source.choice(node, at, "state", shape.SERVICE_STATES) or state
        draft.model = ServiceModel(
            id=0,
            name=name,
            type=type_name,
            properties=self._properties(fields, at, draft),
            enabled=state == "enabled",
            comments=self._text(fields, "comments", at) or "",
        )
        return draft

    def _funnel(self, group: GroupDraft, name: str, key: Scalar, node: Node) -> Draft:
        at = _place(group, name, "funnel")
        draft = Draft(FunnelModel(id=0, name=name), key.line, at)
        fields = self._source.fields(node, at, "a funnel", shape.FUNNEL_KEYS)
        self._read_to(fields, at, draft)
        return draft

    def _port(
        self,
        group: GroupDraft,
        name: str,
        key: Scalar,
        node: Node,
        *,
        direction: Literal["input", "output"],
    ) -> Draft:
        at = _place(group, name, f"{direction} port")
        draft = Draft(PortModel(id=0, name=name, kind=direction), key.line, at)
        if isinstance(node, Scalar) and node.is_empty:
            return draft
        fields = self._source.fields(node, at, "a port", shape.PORT_KEYS)
        state = "running"
        if "state" in fields:
            state = self._source.choice(fields["state"][1], at, "state", shape.STATES) or state
        comments = self._text(fields, "comments", at) or ""
        draft.model = PortModel(
            id=0,
            name=name,
            kind=direction,
            comments=comments,
            state=state,  # type: ignore[arg-type]  # chosen from STATES
        )
        if direction == "output" and not group.path and "to" in fields:
            message = "an output port of the root group leads out of the flow; it has no `to`"
            self._source.wrong(fields["to"][0], at, message, "Remove it.", code="LV-008")
            return draft
        self._read_to(fields, at, draft)
        return draft

    def _read_to(self, fields: Fields, at: str, draft: Draft) -> tuple[str, ...]:
        if "to" not in fields:
            return ()
        facts = shape.facts_of(self._vocabulary, _type(draft))
        return read_wires(fields["to"][1], draft, self._source, facts)

    # Parts

    def _properties(self, fields: Fields, at: str, draft: Draft) -> dict[str, str]:
        found: dict[str, str] = {}
        if "properties" not in fields:
            return found
        for name, key, node in self._source.entries(fields["properties"][1], at, "properties"):
            part = f"property {name}"
            draft.lines[part] = key.line
            if isinstance(node, Mapping):
                self._keep_secret(name, node, at, draft)
                continue
            text = self._source.text(node, at, f"property '{name}'")
            if text is None:
                draft.broken.add(part)
            elif text.startswith(PREFIX):
                message = f"property '{name}' is an encrypted value; it has no meaning in a text"
                remedy = f"Write `{name}: {{sensitive: true}}` to keep the value of the home."
                self._source.wrong(node, at, message, remedy, code="LV-014")
                draft.broken.add(part)
            else:
                found[name] = text
        return found

    def _keep_secret(self, name: str, node: Mapping, at: str, draft: Draft) -> None:
        what = f"property '{name}'"
        if [key.text for key, _ in node.entries] != ["sensitive"]:
            message = f"{what} is a mapping; it must be a text"
            remedy = "A property's value is a text; a mapping or list needs quotes around it."
            self._source.wrong(node, at, message, remedy, code="LV-005")
            draft.broken.add(f"property {name}")
        elif self._source.truth(node.entries[0][1], at, what):
            draft.secrets.append(name)

    def _text(self, fields: Fields, key: str, at: str) -> str | None:
        return self._source.text(fields[key][1], at, key) if key in fields else None

    def _type_of(self, node: Node) -> str:
        for key, value in node.entries if isinstance(node, Mapping) else ():
            if key.text == "type" and isinstance(value, Scalar) and not value.is_empty:
                return value.text
        return ""

    def _require_type(self, fields: Fields, entry: tuple[Scalar, Node], draft: Draft) -> None:
        if _type(draft):
            return
        (key, node), at = entry, draft.at
        draft.broken.add("type")
        if not isinstance(node, Mapping):
            return
        if "type" in fields:
            self._source.text(fields["type"][1], at, "type")
        else:
            remedy = "Add a line such as `type: RouteOnAttribute`."
            self._source.wrong(key, at, "it has no `type`", remedy, code="LV-005")

    # Canvas

    def _labels(self, node: Node) -> list[LabelDraft]:
        if not isinstance(node, Sequence):
            remedy = "Start each with `- text:`."
            self._source.wrong(node, "", "labels must be a list", remedy, code="LV-005")
            return []
        return [self._label(item) for item in node.items]

    def _label(self, node: Node) -> LabelDraft:
        source = self._source
        fields = source.fields(node, "", "a label", shape.LABEL_KEYS)
        values: dict[str, Any] = {"text": self._text(fields, "text", "") or ""}
        for key, name in (("at", "position"), ("size", "size")):
            if key in fields:
                values[name] = source.position(fields[key][1], "", key)
        values["colour"] = self._text(fields, "colour", "")
        given = {name: value for name, value in values.items() if value is not None}
        group = self._text(fields, "in", "")
        path = tuple(shape.split_names(group, "/")) if group else ()
        return LabelDraft(LabelModel(id=0, **given), path, node.line)

    def _layout(self, node: Node) -> dict[tuple[str, ...], Place]:
        source, found = self._source, {}
        for name, _, value in source.entries(node, "", "layout"):
            at = f"layout of '{name}'"
            place = Place((math.nan, math.nan))
            if isinstance(value, Mapping):
                fields = source.fields(value, at, "it", shape.LAYOUT_KEYS)
                if "at" in fields:
                    place.at = source.position(fields["at"][1], at, "it") or place.at
                if "bends" in fields:
                    entries = source.entries(fields["bends"][1], at, "bends")
                    place.bends = {one: source.positions(points, at, "bends")
                                   for one, _, points in entries}  # fmt: skip
            else:
                place.at = source.position(value, at, "it") or place.at
            found[tuple(shape.split_names(name, "/"))] = place
        return found


def _type(draft: Draft) -> str:
    model = draft.model
    return model.type if isinstance(model, ProcessorModel | ServiceModel) else ""


def _place(group: GroupDraft, name: str, type_name: str) -> str:
    path = " / ".join((*group.path, name))
    return f"{path} ({type_name})" if type_name else path


def _note_lines(draft: Draft, fields: Fields) -> None:
    draft.lines.update({name: key.line for name, (key, _) in fields.items()})
