"""A real node, killed again and again under load, and judged from outside.

The flow follows a growing file, splits it into lines and writes each line to a file of its own.
Whatever instant the kill hits, in the end each line is in exactly one file, and the log says of
each line's flowfile that it ended once.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime import commit as commits
from runtime.commit import Commit, EventType, decode_ids
from runtime.disk import SystemDisk
from runtime.fold import Fold
from runtime.log_reader import read_log

KILLS = 10
FILES_MIN = 25
"""A trial counts only if at least so many files were written before the kill."""
AHEAD = 1500
"""How many lines the writer is ahead of the files: a kill never meets an idle node."""
ROOT = Path(__file__).parents[2]

FLOW = """
levada: 1
name: killed
flow:
  tail:
    type: TailFile
    properties: {{Files to Tail: {directory}/in.log}}
    schedule: {{every: 0 sec}}
    to: split
  split:
    type: SplitText
    batch size: {split}
    properties: {{Line Split Count: "1"}}
    to: {{splits: name, original: end, failure: hold}}
  name:
    type: UpdateAttribute
    batch size: {name}
    properties: {{filename: "${{fragment.index}}-${{uuid}}"}}
    to: {{success: put}}
  put:
    type: PutFile
    batch size: {put}
    properties: {{Directory: {directory}/out}}
    to: {{success: end, failure: hold}}
"""


class Lines:
    """Appends numbered lines to a file, so many ahead of what became files of them."""

    def __init__(self, path: Path, choose: random.Random) -> None:
        self.path = path
        self.written: list[bytes] = []
        self.files = 0
        self._choose = choose
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        with self.path.open("ab", buffering=0) as file:
            while not self._stop.wait(0.01):
                if len(self.written) > self.files + AHEAD:
                    continue
                lines = [self._line(len(self.written) + n) for n in range(25)]
                data = b"".join(line + b"\n" for line in lines)
                # A writer may be seen in the middle of a line.
                cut = self._choose.randrange(len(data))
                file.write(data[:cut])
                file.write(data[cut:])
                self.written += lines

    def _line(self, number: int) -> bytes:
        return b"%07d " % number + bytes(self._choose.choices(b"abc\xff\x00", k=number % 60))

    def stop(self) -> list[bytes]:
        self._stop.set()
        self._thread.join()
        return self.written


class Trial:
    """One life of the node on the home."""

    def __init__(self, directory: Path, choose: random.Random, *options: str) -> None:
        flow = directory / "flow.yaml"
        flow.write_text(
            FLOW.format(
                directory=directory,
                split=choose.choice([1, 100]),
                name=choose.choice([1, 7, 1000]),
                put=choose.choice([1, 10, 200]),
            )
        )
        settings = {
            "checkpoint_interval": f"{choose.choice([1, 2, 60])} sec",
            "log_file_size": f"{choose.choice([1, 2, 64])} MB",
            "gather": f"{choose.choice([0, 5, 20])} ms",
            "fsync": choose.choice(["group", "always", "never"]),
        }
        command = [sys.executable, str(ROOT / "levada.py"), "run", str(flow)]
        command += ["--home", str(directory / "home"), *options]
        for name, value in settings.items():
            command += ["--set", f"{name}={value}"]
        self.described = " ".join(command[7:])
        self.output = (directory / "output.txt").open("ab")
        self.process = subprocess.Popen(command, stdout=self.output, stderr=self.output, cwd=ROOT)

    def wait_for(self, out: Path, count: int, lines: Lines) -> None:
        """Wait until `out` holds so many files more than it did."""
        count += lines.files
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            lines.files = len(os.listdir(out))
            if lines.files >= count:
                return
            assert self._lives_for(0.01), "the node ended by itself; see output.txt"
        raise AssertionError(f"fewer than {count} files after a minute ({self.described})")

    def kill(self, after_seconds: float) -> None:
        assert self._lives_for(after_seconds), "the node ended by itself; see output.txt"
        self.process.send_signal(signal.SIGKILL)
        self.end()

    def end(self) -> int:
        """Wait for the end; return the exit status."""
        status = self.process.wait(120)
        self.output.close()
        return status

    def _lives_for(self, seconds: float) -> bool:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_killed_node_loses_no_line_and_doubles_none(tmp_path: Path) -> None:
    seed = int(os.environ.get("LEVADA_KILL_SEED", random.SystemRandom().randrange(2**32)))
    print(f"LEVADA_KILL_SEED={seed}")
    choose = random.Random(seed)
    out = tmp_path / "out"
    out.mkdir()
    lines = Lines(tmp_path / "in.log", random.Random(seed + 1))
    kills = 0
    try:
        while kills < KILLS:
            trial = Trial(tmp_path, choose, "--for", "5 min")
            trial.wait_for(out, choose.randrange(FILES_MIN, 8 * FILES_MIN), lines)
            trial.kill(choose.uniform(0, 0.3))
            kills += 1
    finally:
        written = lines.stop()
    status = Trial(tmp_path, choose, "--until-idle").end()

    assert status == 0, (tmp_path / "output.txt").read_text()
    found = Counter(path.read_bytes() for path in out.iterdir())
    assert [line for line, times in found.items() if times > 1] == []
    assert found == Counter(written)
    _check_provenance(tmp_path / "home", len(written))


def _records(home: Path) -> Iterator[tuple[int, Commit]]:
    for sequence, _, data in read_log(home / "log", SystemDisk(), after=0):
        yield sequence, commits.decode(data)


def _check_provenance(home: Path, lines: int) -> None:
    """The log tells of each line: born in a split, sent, ended, each exactly once."""
    fold = Fold()
    born: Counter[int] = Counter()
    sent: Counter[int] = Counter()
    ended: Counter[int] = Counter()
    for sequence, record in _records(home):
        fold.apply(sequence, record)
        for created in record.created:
            if created.event == EventType.FORK:
                born.update(flowfile.id for flowfile in created.flowfiles)
        for reported in record.reported:
            if reported.event == EventType.SEND:
                sent.update(decode_ids(reported.ids))
        for routed in record.routed:
            if not routed.targets:
                ended.update(decode_ids(routed.ids))
    assert fold.count() == 0
    assert len(born) == lines
    assert set(born.values()) == set(sent.values()) == set(ended.values()) == {1}
    assert sent == born
    assert born.keys() <= ended.keys()
