"""The front door: names, the command line, and what it refuses to start with."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import levada
from runtime import testing

ROOT = Path(levada.__file__).parent


def start(*options: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Start `levada --version` as an installed one does, with `path` first on the module path."""
    places = [str(path)] if path is not None else []
    places += [str(ROOT), sysconfig.get_path("purelib")]
    return subprocess.run(
        # Without `site` and the working directory: the path alone says where modules are.
        [sys.executable, "-SP", *options, "-c", "import levada; levada.main()", "--version"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def package(path: Path, name: str) -> Path:
    """Make a package of this name below `path`; return its first file."""
    (path / name).mkdir(parents=True)
    (path / name / "__init__.py").touch()
    return path / name / "__init__.py"


def test_the_version_is_printed() -> None:
    group = levada._commands()
    assert isinstance(group, click.Group)

    result = CliRunner().invoke(group, ["--version"])

    assert result.output == f"levada, version {levada.__version__}\n"


@pytest.mark.slow
def test_a_python_that_removes_checks_is_refused() -> None:
    done = start("-O")

    assert done.returncode == 1
    assert done.stderr == (
        "levada: Python runs with -O, which removes checks that Levada relies on\n"
    )


@pytest.mark.slow
def test_another_package_in_the_place_of_ours_is_named(tmp_path: Path) -> None:
    intruder = package(tmp_path, "canvas")

    done = start(path=tmp_path)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"levada: another module named 'canvas' ({intruder}) stands in the way of Levada's; "
        "remove it from the path\n"
    )


@pytest.mark.slow
def test_another_package_in_the_place_of_the_engine_is_named(tmp_path: Path) -> None:
    intruder = package(tmp_path, "runtime")

    done = start(path=tmp_path)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: another module named 'runtime' ({intruder}) stands in the way of Levada's; "
        "remove it from the path"
    )


def intruder_at(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Say what the check finds when the places of modules are looked up afresh."""
    monkeypatch.syspath_prepend(str(path))
    monkeypatch.delitem(sys.modules, "cluster", raising=False)
    return levada._intruder()


def test_our_own_packages_are_no_intruders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert intruder_at(tmp_path, monkeypatch) == ""


def test_a_plain_module_is_an_intruder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cluster.py").touch()

    assert intruder_at(tmp_path, monkeypatch).startswith(
        f"another module named 'cluster' ({tmp_path / 'cluster.py'}) stands in the way"
    )


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levada, "PACKAGES", ("runtime", "package_of_no_such_name"))

    assert levada._intruder() == (
        "the package 'package_of_no_such_name' is missing; reinstall levada"
    )


def test_all_commands_are_there_and_explain_themselves() -> None:
    group = levada._commands()
    assert isinstance(group, click.Group)

    assert set(group.commands) == {
        "up", "run", "check", "status", "settings", "reload", "verify", "repair", "provenance",
    }  # fmt: skip
    for name in group.commands:
        result = CliRunner().invoke(group, [name, "--help"])
        assert result.exit_code == 0 and result.output.startswith("Usage: levada "), name
    assert all(one.help for one in group.commands.values())


def test_the_tools_for_tests_come_when_they_are_asked_for() -> None:
    assert levada.TestRunner is testing.TestRunner
    assert levada.check_processor is testing.check_processor


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="^module 'levada' has no attribute 'nothing'$"):
        _ = levada.nothing
