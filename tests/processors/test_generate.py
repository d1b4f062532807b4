from processors.generate import CHUNK_BYTES, GenerateFlowFile
from runtime.commit import EventType
from runtime.properties import Problem
from runtime.testing import TestRunner, check_processor


def test_it_conforms() -> None:
    check_processor(GenerateFlowFile)


def test_by_default_one_empty_flowfile_is_made() -> None:
    runner = TestRunner(GenerateFlowFile)

    runner.run()

    assert runner.one("success").content == b""
    assert runner.reported == [(EventType.CREATE, None, None)]


def test_custom_text_and_attributes_are_evaluated_once_a_run() -> None:
    runner = TestRunner(
        GenerateFlowFile,
        {
            "Custom Text": "Grüße an ${literal('alle')}",
            "Character Set": "ISO-8859-1",
            "Mime Type": "text/plain",
            "Batch Size": "3",
            "File Size": "5 MB",
            "greeting": "${literal('hello'):toUpper()}",
        },
    )

    runner.run()

    results = runner.flowfiles("success")
    assert [one.content for one in results] == ["Grüße an alle".encode("latin-1")] * 3
    assert results[2].attributes["greeting"] == "HELLO"
    assert results[2].attributes["mime.type"] == "text/plain"


def test_flowfiles_share_random_text_unless_they_are_to_be_unique() -> None:
    alike = TestRunner(GenerateFlowFile, {"File Size": "100 B", "Batch Size": "2"})
    unique = TestRunner(
        GenerateFlowFile,
        {"File Size": "100 B", "Batch Size": "2", "Unique FlowFiles": "true"},
    )

    alike.run(2)
    unique.run()

    contents = {one.content for one in alike.flowfiles("success")}
    assert len(contents) == 1
    assert contents.pop().decode("ascii").__len__() == 100
    assert len({one.content for one in unique.flowfiles("success")}) == 2


def test_large_random_content_is_the_same_for_all_that_share_it() -> None:
    size = 2 * CHUNK_BYTES + 17
    runner = TestRunner(
        GenerateFlowFile, {"File Size": f"{size} B", "Batch Size": "2", "Data Format": "Binary"}
    )

    runner.run()

    first, second = runner.flowfiles("success")
    assert len(first.content) == size
    assert first.content == second.content
    assert len(set(first.content)) == 256


def test_custom_text_refuses_what_contradicts_it() -> None:
    for name, value in (("Data Format", "Binary"), ("Unique FlowFiles", "true")):
        runner = TestRunner(GenerateFlowFile, {"Custom Text": "x", name: value})
        assert [one.message for one in runner.problems] == [
            "property 'Custom Text' is set; it needs Data Format 'Text' and "
            "Unique FlowFiles 'false'"
        ]


def test_values_that_mean_nothing_are_named() -> None:
    runner = TestRunner(
        GenerateFlowFile, {"File Size": "many", "Character Set": "klingon", "Batch Size": "0"}
    )

    assert set(runner.problems) == {
        Problem("File Size", "is 'many'; it must be a size such as '512 B', '10 MB' or '1 GB'"),
        Problem(
            "Character Set",
            "is 'klingon'; it must be a character set such as 'UTF-8', 'ISO-8859-1' or 'UTF-16'",
        ),
        Problem("Batch Size", "is '0'; it must be at least 1"),
    }


def test_names_of_older_flows_are_understood() -> None:
    runner = TestRunner(GenerateFlowFile, {"generate-ff-custom-text": "old"})

    runner.run()

    assert runner.one("success").content == b"old"
