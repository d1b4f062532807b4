"""The demo's answer to an HTTP request: the delays in the newest file that the flow wrote."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Final

from levada import (
    Effects,
    Example,
    Processor,
    Properties,
    Property,
    Relationship,
    Session,
)

PREFIX: Final = "flights-"
SUFFIX: Final = ".csv"
SHOWN: Final = ("carrier", "flight", "tailnum", "origin", "dest")


class HourUnreadableError(ValueError):
    """The newest file is not what the flow writes; the message names it."""


class ReportNewestHour(Processor):
    """Replace the content by the delays of the newest hour, as JSON."""

    class Properties(Properties):
        directory: str = Property(
            ".",
            min_length=1,
            description="Where the hours lie, one file each, such as flights-2013-01-01T10.csv.",
        )
        late_after: int = Property(
            15, description="A flight that arrives more minutes late than this is reported."
        )

    effects = Effects.READS_OUTSIDE
    batch_size = 10
    tags = ("flights", "report", "http", "example")
    writes = {"mime.type": "application/json"}
    success = Relationship("Flowfiles with the report.")
    failure = Relationship("Flowfiles for which the newest file could not be read.")
    example = Example(
        "No hour yet",
        properties={"Directory": "/nonexistent"},
        expect_attributes={"mime.type": "application/json"},
        expect_content=b'{"hour": null, "flights": 0, "delayed": []}',
    )

    properties: Properties

    def on_trigger(self, session: Session) -> None:
        """Write the report."""
        for flowfile in session.take():
            try:
                content = json.dumps(self._report()).encode()
            except HourUnreadableError as error:
                session.transfer(flowfile, self.failure, reason=error)
                continue
            flowfile = session.write(flowfile, content)
            flowfile = session.put(flowfile, {"mime.type": "application/json"})
            session.transfer(flowfile, self.success)

    def _report(self) -> dict[str, object]:
        path = newest(Path(self.properties.directory))
        if path is None:
            return {"hour": None, "flights": 0, "delayed": []}
        try:
            with open(path, encoding="utf-8", newline="") as file:
                flights = list(csv.DictReader(file))
            delayed = [
                {name: flight[name] for name in SHOWN} | {"minutes": minutes}
                for flight in flights
                if (minutes := minutes_late(flight)) > self.properties.late_after
            ]
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise HourUnreadableError(
                f"{path} cannot be read as an hour of flights ({error!r}). Move it away, and the "
                "newest of the others is reported"
            ) from error
        delayed.sort(key=lambda flight: flight["minutes"], reverse=True)
        return {
            "hour": path.name.removeprefix(PREFIX).removesuffix(SUFFIX),
            "flights": len(flights),
            "delayed": delayed,
        }


def newest(directory: Path) -> Path | None:
    """Return the file of the latest hour; None when there is none yet."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return None
    hours = [name for name in names if name.startswith(PREFIX) and name.endswith(SUFFIX)]
    return directory / max(hours) if hours else None


def minutes_late(flight: dict[str, str]) -> int:
    """Return the delay of a flight on arrival; 0 where it never arrived."""
    late = flight["arr_delay"]
    return 0 if late == "NA" else int(late)
