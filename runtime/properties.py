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
from typing import Annotated, Any, Final, Generic, Literal, TypeVar, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
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
    texts: dict[str, str] = {}
    for name, value in raw.items():
        current = former.get(name, name)
        if current == name or current not in raw:
            texts[current] = value
    return texts


def validate(
    declaration: type[Properties], raw: Mapping[str, str], scope: Scope
) -> Validated[Properties]:
    """Turn the texts of a component's properties into its declared values."""
    texts = canonical(declaration, raw)
    unresolved = _substitute(declaration, texts, scope)
    fields = _fields(declaration)
    ignored = {alias for alias in fields if not _applies(fields, alias, texts)}
    texts = {name: text for name, text in texts.items() if name not in ignored}
    problems = [one for one in unresolved if one.property not in ignored]
    for alias, info in fields.items():
        if alias in ignored or texts.get(alias) or info.default is not None:
            continue
        if details(info).get("required"):
            problems.append(Problem(alias, "is not set; it is required here"))
    told = {one.property for one in problems}
    try:
        properties = declaration.model_validate(texts, context=scope)
    except ValidationError as error:
        # What is wrong with a default goes by the field's own name.
        names = {name: info.alias or name for name, info in declaration.model_fields.items()}
        aliases = {name: alias for name, alias in names.items() if name not in texts}
        found = [_problem(fields, aliases, one) for one in error.errors()]
        problems.extend(one for one in found if not one.property or one.property not in told)
        return Validated(None, tuple(problems))
    return Validated(None if problems else properties, tuple(problems))


def _fields(declaration: type[Properties]) -> dict[str, FieldInfo]:
    return {info.alias or name: info for name, info in declaration.model_fields.items()}


def _substitute(
    declaration: type[Properties], texts: dict[str, str], scope: Scope
) -> list[Problem]:
    """Resolve `#{parameters}` where no expression will; report those that are missing."""
    fields = _fields(declaration)
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


def _applies(fields: Mapping[str, FieldInfo], alias: str, texts: Mapping[str, str]) -> bool:
    """Tell whether a property applies: what it depends on has one of the values, and applies."""
    for other, values in details(fields[alias]).get("depends_on", {}).items():
        info = fields.get(other)
        if info is None or not _applies(fields, other, texts):
            return False
        text = texts.get(other, _default_text(info))
        if text is None or (values and _stored(info, text) not in values):
            return False
    return True


def _default_text(info: FieldInfo) -> str | None:
    default = info.default
    if info.is_required() or default is None:
        return None
    if isinstance(default, bool):
        return str(default).lower()
    return default.value if isinstance(default, Enum) else str(default)


def _stored(info: FieldInfo, text: str) -> str:
    """Return a text as flows store it: a choice's value for its title, `true` for `True`."""
    choice = _choice(info)
    try:
        if choice is not None:
            return str(choice(text).value)
        if info.annotation is bool:
            return str(_BOOL.validate_python(text)).lower()
    except ValueError:
        return text
    return text


_BOOL: Final = TypeAdapter(bool)
_SHOWN_MAX: Final = 80
_BOUNDS: Final = {
    "greater_than_equal": ("ge", "at least"),
    "less_than_equal": ("le", "at most"),
    "greater_than": ("gt", "more than"),
    "less_than": ("lt", "less than"),
}


def _problem(
    fields: Mapping[str, FieldInfo], aliases: Mapping[str, str], error: Any
) -> Problem:
    name = str(error["loc"][0]) if error["loc"] else ""
    name = aliases.get(name, name)
    info = fields.get(name)
    if error["type"] == "missing":
        return Problem(name, "is not set; it is required")
    if error["type"] == "extra_forbidden":
        return Problem(name, f"does not exist. {_known(fields)}")
    value = error.get("input")
    secret = info is not None and bool(details(info).get("sensitive"))
    if error["type"] == "value_error":
        return Problem(name, _masked(str(error["ctx"]["error"]), value, secret))
    if isinstance(value, dict):
        return Problem(name, error["msg"])
    shown = "'…'" if secret else _shown(value)
    wanted = _wanted(error, info)
    return Problem(name, f"is {shown}; {wanted}" if wanted else f"is {shown}: {error['msg']}")


def _masked(message: str, value: object, secret: bool) -> str:
    """Take a secret out of a message that goes to bulletins and logs."""
    if not secret:
        return message
    text = str(value)
    return message.replace(text, "…") if text in message else "is not usable as it is"


def _wanted(error: Any, info: FieldInfo | None) -> str:
    """Return what is allowed instead; empty where only pydantic knows."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return f"it must be {words} {context[bound]}"
    if kind == "string_too_short":
        return f"it must have at least {context['min_length']} characters"
    if kind == "string_too_long":
        return f"it must have at most {context['max_length']} characters"
    if kind == "enum" and info is not None:
        return f"it must be one of: {_choices(info)}"
    if kind.startswith("int_"):
        return "it must be a whole number"
    if kind.startswith(("float_", "finite_")):
        return "it must be a number"
    return "it must be true or false" if kind.startswith("bool_") else ""


def _shown(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…")


def _known(fields: Mapping[str, FieldInfo]) -> str:
    return f"There are: {', '.join(sorted(fields))}" if fields else "There are none to set"


def _choice(info: FieldInfo) -> type[Enum] | None:
    for one in (info.annotation, *get_args(info.annotation)):
        if isinstance(one, type) and issubclass(one, Enum):
            return one
    return None


def _choices(info: FieldInfo) -> str:
    choice = _choice(info)
    return ", ".join(f"'{member.value}'" for member in choice) if choice else "its allowable values"
