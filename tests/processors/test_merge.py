import io
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from processors.merge import DELIMITER_BYTES_MAX, MergeContent
from runtime.commit import EventType
from runtime.session import SessionError
from runtime.testing import Result, TestRunner, check_processor


def merged(runner: TestRunner) -> list[bytes]:
    return [one.content for one in runner.flowfiles("merged")]


def reasons(runner: TestRunner) -> set[str]:
    return {one.reason.message for one in runner.flowfiles("failure") if one.reason}


def merge_once(properties: dict[str, str], *contents: bytes, **attributes: str) -> Result:
    runner = TestRunner(MergeContent, properties)
    for content in contents:
        runner.enqueue(content, attributes)
    runner.run()
    return runner.one("merged")


def test_it_conforms() -> None:
    check_processor(MergeContent)


def test_what_waits_together_is_merged_when_nothing_more_comes() -> None:
    runner = TestRunner(MergeContent, {})
    for content in (b"a", b"", b"c"):
        runner.enqueue(content, kind="letter", own=content.decode())

    runner.run()

    result = runner.one("merged")
    assert result.content == b"ac"
    assert result.attributes["kind"] == "letter"
    assert "own" not in result.attributes
    assert result.attributes["merge.count"] == "3"
    assert result.attributes["merge.reason"] == "MIN_THRESHOLDS_REACHED"
    assert result.attributes["filename"] == result.uuid
    originals = runner.flowfiles("original")
    assert [one.content for one in originals] == [b"a", b"", b"c"]
    assert {one.attributes["merge.uuid"] for one in originals} == {result.uuid}
    assert runner.queued == 0
    assert runner.reported == [(EventType.JOIN, None, None)]


def test_a_bin_waits_for_its_minimum_over_triggers() -> None:
    runner = TestRunner(MergeContent, {"Minimum Number of Entries": "3"})
    for content in (b"1", b"2", b"3"):
        runner.assert_empty("merged")
        runner.enqueue(content)
        runner.run()

    assert merged(runner) == [b"123"]
    assert runner.queued == 0


def test_full_bins_are_merged_at_once_and_the_rest_waits() -> None:
    properties = {"Minimum Number of Entries": "4", "Maximum Number of Entries": "4"}
    runner = TestRunner(MergeContent, properties)
    for number in range(10):
        runner.enqueue(str(number).encode())

    runner.run()

    assert merged(runner) == [b"0123", b"4567"]
    reason = runner.flowfiles("merged")[0].attributes["merge.reason"]
    assert reason == "MAX_ENTRIES_THRESHOLD_REACHED"
    assert runner.queued == 2


def test_a_bin_does_not_pass_its_maximum_size() -> None:
    properties = {"Minimum Group Size": "9 B", "Maximum Group Size": "10 B"}
    runner = TestRunner(MergeContent, properties)
    for content in (b"12345", b"678", b"abcdef", b"90", b"much too large for a bin"):
        runner.enqueue(content)

    runner.run()

    by_reason = {one.attributes["merge.reason"]: one.content for one in runner.flowfiles("merged")}
    assert by_reason == {
        "MAX_BYTES_THRESHOLD_REACHED": b"1234567890",
        "UNSET": b"much too large for a bin",
    }
    assert runner.queued == 1


def test_a_bin_that_others_pass_by_is_merged_as_it_is() -> None:
    properties = {
        "Minimum Number of Entries": "2",
        "Minimum Group Size": "8 B",
        "Maximum Group Size": "10 B",
    }
    runner = TestRunner(MergeContent, properties)
    for content in (b"1234", b"5678", *[b"..."] * 6):
        runner.enqueue(content)
        runner.run()

    assert merged(runner)[0] == b"12345678"


def test_flowfiles_find_together_by_an_attribute() -> None:
    runner = TestRunner(MergeContent, {"Correlation Attribute Name": "city"})
    for content, city in ((b"o1", "Oslo"), (b"b1", "Bergen"), (b"o2", "Oslo")):
        runner.enqueue(content, city=city)
    runner.enqueue(b"nowhere")

    runner.run()

    assert sorted(merged(runner)) == [b"b1", b"nowhere", b"o1o2"]


@pytest.mark.parametrize("name", ["filename", "${by}"])
def test_the_attribute_can_be_a_core_one_or_chosen_by_an_expression(name: str) -> None:
    runner = TestRunner(MergeContent, {"Correlation Attribute Name": name})
    for content, filename in ((b"1", "a"), (b"2", "b"), (b"3", "a")):
        runner.enqueue(content, filename=filename, by="filename")

    runner.run()

    assert sorted(merged(runner)) == [b"13", b"2"]


def test_an_attribute_name_that_cannot_be_found_out_fails() -> None:
    name = "${a:padLeft(${length}, 'x')}"
    runner = TestRunner(MergeContent, {"Correlation Attribute Name": name})
    runner.enqueue(b"1", a="a", length="1")
    runner.enqueue(b"2", a="a", length="999999999")

    runner.run()

    assert runner.one("merged").content == b"1"
    reason = runner.one("failure").reason
    assert reason and reason.kind == "ExpressionError"


def test_the_oldest_bin_makes_room_for_another() -> None:
    properties = {
        "Correlation Attribute Name": "n",
        "Minimum Number of Entries": "9",
        "Maximum Number of Bins": "2",
    }
    runner = TestRunner(MergeContent, properties)
    for number in "123":
        runner.enqueue(number.encode(), n=number)

    runner.run()

    result = runner.one("merged")
    assert (result.content, result.attributes["merge.reason"]) == (b"1", "BIN_MANAGER_FULL")
    assert runner.queued == 2


def test_a_bin_that_is_too_old_is_merged_as_it_is() -> None:
    runner = TestRunner(
        MergeContent, {"Minimum Number of Entries": "9", "Max Bin Age": "30 sec"}
    )
    runner.enqueue(b"1")
    runner.run()
    assert runner.engine.scheduling.wakes[-1] == 30  # type: ignore[attr-defined]  # the test's own
    runner.advance(29)
    runner.enqueue(b"2")
    runner.run()
    runner.assert_empty("merged")

    runner.advance(1)
    runner.run()

    result = runner.one("merged")
    assert result.content == b"12"
    assert result.attributes["merge.reason"] == "TIMEOUT"
    assert result.attributes["merge.bin.age"] == "30000"


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("Last in Bin", [b"12!", b"34!"]),
        ("First in New Bin", [b"12", b"!34"]),
        ("Isolated", [b"12", b"!", b"34", b"!"]),
    ],
)
def test_a_flowfile_can_end_its_bin(place: str, expected: list[bytes]) -> None:
    properties = {
        "Bin Termination Check": "${end:equals('yes')}",
        "FlowFile Insertion Strategy": place,
        "Minimum Number of Entries": "9",
    }
    runner = TestRunner(MergeContent, properties)
    for content in (b"1", b"2", b"!", b"3", b"4", b"!"):
        runner.enqueue(content, end="yes" if content == b"!" else "no")

    runner.run()

    assert merged(runner) == expected
    assert {one.attributes["merge.reason"] for one in runner.flowfiles("merged")} == {
        "BIN_TERMINATION_SIGNAL"
    }


def test_a_batch_that_ends_with_a_sufficient_bin_asks_for_another_trigger() -> None:
    runner = TestRunner(MergeContent, {"Maximum Number of Entries": "5000"})
    for _ in range(1000):
        runner.enqueue(b"x")

    runner.run()
    runner.assert_empty("merged")
    assert runner.engine.scheduling.wakes == [0.0]  # type: ignore[attr-defined]  # the test's own
    runner.run()

    assert merged(runner) == [b"x" * 1000]


def test_all_attributes_that_do_not_contradict_can_be_kept() -> None:
    runner = TestRunner(MergeContent, {"Attribute Strategy": "Keep All Unique Attributes"})
    runner.enqueue(b"", a="1", b="1", c="1")
    runner.enqueue(b"", a="1", b="2", d="1")
    runner.enqueue(b"", b="1")

    runner.run()

    found = runner.one("merged").attributes
    assert {name: found.get(name) for name in "abcd"} == {"a": "1", "b": None, "c": "1", "d": "1"}


def test_a_common_mime_type_is_kept_and_another_is_not() -> None:
    assert merge_once({}, b"a", b"b", **{"mime.type": "text/csv"}).attributes["mime.type"] == (
        "text/csv"
    )
    assert merge_once({}, b"a").attributes["mime.type"] == "application/octet-stream"


# Fragments


def fragment(runner: TestRunner, index: str | None, count: str | None, group: str = "g") -> None:
    attributes = {"fragment.identifier": group, "segment.original.filename": "whole.txt"}
    if index is not None:
        attributes["fragment.index"] = index
    if count is not None:
        attributes["fragment.count"] = count
    runner.enqueue((index or "?").encode(), attributes)


def defragmenting(**properties: str) -> TestRunner:
    return TestRunner(MergeContent, {"Merge Strategy": "Defragment", **properties})


def test_fragments_come_together_in_their_order() -> None:
    runner = defragmenting()
    for index, count in (("10", None), ("2", "3"), ("1", None)):
        fragment(runner, index, count)
        runner.run()

    result = runner.one("merged")
    assert result.content == b"1210"
    assert result.attributes["filename"] == "whole.txt"
    assert runner.queued == 0


def test_fragments_of_several_groups_do_not_mix() -> None:
    runner = defragmenting()
    for index in ("0", "1"):
        for group in ("a", "b"):
            fragment(runner, index, "2", group)

    runner.run()

    assert merged(runner) == [b"01", b"01"]


def test_an_incomplete_set_fails_when_its_time_is_over() -> None:
    runner = defragmenting(**{"Max Bin Age": "1 min"})
    fragment(runner, "0", "3")
    fragment(runner, "0", "3")
    runner.run()
    runner.assert_empty("merged", "failure")

    runner.advance(60)
    runner.run()

    assert len(runner.flowfiles("failure")) == 2
    assert reasons(runner) == {"Of 'g' there are 1 fragments, not 3"}


@pytest.mark.parametrize(
    ("fragments", "message"),
    [
        (
            [(None, "1")],
            "A fragment of 'g' has the attribute 'fragment.index' = none; it must be a whole "
            "number",
        ),
        (
            [("first", "1")],
            "A fragment of 'g' has the attribute 'fragment.index' = 'first'; it must be a whole "
            "number",
        ),
        ([("0", None)], "No fragment of 'g' has the attribute 'fragment.count'"),
        (
            [("0", "many")],
            "A fragment of 'g' has the attribute 'fragment.count' = 'many'; it must be a whole "
            "number",
        ),
        ([("0", "3"), ("1", "2")], "The fragments of 'g' disagree on 'fragment.count': 2, 3"),
        ([("0", "0")], "Of 'g' there are 1 fragments, not 0"),
    ],
)
def test_fragments_with_wrong_attributes_fail(
    fragments: list[tuple[str | None, str | None]], message: str
) -> None:
    runner = defragmenting(**{"Max Bin Age": "1 min"})
    for index, count in fragments:
        fragment(runner, index, count)
    runner.run()
    runner.advance(60)
    runner.run()

    assert reasons(runner) == {message}
    assert len(runner.flowfiles("failure")) == len(fragments)
    assert runner.queued == 0


def test_a_flowfile_that_is_no_fragment_fails() -> None:
    runner = defragmenting()
    runner.enqueue(b"alone")

    runner.run()

    assert reasons(runner) == {"The attribute 'fragment.identifier' is missing"}


# Formats


def test_delimiters_are_texts_with_expressions() -> None:
    properties = {
        "Delimiter Strategy": "Text",
        "Header": "<${name}>",
        "Demarcator": "|",
        "Footer": "é",
    }

    assert merge_once(properties, b"a", b"", b"\xff", name="n").content == b"<n>a||\xff\xc3\xa9"


def test_delimiters_can_be_files(tmp_path: Path) -> None:
    (tmp_path / "between").write_bytes(b"\0")
    properties = {"Delimiter Strategy": "Filename", "Demarcator": str(tmp_path / "between")}

    assert merge_once(properties, b"a", b"b").content == b"a\0b"


def test_a_delimiter_file_must_exist_and_be_small(tmp_path: Path) -> None:
    by_name = {"Delimiter Strategy": "Filename"}
    (problem,) = TestRunner(MergeContent, {**by_name, "Header": "/no/such"}).problems
    assert (problem.property, problem.message) == ("Header", "is '/no/such'; there is no such file")

    (tmp_path / "large").write_bytes(bytes(DELIMITER_BYTES_MAX + 1))
    runner = TestRunner(MergeContent, {**by_name, "Header": f"{tmp_path}/${{which}}"})
    runner.enqueue(b"", which="large")
    runner.run()
    runner.enqueue(b"", which="missing")
    runner.run()

    large, missing = runner.flowfiles("failure")
    assert large.reason and "is longer than 1,048,576 bytes" in large.reason.message
    assert missing.reason and missing.reason.kind == "FileNotFoundError"


def test_contents_of_all_sizes_are_concatenated() -> None:
    contents = [os.urandom(size) for size in (0, 10, 70_000, 65_536, 3_000_000, 5, 0)]
    contents += [os.urandom(60_000) for _ in range(40)]

    result = merge_once({"Delimiter Strategy": "Text", "Demarcator": "--"}, *contents)

    assert result.content == b"--".join(contents)


def test_a_tar_has_an_entry_for_each() -> None:
    runner = TestRunner(MergeContent, {"Merge Format": "TAR", "Keep Path": "true"})
    large = os.urandom(200_000)
    runner.enqueue(b"one", {"filename": "a.txt", "path": "./x/y/", "tar.permissions": "750"})
    runner.enqueue(large, {"filename": "n" * 200, "tar.permissions": "999"})
    runner.enqueue(b"", {"filename": "empty", "file.lastModifiedTime": "2024-05-06T07:08:09Z"})

    runner.run()

    result = runner.one("merged")
    assert result.attributes["filename"] == result.uuid + ".tar"
    assert result.attributes["mime.type"] == "application/tar"
    with tarfile.open(fileobj=io.BytesIO(result.content)) as archive:
        first, second, third = archive.getmembers()
        assert (first.name, first.mode) == ("x/y/a.txt", 0o750)
        assert (second.name, second.mode) == ("n" * 200, 0o644)
        assert (third.name, third.mtime) == ("empty", 1714979289)
        read = [archive.extractfile(one) for one in (first, second, third)]
        assert [one.read() for one in read if one] == [b"one", large, b""]


def test_a_zip_has_an_entry_for_each_name() -> None:
    runner = TestRunner(MergeContent, {"Merge Format": "ZIP", "Compression Level": "9"})
    large = bytes(300_000)
    for content, name in ((b"one", "a"), (large, "b"), (b"again", "a")):
        runner.enqueue(content, filename=name)

    runner.run()

    result = runner.one("merged")
    assert result.attributes["filename"].endswith(".zip")
    assert len(result.content) < 2000
    with zipfile.ZipFile(io.BytesIO(result.content)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "a": b"one", "b": large,
        }  # fmt: skip
    assert runner.one("failure").content == b"again"
    assert reasons(runner) == {"Another flowfile of its bin has the same name in the archive"}
    assert len(runner.flowfiles("original")) == 3


def unpacked(data: bytes, magic: bytes) -> list[tuple[dict[str, str], bytes]]:
    stream = io.BytesIO(data)

    def length() -> int:
        (short,) = struct.unpack(">H", stream.read(2))
        return int(struct.unpack(">I", stream.read(4))[0]) if short == 0xFFFF else int(short)

    found = []
    while stream.tell() < len(data):
        assert stream.read(len(magic)) == magic
        texts = [stream.read(length()).decode() for _ in range(2 * length())]
        (size,) = struct.unpack(">Q", stream.read(8))
        found.append((dict(zip(texts[::2], texts[1::2], strict=True)), stream.read(size)))
    return found


@pytest.mark.parametrize(("version", "magic"), [(3, b"NiFiFF3"), (2, b"")])
def test_a_flowfile_stream_has_attributes_and_contents(version: int, magic: bytes) -> None:
    runner = TestRunner(MergeContent, {"Merge Format": f"FlowFile Stream, v{version}"})
    runner.enqueue(b"one", filename="a", long="x" * 70_000, name="é")
    runner.enqueue(bytes(100_000), filename="b")

    runner.run()

    result = runner.one("merged")
    (first, content), (second, zeros) = unpacked(result.content, magic)
    assert (content, zeros) == (b"one", bytes(100_000))
    assert first["filename"] == "a" and len(first["long"]) == 70_000 and first["name"] == "é"
    assert set(second) == {"filename", "path", "uuid"}
    assert result.attributes["mime.type"] == f"application/flowfile-v{version}"
    assert result.attributes["filename"].endswith(".pkg")


# Crash, stop, errors


def test_a_crash_merges_nothing_twice_and_loses_nothing() -> None:
    runner = TestRunner(MergeContent, {"Minimum Number of Entries": "3"})
    runner.enqueue(b"1")
    runner.enqueue(b"2")
    runner.run()

    runner.crash()
    assert runner.queued == 2
    runner.run()
    runner.enqueue(b"3")
    runner.run()
    runner.crash()
    runner.run()

    assert merged(runner) == [b"123"]
    assert runner.queued == 0


def test_a_stop_returns_what_waits() -> None:
    runner = TestRunner(MergeContent, {"Minimum Number of Entries": "3"})
    runner.enqueue(b"1")
    runner.run()
    runner.stop()
    runner.enqueue(b"2")
    runner.enqueue(b"3")

    runner.run()

    assert merged(runner) == [b"123"]


def test_an_error_in_a_trigger_forgets_all_bins() -> None:
    runner = TestRunner(MergeContent, {"Minimum Number of Entries": "3"})
    runner.enqueue(b"1")
    runner.run()
    runner.enqueue(b"2")
    writes = runner.engine.content.read_many
    runner.engine.content.read_many = _broken  # type: ignore[method-assign]  # a disk that fails
    runner.enqueue(b"3")
    with pytest.raises(OSError, match="the disk is gone"):
        runner.run()
    runner.engine.content.read_many = writes  # type: ignore[method-assign]  # it works again

    runner.advance(60)
    runner.run()

    assert sorted(merged(runner)[0]) == sorted(b"123")
    assert runner.queued == 0


def _broken(claims: object) -> list[bytes]:
    raise OSError("the disk is gone")


def test_bins_that_know_more_than_was_committed_heal() -> None:
    runner = TestRunner(MergeContent, {"Minimum Number of Entries": "2"})
    runner.enqueue(b"1")
    runner.start()
    session = runner.engine.open_session(runner.component)
    runner.processor.on_trigger(session)
    session.rollback()
    runner.engine.close_session(session)

    with pytest.raises(SessionError, match="is not held by MergeContent"):
        runner.run()
    runner.advance(60)
    runner.enqueue(b"2")
    runner.run()

    assert sorted(merged(runner)[0]) == sorted(b"12")
    assert runner.queued == 0


@pytest.mark.parametrize(
    ("properties", "name", "message"),
    [
        (
            {"Minimum Number of Entries": "5", "Maximum Number of Entries": "4"},
            "Maximum Number of Entries",
            "is 4; it must be at least Minimum Number of Entries, which is 5",
        ),
        (
            {"Minimum Group Size": "5 KB", "Maximum Group Size": "4 KB"},
            "Maximum Group Size",
            "is 4096 B; it must be at least Minimum Group Size, which is 5120 B",
        ),
        ({"Max Bin Age": "10 ms"}, "Max Bin Age", "is 10 ms; it must be at least 1 sec"),
    ],
)
def test_limits_must_fit_each_other(properties: dict[str, str], name: str, message: str) -> None:
    (problem,) = TestRunner(MergeContent, properties).problems

    assert (problem.property, problem.message) == (name, message)


def test_large_batches_are_merged_completely() -> None:
    properties = {
        "Correlation Attribute Name": "group",
        "Maximum Number of Bins": "20",
        "Maximum Number of Entries": "130",
    }
    runner = TestRunner(MergeContent, properties)
    for number in range(1200):
        runner.enqueue(b"%05d" % number, group=str(number % 5))

    runner.run_until_idle()

    parts = [content[i : i + 5] for content in merged(runner) for i in range(0, len(content), 5)]
    assert sorted(parts) == [b"%05d" % number for number in range(1200)]
    assert runner.outputs["original"].count == 1200
