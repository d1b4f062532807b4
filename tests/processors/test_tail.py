import os
import shutil
import threading
from pathlib import Path

import pytest

from processors.tail import TailFile
from processors.tail_lines import CHUNK_BYTES, WINDOW_BYTES
from processors.tail_watch import FileWatch
from runtime.commit import EventType
from runtime.testing import TestRunner, check_processor

NOW = TestRunner(TailFile).clock.wall()


def append(path: Path, text: str | bytes, *, age_seconds: float = 10) -> None:
    with path.open("ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)
    os.utime(path, (NOW - age_seconds, NOW - age_seconds))


def tail(path: Path, **properties: str) -> TestRunner:
    return TestRunner(
        TailFile,
        {
            "Files to Tail": str(path),
            **{name.replace("_", " "): value for name, value in properties.items()},
        },
    )


def tail_many(directory: Path, **properties: str) -> TestRunner:
    return TestRunner(
        TailFile,
        {
            "Tailing Mode": "Multiple files",
            "Base Directory": str(directory),
            "Files to Tail": r".*\.log",
            "Lookup Frequency": "1 min",
            **{name.replace("_", " "): value for name, value in properties.items()},
        },
    )


def lines(runner: TestRunner) -> str:
    return b"".join(one.content for one in runner.flowfiles("success")).decode()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


def test_it_conforms() -> None:
    check_processor(TailFile)


def test_appended_lines_become_one_flowfile_a_read(log: Path) -> None:
    append(log, "one\ntwo\n")
    runner = tail(log)
    runner.run(2)
    append(log, "three\nfo")
    runner.run(2)

    first, second = runner.flowfiles("success")
    assert (first.content, second.content) == (b"one\ntwo\n", b"three\n")
    assert second.attributes["filename"] == "app.8-14.log"
    assert second.attributes["tailfile.original.path"] == str(log)
    assert second.attributes["mime.type"] == "text/plain"
    assert runner.reported[1] == (
        EventType.RECEIVE, f"file://{log}", "Bytes 8 to 14 of the file.",
    )  # fmt: skip

    append(log, "ur\n")
    runner.run()
    assert lines(runner) == "one\ntwo\nthree\nfour\n"
    runner.close()


def test_an_idle_file_commits_nothing(log: Path) -> None:
    append(log, "one\n")
    runner = tail(log)
    runner.run_until_idle()
    count = len(runner.commits)

    runner.run(5)

    assert len(runner.commits) == count
    runner.close()


def test_empty_files_bytes_and_carriage_returns(log: Path) -> None:
    append(log, b"")
    runner = tail(log)
    runner.run()
    append(log, b"\xff\xfe\0\r\nnext\rhalf\r")
    runner.run()
    assert runner.one("success").content == b"\xff\xfe\0\r\nnext\r"

    append(log, b"\n")
    runner.run()
    assert runner.flowfiles("success")[1].content == b"half\r\n"
    runner.close()


def test_a_file_that_does_not_exist_yet_is_read_from_its_beginning(log: Path) -> None:
    runner = tail(log, Initial_Start_Position="Current Time")
    runner.run(2)
    assert [one.message for one in runner.bulletins] == [
        f"'{log}' does not exist; it is read when it appears."
    ]

    append(log, "one\n")
    runner.run()

    assert lines(runner) == "one\n"
    runner.close()


def test_from_current_time_on_only_new_lines_are_read(log: Path) -> None:
    append(log, "old\nbegun ")
    runner = tail(log, Initial_Start_Position="Current Time")
    runner.run()
    append(log, "before\nnew\n")
    runner.run()

    assert lines(runner) == "begun before\nnew\n"
    runner.close()


def test_from_the_beginning_of_time_rolled_files_come_first(log: Path) -> None:
    append(log.with_name("app.log.2"), "1\n2", age_seconds=300)
    append(log.with_name("app.log.1"), "3\n", age_seconds=200)
    append(log.with_name("app.log.0.gz"), b"\x1f\x8b\n", age_seconds=250)
    append(log, "4\n")
    runner = tail(
        log,
        Initial_Start_Position="Beginning of Time",
        Rolling_Filename_Pattern="${filename}.log.*",
    )

    runner.run_until_idle()

    assert [one.content for one in runner.flowfiles("success")] == [b"1\n2", b"3\n", b"4\n"]
    runner.close()


def test_a_rename_loses_nothing_though_a_line_was_unfinished(log: Path) -> None:
    append(log, "one\nunfinished", age_seconds=100)
    runner = tail(log)
    runner.run()
    log.rename(log.with_name("old"))
    append(log.with_name("old"), " line\nlast", age_seconds=90)
    runner.run()
    assert lines(runner) == "one\nunfinished line\n"

    append(log, "new\n")
    runner.run_until_idle()

    assert lines(runner) == "one\nunfinished line\nlastnew\n"
    runner.close()


def test_a_renamed_and_deleted_file_is_read_to_its_end_while_it_is_open(log: Path) -> None:
    append(log, "one\n")
    runner = tail(log)
    runner.run()
    append(log, "two\n")
    log.unlink()
    append(log, "new and longer\n")

    runner.run_until_idle()

    assert lines(runner) == "one\ntwo\nnew and longer\n"
    runner.close()


def test_a_copied_and_truncated_file_is_continued_in_its_copy(log: Path) -> None:
    append(log, "one\n", age_seconds=100)
    runner = tail(log, Rolling_Filename_Pattern="app.log.*")
    runner.run()
    append(log, "two\n", age_seconds=90)
    shutil.copy2(log, log.with_name("app.log.1"))
    os.truncate(log, 0)
    append(log, "three, longer than before\n", age_seconds=80)

    runner.run_until_idle()

    assert lines(runner) == "one\ntwo\nthree, longer than before\n"
    runner.close()


def test_a_truncated_file_begins_again_even_if_it_has_regrown(log: Path) -> None:
    append(log, "one\n")
    runner = tail(log)
    runner.run()
    os.truncate(log, 0)
    append(log, "two\nthree\n")

    runner.run_until_idle()

    assert lines(runner) == "one\ntwo\nthree\n"
    runner.close()


def test_files_rolled_while_the_node_was_down_are_caught_up_with(log: Path) -> None:
    append(log, "1\n", age_seconds=1000)
    runner = tail(log, Rolling_Filename_Pattern="${filename}.log.?")
    runner.run_until_idle()
    runner.stop()
    append(log, "2\n", age_seconds=900)
    log.rename(log.with_name("app.log.3"))
    append(log.with_name("app.log.2"), "3\n", age_seconds=800)
    append(log.with_name("app.log.1"), "4\n", age_seconds=700)
    append(log, "5\n", age_seconds=600)

    runner.crash()
    runner.run_until_idle()

    assert lines(runner) == "1\n2\n3\n4\n5\n"
    assert runner.bulletins == []
    runner.close()


def test_a_rolled_file_that_is_gone_is_reported_and_the_rest_read(log: Path) -> None:
    append(log, "1\n", age_seconds=1000)
    runner = tail(log, Rolling_Filename_Pattern="app.log.*")
    runner.run_until_idle()
    runner.stop()
    keep_inode = log.with_name("elsewhere")
    keep_inode.mkdir()
    log.rename(keep_inode / "gone")
    append(log.with_name("app.log.1"), "3\n", age_seconds=700)
    append(log, "4\n", age_seconds=600)

    runner.run_until_idle()

    assert lines(runner) == "1\n3\n4\n"
    assert [one.message for one in runner.bulletins] == [
        f"'{log}' was rotated, and the former file is gone: what was written to it after byte 2 "
        "is lost."
    ]
    runner.close()


def test_a_file_restored_under_another_inode_goes_on_where_it_was(log: Path) -> None:
    append(log, "one\ntwo\n")
    runner = tail(log)
    runner.run()
    runner.stop()
    copy = log.with_name("copy")
    shutil.copy2(log, copy)
    os.replace(copy, log)
    append(log, "three\n")

    runner.run_until_idle()

    assert lines(runner) == "one\ntwo\nthree\n"
    runner.close()


def test_a_rolled_file_is_followed_until_it_has_been_left_alone(log: Path) -> None:
    append(log, "one\n", age_seconds=0)
    runner = tail(log, **{"Post-Rollover_Tail_Period": "5 min"})
    runner.run()
    log.rename(log.with_name("old"))
    append(log, "new\n", age_seconds=0)
    runner.run(2)
    append(log.with_name("old"), "late\n", age_seconds=0)
    runner.run(2)
    assert lines(runner) == "one\nlate\n"

    runner.advance(301)
    runner.run_until_idle()

    assert lines(runner) == "one\nlate\nnew\n"
    runner.close()


@pytest.mark.parametrize("durable", [True, False])
def test_a_crash_neither_loses_nor_repeats_a_line(durable: bool, log: Path) -> None:
    append(log, "one\n")
    runner = tail(log)
    runner.run()
    append(log, "two\n")
    session = runner.engine.open_session(runner.component)
    runner.processor.on_trigger(session)
    session.commit()
    if durable:
        runner.engine.log.sync()
    append(log, "three\n")

    runner.processor.stop()
    runner.crash()
    runner.run_until_idle()

    assert lines(runner) == "one\ntwo\nthree\n"
    runner.close()


def test_random_rotations_and_crashes_lose_and_repeat_nothing(log: Path) -> None:
    expected = ""
    runner = tail(log, Rolling_Filename_Pattern="app.log.*")
    runner.run()
    for number in range(60):
        age = 10_000 - number * 100
        expected += f"line {number}\n"
        append(log, f"line {number}\n", age_seconds=age)
        match number % 7:
            case 2:
                runner.run()
            case 3:
                log.rename(log.with_name(f"app.log.{number:02}"))
            case 5:
                runner.run()
                runner.processor.stop()
                runner.crash()
                runner.start()

    runner.run_until_idle()

    assert lines(runner) == expected
    runner.close()


def test_more_than_a_window_is_read_in_pieces(log: Path) -> None:
    content = b"0123456789abcde\n" * (WINDOW_BYTES // 16 + 10)
    append(log, content)
    runner = tail(log)

    runner.run_until_idle()

    results = runner.flowfiles("success")
    assert len(results) == 2
    assert b"".join(one.content for one in results) == content
    runner.close()


def test_a_line_longer_than_a_window_is_kept_whole(log: Path) -> None:
    long = b"x" * (WINDOW_BYTES + CHUNK_BYTES + 5)
    append(log, long)
    runner = tail(log)
    runner.run(2)
    assert lines(runner) == ""

    append(log, b"\nnext\n")
    runner.run_until_idle()

    assert [one.content for one in runner.flowfiles("success")] == [long + b"\n", b"next\n"]
    runner.close()


def test_messages_of_several_lines_are_kept_together(log: Path) -> None:
    append(log, "[1] a\n  at x\n[2] b\n  at y\n")
    runner = tail(log, Line_Start_Pattern=r"\[\d+\]")
    runner.run_until_idle()
    assert lines(runner) == "[1] a\n  at x\n"

    append(log, "  at z\n[3] c\n")
    runner.run_until_idle()
    assert lines(runner) == "[1] a\n  at x\n[2] b\n  at y\n  at z\n"

    log.rename(log.with_name("old"))
    append(log, "[4] d\n")
    runner.run_until_idle()
    assert lines(runner).endswith("  at z\n[3] c\n")
    runner.close()


def test_a_message_without_end_is_cut_at_the_maximum(log: Path) -> None:
    runner = tail(log, Line_Start_Pattern="START", Max_Buffer_Size="100 B")
    append(log, "no start here\n" * 7)
    runner.run()
    assert lines(runner) == ""

    append(log, "no start here\n")
    runner.run()

    assert lines(runner) == "no start here\n" * 8
    runner.close()


def test_zero_bytes_can_mean_that_data_is_missing(log: Path) -> None:
    append(log, b"one\ntw\0\0three\n")
    runner = tail(log, Reread_on_NUL_Encountered="true")
    runner.run(2)
    assert lines(runner) == "one\n"
    assert [one.message for one in runner.bulletins] == [
        f"'{log}' has a zero byte; the rest is read again later."
    ]

    with log.open("r+b") as file:
        file.seek(6)
        file.write(b"o\n")
    runner.run_until_idle()

    assert lines(runner) == "one\ntwo\nthree\n"
    runner.close()


def test_a_directory_in_the_files_place_is_a_warning(log: Path) -> None:
    log.mkdir()
    runner = tail(log)

    runner.run(2)

    assert [one.message for one in runner.bulletins] == [
        f"'{log}' cannot be read: Is a directory."
    ]
    runner.close()


def test_many_files_are_followed_and_new_ones_found(tmp_path: Path) -> None:
    append(tmp_path / "a.log", "a1\n")
    append(tmp_path / "b.log", "b1\n")
    append(tmp_path / "c.txt", "c1\n")
    append(tmp_path / "old.log", "old\n", age_seconds=100_000)
    runner = tail_many(tmp_path)
    runner.run_until_idle()
    assert lines(runner) == "a1\nb1\n"

    append(tmp_path / "a.log", "a2\n")
    (tmp_path / "sub").mkdir()
    append(tmp_path / "sub" / "d.log", "d1\n")
    append(tmp_path / "e.log", "e1\n")
    runner.run_until_idle()
    assert lines(runner) == "a1\nb1\na2\n"

    runner.advance(60)
    runner.run_until_idle()
    assert lines(runner) == "a1\nb1\na2\ne1\n"
    runner.close()


def test_subdirectories_are_followed_where_wanted(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    append(tmp_path / "sub/d.log", "d1\n")
    runner = TestRunner(
        TailFile,
        {
            "Tailing Mode": "Multiple files",
            "Base Directory": str(tmp_path),
            "Files to Tail": r"sub/.*\.log",
            "Recursive Lookup": "true",
        },
    )

    runner.run_until_idle()

    assert lines(runner) == "d1\n"
    runner.close()


def test_a_renamed_file_that_is_followed_itself_is_not_read_twice(tmp_path: Path) -> None:
    append(tmp_path / "app.log", "one\n")
    runner = tail_many(tmp_path)
    runner.run_until_idle()
    append(tmp_path / "app.log", "two\n")
    (tmp_path / "app.log").rename(tmp_path / "app-1.log")
    append(tmp_path / "app.log", "three\n")

    runner.run_until_idle()
    runner.advance(60)
    runner.run_until_idle()

    assert sorted(lines(runner).split()) == ["one", "three", "two"]
    runner.close()


def test_a_file_missing_at_a_look_up_keeps_its_position(tmp_path: Path) -> None:
    append(tmp_path / "app.log", "one\n")
    runner = tail_many(tmp_path)
    runner.run_until_idle()
    append(tmp_path / "app.log", "two\n")
    (tmp_path / "app.log").rename(tmp_path / "app.old")
    runner.advance(60)
    runner.run_until_idle()
    append(tmp_path / "app.log", "three\n")
    runner.run_until_idle()

    assert lines(runner) == "one\ntwo\nthree\n"
    runner.close()


def test_an_idle_file_is_not_read_again_when_it_is_written_after_the_maximum_age(
    tmp_path: Path,
) -> None:
    append(tmp_path / "app.log", "one\n", age_seconds=3000)
    runner = tail_many(tmp_path, Maximum_Age="1 hour")
    runner.run_until_idle()
    runner.advance(3600)
    runner.run_until_idle()

    append(tmp_path / "app.log", "two\n", age_seconds=-3600)
    runner.advance(60)
    runner.run_until_idle()

    assert lines(runner) == "one\ntwo\n"
    runner.close()


def test_positions_of_many_files_survive_a_crash(tmp_path: Path) -> None:
    for number in range(50):
        append(tmp_path / f"{number}.log", f"{number}\n")
    runner = tail_many(tmp_path)
    runner.run_until_idle()
    runner.processor.stop()
    append(tmp_path / "7.log", "more\n")

    runner.crash()
    runner.run_until_idle()

    found = sorted(lines(runner).split())
    assert found == sorted([*map(str, range(50)), "more"])
    runner.close()


def test_many_files_need_a_directory_and_a_pattern(tmp_path: Path) -> None:
    missing = TestRunner(TailFile, {"Tailing Mode": "Multiple files", "Files to Tail": "x"})
    assert "property 'Base Directory' is not set; it is required here" in map(
        str, missing.problems
    )

    broken = TestRunner(
        TailFile,
        {
            "Tailing Mode": "Multiple files",
            "Base Directory": str(tmp_path),
            "Files to Tail": "(",
        },
    )
    assert len(broken.problems) == 1
    assert "(" in broken.problems[0].message


def test_a_watch_wakes_when_something_is_written(log: Path) -> None:
    woken = threading.Event()
    watch = FileWatch(
        str(log.parent), recursive=False, concerns=lambda path: path == str(log), wake=woken.set
    )
    try:
        # The first writes may come before the watch stands.
        for number in range(100):
            append(log, f"{number}\n")
            if woken.wait(0.1):
                break
        assert woken.is_set()
    finally:
        watch.stop()


def test_a_directory_that_cannot_be_watched_is_left_to_the_schedule(tmp_path: Path) -> None:
    woken = threading.Event()
    watch = FileWatch(
        str(tmp_path / "missing"), recursive=False, concerns=lambda path: True, wake=woken.set
    )
    watch.stop()
    assert not woken.is_set()
