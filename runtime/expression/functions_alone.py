"""Functions without a subject: `${now()}`, `${UUID()}`, `${literal(5)}`."""

from __future__ import annotations

import itertools
import random
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from runtime.expression.environment import Environment
from runtime.expression.errors import ExpressionError, shown
from runtime.expression.nodes import Node, Run, constant, source
from runtime.expression.values import Type

TEXT, WHOLE, DATE, NUMBER, BOOLEAN = (
    Type.TEXT, Type.WHOLE, Type.DATE, Type.NUMBER, Type.BOOLEAN
)  # fmt: skip

_sequence = itertools.count()


@dataclass(frozen=True, slots=True)
class Alone:
    """A function without subject; `make` gets the environment and the cast arguments."""

    arguments: tuple[Type, ...]
    required: int
    make: Callable[..., Node]

    def accepts(self, count: int) -> bool:
        return self.required <= count <= len(self.arguments)


def _fresh(value: Callable[[], object], type_: Type) -> Node:
    return source(lambda attributes, flowfile: value(), type_)


def _now(environment: Environment) -> Node:
    wall = environment.clock.wall
    return _fresh(lambda: int(wall() * 1000), DATE)


def _hostname(environment: Environment, full: Node | None = None) -> Node:
    if full is not None and not full.constant:
        raise ExpressionError("hostname() takes true or false, nothing that is computed")
    if full is not None and full.run({}, None):
        return _fresh(environment.full_host_name, TEXT)
    return _fresh(environment.host_name, TEXT)


def _literal(environment: Environment, value: Node) -> Node:
    return value


def _state(environment: Environment, key: Node) -> Node:
    read = environment.state

    def run(name: str | None) -> str | None:
        return None if name is None else read(name)

    inner: Run = key.run
    return source(lambda attributes, flowfile: run(inner(attributes, flowfile)), TEXT, key.depth)


def _math(environment: Environment, method: Node) -> Node:
    name = method.run({}, None) if method.constant else None
    if name != "random":
        raise ExpressionError(
            f"math('{shown(str(name or ''))}') without a subject does not exist; "
            "only math('random') does, the others take ${subject:math('...')}"
        )
    return _fresh(random.random, NUMBER)


def _uri(environment: Environment, *parts: Node) -> Node:
    if all(part.constant for part in parts):
        return constant(_joined_uri(*[part.run({}, None) for part in parts]), TEXT)

    runs = [part.run for part in parts]
    depth = max(part.depth for part in parts)
    return source(lambda a, f: _joined_uri(*[one(a, f) for one in runs]), TEXT, depth)


_SAFE: Final = "!$&'()*+,;=:@/[]%"


def _joined_uri(*parts: str | None) -> str:
    scheme, user, host, port, path, query, fragment = parts
    if port is None or not re.fullmatch("-?[0-9]{1,9}", port):
        raise ExpressionError(
            f"getUri() has '{shown(port or '')}' as port; write a number, -1 for none"
        )
    if scheme is not None and not re.fullmatch("[A-Za-z][A-Za-z0-9+.-]*", scheme):
        raise ExpressionError(
            f"getUri() has '{shown(scheme)}' as scheme; it must be a word like 'https'"
        )
    if (scheme or host) and path and not path.startswith("/"):
        raise ExpressionError(f"getUri() has '{shown(path)}' as path; it must start with '/'")
    uri = f"{scheme}:" if scheme is not None else ""
    if host is not None:
        uri += "//" + (f"{_quoted(user)}@" if user is not None else "") + _quoted(host)
        uri += f":{port}" if int(port) >= 0 else ""
    uri += _quoted(path or "")
    uri += f"?{_quoted(query, '?')}" if query is not None else ""
    return uri + (f"#{_quoted(fragment, '?')}" if fragment is not None else "")


def _quoted(text: str, also: str = "") -> str:
    # A `%` that starts an escape stays, another is escaped.
    text = re.sub("%(?![0-9A-Fa-f]{2})", "%25", text)
    return quote(text, safe=_SAFE + also + "~", errors="replace")


ALONE: Final[Mapping[str, Alone]] = {
    "UUID": Alone((), 0, lambda environment: _fresh(lambda: str(uuid.uuid4()), TEXT)),
    "now": Alone((), 0, _now),
    "nextInt": Alone((), 0, lambda environment: _fresh(lambda: next(_sequence), WHOLE)),
    "random": Alone((), 0, lambda environment: _fresh(lambda: random.getrandbits(63), WHOLE)),
    "ip": Alone((), 0, lambda environment: _fresh(environment.address, TEXT)),
    "thread": Alone(
        (), 0, lambda environment: _fresh(lambda: threading.current_thread().name, TEXT)
    ),
    "hostname": Alone((BOOLEAN,), 0, _hostname),
    "literal": Alone((TEXT,), 1, _literal),
    "math": Alone((TEXT,), 1, _math),
    "getStateValue": Alone((TEXT,), 1, _state),
    "getUri": Alone((TEXT,) * 7, 7, _uri),
}
