"""The content that a flowfile had before and after an event, as long as it is kept."""

from dataclasses import dataclass
from typing import BinaryIO, Literal

from provenance.attributes import State, states
from provenance.database import Database
from provenance.event import Event
from provenance.home import Home
from runtime.flowfile import Claim

Side = Literal["before", "after"]


class ContentUnknownError(LookupError):
    """An event has no content on the asked side, or nothing tells any more what it was."""


@dataclass(frozen=True, slots=True)
class Contents:
    """An event with the flowfile's states before and after it."""

    event: Event
    before: State
    after: State

    def claim(self, side: Side) -> Claim | None:
        """Return the claim of one side; None is empty content.

        Raises:
            ContentUnknownError: the flowfile did not exist, or retention has dropped the events
                that said what its content was.
        """
        state = self.before if side == "before" else self.after
        if not state.exists:
            raise ContentUnknownError(
                f"Event {self.event.id}: its flowfile {self.event.uuid} did not exist "
                f"{side} it ({self.event.type})"
            )
        if not state.content_known:
            raise ContentUnknownError(
                f"Event {self.event.id}: the content {side} it is not known; provenance retention "
                f"has dropped the earlier events of {self.event.uuid}"
            )
        return state.claim


def contents(database: Database, event: Event) -> Contents:
    """Find what an event's flowfile was before and after it."""
    before, after = states(database, event)
    return Contents(event, before, after)


def open_content(home: Home, claim: Claim | None) -> BinaryIO:
    """Open content as a stream, from the archive too.

    Raises:
        ContentGoneError: retention has removed it.
        ContentDamagedError: it does not match its checksum.
    """
    return home.content.open(claim)
