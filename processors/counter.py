"""Counting flowfiles: UpdateCounter.

A counter belongs to the commit: it changes when the flowfiles that it counts go on, and a roll-back
or a crash takes both back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from pydantic import field_validator

from processors.one_by_one import in_batches
from runtime.expression import ExpressionError
from runtime.flowfile import FlowFile
from runtime.processor import Effects, Example, Processor, Relationship
from runtime.properties import Expression, Property
from runtime.properties import Properties as Declaration
from runtime.session import Session

DELTA_MAX: Final = 10**15
"""A thousand of these still fit into the 64 bits that the log has for a counter's change."""
_NUMBER: Final = re.compile(r"[+-]?\d{1,16}", re.ASCII)


class UpdateCounter(Processor):
    """Add to a counter for every flowfile that passes."""

    class Properties(Declaration):
        counter_name: Expression = Property(
            formerly=("counter-name",),
            description="The counter to add to, such as `orders` or `orders from ${country}`.",
        )
        delta: Expression = Property(
            "1",
            formerly=("delta",),
            description="What each flowfile adds: a whole number, which may be negative.",
        )

        @field_validator("counter_name")
        @classmethod
        def _is_named(cls, value: Expression) -> Expression:
            if value.is_constant and not value.text.strip():
                raise ValueError("is empty; it must be the name of a counter")
            return value

        @field_validator("delta")
        @classmethod
        def _is_number(cls, value: Expression) -> Expression:
            if value.is_constant:
                delta_of(value.evaluate())
            return value

    effects = Effects.PURE
    batch_size = 1000
    tags = ("counter", "debug", "instrumentation")
    reads = {"(those in the properties)": "Names and deltas may be made of attributes."}
    delivery = "The counter and the flowfiles are one commit: a crash counts nothing twice."
    success = Relationship("Flowfiles that were counted.")
    example = Example(
        "Bytes by country",
        properties={"Counter Name": "bytes from ${country}", "Delta": "${fileSize}"},
        attributes={"country": "PT"},
        content=b"12345",
        expect_attributes={"country": "PT"},
        expect_content=b"12345",
    )

    properties: Properties

    def on_trigger(self, session: Session) -> None:
        in_batches(session, self._count)

    def _count(self, session: Session, flowfiles: list[FlowFile]) -> None:
        name, delta = self.properties.counter_name, self.properties.delta
        if name.is_constant and delta.is_constant:
            session.count(name.evaluate(), int(delta.evaluate()) * len(flowfiles))
        else:
            pairs = zip(name.evaluate_all(flowfiles), delta.evaluate_all(flowfiles), strict=True)
            for counter, sum_of_deltas in self._sums(pairs).items():
                session.count(counter, sum_of_deltas)
        session.transfer(flowfiles, self.success)

    def _sums(self, pairs: Iterable[tuple[str, str]]) -> dict[str, int]:
        sums: dict[str, int] = {}
        for counter, delta in pairs:
            if not counter.strip():
                raise ExpressionError(
                    f"The name of the counter, '{self.properties.counter_name.text}', is empty "
                    "for this flowfile. Use another attribute, or `replaceEmpty`"
                )
            try:
                sums[counter] = sums.get(counter, 0) + delta_of(delta)
            except ValueError as error:
                text = self.properties.delta.text
                raise ExpressionError(f"The delta '{text}' {error}") from None
        return sums


def delta_of(text: str) -> int:
    """Parse what a flowfile adds.

    Raises:
        ValueError: with the words that follow the property's name.
    """
    number = text.strip()
    if not _NUMBER.fullmatch(number) or abs(int(number)) > DELTA_MAX:
        raise ValueError(f"is '{text}'; it must be a whole number, at most {DELTA_MAX:,}")
    return int(number)
