import pytest

from processors.split_text import BLOCK_BYTES, SplitText
from runtime.properties import Problem
from runtime.testing import TestRunner, check_processor


def split(content, properties):
    runner = TestRunner(SplitText, properties)
    assert runner.problems == []
    runner.enqueue(content, filename="a.txt")
    runner.run_until_idle()
    return runner


def fragments(runner):
    return [one for run in runner.outputs["splits"].runs() for one in run.flowfiles]


def contents(runner):
    return [runner.read(one.claim) for one in fragments(runner)]


def lines(count, **more):
    return {"Line Split Count": str(count)} | {
        name.replace("_", " ").title(): str(value).lower() for name, value in more.items()
    }


def test_processor_keeps_the_rules():
    check_processor(SplitText)


def test_fragments_know_each_other_and_their_original():
    runner = split(b"a\nbc\nd\n", lines(2))

    first, second = runner.flowfiles("splits")
    original = runner.one("original")
    assert (first.content, second.content) == (b"a\nbc", b"d")
    assert first.attributes["fragment.index"] == "1"
    assert second.attributes["fragment.index"] == "2"
    assert first.attributes["fragment.size"] == "4"
    assert first.attributes["text.line.count"] == "2"
    assert second.attributes["text.line.count"] == "1"
    for one in (first, second):
        assert one.attributes["fragment.count"] == "2"
        assert one.attributes["segment.original.filename"] == "a.txt"
        identifier = one.attributes["fragment.identifier"]
        assert identifier == original.attributes["fragment.identifier"]
    assert original.attributes["fragment.count"] == "2"
    assert original.content == b"a\nbc\nd\n"


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_end_is_known(end):
    content = end.join([b"a", b"b", b"", b"c", b""])

    assert contents(split(content, lines(1))) == [b"a", b"b", b"c"]
    assert contents(split(content, lines(2, remove_trailing_newlines=False))) == [
        b"a" + end + b"b" + end,
        end + b"c" + end,
    ]


def test_empty_lines_at_the_end_of_a_fragment_are_removed():
    runner = split(b"1\n2\n\n\n\n\n3\n", lines(3))

    assert contents(runner) == [b"1\n2", b"3"]
    assert [one.attributes["text.line.count"] for one in runner.flowfiles("splits")] == ["2", "1"]


def test_empty_lines_at_the_start_of_a_fragment_stay():
    assert contents(split(b"1\n2\n3\n\n\n4\n", lines(3))) == [b"1\n2\n3", b"\n\n4"]


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n\r\n"])
def test_content_without_text_gives_no_fragments(content):
    runner = split(content, lines(1))

    assert contents(runner) == []
    assert runner.one("original").attributes["fragment.count"] == "0"


def test_header_lines_stand_before_every_fragment():
    runner = split(b"H1\nH2\n1\n2\n3\n\n\n\n4\n", lines(3, header_line_count=2))

    assert contents(runner) == [b"H1\nH2\n1\n2\n3", b"H1\nH2", b"H1\nH2\n4"]
    assert [one.attributes["text.line.count"] for one in runner.flowfiles("splits")] == [
        "3",
        "0",
        "1",
    ]
    sizes = [one.attributes["fragment.size"] for one in runner.flowfiles("splits")]
    assert sizes == ["11", "5", "7"]


def test_header_may_be_known_by_how_it_starts():
    runner = split(b"#a\n#b\n1\n#2\n3\n", lines(1, header_line_marker_characters="#"))

    assert contents(runner) == [b"#a\n#b\n1", b"#a\n#b\n#2", b"#a\n#b\n3"]


def test_header_that_is_counted_needs_no_mark():
    properties = lines(2, header_line_count=1, header_line_marker_characters="#")

    assert contents(split(b"#a\n#b\n1\n", properties)) == [b"#a\n#b\n1"]


@pytest.mark.parametrize(("trim", "expected"), [(True, b"H1\nH2"), (False, b"H1\nH2\n")])
def test_content_that_is_only_header_is_one_fragment(trim, expected):
    properties = lines(2, header_line_count=2, remove_trailing_newlines=trim)
    runner = split(b"H1\nH2\n", properties)

    assert contents(runner) == [expected]
    assert runner.one("splits").attributes["text.line.count"] == "0"


def test_incomplete_header_fails():
    runner = split(b"H1\n", lines(1, header_line_count=2))

    failed = runner.one("failure")
    assert failed.reason.message == (
        "The content has 1 lines, its header should have 2. "
        "Lower the Header Line Count, or look at where the content comes from"
    )
    runner.assert_empty("splits", "original")


def test_empty_content_has_no_header_to_miss():
    runner = split(b"", lines(1, header_line_count=2))

    assert contents(runner) == []
    assert runner.one("original").content == b""


def test_header_larger_than_a_fragment_fails():
    properties = lines(1, header_line_count=1, maximum_fragment_size="4 B")
    runner = split(b"header\n1\n", properties)

    assert runner.one("failure").reason.message.startswith(
        "The header has more than 4 bytes, the Maximum Fragment Size."
    )


def test_fragments_end_before_they_get_too_large():
    properties = lines(0, maximum_fragment_size="6 B", remove_trailing_newlines=False)

    assert contents(split(b"ab\ncd\nef\nghijklmnop\nq\n", properties)) == [
        b"ab\ncd\n",
        b"ef\n",
        b"ghijklmnop\n",
        b"q\n",
    ]


def test_size_counts_the_header_and_whichever_limit_is_reached_first_holds():
    properties = lines(
        2, header_line_count=1, maximum_fragment_size="9 B", remove_trailing_newlines=False
    )

    assert contents(split(b"H\n1\n2\n3\n44444444\n5\n", properties)) == [
        b"H\n1\n2\n",
        b"H\n3\n",
        b"H\n44444444\n",
        b"H\n5\n",
    ]


def test_bytes_that_are_not_text_stay_as_they_are():
    assert contents(split(b"\xff\x00\n\xfe\n", lines(1))) == [b"\xff\x00", b"\xfe"]


@pytest.mark.parametrize("header", [0, 1])
@pytest.mark.parametrize(("width", "step"), [(10, 200), (10_000, 20)])
def test_large_content_is_split_like_a_small_one(header, width, step):
    texts = [b"%05d " % number + b"x" * width for number in range(3 * BLOCK_BYTES // width // 2)]
    runner = split(b"\r\n".join(texts) + b"\r\n", lines(step, header_line_count=header))

    before = b"\r\n".join(texts[:header] + [b""]) if header else b""
    bodies = texts[header:]
    assert contents(runner) == [
        before + b"\r\n".join(bodies[start : start + step]) for start in range(0, len(bodies), step)
    ]


def test_fragment_larger_than_a_block_is_streamed():
    long = b"y" * (2 * BLOCK_BYTES + 5)
    runner = split(b"H\n1\n" + long + b"\n2\n", lines(1, header_line_count=1))

    assert contents(runner) == [b"H\n1", b"H\n" + long, b"H\n2"]


def test_long_fragments_of_a_large_content_share_its_bytes():
    texts = [b"z" * 100_000 for _ in range(15)]
    runner = split(b"\n".join(texts), lines(1))

    segment = runner.one("original").flowfile.claim.segment
    assert {one.claim.segment for one in fragments(runner)} == {segment}
    assert contents(runner) == texts


def test_very_many_fragments_are_made_in_several_commits_and_survive_a_crash():
    runner = TestRunner(SplitText, lines(1))
    runner.enqueue(b"".join(b"%d\n" % number for number in range(5000)))
    runner.enqueue(b"last\n")
    runner.run()
    assert 0 < len(fragments(runner)) < 5000
    runner.assert_empty("original")

    runner.crash()
    runner.run_until_idle()

    expected = [b"%d" % number for number in range(5000)] + [b"last"]
    assert contents(runner) == expected
    splits = fragments(runner)[:5000]
    assert [one.attributes["fragment.index"] for one in splits] == [
        str(index) for index in range(1, 5001)
    ]
    assert len({one.attributes["fragment.identifier"] for one in splits}) == 1
    assert len(runner.flowfiles("original")) == 2


def test_something_must_limit_a_fragment():
    message = (
        "property 'Maximum Fragment Size' is not set; it is required where 'Line Split Count' is 0"
    )
    assert TestRunner(SplitText, lines(0)).problems == [Problem("", message)]
    assert TestRunner(SplitText, lines(0, maximum_fragment_size="1 KB")).problems == []
