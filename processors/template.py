"""Texts with expressions in them whose values must not be read as syntax.

A search pattern `^${prefix}\\d+` means the prefix as it is, dots and stars included; a replacement
`$1 ${price}` must not take the `$5` in a price for a group. So the text is kept in its parts: the
literal ones, which are syntax, and the expressions, whose values are not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, final

from pydantic import PlainValidator, ValidationInfo

from processors.java_pattern import JavaPattern, java_pattern
from runtime import expression
from runtime.expression.template import pieces
from runtime.flowfile import FlowFile
from runtime.properties import Scope


@final
class Template:
    """A text in parts: `str` for what is literal, expressions for the rest."""

    def __init__(self, text: str, environment: expression.Environment) -> None:
        self.text = text
        self.whole = expression.compile_expression(text, environment)
        self.parts: tuple[str | expression.Expression, ...] = tuple(
            expression.compile_expression(piece.text, environment) if piece.kind else piece.text
            for piece in pieces(text)
        )

    @property
    def is_constant(self) -> bool:
        """True where no flowfile can make a difference."""
        return self.whole.is_constant

    def evaluate(self, flowfile: FlowFile | None = None) -> str:
        """Return the text with every expression replaced by its value."""
        return self.whole.evaluate(flowfile)

    def pattern(self, flowfile: FlowFile | None = None) -> JavaPattern:
        """Read the text as a regular expression in which values stand for themselves.

        Raises:
            PatternError: it is none.
        """
        return java_pattern(self._rendered(flowfile, None))

    def _rendered(self, flowfile: FlowFile | None, extra: Mapping[str, str] | None) -> str:
        return "".join(
            part if isinstance(part, str) else re.escape(part.evaluate(flowfile, extra))
            for part in self.parts
        )


def _template(value: object, info: ValidationInfo) -> Template:
    scope = info.context if isinstance(info.context, Scope) else Scope()
    return Template(str(value), scope.environment)


def _pattern(value: object, info: ValidationInfo) -> Template:
    template = _template(value, info)
    if template.is_constant:
        template.pattern()
    return template


TemplateText = Annotated[Template, PlainValidator(_template)]
TemplatePattern = Annotated[Template, PlainValidator(_pattern)]
"""A template that is used as a regular expression; a constant one is checked when it is set."""
