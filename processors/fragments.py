"""The attributes that tie the fragments of a flowfile together, so that they can be merged again.

The identifier is made from the original's UUID and the splitting component: splitting again after
a roll-back gives the same one, and two splits of one flowfile do not mix in a merge.

A flowfile with very many fragments is split over several commits: a record of the log has an end,
and back pressure can take hold in between. Until its last fragment is made it stays in its queue;
how far it has come is keyed state of the same commit as the fragments, so that a crash neither
loses nor doubles any.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from runtime.flowfile import FlowFile
from runtime.session import Session

IDENTIFIER: Final = "fragment.identifier"
# What the log may need for one commit's fragments, attributes included.
RECORD_BYTES_MAX: Final = 500_000
FRAGMENT_OVERHEAD_BYTES: Final = 100

T = TypeVar("T")

INDEX: Final = "fragment.index"
COUNT: Final = "fragment.count"
SIZE: Final = "fragment.size"
ORIGINAL_NAME: Final = "segment.original.filename"

WRITTEN: Final = {
    IDENTIFIER: "The same for all fragments of a flowfile, and for the original.",
    COUNT: "How many fragments there are.",
    ORIGINAL_NAME: "The filename of the original.",
}


def shared_attributes(
    session: Session, flowfile: FlowFile, component: int, count: int
) -> dict[str, str]:
    """Return what all fragments of `flowfile` have in common."""
    parent = uuid.UUID(session.uuid(flowfile))
    return {
        IDENTIFIER: str(uuid.uuid5(parent, f"component {component}")),
        COUNT: str(count),
        ORIGINAL_NAME: session.attribute(flowfile, "filename") or "",
    }


def mark_original(session: Session, flowfile: FlowFile, shared: dict[str, str]) -> FlowFile:
    """Tell the original which fragments came out of it."""
    return session.put(flowfile, {name: shared[name] for name in (IDENTIFIER, COUNT)})


class PartlySplitError(ValueError):
    """A flowfile whose first fragments were made under other settings."""


class Budget:
    """How many fragments the present session can still commit."""

    def __init__(self) -> None:
        self._bytes = RECORD_BYTES_MAX

    @property
    def spent(self) -> bool:
        """Whether the session should end here."""
        return self._bytes <= 0

    def take(self, wanted: int, attributes: Mapping[str, str]) -> int:
        """Return how many of `wanted` fragments fit: at least one."""
        each = sum(map(len, attributes)) + sum(map(len, attributes.values()))
        each += FRAGMENT_OVERHEAD_BYTES
        granted = min(wanted, max(1, self._bytes // each))
        self._bytes -= granted * each
        return granted


def progress(session: Session, flowfile: FlowFile, plan: str) -> int:
    """Return how many fragments of a flowfile are made already.

    Args:
        session: the session that has the flowfile.
        flowfile: the original.
        plan: what the splitting depends on; it must not change between two commits.

    Raises:
        PartlySplitError: it did.
    """
    kept = session.key(session.uuid(flowfile))
    if kept is None:
        return 0
    count, _, before = kept.decode().partition(" ")
    if before != plan:
        session.set_key(session.uuid(flowfile), None)
        raise PartlySplitError(
            f"{count} fragments were made before the settings changed, and the others would not "
            "fit to them. Drop the fragments with this fragment.identifier and split again"
        )
    return int(count)


def split_in_parts(
    session: Session,
    flowfiles: list[FlowFile],
    split: Callable[[FlowFile, Budget], bool],
) -> None:
    """Call `split` for each flowfile until the budget is spent; put the others back.

    `split` returns whether the flowfile is done with; one that is not goes back as well.
    """
    budget = Budget()
    for position, flowfile in enumerate(flowfiles):
        if budget.spent or not split(flowfile, budget):
            session.put_back(flowfiles[position:])
            return


def next_part(
    session: Session,
    flowfile: FlowFile,
    budget: Budget,
    plan: tuple[Sequence[T], Mapping[str, str], str],
) -> tuple[int, Sequence[T], bool]:
    """Choose the fragments that this commit makes, and note how far the flowfile has come.

    Args:
        session: the session that has the flowfile.
        flowfile: the original.
        budget: what the session can still commit.
        plan: all fragments, the attributes that each gets, and what the splitting depends on.

    Returns:
        How many are made already, those to make now, and whether they are the last.
    """
    items, attributes, settings = plan
    done = progress(session, flowfile, settings)
    taken = budget.take(len(items) - done, {**flowfile.attributes, **attributes})
    last = done + taken >= len(items)
    if not last:
        session.set_key(session.uuid(flowfile), f"{done + taken} {settings}".encode())
    elif done:
        session.set_key(session.uuid(flowfile), None)
    return done, items[done : done + taken], last
