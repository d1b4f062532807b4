"""Make a component ready to run: its declaration's properties, routes and settings hash."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

import msgspec
import xxhash
from cronsim import CronSim, CronSimError

from runtime.component import Component, ComponentContext
from runtime.model import ProcessorModel, Schedule
from runtime.processor import Processor, Relationship
from runtime.properties import Problem, Properties, Scope, validate
from runtime.units import parse_duration

if TYPE_CHECKING:
    from runtime.engine import Engine

# Reading a class's source takes milliseconds; a reloaded extension is another class.
_code_hashes: Final[WeakKeyDictionary[type[Processor], int]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Prepared:
    """A processor's settings after validation; `properties` None where there are problems."""

    model: ProcessorModel
    declaration: type[Processor]
    properties: Properties | None
    relationships: tuple[Relationship, ...]
    problems: tuple[Problem, ...]
    settings_hash: int


def prepare(model: ProcessorModel, declaration: type[Processor], scope: Scope) -> Prepared:
    """Validate a processor's settings, without touching what runs."""
    outcome = validate(declaration.Properties, model.properties, scope)
    relationships: tuple[Relationship, ...] = ()
    if outcome.properties is not None:
        relationships = tuple(declaration.relationships(outcome.properties))
    problems = outcome.problems + _schedule_problems(model.schedule)
    return Prepared(
        model,
        declaration,
        None if problems else outcome.properties,
        relationships,
        problems,
        settings_hash(model, declaration),
    )


def apply(component: Component, prepared: Prepared) -> None:
    """Let a component take prepared settings; whoever calls holds the engine's lock."""
    model = prepared.model
    declaration = prepared.declaration
    component.declaration = declaration
    component.name = model.name
    component.schedule = schedule_of(model, declaration)
    component.retry = model.retry
    component.penalty_seconds = model.penalty_seconds
    component.yield_seconds = model.yield_seconds
    component.bulletin_level = model.bulletin_level
    component.settings_hash = prepared.settings_hash
    component.batch_size = component.schedule.batch_size or declaration.batch_size
    component.is_async = inspect.iscoroutinefunction(declaration.on_trigger)
    if prepared.properties is not None:
        component.effects = declaration.effects_of(prepared.properties)
    component.derive()


def instantiate(engine: Engine, component: Component, prepared: Prepared) -> Processor:
    """Make the instance that these settings describe."""
    assert prepared.properties is not None
    return prepared.declaration(prepared.properties, ComponentContext(engine, component))


def schedule_of(model: ProcessorModel, declaration: type[Processor]) -> Schedule:
    """Return the schedule in force: the model's, else the declaration's."""
    return model.schedule or Schedule(period=declaration.default_period)


def _schedule_problems(schedule: Schedule | None) -> tuple[Problem, ...]:
    if schedule is None:
        return ()
    try:
        if schedule.strategy == "cron":
            cron_line(schedule.period)
        else:
            parse_duration(schedule.period)
    except ValueError as error:
        return (Problem("schedule", str(error)),)
    if schedule.concurrent_tasks < 1:
        return (Problem("tasks", f"is {schedule.concurrent_tasks}; it must be at least 1"),)
    return ()


def cron_line(text: str) -> str:
    """Check a CRON line of six fields, seconds first as in NiFi, and return it in cronsim's words.

    Raises:
        ValueError: with a sentence that shows the right form.
    """
    fields = text.replace("?", "*").split()
    if len(fields) != 6:
        raise ValueError(
            f"is '{text}'; a CRON line has six fields: second minute hour day month weekday, "
            "such as '0 */5 * * * ?'"
        )
    line = " ".join(fields)
    try:
        from datetime import datetime

        CronSim(line, datetime(2024, 1, 1))
    except CronSimError as error:
        raise ValueError(f"is '{text}', which is no CRON line: {error}") from error
    return line


def settings_hash(model: ProcessorModel, declaration: type[Processor]) -> int:
    """Hash a processor's code and settings: equal hashes give equal results of a pure step."""
    settings = msgspec.msgpack.encode(
        [declaration.__name__, sorted(model.properties.items()), list(model.ended)]
    )
    code = _code_hashes.get(declaration)
    if code is None:
        code = _code_hashes[declaration] = _code_hash(declaration)
    return xxhash.xxh3_64_intdigest(settings, seed=code)


def _code_hash(declaration: type[Processor]) -> int:
    """Hash the module's source: the class alone would leave out the functions that it calls."""
    file = getattr(sys.modules.get(declaration.__module__), "__file__", None)
    try:
        source = Path(file).read_bytes() if file else declaration.__qualname__.encode()
    except OSError:
        source = declaration.__qualname__.encode()
    return xxhash.xxh3_64_intdigest(source)


