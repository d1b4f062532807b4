"""A node and its flow file, through starts, edits, reloads and conflicts."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from runtime.flow_binding import BindingError, ChangedOutsideError
from runtime.flow_home import (
    FlowConflictError,
    FlowFile,
    FlowInvalidError,
    bound_file,
    check_overrides,
)
from runtime.model import FlowModel
from runtime.node import Node
from runtime.parameters import ParameterError
from tests.home_world import FLOW, make_home, open_node


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_home(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def file(home: Path) -> Path:
    return home.parent / "flow.yaml"


@pytest.fixture
def node(home: Path) -> Iterator[Node]:
    node = open_node(home)
    yield node
    node.stop()


def renamed(flow: FlowModel, name: str) -> FlowModel:
    return msgspec.structs.replace(flow, name=name)


def edit(node: Node, name: str) -> None:
    node.controller.edit(renamed(node.flow, name), user="ada", note="a new name")


def test_a_fresh_home_adopts_the_file_as_its_first_revision(node: Node, file: Path) -> None:
    assert FlowFile(node, file).open() == []

    assert (node.flow.name, node.flow.revision) == ("numbers", 1)
    assert bound_file(node.home.path) == file
    assert file.read_text() == FLOW


def test_a_home_that_never_had_a_file_is_bound_to_none(node: Node) -> None:
    assert bound_file(node.home.path) is None


def test_an_unchanged_file_is_left_alone_at_the_next_start(home: Path, file: Path) -> None:
    first = open_node(home)
    FlowFile(first, file).open()
    first.stop()
    second = open_node(home)
    try:
        assert FlowFile(second, file).open() == []
        assert second.flow.revision == 1
    finally:
        second.stop()


def test_a_file_that_changed_alone_becomes_a_revision_and_is_told(node: Node, file: Path) -> None:
    FlowFile(node, file).open()
    file.write_text(FLOW.replace("type: Number", "type: Number\n    properties: {Count: 7}"))

    lines = FlowFile(node, file).open()

    assert lines[0] == f"{file} changed; it is revision 2 now:"
    assert lines[1:] == ["  number: property 'Count' (none) -> 7"]
    assert node.flow.revision == 2


def test_an_edit_is_written_back_and_comments_stay(node: Node, file: Path) -> None:
    bound = FlowFile(node, file)
    bound.open()
    edit(node, "renamed")

    assert bound.write() == [f"The flow was written to {file}"]
    assert file.read_text() == FLOW.replace("name: numbers", "name: renamed")
    assert FlowFile(node, file).open() == []


@pytest.mark.slow
def test_an_edit_is_written_by_another_process_alike(node: Node, file: Path) -> None:
    bound = FlowFile(node, file)
    bound.open()
    edit(node, "renamed")

    asyncio.run(bound.write_aside())

    assert file.read_text() == FLOW.replace("name: numbers", "name: renamed")
    assert bound.open() == [] and node.flow.revision == 2


@pytest.mark.parametrize("aside", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_file_changed_outside_is_not_overwritten(node: Node, file: Path, aside: bool) -> None:
    bound = FlowFile(node, file)
    bound.open()
    edit(node, "renamed")
    file.write_text(FLOW + "# mine\n")

    with pytest.raises(ChangedOutsideError, match="was changed outside; nothing was written"):
        if aside:
            asyncio.run(bound.write_aside())
        else:
            bound.write()

    assert file.read_text() == FLOW + "# mine\n"


def test_a_home_that_changed_alone_is_written_at_start(node: Node, file: Path) -> None:
    FlowFile(node, file).open()
    edit(node, "renamed")

    assert FlowFile(node, file).open() == [f"The flow was written to {file}"]
    assert "name: renamed" in file.read_text()


def test_a_missing_file_is_written_again(node: Node, file: Path) -> None:
    FlowFile(node, file).open()
    file.unlink()

    assert FlowFile(node, file).open() == [f"The flow was written to {file}"]
    assert "type: Number" in file.read_text()


def conflict(node: Node, file: Path) -> FlowFile:
    bound = FlowFile(node, file)
    bound.open()
    edit(node, "from the home")
    file.write_text(FLOW.replace("name: numbers", "name: from the file"))
    return bound


def test_a_conflict_shows_the_difference_and_both_ways_out(node: Node, file: Path) -> None:
    bound = conflict(node, file)

    with pytest.raises(FlowConflictError) as caught:
        bound.open()

    assert str(caught.value) == (
        f"{file} and the flow in the home {node.home.path} both changed. From home to file:\n"
        "  the flow: name from the home -> from the file\n"
        "Decide with --take file or --take home"
    )
    assert node.flow.name == "from the home" and "from the file" in file.read_text()


def test_taking_the_file_makes_it_a_revision(node: Node, file: Path) -> None:
    lines = conflict(node, file).open("file")

    assert lines[0] == f"{file} changed; it is revision 3 now:"
    assert node.flow.name == "from the file"
    assert FlowFile(node, file).open() == []


def test_taking_the_home_writes_it_over_the_file(node: Node, file: Path) -> None:
    assert conflict(node, file).open("home") == [f"The flow was written to {file}"]

    assert file.read_text() == FLOW.replace("name: numbers", "name: from the home")
    assert node.flow.revision == 2
    assert FlowFile(node, file).open() == []


@pytest.mark.parametrize("text", ["levada: [", "levada: 1\nflow: {a: {type: Nothing}}\n"])
def test_taking_the_home_needs_no_flow_in_the_file(node: Node, file: Path, text: str) -> None:
    FlowFile(node, file).open()
    file.write_text(text)

    assert FlowFile(node, file).open("home") == [f"The flow was written to {file}"]
    assert "type: Number" in file.read_text()


def test_taking_a_file_that_agrees_changes_nothing(node: Node, file: Path) -> None:
    FlowFile(node, file).open()

    assert FlowFile(node, file).open("file") == []
    assert node.flow.revision == 1


def test_taking_a_home_without_a_flow_would_empty_the_file(node: Node, file: Path) -> None:
    with pytest.raises(FlowConflictError, match="has no flow yet, and --take home would empty .*"
                       "flow.yaml. Leave --take out"):  # fmt: skip
        FlowFile(node, file).open("home")

    assert file.read_text() == FLOW


def test_neither_file_nor_flow_is_refused(node: Node, tmp_path: Path) -> None:
    with pytest.raises(FlowConflictError) as caught:
        FlowFile(node, tmp_path / "none.yaml").open()

    assert str(caught.value) == (
        f"The flow file {tmp_path}/none.yaml does not exist, and the home {node.home.path} has no "
        "flow yet. Name an existing file"
    )


def test_another_file_is_refused_and_both_are_named(node: Node, file: Path) -> None:
    FlowFile(node, file).open()
    other = file.with_name("other.yaml")
    other.write_text(FLOW.replace("name: numbers", "name: others"))

    with pytest.raises(FlowConflictError) as caught:
        FlowFile(node, other).open()

    assert str(caught.value) == (
        f"The home {node.home.path} has the flow of {file}, which is another one than {other}. "
        "From home to file:\n"
        "  the flow: name numbers -> others\n"
        f"Choose another home with --home, or decide: --take file gives this home the flow of "
        f"{other}, --take home writes the home's flow over that file"
    )
    assert bound_file(node.home.path) == file


def test_a_file_is_another_one_than_a_flow_that_never_had_any(node: Node, file: Path) -> None:
    edit(node, "made on the canvas")

    with pytest.raises(FlowConflictError, match="has a flow of its own, which is another one"):
        FlowFile(node, file).open()


def test_another_file_with_the_same_flow_becomes_the_bound_one(node: Node, file: Path) -> None:
    FlowFile(node, file).open()
    other = file.with_name("other.yaml")
    other.write_text("# Moved.\n" + FLOW)

    assert FlowFile(node, other).open() == []
    assert bound_file(node.home.path) == other
    assert node.flow.revision == 1


def test_a_file_with_mistakes_is_refused_with_all_of_them(node: Node, file: Path) -> None:
    file.write_text(FLOW.replace("type: Number", "type: Numbr").replace("failure: hold", "oops: x"))

    with pytest.raises(FlowInvalidError) as caught:
        FlowFile(node, file).open()

    assert str(caught.value).startswith(f"{file} has {len(caught.value.problems)} problems:\nLV-0")
    assert {"LV-016", "LV-018"} <= {one.code for one in caught.value.problems}
    assert node.flow.revision == 0


def test_a_directory_in_place_of_the_file_is_explained(node: Node, tmp_path: Path) -> None:
    with pytest.raises(BindingError, match="cannot be read .Is a directory.; check the path"):
        FlowFile(node, tmp_path).open()


def test_a_damaged_bond_asks_again_instead_of_guessing(node: Node, file: Path) -> None:
    bound = FlowFile(node, file)
    bound.open()
    (node.home.path / "flow.json").write_text("{")

    assert bound_file(node.home.path) is None
    assert bound.open() == []
    assert bound_file(node.home.path) == file


def test_a_parameter_that_the_flow_lacks_is_refused(node: Node, file: Path) -> None:
    FlowFile(node, file).open()

    with pytest.raises(ParameterError, match="speed"):
        check_overrides(node.flow, {"speed": "1"})
