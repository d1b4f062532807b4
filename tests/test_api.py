"""The public names: each is documented, and a change of any is a line in a diff of api.txt."""

import inspect
from pathlib import Path

import pytest

import levada
from docs.generate import public_api

COMMITTED = Path(__file__).with_name("api.txt")
DOCUMENTED_BY_THEIR_MODULE = {
    "Condition",
    "DataSize",
    "Duration",
    "Expression",
    "Pattern",
    "Service",
}
"""Annotated types have no docstring of their own; runtime/properties.py says what each is."""


def test_the_public_names_are_those_that_are_committed() -> None:
    assert list(public_api()) == COMMITTED.read_text(encoding="utf-8").splitlines(), (
        "the public names changed; if that is wanted, run `make docs` and commit tests/api.txt"
    )


@pytest.mark.parametrize("name", sorted(set(levada.__all__) - DOCUMENTED_BY_THEIR_MODULE))
def test_each_public_name_has_a_docstring_of_its_own(name: str) -> None:
    value = getattr(levada, name)
    documentation = value.__doc__ or ""
    inherited = any(documentation == base.__doc__ for base in getattr(value, "__mro__", ())[1:])
    assert documentation and not inherited, f"levada.{name} has no docstring"


def test_the_annotated_types_are_told_in_their_module() -> None:
    module = inspect.getmodule(levada.Properties)
    assert module is not None
    for name in DOCUMENTED_BY_THEIR_MODULE:
        assert f"`{name}" in (module.__doc__ or "")


def test_every_public_name_exists() -> None:
    assert not [name for name in levada.__all__ if not hasattr(levada, name)]


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(AttributeError, match="module 'levada' has no attribute 'Flow'"):
        levada.Flow  # noqa: B018  # the access itself is what is tested


def test_overridable_methods_say_what_they_are_for() -> None:
    for base in (levada.Processor, levada.ControllerService):
        for name, member in vars(base).items():
            function = getattr(member, "__func__", member)
            if inspect.isfunction(function) and not name.startswith("_"):
                assert function.__doc__, f"{base.__name__}.{name} has no docstring"
