"""Running commands as `levada` does, in this process."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import levada
from tests.home_world import make_home

Command = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that has the types of the flow beside it, and was never started."""
    make_home(tmp_path / "home")
    # Zeros of a large log file would be most of each test's time.
    (tmp_path / "home" / "settings.yaml").write_text("log_file_size: 1 MB\n")
    return tmp_path / "home"


@pytest.fixture
def flow(home: Path) -> Path:
    return home.parent / "flow.yaml"


@pytest.fixture
def command(home: Path) -> Iterator[Command]:
    """Run a command on the home; signal handlers that it leaves are taken back."""
    group = levada._commands()
    assert isinstance(group, click.Group)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments: object) -> Result:
        words = [str(one) for one in arguments]
        return CliRunner().invoke(group, [*words, "--home", str(home)])

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)
