"""The house style as a test: layering, sizes, names, words, and tests that mirror the packages.

Each rule of `tests/tidy.py` runs over the product and is shown to bite on a few lines of its own;
what concerns the tree as a whole stands here.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tidy import (
    FILE_BYTES,
    FOREIGN,
    FUNCTION_LINES,
    FUNCTIONS,
    LINE_COLUMNS,
    MODULE_LINES,
    PACKAGES,
    PRODUCT,
    PROSE,
    ROOT,
    RULES,
    RULES_OF_TESTS,
    TESTED_FROM_LINES,
    TESTED_WITH,
    TOOLS,
    WHOLE_BEHAVIOUR,
    Module,
    Rule,
    calls_are_not_banned,
    classes_are_narrow,
    exceptions_to_tools_have_reasons,
    functions_are_short,
    imports,
    imports_point_down,
    lines_are_short,
    modules,
    modules_are_short,
    modules_have_a_noun,
    names_are_words,
    names_have_no_ceremony,
    names_of_tests_are_sentences,
    no_test_sleeps,
    nothing_is_left_over,
    positional_parameters_are_few,
    processors_know_the_api_only,
    the_engine_is_layered,
    tracked,
)

WORDS_ARE_TOLD_IN = (Path(__file__), Path(__file__).with_name("tidy.py"))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_product_keeps_every_rule(rule: Rule) -> None:
    found = [place for one in modules(*PRODUCT, *TOOLS) for place in rule(one)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("rule", RULES_OF_TESTS, ids=lambda rule: rule.__name__)
def test_the_tests_keep_the_rules_for_tests(rule: Rule) -> None:
    found = [place for one in modules("tests") for place in rule(one)]
    assert not found, "\n" + "\n".join(found)


BREACHES: dict[Rule, tuple[str, str]] = {
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
    no_test_sleeps: ("tests/test_x.py", "time.sleep(1)\n"),
    names_of_tests_are_sentences: ("tests/test_x.py", "def test_queue(): ...\n"),
}
NEIGHBOURS: dict[Rule, tuple[str, str]] = {
    no_test_sleeps: ("tests/test_x.py", "event.wait(1)\n"),
    names_of_tests_are_sentences: ("tests/test_x.py", "def test_a_queue_keeps_order(): ...\n"),
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


@pytest.mark.parametrize("rule", BREACHES, ids=lambda rule: rule.__name__)
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
    path = test.path.removeprefix("tests/").removesuffix(".py")
    if path in WHOLE_BEHAVIOUR:
        return True
    folder, _, name = path.rpartition("/")
    words = name.removeprefix("test_").split("_")
    if not folder:
        return (ROOT / f"{'_'.join(words)}.py").exists()
    if folder in ("faults", "examples"):
        return True  # Behaviour across the whole engine, and of whole flows.
    tries = ["_".join(words[:count]) for count in range(len(words), 0, -1)]
    return any((ROOT / folder / f"{one}.py").exists() for one in tries)


def test_each_module_of_some_size_has_its_test_module() -> None:
    found = [
        f"{one.path}: {one.text.count(chr(10))} lines, and no test of its name"
        for one in modules(*PACKAGES)
        if one.text.count("\n") > TESTED_FROM_LINES and not _tested(one)
    ]
    assert not found, "\n" + "\n".join(found)


def _tested(module: Module) -> bool:
    """A family's part counts as tested with its family: `merge_bins` by `test_merge`."""
    if module.path in TESTED_WITH:
        return (ROOT / TESTED_WITH[module.path]).exists()
    folder, _, name = module.path.removesuffix(".py").rpartition("/")
    words = name.split("_")
    least = 1 if module.package == "processors" else len(words)
    tries = ["_".join(words[:count]) for count in range(least, len(words) + 1)]
    return any(list((ROOT / "tests" / folder).glob(f"test_{one}*.py")) for one in tries)


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
        if path.suffix not in PROSE or path in WORDS_ARE_TOLD_IN or path.name == "LICENSE":
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
