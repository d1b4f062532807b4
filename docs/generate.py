"""Write docs/reference and tests/api.txt from the code: `python -m docs.generate`.

Whatever has a name that users type is told once, where it is declared; here it becomes pages. A
test compares them with what is committed, so a page cannot be older than the code.
"""

from __future__ import annotations

import enum
import inspect
import sys
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import click
from pydantic.fields import FieldInfo

import levada
from runtime.flow_text.errors import CODES
from runtime.processor import ControllerService, Example, Processor, own_relationships
from runtime.properties import (
    Choice,
    DataSize,
    Duration,
    Properties,
    details,
    dynamic_type,
    is_expression,
)
from runtime.registry import Registry
from runtime.settings import load_settings
from runtime.units import format_duration, format_size

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = Path("docs/reference")
NOTE = "<!-- Written by `make docs` from the code; edit the code. -->\n"


def pages() -> dict[Path, str]:
    """Return every generated file by its path from the root."""
    registry = Registry(["processors"])
    processors, services = registry.processors(), registry.services()
    found = {
        REFERENCE / "README.md": index(processors, services),
        REFERENCE / "settings.md": settings(),
        REFERENCE / "commands.md": commands(),
        REFERENCE / "errors.md": errors(),
        Path("tests/api.txt"): "\n".join(public_api()) + "\n",
    }
    for name, one in processors.items():
        found[REFERENCE / "processors" / f"{name}.md"] = processor(one)
    for name, service in services.items():
        found[REFERENCE / "services" / f"{name}.md"] = controller_service(service)
    return found


def main() -> None:
    """Write the pages, and remove those of components that are gone."""
    wanted = pages()
    for old in (ROOT / REFERENCE).rglob("*.md"):
        if old.relative_to(ROOT) not in wanted:
            old.unlink()
    for path, text in wanted.items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")
    sys.stdout.write(f"{len(wanted)} files written\n")


# Pages


def index(
    processors: Mapping[str, type[Processor]], services: Mapping[str, type[ControllerService]]
) -> str:
    lines = [NOTE, "# Reference", ""]
    lines += [
        "[Commands](commands.md), [settings](settings.md), [mistakes in flows](errors.md), "
        "[flow as text](../flow-text.md), [rules for processors](../processor-spec.md).",
        "",
        "## Processors",
        "",
    ]
    for name, one in processors.items():
        lines.append(f"- [{name}](processors/{name}.md): {summary(one)}")
    lines += ["", "## Controller services", ""]
    for name, service in services.items():
        lines.append(f"- [{name}](services/{name}.md): {summary(service)}")
    return "\n".join(lines) + "\n"


def processor(one: type[Processor]) -> str:
    """Return a processor's page."""
    lines = [NOTE, f"# {one.__name__}", "", documentation(one), ""]
    if one.tags:
        lines += [f"Tags: {', '.join(one.tags)}.", ""]
    lines += [f"Incoming connections: {one.input.value}. {effects(one)}", ""]
    if one.delivery:
        lines += [one.delivery, ""]
    lines += properties(one.Properties)
    lines += relationships(one)
    lines += named("Attributes that it reads", "attribute", one.reads)
    lines += named("Attributes that it writes", "attribute", one.writes)
    if one.example is not None:
        lines += example(one.__name__, one.example)
    return "\n".join(lines).rstrip() + "\n"


def controller_service(one: type[ControllerService]) -> str:
    """Return a controller service's page."""
    lines = [NOTE, f"# {one.__name__}", "", documentation(one), ""]
    lines += properties(one.Properties)
    return "\n".join(lines).rstrip() + "\n"


def settings() -> str:
    """Return the page of all settings."""
    lines = [NOTE, "# Settings", ""]
    lines += [
        "They stand in `settings.yaml` in the home; `--set NAME=VALUE` overrides one for a run. "
        "`levada settings` prints those in force and where each came from, "
        "`levada settings --template` a file to edit.",
        "",
        "| setting | default | meaning |",
        "| --- | --- | --- |",
    ]
    for one in load_settings(None)[1]:
        lines.append(row(f"`{one.name}`", one.value, one.description))
    return "\n".join(lines) + "\n"


def errors() -> str:
    """Return the page of codes that `levada check` prints."""
    lines = [NOTE, "# Mistakes in flows", ""]
    lines += [
        "`levada check FLOW.yaml` prints every mistake with its code, file, line, component and "
        "remedy.",
        "",
        "| code | what is wrong |",
        "| --- | --- |",
    ]
    lines += [row(code, text) for code, text in CODES.items()]
    return "\n".join(lines) + "\n"


def commands() -> str:
    """Return the help of every command as one page."""
    lines = [NOTE, "# Commands", ""]
    # The tree of commands is no name that users import.
    group = levada._commands()
    assert isinstance(group, click.Group)
    for path, command in tree(group, "levada"):
        context = click.Context(command, info_name=path, terminal_width=80, max_content_width=80)
        lines += [f"## {path}", "", "```", command.get_help(context), "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def tree(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and all below it, with their full names."""
    yield path, command
    if isinstance(command, click.Group):
        for name, below in sorted(command.commands.items()):
            yield from tree(below, f"{path} {name}")


# Parts of pages


def properties(declaration: type[Properties]) -> list[str]:
    fields = {info.alias or name: info for name, info in declaration.model_fields.items()}
    lines = ["## Properties", ""] if fields or dynamic_type(declaration) else []
    if fields:
        lines += ["| property | default | meaning |", "| --- | --- | --- |"]
        lines += [row(name_cell(name, info), default(info), meaning(info))
                  for name, info in fields.items()]  # fmt: skip
        lines.append("")
    if dynamic_type(declaration) is not None:
        lines += ["Takes properties of your own.", ""]
    return lines


def name_cell(name: str, info: FieldInfo) -> str:
    return f"**{name}**" if info.is_required() else name


def default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.default
    if value is None:
        return ""
    if isinstance(value, enum.Enum):
        return f"`{value.value}`"
    if isinstance(value, str):
        return f"`{value}`" if value.strip() else (f"`{value!r}`" if value else "")
    return f"`{quantity(value, info)}`"


def quantity(value: object, info: FieldInfo) -> str:
    """Write a number of seconds or bytes as users write it."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, int | float):
        return str(value)
    if is_kind(info, Duration):
        return format_duration(value)
    if is_kind(info, DataSize):
        return format_size(int(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def is_kind(info: FieldInfo, kind: object) -> bool:
    # pydantic takes the outermost Annotated apart and leaves the inner ones as they are.
    marks = getattr(kind, "__metadata__", ())
    return any(one in info.metadata for one in marks) or kind in typing.get_args(info.annotation)


def meaning(info: FieldInfo) -> str:
    parts = [info.description or ""]
    if choices := allowed(info.annotation):
        parts.append("One of: " + ", ".join(choices) + ".")
    if is_expression(info):
        parts.append("Expression Language, evaluated for each flowfile.")
    more = details(info)
    if more.get("sensitive"):
        parts.append("Sensitive.")
    if more.get("service_type"):
        parts.append(f"Names a {more['service_type']}.")
    for other, values in more.get("depends_on", {}).items():
        words = " or ".join(f"`{one}`" for one in values)
        parts.append(f"Applies where {other} is {words}." if words else f"Needs {other}.")
    if more.get("formerly"):
        parts.append("Formerly: " + ", ".join(f"`{one}`" for one in more["formerly"]) + ".")
    return " ".join(part for part in parts if part)


def allowed(annotation: object) -> list[str]:
    """Return the stored values of a choice, each with its title where that differs."""
    for one in (annotation, *typing.get_args(annotation)):
        if inspect.isclass(one) and issubclass(one, Choice):
            return [choice(member) for member in one]
    return []


def choice(member: Choice) -> str:
    differs = member.title_ != member.value
    return f"`{member.value}` ({member.title_})" if differs else f"`{member.value}`"


def relationships(one: type[Processor]) -> list[str]:
    found = own_relationships(one)
    if not found:
        return []
    lines = ["## Relationships", "", "| relationship | who goes there |", "| --- | --- |"]
    return [*lines, *(row(f"`{each.name}`", each.description) for each in found), ""]


def named(title: str, what: str, texts: Mapping[str, str]) -> list[str]:
    if not texts:
        return []
    lines = [f"## {title}", "", f"| {what} | meaning |", "| --- | --- |"]
    return [*lines, *(row(f"`{name}`", text) for name, text in texts.items()), ""]


def example(type_name: str, one: Example) -> list[str]:
    lines = ["## Example", "", f"{one.title}:", "", "```yaml", f"type: {type_name}"]
    if one.properties:
        lines.append("properties:")
        lines += [f"  {name}: {value!r}" for name, value in one.properties.items()]
    lines += ["```", ""]
    if one.attributes or one.content:
        lines += [f"- in: {shown(one.attributes, one.content)}"]
    result = shown(one.expect_attributes, one.expect_content or b"")
    return [*lines, f"- out, by `{one.expect}`" + (f": {result}" if result else ""), ""]


def shown(attributes: Mapping[str, str], content: bytes) -> str:
    parts = [f"`{name}={value}`" for name, value in attributes.items()]
    if content:
        parts.append(f"content `{content.decode('utf-8', 'backslashreplace')!r}`")
    return ", ".join(parts)


def effects(one: type[Processor]) -> str:
    return f"Effects: {one.effects.value}."


def documentation(one: type) -> str:
    return inspect.cleandoc(one.__doc__ or "")


def summary(one: type) -> str:
    return documentation(one).partition("\n")[0]


def row(*cells: str) -> str:
    inner = " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return f"| {inner} |"


# The public names


def public_api() -> Iterator[str]:
    """Yield the public names and signatures of `levada`, one a line."""
    for name in sorted(levada.__all__):
        yield from lines_of(name, getattr(levada, name))


def lines_of(name: str, value: object) -> Iterator[str]:
    if inspect.isclass(value) and issubclass(value, enum.Enum):
        yield f"enum {name}: {', '.join(value.__members__)}".rstrip(": ")
    elif inspect.isclass(value):
        bases = ", ".join(one.__name__ for one in value.__bases__ if one is not object)
        yield f"class {name}({bases})" if bases else f"class {name}"
        yield from (f"    {line}" for line in sorted(set(members(value))))
    elif inspect.isfunction(value):
        yield f"def {name}{signature(value)}"
    else:
        yield f"type {name}"


def members(value: type) -> Iterable[str]:
    own = [one for one in value.__mro__ if one.__module__.split(".")[0] in ("runtime", "levada")]
    told = {each for one in own for each in (*vars(one), *vars(one).get("__annotations__", ()))}
    for name in {one for one in told if not one.startswith("_")} - {"model_config"}:
        member = inspect.getattr_static(value, name, None)
        if isinstance(member, property):
            yield name
        elif isinstance(member, classmethod):
            yield f"classmethod {name}{signature(member.__func__)}"
        elif inspect.isfunction(member):
            asynchronous = "async " if inspect.iscoroutinefunction(member) else ""
            yield f"{asynchronous}def {name}{signature(member)}"
        else:
            yield name


def signature(value: object) -> str:
    if not callable(value):
        return ""
    try:
        return str(inspect.signature(value)).replace("'", "")
    except ValueError:
        return "(...)"


if __name__ == "__main__":
    main()
