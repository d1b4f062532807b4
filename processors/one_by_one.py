"""Batches in which one bad flowfile does not hold up the others.

An expression can fail on the values of one flowfile. The engine would roll the whole batch back
and let all of it wait; instead the batch is done again one flowfile at a time, with a commit
after each, until the bad one is alone in its session. Then its exception goes on to the engine.
"""

from __future__ import annotations

from collections.abc import Callable

from runtime.expression import ExpressionError
from runtime.flowfile import FlowFile
from runtime.patterns import PatternError
from runtime.session import Session


def in_batches(session: Session, step: Callable[[Session, list[FlowFile]], None]) -> None:
    """Take a batch and do `step` with it, or with each flowfile alone where the batch fails."""
    flowfiles = session.take()
    if not flowfiles:
        return
    try:
        step(session, flowfiles)
    except (ExpressionError, PatternError):
        if len(flowfiles) == 1:
            raise
        session.rollback()
        for _ in flowfiles:
            step(session, session.take(1))
            session.commit()
