"""A home as provenance reads it: its files, whether a node runs on it or not.

Everything here only reads. A running node goes on writing meanwhile; `commits` then ends at what
the log's reader takes for its end.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from provenance.index import Index
from provenance.names import FlowNames
from runtime.clock import SystemClock
from runtime.commit import Commit, decode
from runtime.disk import SystemDisk
from runtime.flowfile import Identity

if TYPE_CHECKING:
    from runtime.content import ContentStore

NODE_FILE = "node.json"


class HomeError(ValueError):
    """A directory is not a home, or its description cannot be read."""


class NodeFile(msgspec.Struct):
    """What provenance needs of `node.json`."""

    home: int
    formerly: list[tuple[int, int]] = []


@dataclass(frozen=True)
class Home:
    """A home's files. `identity` turns flowfile ids into UUIDs."""

    path: Path
    identity: Identity
    gaps: list[str] = field(default_factory=list)
    """What the last reading of the log found missing, in words; rot never stops the rest."""

    @property
    def log_home(self) -> int:
        """The number that log and checkpoints carry: a copied home keeps that of its first life."""
        return self.identity.formerly[0][0] if self.identity.formerly else self.identity.home

    @cached_property
    def index(self) -> Index:
        """The provenance index; its directory may not exist yet."""
        return Index(self.path / "provenance")

    @cached_property
    def content(self) -> "ContentStore":
        """The content store, archive included, for reading."""
        from runtime.content import ContentStore

        return ContentStore(self.path / "content", disk=SystemDisk(), clock=SystemClock())

    def commits(self, after: int = 0, until: int | None = None) -> Iterator[tuple[int, Commit]]:
        """Yield commits in log order, from the first that is left after `after` to `until`."""
        from runtime.log_reader import damage_sentence, read_log

        self.gaps.clear()
        reading = read_log(
            self.path / "log", SystemDisk(), after=after, home=self.log_home,
            damaged=lambda damage: self.gaps.append(damage_sentence(damage)),
        )
        for sequence, _, record in reading:
            if until is not None and sequence > until:
                return
            if sequence > after:
                yield sequence, decode(record)

    def names(self) -> FlowNames:
        """Return the component names in force after the last indexed commit."""
        names = FlowNames(self.index.flow())
        if names.encoded is None:
            encoded = self._oldest_flow() or self._checkpointed_flow()
            if encoded is not None:
                names.replace(encoded)
        return names

    def _checkpointed_flow(self) -> bytes | None:
        """The flow of the newest checkpoint: for a log that retention shortened before an index."""
        from runtime.checkpoint import CheckpointDamagedError, load_newest

        with suppress(CheckpointDamagedError):
            newest = load_newest(self.path / "checkpoints", SystemDisk(), self.log_home)
            return newest[0].flow if newest is not None else None
        return None

    def _oldest_flow(self) -> bytes | None:
        """The first flow model that the log still has: the nearest to commits before it."""
        with suppress(StopIteration):
            return next(
                commit.action.flow
                for _, commit in self.commits(self.index.indexed_sequence)
                if commit.action is not None and commit.action.flow is not None
            )
        return None


def open_home(path: Path) -> Home:
    """Open a home for reading.

    Raises:
        HomeError: there is none, or its `node.json` cannot be read.
    """
    try:
        node = msgspec.json.decode((path / NODE_FILE).read_bytes(), type=NodeFile)
    except (FileNotFoundError, NotADirectoryError):
        raise HomeError(
            f"{path} is no home: it has no {NODE_FILE}; name a node's directory with --home, "
            "or start a node there with levada up"
        ) from None
    except (msgspec.DecodeError, OSError) as error:
        raise HomeError(
            f"{path / NODE_FILE} cannot be read ({error}); it must hold the home's number as "
            '{"home": N}'
        ) from error
    if not 0 <= node.home < 1 << 48:
        raise HomeError(
            f"{path / NODE_FILE} has {node.home} as the home's number; it must fit into 48 bits"
        )
    return Home(path, Identity(node.home, node.formerly))
