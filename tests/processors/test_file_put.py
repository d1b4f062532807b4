import os
import threading
from pathlib import Path

import pytest

from processors.file_put import PutFile, enterable, file_name, mode_of
from processors.file_write import SMALL_BYTES
from runtime.commit import EventType
from runtime.testing import TestRunner, check_processor


def test_it_conforms() -> None:
    check_processor(PutFile)


def test_files_are_written_and_reported(tmp_path: Path) -> None:
    runner = TestRunner(PutFile, {"Directory": f"{tmp_path}/${{day}}"})
    runner.enqueue(b"one", filename="a b.txt", day="mon/day")
    runner.enqueue(b"", filename="empty", day="tue")
    runner.enqueue(b"\xff\xfe\0", filename="größe.bin", day="tue")

    runner.run()

    assert (tmp_path / "mon/day/a b.txt").read_bytes() == b"one"
    assert (tmp_path / "tue/empty").read_bytes() == b""
    assert (tmp_path / "tue/größe.bin").read_bytes() == b"\xff\xfe\0"
    assert sorted(os.listdir(tmp_path / "tue")) == ["empty", "größe.bin"]
    assert len(runner.flowfiles("success")) == 3
    assert runner.reported[0] == (EventType.SEND, f"file://{tmp_path}/mon/day/a%20b.txt", None)
    runner.close()


def test_large_content_is_streamed(tmp_path: Path) -> None:
    content = os.urandom(SMALL_BYTES + 1)
    runner = TestRunner(PutFile, {"Directory": str(tmp_path)})
    runner.enqueue(content, filename="large")

    runner.run()

    assert (tmp_path / "large").read_bytes() == content
    runner.close()


def test_a_full_batch_is_written(tmp_path: Path) -> None:
    runner = TestRunner(PutFile, {"Directory": str(tmp_path)})
    for number in range(1200):
        runner.enqueue(str(number).encode(), filename=f"{number}.txt")

    runner.run_until_idle()

    assert len(os.listdir(tmp_path)) == 1200
    assert (tmp_path / "1199.txt").read_bytes() == b"1199"
    assert runner.queued == 0
    runner.close()


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".", "/etc/passwd", "a\0b"])
def test_a_file_name_that_leads_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    directory = tmp_path / "inside"
    runner = TestRunner(PutFile, {"Directory": str(directory)})
    runner.enqueue(b"x", filename=name)
    runner.enqueue(b"y", filename="a..b")

    runner.run()

    failed = runner.one("failure")
    assert failed.penalized
    assert failed.reason is not None
    assert "it must be a plain file name, without '/' and not '..'" in failed.reason.message
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a..b", "inside"]
    runner.close()


def test_an_empty_file_name_is_refused() -> None:
    with pytest.raises(ValueError, match="The attribute filename is ''; it must be a plain"):
        file_name("")


def test_an_existing_file_fails_by_default_and_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    runner = TestRunner(PutFile, {"Directory": str(tmp_path)})
    runner.enqueue(b"new", filename="a")

    runner.run()

    reason = runner.one("failure").reason
    assert reason is not None
    assert reason.message == f"'{tmp_path}/a' exists already, with other content"
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]
    runner.close()


def test_a_file_with_the_same_bytes_counts_as_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"same")
    runner = TestRunner(PutFile, {"Directory": str(tmp_path)})
    runner.enqueue(b"same", filename="a")

    runner.run()

    assert runner.one("success").content == b"same"
    assert runner.reported == [
        (EventType.SEND, f"file://{tmp_path}/a", "It was already written.")
    ]
    runner.close()


@pytest.mark.parametrize(("strategy", "left"), [("replace", b"new"), ("ignore", b"old")])
def test_a_conflict_is_settled_as_configured(strategy: str, left: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    runner = TestRunner(
        PutFile, {"Directory": str(tmp_path), "Conflict Resolution Strategy": strategy}
    )
    runner.enqueue(b"new", filename="a")

    runner.run()

    assert runner.one("success").content == b"new"
    assert (tmp_path / "a").read_bytes() == left
    assert len(runner.reported) == (strategy == "replace")
    runner.close()


def test_flowfiles_of_one_batch_with_one_name_are_written_in_order(tmp_path: Path) -> None:
    replacing = TestRunner(
        PutFile, {"Directory": str(tmp_path), "Conflict Resolution Strategy": "replace"}
    )
    failing = TestRunner(PutFile, {"Directory": str(tmp_path / "failing")})
    for runner in (replacing, failing):
        runner.enqueue(b"first", filename="a")
        runner.enqueue(b"second", filename="a")
        runner.run()
        runner.close()

    assert (tmp_path / "a").read_bytes() == b"second"
    assert (tmp_path / "failing" / "a").read_bytes() == b"first"
    assert failing.one("failure").content == b"second"


def test_a_crash_before_the_commit_repeats_the_batch_harmlessly(tmp_path: Path) -> None:
    runner = TestRunner(PutFile, {"Directory": str(tmp_path)})
    for number in range(5):
        runner.enqueue(b"content %d" % number, filename=f"{number}")
    runner.start()
    session = runner.engine.open_session(runner.component)
    runner.processor.on_trigger(session)
    assert len(os.listdir(tmp_path)) == 5

    runner.processor.stop()
    runner.crash()
    runner.run()

    assert len(runner.flowfiles("success")) == 5
    assert sorted(os.listdir(tmp_path)) == ["0", "1", "2", "3", "4"]
    runner.close()


def test_a_missing_directory_is_created_only_where_allowed(tmp_path: Path) -> None:
    runner = TestRunner(
        PutFile, {"Directory": f"{tmp_path}/new", "Create Missing Directories": "false"}
    )
    runner.enqueue(b"x", filename="a")
    runner.enqueue(b"x", filename="b")

    runner.run()

    first, second = runner.flowfiles("failure")
    for failed in (first, second):
        assert failed.reason is not None
        assert failed.reason.message == (
            f"The directory '{tmp_path}/new' does not exist, and Create Missing Directories is "
            "false"
        )
    runner.close()


def test_a_directory_that_is_empty_text_or_a_file_fails(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    runner = TestRunner(PutFile, {"Directory": "${where}"})
    runner.enqueue(b"x", filename="a")
    runner.enqueue(b"y", filename="a", where=f"{tmp_path}/file")
    runner.enqueue(b"z", filename="a", where=str(tmp_path))

    runner.run()

    reasons = [one.reason for one in runner.flowfiles("failure")]
    assert reasons[0] is not None
    assert reasons[0].message == (
        "The directory '${where}' is '' for this flowfile; it must be a path"
    )
    assert reasons[1] is not None
    assert reasons[1].kind == "FileExistsError"
    assert (tmp_path / "a").read_bytes() == b"z"
    runner.close()


def test_no_more_files_than_the_maximum_are_written(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    runner = TestRunner(PutFile, {"Directory": str(tmp_path), "Maximum File Count": "3"})
    for name in ("a", "b", "c"):
        runner.enqueue(b"x", filename=name)

    runner.run()

    assert sorted(os.listdir(tmp_path)) == ["a", "b", "other"]
    reason = runner.one("failure").reason
    assert reason is not None
    assert reason.message == (
        f"The directory '{tmp_path}' holds 3 files; Maximum File Count is 3"
    )
    runner.close()


def test_times_and_permissions_are_set(tmp_path: Path) -> None:
    runner = TestRunner(
        PutFile,
        {
            "Directory": f"{tmp_path}/new",
            "Permissions": "rw-r-----",
            "Last Modified Time": "${changed}",
            "Owner": str(os.getuid()),
            "Group": str(os.getgid()),
        },
    )
    runner.enqueue(b"x", filename="a", changed="2030-01-31T13:00:00+0100")

    runner.run()

    facts = (tmp_path / "new/a").stat()
    assert facts.st_mode & 0o777 == 0o640
    assert facts.st_mtime == 1896091200
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o750
    runner.close()


def test_what_cannot_be_set_is_a_warning_and_the_file_is_written(tmp_path: Path) -> None:
    runner = TestRunner(
        PutFile,
        {
            "Directory": str(tmp_path),
            "Owner": "nobody-of-this-name",
            "Group": "${group}",
            "Permissions": "${mode}",
            "Last Modified Time": "yesterday",
        },
    )
    runner.enqueue(b"x", filename="a", mode="all", group="no-such-group")
    runner.enqueue(b"x", filename="b", mode="all", group="no-such-group")

    runner.run()

    assert len(runner.flowfiles("success")) == 2
    messages = " ".join(one.message for one in runner.bulletins)
    assert "2 of the files written: there is no user 'nobody-of-this-name'" in messages
    assert "permissions must have a form such as 'rw-r-----' or '640'" in messages
    assert "time data 'yesterday' does not match" in messages
    runner.close()


def test_an_unknown_group_is_a_warning(tmp_path: Path) -> None:
    runner = TestRunner(PutFile, {"Directory": str(tmp_path), "Group": "no-such-group"})
    runner.enqueue(b"x", filename="a")

    runner.run()

    assert [one.message for one in runner.bulletins] == [
        "1 of the files written: there is no group 'no-such-group', so the group stays as it is"
    ]
    runner.close()


def test_a_directory_in_the_files_place_fails_that_file_only(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    runner = TestRunner(
        PutFile, {"Directory": str(tmp_path), "Conflict Resolution Strategy": "replace"}
    )
    runner.enqueue(b"x", filename="a")
    runner.enqueue(b"y", filename="b")

    runner.run()

    assert runner.one("failure").content == b"x"
    assert runner.one("success").content == b"y"
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    runner.close()


def test_a_name_too_long_for_the_file_system_fails(tmp_path: Path) -> None:
    runner = TestRunner(PutFile, {"Directory": str(tmp_path)})
    runner.enqueue(b"x", filename="n" * 256)
    runner.enqueue(b"x", filename="n" * 255)

    runner.run()

    assert runner.one("failure").attributes["filename"] == "n" * 256
    assert os.listdir(tmp_path) == ["n" * 255]
    runner.close()


def test_permissions_are_read_in_both_forms() -> None:
    assert mode_of("rwxr-x--x") == mode_of("751") == 0o751
    assert enterable(0o640) == 0o750
    assert enterable(0o602) == 0o703
    runner = TestRunner(PutFile, {"Directory": "/tmp", "Permissions": "rwx"})
    assert [str(one) for one in runner.problems] == [
        "property 'Permissions' is 'rwx'; permissions must have a form such as 'rw-r-----' or "
        "'640'"
    ]


def test_a_stop_ends_the_threads(tmp_path: Path) -> None:
    runner = TestRunner(PutFile, {"Directory": str(tmp_path)})
    runner.enqueue(b"x", filename="a")

    runner.run()
    runner.stop()

    assert not [one for one in threading.enumerate() if one.name.startswith("PutFile")]
