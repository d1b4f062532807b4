"""What a session is given: what the log can hold passes, all else is named."""

from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.intake import check_attributes, check_batch, check_bytes, check_text, check_whole

anything = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=3) | st.text()
)


@pytest.mark.slow
@settings(max_examples=50)
@given(
    st.lists(st.dictionaries(st.text(max_size=3) | st.integers(), anything, max_size=3)),
    st.booleans(),
)
def test_attributes_pass_exactly_when_they_can_be_read_back(
    mappings: list[dict[Any, Any]], removing: bool
) -> None:
    stored = dict[str, str | None] if removing else dict[str, str]
    try:
        msgspec.convert(mappings, list[stored])  # type: ignore[valid-type]  # chosen at run time
        readable = True
    except msgspec.ValidationError:
        readable = False

    assert _passes(mappings, removing=removing) == readable


def _passes(mappings: list[dict[Any, Any]], *, removing: bool) -> bool:
    try:
        if not removing:
            check_batch(mappings)
        for mapping in mappings:
            check_attributes(mapping, removing=removing)
    except TypeError:
        return False
    return True


def test_a_batch_passes_exactly_when_each_of_it_passes() -> None:
    fine, wrong = {"a": "1"}, {"a": None}

    check_batch([])
    check_batch([fine, fine])
    with pytest.raises(TypeError, match=r"^attribute 'a' must be text, not None: give it as str"):
        check_batch([fine, wrong])  # type: ignore[list-item]  # the mistake
    check_attributes(wrong, removing=True)
    with pytest.raises(TypeError, match=r"^an attribute's name must be text, not 5: give it as"):
        check_batch([fine, {5: "n"}])  # type: ignore[dict-item]  # the mistake
    with pytest.raises(TypeError, match=r"^an attribute's name must be text, not None: give it as"):
        check_attributes({None: "n"})  # type: ignore[dict-item]  # the mistake


def test_any_mapping_will_do() -> None:
    check_batch([MappingProxyType({"a": "1"})])
    check_attributes(MappingProxyType({"a": "1"}))
    with pytest.raises(TypeError, match=r"^attribute 'a' must be text, not b'1': give it as str"):
        check_batch([MappingProxyType({"a": b"1"})])  # type: ignore[dict-item]  # the mistake


def test_what_does_not_pass_is_named_and_shown_in_short() -> None:
    with pytest.raises(TypeError, match=r"^details must be text, not 5: give it as str\(\.\.\.\)$"):
        check_text("details", 5)
    with pytest.raises(TypeError, match=r"^a name must be text, not None: give it as str"):
        check_text("a name", None, optional=False)
    with pytest.raises(
        TypeError, match=r"^state 'k' must be bytes, or None to remove it, not '1'$"
    ):
        check_bytes("state 'k'", "1")
    with pytest.raises(TypeError, match=r"^the step must be a whole number, not True$"):
        check_whole("the step", True)
    with pytest.raises(TypeError) as raised:
        check_text("details", b"x" * 1_000)
    assert len(str(raised.value)) < 150


def test_what_the_log_can_hold_passes() -> None:
    check_text("details", "")
    check_text("details", None)
    check_bytes("state", b"")
    check_bytes("state", None)
    check_whole("the step", -5)
