"""Orders of a queue: NiFi's four prioritizers, and any expression.

`fifo`: as it came. `newest` and `oldest`: by the start of the lineage. `attribute`: the attribute
`priority`; whole numbers first, in order, then other texts, then flowfiles without it. Anything
with `${` is an expression whose text is compared the same way. Several apply in turn.
"""

from collections.abc import Callable
from typing import Any

from runtime.expression import Environment, ExpressionError, compile_expression
from runtime.flowfile import FlowFile
from runtime.queue import PriorityKey

_SIMPLE: dict[str, Callable[[FlowFile, int, int], Any]] = {
    "fifo": lambda flowfile, sequence, index: (sequence, index),
    "newest": lambda flowfile, sequence, index: -flowfile.lineage_start,
    "oldest": lambda flowfile, sequence, index: flowfile.lineage_start,
    "attribute": lambda flowfile, sequence, index: _rank(flowfile.attributes.get("priority")),
}

NAMES = tuple(_SIMPLE)
_LAST = (2, 0, "")


def priority_key(prioritizers: tuple[str, ...], environment: Environment) -> PriorityKey:
    """Combine prioritizers into one key.

    Raises:
        ValueError: one is neither a known name nor an expression.
    """
    keys = [_key(prioritizer, environment) for prioritizer in prioritizers]
    if len(keys) == 1:
        return keys[0]
    return lambda flowfile, sequence, index: tuple(
        key(flowfile, sequence, index) for key in keys
    )


def _key(prioritizer: str, environment: Environment) -> PriorityKey:
    if prioritizer in _SIMPLE:
        return _SIMPLE[prioritizer]
    if "${" not in prioritizer:
        raise ValueError(
            f"is '{prioritizer}'; it must be one of {', '.join(NAMES)} or an expression "
            "such as '${priority}'"
        )
    expression = compile_expression(prioritizer, environment)

    def key(flowfile: FlowFile, sequence: int, index: int) -> Any:
        try:
            return _rank(expression.evaluate(flowfile))
        except ExpressionError:
            return _LAST  # This runs where a flowfile must not get stuck.

    return key


def _rank(text: str | None) -> tuple[int, int, str]:
    if not text:
        return _LAST
    try:
        return (0, int(text), "")
    except ValueError:
        return (1, 0, text)
