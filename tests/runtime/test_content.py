import errno
import gc
import io
import random
import zipfile
from pathlib import Path

import pytest

from runtime.clock import ManualClock
from runtime.content import ContentDamagedError, ContentGoneError, ContentStore, Maintenance
from runtime.content_archive import ArchiveLimits, live_path
from runtime.disk import SystemDisk
from runtime.flowfile import Claim
from runtime.memory_disk import MemoryDisk

HOME = Path("/home/content")
LARGE = 2**20 + 12_345


class World:
    """A store of small segments in memory, with sessions that commit in one call."""

    def __init__(self, disk: MemoryDisk | None = None, **limits: float) -> None:
        self.disk = disk or MemoryDisk()
        self.clock = ManualClock()
        self.limits = ArchiveLimits(**limits)  # type: ignore[arg-type]  # sizes are whole numbers
        self.store = self.reopened()

    def reopened(self) -> ContentStore:
        return ContentStore(
            HOME,
            disk=self.disk,
            clock=self.clock,
            segment_bytes=100,
            own_segment_bytes=60,
            limits=self.limits,
        )

    def commit(self, *contents: bytes) -> list[Claim]:
        writer = self.store.writer()
        claims = [claim for claim in writer.append_many(contents) if claim]
        for file in writer.flush():
            file.sync()
        self.store.references.add(claims)
        self.store.release(writer)
        return claims

    def drop(self, *claims: Claim) -> None:
        self.store.references.end(claims, 0)

    def archived(self) -> tuple[Claim, bytes]:
        """Return a content that nobody refers to and that lies in the archive."""
        content = b"once upon a time" * 4
        (claim,) = self.commit(content)
        self.drop(claim)
        assert self.store.maintain().archived == (claim.segment,)
        return claim, content


def large_content(store: ContentStore) -> tuple[Claim, bytes]:
    content = random.Random(7).randbytes(LARGE)
    writer = store.writer()
    claim = writer.append(content)
    writer.flush()
    store.references.add([claim])
    store.release(writer)
    assert claim is not None
    return claim, content


def test_contents_come_back_in_the_order_asked_for() -> None:
    world = World()
    contents = [b"%d" % i * (i % 50 + 1) for i in range(60)]
    claims: list[Claim | None] = [*world.commit(*contents), None]
    contents.append(b"")
    order = random.Random(1).sample(range(61), 61) + [3, 3, 60]

    assert world.store.read_many([claims[i] for i in order]) == [contents[i] for i in order]
    assert world.store.read_many([]) == []


def test_neighbours_are_read_in_one_go() -> None:
    reads: list[int] = []

    class ReadingDisk(MemoryDisk):
        def before(self, operation: str, path: Path, size: int) -> None:
            if operation == "read":
                reads.append(size)
            super().before(operation, path, size)

    world = World(ReadingDisk())
    claims = world.commit(*[b"1234567890"] * 9)

    assert world.store.read_many(claims) == [b"1234567890"] * 9
    assert reads == [90]


def test_overlapping_parts_are_read_whole() -> None:
    world = World()
    (claim,) = world.commit(b"0123456789")
    parts = [world.store.slice(claim, 0, length) for length in (10, 4, 1)]

    assert world.store.read_many(parts) == [b"0123456789", b"0123", b"0"]


def test_a_batch_is_read_half_from_the_file_and_half_from_the_buffer() -> None:
    store = World().store
    writer = store.writer()
    claims = [writer.append(b"written")]
    writer.flush()
    claims.append(writer.append(b"buffered"))

    assert store.read_many(claims) == [b"written", b"buffered"]


def test_a_segment_cut_short_is_an_error_and_not_a_short_content() -> None:
    world = World()
    first, second = world.commit(b"whole", b"cut off")
    world.disk.files[live_path(HOME, first.segment)].truncate(8)

    message = "Content segment 1, bytes 5 to 12: the segment ends at 8, within the content."
    for read in (world.store.read, lambda claim: world.store.read_many([first, claim])):
        with pytest.raises(ContentDamagedError, match=message) as caught:
            read(second)
        assert caught.value.claim == second
    assert world.store.read(first) == b"whole"
    assert (world.store.verify(first), world.store.verify(second)) == (True, False)


def test_a_flipped_bit_is_an_error_that_names_the_content() -> None:
    world = World()
    first, second = world.commit(b"whole", b"damaged")
    world.disk.files[live_path(HOME, first.segment)].data[6] ^= 1

    message = r"bytes 5 to 12: the checksum is [0-9a-f]{16}, written was [0-9a-f]{16}\. Its file"
    with pytest.raises(ContentDamagedError, match=message) as caught:
        world.store.read_many([first, second])
    assert caught.value.claim == second
    assert not world.store.verify(second)


def test_a_lost_file_of_live_content_is_damage() -> None:
    world = World()
    (claim,) = world.commit(b"x" * 90)
    restarted = world.reopened()
    restarted.adopt({claim.segment: 2})
    del world.disk.files[live_path(HOME, claim.segment)]

    message = "missing though 2 flowfiles refer to it. Put .*000000000001.segment back from a"
    with pytest.raises(ContentDamagedError, match=message):
        restarted.read(claim)
    with pytest.raises(ContentDamagedError, match=message):
        restarted.open(Claim(claim.segment, 0, LARGE, 0))


def test_an_unreadable_disk_is_not_taken_for_damage() -> None:
    class BadDisk(MemoryDisk):
        broken = False

        def before(self, operation: str, path: Path, size: int) -> None:
            if self.broken and operation == "read":
                raise OSError(errno.EIO, "the sector is unreadable")

    disk = BadDisk()
    world = World(disk)
    (claim,) = world.commit(b"content")
    disk.broken = True

    with pytest.raises(OSError, match="the sector is unreadable"):
        world.store.verify(claim)


def test_an_open_content_reads_seeks_and_frees_its_segment() -> None:
    store = World().store
    claim, content = large_content(store)

    with store.open(claim) as stream:
        assert store.references.holders(claim.segment) == (1, 1)
        assert stream.read(10) == content[:10]
        assert stream.seek(-5, io.SEEK_END) == LARGE - 5
        assert stream.read() == content[-5:]
        assert stream.seek(3) == stream.tell() == 3
        assert stream.seek(4, io.SEEK_CUR) == 7
        assert stream.read() == content[7:]

    assert store.references.holders(claim.segment) == (1, 0)


def test_an_open_content_serves_a_library_that_seeks() -> None:
    store = World().store
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writing:
        writing.writestr("a.bin", random.Random(2).randbytes(LARGE))
    writer = store.writer()
    claim = writer.append(archive.getvalue())
    writer.flush()

    with store.open(claim) as stream, zipfile.ZipFile(stream) as reading:
        assert reading.testzip() is None


def test_a_forgotten_stream_frees_its_segment() -> None:
    store = World().store
    claim, _ = large_content(store)
    stream = store.open(claim)
    stream.read(1)

    del stream
    gc.collect()

    assert store.references.holders(claim.segment) == (1, 0)


@pytest.mark.parametrize("position", [0, LARGE // 2, LARGE - 1])
def test_a_stream_of_damaged_content_raises_before_its_last_bytes(position: int) -> None:
    world = World()
    claim, _ = large_content(world.store)
    world.disk.files[live_path(HOME, claim.segment)].data[position] ^= 1

    received = 0
    with (
        pytest.raises(ContentDamagedError, match="the checksum is"),
        world.store.open(claim) as stream,
    ):
        while data := stream.read(50_000):
            received += len(data)
    assert received < LARGE


def test_a_stream_of_content_cut_short_raises() -> None:
    world = World()
    claim, _ = large_content(world.store)
    world.disk.files[live_path(HOME, claim.segment)].truncate(LARGE - 1)

    with (
        pytest.raises(ContentDamagedError, match=f"the segment ends at {LARGE - 1}, within"),
        world.store.open(claim) as stream,
    ):
        stream.read()


@pytest.mark.parametrize("large", [False, True])
def test_a_slice_shares_the_bytes_and_has_its_own_checksum(large: bool) -> None:
    world = World()
    if large:
        claim, content = large_content(world.store)
    else:
        content = b"0123456789"
        claim = world.commit(b"before", content)[1]

    part = world.store.slice(claim, 3, len(content) - 5)

    assert part is not None
    assert (part.segment, part.offset) == (claim.segment, claim.offset + 3)
    assert world.store.read(part) == content[3:-2]
    assert world.store.slice(claim, 0, claim.length) == claim
    assert world.store.slice(claim, 4, 0) is None


@pytest.mark.parametrize(("offset", "length"), [(-1, 2), (0, -1), (0, 11), (8, 3), (11, 0)])
def test_a_slice_outside_its_content_is_refused(offset: int, length: int) -> None:
    world = World()
    (claim,) = world.commit(b"0123456789")

    message = f"{length} bytes at {offset} does not lie in a content of 10 bytes. Offset and"
    with pytest.raises(ValueError, match=message):
        world.store.slice(claim, offset, length)


@pytest.mark.parametrize("large", [False, True])
def test_a_slice_does_not_hide_damage(large: bool) -> None:
    world = World()
    claim = large_content(world.store)[0] if large else world.commit(b"0123456789")[0]
    world.disk.files[live_path(HOME, claim.segment)].data[1] ^= 1

    with pytest.raises(ContentDamagedError, match="the checksum is"):
        world.store.slice(claim, 0, 5)


def test_a_clone_created_and_dropped_in_one_session_takes_nothing_from_the_original() -> None:
    world = World()
    (original,) = world.commit(b"x" * 90)
    store = world.store

    for sequence in range(1, 4):  # the commit neither adds nor ends what the clone shared
        store.references.add([])
        store.references.end([], sequence)
        store.references.durable(sequence)
    store.maintain()

    assert store.references.holders(original.segment) == (1, 0)
    assert store.read(original) == b"x" * 90


def test_a_clone_keeps_the_content_of_a_dropped_original() -> None:
    world = World()
    (original,) = world.commit(b"x" * 90)
    world.store.references.add([original])

    world.drop(original)
    assert world.store.maintain().archived == ()
    world.drop(original)

    assert world.store.maintain().archived == (original.segment,)


def test_commits_that_come_to_nothing_leave_the_counts_as_they_were() -> None:
    world = World()
    (kept,) = world.commit(b"x" * 90)

    for _ in range(5):
        writer = world.store.writer()
        mark = writer.mark()
        claims = [kept, writer.append(b"y" * 50)]
        writer.flush()
        world.store.references.add(claims)
        world.store.references.end(claims, 0)
        writer.rollback(mark)
        world.store.release(writer)
        world.store.maintain()

    assert world.store.references.holders(kept.segment) == (1, 0)
    assert world.store.read(kept) == b"x" * 90


def test_content_of_an_uncommitted_session_is_neither_archived_nor_removed() -> None:
    world = World()
    writer = world.store.writer()
    claims = [writer.append(b"x" * 55) for _ in range(6)]
    for file in writer.flush():
        file.sync()

    assert world.store.maintain() == Maintenance(archived=(), removed=())
    world.store.references.add(claims)
    world.store.release(writer)

    assert world.store.maintain() == Maintenance(archived=(), removed=())
    assert world.store.read_many(claims) == [b"x" * 55] * 6


def test_an_archived_content_is_readable_and_then_gone() -> None:
    world = World(age_seconds=60)
    claim, content = world.archived()
    assert world.store.read(claim) == content
    world.commit(b"y" * 90)  # a later segment

    world.clock.advance(61)
    assert world.store.maintain().removed == (claim.segment,)

    with pytest.raises(ContentGoneError, match="bytes 0 to 64: it was removed by retention. Rai"):
        world.store.read(claim)
    assert not world.store.verify(claim)
    assert world.reopened().adopt({}) == []


def test_the_newest_segment_stays_so_that_no_id_is_given_twice() -> None:
    world = World(size_bytes=0)
    claim, _ = world.archived()

    assert world.store.maintain().removed == ()
    world.store = world.reopened()
    world.store.adopt({})
    (next_claim,) = world.commit(b"next")

    assert next_claim.segment > claim.segment
    assert world.store.maintain().removed == (claim.segment,)


def test_a_pinned_content_is_neither_archived_nor_removed() -> None:
    world = World(size_bytes=0)
    (claim,) = world.commit(b"x" * 90)
    world.commit(b"y" * 90)

    with world.store.pinned([claim, None]) as paths:
        world.drop(claim)
        assert world.store.maintain().archived == ()
        assert paths == [live_path(HOME, claim.segment), None]

    maintenance = world.store.maintain()
    assert maintenance.archived == maintenance.removed == (claim.segment,)


def test_an_archived_content_that_is_replayed_stays() -> None:
    world = World(age_seconds=60)
    claim, content = world.archived()
    world.commit(b"y" * 90)
    with world.store.pinned([claim]) as paths:
        assert paths == [world.store.archive.path(claim.segment)]
        world.store.references.add([claim])

    world.clock.advance(61)
    assert world.store.maintain().removed == ()
    assert world.store.read(claim) == content
    world.drop(claim)

    assert world.store.maintain().removed == (claim.segment,)


def test_pinning_what_is_gone_says_so_and_pins_nothing() -> None:
    world = World()
    (kept,) = world.commit(b"x" * 90)
    gone = Claim(99, 0, 1, 0)

    with pytest.raises(ContentGoneError, match="removed by retention"):
        world.store.pinned([kept, gone]).__enter__()

    assert world.store.references.holders(kept.segment) == (1, 0)
    assert world.store.references.holders(99) == (0, 0)


def test_only_a_content_alone_in_its_segment_has_a_path() -> None:
    world = World()
    alone, large = world.commit(b"x" * 90, b"y" * 91)
    part = world.store.slice(alone, 1, 5)
    small = world.commit(b"small")[0]

    with world.store.pinned([alone, large, part, small]) as paths:
        assert paths == [live_path(HOME, 1), live_path(HOME, 2), None, None]


def test_a_reader_keeps_its_segment() -> None:
    world = World(size_bytes=0)
    claim, content = large_content(world.store)
    world.commit(b"y" * 90)

    with world.store.open(claim) as stream:
        world.drop(claim)
        world.store.maintain()
        assert stream.read() == content

    assert world.store.maintain().removed == (claim.segment,)


def test_a_quiet_writer_gives_up_its_segment_after_an_hour() -> None:
    world = World()
    (claim,) = world.commit(b"small")
    world.drop(claim)
    assert world.store.maintain().archived == ()

    world.clock.advance(3600)

    assert world.store.maintain().archived == (claim.segment,)
    assert world.commit(b"next")[0].segment > claim.segment


def test_a_restart_adopts_counts_and_archives_orphans() -> None:
    world = World()
    (kept,), (orphan,) = world.commit(b"k" * 90), world.commit(b"o" * 90)
    store = world.reopened()

    assert store.maintain().archived == ()  # nothing is known before `adopt`
    assert store.adopt({kept.segment: 1, 77: 2, 78: 0}, highest=500) == [77]

    assert store.maintain().archived == (orphan.segment,)
    assert store.read_many([kept, orphan]) == [b"k" * 90, b"o" * 90]
    writer = store.writer()
    next_claim = writer.append(b"next")
    assert next_claim is not None
    assert next_claim.segment == 501


def test_a_reader_before_adopt_endangers_nothing() -> None:
    world = World(size_bytes=0)
    claim, content = large_content(world.store)
    store = world.reopened()

    store.open(claim).close()
    store.maintain()

    assert store.read(claim) == content


def test_recovery_syncs_what_a_kill_left_unsynced() -> None:
    world = World()
    claim, content = large_content(world.store)
    store = world.reopened()

    store.adopt({claim.segment: 1}, unsynced=[claim.segment, claim.segment, 99])
    world.disk.lose_power()

    assert world.reopened().read(claim) == content


def test_syncing_a_segment_that_was_removed_does_nothing(tmp_path: Path) -> None:
    store = ContentStore(tmp_path / "content", disk=SystemDisk(), clock=ManualClock())
    writer = store.writer()
    mark = writer.mark()
    removed = writer.append(bytes(LARGE))
    files = writer.flush()
    writer.rollback(mark)
    store.release(writer)
    large_content(store)
    later = store.writer()
    later.append(bytes(LARGE))
    for file in later.flush():
        file.sync()
    assert removed is not None
    assert store.maintain().removed == (removed.segment,)

    for file in files:
        file.sync()

    assert not live_path(tmp_path / "content", removed.segment).exists()
    store.close()


def test_statistics_name_first_what_keeps_the_most_bytes() -> None:
    world = World()
    archived, _ = world.archived()
    (large,) = world.commit(b"x" * 90)
    small = world.commit(b"a", b"b")[0]

    found = [
        (entry.segment, entry.size, entry.references, entry.pins, entry.state)
        for entry in world.store.statistics()
    ]

    assert found == [
        (large.segment, 90, 1, 0, "live"),
        (small.segment, 2, 2, 1, "active"),
        (archived.segment, 64, 0, 0, "archived"),
    ]


def test_contents_on_a_real_disk_survive_a_restart(tmp_path: Path) -> None:
    def opened() -> ContentStore:
        return ContentStore(
            tmp_path / "content", disk=SystemDisk(), clock=ManualClock(), open_files_max=2
        )

    store = opened()
    writer = store.writer()
    contents = [random.Random(i).randbytes(size) for i, size in enumerate([5, 2**20 + 1] * 4)]
    claims = [writer.append(content) for content in contents]
    for file in writer.flush():
        file.sync()
    store.references.add(claims)
    store.release(writer)
    store.close()

    store = opened()
    assert store.adopt({claim.segment: 1 for claim in claims[2:] if claim}) == []
    assert len(store.maintain().archived) == 1

    assert store.read_many(claims) == contents
    with store.pinned([claims[3]]) as paths:
        assert paths[0] is not None
        assert paths[0].read_bytes() == contents[3]
    store.close()
