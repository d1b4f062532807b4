"""The log as the engine uses it: sequences, durability, callbacks, failure."""

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.clock import SystemClock
from runtime.disk import SystemDisk
from runtime.log import (
    QUEUE_FLOWFILES_MAX,
    Log,
    LogFailedError,
    LogRoom,
    RecordTooLargeError,
)
from runtime.log_format import LOG_START
from runtime.log_writer import LogStartError
from tests.faulty_disk import FaultyDisk
from tests.log_world import DIRECTORY, FILE_BYTES, HOME, World, commit

WAIT_SECONDS = 20


@pytest.fixture
def threaded(tmp_path: Path) -> Iterator[tuple[World, Log]]:
    world = World(disk=SystemDisk(), directory=tmp_path / "log")
    log = world.start(background=True, clock=SystemClock(), file_bytes=2**20)
    yield world, log
    log.close()


def test_sequences_are_consecutive_from_one() -> None:
    log = World().start()

    assert [log.append(b"record") for _ in range(3)] == [1, 2, 3]
    assert log.durable == 0


def test_record_is_durable_after_the_committer_has_synced_it() -> None:
    world = World()
    log = world.start()

    assert commit(log, b"one", b"two") == 2
    world.lose_power()

    assert world.records() == [b"one", b"two"]
    assert world.told == [2]


def test_record_that_waits_in_the_queue_is_lost_with_the_power() -> None:
    world = World()
    log = world.start()
    commit(log, b"one")
    log.append(b"two")

    world.lose_power()

    assert world.records() == [b"one"]


def test_content_is_synced_before_the_record_that_names_it_counts() -> None:
    world = World()
    log = world.start()
    content = world.disk.create(DIRECTORY / "content")
    world.disk.sync_directory(DIRECTORY)
    content.write(b"bytes", 0)

    log.append(b"record", dirty=[content])
    log.request_sync()
    world.lose_power()

    assert content.read(5, 0) == b"bytes"


def test_callbacks_come_in_order_of_their_sequences_and_once() -> None:
    log = World().start()
    called: list[int] = []
    first, second = log.append(b"one"), log.append(b"two")
    log.when_durable(second, lambda: called.append(2))
    log.when_durable(first, lambda: called.append(1))
    assert called == []

    log.request_sync()
    log.when_durable(first, lambda: called.append(3))
    log.sync()

    assert called == [1, 2, 3]


def test_callbacks_of_one_group_go_to_the_worker_in_one_list(tmp_path: Path) -> None:
    lists: list[int] = []
    log = Log(
        tmp_path,
        disk=SystemDisk(),
        clock=SystemClock(),
        home=HOME,
        start=LOG_START,
        dispatch=lambda callbacks: lists.append(len(callbacks)),
        on_durable=lambda sequence: None,
        on_failure=lambda error: None,
        file_bytes=FILE_BYTES,
        background=False,
    )
    for _ in range(3):
        log.when_durable(log.append(b"record"), lambda: None)

    log.request_sync()

    assert lists == [3]


def test_record_larger_than_a_file_is_refused_before_it_gets_a_sequence() -> None:
    log = World().start()

    with pytest.raises(RecordTooLargeError, match=r"A record of 16,384 bytes is larger than the"):
        log.append(bytes(FILE_BYTES))

    assert log.append(b"record") == 1


def test_never_mode_calls_a_written_record_durable_and_marks_it_only_when_synced() -> None:
    world = World()
    log = world.start(mode="never")

    assert commit(log, b"one") == 1
    assert (log.synced, world.read().mark.sequence) == (0, 0)
    assert log.sync() == 1
    assert (log.synced, world.read().mark.sequence) == (1, 1)


def test_never_mode_keeps_its_records_when_only_the_process_dies() -> None:
    world = World()
    commit(world.start(mode="never"), b"one")

    assert world.recover()[0] == [b"one"]


def test_sync_syncs_the_mark_too() -> None:
    world = World()
    log = world.start()
    log.append(b"one")

    assert log.sync() == 1
    world.lose_power()

    assert world.read().mark.sequence == 1


def test_mark_is_synced_with_a_group_fifty_milliseconds_later() -> None:
    world = World()
    log = world.start()
    commit(log, b"one")
    world.clock.advance(0.05)
    commit(log, b"two")

    world.lose_power()

    assert world.read().mark.sequence == 2


def test_close_ends_the_file_and_the_next_start_goes_on() -> None:
    world = World()
    log = world.start()
    log.append(b"one")
    log.close()
    world.lose_power()

    records, end = world.recover()
    log = world.start(end)
    commit(log, b"two")

    assert records == [b"one"]
    assert world.records() == [b"one", b"two"]
    assert log.append(b"three") == 3


def test_closed_log_takes_no_record_and_closes_twice() -> None:
    log = World().start()
    log.close()
    log.close()

    with pytest.raises(LogFailedError, match="is closed and takes no more records"):
        log.append(b"record")


def failed_log(operation: str) -> tuple[World, Log]:
    world = World()
    log = world.start()
    commit(log, b"one")
    assert isinstance(world.disk, FaultyDisk)
    world.disk.fail_on = operation
    log.append(b"two")
    log.request_sync()
    return world, log


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_first_error_ends_the_log_for_good(operation: str) -> None:
    world, log = failed_log(operation)
    assert isinstance(world.disk, FaultyDisk)
    world.disk.fail_on = None
    words = "stopped after record 1: .*the disk answers with an error.* start the node again"

    for refused in (
        lambda: log.append(b"three"),
        lambda: log.wait_durable(2),
        lambda: log.when_durable(2, lambda: None),
        log.wait_for_room,
        log.sync,
    ):
        with pytest.raises(LogFailedError, match=words):
            refused()
    assert log.wait_durable(1)
    assert log.durable == 1
    assert [type(error) for error in world.failures] == [OSError]
    log.close()


def test_callbacks_of_a_failed_group_never_run() -> None:
    world = World()
    log = world.start()
    called: list[int] = []
    log.when_durable(log.append(b"one"), lambda: called.append(1))
    assert isinstance(world.disk, FaultyDisk)
    world.disk.fail_on = "sync"

    log.request_sync()
    world.disk.fail_on = None

    assert called == []
    with pytest.raises(LogFailedError, match="stopped after record 0"):
        log.wait_durable(1)


def test_close_that_cannot_sync_says_so() -> None:
    world = World()
    log = world.start()
    log.append(b"one")
    assert isinstance(world.disk, FaultyDisk)
    world.disk.fail_on = "sync"

    with pytest.raises(LogFailedError, match="stopped after record 0"):
        log.close()


def test_error_in_the_listener_fails_the_log_instead_of_hanging_it(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def refuse(sequence: int) -> None:
        raise ValueError(f"cannot take {sequence}")

    log = Log(
        tmp_path,
        disk=SystemDisk(),
        clock=SystemClock(),
        home=HOME,
        start=LOG_START,
        dispatch=lambda callbacks: None,
        on_durable=refuse,
        on_failure=failures.append,
        file_bytes=FILE_BYTES,
    )
    log.append(b"one", urgent=True)

    with pytest.raises(LogFailedError, match="cannot take 1"):
        log.sync()
    log.close()
    assert len(failures) == 1


def test_waiting_for_room_lets_the_committer_empty_a_full_queue() -> None:
    log = World().start()
    log.append(b"record", flowfiles=QUEUE_FLOWFILES_MAX)

    log.wait_for_room()

    assert log.durable == 1


def test_room_counts_what_is_left_of_the_file() -> None:
    log = World().start()
    before = log.room()
    commit(log, bytes(1000))

    assert before.left_bytes - log.room().left_bytes == 3 * 512
    assert not log.room().sources_stop


@pytest.mark.parametrize(
    ("left", "refused", "sources", "triggers"),
    [(90, False, False, False), (90, True, True, False), (49, False, True, False),
     (24, False, True, True), (24, True, True, True)],
)  # fmt: skip
def test_room_says_who_has_to_stop(left: int, refused: bool, sources: bool, triggers: bool) -> None:
    blocked = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if refused else None
    room = LogRoom(next_ready=False, left_bytes=left, file_bytes=100, blocked=blocked)

    assert (room.sources_stop, room.triggers_stop) == (sources, triggers)
    assert not LogRoom(True, left, 100, blocked).triggers_stop


def test_full_disk_stops_sources_but_the_log_goes_on_into_the_ballast() -> None:
    disk = FaultyDisk(capacity_bytes=FILE_BYTES * 3 + 2 * 8192)
    world = World(disk=disk)
    log = world.start()
    filler = disk.create(Path("/elsewhere"))
    filler.write(bytes(disk.free_bytes(filler.path)), 0)
    while log.room().next_ready:
        commit(log, bytes(1000))
    assert log.room().sources_stop

    while log.durable < 20:
        commit(log, bytes(1000))

    assert world.failures == []
    disk.remove(filler.path)
    log.drop(log.durable)
    assert log.room().next_ready


def test_log_that_has_filled_its_ballast_fails_instead_of_hanging() -> None:
    disk = FaultyDisk(capacity_bytes=FILE_BYTES * 3 + 2 * 8192)
    world = World(disk=disk)
    log = world.start()
    filler = disk.create(Path("/elsewhere"))
    filler.write(bytes(disk.free_bytes(filler.path)), 0)

    with pytest.raises(LogFailedError, match="No space left on device"):
        for _ in range(100):
            log.wait_durable(log.append(bytes(1000)))

    assert world.records() == [bytes(1000)] * log.durable


def test_retention_drops_whole_closed_files_before_a_sequence() -> None:
    world = World()
    log = world.start()
    for number in range(60):
        commit(log, b"%d" % number + bytes(1000))
    first, second, *rest = log.files()
    assert rest[-1].last_sequence is None
    assert second.first_sequence == (first.last_sequence or 0) + 1

    dropped = log.drop(second.first_sequence)

    assert [file.id for file in dropped] == [first.id]
    assert log.files() == [second, *rest]
    assert not world.disk.exists(first.path)
    assert log.drop(10**6) == [second, *rest[:-1]]
    assert world.records(after=0) == world.records(after=rest[-1].first_sequence - 1)


def test_waiting_thread_wakes_when_its_record_is_durable(threaded: tuple[World, Log]) -> None:
    world, log = threaded

    assert log.wait_durable(log.append(b"one"), timeout=WAIT_SECONDS)
    assert world.records() == [b"one"]


def test_waiting_ends_with_its_timeout(threaded: tuple[World, Log]) -> None:
    assert not threaded[1].wait_durable(1, timeout=0.01)


def test_waiting_without_threads_for_a_record_that_nobody_appended_ends() -> None:
    log = World().start()

    assert not log.wait_durable(1)


def test_record_nobody_waits_for_becomes_durable_by_itself(threaded: tuple[World, Log]) -> None:
    world, log = threaded
    durable = threading.Event()
    log.append(b"one")
    log.append(b"two")
    log.when_durable(2, durable.set)

    assert durable.wait(WAIT_SECONDS)
    assert world.records() == [b"one", b"two"]


def test_gathering_ends_without_anybody_waiting(tmp_path: Path) -> None:
    told = threading.Event()
    log = Log(
        tmp_path,
        disk=SystemDisk(),
        clock=SystemClock(),
        home=HOME,
        start=LOG_START,
        dispatch=lambda callbacks: None,
        on_durable=lambda sequence: told.set(),
        on_failure=lambda error: None,
        file_bytes=FILE_BYTES,
    )
    log.append(b"one")

    assert told.wait(WAIT_SECONDS)
    log.close()


def test_many_threads_append_wait_and_read_back_everything(threaded: tuple[World, Log]) -> None:
    world, log = threaded
    commit_lock = threading.Lock()
    given: dict[int, bytes] = {}

    def work(worker: int) -> None:
        for number in range(300):
            record = b"%d/%d" % (worker, number)
            log.wait_for_room()
            with commit_lock:
                given[log.append(record, flowfiles=1, urgent=number % 50 == 0)] = record
            if number % 30 == 0:
                log.wait_durable(len(given), timeout=WAIT_SECONDS)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.sync()

    assert world.records() == [given[sequence] for sequence in range(1, 1201)]


def test_reader_beside_the_writer_sees_a_growing_prefix(threaded: tuple[World, Log]) -> None:
    world, log = threaded
    end, seen = LOG_START, 0
    for round_number in range(20):
        for number in range(200):
            log.append(b"%d" % (round_number * 200 + number) + bytes(500))
        durable = log.durable
        reading = world.read(after=end)
        for sequence, _, record in reading:
            assert sequence == seen + 1
            assert record == b"%d" % seen + bytes(500)
            seen = sequence
        end = reading.end
        assert seen >= durable
    log.sync()
    assert [sequence for sequence, _, _ in world.read(after=end, to="mark")][-1:] in ([4000], [])


def test_idle_log_uses_no_processor_time(threaded: tuple[World, Log]) -> None:
    _, log = threaded
    log.sync()
    idle = threading.Event()

    used = time.process_time()
    idle.wait(0.2)

    assert time.process_time() - used < 0.05


def test_second_start_needs_the_first_to_be_settled() -> None:
    world = World()
    commit(world.start(), b"one")

    with pytest.raises(LogStartError, match="does not name group 0 .* settle that reading"):
        world.start(LOG_START)
