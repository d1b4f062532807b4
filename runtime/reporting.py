"""The telling verbs of a session: provenance that only the processor knows, counters and state.

All of it is part of the commit record, so it takes effect with the commit or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from runtime.commit import EventType, Reported, encode_ids
from runtime.creation import NOTHING, SessionError
from runtime.flowfile import FlowFile
from runtime.intake import check_bytes, check_text, check_whole

if TYPE_CHECKING:
    from runtime.component import Component
    from runtime.engine import Engine

STATE_BYTES_MAX = 65_536


class Reporting:
    """Base of `Session`; not for use by itself."""

    engine: Engine
    component: Component
    reported: list[Reported] = NOTHING
    new_state: dict[str, str] | None = None
    keyed: dict[str, bytes | None] | None = None
    counters: dict[str, int] | None = None

    def sent(
        self,
        flowfile: FlowFile,
        transit_uri: str,
        *,
        details: str | None = None,
        duration_seconds: float = 0.0,
    ) -> None:
        """Report SEND: a copy of the content went to `transit_uri`."""
        self.report(
            EventType.SEND,
            flowfile,
            transit_uri,
            details=details,
            duration_seconds=duration_seconds,
        )

    def fetched(
        self,
        flowfile: FlowFile,
        transit_uri: str,
        *,
        details: str | None = None,
        duration_seconds: float = 0.0,
    ) -> None:
        """Report FETCH: the content was replaced by what lies at `transit_uri`."""
        self.report(
            EventType.FETCH,
            flowfile,
            transit_uri,
            details=details,
            duration_seconds=duration_seconds,
        )

    def report(
        self,
        event: EventType,
        flowfile: FlowFile,
        transit_uri: str | None = None,
        *,
        details: str | None = None,
        duration_seconds: float = 0.0,
    ) -> None:
        """Report any other provenance event that only the processor knows of."""
        if type(event) is not EventType:
            raise TypeError(f"the event must be one of EventType, not {event!r:.80}")
        check_text("the transit URI", transit_uri)
        check_text("details", details)
        if not self.reported:
            self.reported = []
        self.reported.append(
            Reported(
                event, encode_ids([flowfile.id]), transit_uri, details, int(duration_seconds * 1e6)
            )
        )

    def count(self, counter: str, delta: int = 1) -> None:
        """Add to a named counter; it takes effect with the commit."""
        check_text("a counter's name", counter, optional=False)
        check_whole(f"the step of counter '{counter}'", delta)
        if self.counters is None:
            self.counters = {}
        self.counters[counter] = self.counters.get(counter, 0) + delta

    @property
    def state(self) -> Mapping[str, str]:
        """The component's small state: as set in this session, else as last committed."""
        return self.component.state if self.new_state is None else self.new_state

    def set_state(self, state: Mapping[str, str]) -> None:
        """Replace the component's whole small state (up to 64 KB), as part of the commit."""
        size = 0
        for key, value in state.items():
            check_text("a key of the state", key, optional=False)
            check_text(f"state '{key}'", value, optional=False)
            size += len(key.encode()) + len(value.encode())
        if size > STATE_BYTES_MAX:
            raise SessionError(
                f"The state of {self.component.path} would have {size:,} bytes; small state "
                f"ends at {STATE_BYTES_MAX:,}. Keep single keys with set_key"
            )
        self.new_state = dict(state)

    def key(self, name: str) -> bytes | None:
        """Read one key of the component's keyed state, as this session sees it."""
        if self.keyed is not None and name in self.keyed:
            return self.keyed[name]
        return self.engine.keyed.read(self.component.id, name)

    def set_key(self, name: str, value: bytes | None) -> None:
        """Set (or with None remove) one key of the keyed state, as part of the commit."""
        check_text("a key of the state", name, optional=False)
        check_bytes(f"state '{name}'", value)
        if self.keyed is None:
            self.keyed = {}
        self.keyed[name] = value
