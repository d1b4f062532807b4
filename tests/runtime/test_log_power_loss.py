"""The log against a list of records, with power losses, torn writes and failing calls."""

import random
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from runtime.log import LogFailedError, Mode
from runtime.log_format import LOG_START, LogEnd
from runtime.log_reader import LogDamagedError
from runtime.log_repair import settle_log
from tests.faulty_disk import FaultyDisk
from tests.log_world import HOME, World


class LogMachine(RuleBasedStateMachine):
    """Model: the records appended in this history, and how many of them are synced."""

    @initialize(mode=st.sampled_from(["group", "never"]))
    def begin(self, mode: Mode) -> None:
        self.mode = mode
        self.disk = FaultyDisk()
        self.world = World(disk=self.disk)
        self.appended: list[bytes] = []
        self.synced = 0
        self.numbers = count()
        self.called: list[int] = []
        self.start(LOG_START)

    def start(self, end: LogEnd) -> None:
        self.log = self.world.start(end, mode=self.mode)

    @rule(size=st.sampled_from([0, 10, 600, 5000]), times=st.integers(1, 5))
    def append(self, size: int, times: int) -> None:
        for _ in range(times):
            record = b"%d" % next(self.numbers) + bytes(size)
            self.appended.append(record)
            assert self.log.append(record) == len(self.appended)

    @rule()
    def commit(self) -> None:
        self.log.request_sync()
        assert self.log.durable == len(self.appended)
        self.synced = self.log.synced

    @rule()
    def sync(self) -> None:
        self.synced = self.log.sync()
        assert self.synced == len(self.appended)

    @rule()
    def let_the_mark_settle(self) -> None:
        self.world.clock.advance(0.1)

    @rule()
    def stop_and_start(self) -> None:
        self.log.close()
        self.recover(at_least=len(self.appended))

    @rule()
    def kill(self) -> None:
        self.recover(at_least=self.log.durable)

    @rule(seed=st.integers(0, 2**32))
    def lose_power(self, seed: int) -> None:
        self.disk.tear(random.Random(seed))
        self.recover(at_least=self.synced)

    @rule(seed=st.integers(0, 2**32), calls=st.integers(1, 12))
    def fail_a_call_then_lose_power(self, seed: int, calls: int) -> None:
        self.disk.fail_at = self.disk.operations + calls
        self.append(600, 3)
        self.log.request_sync()
        self.synced = max(self.synced, self.log.synced)
        if self.log.durable < len(self.appended):
            with pytest.raises(LogFailedError, match="the disk answers with an error"):
                self.log.append(b"refused")
        self.disk.tear(random.Random(seed))
        self.recover(at_least=self.synced)

    def recover(self, at_least: int) -> None:
        records, end = self.world.recover()
        assert records == self.appended[: len(records)]
        assert len(records) >= at_least
        self.appended = records
        self.start(end)
        self.synced = self.log.synced
        assert self.synced == len(records)

    @invariant()
    def a_reader_sees_what_is_durable(self) -> None:
        records = self.world.records()
        assert records == self.appended[: len(records)]
        assert len(records) >= self.log.durable


TestLogMachine = pytest.mark.slow(LogMachine.TestCase)
TestLogMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def history(world: World, acknowledged: list[int]) -> None:
    """Run a life of the log: commits over several files, a stop, a start, more commits."""
    log = world.start(mode="group")
    for number in range(12):
        log.append(b"%d" % number + bytes(2000))
        log.wait_durable(number + 1)
        acknowledged.append(number + 1)
    log.drop(6)
    log.close()
    reading = world.read(after=6)
    list(reading)
    log = world.start(settle_log(reading, home=HOME))
    log.append(b"last")
    log.wait_durable(13)
    acknowledged.append(13)


@pytest.mark.parametrize("power", ["kept", "lost", "torn"])
def test_any_failing_call_loses_nothing_that_was_acknowledged(power: str) -> None:
    for fail_at in count(1):
        disk = FaultyDisk()
        world, acknowledged = World(disk=disk), list[int]()
        disk.fail_at = fail_at
        try:
            history(world, acknowledged)
            failed = False
        except (OSError, LogFailedError):
            failed = True
        disk.fail_at = None
        if power == "lost":
            disk.lose_power()
        elif power == "torn":
            disk.tear(random.Random(fail_at))

        reading = world.read(after=0)
        last = max([sequence for sequence, _, _ in reading], default=reading.end.sequence)
        assert last >= len(acknowledged), f"call {fail_at}"
        if not failed:
            break
    assert fail_at > 100


@pytest.mark.parametrize("seed", range(100))
def test_damage_to_synced_bytes_after_a_power_loss_is_never_silent(seed: int) -> None:
    choose = random.Random(seed)
    disk = FaultyDisk()
    world = World(disk=disk)
    log = world.start()
    for number in range(choose.randrange(5, 40)):
        log.append(b"%d" % number + bytes(choose.randrange(1500)))
        if choose.random() < 0.5:
            log.request_sync()
    synced = log.sync()
    expected = world.records()
    disk.tear(choose)
    path = choose.choice([path for path in disk.files if path.suffix == ".log"])
    data = disk.files[path].data
    data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)

    try:
        records = world.records()
    except LogDamagedError:
        return
    assert records == expected
    assert len(records) == synced
