"""`levada run`: to the end, and on from where it stopped."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import levada
from runtime.commands.run import run_to_end
from runtime.flow_home import FlowFile
from runtime.home import Home
from tests.home_world import FLOW, open_node, running, wait_until
from tests.runtime.commands.conftest import Command

REFUSING = FLOW.replace("type: Judge", 'type: Judge\n    properties: {Refused: "1"}')
STOPPED = FLOW.replace("type: Judge", "type: Judge\n    state: stopped")


def test_a_flow_runs_until_it_is_idle_and_is_summed_up(command: Command, flow: Path) -> None:
    result = command("run", flow, "--json")

    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert found.pop("seconds") > 0 and found.pop("hops_per_second") > 0
    assert found == {
        "flowfiles_in": 3,
        "flowfiles_out": 3,
        "bytes": 27,
        "hops": 6,
        "queued": 0,
        "held": 0,
        "errors": 0,
        "counters": {"numbers": 3},
    }


def test_the_summary_is_words_for_people(command: Command, flow: Path) -> None:
    lines = command("run", flow).stdout.splitlines()

    assert lines[0].startswith("in 3, out 3 flowfiles, 27 bytes written, in 0.")
    assert lines[1].startswith("6 hops, ") and lines[1].endswith(" a second")
    assert lines[2:] == ["numbers: 3"]


def test_a_second_run_goes_on_where_the_first_stopped(command: Command, flow: Path) -> None:
    flow.write_text(STOPPED)
    first = json.loads(command("run", flow, "--for", "200 ms", "--json").stdout)
    flow.write_text(FLOW)

    result = command("run", flow, "--json")

    second = json.loads(result.stdout)
    assert (first["flowfiles_in"], first["queued"]) == (3, 3)
    assert (second["flowfiles_in"], second["flowfiles_out"], second["queued"]) == (0, 3, 0)
    assert result.stderr.startswith(f"{flow} changed; it is revision 2 now:\n  judge: state stop")


def test_errors_are_counted_and_make_the_status_one(command: Command, flow: Path) -> None:
    flow.write_text(REFUSING)

    result = command("run", flow)

    assert result.exit_code == 1
    assert result.stdout.splitlines()[2:] == ["0 queued, 1 held", "numbers: 3", "1 errors"]


def test_a_parameter_of_the_flow_can_be_set(command: Command, flow: Path) -> None:
    text = FLOW.replace("type: Number", 'type: Number\n    properties: {Count: "#{count}"}')
    flow.write_text(text.replace("flow:\n", "parameters: {count: 5}\nflow:\n", 1))

    result = command("run", flow, "--param", "count=7", "--json")

    assert json.loads(result.stdout)["flowfiles_in"] == 7


def test_a_parameter_that_the_flow_lacks_is_refused(command: Command, flow: Path) -> None:
    result = command("run", flow, "--param", "speed=7")

    assert result.exit_code == 1
    assert result.output.startswith("levada: ") and "'speed'" in result.output


def test_another_flow_in_the_same_home_names_both_files(
    command: Command, flow: Path, home: Path
) -> None:
    command("run", flow)
    other = flow.with_name("other.yaml")
    other.write_text(REFUSING)

    result = command("run", other)

    assert result.exit_code == 1
    assert result.output.startswith(
        f"levada: The home {home} has the flow of {flow}, which is another one than {other}. "
    )
    assert "Choose another home with --home, or decide: --take file" in result.output
    assert command("run", other, "--take", "file").exit_code == 0


def test_mistakes_are_listed_and_nothing_runs(command: Command, flow: Path, home: Path) -> None:
    flow.write_text(FLOW.replace("type: Number", "type: Numbr"))

    result = command("run", flow)

    assert result.exit_code == 1
    assert result.output.startswith(f"levada: {flow} has 1 problem:\nLV-016  number (Numbr), ")
    # The home is free again.
    Home(home).close()


def test_a_home_in_use_is_refused(command: Command, flow: Path, home: Path) -> None:
    with running(home):
        result = command("run", flow)

    assert result.exit_code == 1
    assert "runs on the home" in result.output and "Stop it first" in result.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run(command: Command, flow: Path, home: Path, number: int) -> None:
    node = open_node(home)
    try:
        FlowFile(node, flow).open()

        def interrupt() -> None:
            wait_until(lambda: node.engine.counters)
            signal.raise_signal(number)

        other = threading.Thread(target=interrupt)
        other.start()
        seconds = run_to_end(node, 60.0, idle_ends=False)
        other.join()
    finally:
        node.stop()

    assert seconds < 10


@pytest.mark.slow
def test_the_command_runs_as_a_process_of_its_own(flow: Path, home: Path) -> None:
    script = Path(levada.__file__)
    done = subprocess.run(
        [sys.executable, script, "run", flow, "--home", home, "--json"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["flowfiles_out"] == 3
