"""Keyed state in a real RocksDB: what is applied, what a crash leaves, what damage costs."""

import shutil
from pathlib import Path

import pytest

from runtime.keyed_state import KeyedState, MemoryStore, RocksStore, Store


def _filled(directory: Path, keys: int = 50) -> KeyedState:
    state = KeyedState(directory)
    for sequence in range(1, keys + 1):
        state.put(7, {f"key {sequence}": b"%d" % sequence}, sequence)
    state.apply(keys)
    return state


def test_a_commits_keys_are_visible_at_once_and_stored_once_they_are_durable(
    tmp_path: Path,
) -> None:
    state = KeyedState(tmp_path / "state")
    state.put(7, {"a": b"1", "b": b"2"}, 5)
    state.put(7, {"a": b"3"}, 6)

    assert (state.read(7, "a"), state.read(7, "b"), state.applied) == (b"3", b"2", 0)
    state.apply(5)
    assert (state.read(7, "a"), state.applied, state.has_pending) == (b"3", 5, True)
    state.apply(6)
    assert (state.read(7, "a"), state.applied, state.has_pending) == (b"3", 6, False)
    state.close()


def test_a_removed_key_is_absent_before_and_after_it_reaches_the_store(tmp_path: Path) -> None:
    state = _filled(tmp_path / "state", 3)
    state.put(7, {"key 2": None}, 4)
    for durable in (3, 4):
        state.apply(durable)
        assert state.read(7, "key 2") is None
        assert state.items(7) == {"key 1": b"1", "key 3": b"3"}
    state.close()


def test_components_do_not_see_each_others_keys(tmp_path: Path) -> None:
    state = KeyedState(tmp_path / "state")
    state.put(7, {"a": b"seven"}, 1)
    state.put(8, {"a": b"eight"}, 2)
    state.put(7 << 8, {"a": b"other"}, 3)
    state.apply(2)

    assert [state.read(id, "a") for id in (7, 8, 7 << 8, 9)] == [
        b"seven", b"eight", b"other", None,
    ]  # fmt: skip
    assert state.items(7) == {"a": b"seven"}
    assert state.items(8) == {"a": b"eight"}
    state.close()


def test_a_store_that_was_flushed_and_closed_goes_on_where_it_was(tmp_path: Path) -> None:
    state = _filled(tmp_path / "state")
    assert state.flush() == 50
    state.close()
    state.close()

    again = KeyedState(tmp_path / "state")
    assert (again.applied, again.problems) == (50, [])
    assert again.items(7) == {f"key {n}": b"%d" % n for n in range(1, 51)}
    again.close()


def test_a_crash_leaves_the_store_at_the_sequence_that_was_flushed(tmp_path: Path) -> None:
    state = _filled(tmp_path / "state", 20)
    state.flush()
    state.put(7, {"late": b"lost"}, 21)
    state.apply(21)
    shutil.copytree(tmp_path / "state", tmp_path / "after")  # What a kill would leave.
    (tmp_path / "after" / "LOCK").unlink()
    state.close()

    again = KeyedState(tmp_path / "after")
    assert again.applied == 20
    assert again.read(7, "late") is None
    assert again.read(7, "key 20") == b"20"
    again.close()


def test_nothing_is_opened_until_there_is_something_to_keep(tmp_path: Path) -> None:
    state = KeyedState(tmp_path / "state")
    assert (state.applied, state.flush(), state.read(7, "a"), state.items(7)) == (0, 0, None, {})
    state.put(7, {}, 1)
    state.apply(1)
    state.close()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("damaged", ["MANIFEST", "CURRENT"])
def test_a_store_that_does_not_open_is_set_aside_and_read_out(
    tmp_path: Path, damaged: str
) -> None:
    state = _filled(tmp_path / "state")
    state.flush()
    state.close()
    for path in (tmp_path / "state").glob(f"{damaged}*"):
        path.write_bytes(b"\xff" * path.stat().st_size)

    again = KeyedState(tmp_path / "state")

    assert again.items(7) == {f"key {n}": b"%d" % n for n in range(1, 51)}
    assert again.applied == 50
    [problem] = again.problems
    assert problem.startswith(f"The state store {tmp_path / 'state'} does not open (")
    assert problem.endswith("); it was set aside and what could be read was copied into a new one")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state", "state.damaged-1"]
    again.put(7, {"next": b"51"}, 51)
    again.apply(51)
    assert again.applied == 51
    again.close()


def test_a_store_of_which_nothing_can_be_read_starts_empty(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not even a directory")
    state = KeyedState(tmp_path / "state")

    assert (state.applied, state.items(7), len(state.problems)) == (0, {}, 1)
    state.close()


def test_a_store_ahead_of_the_log_keeps_its_keys_and_follows_the_log_again(
    tmp_path: Path,
) -> None:
    state = _filled(tmp_path / "state")
    state.check_against(50)
    assert state.problems == []

    state.check_against(30)

    assert state.applied == 30
    assert state.read(7, "key 50") == b"50"
    assert state.problems == [
        "The state store is at record 50, the log ends at 30: keys that later records had changed "
        "keep those values"
    ]
    state.put(7, {"key 31": b"again"}, 31)
    state.apply(31)
    assert (state.applied, state.read(7, "key 31")) == (31, b"again")
    state.close()


def test_stores_set_aside_do_not_overwrite_each_other(tmp_path: Path) -> None:
    for end in (40, 30):
        state = _filled(tmp_path / "state")
        state.check_against(end)
        state.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "state", "state.damaged-1", "state.damaged-2",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["memory", "rocks"])
def test_both_stores_give_the_same_answers(tmp_path: Path, kind: str) -> None:
    store: Store = MemoryStore() if kind == "memory" else RocksStore(tmp_path / "state")
    store.write({b"b": b"2", b"a": b"1", b"ab": b"", b"\xff": b"last"})
    store.write({b"b": None, b"missing": None, b"a": b"3"})

    assert store.get(b"a") == b"3"
    assert store.get(b"ab") == b""
    assert store.get(b"b") is None
    assert list(store.items(b"a")) == [(b"a", b"3"), (b"ab", b"")]
    assert list(store.items(b"\xff")) == [(b"\xff", b"last")]
    assert [key for key, _ in store.items(b"")] == [b"a", b"ab", b"\xff"]
    store.flush()
    store.close()


def test_state_without_a_directory_lives_in_memory() -> None:
    state = KeyedState(None)
    state.put(1, {"a": b"1"}, 1)
    state.apply(1)
    assert (state.applied, state.read(1, "a"), state.flush()) == (1, b"1", 1)
    state.close()
    assert state.read(1, "a") is None
