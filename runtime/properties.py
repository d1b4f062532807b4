"""The declaration of a component's properties: a pydantic model that every reader shares.

A processor or service declares `class Properties(levada.Properties)`; each field is a property.
Its name on screen and in flows is the alias (by default the field's name in title case), its
type decides how the text that a user writes becomes a value:

- `str`, `int`, `float`, `bool`, and subclasses of `Choice` (allowable values);
- `Duration` (seconds, from `5 min`), `DataSize` (bytes, from `10 MB`);
- `Expression` (Expression Language, renders text for a flowfile) and `Condition` (true or false);
- `Pattern` (a regular expression), `Service[...]` (a controller service by name).

Texts reach validation with `#{parameters}` resolved, and `Scope` carries what they may refer to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
)
from pydantic.fields import FieldInfo

from runtime import expression, patterns
from runtime.flowfile import Identity
from runtime.parameters import substitute
from runtime.units import parse_duration, parse_size

T = TypeVar("T")
ExpressionScope = Literal["none", "environment", "flowfile"]


class Choice(StrEnum):
    """Allowable values. Each member: the stored value (NiFi's spelling), then the title shown."""

    title_: str

    def __new__(cls, value: str, title: str = "") -> Choice:
        member = str.__new__(cls, value)
        member._value_ = value
        member.title_ = title or value
        return member

    @classmethod
    def _missing_(cls, value: object) -> Choice | None:
        # A person who writes the title, or other capitals, means the value.
        wanted = str(value).lower()
        for member in cls:
            if wanted in (member.value.lower(), member.title_.lower()):
                return member
        return None


@dataclass(frozen=True)
class Scope:
    """What the texts of properties may refer to while they are validated."""

    environment: expression.Environment = field(
        default_factory=lambda: expression.Environment(identity=Identity(0))
    )
    service: Callable[[str], object] | None = None


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with one property (or, with an empty name, with the whole)."""

    property: str
    message: str

    def __str__(self) -> str:
        return f"property '{self.property}' {self.message}" if self.property else self.message


class ServiceReference(Generic[T]):
    """A controller service by name; `get` returns it while it is enabled."""

    def __init__(self, name: str, find: Callable[[str], object] | None) -> None:
        self.name = name
        self._find = find

    def get(self) -> T:
        """Return the running service.

        Raises:
            LookupError: it does not exist or is not enabled; the message says which.
        """
        if self._find is None:
            raise LookupError(f"controller service '{self.name}' is not known here")
        return self._find(self.name)  # type: ignore[return-value]  # checked against `service_type`


def _scope(info: ValidationInfo) -> Scope:
    return info.context if isinstance(info.context, Scope) else Scope()


def _expression(value: object, info: ValidationInfo) -> expression.Expression:
    return expression.compile_expression(str(value), _scope(info).environment)


def _condition(value: object, info: ValidationInfo) -> expression.Condition:
    return expression.compile_condition(str(value), _scope(info).environment)


def _service(value: object, info: ValidationInfo) -> ServiceReference[Any]:
    return ServiceReference(str(value), _scope(info).service)


def _text_to(parse: Callable[[str], float | int]) -> Callable[[object], object]:
    return lambda value: parse(value) if isinstance(value, str) else value


Expression = Annotated[expression.Expression, PlainValidator(_expression)]
Condition = Annotated[expression.Condition, PlainValidator(_condition)]
Pattern = Annotated[
    patterns.Pattern, PlainValidator(lambda value: patterns.compile_pattern(str(value)))
]
Duration = Annotated[float, BeforeValidator(_text_to(parse_duration))]
DataSize = Annotated[int, BeforeValidator(_text_to(parse_size))]
Service = Annotated[ServiceReference[T], PlainValidator(_service)]


class Properties(BaseModel):
    """Base of every declaration of properties; instances are immutable."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        validate_default=True,
        alias_generator=lambda name: name.replace("_", " ").title(),
    )


class DynamicProperties(Properties, Generic[T]):
    """Properties beside which users add their own, each parsed as a `T`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, T] = Field(init=False)

    @property
    def dynamic(self) -> dict[str, T]:
        """The user's own properties by name, in the order in which they were set."""
        return self.__pydantic_extra__


def Property(  # noqa: N802  # reads as a declaration, like pydantic's Field
    default: Any = ...,
    *,
    name: str | None = None,
    description: str = "",
    sensitive: bool = False,
    required: bool | None = None,
    depends_on: Mapping[str, tuple[str, ...]] | None = None,
    formerly: tuple[str, ...] = (),
    service_type: str = "",
    **constraints: Any,
) -> Any:
    """Declare one property.

    Args:
        default: the value when the user sets none; none at all makes the property required.
        name: as NiFi 2 spells it; by default the field's name in title case.
        description: one or two sentences for the form and the manual.
        sensitive: the value is a secret: encrypted at rest, never shown or exported.
        required: set it on a dependent property that must be set whenever it applies.
        depends_on: names of other properties and the values (none: any) that make this one apply;
            where it does not apply it is ignored.
        formerly: names that older flows use.
        service_type: the class name of the controller service that a `Service` must have.
        constraints: pydantic's own (`ge`, `le`, `min_length`, `pattern`, ...).
    """
    extra: dict[str, Any] = {
        "sensitive": sensitive,
        "required": required,
        "depends_on": dict(depends_on or {}),
        "formerly": list(formerly),
        "service_type": service_type,
    }
    return Field(
        default, alias=name, description=description, json_schema_extra=extra, **constraints
    )


def details(info: FieldInfo) -> dict[str, Any]:
    """Return what `Property` declared beyond pydantic's own fields."""
    extra = info.json_schema_extra
    return dict(extra) if isinstance(extra, dict) else {}


def is_service(info: FieldInfo) -> bool:
    """Tell whether a property names a controller service."""
    return _mentions(info.annotation, (ServiceReference,))


def is_expression(info: FieldInfo) -> bool:
    """Tell whether a property's text may hold the Expression Language."""
    return _mentions(info.annotation, (expression.Expression, expression.Condition))


def dynamic_type(declaration: type[Properties]) -> Any:
    """Return the type of the user's own properties; None where there are none."""
    if not issubclass(declaration, DynamicProperties):
        return None
    for base in declaration.__mro__:
        arguments = getattr(base, "__pydantic_generic_metadata__", {}).get("args")
        if arguments:
            return arguments[0]
    return str


def _mentions(annotation: Any, classes: tuple[type, ...]) -> bool:
    if annotation in classes or get_origin(annotation) in classes:
        return True
    return any(_mentions(argument, classes) for argument in get_args(annotation))


@dataclass(frozen=True)
class Validated(Generic[T]):
    """The outcome of validation: a value, or every problem found."""

    properties: T | None
    problems: tuple[Problem, ...]


def canonical(declaration: type[Properties], raw: Mapping[str, str]) -> dict[str, str]:
    """Rename what older flows call otherwise; names that are unknown stay as they are."""
    former = {
        old: info.alias or name
        for name, info in declaration.model_fields.items()
        for old in details(info).get("formerly", ())
    }
    return {former.get(name, name): value for name, value in raw.items()}


def validate(
    declaration: type[Properties], raw: Mapping[str, str], scope: Scope
) -> Validated[Properties]:
    """Turn the texts of a component's properties into its declared values."""
    texts = canonical(declaration, raw)
    problems = _substitute(declaration, texts, scope)
    for name, info in declaration.model_fields.items():
        alias = info.alias or name
        if not _applies(declaration, info, texts):
            texts.pop(alias, None)
        elif details(info).get("required") and not texts.get(alias) and info.default is None:
            problems.append(Problem(alias, "is not set; it is required here"))
    try:
        properties = declaration.model_validate(texts, context=scope)
    except ValidationError as error:
        problems.extend(_problem(declaration, one) for one in error.errors())
        return Validated(None, tuple(problems))
    return Validated(None if problems else properties, tuple(problems))


def _substitute(
    declaration: type[Properties], texts: dict[str, str], scope: Scope
) -> list[Problem]:
    """Resolve `#{parameters}` where no expression will; report those that are missing."""
    fields = {info.alias or name: info for name, info in declaration.model_fields.items()}
    dynamic_is_expression = _mentions(
        dynamic_type(declaration), (expression.Expression, expression.Condition)
    )
    problems = []
    for name, text in texts.items():
        info = fields.get(name)
        if is_expression(info) if info else dynamic_is_expression:
            continue
        if "#{" in text:
            try:
                texts[name] = substitute(text, scope.environment.parameters)
            except LookupError as error:
                problems.append(Problem(name, str(error.args[0])))
    return problems


def _applies(declaration: type[Properties], info: FieldInfo, texts: Mapping[str, str]) -> bool:
    for other, values in details(info).get("depends_on", {}).items():
        text = texts.get(other, _default_text(declaration, other))
        if text is None or (values and text not in values):
            return False
    return True


def _default_text(declaration: type[Properties], alias: str) -> str | None:
    for name, info in declaration.model_fields.items():
        if (info.alias or name) == alias:
            default = info.default
            if info.is_required() or default is None:
                return None
            if isinstance(default, bool):
                return str(default).lower()
            return default.value if isinstance(default, Enum) else str(default)
    return None


def _problem(declaration: type[Properties], error: Any) -> Problem:
    name = str(error["loc"][0]) if error["loc"] else ""
    shown = repr(error.get("input")) if not isinstance(error.get("input"), dict) else ""
    context = error.get("ctx", {})
    match error["type"]:
        case "missing":
            return Problem(name, "is not set; it is required")
        case "extra_forbidden":
            return Problem(name, f"does not exist. {_known(declaration)}")
        case "value_error":
            return Problem(name, str(context["error"]))
        case "enum":
            return Problem(name, f"is {shown}; it must be one of: {_choices(declaration, name)}")
        case "int_parsing" | "int_type" | "int_from_float":
            return Problem(name, f"is {shown}; it must be a whole number")
        case "float_parsing" | "float_type":
            return Problem(name, f"is {shown}; it must be a number")
        case "bool_parsing" | "bool_type":
            return Problem(name, f"is {shown}; it must be true or false")
        case "greater_than_equal":
            return Problem(name, f"is {shown}; it must be at least {context['ge']}")
        case "less_than_equal":
            return Problem(name, f"is {shown}; it must be at most {context['le']}")
        case "greater_than":
            return Problem(name, f"is {shown}; it must be more than {context['gt']}")
        case _:
            return Problem(name, f"is {shown}: {error['msg']}")


def _known(declaration: type[Properties]) -> str:
    names = sorted(info.alias or name for name, info in declaration.model_fields.items())
    return f"There are: {', '.join(names)}" if names else "There are none to set"


def _choices(declaration: type[Properties], alias: str) -> str:
    for name, info in declaration.model_fields.items():
        if (info.alias or name) == alias:
            for one in (info.annotation, *get_args(info.annotation)):
                if isinstance(one, type) and issubclass(one, Enum):
                    return ", ".join(f"'{member.value}'" for member in one)
    return "its allowable values"
