"""The type of properties that name a character set."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator


def is_known(name: str) -> bool:
    """Tell whether Python has a text encoding of this name."""
    try:
        "".encode(name)
    except (LookupError, ValueError):
        return False
    return True


def checked(name: str) -> str:
    """Return `name` where it is a known character set.

    Raises:
        ValueError: with a sentence that shows the right form.
    """
    if not is_known(name):
        raise ValueError(
            f"is '{name}'; it must be a character set such as 'UTF-8', 'ISO-8859-1' or 'UTF-16'"
        )
    return name


CharacterSet = Annotated[str, AfterValidator(checked)]
