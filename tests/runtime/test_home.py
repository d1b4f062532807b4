"""A node's directory: its lock, its identity, and what a copy of it draws."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from runtime.flowfile import flowfile_ids
from runtime.home import NODE_FILE, Home, HomeError, is_running, read_node_file


def _refused(path: Path) -> str:
    with pytest.raises(HomeError) as raised:
        Home(path)
    return str(raised.value).replace(str(path), "HOME")


def _noted(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / NODE_FILE).read_bytes())
    return found


def test_every_start_has_a_number_of_its_own(tmp_path: Path) -> None:
    starts = []
    for _ in range(3):
        home = Home(tmp_path / "home")
        starts.append((home.start, home.identity.home))
        home.close()

    bits = starts[0][1]
    assert starts == [(1, bits), (2, bits), (3, bits)]


def test_a_start_that_ends_early_never_gives_its_number_again(tmp_path: Path) -> None:
    first = Home(tmp_path)
    os.close(first._lock)  # What a kill does: no clean close.
    first._lock = -1

    second = Home(tmp_path)
    assert second.start == first.start + 1
    second.close()


def test_two_nodes_never_share_a_home(tmp_path: Path) -> None:
    home = Home(tmp_path)

    assert _refused(tmp_path) == (
        f"A node (process {os.getpid()}) runs on the home HOME already. Stop it first, or choose "
        "another home with --home"
    )
    home.close()
    Home(tmp_path).close()


def test_a_home_tells_whether_a_node_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "home"
    assert not is_running(path)
    home = Home(path)
    assert is_running(path)
    home.close()
    home.close()
    assert not is_running(path)
    assert not is_running(path), "to ask must not take the lock"


def test_a_copied_home_draws_new_bits_and_old_flowfiles_keep_their_uuids(tmp_path: Path) -> None:
    original = Home(tmp_path / "original")
    old = next(flowfile_ids(original.start))
    uuid = original.identity.uuid(old)
    original.close()
    shutil.copytree(tmp_path / "original", tmp_path / "copy")

    copy = Home(tmp_path / "copy")
    new = next(flowfile_ids(copy.start))

    assert copy.identity.home != original.identity.home
    assert copy.log_home == original.log_home == original.identity.home
    assert copy.identity.uuid(old) == uuid
    assert copy.identity.id(uuid) == old
    assert copy.identity.uuid(new)[:13] != uuid[:13]
    copy.close()

    again = Home(tmp_path / "original")
    twin = next(flowfile_ids(again.start))
    assert twin == new, "both count on from the same start"
    assert again.identity.uuid(twin) != copy.identity.uuid(new)
    again.close()


def test_the_copy_of_a_copy_still_reads_the_log_of_its_first_life(tmp_path: Path) -> None:
    homes = []
    for name, source in (("a", None), ("b", "a"), ("c", "b")):
        if source:
            shutil.copytree(tmp_path / source, tmp_path / name)
        home = Home(tmp_path / name)
        homes.append(home)
        home.close()

    assert len({one.identity.home for one in homes}) == 3
    assert {one.log_home for one in homes} == {homes[0].identity.home}
    assert [start for _, start in homes[2].identity.formerly] == [1, 2]


def test_a_log_without_its_identity_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()

    assert _refused(tmp_path) == (
        "HOME/node.json is missing, but there is a log beside it: this is a damaged or "
        "incomplete copy of a home. Restore node.json from the original"
    )
    assert not is_running(tmp_path), "a refused home is not held"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"home": "x", "start": 1}', b"\xff\xff"])
def test_a_damaged_identity_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NODE_FILE).write_bytes(content)

    words = _refused(tmp_path)
    assert words.startswith("HOME/node.json is damaged (")
    assert words.endswith("). Restore it from a copy of this home")


def test_a_directory_without_identity_is_no_home(tmp_path: Path) -> None:
    with pytest.raises(HomeError) as raised:
        read_node_file(tmp_path)
    assert str(raised.value) == (
        f"{tmp_path} is no home of a node. Name one with --home, or start one with levada up"
    )


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert _refused(tmp_path / "file") == (
        "The home HOME cannot be used: File exists. Choose another one with --home"
    )
    assert _refused(tmp_path / "file" / "home").endswith(
        "cannot be used: Not a directory. Choose another one with --home"
    )


def test_a_home_whose_numbers_are_used_up_is_refused(tmp_path: Path) -> None:
    Home(tmp_path).close()
    noted = _noted(tmp_path) | {"start": (1 << 20) - 1}
    (tmp_path / NODE_FILE).write_text(json.dumps(noted))

    assert _refused(tmp_path) == (
        "The home HOME was started 1,048,575 times, which uses up its flowfile ids. Let its flow "
        "run empty and go on in a new home"
    )


def test_identity_and_lock_are_for_their_owner_only(tmp_path: Path) -> None:
    Home(tmp_path).close()
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in (NODE_FILE, "lock")}
    assert modes == {NODE_FILE: 0o600, "lock": 0o600}
    assert sorted(os.listdir(tmp_path)) == ["lock", NODE_FILE]
