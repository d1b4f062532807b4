"""The house style as rules: from a module to the places in it that break a rule.

A rule is never loosened to let a place pass: an exception stands in a list here, with its reason.
`tests/test_tidy.py` applies the rules, and shows each of them to bite.
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

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("runtime", "processors", "provenance", "cluster", "canvas")
TOOLS = ("benchmarks", "docs", "examples")

MODULE_LINES = 600
FUNCTION_LINES = 60
LINE_COLUMNS = 100
POSITIONAL = 4
PUBLIC_METHODS = 12
FILE_BYTES = 2**20
TESTED_FROM_LINES = 150

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
NIFI_NAMES = {"StandardHttpContextMap", "get_delimited_field"}
"""The service type, and the function getDelimitedField of the Expression Language."""

WIDE_CLASSES = {
    ("runtime/session.py", "Session"): "the whole vocabulary of a processor's work",
    ("runtime/creation.py", "Creation"): "the creating verbs of Session, in a module of their own",
    ("runtime/testing.py", "TestRunner"): "the vocabulary of tests",
}
CALLBACK_DECORATORS = ("command", "option", "argument", "group")

LEFTOVERS = re.compile(r"\b(FIXME|TODO|XXX|HACK)\b")
FOREIGN = {
    "a machine's path": re.compile(r"(?<![\w.$}])/(?:work|root|mnt|Users)/\w"),
    "an issue's number": re.compile(r"\b[Ii]ssue[s]? #?\d+|(?<![\w&{\[#(/'\"`.$])#\d{1,3}\b(?!\})"),
    "a registry's host": re.compile(r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)"),
    "how the work was divided": re.compile(
        r"\b(?:work session|this task|the task at hand|subagent|the brief|co-worker|prompted)\b"
    ),
}
PROSE = (".md", ".py", ".yaml", ".toml", ".lark", ".txt", ".cfg", "")

TESTED_WITH = {
    "runtime/commands/inspect.py": "tests/runtime/commands",
    "runtime/commands/run.py": "tests/runtime/commands",
    "runtime/commands/up.py": "tests/runtime/commands",
    "processors/file_search.py": "tests/processors/test_file_list.py",
    "processors/http_context_map.py": "tests/processors/test_http_handle.py",
    "processors/http_server.py": "tests/processors/test_http_listen.py",
    "runtime/expression/nodes.py": "tests/runtime/expression/test_parse.py",
    "runtime/flow_text/linking.py": "tests/runtime/flow_text/test_reader.py",
    "runtime/flow_text/plain.py": "tests/runtime/flow_text/test_writer.py",
    "runtime/flow_text/shape.py": "tests/runtime/flow_text/test_reader.py",
    "runtime/flow_text/source.py": "tests/runtime/flow_text/test_reader.py",
    "provenance/formats.py": "tests/provenance/test_commands.py",
}
"""Parts of a larger thing, which are tested through it."""

WHOLE_BEHAVIOUR = {
    "test_api": "the public names",
    "test_docs": "the documents",
    "test_tidy": "the style",
    "runtime/test_kill": "a real process, killed under load",
    "runtime/flow_text/test_documents": "docs/flow-text.md",
}
"""Tests of no single module."""


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
    return any(
        (one[0] == "." and one != ".ci") or one == "__pycache__" or one.endswith(".egg-info")
        for one in parts
    )


@lru_cache
def modules(*packages: str) -> tuple[Module, ...]:
    """The Python files below the named directories; `levada` is the front door."""
    return tuple(
        Module(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
        for path in tracked()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0].removesuffix(".py") in packages
    )


PRODUCT = (*PACKAGES, "levada")


# Layering


def imports(module: Module, *, typing: bool = True) -> Iterator[tuple[int, str]]:
    """Yield what a module imports, with its line; without `typing` only what runs."""
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


def no_test_sleeps(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep"):
            yield module.at(node.lineno, "wait on a condition with a timeout instead of sleeping")


def names_of_tests_are_sentences(module: Module) -> Iterator[str]:
    for one in functions(module):
        if one.name.startswith("test_") and one.name.count("_") < 2:
            yield module.at(one.lineno, f"{one.name}: say in a sentence what holds")


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
        if not isinstance(node, (*FUNCTIONS, ast.ClassDef)) or node.name in NIFI_NAMES:
            continue
        if isinstance(node, ast.ClassDef) and CEREMONY.match(node.name):
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
    no_test_sleeps,
    names_of_tests_are_sentences,
    exceptions_to_tools_have_reasons,
    nothing_is_left_over,
)
