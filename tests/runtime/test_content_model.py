"""The content store against dictionaries, with kills and power losses."""

import copy
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runtime.clock import ManualClock
from runtime.content import ContentGoneError, ContentStore
from runtime.content_archive import ArchiveLimits
from runtime.disk import File
from runtime.flowfile import Claim
from runtime.memory_disk import MemoryDisk

contents_of = st.lists(st.binary(max_size=30), max_size=6)
pieces_of = st.lists(st.binary(max_size=25), max_size=4)
Live = dict[int, tuple[Claim | None, bytes]]


class StoreAgainstDictionaries(RuleBasedStateMachine):
    """Flowfiles by number, as committed and as last synced; and every content ever committed."""

    @initialize(archive_bytes=st.sampled_from([0, 150, 10**9]))
    def begin(self, archive_bytes: int) -> None:
        self.disk = MemoryDisk()
        self.clock = ManualClock()
        self.limits = ArchiveLimits(age_seconds=100, size_bytes=archive_bytes)
        self.live: Live = {}
        self.synced: Live = {}
        self.unsynced_ends: Counter[int] = Counter()
        self.once: dict[Claim, bytes] = {}
        self.sequence = self.number = 0
        self.highest_before = 0
        self.open_store()

    def open_store(self) -> None:
        self.dirty: list[File] = []
        self.store = ContentStore(
            Path("/home/content"),
            disk=self.disk,
            clock=self.clock,
            segment_bytes=64,
            own_segment_bytes=32,
            limits=self.limits,
            open_files_max=2,
        )

    def commit(
        self, added: list[tuple[Claim | None, bytes]], dropped: list[int], files: list[File]
    ) -> None:
        self.sequence += 1
        self.dirty += files
        self.store.references.add([claim for claim, _ in added])
        ended = [self.live.pop(number)[0] for number in dropped]
        self.store.references.end(ended, self.sequence)
        self.unsynced_ends.update(claim.segment for claim in ended if claim)
        for claim, content in added:
            self.number += 1
            self.live[self.number] = (claim, content)
            if claim:
                self.once[claim] = content

    @rule(contents=contents_of, together=st.booleans(), void=contents_of)
    def write(self, contents: list[bytes], together: bool, void: list[bytes]) -> None:
        writer = self.store.writer()
        claims = (
            writer.append_many(contents)
            if together
            else [writer.append(content) for content in contents]
        )
        mark = writer.mark()
        writer.append_many(void)
        writer.rollback(mark)
        assert self.store.read_many(claims) == contents
        self.commit(list(zip(claims, contents, strict=True)), [], writer.flush())
        self.store.release(writer)

    @rule(pieces=pieces_of, beside=st.binary(max_size=9))
    def stream(self, pieces: list[bytes], beside: bytes) -> None:
        writer = self.store.writer()
        stream, aborted = writer.stream(), writer.stream()
        aborted.write(b"void" * 9)
        for piece in pieces:
            stream.write(piece)
        added = [(writer.append(beside), beside), (stream.close(), b"".join(pieces))]
        assert stream.close() == added[1][0]
        self.commit(added, [], writer.flush())
        self.store.release(writer)

    @rule(contents=contents_of, flushed=st.booleans())
    def write_and_roll_back(self, contents: list[bytes], flushed: bool) -> None:
        writer = self.store.writer()
        mark = writer.mark()
        writer.append_many(contents)
        if flushed:
            writer.flush()
        writer.rollback(mark)
        self.store.release(writer)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def slice_or_clone(self, data: st.DataObject) -> None:
        claim, content = self.live[data.draw(st.sampled_from(sorted(self.live)))]
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, len(content)))
        part = self.store.slice(claim, start, stop - start)
        self.commit([(part, content[start:stop])], [], [])

    @precondition(lambda self: self.live)
    @rule(data=st.data(), rewritten=st.booleans())
    def drop(self, data: st.DataObject, rewritten: bool) -> None:
        dropped = data.draw(st.lists(st.sampled_from(sorted(self.live)), unique=True, min_size=1))
        writer = self.store.writer()
        added = [(writer.append(b"again"), b"again")] if rewritten else []
        self.commit(added, dropped, writer.flush())
        self.store.release(writer)

    @precondition(lambda self: self.once)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(sorted(self.once, key=str)))
        try:
            with self.store.pinned([claim]):
                self.commit([(claim, self.once[claim])], [], [])
        except ContentGoneError:
            assert claim not in [kept for kept, _ in self.live.values()]

    @rule()
    def sync(self) -> None:
        for file in self.dirty:
            file.sync()
        self.dirty.clear()
        self.synced = copy.copy(self.live)
        self.unsynced_ends.clear()
        self.store.references.durable(self.sequence)

    @rule(seconds=st.sampled_from([0, 60, 4000]))
    def maintain(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.store.maintain()

    @rule()
    def be_killed(self) -> None:
        self.open_store()
        self.adopt(unsynced={claim.segment for claim, _ in self.live.values() if claim})
        self.synced = copy.copy(self.live)

    @rule()
    def lose_power(self) -> None:
        self.disk.lose_power()
        self.open_store()
        self.live = copy.copy(self.synced)
        # Contents of records that the crash erased were never anybody's.
        self.once = {claim: content for claim, content in self.live.values() if claim}
        self.adopt(unsynced=set())

    def adopt(self, unsynced: set[int]) -> None:
        self.unsynced_ends.clear()
        counts = Counter(claim.segment for claim, _ in self.live.values() if claim)
        assert self.store.adopt(counts, unsynced=unsynced) == []

    @invariant()
    def every_live_content_is_whole(self) -> None:
        contents = [content for _, content in self.live.values()]
        claims = [claim for claim, _ in self.live.values()]
        assert self.store.read_many(claims) == contents
        assert [self.store.read(claim) for claim in claims] == contents
        assert [self.store.open(claim).read() for claim in claims] == contents

    @invariant()
    def references_are_the_fold(self) -> None:
        folded = Counter(claim.segment for claim, _ in self.live.values() if claim)
        folded += self.unsynced_ends
        counted = {entry.segment: entry.references for entry in self.store.statistics()}
        assert {segment: count for segment, count in counted.items() if count} == folded

    @invariant()
    def what_was_once_committed_is_right_or_gone(self) -> None:
        for claim, content in self.once.items():
            try:
                assert self.store.read(claim) == content
            except ContentGoneError:
                continue

    @invariant()
    def what_is_synced_survives_a_power_loss(self) -> None:
        disk = MemoryDisk()
        disk.files = {path: copy.copy(file) for path, file in self.disk._synced_names.items()}
        for file in disk.files.values():
            file.data = bytearray(file.synced)
        kept = ContentStore(Path("/home/content"), disk=disk, clock=self.clock)
        assert all(kept.read(claim) == content for claim, content in self.synced.values())

    def teardown(self) -> None:
        if not hasattr(self, "live"):
            return
        self.commit([], sorted(self.live), [])
        self.sync()
        self.maintain(4000)
        self.maintain(4000)
        assert [entry for entry in self.store.statistics() if entry.references] == []
        assert sum(entry.size for entry in self.store.statistics()) <= 300


TestStoreAgainstDictionaries = pytest.mark.slow(StoreAgainstDictionaries.TestCase)
TestStoreAgainstDictionaries.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None
)
