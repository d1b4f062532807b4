import os
from pathlib import Path

import pytest

from processors.file_get import CHUNK_BYTES, GetFile
from runtime.commit import EventType
from runtime.testing import TestRunner, check_processor

NOW = TestRunner(GetFile).clock.wall()


def put(path: Path, content: bytes = b"x", *, age_seconds: float = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (NOW - age_seconds, NOW - age_seconds))
    return path


def names(runner: TestRunner) -> list[str]:
    return [one.attributes["filename"] for one in runner.flowfiles("success")]


def test_it_conforms() -> None:
    check_processor(GetFile)


def test_files_are_read_and_deleted(tmp_path: Path) -> None:
    put(tmp_path / "b.txt", b"\xff\x00")
    put(tmp_path / "a.txt", b"")
    put(tmp_path / "deep/er/c.txt", b"see")
    runner = TestRunner(GetFile, {"Input Directory": str(tmp_path)})

    runner.run()

    first, second, third = runner.flowfiles("success")
    assert (first.content, second.content, third.content) == (b"", b"\xff\x00", b"see")
    assert first.attributes["path"] == "./"
    assert third.attributes["path"] == "deep/er/"
    assert third.attributes["absolute.path"] == f"{tmp_path}/deep/er/"
    assert third.attributes["file.permissions"].startswith("rw")
    assert third.attributes["file.lastModifiedTime"].startswith("2023-11-1")
    assert runner.reported[2] == (EventType.RECEIVE, f"file://{tmp_path}/deep/er/c.txt", None)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_batch_is_read_at_a_time_and_listed_again_after_the_interval(tmp_path: Path) -> None:
    for number in range(25):
        put(tmp_path / f"{number:02}")
    runner = TestRunner(GetFile, {"Input Directory": str(tmp_path), "Batch Size": "10"})

    runner.run()
    assert len(names(runner)) == 10
    runner.run_until_idle()
    assert names(runner) == [f"{number:02}" for number in range(25)]

    put(tmp_path / "late")
    runner.run()
    assert len(names(runner)) == 25
    runner.advance(30)
    runner.run()
    assert names(runner)[-1] == "late"


def test_filters_choose(tmp_path: Path) -> None:
    put(tmp_path / "sub/good.csv", b"12345")
    put(tmp_path / "other/good.csv", b"12345")
    put(tmp_path / "sub/good.txt", b"12345")
    put(tmp_path / "sub/small.csv", b"1")
    put(tmp_path / "sub/large.csv", b"1234567890")
    put(tmp_path / "sub/young.csv", b"12345", age_seconds=1)
    put(tmp_path / "sub/old.csv", b"12345", age_seconds=1000)
    put(tmp_path / "sub/.hidden.csv", b"12345")
    runner = TestRunner(
        GetFile,
        {
            "Input Directory": str(tmp_path),
            "File Filter": r".*\.csv",
            "Path Filter": "s.b",
            "Minimum File Size": "2 B",
            "Maximum File Size": "9 B",
            "Minimum File Age": "5 sec",
            "Maximum File Age": "5 min",
        },
    )

    runner.run()

    assert names(runner) == ["good.csv"]
    assert runner.one("success").attributes["path"] == "sub/"


def test_subdirectories_are_left_alone_where_wanted(tmp_path: Path) -> None:
    put(tmp_path / "a")
    put(tmp_path / "sub/b")
    runner = TestRunner(
        GetFile, {"Input Directory": str(tmp_path), "Recurse Subdirectories": "false"}
    )

    runner.run()

    assert names(runner) == ["a"]


def test_kept_files_are_read_at_each_listing(tmp_path: Path) -> None:
    put(tmp_path / "a")
    runner = TestRunner(GetFile, {"Input Directory": str(tmp_path), "Keep Source File": "true"})

    runner.run(2)
    runner.advance(30)
    runner.run()

    assert names(runner) == ["a", "a"]
    assert (tmp_path / "a").exists()


def test_a_large_file_is_streamed(tmp_path: Path) -> None:
    content = os.urandom(CHUNK_BYTES * 2 + 1)
    put(tmp_path / "large", content)
    runner = TestRunner(GetFile, {"Input Directory": str(tmp_path)})

    runner.run()

    assert runner.one("success").content == content
    assert not (tmp_path / "large").exists()


def test_pipes_links_in_a_circle_and_odd_names_do_no_harm(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/up").symlink_to(tmp_path)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    odd = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    with open(odd, "wb") as file:
        file.write(b"odd")
    os.utime(odd, (NOW, NOW))
    runner = TestRunner(GetFile, {"Input Directory": str(tmp_path)})

    runner.run_until_idle()

    assert names(runner) == ["caf\ufffd"]
    assert not os.path.exists(odd)


def test_a_missing_directory_is_named() -> None:
    runner = TestRunner(GetFile, {"Input Directory": "/nowhere/at/all"})

    with pytest.raises(NotADirectoryError) as caught:
        runner.run()

    assert str(caught.value) == (
        "'/nowhere/at/all' (property 'Input Directory') is not a directory; create it or name "
        "another"
    )


def test_an_empty_directory_name_is_refused() -> None:
    runner = TestRunner(GetFile, {"Input Directory": "${no_such_variable_here}"})

    with pytest.raises(NotADirectoryError, match="which is empty here; it must name a directory"):
        runner.run()


def test_a_crash_before_durability_reads_the_file_again(tmp_path: Path) -> None:
    put(tmp_path / "a", b"content")
    runner = TestRunner(GetFile, {"Input Directory": str(tmp_path)})
    trigger_without_sync(runner)
    assert (tmp_path / "a").exists()

    runner.crash()
    runner.run()

    assert runner.one("success").content == b"content"
    assert not (tmp_path / "a").exists()


def test_a_crash_between_durability_and_deletion_deletes_at_start(tmp_path: Path) -> None:
    put(tmp_path / "a", b"content")
    runner = TestRunner(GetFile, {"Input Directory": str(tmp_path)})
    committed_but_not_deleted(runner)
    assert (tmp_path / "a").exists()

    runner.crash()
    runner.start()
    runner.engine.log.sync()
    assert not (tmp_path / "a").exists()
    runner.run_until_idle()

    assert names(runner) == ["a"]


def test_a_restart_before_durability_neither_deletes_nor_reads_twice(tmp_path: Path) -> None:
    put(tmp_path / "a", b"content")
    runner = TestRunner(GetFile, {"Input Directory": str(tmp_path)})
    trigger_without_sync(runner)

    runner.stop()
    runner.start()
    assert (tmp_path / "a").exists()
    runner.run_until_idle()

    assert names(runner) == ["a"]
    assert not (tmp_path / "a").exists()


def test_a_file_replaced_after_reading_is_not_deleted_but_read(tmp_path: Path) -> None:
    path = put(tmp_path / "a", b"first")
    runner = TestRunner(GetFile, {"Input Directory": str(tmp_path)})
    committed_but_not_deleted(runner)
    path.unlink()
    put(path, b"other", age_seconds=5)

    runner.crash()
    runner.run_until_idle()

    assert [one.content for one in runner.flowfiles("success")] == [b"first", b"other"]
    assert not path.exists()


def test_a_file_that_cannot_be_deleted_is_reported_and_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "a")
    runner = TestRunner(GetFile, {"Input Directory": str(tmp_path)})
    refuse = PermissionError(13, "Permission denied", str(tmp_path / "a"))

    def unlink(path: bytes) -> None:
        raise refuse

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", unlink)
        runner.run()
        runner.advance(30)
        runner.run()
    assert names(runner) == ["a"]
    assert "1 of 1 source files stay in place" in runner.bulletins[0].message
    assert "Permission denied" in runner.bulletins[0].message

    runner.stop()
    runner.run()
    assert names(runner) == ["a"]
    assert not (tmp_path / "a").exists()


def test_notes_of_finished_work_are_removed(tmp_path: Path) -> None:
    put(tmp_path / "a")
    runner = TestRunner(GetFile, {"Input Directory": str(tmp_path)})

    runner.run_until_idle()

    keyed = [record.keyed for record in runner.commits if record.keyed]
    assert [list(one) for one in keyed] == [["files taken 0"]] * 2
    assert keyed[1] == {"files taken 0": None}


@pytest.mark.slow
def test_files_wait_while_too_many_commits_are_not_durable(tmp_path: Path) -> None:
    for number in range(300):
        put(tmp_path / f"{number:03}")
    runner = TestRunner(GetFile, {"Input Directory": str(tmp_path), "Batch Size": "1"})
    runner.start()
    for _ in range(300):
        trigger_without_sync(runner)
    assert len(names(runner)) == 256

    runner.engine.log.sync()
    runner.run_until_idle()

    assert names(runner) == [f"{number:03}" for number in range(300)]
    assert os.listdir(tmp_path) == []


def trigger_without_sync(runner: TestRunner) -> None:
    runner.start()
    session = runner.engine.open_session(runner.component)
    runner.processor.on_trigger(session)
    session.commit()
    runner.engine.close_session(session)


def committed_but_not_deleted(runner: TestRunner) -> None:
    """A durable commit whose callbacks have not run: what a crash in between leaves."""
    runner.start()
    session = runner.engine.open_session(runner.component)
    commit = session.commit

    def without_callbacks() -> None:
        session.callbacks.clear()
        commit()

    session.commit = without_callbacks  # type: ignore[method-assign]  # the crash comes here
    runner.processor.on_trigger(session)
    runner.engine.close_session(session)
    runner.engine.log.sync()
