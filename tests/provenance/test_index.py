import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq  # type: ignore[import-untyped]  # pyarrow has no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.events import EventColumns
from provenance.index import EVENTS, MERGE_COUNT, Index, IndexBusyError, segment_name
from provenance.index_builder import build, write_snapshot
from provenance.names import FlowNames
from runtime.commit import Commit, Target
from tests.provenance.histories import (
    FIRST,
    START,
    created,
    flow_edit,
    flowfile,
    histories,
    numbered,
    routed,
)

DAY = 86_400


def index_rows(index: Index) -> list[dict[str, object]]:
    """All rows of the index's segments, in order."""
    rows: list[dict[str, object]] = []
    for segment in index.segments():
        rows += pq.ParquetFile(segment.path / EVENTS).read().to_pylist()
    return rows


def plain_rows(commits: list[Commit]) -> list[dict[str, object]]:
    """The rows that the commits decode to, without an index."""
    columns = EventColumns(FlowNames())
    for sequence, commit in numbered(commits):
        columns.add(sequence, commit)
    return columns.tables()[0].to_pylist()  # type: ignore[no-any-return]  # untyped


def build_to(index: Index, commits: list[Commit], until: int, rows: int = 5) -> None:
    """Run a builder as the child process does."""
    with index.building():
        after = index.indexed_sequence
        left = [item for item in numbered(commits) if item[0] > after]
        build(index, FlowNames(index.flow()), left, until=until, segment_rows=rows)
        while index.merge():
            pass


@pytest.mark.slow
@settings(deadline=None, max_examples=15)
@given(histories(), st.data())
def test_an_index_built_in_steps_equals_one_rebuilt_and_the_plain_decode(
    tmp_path_factory: pytest.TempPathFactory, commits: list[Commit], data: st.DataObject
) -> None:
    index = Index(tmp_path_factory.mktemp("home") / "provenance")
    steps = data.draw(st.lists(st.integers(1, len(commits)), max_size=4))
    for until in [*steps, len(commits)]:
        build_to(index, commits, until)
    stepwise = index_rows(index)
    index.clear()
    build_to(index, commits, len(commits), rows=1_000_000)

    assert stepwise == index_rows(index) == plain_rows(commits)
    assert index.indexed_sequence == len(commits)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.slow
@pytest.mark.parametrize("point", range(0, 12, 2))
def test_a_builder_killed_at_any_step_repeats_and_skips_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: int
) -> None:
    commits = [flow_edit(), *[created(flowfile(FIRST + n, a=str(n))) for n in range(20)]]
    index = Index(tmp_path / "provenance")
    build_to(index, commits, 5, rows=1)
    with monkeypatch.context() as patch:
        _kill_at(patch, point)
        with pytest.raises(Killed):
            build_to(index, commits, len(commits), rows=1)
    build_to(index, commits, len(commits), rows=1)

    assert index_rows(index) == plain_rows(commits)


def _kill_at(patch: pytest.MonkeyPatch, point: int) -> None:
    """End at the n-th file system step (each third one: write, rename, remove)."""
    steps = iter(range(1000))

    def stopping(original: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object, **named: object) -> object:
            if next(steps) == point * 3:
                raise Killed
            return original(*arguments, **named)

        return step

    patch.setattr("os.rename", stopping(__import__("os").rename))
    patch.setattr("shutil.rmtree", stopping(shutil.rmtree))
    patch.setattr("provenance.index._write_parquet", stopping(_real_write()))


def _real_write() -> Callable[..., object]:
    from provenance import index

    return index._write_parquet


def test_eight_small_neighbours_become_one_segment(tmp_path: Path) -> None:
    commits = [flow_edit(), *[created(flowfile(FIRST + n)) for n in range(MERGE_COUNT)]]
    index = Index(tmp_path)
    for until in range(2, MERGE_COUNT + 2):
        build_to(index, commits, until)

    assert [segment[:2] for segment in index.segments()] == [(1, MERGE_COUNT + 1)]
    assert index.flow() is not None


def test_a_leftover_of_merging_is_not_read_and_swept_away(tmp_path: Path) -> None:
    commits = [created(flowfile(FIRST)), created(flowfile(FIRST + 1))]
    index = Index(tmp_path)
    build_to(index, commits, 2)
    leftover = tmp_path / segment_name(2, 2)
    shutil.copytree(index.segments()[0].path, leftover)

    assert len(index_rows(index)) == 2
    with index.building():
        assert not leftover.exists()


def test_a_second_builder_is_turned_away(tmp_path: Path) -> None:
    index = Index(tmp_path)
    with (
        index.building(),
        pytest.raises(IndexBusyError, match="another builder is at work; wait until it has ended"),
        index.building(),
    ):
        pass


def test_retention_by_age_drops_whole_old_segments_but_never_the_newest(tmp_path: Path) -> None:
    index = Index(tmp_path)
    commits = [created(flowfile(FIRST + n), time=START + n * DAY * 10**6) for n in range(4)]
    for until in range(1, 5):
        build_to(index, commits, until)
    dropped = index.retain(START / 10**6 + 3 * DAY, max_seconds=1.5 * DAY)

    assert [segment.first for segment in dropped] == [1, 2]
    assert index.retain(START / 10**6 + 99 * DAY, max_seconds=DAY)[-1].first == 3
    assert index.indexed_sequence == 4


def test_retention_by_size_drops_the_oldest_until_the_rest_fits(tmp_path: Path) -> None:
    index = Index(tmp_path)
    for until in range(1, 5):
        build_to(index, [created(flowfile(FIRST + n)) for n in range(4)], until)
    sizes = [segment.bytes() for segment in index.segments()]
    dropped = index.retain(START / 10**6, max_bytes=sum(sizes[2:]))

    assert [segment.first for segment in dropped] == [1, 2]


def test_a_snapshot_goes_only_when_a_later_one_precedes_all_segments(tmp_path: Path) -> None:
    index = Index(tmp_path)
    for until in range(1, 5):
        build_to(index, [created(flowfile(FIRST + n)) for n in range(4)], until)
    for sequence in (1, 2, 3, 3):
        write_snapshot(index, sequence, START, [flowfile(FIRST, a="1")])
    index.retain(START / 10**6, max_bytes=sum(s.bytes() for s in index.segments()[2:]))

    assert [snapshot.last for snapshot in index.snapshots()] == [2, 3]


def test_names_after_an_edit_are_those_of_the_segment_before(tmp_path: Path) -> None:
    commits = [flow_edit(), routed([FIRST], "late", Target(11))]
    index = Index(tmp_path)
    build_to(index, commits, 1)
    build_to(index, commits, 2)

    assert [row["component_name"] for row in index_rows(index)] == ["route"]
