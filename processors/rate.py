"""Holding flowfiles to a rate: so many, or so many bytes, in a time.

Time is cut into windows. The first flowfile of a group opens one; while the group has not used up
its maximum, flowfiles pass, and the rest waits for the end of the window. A flowfile larger than
what is left still passes (else one above the maximum would wait for ever), and what it took too
much is charged to the windows after it:

    maximum 100     |  60  70    |        (30 charged) 60 20   |  ...
                    +------------+-----------------------------+
                    window       next window

So no window passes more than its maximum plus the excess of one flowfile, and the rate over any
number of windows is exact. What was used is kept in memory: a restart opens a new window.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from pydantic import ValidationInfo, field_validator

from runtime.flowfile import FlowFile
from runtime.processor import Effects, Example, Input, Processor, Relationship
from runtime.properties import Choice, DataSize, Duration, Property
from runtime.properties import Properties as Declaration
from runtime.session import Session
from runtime.units import format_duration, parse_size

_POSITIVE: Final = re.compile(r"0*[1-9][0-9]*", re.ASCII)


class Criteria(Choice):
    """What counts toward the rate."""

    DATA = "data rate", "data rate"
    COUNT = "flowfile count", "flowfile count"
    ATTRIBUTE = "attribute value", "attribute value"
    DATA_OR_COUNT = "data rate or flowfile count", "data rate or flowfile count"


class ExceededStrategy(Choice):
    """What happens to a flowfile that may not pass yet."""

    HOLD = "Hold FlowFile", "Hold flowfile"
    ROUTE = "Route to 'rate exceeded'", "Route to 'rate exceeded'"


class Window:
    """What one group used of its maximum in the current window."""

    __slots__ = ("_maximum", "_seconds", "_start", "_used")

    def __init__(self, maximum: int, seconds: float, now: float) -> None:
        self._maximum = maximum
        self._seconds = seconds
        self._start = now
        self._used = 0

    def advance(self, now: float) -> None:
        """Open the window that `now` lies in; an excess is paid off window by window."""
        passed = int((now - self._start) // self._seconds)
        if passed <= 0:
            return
        self._used = max(0, self._used - passed * self._maximum)
        # A group that used nothing opens its window when its next flowfile comes.
        self._start = self._start + passed * self._seconds if self._used else now

    @property
    def left(self) -> int:
        """How much may still pass; zero or less when it is used up."""
        return self._maximum - self._used

    @property
    def is_unused(self) -> bool:
        """Nothing is charged to the current window."""
        return self._used == 0

    def use(self, amount: int) -> None:
        """Count what passes."""
        self._used += amount

    def seconds_left(self, now: float) -> float:
        """Return how long it takes until something may pass."""
        if self.left > 0:
            return 0.0
        windows = 1 + (self._used - self._maximum) // self._maximum
        return self._start + windows * self._seconds - now


class ControlRate(Processor):
    """Hold flowfiles back so that no more than a maximum passes in a time."""

    class Properties(Declaration):
        criteria: Criteria = Property(
            Criteria.DATA,
            name="Rate Control Criteria",
            description="What is counted toward the rate.",
        )
        duration: Duration = Property(
            60.0,
            name="Time Duration",
            description="The length of the window that the maximum holds for: a second or more.",
        )
        maximum_rate: str | None = Property(
            None,
            name="Maximum Rate",
            description="How much may pass in a window: a size such as '1 MB' where data is "
            "counted, otherwise a positive whole number.",
            required=True,
            depends_on={
                "Rate Control Criteria": ("data rate", "flowfile count", "attribute value")
            },
        )
        maximum_data_rate: DataSize | None = Property(
            None,
            name="Maximum Data Rate",
            description="How many bytes may pass in a window, such as '1 MB'.",
            required=True,
            depends_on={"Rate Control Criteria": ("data rate or flowfile count",)},
            ge=1,
        )
        maximum_flowfile_rate: int | None = Property(
            None,
            name="Maximum FlowFile Rate",
            description="How many flowfiles may pass in a window.",
            required=True,
            depends_on={"Rate Control Criteria": ("data rate or flowfile count",)},
            ge=1,
        )
        exceeded: ExceededStrategy = Property(
            ExceededStrategy.HOLD,
            name="Rate Exceeded Strategy",
            description="Whether a flowfile that may not pass yet waits in its queue or leaves by "
            "a relationship of its own.",
        )
        attribute: str | None = Property(
            None,
            name="Rate Controlled Attribute",
            description="The attribute whose values, positive whole numbers, are added up.",
            required=True,
            depends_on={"Rate Control Criteria": ("attribute value",)},
        )
        grouping_attribute: str | None = Property(
            None,
            name="Grouping Attribute",
            description="Each value of this attribute has a rate of its own; flowfiles without it "
            "share one. Unless it is set there is one rate for all.",
        )

        @field_validator("duration")
        @classmethod
        def _is_long_enough(cls, value: float) -> float:
            if value < 1:
                raise ValueError(f"is {format_duration(value)}; it must be at least 1 sec")
            return value

        @field_validator("maximum_rate")
        @classmethod
        def _matches_criteria(cls, value: str | None, info: ValidationInfo) -> str | None:
            if value is None:
                return None
            _maximum(value, info.data.get("criteria", Criteria.DATA))
            return value

    success = Relationship("Flowfiles that may pass.")
    failure = Relationship("Flowfiles whose rate attribute is missing or not a positive number.")
    rate_exceeded = Relationship(
        "Flowfiles that came when the maximum was used up.", name="rate exceeded"
    )
    input = Input.REQUIRED
    effects = Effects.PURE
    batch_size = 1000
    # The windows are shared by all triggers.
    serial = True
    tags = ("rate", "throttle", "throughput", "limit", "back pressure")
    delivery = "A restart opens a new window, so the first one after it may follow a full one."
    example = Example(
        "At most 1,000 flowfiles a minute",
        properties={"Rate Control Criteria": "flowfile count", "Maximum Rate": "1000"},
        content=b"a reading",
        expect_content=b"a reading",
    )

    properties: Properties

    @classmethod
    def relationships(cls, properties: Properties) -> list[Relationship]:
        """Return the ways out; 'rate exceeded' only where the strategy uses it."""
        found = [cls.success, cls.failure]
        if properties.exceeded is ExceededStrategy.ROUTE:
            found.append(cls.rate_exceeded)
        return found

    def start(self) -> None:
        """Open no window yet: each group's first flowfile does."""
        self._windows: dict[str | None, list[Window]] = {}
        self._next_sweep = 0.0

    def on_trigger(self, session: Session) -> None:
        """Let pass what may; the rest waits for its window."""
        now = self.context.clock.monotonic()
        self._sweep(now)
        grouped = self.properties.grouping_attribute is not None
        routes = self.properties.exceeded is ExceededStrategy.ROUTE
        if not (grouped or routes) and (wait := self._seconds_left(None, now)):
            # Nothing can pass, so nothing is taken: a look at the queue costs no record.
            self.context.yield_for(wait)
            return
        passing, waiting = self._sort(session, session.take(), now)
        session.transfer(passing, self.success)
        for group, flowfiles in waiting.items():
            if routes:
                session.transfer(flowfiles, self.rate_exceeded)
            elif grouped:
                session.put_back(flowfiles, wait_seconds=self._seconds_left(group, now))
            else:
                # All of the queue waits, in its order: the processor pauses, not each flowfile.
                session.put_back(flowfiles)
                self.context.yield_for(self._seconds_left(group, now))

    def _sort(
        self, session: Session, flowfiles: list[FlowFile], now: float
    ) -> tuple[list[FlowFile], dict[str | None, list[FlowFile]]]:
        grouping = self.properties.grouping_attribute
        passing: list[FlowFile] = []
        waiting: dict[str | None, list[FlowFile]] = {}
        for flowfile in flowfiles:
            try:
                amounts = self._amounts(session, flowfile)
            except ValueError as error:
                session.transfer(flowfile, self.failure, reason=error)
                continue
            group = session.attribute(flowfile, grouping) if grouping else None
            windows = self._windows_of(group, now)
            # A flowfile stays behind those of its group that wait, so that none overtakes.
            if group in waiting or any(window.left <= 0 for window in windows):
                waiting.setdefault(group, []).append(flowfile)
                continue
            for window, amount in zip(windows, amounts, strict=True):
                window.use(amount)
            passing.append(flowfile)
        return passing, waiting

    def _amounts(self, session: Session, flowfile: FlowFile) -> tuple[int, ...]:
        match self.properties.criteria:
            case Criteria.DATA:
                return (flowfile.size,)
            case Criteria.COUNT:
                return (1,)
            case Criteria.DATA_OR_COUNT:
                return (flowfile.size, 1)
        name = self.properties.attribute or ""
        value = session.attribute(flowfile, name)
        if value is None:
            raise ValueError(f"The attribute '{name}' is missing; it holds what counts as rate")
        if not _POSITIVE.fullmatch(value) or len(value) > 18:
            raise ValueError(
                f"The attribute '{name}' is '{value[:50]}'; it must be a positive whole number "
                "of at most 18 digits"
            )
        return (int(value),)

    def _windows_of(self, group: str | None, now: float) -> list[Window]:
        windows = self._windows.get(group)
        if windows is None:
            seconds = self.properties.duration
            windows = [Window(maximum, seconds, now) for maximum in self._maxima()]
            self._windows[group] = windows
            return windows
        for window in windows:
            window.advance(now)
        return windows

    def _maxima(self) -> tuple[int, ...]:
        properties = self.properties
        if properties.criteria is Criteria.DATA_OR_COUNT:
            assert properties.maximum_data_rate and properties.maximum_flowfile_rate
            return properties.maximum_data_rate, properties.maximum_flowfile_rate
        assert properties.maximum_rate is not None
        return (_maximum(properties.maximum_rate, properties.criteria),)

    def _seconds_left(self, group: str | None, now: float) -> float:
        if group not in self._windows:
            return 0.0
        return max(window.seconds_left(now) for window in self._windows_of(group, now))

    def _sweep(self, now: float) -> None:
        """Forget groups that used nothing, so that many short-lived ones take no memory."""
        if now < self._next_sweep:
            return
        self._next_sweep = now + 2 * self.properties.duration
        for group, windows in list(self._windows.items()):
            for window in windows:
                window.advance(now)
            if all(window.is_unused for window in windows):
                del self._windows[group]


def _maximum(text: str, criteria: Criteria) -> int:
    parse: Callable[[str], int] = parse_size if criteria is Criteria.DATA else _parse_count
    value = parse(text)
    if value <= 0:
        raise ValueError(f"is '{text}'; it must be more than zero")
    return value


def _parse_count(text: str) -> int:
    if not re.fullmatch(r"\s*\d{1,18}\s*", text, re.ASCII):
        raise ValueError(f"is '{text}'; it must be a positive whole number, as counts are")
    return int(text)
