"""`to:` as wires: where each relationship of a component leads.

For a processor it is a mapping of relationships to targets, or the targets of its one
relationship directly. One queue that several relationships share has them all in its key:
`success, retry: next`. For a port or a funnel, which have no relationships, it is the targets.

A target is a name, or a name with the connection's settings; several of them stand in a list:
`[count, {merge: {max count: 20000}}]`.
"""

from __future__ import annotations

from typing import Any

from runtime.flow_text import shape
from runtime.flow_text.draft import Draft, Wire
from runtime.flow_text.fields import Source
from runtime.flow_text.source import Mapping, Node, Scalar, Sequence
from runtime.model import ProcessorModel


def read_wires(
    node: Node, draft: Draft, source: Source, facts: shape.TypeFacts | None
) -> tuple[str, ...]:
    """Add a component's wires to its draft; return the relationships that `end` terminates."""
    reader = _WireReader(draft, source)
    if not isinstance(draft.model, ProcessorModel):
        reader.read_targets(node, ())
        if reader.ended:
            source.wrong(node, draft.at, "`end` terminates a relationship, and this has none",
                         "Let it lead to a component, or to `hold`.", code="LV-011")  # fmt: skip
        return ()
    if isinstance(node, Mapping):
        for text, key, value in source.entries(node, draft.at, "to"):
            names = tuple(dict.fromkeys(shape.split_names(text, ",")))
            for name in names:
                draft.lines.setdefault(f"relationship {name}", key.line)
            reader.read_targets(value, names)
    else:
        reader.read_targets(node, _the_one(node, draft, source, facts))
    return tuple(dict.fromkeys(name for name in reader.ended if name))


def _the_one(
    node: Node, draft: Draft, source: Source, facts: shape.TypeFacts | None
) -> tuple[str, ...]:
    # Without the type's declaration (structure only, or a type that is not installed) the
    # relationship that nearly every such processor has is assumed.
    if facts is None or not facts.is_processor:
        return ("success",)
    if facts.relationship is None:
        source.wrong(
            node, draft.at, "`to` does not say which relationship leads there",
            "Write `to: {success: NAME}` with its relationships.", code="LV-013",
        )  # fmt: skip
        draft.broken.add("to")
        return ()
    return (facts.relationship,)


class _WireReader:
    def __init__(self, draft: Draft, source: Source) -> None:
        self._draft = draft
        self._source = source
        self.ended: list[str] = []

    def read_targets(self, node: Node, relationships: tuple[str, ...]) -> None:
        items = node.items if isinstance(node, Sequence) else [node]
        for item in items:
            if isinstance(item, Mapping):
                for name, key, settings in self._source.entries(item, self._draft.at, "to"):
                    if self._is_target(name, settings):
                        self._add(name, key, self._settings(settings, name), relationships)
            else:
                name_or_none = self._source.text(item, self._draft.at, "to")
                if name_or_none is None:
                    self._draft.broken.update(f"relationship {one}" for one in relationships)
                else:
                    self._add(name_or_none, item, {}, relationships)

    def _add(
        self, name: str, node: Node, settings: dict[str, Any], relationships: tuple[str, ...]
    ) -> None:
        if name == shape.END:
            self.ended.extend(relationships or ("",))
            if settings:
                message = "`end` has settings; nothing waits there"
                self._source.wrong(node, self._draft.at, message, "Use `hold` to keep flowfiles.")
        else:
            self._draft.wires.append(Wire(relationships, name, node.line, settings))

    def _is_target(self, name: str, settings: Node) -> bool:
        if name not in shape.CONNECTION_KEYS or isinstance(settings, Mapping):
            return True
        message = f"'{name}' is a connection's setting; it stands where a target belongs"
        remedy = f"Write `NAME: {{{name}: ...}}` with the target's name."
        self._source.wrong(settings, self._draft.at, message, remedy, code="LV-005")
        return False

    def _settings(self, node: Node, target: str) -> dict[str, Any]:
        source, at = self._source, self._draft.at
        if isinstance(node, Scalar) and node.is_empty:
            return {}
        what = f"the connection to '{target}'"
        fields = source.fields(node, at, what, shape.CONNECTION_KEYS)
        values: dict[str, Any] = {}
        for key, name in (("name", "name"), ("balance", "load_balance")):
            if key in fields:
                values[name] = source.text(fields[key][1], at, f"{what}: {key}")
        if "max count" in fields:
            values["max_count"] = source.number(fields["max count"][1], at, f"{what}: max count")
        if "max size" in fields:
            values["max_bytes"] = source.size(fields["max size"][1], at, f"{what}: max size")
        if "expires" in fields:
            values["expiration_seconds"] = source.duration(
                fields["expires"][1], at, f"{what}: expires"
            )
        if "prioritize" in fields:
            order = fields["prioritize"][1]
            values["prioritizers"] = source.texts(order, at, f"{what}: prioritize")
        return {name: value for name, value in values.items() if value is not None}
