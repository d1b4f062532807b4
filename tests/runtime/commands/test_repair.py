"""`levada verify` and `levada repair` as commands."""

import json
from pathlib import Path

from tests.home_world import running
from tests.runtime.commands.conftest import Command


def damage_log(home: Path) -> None:
    """Change a byte of the first group and lose the checkpoints that would make up for it."""
    path = min((home / "log").glob("*.log"))
    data = bytearray(path.read_bytes())
    data[512 + 100] ^= 0xFF
    path.write_bytes(data)
    for one in (home / "checkpoints").rglob("*"):
        if one.is_file():
            one.unlink()


def test_a_home_that_ran_agrees(command: Command, flow: Path) -> None:
    command("run", flow)

    result = command("verify")

    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == "Log, checkpoints, queues and contents agree"


def test_the_report_is_plain_data_too(command: Command, flow: Path) -> None:
    command("run", flow)

    found = json.loads(command("verify", "--json").stdout)

    assert (found["problems"], found["flowfiles"]) == ([], 0)
    assert found["records"] == found["sequence"] > 0


def test_a_damaged_home_is_reported_with_the_next_step(
    command: Command, flow: Path, home: Path
) -> None:
    command("run", flow)
    damage_log(home)

    result = command("verify")

    assert result.exit_code == 1
    assert "problem(s):" in result.stdout
    assert result.stderr == "`levada repair` says what a repair would cut\n"


def test_a_repair_changes_nothing_until_it_is_told_to(
    command: Command, flow: Path, home: Path
) -> None:
    command("run", flow)
    damage_log(home)

    asked = command("repair")
    still = command("repair")
    done = command("repair", "--yes")

    assert asked.exit_code == 1 and asked.output == still.output
    assert asked.output.startswith("The log will end after record 0; records 1 to ")
    assert asked.output.endswith("Nothing was changed. `levada repair --yes` does it\n")
    assert done.exit_code == 0 and "Done: The log will end after record 0" in done.output
    assert command("verify").exit_code == 0
    assert command("run", flow).exit_code == 0


def test_a_whole_home_needs_no_repair(command: Command, flow: Path) -> None:
    command("run", flow)

    result = command("repair", "--yes")

    assert result.exit_code == 0
    assert result.output == "The log is whole up to its mark; nothing is to be repaired.\n"


def test_a_node_that_runs_has_to_be_stopped_first(command: Command, home: Path) -> None:
    with running(home):
        for name in ("verify", "repair"):
            result = command(name)
            assert result.exit_code == 1
            assert result.output == f"levada: A node runs on {home}. Stop it first\n"


def test_a_directory_that_is_no_home_is_named(command: Command, home: Path) -> None:
    result = command("verify")

    assert result.exit_code == 1
    assert result.output.startswith(f"levada: {home} is no home of a node. Name one with --home")
