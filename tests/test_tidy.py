"""The house style as a test: layering, sizes, names, words, and tests that mirror the packages.

Each rule is a function from a module (or from the tree) to the places that break it, so that a
rule is shown to bite on a few lines of its own below. A rule is never loosened to let a place
pass: an exception stands in a list here, with its reason.
"""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("runtime", "processors", "provenance", "cluster", "canvas")
TOOLS = ("benchmarks", "docs", "examples")

MODULE_LINES = 600
FUNCTION_LINES = 60
LINE_COLUMNS = 100
POSITIONAL = 4
PUBLIC_METHODS = 12
FILE_BYTES = 2**20

MAY_IMPORT = {
    "runtime": (),
    "processors": ("runtime",),
    "provenance": ("runtime",),
    "cluster": ("runtime",),
    "canvas": ("runtime", "provenance", "cluster"),
}
"""Imports point down only; `levada` at the top wires everything and nobody imports it."""

PROCESSOR_API = {
    "runtime.commit",
    "runtime.expression",
    "runtime.expression.template",
    "runtime.flowfile",
    "runtime.patterns",
    "runtime.processor",
    "runtime.properties",
    "runtime.session",
    "runtime.units",
}
"""What a processor may know of the engine."""

CHAIN = ("flowfile", "log", "queue", "session", "scheduler", "controller", "node")
"""In the engine the right one imports the left ones, never the other way round."""

BANNED_CALLS = {
    "time.sleep": "wait on an Event or a Condition with a timeout",
    "print": "click.echo in commands; elsewhere return the text",
    "uuid4": "an id of the engine (`Engine.ids`, `Identity.uuid`)",
    "uuid.uuid4": "an id of the engine (`Engine.ids`, `Identity.uuid`)",
    "asyncio.create_task": "a named task of an asyncio.TaskGroup",
    "asyncio.ensure_future": "a named task of an asyncio.TaskGroup",
    "loop.create_task": "a named task of an asyncio.TaskGroup",
    "datetime.utcnow": "datetime.now(UTC)",
    "datetime.datetime.utcnow": "datetime.now(UTC)",
}
ALLOWED_CALLS = {
    # A person watches, and nothing else runs in the command's process.
    ("runtime/commands/inspect.py", "time.sleep"),
    # `${UUID()}` gives a random UUID by definition.
    ("runtime/expression/functions_alone.py", "uuid.uuid4"),
}
RUNTIME_ONLY = {"uuid4", "uuid.uuid4"}
PRINTING = ("benchmarks", "docs", "examples")

HOMELESS = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "base", "misc"}
ABBREVIATIONS = {
    "proc": "processor or process",
    "conn": "connection",
    "ff": "flowfile",
    "attrs": "attributes",
    "cfg": "settings",
    "mgr": "the noun that it is",
    "ctx": "context",
    "rel": "relationship",
}
CEREMONY = re.compile(r"(Standard|Default|Abstract)[A-Z]|\w+Impl$")
NIFI_NAMES = {"StandardHttpContextMap"}

WIDE_CLASSES = {
    ("runtime/session.py", "Session"): "the whole vocabulary of a processor's work",
    ("runtime/creation.py", "Creation"): "the creating verbs of Session, in a module of their own",
    ("runtime/testing.py", "TestRunner"): "the vocabulary of tests",
}
CALLBACK_DECORATORS = ("command", "option", "argument", "group")

LEFTOVERS = re.compile(r"\b(FIXME|TODO|XXX|HACK)\b")
FOREIGN = {
    "a machine's path": re.compile(r"(?<![\w.$}])/(?:work|root|mnt|Users)/\w"),
    "an issue's number": re.compile(r"\b[Ii]ssue[s]? #?\d+|(?<![\w&{\[#(/'\"`.$])#\d{1,4}\b(?!\})"),
    "a registry's host": re.compile(r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|golang\.org/x"),
    "how the work was divided": re.compile(
        r"\b(?:work session|this task|the task at hand|subagent|the brief|co-worker|prompted)\b"
    ),
}
PROSE = (".md", ".py", ".yaml", ".toml", ".lark", ".txt", ".cfg", "")

WHOLE_BEHAVIOUR = {
    "test_api": "the public names",
    "test_docs": "the documents",
    "test_tidy": "the style",
}
"""Tests of no single module, at the top of tests/."""


@dataclass(frozen=True)
class Module:
    """A Python file: its path from the root, and what stands in it."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def package(self) -> str:
        return self.path.split("/")[0].removesuffix(".py")

    @property
    def name(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def at(self, line: int, problem: str) -> str:
        return f"{self.path}:{line}: {problem}"


Rule = Callable[[Module], Iterator[str]]


@lru_cache
def tracked() -> tuple[Path, ...]:
    """Every file of the project that is or would be under version control."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"],
            cwd=ROOT, capture_output=True, check=True, text=True,
        ).stdout  # fmt: skip
        paths = (ROOT / one for one in listed.split("\0") if one)
    else:
        paths = (one for one in ROOT.rglob("*") if not _is_hidden(one))
    return tuple(sorted({one for one in paths if one.is_file()}))


def _is_hidden(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return any((one[0] == "." and one != ".ci") or one == "__pycache__" for one in parts)


@lru_cache
def modules(*packages: str) -> tuple[Module, ...]:
    """The Python files below the named directories; `levada` is the front door."""
    return tuple(
        Module(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
        for path in tracked()
        if path.suffix == ".py"
        and path.relative_to(ROOT).parts[0].removesuffix(".py") in packages
    )


PRODUCT = (*PACKAGES, "levada")


# Layering


def imports(module: Module, *, typing: bool = True) -> Iterator[tuple[int, str]]:
    """Yield what a module imports, with its line; `typing` False leaves out what only types need."""
    skipped = set() if typing else _typing_only(module.tree)
    for node in ast.walk(module.tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, one.name) for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, module.at(node.lineno, "imports are absolute here")
            yield from ((node.lineno, one) for one in _targets(node))


def _targets(node: ast.ImportFrom) -> Iterator[str]:
    for one in node.names:
        below = f"{node.module}.{one.name}"
        as_path = ROOT / below.replace(".", "/")
        is_module = as_path.with_suffix(".py").exists() or as_path.is_dir()
        yield below if is_module else str(node.module)


def _typing_only(tree: ast.Module) -> set[ast.AST]:
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            found.update(inner for part in node.body for inner in ast.walk(part))
    return found


def imports_point_down(module: Module) -> Iterator[str]:
    if module.package not in MAY_IMPORT:
        return
    allowed = (module.package, *MAY_IMPORT[module.package])
    for line, name in imports(module):
        top = name.split(".")[0]
        if top in (*PACKAGES, *TOOLS, "levada", "tests") and top not in allowed:
            yield module.at(line, f"{module.package} must not import {top}")


def processors_know_the_api_only(module: Module) -> Iterator[str]:
    if module.package != "processors":
        return
    for line, name in imports(module):
        if name.split(".")[0] == "runtime" and name not in PROCESSOR_API:
            yield module.at(line, f"{name} is not part of the processor API")


def the_engine_is_layered(module: Module) -> Iterator[str]:
    names = [f"runtime.{one}" for one in CHAIN]
    if module.name not in names:
        return
    above = names[names.index(module.name) + 1 :]
    for line, name in imports(module, typing=False):
        if name in above:
            yield module.at(line, f"{module.name} stands below {name} and must not import it")


# Sizes


def modules_are_short(module: Module) -> Iterator[str]:
    count = module.text.count("\n")
    if count > MODULE_LINES:
        yield module.at(count, f"{count} lines; a module has at most {MODULE_LINES}")


def lines_are_short(module: Module) -> Iterator[str]:
    for number, line in enumerate(module.text.splitlines(), 1):
        if len(line) > LINE_COLUMNS:
            yield module.at(number, f"{len(line)} columns; a line has at most {LINE_COLUMNS}")


def functions_are_short(module: Module) -> Iterator[str]:
    for one in functions(module):
        count = (one.end_lineno or one.lineno) - one.lineno + 1
        if count > FUNCTION_LINES:
            yield module.at(one.lineno, f"{one.name} has {count} lines, of {FUNCTION_LINES}")


def positional_parameters_are_few(module: Module) -> Iterator[str]:
    for one in functions(module):
        given = [each.arg for each in (*one.args.posonlyargs, *one.args.args)]
        count = len([name for name in given if name not in ("self", "cls")])
        if count > POSITIONAL and not _is_command(one):
            yield module.at(one.lineno, f"{one.name} has {count} positional parameters; put a * in")


def classes_are_narrow(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.ClassDef) or (module.path, node.name) in WIDE_CLASSES:
            continue
        count = sum(isinstance(one, FUNCTIONS) and _is_public_method(one) for one in node.body)
        if count > PUBLIC_METHODS:
            yield module.at(node.lineno, f"{node.name} has {count} public methods")


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, FUNCTIONS):
            yield node


def _is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    # click passes by name: the parameters are the command's options.
    words = " ".join(ast.unparse(one) for one in function.decorator_list)
    return any(f".{one}(" in words for one in CALLBACK_DECORATORS)


def _is_public_method(node: ast.AST) -> bool:
    assert isinstance(node, FUNCTIONS)
    words = " ".join(ast.unparse(one) for one in node.decorator_list)
    return not node.name.startswith("_") and "property" not in words and ".setter" not in words


# Names and words


def calls_are_not_banned(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name not in BANNED_CALLS or (module.path, name) in ALLOWED_CALLS:
            continue
        if name == "print" and module.package in PRINTING:
            continue
        if name in RUNTIME_ONLY and module.package != "runtime":
            continue
        yield module.at(node.lineno, f"{name}(): use {BANNED_CALLS[name]}")


def names_are_words(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        for name in _names(node):
            if name in ABBREVIATIONS:
                yield module.at(_line(node), f"'{name}': write {ABBREVIATIONS[name]}")


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        yield node.name


def _line(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 0))


def names_have_no_ceremony(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and CEREMONY.match(node.name):
            if node.name not in NIFI_NAMES:
                yield module.at(node.lineno, f"class {node.name}: name the thing itself")
        elif isinstance(node, FUNCTIONS) and node.name.startswith("get_"):
            yield module.at(node.lineno, f"{node.name}: name what it gives, without 'get_'")


def modules_have_a_noun(module: Module) -> Iterator[str]:
    last = module.name.rpartition(".")[2]
    if last in HOMELESS:
        yield module.at(1, f"'{last}' is a drawer; name the module by its noun")
    if not ast.get_docstring(module.tree):
        yield module.at(1, "has no docstring that says what it owns")


def exceptions_to_tools_have_reasons(module: Module) -> Iterator[str]:
    for line, comment in comments(module):
        marked = re.match(r"#\s*(?:type:\s*ignore|noqa)\b[^#]*(#.*)?", comment)
        if marked and not marked[1]:
            yield module.at(line, f"'{comment}' needs its reason behind it: `# noqa: X  # why`")
        if re.match(r"#\s*(?:type:\s*ignore|noqa)\b(?!\s*[:\[])", comment):
            yield module.at(line, f"'{comment}' must name the rule")


def nothing_is_left_over(module: Module) -> Iterator[str]:
    for line, comment in comments(module):
        if found := LEFTOVERS.search(comment):
            yield module.at(line, f"{found[0]} is left over: do it, or say why not")


def comments(module: Module) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


RULES: tuple[Rule, ...] = (
    imports_point_down,
    processors_know_the_api_only,
    the_engine_is_layered,
    modules_are_short,
    lines_are_short,
    functions_are_short,
    positional_parameters_are_few,
    classes_are_narrow,
    calls_are_not_banned,
    names_are_words,
    names_have_no_ceremony,
    modules_have_a_noun,
    exceptions_to_tools_have_reasons,
    nothing_is_left_over,
)
RULES_OF_TESTS: tuple[Rule, ...] = (
    modules_are_short,
    lines_are_short,
    functions_are_short,
    exceptions_to_tools_have_reasons,
    nothing_is_left_over,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_product_keeps_every_rule(rule: Rule) -> None:
    found = [place for one in modules(*PRODUCT, *TOOLS) for place in rule(one)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("rule", RULES_OF_TESTS, ids=lambda rule: rule.__name__)
def test_the_tests_keep_the_rules_for_tests(rule: Rule) -> None:
    found = [place for one in modules("tests") for place in rule(one)]
    assert not found, "\n" + "\n".join(found)


BREACHES = {
    imports_point_down: ("runtime/x.py", "import provenance.search\n"),
    processors_know_the_api_only: ("processors/x.py", "from runtime.engine import Engine\n"),
    the_engine_is_layered: ("runtime/queue.py", "from runtime import session\n"),
    modules_are_short: ("runtime/x.py", "\n" * (MODULE_LINES + 1)),
    lines_are_short: ("runtime/x.py", "#" + "x" * LINE_COLUMNS),
    functions_are_short: ("runtime/x.py", "def f():\n" + "    1\n" * FUNCTION_LINES),
    positional_parameters_are_few: ("runtime/x.py", "def f(a, b, c, d, e): ...\n"),
    classes_are_narrow: (
        "runtime/x.py",
        "class A:\n" + "".join(f"    def m{one}(self): ...\n" for one in range(13)),
    ),
    calls_are_not_banned: ("runtime/x.py", "import time\ntime.sleep(1)\n"),
    names_are_words: ("runtime/x.py", "for ff in []: pass\n"),
    names_have_no_ceremony: ("runtime/x.py", "class AbstractQueue: ...\n"),
    modules_have_a_noun: ("runtime/utils.py", '"""What does not fit elsewhere."""\n'),
    exceptions_to_tools_have_reasons: ("runtime/x.py", "x = 1  # type: ignore[misc]\n"),
    nothing_is_left_over: ("runtime/x.py", "# TODO later\n"),
}
NEIGHBOURS = {
    imports_point_down: ("canvas/x.py", "import provenance.search\n"),
    processors_know_the_api_only: ("processors/x.py", "from runtime.session import Session\n"),
    the_engine_is_layered: ("runtime/session.py", "from runtime import queue\n"),
    modules_are_short: ("runtime/x.py", "\n" * MODULE_LINES),
    lines_are_short: ("runtime/x.py", "x" * LINE_COLUMNS),
    functions_are_short: ("runtime/x.py", "def f():\n" + "    1\n" * (FUNCTION_LINES - 1)),
    positional_parameters_are_few: ("runtime/x.py", "def f(self, a, b, c, d, *, e): ...\n"),
    classes_are_narrow: (
        "runtime/x.py",
        "class A:\n" + "".join(f"    def m{one}(self): ...\n" for one in range(12)),
    ),
    calls_are_not_banned: ("runtime/x.py", "tasks.create_task(run(), name='run')\n"),
    names_are_words: ("runtime/x.py", "for flowfile in []: pass\n"),
    names_have_no_ceremony: ("runtime/x.py", "class StandardHttpContextMap: ...\n"),
    modules_have_a_noun: ("runtime/units.py", '"""Durations and sizes."""\n'),
    exceptions_to_tools_have_reasons: ("runtime/x.py", "x = 1  # type: ignore[misc]  # why\n"),
    nothing_is_left_over: ("runtime/x.py", "x = 'TODO'\n"),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_each_rule_finds_its_breach_and_passes_its_neighbour(rule: Rule) -> None:
    assert list(rule(Module(*BREACHES[rule])))
    assert not list(rule(Module(*NEIGHBOURS[rule])))


# The tree


def test_no_modules_import_each_other_in_a_circle() -> None:
    known = {one.name: one for one in modules(*PRODUCT)}
    graph = {
        name: {target for _, target in _at_import(one) if target in known and target != name}
        for name, one in known.items()
    }
    assert not _circle(graph), "imported in a circle: " + " -> ".join(_circle(graph))


def _at_import(module: Module) -> Iterator[tuple[int, str]]:
    """Only what runs when the module is imported: not in functions, not for types."""
    top = [node for node in module.tree.body if not isinstance(node, (*FUNCTIONS, ast.ClassDef))]
    body = Module(module.path, "\n".join(ast.unparse(one) for one in top))
    return imports(body, typing=False)


def _circle(graph: dict[str, set[str]]) -> list[str]:
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for target in sorted(graph[name]):
            if found := walk(target, [*path, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := walk(name, []))), [])


def test_a_circle_is_found() -> None:
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert _circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_each_test_module_stands_where_its_module_stands() -> None:
    found = [
        f"{one.path}: tests no module of that name; rename it, or begin with the module's name"
        for one in modules("tests")
        if one.name.rpartition(".")[2].startswith("test_") and not _mirrored(one)
    ]
    assert not found, "\n" + "\n".join(found)


def _mirrored(test: Module) -> bool:
    """`tests/runtime/test_log_power_loss.py` belongs to `runtime/log.py`."""
    folder, _, name = test.path.removeprefix("tests/").removesuffix(".py").rpartition("/")
    words = name.removeprefix("test_").split("_")
    if not folder:
        return name in WHOLE_BEHAVIOUR or (ROOT / f"{'_'.join(words)}.py").exists()
    if folder in ("faults", "examples"):
        return True  # Behaviour across the whole engine, and of whole flows.
    tries = ["_".join(words[:count]) for count in range(len(words), 0, -1)]
    return any((ROOT / folder / f"{one}.py").exists() for one in tries)


def test_each_module_of_some_size_has_its_test_module() -> None:
    tests = {one.path for one in modules("tests")}
    found = [
        f"{one.path}: {count} lines without tests/{one.package}/.../test_{stem}.py"
        for one in modules(*PACKAGES)
        if (count := one.text.count("\n")) > 150
        and (stem := Path(one.path).stem) != "__init__"
        and not any(
            each.startswith(f"tests/{Path(one.path).parent}/test_{stem}") for each in tests
        )
    ]
    assert not found, "\n" + "\n".join(found)


def test_each_package_has_tests() -> None:
    filled = {
        Path(one.path).parent.name
        for one in modules(*PACKAGES)
        if not one.path.endswith("__init__.py")
    }
    tested = {Path(one.path).parent.name for one in modules("tests")}
    assert filled <= tested, f"without tests: {sorted(filled - tested)}"


def test_no_file_is_large() -> None:
    large = [f"{one}: {one.stat().st_size}" for one in tracked() if one.stat().st_size > FILE_BYTES]
    assert not large, large


def test_nothing_tells_of_the_workshop() -> None:
    found = []
    for path in tracked():
        if path.suffix not in PROSE or path == Path(__file__) or path.name == "LICENSE":
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            found += [
                f"{path.relative_to(ROOT)}:{number}: {what}: {line.strip()[:80]}"
                for what, pattern in FOREIGN.items()
                if pattern.search(line)
            ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "text",
    ["see issue 12", "fixed in #42", "open /work/x", "/root/a", "from pypi.org", "the subagent"],
)
def test_words_of_the_workshop_are_found(text: str) -> None:
    assert any(pattern.search(text) for pattern in FOREIGN.values())


@pytest.mark.parametrize("text", ["#{speed}", "&#39;", "the framework/work/flow", "color: '#123'"])
def test_their_neighbours_pass(text: str) -> None:
    assert not any(pattern.search(text) for pattern in FOREIGN.values())
