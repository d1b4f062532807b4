"""Parameters: references, inheritance, sensitivity, values from the command line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.expression import Environment
from runtime.flowfile import Identity
from runtime.model import FlowModel, GroupModel, Parameter, ParameterContext
from runtime.parameters import (
    ParameterError,
    UnknownParameterError,
    effective,
    escape,
    inheritance_cycles,
    parse_override,
    parse_parameter_file,
    property_texts,
    references,
    substitute,
    whole_reference,
    with_overrides,
)
from runtime.properties import Expression, Properties, Property, Scope, validate


@pytest.mark.parametrize(
    ("text", "names", "result"),
    [
        ("#{a}", ["a"], "1"),
        ("#{'two words'} #{two words} #{ a }", ["two words", "a"], "2 2 1"),
        ("##{a}", [], "#{a}"),
        ("###{a}", ["a"], "#1"),
        ("####{a}", [], "##{a}"),
        ("x#{a}y#{a}", ["a"], "x1y1"),
        ("# {a} #a {a} #{", [], "# {a} #a {a} #{"),
        ("#{}", [], "#{}"),
        ("a # b ## c", [], "a # b ## c"),
    ],
)
def test_references_are_found_and_replaced(text: str, names: list[str], result: str) -> None:
    assert references(text) == names
    assert substitute(text, {"a": "1", "two words": "2"}) == result


@given(st.text(alphabet="#{}' a", max_size=12))
def test_an_escaped_text_is_substituted_to_itself(text: str) -> None:
    assert substitute(escape(text), {"a": "1"}) == text


@given(st.text(alphabet="#{}' a", max_size=12))
def test_a_value_is_never_looked_into_again(text: str) -> None:
    assert substitute("#{a}", {"a": text}) == text


def test_a_missing_parameter_is_named_with_a_guess() -> None:
    with pytest.raises(
        UnknownParameterError,
        match="^refers to the parameter 'sped', which does not exist. There are: s",
    ):
        substitute("#{sped}", {"speed": "1"})


def test_a_whole_reference_is_told_from_a_part() -> None:
    assert whole_reference("#{a}") == "a"
    assert whole_reference("#{a} ") is None
    assert whole_reference("##{a}") is None
    assert whole_reference("#{a}#{b}") is None


def context(id: int, inherits: tuple[int, ...] = (), **values: str) -> ParameterContext:
    parameters = {name: Parameter(value=value) for name, value in values.items()}
    return ParameterContext(id=id, name=f"c{id}", parameters=parameters, inherits=inherits)


def values(contexts: list[ParameterContext], id: int) -> dict[str, str | None]:
    return {name: one.value for name, one in effective(contexts, id).items()}


def test_own_parameters_win_then_those_inherited_first() -> None:
    contexts = [
        context(1, (2, 3), a="own"),
        context(2, (4,), a="second", b="second"),
        context(3, (), b="third", c="third", d="third"),
        context(4, (), c="deep"),
    ]

    assert values(contexts, 1) == {"a": "own", "b": "second", "c": "deep", "d": "third"}
    assert values(contexts, 99) == {}
    assert effective(contexts, None) == {}


def test_an_alias_is_resolved_one_level_deep() -> None:
    contexts = [context(1, (), a="#{b}", b="#{c}", c="x", d="pre #{c}")]

    assert values(contexts, 1) == {"a": "#{c}", "b": "x", "c": "x", "d": "pre #{c}"}


def test_circles_are_found_and_do_not_hang_anything() -> None:
    contexts = [
        context(1, (2,), a="1"),
        context(2, (1,), b="2"),
        context(3, (3,)),
        context(4, (1,)),
    ]

    found = [(one.id, circle) for one, circle in inheritance_cycles(contexts)]

    assert found == [(1, "c1 -> c2 -> c1"), (2, "c2 -> c1 -> c2"), (3, "c3 -> c3")]
    assert values(contexts, 1) == {"a": "1", "b": "2"}


class Declared(Properties):
    url: str = Property("")
    said: Expression = Property("")
    password: str = Property("", sensitive=True, formerly=("pass-word",))


KNOWN = {
    "plain": Parameter(value="p"),
    "empty": Parameter(),
    "secret": Parameter(value="enc:v1:AAAA", sensitive=True),
}


def test_texts_are_left_to_validation_and_secrets_are_opened() -> None:
    raw = {
        "Url": "http://#{plain}/##{x}", "Said": "${a} #{plain}", "Password": "#{secret}",
        "pass-word": "enc:v1:BBBB",
    }  # fmt: skip

    resolved = property_texts(Declared, raw, KNOWN, decrypt=lambda stored: f"<{stored}>")

    assert resolved.problems == []
    assert resolved.texts == raw | {"Password": "<enc:v1:AAAA>", "pass-word": "<enc:v1:BBBB>"}
    assert resolved.parameters == {"plain": "p"}
    assert property_texts(Declared, raw, KNOWN).texts["Password"] == "********"


def test_a_secret_that_looks_like_a_reference_is_none() -> None:
    raw = {"Password": "enc:v1:AAAA"}

    resolved = property_texts(Declared, raw, KNOWN, decrypt=lambda stored: "a#{plain}")

    scope = Scope(Environment(identity=Identity(0), parameters=resolved.parameters))
    found = validate(Declared, resolved.texts, scope).properties
    assert isinstance(found, Declared) and found.password == "a#{plain}"


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("Url", "#{plan}", ("LV-023", "refers to the parameter 'plan', which does not exist",
         "Its group's parameter context has: plain, empty, secret. Did you mean 'plain'?")),
        ("Url", "#{a/b}", ("LV-023", "refers to the parameter 'a/b', whose name cannot exist",
         "A name has letters, digits, spaces and '.', '_', '-'; `##{` is a plain `#{`.")),
        ("Url", "#{empty}", ("LV-023", "refers to the parameter 'empty', which has no value",
         "Set it on the canvas, or start with --param 'empty=VALUE'.")),
        ("Url", "#{secret}", ("LV-024", "is not sensitive and refers to the sensitive parameter"
         " 'secret'", "Only a sensitive property may use it: its value would be shown here.")),
        ("Password", "#{plain}", ("LV-024", "is sensitive and refers to the parameter 'plain',"
         " which is not", "Mark 'plain' with `sensitive: true`.")),
        ("Password", "x#{secret}", ("LV-024", "mixes the sensitive parameter 'secret' with other"
         " text", 'Write "#{secret}" alone.')),
    ],
)  # fmt: skip
def test_a_reference_that_cannot_be_is_explained(
    name: str, text: str, problem: tuple[str, str, str]
) -> None:
    assert property_texts(Declared, {name: text}, KNOWN).problems == [(name, *problem)]


def flow() -> FlowModel:
    parameters = {"a": Parameter(value="1"), "key": Parameter(sensitive=True)}
    contexts = (ParameterContext(id=2, name="flow", parameters=parameters),)
    return FlowModel(root=GroupModel(id=1, name="x"), parameter_contexts=contexts)


def test_values_from_outside_replace_those_of_the_flow() -> None:
    after = with_overrides(flow(), {"a": "2", "key": "k"}, encrypt=lambda text: f"enc:v1:{text}")

    found = {name: one.value for name, one in after.parameter_contexts[0].parameters.items()}
    assert found == {"a": "2", "key": "enc:v1:k"}


def test_a_value_for_no_parameter_is_refused() -> None:
    with pytest.raises(ParameterError, match="'b' does not exist. The flow has: a, key."):
        with_overrides(flow(), {"b": "2"})


def test_a_sensitive_value_needs_a_key() -> None:
    with pytest.raises(ParameterError, match="'key' is sensitive; its value needs a key"):
        with_overrides(flow(), {"key": "2"})


def test_an_override_is_a_name_and_a_value() -> None:
    assert parse_override("a=b=c") == ("a", "b=c")
    for text in ("a", "=b"):
        with pytest.raises(ParameterError, match="--param is '.*'; it must be NAME=VALUE"):
            parse_override(text)


def test_a_parameter_file_has_a_line_each() -> None:
    text = "# comment\n\nexport A=1\nb = 'x y'\nc=\"#1\"\nd=\n"

    found = parse_parameter_file(text, file="values.env")

    assert found == {"A": "1", "b": "x y", "c": "#1", "d": ""}
    with pytest.raises(ParameterError, match="values.env line 2: it is 'oops'; it must be NAME="):
        parse_parameter_file("a=1\noops", file="values.env")


def test_a_parameter_file_may_be_yaml() -> None:
    assert parse_parameter_file("a: 1.10\nb: x y", file="v.yaml") == {"a": "1.10", "b": "x y"}
    with pytest.raises(ParameterError, match="v.yml line 1: the value of 'a' must be a text"):
        parse_parameter_file("a: [1]", file="v.yml")
    with pytest.raises(ParameterError, match="LV-001  v.yml line 1: this is not YAML"):
        parse_parameter_file("a: [", file="v.yml")
