"""The conformance suite: what every processor must keep, ours and a third party's alike.

`check` asserts one rule after the other and names the processor, the rule and what was found.
The rules are those of docs/processor-spec.md.
"""

from __future__ import annotations

import inspect
import re

from runtime.processor import Input, Processor, own_relationships
from runtime.properties import DynamicProperties, details
from runtime.testing import TestRunner

_NAME = re.compile(r"[A-Z][A-Za-z0-9]+")


def check(declaration: type[Processor]) -> None:
    """Assert that a processor keeps every rule; see the module."""
    _check_description(declaration)
    _check_properties(declaration)
    _check_relationships(declaration)
    if declaration.example is not None:
        _check_example(declaration)
        _check_rollback(declaration)


def _rule(declaration: type[Processor], holds: bool, sentence: str) -> None:
    assert holds, f"{declaration.__name__}: {sentence}"


def _check_description(declaration: type[Processor]) -> None:
    name = declaration.__name__
    summary = (inspect.cleandoc(declaration.__doc__ or "")).partition("\n")[0]
    _rule(declaration, bool(_NAME.fullmatch(name)), "its name must be CamelCase")
    _rule(
        declaration,
        bool(summary) and declaration.__doc__ != Processor.__doc__,
        "it needs a docstring; its first line is shown on the canvas",
    )
    _rule(declaration, summary.endswith("."), f"the summary must end with a full stop: {summary!r}")
    _rule(
        declaration,
        "this processor" not in summary.lower(),
        "the summary says what happens; it need not say 'this processor'",
    )
    for kind in ("reads", "writes"):
        for attribute, text in getattr(declaration, kind).items():
            _rule(declaration, bool(text), f"attribute '{attribute}' in {kind} has no description")


def _check_properties(declaration: type[Processor]) -> None:
    for name, info in declaration.Properties.model_fields.items():
        label = info.alias or name
        _rule(
            declaration,
            bool(info.description),
            f"property '{label}' has no description; the form shows it",
        )
        for other in details(info).get("depends_on", {}):
            known = {one.alias for one in declaration.Properties.model_fields.values()}
            _rule(declaration, other in known, f"'{label}' depends on unknown '{other}'")
    runner = TestRunner(declaration, {})
    missing = [one for one in runner.problems if "is not set" not in one.message]
    _rule(declaration, not missing, f"its defaults do not validate: {missing}")
    if not issubclass(declaration.Properties, DynamicProperties):
        unknown = TestRunner(declaration, {"no such property": "x"}).problems
        _rule(
            declaration,
            any("does not exist" in one.message for one in unknown),
            "an unknown property must be refused",
        )


def _check_relationships(declaration: type[Processor]) -> None:
    for relationship in own_relationships(declaration):
        _rule(
            declaration,
            bool(relationship.description),
            f"relationship '{relationship.name}' has no description",
        )
        _rule(
            declaration,
            relationship.name not in ("end", "hold"),
            f"no relationship may be called '{relationship.name}'",
        )


def _check_example(declaration: type[Processor]) -> None:
    example = declaration.example
    assert example is not None
    runner = TestRunner(declaration, example.properties)
    try:
        _rule(declaration, not runner.problems, f"its example is not valid: {runner.problems}")
        if declaration.input is not Input.FORBIDDEN:
            # An attribute that nobody asked for must never disturb.
            runner.enqueue(example.content, {**example.attributes, "no one reads this": "${x"})
        runner.run()
        results = runner.flowfiles(example.expect)
        _rule(declaration, bool(results), f"its example gives nothing to '{example.expect}'")
        found = results[0]
        for name, value in example.expect_attributes.items():
            _rule(
                declaration,
                found.attributes.get(name) == value,
                f"its example gives {name}={found.attributes.get(name)!r}, not {value!r}",
            )
        if example.expect_content is not None:
            _rule(
                declaration,
                found.content == example.expect_content,
                f"its example gives {found.content!r}, not {example.expect_content!r}",
            )
    finally:
        runner.close()


def _check_rollback(declaration: type[Processor]) -> None:
    """A trigger whose session rolls back must leave its input as it was."""
    example = declaration.example
    assert example is not None
    if declaration.input is Input.FORBIDDEN or inspect.iscoroutinefunction(declaration.on_trigger):
        return
    runner = TestRunner(declaration, example.properties)
    try:
        runner.enqueue(example.content, example.attributes)
        runner.start()
        session = runner.engine.open_session(runner.component)
        runner.processor.on_trigger(session)
        session.rollback()
        runner.engine.close_session(session)
        runner.engine.return_held(runner.component)
        _rule(declaration, runner.queued == 1, "a roll-back must give back what was taken")
        left = [name for name in runner.outputs if runner.flowfiles(name)]
        _rule(declaration, not left, f"a roll-back must leave nothing behind in {left}")
    finally:
        runner.close()


