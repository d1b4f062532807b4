import os
from pathlib import Path

import pytest

from processors.file_completion import Completion, complete, identity_of


def work(path: Path, target: Path, conflict: str = "replace") -> Completion:
    name = os.fsencode(path)
    return Completion(identity_of(name, os.stat(name)), os.fsencode(target), conflict)


def test_work_can_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    completion = work(tmp_path / "a", tmp_path / "done/a")

    complete(completion)
    directories = complete(completion)

    assert (tmp_path / "done/a").read_bytes() == b"x"
    assert directories == {os.fsencode(tmp_path)}


def test_a_file_that_was_written_to_meanwhile_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    completion = work(tmp_path / "a", tmp_path / "done/a")
    (tmp_path / "a").write_bytes(b"xy")

    complete(completion)

    assert (tmp_path / "a").read_bytes() == b"xy"
    assert not (tmp_path / "done").exists()


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_a_move_to_another_file_system_copies_and_deletes(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = Path("/dev/shm") / f"levada-{os.getpid()}"
    source.write_bytes(b"content")
    if source.stat().st_dev == tmp_path.stat().st_dev:
        source.unlink()
        pytest.skip("there is only one file system")

    complete(work(source, tmp_path / "a"))

    assert not source.exists()
    assert (tmp_path / "a").read_bytes() == b"content"
    assert os.listdir(tmp_path) == ["a"]


def test_a_rename_that_is_refused_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "directory").mkdir()

    with pytest.raises(IsADirectoryError):
        complete(work(tmp_path / "a", tmp_path / "directory"))

    assert (tmp_path / "a").exists()
