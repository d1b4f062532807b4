"""Which types a node has: packages, and files that come and change while it runs."""

import os
from pathlib import Path

import pytest

from runtime.processor import ControllerService, Processor
from runtime.registry import ExtensionProblem, Registry

SHOUT = '''
from levada import Effects, Processor, Relationship

class Shout(Processor):
    """{summary}"""
    effects = Effects.PURE
    success = Relationship("Loud ones.")
'''
SERVICE = '''
from runtime.processor import ControllerService

class Ledger(ControllerService):
    """Keeps accounts."""
'''


def _write(path: Path, text: str, *, age: int = 0) -> str:
    """Write a file that looks `age` seconds younger than the last one."""
    path.write_text(text)
    os.utime(path, (1_700_000_000 + age, 1_700_000_000 + age))
    return str(path)


def test_the_installed_package_is_found_by_its_entry_point() -> None:
    registry = Registry()

    assert registry.problems == []
    assert registry.processor("RouteOnAttribute") is registry.processors()["RouteOnAttribute"]
    assert registry.origin("RouteOnAttribute") == "processors.route"
    assert list(registry.processors()) == sorted(registry.processors())


def test_a_qualified_name_means_the_simple_one() -> None:
    registry = Registry()
    found = registry.processor("org.apache.nifi.processors.standard.RouteOnAttribute")
    assert found is not None
    assert found is registry.processor("RouteOnAttribute")


def test_a_file_dropped_into_the_directory_is_found_while_the_node_runs(tmp_path: Path) -> None:
    registry = Registry([], [tmp_path])
    assert registry.processors() == {}

    origin = _write(tmp_path / "shout.py", SHOUT.format(summary="Say it aloud."))
    assert registry.refresh() == ["Shout"]
    assert registry.refresh() == []
    assert registry.origin("Shout") == origin


def test_a_changed_file_replaces_its_type(tmp_path: Path) -> None:
    _write(tmp_path / "shout.py", SHOUT.format(summary="Say it aloud."))
    registry = Registry([], [tmp_path])

    _write(tmp_path / "shout.py", SHOUT.format(summary="Cry."), age=1)
    assert registry.refresh() == ["Shout"]

    found = registry.processor("Shout")
    assert found is not None
    assert found.__doc__ == "Cry."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class:", "SyntaxError: invalid syntax (broken.py, line 1)"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_broken_file_is_reported_and_the_others_are_kept(
    tmp_path: Path, text: str, message: str
) -> None:
    broken = _write(tmp_path / "broken.py", text)
    _write(tmp_path / "shout.py", SHOUT.format(summary="Say it aloud."))

    registry = Registry([], [tmp_path])

    assert list(registry.processors()) == ["Shout"]
    assert registry.problems == [ExtensionProblem(broken, message)]


def test_a_mended_file_is_no_problem_any_more(tmp_path: Path) -> None:
    _write(tmp_path / "shout.py", "1 / 0")
    registry = Registry([], [tmp_path])
    assert len(registry.problems) == 1

    _write(tmp_path / "shout.py", SHOUT.format(summary="Say it aloud."), age=1)
    assert registry.refresh() == ["Shout"]
    assert registry.problems == []


def test_a_name_that_two_files_offer_belongs_to_the_first(tmp_path: Path) -> None:
    first = _write(tmp_path / "a.py", SHOUT.format(summary="First."))
    second = _write(tmp_path / "b.py", SHOUT.format(summary="Second."))

    registry = Registry([], [tmp_path])

    assert registry.origin("Shout") == first
    assert registry.problems == [
        ExtensionProblem(second, f"offers Shout, which {first} has; it is left out")
    ]


def test_no_file_takes_the_name_of_a_built_in_type(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "route.py",
        SHOUT.format(summary="Not it.").replace("class Shout", "class RouteOnAttribute"),
    )

    registry = Registry(["processors"], [tmp_path])

    assert registry.origin("RouteOnAttribute") == "processors.route"
    message = "offers RouteOnAttribute, which processors.route has; it is left out"
    assert registry.problems == [ExtensionProblem(path, message)]


def test_imported_and_private_types_of_a_file_do_not_count(tmp_path: Path) -> None:
    text = SHOUT.format(summary="Say it aloud.").replace("class Shout", "class _Shout")
    _write(tmp_path / "hidden.py", "from processors.route import RouteOnAttribute\n" + text)
    assert Registry([], [tmp_path]).processors() == {}


def test_a_function_of_an_extension_is_a_processor(tmp_path: Path) -> None:
    _write(
        tmp_path / "words.py",
        "from levada import transform\n"
        "@transform\n"
        "def upper_case(content: bytes) -> bytes:\n"
        '    """Write large."""\n'
        "    return content.upper()\n",
    )
    assert list(Registry([], [tmp_path]).processors()) == ["UpperCase"]


def test_services_and_processors_are_told_apart(tmp_path: Path) -> None:
    _write(tmp_path / "ledger.py", SERVICE)
    registry = Registry([], [tmp_path])

    assert list(registry.services()) == ["Ledger"]
    assert registry.service("org.Ledger") is registry.services()["Ledger"]
    assert registry.processor("Ledger") is None
    assert registry.processors() == {}


def test_a_package_that_cannot_be_imported_is_reported() -> None:
    registry = Registry(["no_such_package", "processors"])

    assert registry.problems == [
        ExtensionProblem(
            "no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"
        )
    ]
    assert registry.processor("RouteOnAttribute") is not None


def test_a_misspelt_type_is_guessed() -> None:
    registry = Registry(["processors"])
    assert registry.closest("routeonatribute") == "RouteOnAttribute"
    assert registry.closest("SomethingElseAltogether") is None


def test_a_program_adds_types_of_its_own() -> None:
    class Own(Processor):
        """Mine."""

    class OwnService(ControllerService):
        """Mine."""

    registry = Registry([])
    registry.add(Own, OwnService)

    assert registry.processor("Own") is Own
    assert registry.service("OwnService") is OwnService
    assert registry.origin("Own") == "given by the program"


def test_a_file_that_disappears_while_it_is_looked_at_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere")
    _write(tmp_path / "shout.py", SHOUT.format(summary="Say it aloud."))

    registry = Registry([], [tmp_path, tmp_path / "missing"])

    assert list(registry.processors()) == ["Shout"]
    assert registry.problems == []
