"""Verifying a stopped home: a whole one, and ones in which something was changed."""

from pathlib import Path

import pytest

from runtime.checkpoint import CheckpointDamagedError
from runtime.home import HomeError
from runtime.verify import HomeReport, repair_home, report_lines, verify_home
from tests.home_world import FLOW, make_home, open_node, running, wait_until

STOPPED = FLOW.replace("type: Judge", "type: Judge\n    state: stopped")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A stopped home; three flowfiles with contents of nine bytes wait before `judge`."""
    path = tmp_path / "home"
    with running(path, make_home(path, flow=STOPPED)) as node:
        wait_until(lambda: node.engine.counters)
    return path


def damage(path: Path, offset: int, length: int = 1) -> None:
    data = bytearray(path.read_bytes())
    for position in range(offset, offset + length):
        data[position] ^= 0xFF
    path.write_bytes(data)


def content_file(home: Path) -> Path:
    [found] = [one for one in (home / "content").rglob("*")
               if one.is_file() and b"content 1" in one.read_bytes()]  # fmt: skip
    return found


def log_file(home: Path) -> Path:
    return min((home / "log").glob("*.log"))


def checkpoint_files(home: Path) -> list[Path]:
    return [one for one in (home / "checkpoints").rglob("*") if one.is_file()]


def words(report: HomeReport) -> str:
    return "\n".join(report_lines(report))


def test_a_whole_home_agrees(home: Path) -> None:
    report = verify_home(home)

    assert (report.problems, report.remarks) == ([], [])
    assert (report.flowfiles, report.contents, report.content_bytes) == (3, 3, 27)
    assert list(report.connections.values()) == [3]
    assert words(report) == (
        f"{report.records} records, the last is {report.sequence}\n"
        "3 live flowfiles in 1 connections\n"
        "3 contents, 27 bytes, compared with checksums\n"
        "Log, checkpoints, queues and contents agree"
    )


def test_verifying_changes_nothing(home: Path) -> None:
    def files() -> dict[Path, bytes]:
        return {one: one.read_bytes() for one in home.rglob("*") if one.is_file()}

    before = files()
    verify_home(home)

    assert files() == before


def test_a_fresh_home_agrees(tmp_path: Path) -> None:
    open_node(tmp_path / "home").stop()

    report = verify_home(tmp_path / "home")

    assert (report.records, report.flowfiles, report.problems) == (0, 0, [])


def test_a_directory_that_is_no_home_is_named(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match=f"^{tmp_path} is no home of a node. Name one with --home"):
        verify_home(tmp_path)


def test_a_damaged_content_is_named_with_its_flowfile_and_place(home: Path) -> None:
    file = content_file(home)
    damage(file, file.read_bytes().index(b"content 1"))

    report = verify_home(home)

    [connection] = report.connections
    [problem] = report.problems
    assert problem.startswith(f"Connection {connection}: the content of flowfile 0x")
    assert problem.endswith("does not match its checksum (segment 1, byte 9)")
    assert "1 problem(s):\n  Connection" in words(report)


def test_a_missing_content_is_named_for_each_flowfile(home: Path) -> None:
    content_file(home).unlink()

    report = verify_home(home)

    assert len(report.problems) == 3
    assert all("segment 1" in problem for problem in report.problems)


def test_rot_in_the_log_is_named(home: Path) -> None:
    damage(log_file(home), 512 + 100, 8)

    report = verify_home(home)

    assert report.problems and "00000001.log" in words(report)
    assert "agree" not in words(report)


def test_a_damaged_checkpoint_is_named_and_the_older_one_stands_in(home: Path) -> None:
    node = open_node(home)
    node.start()
    node.controller.edit(node.flow, user="ada", note="once more")
    node.stop()
    newest = max(checkpoint_files(home), key=lambda one: one.name)
    damage(newest, newest.stat().st_size // 2, 4)

    report = verify_home(home)

    assert len(report.problems) == 1 and newest.name in report.problems[0]
    assert report.flowfiles == 3


def test_a_mark_that_cannot_be_read_is_a_problem(home: Path) -> None:
    mark = home / "log" / "mark"
    mark.write_bytes(bytes(mark.stat().st_size))

    report = verify_home(home)

    [problem] = report.problems
    assert "mark" in problem


def test_a_whole_home_needs_no_repair(home: Path) -> None:
    plan = repair_home(home, confirmed=False)

    assert not plan.needed
    assert list(plan.describe()) == [
        "The log is whole up to its mark; nothing is to be repaired."
    ]


def test_a_repair_is_told_first_and_done_only_when_confirmed(home: Path) -> None:
    lose_checkpoints(home)
    damage(log_file(home), 512 + 100, 8)
    before = log_file(home).read_bytes()

    plan = repair_home(home, confirmed=False)

    assert plan.needed and not plan.done
    assert next(plan.describe()).startswith("The log will end after record 0; records 1 to ")
    assert log_file(home).read_bytes() == before
    assert repair_home(home, confirmed=True).done
    assert not repair_home(home, confirmed=False).needed
    assert verify_home(home).problems == []


def lose_checkpoints(home: Path) -> None:
    for one in checkpoint_files(home):
        one.unlink()


def test_a_repair_without_a_whole_checkpoint_is_refused(home: Path) -> None:
    for one in checkpoint_files(home):
        damage(one, one.stat().st_size // 2, 4)

    with pytest.raises(CheckpointDamagedError, match="checkpoint"):
        repair_home(home, confirmed=True)
    assert any("checkpoint" in problem for problem in verify_home(home).problems)
