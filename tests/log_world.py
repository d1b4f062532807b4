"""A log on a disk in memory, driven by hand: what the tests of the log share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.clock import ManualClock
from runtime.disk import Disk
from runtime.log import Log
from runtime.log_format import LOG_START, LogEnd
from runtime.log_reader import LogReading, read_log
from runtime.log_repair import settle_log
from tests.faulty_disk import FaultyDisk

HOME = 0xA1B2C3D4E5F6
DIRECTORY = Path("/home/log")
FILE_BYTES = 16 * 1024


@dataclass
class World:
    """One home: its disk, its clock, and what its log has told."""

    disk: Disk = field(default_factory=FaultyDisk)
    clock: ManualClock = field(default_factory=ManualClock)
    directory: Path = DIRECTORY
    told: list[int] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    def start(self, start: LogEnd = LOG_START, **options: Any) -> Log:
        """Start a log without threads, unless `background` is given."""
        return Log(
            self.directory,
            disk=self.disk,
            clock=options.pop("clock", self.clock),
            home=HOME,
            start=start,
            dispatch=run_all,
            on_durable=self.told.append,
            on_failure=self.failures.append,
            **{"file_bytes": FILE_BYTES, "background": False} | options,
        )

    def lose_power(self) -> None:
        assert isinstance(self.disk, FaultyDisk)
        self.disk.lose_power()

    def read(self, **options: Any) -> LogReading:
        return read_log(self.directory, self.disk, home=HOME, **options)

    def records(self, **options: Any) -> list[bytes]:
        return [record for _, _, record in self.read(**options)]

    def recover(self) -> tuple[list[bytes], LogEnd]:
        """Read and settle, as a start does."""
        reading = self.read()
        records = [record for _, _, record in reading]
        return records, settle_log(reading, home=HOME)


def run_all(callbacks: list[Callable[[], None]]) -> None:
    """Run callbacks where they are handed over, as a simulation does."""
    for callback in callbacks:
        callback()


def commit(log: Log, *records: bytes) -> int:
    """Append records as one group and sync it."""
    for record in records:
        log.append(record)
    log.request_sync()
    return log.durable
