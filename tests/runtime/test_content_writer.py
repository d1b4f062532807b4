import errno
import io
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runtime.clock import ManualClock
from runtime.content import ContentDamagedError, ContentStore
from runtime.content_archive import live_path
from runtime.disk import SystemDisk
from runtime.flowfile import Claim
from runtime.memory_disk import MemoryDisk

HOME = Path("/home/content")


def new_store(disk: MemoryDisk | None = None, *, own_segment_bytes: int = 40) -> ContentStore:
    return ContentStore(
        HOME,
        disk=disk or MemoryDisk(),
        clock=ManualClock(),
        segment_bytes=100,
        own_segment_bytes=own_segment_bytes,
    )


class FaultyDisk(MemoryDisk):
    """Fails the writing operation number `fail_at`, and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.fail_at = -1

    def before(self, operation: str, path: Path, size: int) -> None:
        if operation in ("write", "create", "truncate"):
            self.operations += 1
            if self.operations == self.fail_at:
                raise OSError(errno.ENOSPC, "the disk is full", str(path))
        super().before(operation, path, size)


def some(claim: Claim | None) -> Claim:
    assert claim is not None
    return claim


def test_small_contents_lie_one_after_another_in_one_segment() -> None:
    writer = new_store().writer()

    first, second = some(writer.append(b"one")), some(writer.append(b"three"))

    assert (second.segment, second.offset, second.length) == (first.segment, 3, 5)


def test_what_a_session_wrote_is_readable_before_it_is_flushed() -> None:
    disk = MemoryDisk()
    store = new_store(disk)
    writer = store.writer()
    claims = [writer.append(b"one"), writer.append(b"three"), writer.append(b"five")]

    assert store.read_many(claims) == [b"one", b"three", b"five"]
    assert store.open(claims[1]).read() == b"three"
    assert store.verify(claims[2])
    assert disk.names(HOME) == []


def test_a_flush_writes_everything_once_and_names_the_segment() -> None:
    disk = FaultyDisk()
    writer = new_store(disk).writer()
    segment = some(writer.append(b"one")).segment
    writer.append_many([b"three", b"five"])

    files = writer.flush()

    assert disk.files[live_path(HOME, segment)].data == b"onethreefive"
    assert disk.operations == 2  # create and write
    assert len(files) == 1
    assert writer.flush() == []


def test_one_segment_is_the_same_file_at_each_flush() -> None:
    writer = new_store().writer()
    writer.append(b"one")
    first = writer.flush()
    writer.append(b"two")

    assert writer.flush() == first


def test_a_synced_content_survives_power_loss_and_an_unsynced_one_does_not() -> None:
    disk = MemoryDisk()
    store = new_store(disk)
    writer = store.writer()
    kept = writer.append(b"kept")
    for file in writer.flush():
        file.sync()
    lost = writer.append(b"lost")
    writer.flush()

    disk.lose_power()
    store = new_store(disk)

    assert store.read(kept) == b"kept"
    assert not store.verify(lost)


@pytest.mark.parametrize("verb", ["append", "append_many", "stream", "zero writes"])
def test_empty_content_has_no_claim(verb: str) -> None:
    store = new_store()
    writer = store.writer()
    if verb == "append":
        claim = writer.append(b"")
    elif verb == "append_many":
        claim, _ = writer.append_many([b"", b"x"])
    else:
        stream = writer.stream()
        for _ in range(3 if verb == "zero writes" else 0):
            assert stream.write(b"") == 0
        claim = stream.close()

    assert claim is None
    assert store.read(claim) == store.open(claim).read() == b""
    assert store.verify(claim)
    assert store.slice(claim, 0, 0) is None


def test_a_batch_gives_the_claims_that_single_appends_give() -> None:
    contents = [b"a" * length for length in (3, 0, 39, 40, 41, 1, 100, 7)]
    one, many = new_store().writer(), new_store().writer()

    singles = [one.append(content) for content in contents]

    assert many.append_many(contents) == singles
    assert many.append_many([]) == []


def test_a_batch_that_fits_is_packed_like_single_appends() -> None:
    store = new_store()
    writer = store.writer()
    writer.append(b"first")

    claims = writer.append_many([b"second", b"third"])

    assert [some(claim).offset for claim in claims] == [5, 11]
    assert store.read_many(claims) == [b"second", b"third"]


def test_changing_the_bytes_after_an_append_changes_no_content() -> None:
    store = new_store()
    writer = store.writer()
    writer.append(b"x")
    bytes_of_caller: Any = bytearray(b"before")  # against the signature, as it happens

    claims = [writer.append(bytes_of_caller), *writer.append_many([bytes_of_caller])]
    stream = writer.stream()
    stream.write(bytes_of_caller)
    bytes_of_caller[:] = b"after!"

    assert store.read_many([*claims, stream.close()]) == [b"before"] * 3


@pytest.mark.parametrize("pieces", [[b"x" * 41], [b"x" * 20, b"x" * 21], [b"x"] * 41])
def test_a_content_past_the_limit_lies_alone_from_the_first_byte(pieces: list[bytes]) -> None:
    disk = MemoryDisk()
    store = new_store(disk)
    writer = store.writer()
    neighbour = some(writer.append(b"small"))
    with writer.stream() as stream:
        for piece in pieces:
            stream.write(piece)
    claim = some(stream.close())
    files = writer.flush()

    assert (claim.offset, claim.length) == (0, 41)
    assert disk.files[live_path(HOME, claim.segment)].data == b"x" * 41
    assert claim.segment != neighbour.segment
    assert len(files) == 2
    assert store.read(claim) == b"x" * 41


def test_a_content_at_the_limit_shares_its_segment() -> None:
    writer = new_store().writer()
    first = some(writer.append(b"x"))

    assert some(writer.append(b"y" * 40)).segment == first.segment


def test_a_full_segment_is_followed_by_another() -> None:
    store = new_store()
    writer = store.writer()

    claims = [writer.append(b"%d" % (i % 10) * 30) for i in range(7)]

    assert [some(claim).segment for claim in claims] == [1, 1, 1, 2, 2, 2, 3]
    assert store.read_many(claims) == [b"%d" % (i % 10) * 30 for i in range(7)]


def test_a_stream_of_any_size_is_written_as_it_comes() -> None:
    disk = MemoryDisk()
    store = new_store(disk, own_segment_bytes=2**20)
    stream = store.writer().stream()
    for _ in range(40):
        stream.write(bytes(2**16))

    assert stream.tell() == 40 * 2**16
    written = sum(len(file.data) for file in disk.files.values())
    assert written >= 40 * 2**16 - 2**18
    assert store.verify(stream.close())


def test_a_stream_is_a_file_to_those_who_write_files() -> None:
    store = new_store()
    stream = store.writer().stream()
    print("a line", file=io.TextIOWrapper(io.BufferedWriter(_Raw(stream))), flush=True)

    assert stream.writable()
    assert store.read(stream.close()) == b"a line\n"
    assert not stream.writable()


class _Raw(io.RawIOBase):
    def __init__(self, stream: object) -> None:
        self.write = stream.write  # type: ignore[attr-defined, method-assign]  # it counts

    def writable(self) -> bool:
        return True


def test_closing_a_stream_twice_gives_the_same_claim_and_writes_nothing() -> None:
    store = new_store()
    writer = store.writer()
    stream = writer.stream()
    stream.write(b"mine")
    claim = stream.close()
    other = some(writer.append(b"another's"))

    assert stream.close() is claim
    stream.abort()

    assert other.offset == 4
    assert store.read_many([claim, other]) == [b"mine", b"another's"]


@pytest.mark.parametrize("end", ["close", "abort", "release"])
def test_a_stream_that_has_ended_takes_no_more_bytes(end: str) -> None:
    store = new_store()
    writer = store.writer()
    stream = writer.stream()
    stream.write(b"mine")
    if end == "release":
        store.release(writer)
    else:
        getattr(stream, end)()

    with pytest.raises(ValueError, match="is closed and takes no more bytes. Write before it is"):
        stream.write(b"foreign")


def test_an_exception_in_a_stream_drops_its_content() -> None:
    disk = MemoryDisk()
    store = new_store(disk)
    writer = store.writer()

    with pytest.raises(ZeroDivisionError), writer.stream() as stream:
        stream.write(b"x" * 2**18)
        stream.write(bytes(1 // 0))
    assert stream.close() is None

    writer.append(b"next")
    for file in writer.flush():
        file.sync()
    assert store.maintain().removed == (1,)


def test_a_rollback_drops_what_is_buffered() -> None:
    disk = MemoryDisk()
    store = new_store(disk)
    writer = store.writer()
    kept = some(writer.append(b"kept"))
    mark = writer.mark()
    void = writer.append(b"void")

    writer.rollback(mark)
    after = some(writer.append(b"after it"))
    writer.flush()

    assert after.offset == 4
    assert disk.files[live_path(HOME, 1)].data == b"keptafter it"
    assert store.read_many([kept, after]) == [b"kept", b"after it"]
    with pytest.raises(ContentDamagedError, match="the checksum is"):
        store.read(void)


def test_a_rollback_leaves_written_bytes_as_dead_ones() -> None:
    store = new_store()
    writer = store.writer()
    mark = writer.mark()
    writer.append(b"dead")
    writer.flush()
    writer.append(b"dropped")

    writer.rollback(mark)

    assert some(writer.append(b"alive")).offset == 4


def test_a_rollback_over_several_segments_leaves_nothing_to_keep() -> None:
    disk = MemoryDisk()
    store = new_store(disk)
    writer = store.writer()
    mark = writer.mark()
    for _ in range(9):
        writer.append(b"x" * 35)
    writer.append(b"x" * 50)
    writer.rollback(mark)
    store.release(writer)

    writer = store.writer()
    kept = writer.append(b"x" * 90)
    for file in writer.flush():
        file.sync()
    store.references.add([kept])
    store.release(writer)
    store.maintain()

    left = {entry.segment for entry in store.statistics() if entry.references}
    assert left == {some(kept).segment}
    assert sum(entry.size for entry in store.statistics()) <= 90 + 35 * 2


def test_a_rollback_aborts_the_streams_opened_since_its_mark() -> None:
    writer = new_store().writer()
    before = writer.stream()
    mark = writer.mark()
    since = writer.stream()
    since.write(b"since")

    writer.rollback(mark)

    assert (before.closed, since.closed, since.close()) == (False, True, None)


def test_bytes_that_nobody_flushed_end_with_the_session() -> None:
    store = new_store()
    writer = store.writer()
    void = writer.append(b"void")

    store.release(writer)

    assert not store.verify(void)


def test_a_session_that_writes_nothing_out_leaves_no_file() -> None:
    disk = MemoryDisk()
    store = new_store(disk)
    writer = store.writer()
    mark = writer.mark()
    writer.append(b"void")
    writer.rollback(mark)
    store.release(writer)

    assert disk.names(HOME) == []


def test_a_writer_is_released_once() -> None:
    store = new_store()
    writer = store.writer()
    store.release(writer)

    with pytest.raises(AssertionError, match="A content writer is released only once."):
        store.release(writer)


def test_a_full_disk_takes_the_writer_back_to_its_last_flush() -> None:
    disk = FaultyDisk()
    store = new_store(disk)
    writer = store.writer()
    kept = writer.append(b"kept")
    writer.flush()
    void = writer.append(b"void")

    disk.fail_at = disk.operations + 1
    with pytest.raises(OSError, match="the disk is full"):
        writer.flush()
    after = writer.append(b"after")
    writer.flush()

    assert store.read_many([kept, after]) == [b"kept", b"after"]
    assert some(after).segment != some(kept).segment
    assert not store.verify(void)


def test_a_write_that_stops_half_way_leaves_no_half_content() -> None:
    class HalfDisk(FaultyDisk):
        def before(self, operation: str, path: Path, size: int) -> None:
            if operation == "write" and self.operations + 1 == self.fail_at:
                self.files[path].data += b"half"
            super().before(operation, path, size)

    disk = HalfDisk()
    writer = new_store(disk).writer()
    writer.append(b"kept")
    writer.flush()
    writer.append(b"half of it")

    disk.fail_at = disk.operations + 1
    with pytest.raises(OSError, match="the disk is full"):
        writer.flush()

    assert disk.files[live_path(HOME, 1)].data == b"kept"


def commit_everything(store: ContentStore) -> dict[Claim, bytes]:
    """Write by every way there is and commit; roll back when the disk fails."""
    contents = [b"a" * 10, b"b" * 39, b"c" * 90, b"d" * 38, b"e" * 2**18]
    writer = store.writer()
    try:
        claims = [writer.append(contents[0]), *writer.append_many(contents[1:4])]
        with writer.stream() as stream:
            stream.write(contents[4])
            stream.write(b"tail")
        claims.append(stream.close())
        writer.flush()
        store.references.add(claims)
    except OSError:
        return {}
    finally:
        store.release(writer)
    contents[4] += b"tail"
    return {some(claim): content for claim, content in zip(claims, contents, strict=True)}


def test_every_failing_operation_rolls_back_and_the_next_session_commits() -> None:
    healthy = FaultyDisk()
    assert commit_everything(new_store(healthy))

    for fail_at in range(1, healthy.operations + 1):
        disk = FaultyDisk()
        store = new_store(disk)
        kept = commit_everything(store)
        disk.fail_at = disk.operations + fail_at
        assert commit_everything(store) == {}
        kept |= commit_everything(store)

        store.maintain()

        assert len(kept) == 10
        assert store.read_many(list(kept)) == list(kept.values())
        referenced = {entry.segment for entry in store.statistics() if entry.references}
        assert referenced == {claim.segment for claim in kept}


@contextmanager
def switching_every(seconds: float) -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def test_many_threads_neither_lose_nor_mix_contents(tmp_path: Path) -> None:
    store = ContentStore(
        tmp_path / "content",
        disk=SystemDisk(),
        clock=ManualClock(),
        segment_bytes=2_000,
        own_segment_bytes=500,
        open_files_max=4,
    )

    def work(worker: int) -> list[tuple[Claim, bytes]]:
        kept: list[tuple[Claim, bytes]] = []
        for turn in range(30):
            writer = store.writer()
            contents = [b"%d.%d.%d;" % (worker, turn, i) * (i * 9 + 1) for i in range(8)]
            claims = writer.append_many(contents)
            writer.flush()
            store.references.add(claims)
            store.release(writer)
            assert store.read_many(claims) == contents
            store.references.end(claims[1:], worker * 1000 + turn)
            store.references.durable(worker * 1000 + turn)
            kept.append((some(claims[0]), contents[0]))
            if turn % 10 == 0:
                store.maintain()
        return kept

    with switching_every(1e-5), ThreadPoolExecutor(8) as pool:
        kept = [entry for entries in pool.map(work, range(8)) for entry in entries]
    store.references.durable(10_000)
    store.maintain()

    assert [store.read(claim) for claim, _ in kept] == [content for _, content in kept]
    counted = sum(entry.references for entry in store.statistics())
    assert (len(kept), counted) == (240, 240)
    store.close()
