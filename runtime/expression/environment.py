"""What an expression may see besides the flowfile."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from functools import cache
from pathlib import Path
from typing import Any, final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from runtime.clock import Clock, SystemClock
from runtime.flowfile import Identity


@cache
def local_zone() -> tzinfo:
    """Return the machine's time zone: `TZ`, else what /etc/localtime links to, else UTC."""
    name = os.environ.get("TZ", "").lstrip(":")
    if not name:
        _, _, name = str(Path("/etc/localtime").resolve()).partition("zoneinfo/")
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


@cache
def _host_name() -> str:
    return socket.gethostname()


@cache
def _full_host_name() -> str:
    return socket.getfqdn()


@cache
def _address() -> str:
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"


def _no_state(key: str) -> str | None:
    return None


@final
@dataclass(frozen=True, eq=False)
class Environment:
    """The surroundings of a component's expressions; compiled expressions are kept with it.

    `parameters` and `variables` (environment variables by default) are read when an expression is
    compiled: a change of either takes a new environment. `state` answers `getStateValue`,
    `timezone` is the zone of dates that name none. The host's names and address are looked up
    when an expression first asks.
    """

    identity: Identity
    parameters: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    state: Callable[[str], str | None] = _no_state
    clock: Clock = field(default_factory=SystemClock)
    timezone: tzinfo = field(default_factory=local_zone)
    host_name: Callable[[], str] = _host_name
    full_host_name: Callable[[], str] = _full_host_name
    address: Callable[[], str] = _address
    compiled: dict[tuple[str, str], Any] = field(default_factory=dict, init=False, repr=False)
