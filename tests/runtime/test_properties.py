"""Properties: texts become values, and each mistake gets its sentence."""

import pytest

from runtime.expression import Environment
from runtime.flowfile import Identity
from runtime.processor import ControllerService
from runtime.properties import (
    Choice,
    Condition,
    DataSize,
    Duration,
    DynamicProperties,
    Expression,
    Pattern,
    Problem,
    Properties,
    Property,
    Scope,
    Service,
    canonical,
    details,
    dynamic_type,
    is_expression,
    is_service,
    validate,
)


class Mode(Choice):
    ALL = "all-matches", "All matches"
    FIRST = "first", "First match"
    NONE = "none"


class Ledger(ControllerService):
    """Keeps accounts."""


class Everything(Properties):
    count: int = Property(3, ge=1, le=9)
    rank: int = Property(1, lt=9)
    share: float = Property(0.5, gt=0, lt=1)
    loud: bool = Property(False)
    mode: Mode = Property(Mode.ALL)
    time_to_live: Duration = Property(60.0)
    largest_size: DataSize = Property(1024)
    file_name: Expression | None = Property(None, name="Filename")
    keep: Condition | None = Property(None)
    matches: Pattern | None = Property(None)
    ledger: Service[Ledger] | None = Property(None, service_type="Ledger")
    password: str | None = Property(None, sensitive=True, min_length=8)


class Needed(Properties):
    target: str = Property(description="Where to.", formerly=("dest", "old-target"))


class Dependent(Properties):
    mode: Mode = Property(Mode.ALL)
    delimiter: str | None = Property(
        None, required=True, depends_on={"Mode": ("first",)}, min_length=1
    )
    escape: str | None = Property(None, depends_on={"Delimiter": ()})
    loud: bool = Property(False)
    volume: int = Property(1, ge=1, depends_on={"Loud": ("true",)})


class Conditions(DynamicProperties[Condition]):
    mode: Mode = Property(Mode.ALL)


class Texts(DynamicProperties[str]):
    """Any text."""


def _scope(**parameters: str) -> Scope:
    return Scope(Environment(identity=Identity(0), parameters=parameters))


def _problems(
    declaration: type[Properties], scope: Scope | None = None, **raw: str
) -> list[tuple[str, str]]:
    texts = {name.replace("_", " "): value for name, value in raw.items()}
    outcome = validate(declaration, texts, scope or Scope())
    assert (outcome.properties is None) == bool(outcome.problems)
    return [(one.property, one.message) for one in outcome.problems]


def _valid(declaration: type[Properties], scope: Scope | None = None, **raw: str) -> Properties:
    texts = {name.replace("_", " "): value for name, value in raw.items()}
    outcome = validate(declaration, texts, scope or Scope())
    assert outcome.problems == ()
    assert outcome.properties is not None
    return outcome.properties


def test_a_text_becomes_the_value_of_its_type() -> None:
    found = _valid(
        Everything,
        Count="7",
        Share="0.25",
        Loud="true",
        Mode="first",
        Time_To_Live="5 min",
        Largest_Size="2 KB",
        Filename="${filename:toUpper()}",
        Keep="${a:equals('b')}",
        Matches="[ab]+",
    )
    assert isinstance(found, Everything)
    assert (found.count, found.share, found.loud, found.mode) == (7, 0.25, True, Mode.FIRST)
    assert (found.time_to_live, found.largest_size) == (300.0, 2048)
    assert found.matches is not None
    assert found.ledger is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("Count", "many", "is 'many'; it must be a whole number"),
        ("Count", "1.5", "is '1.5'; it must be a whole number"),
        ("Count", "", "is ''; it must be a whole number"),
        ("Count", "0", "is '0'; it must be at least 1"),
        ("Count", "10", "is '10'; it must be at most 9"),
        ("Rank", "9", "is '9'; it must be less than 9"),
        ("Count", "9" * 5000, f"is '{'9' * 80}…'; it must be a whole number"),
        ("Share", "half", "is 'half'; it must be a number"),
        ("Share", "0", "is '0'; it must be more than 0.0"),
        ("Share", "nan", "is 'nan'; it must be less than 1.0"),
        ("Loud", "loud", "is 'loud'; it must be true or false"),
        ("Mode", "some", "is 'some'; it must be one of: 'all-matches', 'first', 'none'"),
        (
            "Time To Live",
            "5",
            "is '5'; it must be a duration such as '30 sec', '5 min' or '1 hour'",
        ),
        ("Largest Size", "x", "is 'x'; it must be a size such as '512 B', '10 MB' or '1 GB'"),
        ("Largest Size", "9" * 400 + " TB", f"is '{'9' * 400} TB'; it must be a size such as "
         "'512 B', '10 MB' or '1 GB'"),
    ],
)  # fmt: skip
def test_each_mistake_shows_the_value_and_what_is_allowed(
    name: str, text: str, message: str
) -> None:
    assert _problems(Everything, None, **{name.replace(" ", "_"): text}) == [(name, message)]


@pytest.mark.parametrize("name", ["Filename", "Keep", "Matches"])
def test_a_text_that_does_not_compile_names_its_property(name: str) -> None:
    found = _problems(Everything, None, **{name: "${a:noSuchFunction()}(("})
    assert [one for one, _ in found] == [name]


def test_a_condition_must_be_true_or_false() -> None:
    found = _problems(Everything, Keep="${filename:length()}")
    assert [one for one, _ in found] == ["Keep"]
    assert _problems(Everything, Keep="${filename:length():gt(3)}") == []


def test_all_problems_are_told_at_once() -> None:
    found = _problems(Everything, Count="many", Loud="loud", Colour="red")
    assert [name for name, _ in found] == ["Count", "Loud", "Colour"]


def test_an_unknown_property_is_told_with_those_that_there_are() -> None:
    assert _problems(Needed, target="x", Target="y") == [
        ("target", "does not exist. There are: Target")
    ]

    assert _problems(Properties, Colour="red") == [
        ("Colour", "does not exist. There are none to set")
    ]


def test_what_has_no_default_must_be_set() -> None:
    assert _problems(Needed) == [("Target", "is not set; it is required")]


@pytest.mark.parametrize("name", ["Target", "dest", "old-target"])
def test_names_of_older_flows_are_understood(name: str) -> None:
    assert canonical(Needed, {name: "x"}) == {"Target": "x"}
    assert validate(Needed, {name: "x"}, Scope()).problems == ()


def test_the_name_in_force_wins_over_a_former_one() -> None:
    for texts in ({"Target": "new", "dest": "old"}, {"dest": "old", "Target": "new"}):
        assert canonical(Needed, texts) == {"Target": "new"}


@pytest.mark.parametrize("text", ["first", "First match", "FIRST", "first MATCH"])
def test_an_allowable_value_may_be_written_as_its_title_and_in_other_capitals(text: str) -> None:
    found = _valid(Everything, Mode=text)
    assert isinstance(found, Everything)
    assert found.mode is Mode.FIRST


def test_a_choice_has_its_value_as_title_unless_it_tells_another() -> None:
    assert [(str(one), one.title_) for one in Mode] == [
        ("all-matches", "All matches"),
        ("first", "First match"),
        ("none", "none"),
    ]


# Dependent properties


def test_a_property_that_does_not_apply_is_ignored() -> None:
    found = _valid(Dependent, Delimiter="", Volume="none of it")
    assert isinstance(found, Dependent)
    assert (found.delimiter, found.volume) == (None, 1)


def test_a_dependent_property_that_applies_is_checked_and_required() -> None:
    assert _problems(Dependent, Mode="first") == [("Delimiter", "is not set; it is required here")]
    assert _problems(Dependent, Loud="true", Volume="0") == [
        ("Volume", "is '0'; it must be at least 1")
    ]


@pytest.mark.parametrize("mode", ["first", "First match", "FIRST"])
def test_a_dependency_holds_however_its_value_is_written(mode: str) -> None:
    found = _valid(Dependent, Mode=mode, Delimiter=",", Loud="True", Volume="7")
    assert isinstance(found, Dependent)
    assert (found.delimiter, found.volume) == (",", 7)


def test_what_depends_on_a_property_that_does_not_apply_does_not_apply_either() -> None:
    chained = _valid(Dependent, Mode="none", Delimiter=",", Escape="x")
    assert isinstance(chained, Dependent)
    assert chained.escape is None

    applies = _valid(Dependent, Mode="first", Delimiter=",", Escape="x")
    assert isinstance(applies, Dependent)
    assert applies.escape == "x"


def test_a_missing_parameter_of_what_does_not_apply_is_no_problem() -> None:
    assert _problems(Dependent, Mode="none", Delimiter="#{missing}") == []
    assert len(_problems(Dependent, Mode="first", Delimiter="#{missing}")) == 1


# Parameters, secrets and services


def test_parameters_are_resolved_before_a_text_becomes_a_value() -> None:
    found = _valid(Everything, _scope(n="4", unit="min"), Count="#{n}", Time_To_Live="#{n} #{unit}")
    assert isinstance(found, Everything)
    assert (found.count, found.time_to_live) == (4, 240.0)


def test_a_missing_parameter_is_named() -> None:
    [(name, message)] = _problems(Everything, _scope(other="1"), Count="#{limit}")
    assert name == "Count"
    assert "'limit'" in message


def test_a_sensitive_value_is_never_shown() -> None:
    class Secret(Properties):
        password: str = Property(sensitive=True, min_length=20)
        pin: int = Property(sensitive=True)
        wait: Duration = Property(1.0, sensitive=True)

    found = _problems(Secret, Password="hunter2", Pin="secret-pin", Wait="secret-wait")

    assert found == [
        ("Password", "is '…'; it must have at least 20 characters"),
        ("Pin", "is '…'; it must be a whole number"),
        ("Wait", "is '…'; it must be a duration such as '30 sec', '5 min' or '1 hour'"),
    ]


def test_a_service_is_found_by_name_when_it_is_asked_for() -> None:
    ledger = Ledger(None, None)  # type: ignore[arg-type]  # nothing asks it for either
    scope = Scope(service={"books": ledger}.__getitem__)

    found = _valid(Everything, scope, Ledger="books")
    assert isinstance(found, Everything)
    assert found.ledger is not None
    assert found.ledger.get() is ledger


def test_a_service_where_there_are_none_is_named() -> None:
    found = _valid(Everything, Ledger="books")
    assert isinstance(found, Everything)
    assert found.ledger is not None
    with pytest.raises(LookupError) as raised:
        found.ledger.get()
    assert str(raised.value) == "controller service 'books' is not known here"


# The user's own properties


def test_the_users_own_properties_keep_their_order_and_are_parsed() -> None:
    found = _valid(Texts, zebra="1", ant="2")
    assert isinstance(found, Texts)
    assert list(found.dynamic.items()) == [("zebra", "1"), ("ant", "2")]


def test_a_mistake_in_one_of_the_users_own_properties_names_it() -> None:
    found = _problems(Conditions, small="${size:lt(", large="${a:isNull()}")
    assert [name for name, _ in found] == ["small"]


def test_a_parameter_in_a_text_of_the_users_own_is_resolved() -> None:
    found = _valid(Texts, _scope(who="world"), greeting="hello #{who}")
    assert isinstance(found, Texts)
    assert found.dynamic == {"greeting": "hello world"}


def test_a_declaration_tells_what_its_properties_are() -> None:
    fields = Everything.model_fields
    assert [name for name, one in fields.items() if is_expression(one)] == ["file_name", "keep"]
    assert [name for name, one in fields.items() if is_service(one)] == ["ledger"]
    assert [name for name, one in fields.items() if details(one)["sensitive"]] == ["password"]
    assert dynamic_type(Texts) is str
    assert dynamic_type(Conditions) is not None
    assert dynamic_type(Everything) is None


def test_a_problem_reads_as_a_sentence() -> None:
    assert str(Problem("Count", "is '0'; it must be at least 1")) == (
        "property 'Count' is '0'; it must be at least 1"
    )
    assert str(Problem("", "set one of Path and Name")) == "set one of Path and Name"
