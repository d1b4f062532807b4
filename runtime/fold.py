"""The fold: queue state as the sum of all commits.

Recovery folds the newest checkpoint and the records after it; the tests fold the whole log and
compare it with what is live. A record that contradicts what came before (it moves a flowfile
that is not there) is proof of damage or of a bug, never guessed around.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from runtime.commit import Commit, Deferred, Routed, decode_ids, new_claims
from runtime.flowfile import Claim, FlowFile, with_attributes, with_claim
from runtime.queue import Run


class FoldError(RuntimeError):
    """A record contradicts the records before it."""


@dataclass(slots=True)
class Entry:
    """A flowfile's place in a queue; see `runtime.queue.Run` for the fields."""

    flowfile: FlowFile
    sequence: int
    index: int
    retries: int = 0
    due: int = 0
    since: int = 0


@dataclass
class Fold:
    """State after `sequence` records. Queues are by connection id, in the order of arrival."""

    sequence: int = 0
    queues: dict[int, dict[int, Entry]] = field(default_factory=dict)
    states: dict[int, dict[str, str]] = field(default_factory=dict)
    keyed: list[tuple[int, int, dict[str, bytes | None]]] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    flow: bytes | None = None
    revision: int = 0
    highest_segment: int = 0

    def apply(self, sequence: int, commit: Commit) -> None:
        """Add the record `sequence`; one that the state holds already changes nothing.

        Raises:
            FoldError: it contradicts what came before.
        """
        if sequence <= self.sequence:
            return
        if sequence != self.sequence + 1 and self.sequence:
            raise FoldError(f"Record {sequence} follows record {self.sequence}")
        self.sequence = sequence
        moving = self._take(commit)
        self._change(commit, moving)
        placed: dict[int, int] = {}
        for routed in commit.routed:
            self._route(routed, commit, moving, placed)
        for dropped in commit.dropped:
            for id in decode_ids(dropped.ids):
                if moving.pop(id, None) is None:
                    raise self._contradiction(id, "ends", "is not there")
        for deferred in commit.deferred:
            self._defer(deferred, commit, placed)
        if moving:
            raise self._contradiction(next(iter(moving)), "takes", "goes nowhere")
        for claim in new_claims(commit):
            self.highest_segment = max(self.highest_segment, claim.segment)
        self._keep(commit)

    def live_claims(self) -> Iterator[Claim]:
        """Yield the claim of every flowfile that has content."""
        for queue in self.queues.values():
            for entry in queue.values():
                if entry.flowfile.claim is not None:
                    yield entry.flowfile.claim

    def count(self) -> int:
        """Return the number of live flowfiles."""
        return sum(len(queue) for queue in self.queues.values())

    def runs(self, connection: int) -> list[Run]:
        """Return a queue's entries as runs, in the order of their places."""
        runs: list[Run] = []
        for entry in self.queues.get(connection, {}).values():
            last = runs[-1] if runs else None
            if (
                last is not None
                and last.sequence == entry.sequence
                and last.index + len(last.flowfiles) == entry.index
                and (last.retries, last.due) == (entry.retries, entry.due)
            ):
                last.flowfiles.append(entry.flowfile)
                last.size += entry.flowfile.size
                continue
            runs.append(
                Run(
                    entry.sequence,
                    [entry.flowfile],
                    entry.flowfile.size,
                    index=entry.index,
                    retries=entry.retries,
                    due=entry.due,
                    since=entry.since,
                )
            )
        return runs

    def _take(self, commit: Commit) -> dict[int, FlowFile]:
        moving: dict[int, FlowFile] = {}
        for taken in commit.taken:
            queue = self.queues.get(taken.connection, {})
            for id in decode_ids(taken.ids):
                entry = queue.pop(id, None)
                if entry is None:
                    raise self._contradiction(
                        id, "takes", f"is not in connection {taken.connection}"
                    )
                moving[id] = entry.flowfile
        for created in commit.created:
            for flowfile in created.flowfiles:
                moving[flowfile.id] = flowfile
        return moving

    def _change(self, commit: Commit, moving: dict[int, FlowFile]) -> None:
        for changed in commit.changed:
            for id, delta in zip(decode_ids(changed.ids), changed.deltas, strict=True):
                if id not in moving:
                    raise self._contradiction(id, "changes", "is not there")
                moving[id] = with_attributes(moving[id], delta)
        for rewritten in commit.rewritten:
            for id, claim in zip(decode_ids(rewritten.ids), rewritten.claims, strict=True):
                if id not in moving:
                    raise self._contradiction(id, "rewrites", "is not there")
                moving[id] = with_claim(moving[id], claim)

    def _route(
        self,
        routed: Routed,
        commit: Commit,
        moving: dict[int, FlowFile],
        placed: dict[int, int],
    ) -> None:
        originals = []
        for id in decode_ids(routed.ids):
            flowfile = moving.pop(id, None)
            if flowfile is None:
                raise self._contradiction(id, "routes", "is not there")
            originals.append(flowfile)
        since = commit.time // 1000
        for target in routed.targets:
            members = originals
            if target.clones is not None:
                members = [
                    FlowFile(id, one.attributes, one.claim, one.lineage_start, since, one.size)
                    for id, one in zip(decode_ids(target.clones), originals, strict=True)
                ]
            queue = self.queues.setdefault(target.connection, {})
            start = placed.get(target.connection, 0)
            for index, flowfile in enumerate(members, start):
                queue[flowfile.id] = Entry(
                    flowfile, self.sequence, index, 0, routed.due, since if routed.due else 0
                )
            placed[target.connection] = start + len(members)

    def _defer(self, deferred: Deferred, commit: Commit, placed: dict[int, int]) -> None:
        queue = self.queues.get(deferred.connection, {})
        start = placed.get(deferred.connection, 0)
        placed[deferred.connection] = start + deferred.ids[1]
        for index, id in enumerate(decode_ids(deferred.ids), start):
            entry = queue.pop(id, None)
            if entry is None:
                raise self._contradiction(
                    id, "defers", f"is not in connection {deferred.connection}"
                )
            queue[id] = Entry(
                entry.flowfile,
                self.sequence,
                index,
                deferred.retries,
                deferred.due,
                commit.time // 1000,
            )

    def _keep(self, commit: Commit) -> None:
        if commit.state is not None:
            self.states[commit.component] = commit.state
        if commit.keyed:
            self.keyed.append((self.sequence, commit.component, commit.keyed))
        for name, delta in (commit.counters or {}).items():
            self.counters[name] = self.counters.get(name, 0) + delta
        if commit.action is not None and commit.action.flow is not None:
            self.flow = commit.action.flow
        self.revision = commit.revision

    def _contradiction(self, id: int, verb: str, fact: str) -> FoldError:
        return FoldError(f"Record {self.sequence} {verb} flowfile {id:#x}, which {fact}")
