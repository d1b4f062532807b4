"""Options that commands share, and how an error reaches the user."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from runtime.commands.options import (
    DurationType,
    friendly,
    make_registry,
    read_parameters,
    read_settings,
)
from runtime.home import HomeError
from runtime.parameters import ParameterError
from runtime.settings import SettingsError
from tests.home_world import EXTENSION


@click.command()
@click.option("--for", "seconds", type=DurationType())
def wait(seconds: float | None) -> None:
    click.echo(f"{seconds}")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", "5.0"), ("0.5", "0.5"), ("0", "0.0"), ("250 ms", "0.25"), ("1 hour", "3600.0")],
)
def test_a_duration_is_a_number_of_seconds_or_has_a_unit(text: str, seconds: str) -> None:
    assert CliRunner().invoke(wait, ["--for", text]).output == seconds + "\n"


@pytest.mark.parametrize("text", ["soon", "5 lightyears", "", "-1", "nan", "inf", "1e999"])
def test_what_is_no_duration_is_refused_with_the_right_form(text: str) -> None:
    result = CliRunner().invoke(wait, ["--for", text])

    assert result.exit_code == 2
    assert f"is '{text}'; it must be a duration such as '30 sec', '5 min'" in result.output


def test_an_expected_error_is_one_line_and_status_one() -> None:
    @click.command()
    @friendly
    def refuse() -> None:
        raise HomeError("The home is taken")

    result = CliRunner().invoke(refuse)

    assert (result.exit_code, result.output) == (1, "levada: The home is taken\n")


def test_a_bug_keeps_its_trace() -> None:
    @click.command()
    @friendly
    def break_down() -> None:
        raise ZeroDivisionError("by nought")

    assert isinstance(CliRunner().invoke(break_down).exception, ZeroDivisionError)


def test_types_are_found_in_the_home_and_beside_the_flow(tmp_path: Path) -> None:
    for place, name in (("home", "Number"), ("flows", "Other")):
        directory = tmp_path / place / "extensions"
        directory.mkdir(parents=True)
        text = EXTENSION.replace("class Number", f"class {name}").replace("class Judge", "class _J")
        (directory / f"{name.lower()}.py").write_text(text)

    registry = make_registry(tmp_path / "home", tmp_path / "flows" / "flow.yaml")

    assert {"Number", "Other", "RouteOnAttribute"} <= registry.processors().keys()
    assert registry.problems == []


@pytest.mark.parametrize("place", ["home", "home/../home", "link"])
def test_a_flow_in_its_own_home_has_its_extensions_read_once(tmp_path: Path, place: str) -> None:
    directory = tmp_path / "home" / "extensions"
    directory.mkdir(parents=True)
    read = tmp_path / "read"
    counting = f"with open({str(read)!r}, 'a') as file:\n    file.write('once ')\n"
    (directory / "numbers.py").write_text(EXTENSION + counting)
    (tmp_path / "link").symlink_to("home")

    registry = make_registry(tmp_path / place, tmp_path / "home" / "flow.yaml")

    assert read.read_text() == "once "
    assert registry.problems == [] and "Number" in registry.processors()


def test_a_broken_extension_is_told_once(tmp_path: Path) -> None:
    directory = tmp_path / "extensions"
    directory.mkdir()
    (directory / "broken.py").write_text("1 / 0")

    [problem] = make_registry(tmp_path, tmp_path / "flow.yaml").problems

    assert problem.message == "ZeroDivisionError: division by zero"


def test_a_parameter_on_the_line_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "parameters"
    file.write_text("speed=1\nport=2\n")

    assert read_parameters(("speed=3", "x=a=b"), file) == {"speed": "3", "port": "2", "x": "a=b"}
    assert read_parameters((), None) == {}


def test_a_parameter_without_a_value_is_refused() -> None:
    with pytest.raises(ParameterError, match="speed"):
        read_parameters(("speed",), None)


def test_settings_come_from_the_home_and_the_line(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("fsync: never\ngather: 5 ms\n")

    settings, sources = read_settings(tmp_path, ("fsync=always",))

    origins = {one.name: one.origin for one in sources}
    assert (settings.fsync, settings.gather) == ("always", 0.005)
    assert origins["fsync"] == "--set"
    assert origins["gather"] == str(tmp_path / "settings.yaml")
    assert origins["disk_reserve"] == "default"


def test_a_setting_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--set: setting 'speed' does not exist. There are: fs"):
        read_settings(tmp_path, ("speed=1",))
