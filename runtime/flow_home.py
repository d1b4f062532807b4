"""A node and its flow file: adopt it at start, write edits back to it, reload it.

`runtime.flow_binding` decides; here the decision is carried out on a node. Which file a home is
bound to, and what it held, is kept in `<home>/flow.json`.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from runtime.flow_binding import Action, Bound, FlowOnDisk, Take, decide, text_hash
from runtime.flow_check import read_and_check
from runtime.flow_text import FlowProblem, difference, write_flow
from runtime.flow_text.writer_process import write_flow_aside
from runtime.model import FlowModel
from runtime.parameters import with_overrides

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.node import Node

BOUND_NAME: Final = "flow.json"
_MAY_ADOPT: Final = (Action.ADOPT, Action.CONFLICT)


class FlowInvalidError(ValueError):
    """A flow file with mistakes; `problems` has all of them."""

    def __init__(self, file: str, problems: list[FlowProblem]) -> None:
        self.problems = problems
        count = len(problems)
        listed = "\n".join(str(one) for one in problems)
        super().__init__(f"{file} has {count} problem{'s' if count > 1 else ''}:\n{listed}")


class FlowConflictError(RuntimeError):
    """File and home both changed; the message shows the difference and the two ways out."""


class FlowFile:
    """The file that a node's flow is bound to."""

    def __init__(self, node: Node, path: Path) -> None:
        self.node = node
        self.path = path.absolute()
        self.disk = FlowOnDisk(self.path)
        self._lock = threading.Lock()

    def open(self, take: Take | None = None, user: str = "") -> list[str]:
        """Bring home and file together; return what happened, in lines for the user.

        Raises:
            FlowInvalidError: the file has mistakes and would have to be adopted.
            FlowConflictError: both changed, and `take` does not decide; or neither has a flow.
            BindingError: the file cannot be read or written.
        """
        text = self.disk.read()
        bound = self._bound()
        revision = self.node.flow.revision
        if text is None and revision == 0:
            raise FlowConflictError(
                f"The flow file {self.path} does not exist, and the home {self.node.home.path} "
                "has no flow yet. Name an existing file"
            )
        if revision == 0 and take == "home":
            raise FlowConflictError(
                f"The home {self.node.home.path} has no flow yet, and --take home would empty "
                f"{self.path}. Leave --take out"
            )
        adopted = None
        undecided = decide(text, bound, revision=revision)
        if text is not None and take != "home" and (take or undecided in _MAY_ADOPT):
            adopted = self._read(text)
        same = adopted is not None and not difference(self.node.flow, adopted) and revision > 0
        action = decide(text, bound, revision=revision, same=same, take=take)
        if action is Action.CONFLICT:
            assert adopted is not None
            raise FlowConflictError(self._conflict(adopted))
        if action is Action.ADOPT:
            assert adopted is not None and text is not None
            return self._adopt(adopted, text, user)
        if action is Action.WRITE:
            return self.write(overwrite=take == "home")
        if text is not None:
            self._remember(self.disk_bound(text))
        return []

    def write(self, *, overwrite: bool = False) -> list[str]:
        """Write the home's flow to the file, keeping its comments.

        Raises:
            ChangedOutsideError: the file holds something that Levada did not write.
        """
        model = self.node.flow
        fresh = write_flow(model, registry=self.node.registry, previous=self._previous())
        return self._replace(fresh, model.revision, overwrite=overwrite)

    async def write_aside(self) -> None:
        """Write as `write` does, the text being made by another process.

        Raises:
            ChangedOutsideError: the file holds something that Levada did not write.
            WriterError: that process gave no text.
        """
        model = self.node.flow
        previous = await asyncio.to_thread(self._previous)
        fresh = await write_flow_aside(model, registry=self.node.registry, previous=previous)
        await asyncio.to_thread(self._replace, fresh, model.revision)

    def _previous(self) -> str | None:
        text = self.disk.read()
        return None if text is None else text.decode(errors="replace")

    def _replace(self, text: str, revision: int, *, overwrite: bool = False) -> list[str]:
        # A write that was given up may still be at this point when the next one comes.
        with self._lock:
            if overwrite:
                bound = self.disk.overwrite(text, revision=revision)
            else:
                bound = self.disk.write(text, self._bound(), revision=revision)
            self._remember(bound)
        return [f"The flow was written to {self.path}"]

    def disk_bound(self, text: bytes) -> Bound:
        """Return the bond of the present file and the present revision."""
        revision = self.node.flow.revision
        return Bound(file=str(self.path), hash=text_hash(text), revision=revision)

    def _read(self, text: bytes) -> FlowModel:
        known = self.node.flow if self.node.flow.revision else None
        reading = read_and_check(
            text, file=str(self.path), registry=self.node.registry, known=known
        )
        if reading.model is None or reading.problems:
            raise FlowInvalidError(str(self.path), reading.problems)
        return reading.model

    def _adopt(self, model: FlowModel, text: bytes, user: str) -> list[str]:
        old = self.node.flow
        lines = difference(old, model) if old.revision else []
        self.node.controller.edit(model, user=user, note=f"read from {self.path}")
        self._remember(self.disk_bound(text))
        if not old.revision:
            return []
        return [f"{self.path} changed; it is revision {self.node.flow.revision} now:"] + [
            f"  {line}" for line in lines
        ]

    def _conflict(self, model: FlowModel) -> str:
        lines = "\n".join(f"  {line}" for line in difference(self.node.flow, model))
        home = self.node.home.path
        other = bound_file(home)
        if other == self.path:
            problem = f"{self.path} and the flow in the home {home} both changed"
            remedy = "Decide with --take file or --take home"
        else:
            bond = f"the flow of {other}" if other is not None else "a flow of its own"
            problem = f"The home {home} has {bond}, which is another one than {self.path}"
            remedy = (
                f"Choose another home with --home, or decide: --take file gives this home the flow "
                f"of {self.path}, --take home writes the home's flow over that file"
            )
        return f"{problem}. From home to file:\n{lines}\n{remedy}"

    def _bound(self) -> Bound | None:
        path = self.node.home.path / BOUND_NAME
        try:
            bound = msgspec.json.decode(path.read_bytes(), type=Bound)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        return bound if Path(bound.file) == self.path else None

    def _remember(self, bound: Bound) -> None:
        path = self.node.home.path / BOUND_NAME
        fresh = path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(bound))
        fresh.replace(path)


def bound_file(home: Path) -> Path | None:
    """Return the file that a home is bound to; None where it never was."""
    try:
        bound = msgspec.json.decode((home / BOUND_NAME).read_bytes(), type=Bound)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    return Path(bound.file)


def check_overrides(flow: FlowModel, overrides: Mapping[str, str]) -> None:
    """Refuse parameters that the flow does not have.

    Raises:
        ParameterError: naming it and those that there are.
    """
    with_overrides(flow, overrides, encrypt=lambda value: value)
