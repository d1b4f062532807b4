"""Parameters: references in texts, contexts that inherit, values given at the start.

`#{name}` and `#{'name with spaces'}` refer to a parameter; `##{` is a plain `#{` (of several `#`
before a brace each pair is one, and an odd one refers). A context's own parameters win, then those
of the contexts it inherits from, earlier ones first. A parameter whose whole value is `#{other}`
is an alias, resolved one level deep, of the same sensitivity.

A sensitive parameter serves only sensitive properties, as their whole value, and a sensitive
property refers to no other kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec.structs import replace

from runtime.flow_text.errors import Problems, choices
from runtime.flow_text.source import Scalar, lines_of, parse_source
from runtime.model import FlowModel, Parameter, ParameterContext
from runtime.secrets import HIDDEN, is_encrypted

_REFERENCE: Final = re.compile(r"(#+)\{(?:\s*'([^'{}]+)'\s*|([^'{}]+))\}")
_NAME: Final = re.compile(r"[A-Za-z0-9_. -]+")


class ParameterError(ValueError):
    """A parameter, or a value given for one, cannot be used."""


class UnknownParameterError(ParameterError, LookupError):
    """A text refers to a parameter that has no value here."""


def references(text: str) -> list[str]:
    """Return the names that a text refers to, each once, in order."""
    found = (_name(match) for match in _REFERENCE.finditer(text) if len(match[1]) % 2)
    return list(dict.fromkeys(found))


def whole_reference(text: str) -> str | None:
    """Return the name if the text is one reference and nothing else."""
    match = _REFERENCE.fullmatch(text)
    return _name(match) if match and len(match[1]) == 1 else None


def substitute(text: str, values: Mapping[str, str]) -> str:
    """Replace references by values and undouble `##{`, in a text that is no expression.

    Raises:
        UnknownParameterError: a parameter has no value here; the message goes on from the
            text's subject: `refers to the parameter 'x', which ...`.
    """
    if "#" not in text:
        return text

    def value(match: re.Match[str]) -> str:
        hashes, rest = divmod(len(match[1]), 2)
        if not rest:
            return "#" * hashes + match[0].lstrip("#")
        name = _name(match)
        if name not in values:
            remedy = choices(name, sorted(values), intro="There are")
            raise UnknownParameterError(
                f"refers to the parameter '{name}', which does not exist. {remedy}"
            )
        return "#" * hashes + values[name]

    return _REFERENCE.sub(value, text)


def _name(match: re.Match[str]) -> str:
    return str(match[2] or match[3].strip())


def escape(text: str) -> str:
    """Return what `substitute` turns into this text: for values that refer to nothing."""
    return _REFERENCE.sub(lambda match: "#" * len(match[1]) + match[0], text)


# Contexts


def effective(contexts: Sequence[ParameterContext], context: int | None) -> dict[str, Parameter]:
    """Return the parameters that a group with this context sees, inherited ones included."""
    by_id = {one.id: one for one in contexts}
    found: dict[str, Parameter] = {}
    pending = [context] if context is not None else []
    seen: set[int] = set()
    while pending:
        id = pending.pop(0)
        if id in seen or id not in by_id:
            continue
        seen.add(id)
        for name, parameter in by_id[id].parameters.items():
            found.setdefault(name, parameter)
        # Depth first: what the first one inherits comes before the second one.
        pending[:0] = by_id[id].inherits
    return {name: _unaliased(parameter, found) for name, parameter in found.items()}


def _unaliased(parameter: Parameter, known: Mapping[str, Parameter]) -> Parameter:
    other = whole_reference(parameter.value or "")
    if other is None or parameter.sensitive or other not in known or known[other].sensitive:
        return parameter
    return replace(parameter, value=known[other].value)


def inheritance_cycles(contexts: Sequence[ParameterContext]) -> list[tuple[ParameterContext, str]]:
    """Return contexts that inherit from themselves, each with the circle as text."""
    by_id = {one.id: one for one in contexts}
    cycles = []
    for context in contexts:
        path = _path_back(context, by_id)
        if path:
            cycles.append((context, " -> ".join(one.name for one in path)))
    return cycles


def _path_back(
    start: ParameterContext, by_id: Mapping[int, ParameterContext]
) -> list[ParameterContext] | None:
    pending = [[start]]
    seen: set[int] = set()
    while pending:
        path = pending.pop()
        for id in path[-1].inherits:
            if id == start.id:
                return [*path, start]
            if id in by_id and id not in seen:
                seen.add(id)
                pending.append([*path, by_id[id]])
    return None


# Properties


@dataclass
class PropertyTexts:
    """A component's property texts, ready for `properties.validate`.

    `parameters` are those that texts and expressions may refer to; secrets stand in `texts`
    already. A text with a problem is left out; `problems` are (property, code, message, remedy).
    """

    texts: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    problems: list[tuple[str, str, str, str]] = field(default_factory=list)


def property_texts(
    declaration: Any,
    raw: Mapping[str, str],
    parameters: Mapping[str, Parameter],
    *,
    decrypt: Callable[[str], str] | None = None,
) -> PropertyTexts:
    """Check a component's references to parameters, and open its secrets.

    Args:
        declaration: the component's `Properties` class.
        raw: the texts as in the model; secrets are encrypted.
        parameters: what `effective` returns for the component's group.
        decrypt: turns a stored secret into its value; None: secrets become a placeholder, as
            validation without the key needs it.
    """
    opened = decrypt or (lambda stored: HIDDEN)
    result = PropertyTexts()
    result.parameters = {
        name: one.value
        for name, one in parameters.items()
        if one.value is not None and not one.sensitive
    }
    sensitive_names = _sensitive_names(declaration)
    for name, text in raw.items():
        sensitive = name in sensitive_names
        problem = None if is_encrypted(text) else _reference_problem(text, parameters, sensitive)
        if problem:
            result.problems.append((name, *problem))
            continue
        if sensitive and references(text):
            text = parameters[references(text)[0]].value or ""
        # A secret may look like a reference; it is none.
        result.texts[name] = escape(opened(text)) if is_encrypted(text) else text
    return result


def _reference_problem(
    text: str, parameters: Mapping[str, Parameter], sensitive: bool
) -> tuple[str, str, str] | None:
    """Return code, message and remedy of what is wrong with a text's references."""
    for name in references(text):
        if not _NAME.fullmatch(name):
            allowed = "A name has letters, digits, spaces and '.', '_', '-'; `##{` is a plain `#{`."
            return "LV-023", f"refers to the parameter '{name}', whose name cannot exist", allowed
        parameter = parameters.get(name)
        if parameter is None:
            remedy = choices(name, parameters, intro="Its group's parameter context has")
            return "LV-023", f"refers to the parameter '{name}', which does not exist", remedy
        if parameter.sensitive != sensitive:
            return "LV-024", *_mismatch(name, sensitive)
        if parameter.sensitive and whole_reference(text) is None:
            remedy = f'Write "#{{{name}}}" alone.'
            return "LV-024", f"mixes the sensitive parameter '{name}' with other text", remedy
        if parameter.value is None:
            remedy = f"Set it on the canvas, or start with --param '{name}=VALUE'."
            return "LV-023", f"refers to the parameter '{name}', which has no value", remedy
    return None


def _mismatch(name: str, sensitive: bool) -> tuple[str, str]:
    if sensitive:
        return (
            f"is sensitive and refers to the parameter '{name}', which is not",
            f"Mark '{name}' with `sensitive: true`.",
        )
    return (
        f"is not sensitive and refers to the sensitive parameter '{name}'",
        "Only a sensitive property may use it: its value would be shown here.",
    )


def _sensitive_names(declaration: Any) -> set[str]:
    names: set[str] = set()
    for name, info in declaration.model_fields.items():
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        if extra.get("sensitive"):
            names.update((info.alias or name, *extra.get("formerly", ())))
    return names


# Values given at the start


def parse_override(text: str) -> tuple[str, str]:
    """Read `NAME=VALUE` as `--param` takes it.

    Raises:
        ParameterError: there is no `=`, or nothing before it.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ParameterError(f"--param is '{text}'; it must be NAME=VALUE")
    return name.strip(), value


def parse_parameter_file(text: str, *, file: str) -> dict[str, str]:
    """Read a file of values: a YAML mapping if it is called so, else a line `NAME=VALUE` each.

    Raises:
        ParameterError: with the line of the first mistake.
    """
    if file.endswith((".yaml", ".yml")):
        return _parse_yaml(text, file)
    found = {}
    for number, line in enumerate(lines_of(text), 1):
        stripped = line.strip().removeprefix("export ")
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.partition("=")
        if not equals or not name.strip():
            raise ParameterError(f"{file} line {number}: it is '{stripped}'; it must be NAME=VALUE")
        found[name.strip()] = _unquoted(value.strip())
    return found


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value


def _parse_yaml(text: str, file: str) -> dict[str, str]:
    problems = Problems(file)
    root = parse_source(text, problems)
    if problems.found or root is None:
        raise ParameterError(str(problems.sorted()[0]))
    found = {}
    for key, node in root.entries:
        if not isinstance(node, Scalar) or node.is_empty:
            raise ParameterError(
                f"{file} line {key.line}: the value of '{key.text}' must be a text"
            )
        found[key.text] = node.text
    return found


def with_overrides(
    model: FlowModel,
    overrides: Mapping[str, str],
    *,
    encrypt: Callable[[str], str] | None = None,
) -> FlowModel:
    """Set values of parameters wherever a context has one of that name.

    Args:
        encrypt: stores the value of a sensitive one; it is needed only for these.

    Raises:
        ParameterError: no context has the parameter.
    """
    known = {name: "" for context in model.parameter_contexts for name in context.parameters}
    for name in overrides:
        if name not in known:
            remedy = choices(name, known, intro="The flow has")
            raise ParameterError(f"the parameter '{name}' does not exist. {remedy}")
    contexts = tuple(
        replace(context, parameters={
            name: _overridden(name, one, overrides, encrypt)
            for name, one in context.parameters.items()
        })
        for context in model.parameter_contexts
    )  # fmt: skip
    return replace(model, parameter_contexts=contexts)


def _overridden(
    name: str,
    one: Parameter,
    overrides: Mapping[str, str],
    encrypt: Callable[[str], str] | None,
) -> Parameter:
    if name not in overrides:
        return one
    value = overrides[name]
    if one.sensitive:
        if encrypt is None:
            raise ParameterError(f"the parameter '{name}' is sensitive; its value needs a key")
        value = encrypt(value)
    return replace(one, value=value)
