from pathlib import Path

import pytest

from provenance.home import HomeError, open_home
from runtime.disk import SystemDisk
from runtime.log_files import file_numbers, file_path
from tests.provenance.histories import (
    FIRST,
    HOME,
    created,
    flow_edit,
    flowfile,
    make_home,
    numbered,
)


def test_commits_come_in_log_order_within_their_bounds(tmp_path: Path) -> None:
    commits = [flow_edit(), *[created(flowfile(FIRST + n)) for n in range(5)]]
    home = make_home(tmp_path / "home", commits)

    assert list(home.commits()) == numbered(commits)
    assert [sequence for sequence, _ in home.commits(2, 4)] == [3, 4]
    assert home.identity.home == HOME


def test_names_without_an_index_come_from_the_oldest_flow_in_the_log(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", [created(flowfile(FIRST)), flow_edit()])

    assert home.names().component(2).name == "flights"
    assert make_home(tmp_path / "other", [created(flowfile(FIRST))]).names().encoded is None


def test_rot_in_the_log_is_told_and_does_not_stop_the_rest(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", [created(flowfile(FIRST)), flow_edit()])
    number = file_numbers(home.path / "log", SystemDisk())[0]
    path = file_path(home.path / "log", number)
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(data)

    assert list(home.commits()) == []
    assert "were durable and are missing" in home.gaps[0]


def test_a_directory_without_a_node_is_no_home(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match=r"is no home: it has no node\.json; name a node's"):
        open_home(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ("{}", "it must hold the home's number"),
        ('{"home": -1}', "has -1 as the home's number; it must fit into 48 bits"),
        ('{"home": 281474976710656}', "must fit into 48 bits"),
    ],
)
def test_a_broken_description_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "node.json").write_text(text)
    with pytest.raises(HomeError, match=words):
        open_home(tmp_path)
