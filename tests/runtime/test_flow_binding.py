"""FILE and the home: who wins, and a write that loses nobody's change."""

import os
from pathlib import Path

import pytest

from runtime.flow_binding import (
    Action,
    BindingError,
    Bound,
    ChangedOutsideError,
    FlowOnDisk,
    Take,
    decide,
    text_hash,
)

TEXT = b"levada: 1\n"
OTHER = b"levada: 1\nname: x\n"
BOUND = Bound(file="flow.yaml", hash=text_hash(TEXT), revision=3)


@pytest.mark.parametrize(
    ("text", "bound", "revision", "expected"),
    [
        (TEXT, BOUND, 3, Action.NOTHING),
        (TEXT, BOUND, 4, Action.WRITE),
        (OTHER, BOUND, 3, Action.ADOPT),
        (OTHER, BOUND, 4, Action.CONFLICT),
        (None, BOUND, 3, Action.WRITE),
        (None, None, 0, Action.WRITE),
        (TEXT, None, 0, Action.ADOPT),
        (TEXT, None, 3, Action.CONFLICT),
    ],
)
def test_who_changed_alone_wins(
    text: bytes | None, bound: Bound | None, revision: int, expected: Action
) -> None:
    assert decide(text, bound, revision=revision) is expected


@pytest.mark.parametrize(("take", "expected"), [("file", Action.ADOPT), ("home", Action.WRITE)])
def test_the_user_decides_a_conflict(take: Take, expected: Action) -> None:
    assert decide(OTHER, BOUND, revision=4, take=take) is expected


def test_two_texts_that_mean_the_same_are_no_conflict() -> None:
    assert decide(OTHER, BOUND, revision=4, same=True) is Action.NOTHING
    assert decide(OTHER, BOUND, revision=4, same=True, take="file") is Action.NOTHING


def test_a_written_file_is_recognized_as_unchanged(tmp_path: Path) -> None:
    file = FlowOnDisk(tmp_path / "flow.yaml")
    assert file.read() is None

    bound = file.write("levada: 1\nname: é\n", None, revision=7)

    text = file.read()
    assert text == "levada: 1\nname: é\n".encode()
    assert decide(text, bound, revision=7) is Action.NOTHING
    assert os.listdir(tmp_path) == ["flow.yaml"]


def test_a_file_that_was_changed_outside_is_not_overwritten(tmp_path: Path) -> None:
    file = FlowOnDisk(tmp_path / "flow.yaml")
    bound = file.write("levada: 1\n", None, revision=1)
    file.path.write_bytes(OTHER)

    with pytest.raises(ChangedOutsideError, match="was changed outside; nothing was written. `lev"):
        file.write("levada: 1\nname: y\n", bound, revision=2)
    with pytest.raises(ChangedOutsideError):
        file.write("levada: 1\nname: y\n", None, revision=2)

    assert file.read() == OTHER and os.listdir(tmp_path) == ["flow.yaml"]
    assert file.overwrite("levada: 1\n", revision=2).revision == 2
    assert file.read() == TEXT


def test_a_symlink_stays_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "flow.yaml").write_bytes(TEXT)
    (tmp_path / "flow.yaml").symlink_to("real/flow.yaml")

    FlowOnDisk(tmp_path / "flow.yaml").write(OTHER.decode(), BOUND, revision=4)

    assert (tmp_path / "flow.yaml").is_symlink()
    assert (tmp_path / "real" / "flow.yaml").read_bytes() == OTHER


def test_the_mode_of_the_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_bytes(TEXT)
    path.chmod(0o640)

    FlowOnDisk(path).write(OTHER.decode(), BOUND, revision=4)

    assert path.stat().st_mode & 0o777 == 0o640


def test_a_directory_in_place_of_the_file_is_explained(tmp_path: Path) -> None:
    file = FlowOnDisk(tmp_path)

    with pytest.raises(BindingError, match="cannot be read .Is a directory.; check the path"):
        file.read()


def test_a_missing_directory_is_explained(tmp_path: Path) -> None:
    file = FlowOnDisk(tmp_path / "nowhere" / "flow.yaml")

    with pytest.raises(BindingError, match="cannot be written .No such file.*the flow is safe in"):
        file.write("levada: 1\n", None, revision=1)
