import os
from pathlib import Path

import pytest

from processors.file_list import FetchFile, ListFile
from runtime.commit import EventType
from runtime.processor import Effects
from runtime.testing import TestRunner, check_processor

NOW = TestRunner(ListFile).clock.wall()


def put(path: Path, content: bytes = b"x", *, age_seconds: float = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (NOW - age_seconds, NOW - age_seconds))
    return path


def names(runner: TestRunner) -> list[str]:
    return [one.attributes["filename"] for one in runner.flowfiles("success")]


@pytest.mark.parametrize("declaration", [ListFile, FetchFile])
def test_it_conforms(declaration: type[ListFile] | type[FetchFile]) -> None:
    check_processor(declaration)


def test_a_listed_file_is_described(tmp_path: Path) -> None:
    put(tmp_path / "sub/a.txt", b"12345")
    runner = TestRunner(ListFile, {"Input Directory": str(tmp_path)})

    runner.run()

    listed = runner.one("success")
    assert listed.content == b""
    assert listed.attributes["path"] == "sub/"
    assert listed.attributes["absolute.path"] == f"{tmp_path}/sub/"
    assert listed.attributes["file.size"] == "5"
    assert {"file.owner", "file.group", "file.permissions"} <= listed.attributes.keys()
    assert (tmp_path / "sub/a.txt").exists()


def test_attributes_can_be_left_out(tmp_path: Path) -> None:
    put(tmp_path / "a")
    runner = TestRunner(
        ListFile, {"Input Directory": str(tmp_path), "Include File Attributes": "false"}
    )

    runner.run()

    attributes = runner.one("success").attributes
    assert {name for name in attributes if name.startswith("file.")} == {
        "file.size",
        "file.lastModifiedTime",
    }


def test_by_timestamps_only_what_is_newer_is_listed(tmp_path: Path) -> None:
    put(tmp_path / "b", age_seconds=20)
    put(tmp_path / "a", age_seconds=10)
    runner = TestRunner(ListFile, {"Input Directory": str(tmp_path)})
    runner.run(2)
    assert names(runner) == ["b", "a"]
    assert int(runner.state["listing.timestamp"]) == int((NOW - 10) * 1e9)

    put(tmp_path / "same time", age_seconds=10)
    put(tmp_path / "newer", age_seconds=5)
    put(tmp_path / "missed", age_seconds=15)
    runner.run(2)

    assert names(runner) == ["b", "a", "same time", "newer"]


@pytest.mark.parametrize("strategy", ["timestamps", "entities"])
def test_a_crash_loses_and_repeats_no_listing(strategy: str, tmp_path: Path) -> None:
    for number in range(200):
        put(tmp_path / f"{number:03}")
    runner = TestRunner(
        ListFile, {"Input Directory": str(tmp_path), "Listing Strategy": strategy}
    )
    runner.run()
    put(tmp_path / "not durable", age_seconds=1)
    session = runner.engine.open_session(runner.component)
    runner.processor.on_trigger(session)
    session.commit()

    runner.crash()
    runner.run(2)

    assert names(runner) == [f"{number:03}" for number in range(200)] + ["not durable"]


def test_a_failed_trigger_forgets_nothing(tmp_path: Path) -> None:
    put(tmp_path / "a")
    runner = TestRunner(
        ListFile, {"Input Directory": str(tmp_path), "Listing Strategy": "entities"}
    )
    runner.start()
    session = runner.engine.open_session(runner.component)
    runner.processor.on_trigger(session)
    session.rollback()

    runner.run()

    assert names(runner) == ["a"]


def test_entities_find_old_times_and_changed_sizes(tmp_path: Path) -> None:
    put(tmp_path / "ancient", age_seconds=100_000)
    put(tmp_path / "a", b"1", age_seconds=10)
    runner = TestRunner(
        ListFile, {"Input Directory": str(tmp_path), "Listing Strategy": "entities"}
    )
    runner.run()
    assert names(runner) == ["ancient", "a"]

    put(tmp_path / "older", age_seconds=60)
    put(tmp_path / "a", b"12", age_seconds=10)
    put(tmp_path / "beyond the window", age_seconds=100_000)
    runner.run(2)

    assert names(runner)[2:] == ["older", "a"]


def test_the_first_listing_can_be_kept_to_the_window(tmp_path: Path) -> None:
    put(tmp_path / "ancient", age_seconds=100_000)
    put(tmp_path / "a")
    runner = TestRunner(
        ListFile,
        {
            "Input Directory": str(tmp_path),
            "Listing Strategy": "entities",
            "Entity Tracking Initial Listing Target": "window",
        },
    )

    runner.run()

    assert names(runner) == ["a"]


def test_without_tracking_everything_is_listed_each_time(tmp_path: Path) -> None:
    put(tmp_path / "a")
    runner = TestRunner(ListFile, {"Input Directory": str(tmp_path), "Listing Strategy": "none"})

    runner.run(2)

    assert names(runner) == ["a", "a"]
    assert runner.state == {}


def test_another_directory_starts_the_listing_over(tmp_path: Path) -> None:
    put(tmp_path / "one/new", age_seconds=1)
    put(tmp_path / "two/old", age_seconds=100)
    first = TestRunner(ListFile, {"Input Directory": str(tmp_path / "one")})
    second = TestRunner(ListFile, {"Input Directory": str(tmp_path / "two")})
    first.run()
    second.component.state = first.state

    second.run()

    assert names(second) == ["old"]


def test_with_coarse_times_a_file_waits_until_its_minute_is_over(tmp_path: Path) -> None:
    put(tmp_path / "a", age_seconds=0)
    runner = TestRunner(
        ListFile,
        {"Input Directory": str(tmp_path), "Target System Timestamp Precision": "minutes"},
    )
    runner.run()
    assert names(runner) == []

    runner.advance(60)
    runner.run()
    assert names(runner) == ["a"]


def test_a_slow_listing_is_a_warning(tmp_path: Path) -> None:
    put(tmp_path / "a")
    runner = TestRunner(
        ListFile,
        {"Input Directory": str(tmp_path), "Max Directory Listing Time": "2 sec"},
    )
    runner.start()
    accepts = type(runner.processor.properties).accepts

    class Slow:
        """The listing's own properties, with a filter for which time passes."""

        def __getattr__(self, name: str) -> object:
            return getattr(properties, name)

        def accepts(self, found: object, now: float) -> bool:
            runner.advance(3)
            return bool(accepts(properties, found, now))

    properties = runner.processor.properties
    runner.processor.properties = Slow()

    runner.run()

    assert [one.message for one in runner.bulletins] == [
        f"Listing '{tmp_path}' took 3 s; Max Directory Listing Time is 2 s."
    ]
    assert names(runner) == ["a"]


def test_a_flow_exported_by_nifi_is_accepted(tmp_path: Path) -> None:
    put(tmp_path / "a")
    runner = TestRunner(
        ListFile,
        {
            "Input Directory": str(tmp_path),
            "listing-strategy": "timestamps",
            "track-performance": "false",
            "max-performance-metrics": "100000",
            "max-operation-time": "10 secs",
            "max-listing-time": "3 mins",
            "et-node-identifier": "${hostname()}",
            "et-time-window": "3 hours",
            "et-initial-listing-target": "all",
        },
    )

    runner.run()

    assert names(runner) == ["a"]


def test_fetch_replaces_the_content_and_leaves_the_file(tmp_path: Path) -> None:
    path = put(tmp_path / "a b", b"\xff content")
    runner = TestRunner(FetchFile)
    runner.enqueue(b"before", {"absolute.path": str(tmp_path), "filename": "a b"})

    runner.run()

    assert runner.one("success").content == b"\xff content"
    assert runner.reported[-1][:2] == (EventType.FETCH, f"file://{tmp_path}/a%20b")
    assert path.exists()


def test_what_cannot_be_fetched_goes_where_its_cause_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = put(tmp_path / "locked")
    opened = os.open

    def refuse(path: object, *arguments: int) -> int:
        if path == str(locked):
            raise PermissionError(13, "Permission denied", path)
        return opened(path, *arguments)  # type: ignore[arg-type]  # passed on as it came

    runner = TestRunner(
        FetchFile, {"File to Fetch": "${file}", "Permission Denied Log Level": "INFO"}
    )
    runner.enqueue(b"kept", file=f"{tmp_path}/missing")
    runner.enqueue(b"kept", file=f"{tmp_path}/missing too")
    runner.enqueue(b"kept", file=f"{locked}/below")
    runner.enqueue(b"kept", file=str(locked))
    runner.enqueue(b"kept", file=str(tmp_path))
    runner.enqueue(b"kept")
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        runner.run()

    assert [one.content for one in runner.flowfiles("not.found")] == [b"kept"] * 3
    assert runner.one("permission.denied").penalized
    reasons = [one.reason for one in runner.flowfiles("failure")]
    assert reasons[0] is not None
    assert reasons[0].message == f"'{tmp_path}' is not a file; only files can be read"
    assert reasons[1] is not None
    assert reasons[1].message == "File to Fetch is empty for this flowfile; it must be a path"
    assert [one.level for one in runner.bulletins] == ["ERROR"]
    assert "and 2 more like it" in runner.bulletins[0].message


def test_a_fetched_file_is_deleted_once_durable(tmp_path: Path) -> None:
    path = put(tmp_path / "a", b"content")
    runner = TestRunner(
        FetchFile, {"File to Fetch": str(path), "Completion Strategy": "Delete File"}
    )
    runner.enqueue()
    runner.start()
    session = runner.engine.open_session(runner.component)
    runner.processor.on_trigger(session)
    assert path.exists()

    runner.engine.log.sync()

    assert not path.exists()
    assert runner.one("success").content == b"content"


def test_a_crash_before_durability_leaves_the_file(tmp_path: Path) -> None:
    path = put(tmp_path / "a", b"content")
    runner = TestRunner(
        FetchFile, {"File to Fetch": str(path), "Completion Strategy": "Delete File"}
    )
    runner.enqueue()
    runner.start()
    session = runner.engine.open_session(runner.component)
    runner.processor.on_trigger(session)

    runner.crash()
    assert path.exists()
    runner.run()

    assert runner.one("success").content == b"content"
    assert not path.exists()


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("Replace File", {"a.txt": b"new"}),
        ("Keep Existing", {"a.txt": b"old"}),
        ("Rename", {"a.txt": b"old", "a-UUID.txt": b"new"}),
    ],
)
def test_a_move_settles_conflicts(
    strategy: str, expected: dict[str, bytes], tmp_path: Path
) -> None:
    put(tmp_path / "in/a.txt", b"new")
    put(tmp_path / "done/a.txt", b"old")
    runner = move(tmp_path, strategy)

    runner.run()

    uuid = runner.one("success").uuid
    assert {
        path.name.replace(uuid, "UUID"): path.read_bytes()
        for path in (tmp_path / "done").iterdir()
    } == expected
    assert not (tmp_path / "in/a.txt").exists()


def test_a_move_that_must_not_meet_another_file_fails_before_fetching(tmp_path: Path) -> None:
    put(tmp_path / "in/a.txt", b"new")
    put(tmp_path / "done/a.txt", b"old")
    runner = move(tmp_path, "Fail")

    runner.run()

    reason = runner.one("failure").reason
    assert reason is not None
    assert reason.message.endswith("is not fetched: Move Conflict Strategy is Fail")
    assert (tmp_path / "in/a.txt").exists()


def test_a_file_that_appears_in_the_way_before_the_move_is_left(tmp_path: Path) -> None:
    put(tmp_path / "in/a.txt", b"new")
    runner = move(tmp_path, "Fail")
    runner.start()
    session = runner.engine.open_session(runner.component)
    runner.processor.on_trigger(session)
    put(tmp_path / "done/a.txt", b"late")

    runner.engine.log.sync()

    assert (tmp_path / "in/a.txt").exists()
    assert (tmp_path / "done/a.txt").read_bytes() == b"late"
    assert "exists already, so" in runner.bulletins[0].message


def test_a_move_creates_its_directory_or_says_why_not(tmp_path: Path) -> None:
    put(tmp_path / "in/a.txt", b"new")
    moved = move(tmp_path, "Fail")
    moved.run()
    assert (tmp_path / "done/a.txt").read_bytes() == b"new"

    put(tmp_path / "in/a.txt", b"new")
    for destination, message in (
        (f"{tmp_path}/done/a.txt", "does not exist and cannot be created: File exists"),
        ("${nothing}", "is empty for this flowfile; it must be a path"),
    ):
        runner = move(tmp_path, "Fail", destination)
        runner.run()
        reason = runner.one("failure").reason
        assert reason is not None
        assert message in reason.message


def test_a_destination_that_must_not_be_written_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "in/a.txt", b"new")
    runner = move(tmp_path, "Rename")
    monkeypatch.setattr(os, "access", lambda *arguments: False)

    runner.run()

    reason = runner.one("failure").reason
    assert reason is not None
    assert reason.message.endswith("must not be written to")


def test_a_move_needs_a_destination() -> None:
    runner = TestRunner(FetchFile, {"Completion Strategy": "Move File"})

    assert [str(one) for one in runner.problems] == [
        "property 'Move Destination Directory' is not set; it is required here"
    ]


def test_only_a_fetch_that_touches_the_file_writes_outside() -> None:
    assert TestRunner(FetchFile).component.effects is Effects.READS_OUTSIDE
    deleting = TestRunner(FetchFile, {"Completion Strategy": "Delete File"})
    assert deleting.component.effects is Effects.WRITES_OUTSIDE


def move(tmp_path: Path, strategy: str, destination: str = "") -> TestRunner:
    runner = TestRunner(
        FetchFile,
        {
            "Completion Strategy": "Move File",
            "Move Destination Directory": destination or f"{tmp_path}/done",
            "Move Conflict Strategy": strategy,
        },
    )
    runner.enqueue(b"", {"absolute.path": f"{tmp_path}/in", "filename": "a.txt"})
    return runner
