import errno
import os
from pathlib import Path

import pytest

from processors.file_put import PutFile
from processors.file_write import temporary_name
from runtime.testing import TestRunner


def refuse_links(source: str, target: str) -> None:
    raise PermissionError(errno.EPERM, "Operation not permitted", source)


def test_without_hard_links_files_are_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refuse_links)
    runner = TestRunner(PutFile, {"Directory": str(tmp_path)})
    runner.enqueue(b"x", filename="a")

    runner.run()

    assert (tmp_path / "a").read_bytes() == b"x"
    assert os.listdir(tmp_path) == ["a"]
    runner.close()


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_appears_while_writing_is_not_replaced(
    has_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def appear(source: str, target: str) -> None:
        Path(target).write_bytes(b"somebody else's")
        if has_links:
            link(source, target)
        refuse_links(source, target)

    monkeypatch.setattr(os, "link", appear)
    runner = TestRunner(PutFile, {"Directory": str(tmp_path)})
    runner.enqueue(b"x", filename="a")

    runner.run()

    reason = runner.one("failure").reason
    assert reason is not None
    assert reason.message == f"'{tmp_path}/a' exists already, with other content"
    assert (tmp_path / "a").read_bytes() == b"somebody else's"
    assert os.listdir(tmp_path) == ["a"]
    runner.close()


def test_a_file_that_cannot_be_synced_fails_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    runner = TestRunner(PutFile, {"Directory": str(tmp_path)})
    runner.enqueue(b"x", filename="a")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        runner.run()

    reason = runner.one("failure").reason
    assert reason is not None
    assert "No space left on device" in reason.message
    assert os.listdir(tmp_path) == []
    runner.close()


def test_a_directory_that_cannot_be_synced_rolls_the_batch_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def fail(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EIO, "Input/output error")
        sync(descriptor)

    runner = TestRunner(PutFile, {"Directory": str(tmp_path)})
    runner.enqueue(b"x", filename="a")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output error"):
            runner.run()
    assert runner.queued == 1

    runner.advance(60)
    # The first run lets the record of the roll-back become durable.
    runner.run(2)
    assert runner.one("success").content == b"x"
    assert os.listdir(tmp_path) == ["a"]
    runner.close()


def test_a_temporary_name_is_hidden_repeats_and_fits() -> None:
    uuid = "00000000-0000-8000-8000-000000000000"
    assert temporary_name("a", uuid) == f".a.{uuid}"
    assert temporary_name("é" * 120, uuid) == f".{uuid}"
