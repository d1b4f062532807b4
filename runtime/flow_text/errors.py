"""What can be wrong with a flow: one class of problem, one table of codes.

A problem is data: the command line prints it, REST answers with it and the canvas marks the
component. Reading and checking never stop at the first one.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

CODES: Final = {
    "LV-001": "The text is not YAML",
    "LV-002": "A tab stands where only spaces may stand",
    "LV-003": "The file is not text in UTF-8",
    "LV-004": "The text is too large, or nested too deep",
    "LV-005": "A value of one kind stands where another belongs",
    "LV-006": "The version of the format is missing, or newer than this Levada",
    "LV-007": "A key or a name occurs twice",
    "LV-008": "A key is unknown",
    "LV-009": "A name is reserved or empty",
    "LV-010": "The value of a setting is outside of what is allowed",
    "LV-011": "A target does not exist",
    "LV-012": "A part of YAML that flows do not use",
    "LV-013": "A relationship must be named",
    "LV-014": "A secret stands in the text",
    "LV-015": "A parameter context does not exist, or inherits in a circle",
    "LV-016": "A type is unknown",
    "LV-017": "A relationship does not exist",
    "LV-018": "A relationship leads nowhere",
    "LV-019": "A property does not validate",
    "LV-020": "Flowfiles arrive at a component that takes none",
    "LV-021": "No flowfile can arrive at a component that needs them",
    "LV-022": "A schedule cannot be kept",
    "LV-023": "A parameter does not exist or has no value",
    "LV-024": "A sensitive parameter and a property do not go together",
    "LV-025": "A controller service does not exist, is disabled, or does not fit",
    "LV-026": "A port is not connected",
    "LV-027": "The value of a secret is not in this home",
    "LV-028": "An expression of a queue's order does not compile",
}


@dataclass(frozen=True)
class FlowProblem:
    """One thing that is wrong.

    `component` is the group path, name and type as shown to people; it is empty for what
    concerns the text as a whole. `line` starts at 1; None where the flow was not read from text.
    """

    code: str
    message: str
    remedy: str = ""
    file: str = ""
    line: int | None = None
    component: str = ""

    @property
    def place(self) -> str:
        """The component and the line, as far as they are known."""
        where = f"{self.file} line {self.line}" if self.line else self.file
        return ", ".join(part for part in (self.component, where) if part)

    def __str__(self) -> str:
        head = f"{self.code}  {self.place}: {self.message}" if self.place else self.message
        return f"{head}.\n        {self.remedy}" if self.remedy else f"{head}."


@dataclass
class Problems:
    """The problems found so far in one text."""

    file: str = ""
    found: list[FlowProblem] = field(default_factory=list)

    def add(
        self, code: str, message: str, remedy: str = "", *, line: int | None = None, at: str = ""
    ) -> None:
        """Note one; `at` is the component as people see it."""
        assert code in CODES
        self.found.append(FlowProblem(code, message, remedy, self.file, line, at))

    def sorted(self) -> list[FlowProblem]:
        """Return them in the order of the text, each once."""
        return sorted(dict.fromkeys(self.found), key=lambda one: one.line or 0)


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the name that was probably meant, whatever its capitals; None if none is near."""
    by_lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[near[0]] if near else None


def choices(name: str, known: Iterable[str], *, intro: str = "There are") -> str:
    """Return a sentence with what there is and a guess: `It has: a, b. Did you mean 'a'?`."""
    names = list(known)
    if not names:
        return f"{intro} none."
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    guess = closest(name, names)
    return f"{intro}: {shown}." + (f" Did you mean '{guess}'?" if guess else "")
