"""From a model to what runs: schedules, and the hash that tells an edit from a repetition."""

import sys
from pathlib import Path
from typing import Any

import pytest

from runtime.assembly import cron_line, prepare, settings_hash
from runtime.model import ProcessorModel, Schedule
from runtime.processor import Processor, Relationship
from runtime.properties import Problem, Properties, Property, Scope
from runtime.registry import Registry


class Step(Processor):
    """Has one property."""

    class Properties(Properties):
        count: int = Property(1, description="How many.")

    success = Relationship("All.")


def _model(**more: Any) -> ProcessorModel:
    return ProcessorModel(id=1, name="step", type="Step", **more)


def _problems(schedule: Schedule) -> list[Problem]:
    prepared = prepare(_model(schedule=schedule), Step, Scope())
    assert (prepared.properties is None) == bool(prepared.problems)
    return list(prepared.problems)


@pytest.mark.parametrize("line", ["0 */5 * * * ?", "0 0 6 ? * MON-FRI", "*/10 * * * * *"])
def test_a_cron_line_has_seconds_first(line: str) -> None:
    assert cron_line(line) == line.replace("?", "*")
    assert _problems(Schedule(strategy="cron", period=line)) == []


@pytest.mark.parametrize("line", ["", "* * * * *", "0 0 6 * * MON 2026 x"])
def test_a_cron_line_of_other_than_six_fields_is_shown_with_the_right_form(line: str) -> None:
    assert _problems(Schedule(strategy="cron", period=line)) == [
        Problem(
            "schedule",
            f"is '{line}'; a CRON line has six fields: second minute hour day month weekday, "
            "such as '0 */5 * * * ?'",
        )
    ]


@pytest.mark.parametrize("line", ["0 0 25 * * *", "x 0 0 * * *", "0 0 0 32 * *"])
def test_a_cron_line_with_a_field_out_of_bounds_is_refused(line: str) -> None:
    [problem] = _problems(Schedule(strategy="cron", period=line))
    assert problem.property == "schedule"
    assert problem.message.startswith(f"is '{line}', which is no CRON line: ")


def test_a_period_without_a_unit_is_refused() -> None:
    assert _problems(Schedule(period="5")) == [
        Problem(
            "schedule", "is '5'; it must be a duration such as '30 sec', '5 min' or '1 hour'"
        )
    ]


def test_there_is_at_least_one_task() -> None:
    assert _problems(Schedule(concurrent_tasks=0)) == [
        Problem("tasks", "is 0; it must be at least 1")
    ]


def test_equal_settings_have_equal_hashes_and_what_is_drawn_does_not_count() -> None:
    one = settings_hash(_model(properties={"a": "1", "b": "2"}), Step)
    assert settings_hash(_model(properties={"b": "2", "a": "1"}, position=(3.0, 4.0)), Step) == one
    assert settings_hash(_model(properties={"a": "1", "b": "3"}), Step) != one
    assert settings_hash(_model(properties={"a": "1", "b": "2"}, ended=("success",)), Step) != one


CODE = '''
from levada import transform

def helper(content):
    return content.{method}()

@transform
def change(content: bytes) -> bytes:
    """Change the content."""
    return helper(content)
'''


def test_a_change_of_what_a_function_calls_changes_its_hash(tmp_path: Path) -> None:
    hashes = []
    for number, method in enumerate(("upper", "lower", "upper")):
        path = tmp_path / "change.py"
        path.write_text(CODE.format(method=method))
        registry = Registry([], [tmp_path])
        declaration = registry.processor("Change")
        assert declaration is not None, (number, registry.problems)
        hashes.append(settings_hash(_model(), declaration))
    assert hashes[0] == hashes[2] != hashes[1]


def test_a_type_without_a_source_has_a_hash_of_its_name() -> None:
    made = type("Made", (Step,), {"__module__": "nowhere", "__doc__": "Made."})
    other = type("Other", (Step,), {"__module__": "nowhere", "__doc__": "Made."})
    assert "nowhere" not in sys.modules
    assert settings_hash(_model(), made) != settings_hash(_model(), other)
