"""The documents tell the truth: their commands run, their links lead somewhere, nothing is missing.

The README's commands run as written, in order, in a copy of the tree: `make demo` gets its free
ports and its end by the environment, and `UUID` and `EVENT`, which a reader replaces by what was
shown, are replaced by what was shown.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from docs import generate
from runtime.commands.options import EXPECTED
from runtime.conformance import check
from runtime.registry import Registry

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    one for one in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")) if ".venv" not in one.parts
)
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
EVENT = re.compile(r"^(\d{3,})\s", re.MULTILINE)
BLOCK_SECONDS = 240


@dataclass(frozen=True)
class Block:
    """A fenced block: `language` is what stands behind the fence."""

    language: str
    text: str


def blocks(path: Path) -> list[Block]:
    return [Block(*found) for found in FENCE.findall(path.read_text(encoding="utf-8"))]


# The README


class Reader:
    """Somebody who does what the README says, in a shell of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.output = ""
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MAKE", "MFLAGS", "PYTEST", "LEVADA", "COVERAGE"))
        } | {"FOR": "10s", "PORT": "0", "ANSWERS": str(free_port()), "COLUMNS": "160"}

    def put(self, block: Block) -> None:
        """Save a block whose first line names a file."""
        name = block.text.partition("\n")[0].removeprefix("# ")
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")

    def do(self, block: Block) -> str:
        """Run a block of commands; return what it printed."""
        text = block.text
        for word, pattern in (("UUID", UUID), ("EVENT", EVENT)):
            if re.search(rf"\b{word}\b", text):
                text = self._filled(text, word, pattern)
        for command in commands(text):
            self._run(command)
        return self.output

    def _filled(self, text: str, word: str, pattern: re.Pattern[str]) -> str:
        ready, rest = [], commands(text)
        while rest and not re.search(rf"\b{word}\b", rest[0]):
            ready.append(rest.pop(0))
        for command in ready:
            self._run(command)
        shown = pattern.search(self.output)
        assert shown, f"nothing shown before names a {word}:\n{self.output}"
        return re.sub(rf"\b{word}\b", shown[shown.lastindex or 0], "\n".join(rest))

    def _run(self, command: str) -> None:
        left = self.directory / ".environment"
        finished = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{command}\nenv -0 > {left}"],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BLOCK_SECONDS,
        )
        assert finished.returncode == 0, f"$ {command}\n{finished.stdout}"
        self.output = finished.stdout
        entries = left.read_text(encoding="utf-8").split("\0")
        self.environment = dict(one.split("=", 1) for one in entries if "=" in one)


def commands(text: str) -> list[str]:
    """Split a block into commands; a line that is indented goes on with the one before."""
    return re.split(r"\n(?=\S)", text.strip())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the tree whose environment is the one that runs the tests, marked as installed."""
    hidden = shutil.ignore_patterns(".*", "__pycache__", "node_modules", "*.egg-info")
    tree = shutil.copytree(ROOT, tmp_path / "levada", ignore=hidden)
    environment = tree / ".venv"
    environment.mkdir()
    for one in Path(sys.prefix).iterdir():
        if one.name != "installed":
            (environment / one.name).symlink_to(one)
    # An interpreter finds its packages by the path that it was called by.
    stamp = environment / "installed"
    stamp.touch()
    os.utime(stamp, (time.time() + 60, time.time() + 60))
    return tree


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_readme_works_as_written(copy: Path) -> None:
    reader = Reader(copy)
    written = blocks(copy / "README.md")
    for block in written:
        if block.language in ("python", "yaml"):
            reader.put(block)
    for block in written:
        if block.language == "sh":
            reader.do(block)
        elif block.language == "text":
            words = set(re.findall(r"\b[A-Z]{4,}\b|N14228|Levada runs", block.text))
            missing = {one for one in words if one not in reader.output}
            assert not missing, f"shown in the README, and not printed: {missing}"


# The verbs


def make(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    return subprocess.run(
        ["make", *arguments], cwd=directory, env=environment, capture_output=True, text=True
    )


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """What `make install` looks at, with nothing installed."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def python_that(directory: Path, *, lacks: str) -> str:
    """An interpreter that refuses a command in which a word occurs."""
    path = directory / "python"
    path.write_text(f'#!/bin/sh\ncase "$*" in *{lacks}*) exit 1;; esac\n', encoding="utf-8")
    path.chmod(0o755)
    return f"PYTHON={path}"


def test_make_install_names_a_python_that_is_too_old(bare: Path) -> None:
    finished = make(bare, "install", python_that(bare, lacks="version_info"))
    assert finished.returncode != 0
    assert "Levada needs Python 3.11 or newer" in finished.stdout
    assert "make install PYTHON=python3.12" in finished.stdout


def test_make_install_names_the_package_that_a_fresh_debian_lacks(bare: Path) -> None:
    finished = make(bare, "install", python_that(bare, lacks="ensurepip"))
    assert finished.returncode != 0
    assert "has no venv module. On Debian or Ubuntu: sudo apt install python3-venv" in (
        finished.stdout
    )


def test_make_install_has_nothing_to_do_twice(copy: Path) -> None:
    assert "Nothing to be done" in make(copy, "install").stdout


def test_make_demo_passes_on_port_end_and_speed(copy: Path) -> None:
    plain = make(copy, "-n", "demo").stdout
    told = make(copy, "-n", "demo", "PORT=9000", "FOR=30s", "SPEED=max").stdout
    assert "--port 8080" in plain and "--for" not in plain and "speed" not in plain
    assert "--port 9000" in told and "--for 30s" in told and "--param speed=max" in told


def test_continuous_integration_runs_the_verb_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert script.strip().splitlines()[-1] == "exec make test"
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


# All documents


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: str(one.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = [one.partition("#")[0] for one in LINK.findall(text)]
    local = [one for one in targets if one and not one.startswith(("http://", "https://"))]
    missing = [one for one in local if not (document.parent / one).exists()]
    assert not missing, f"{document.relative_to(ROOT)} links to {missing}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: str(one.relative_to(ROOT)))
def test_a_document_has_one_title(document: Path) -> None:
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    titles = re.findall(r"^# .+$", text, re.MULTILINE)
    assert len(titles) == 1, f"{document.relative_to(ROOT)} has titles {titles}"


def test_modules_named_in_the_architecture_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    packages = "runtime|processors|provenance|cluster|canvas|examples|docs|tests"
    named = set(re.findall(rf"`((?:{packages})/[\w/.-]+)`", text))
    missing = sorted(one for one in named if not (ROOT / one).exists())
    assert named and not missing, f"ARCHITECTURE.md names what does not exist: {missing}"


def test_the_architecture_names_every_module_of_the_engine() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    modules = {one.stem for one in (ROOT / "runtime").glob("*.py")} - {"__init__"}
    missing = sorted(one for one in modules if not re.search(rf"\b{one}\b", text))
    assert not missing, f"ARCHITECTURE.md does not name runtime/ {missing}"


def test_every_dependency_has_its_reason_in_the_architecture() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    declared = re.findall(r'^    "([\w.-]+)[><=]', project, re.MULTILINE)
    missing = [one for one in declared if f"**{one}**" not in text]
    assert declared and not missing, f"ARCHITECTURE.md gives no reason for {missing}"


@pytest.mark.parametrize("document", sorted((ROOT / "docs").glob("*.md")), ids=lambda one: one.name)
def test_python_in_the_documents_runs(document: Path) -> None:
    for block in blocks(document):
        if block.language == "python":
            module: dict[str, object] = {"__name__": "example"}
            exec(compile(block.text, document.name, "exec"), module)


# The reference


@pytest.mark.parametrize("path", sorted(generate.pages(), key=str), ids=str)
def test_the_reference_is_as_new_as_the_code(path: Path) -> None:
    committed = ROOT / path
    assert committed.exists(), f"{path} is missing; run `make docs`"
    assert committed.read_text(encoding="utf-8") == generate.pages()[path], (
        f"{path} is older than the code; run `make docs`"
    )


def test_the_reference_has_no_page_of_what_is_gone() -> None:
    pages = {ROOT / one for one in generate.pages()}
    left = [one for one in (ROOT / generate.REFERENCE).rglob("*.md") if one not in pages]
    assert not left, f"of components that are gone: {left}; run `make docs`"


@pytest.mark.parametrize("name", sorted(Registry(["processors"]).processors()))
def test_each_processor_keeps_the_rules_for_processors(name: str) -> None:
    declaration = Registry(["processors"]).processor(name)
    assert declaration is not None
    check(declaration)


def test_each_rule_for_processors_that_is_checked_is_told() -> None:
    told = (ROOT / "docs" / "processor-spec.md").read_text(encoding="utf-8")
    source = (ROOT / "runtime" / "conformance.py").read_text(encoding="utf-8")
    checks = re.findall(r"^def _check_(\w+)", source, re.MULTILINE)
    missing = [one for one in checks if f"`{one}`" not in told]
    assert checks and not missing, f"docs/processor-spec.md does not tell of {missing}"


@pytest.mark.parametrize("error", EXPECTED, ids=lambda one: one.__name__)
def test_errors_that_reach_users_say_when_they_come(error: type[BaseException]) -> None:
    assert error.__doc__ and error.__doc__ != (error.__base__ or object).__doc__
