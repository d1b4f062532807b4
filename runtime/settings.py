"""A node's settings: `settings.yaml` in its home, overridden by `--set NAME=VALUE`.

Every setting has a default that suits a laptop, a description and a check; `levada settings`
prints the effective ones with where each came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from runtime.units import format_duration, format_size, parse_duration, parse_size

Seconds = Annotated[
    float, BeforeValidator(lambda v: parse_duration(v) if isinstance(v, str) else v)
]
Bytes = Annotated[int, BeforeValidator(lambda v: parse_size(v) if isinstance(v, str) else v)]


class SettingsError(ValueError):
    """Settings that cannot be used: every problem, one a line."""


class Settings(BaseModel):
    """All settings. Durations are written `20 ms` or `30 days`, sizes `64 MB`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fsync: Literal["group", "always", "never"] = Field(
        "group",
        description="When a commit counts as durable: `group` gathers and syncs, `always` "
        "shows a commit only when it is synced, `never` leaves syncing to the system.",
    )
    gather: Seconds = Field(
        0.02, ge=0, le=1, description="How long a group may gather when nobody waits for it."
    )
    log_file_size: Bytes = Field(
        64 * 2**20, ge=2**20, le=2**30, description="Size of one file of the commit log."
    )
    log_max_age: Seconds = Field(30 * 86400.0, ge=0, description="How long log files are kept.")
    log_max_size: Bytes = Field(10 * 2**30, ge=0, description="How much log is kept.")
    provenance_max_age: Seconds = Field(
        30 * 86400.0, ge=0, description="How long the provenance index keeps events."
    )
    provenance_max_size: Bytes = Field(
        10 * 2**30, ge=0, description="How large the provenance index may grow."
    )
    archive_max_age: Seconds = Field(
        30 * 86400.0, ge=0, description="How long the content of ended flowfiles is kept."
    )
    archive_max_size: Bytes = Field(
        10 * 2**30, ge=0, description="How much content of ended flowfiles is kept."
    )
    archive_disk_share: float = Field(
        0.5, gt=0, lt=1, description="Largest part of the disk for what is kept of the past."
    )
    disk_reserve: Bytes = Field(
        512 * 2**20,
        ge=0,
        description="Free space below which sources stop and kept content is removed early.",
    )
    checkpoint_interval: Seconds = Field(
        60.0, ge=1, description="How often the state is saved, so that a restart is quick."
    )
    stop_timeout: Seconds = Field(
        10.0, ge=0, description="How long triggers may take to end when the node stops."
    )
    bulletin_level: Literal["DEBUG", "INFO", "WARN", "ERROR"] = Field(
        "INFO", description="Least level of bulletins that are printed."
    )


@dataclass(frozen=True)
class Source:
    """A setting's text and where it came from."""

    name: str
    value: str
    origin: str
    description: str


def load_settings(
    file: Path | None, overrides: Sequence[str] = ()
) -> tuple[Settings, list[Source]]:
    """Read settings; a file that does not exist counts as empty.

    Args:
        file: `settings.yaml`.
        overrides: `NAME=VALUE` texts, which win.

    Raises:
        SettingsError: naming every setting that cannot be used, and why.
    """
    given: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if file is not None and file.exists():
        for name, value in _read(file).items():
            key = str(name).replace(" ", "_").replace("-", "_")
            given[key], origins[key] = value, str(file)
    for text in overrides:
        name, separator, value = text.partition("=")
        if not separator:
            raise SettingsError(f"--set {text}: it must have the form NAME=VALUE")
        key = name.strip().replace("-", "_").replace(" ", "_")
        given[key], origins[key] = value.strip(), "--set"
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        problems = [_words(one, given, origins) for one in error.errors()]
        raise SettingsError("\n".join(problems)) from error
    return settings, [
        Source(name, _shown(name, settings), origins.get(name, "default"), info.description or "")
        for name, info in Settings.model_fields.items()
    ]


def template() -> str:
    """Return a `settings.yaml` in which every setting stands with its default, commented out."""
    lines = ["# Settings of this node. Remove a leading '#' to change one.", ""]
    defaults = Settings()  # type: ignore[call-arg]  # every field has a default
    for name, info in Settings.model_fields.items():
        lines += [f"# {info.description}", f"#{name}: {_shown(name, defaults)}", ""]
    return "\n".join(lines)


def _read(file: Path) -> Mapping[Any, Any]:
    try:
        content = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not YAML: {error}") from error
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise SettingsError(f"{file} must hold settings as `name: value` lines")
    return content


def _shown(name: str, settings: Settings) -> str:
    return _written(name, getattr(settings, name))


def _written(name: str, value: Any) -> str:
    if name.endswith("size") or name == "disk_reserve":
        return format_size(value)
    if name.endswith(("age", "interval", "timeout")) or name == "gather":
        return format_duration(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


_BOUNDS: Final = {
    "ge": "it must be at least",
    "gt": "it must be more than",
    "le": "it must be at most",
    "lt": "it must be less than",
}


def _words(error: Any, given: Mapping[str, Any], origins: Mapping[str, str]) -> str:
    name = str(error["loc"][0])
    place = origins.get(name, "")
    if error["type"] == "extra_forbidden":
        known = ", ".join(Settings.model_fields)
        return f"{place}: setting '{name}' does not exist. There are: {known}"
    context = error.get("ctx", {})
    message = str(context.get("error") or error["msg"])
    for bound, words in _BOUNDS.items():
        if bound in context:
            message = f"{words} {_written(name, context[bound])}"
    if not message.startswith("is "):
        separator = ";" if message.startswith("it ") else ":"
        message = f"is '{given[name]}'{separator} {message}"
    return f"{place}: setting '{name}' {message}"
