"""The bare loop: the least code that writes the same bytes as the four-hop flow.

Per batch: build slotted flowfiles with five attributes, append 200-byte contents in one write,
encode and append the create record; copy the attributes with one changed, encode and append;
route by one comparison, encode and append the ids; drop, encode and append the ids. No call for
each flowfile but the constructor, the copy and the encoder; the same disk, no syncs.
"""

import os
import time
from pathlib import Path

import msgspec

from runtime.commit import encode_ids
from runtime.flowfile import Claim, FlowFile

CONTENT = b"x" * 200
HOPS = 4
COPY_LIMIT = 3.5


def attributes(number: int) -> dict[str, str]:
    """Return the five attributes of a flowfile."""
    return {
        "filename": f"file-{number}",
        "number": str(number),
        "source": "benchmark",
        "kind": "event",
        "priority": "5",
    }


def run(directory: Path, batch: int, seconds: float) -> float:
    """Return hops per second."""
    encode = msgspec.msgpack.Encoder().encode
    log = os.open(directory / "bare.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    content = os.open(directory / "bare.content", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    number = offset = 0
    started = time.perf_counter()
    end = started + seconds
    while time.perf_counter() < end:
        flowfiles = [
            FlowFile(
                one, attributes(one), Claim(1, offset + 200 * at, 200, 0), 1, 1, 200
            )
            for at, one in enumerate(range(number, number + batch))
        ]
        os.write(content, b"".join([CONTENT] * batch))
        os.write(log, encode([1, flowfiles]))
        changed = [
            FlowFile(
                one.id,
                {**one.attributes, "priority": "7"},
                one.claim,
                one.lineage_start,
                one.entered,
                one.size,
            )
            for one in flowfiles
        ]
        ids = [one.id for one in changed]
        os.write(log, encode([2, encode_ids(ids), [{"priority": "7"}] * batch]))
        matched = [one.id for one in changed if one.attributes["priority"] == "7"]
        os.write(log, encode([3, encode_ids(matched)]))
        os.write(log, encode([4, encode_ids(matched)]))
        number += batch
        offset += 200 * batch
    elapsed = time.perf_counter() - started
    os.close(log)
    os.close(content)
    return number * HOPS / elapsed


def copy_ratio(hops_per_second: float) -> float:
    """Return what a hop costs in copies of a five-key dictionary with one key set."""
    source = attributes(1)
    count = 200_000
    started = time.perf_counter()
    for _ in range(count):
        copy = {**source}
        copy["priority"] = "7"
    one = (time.perf_counter() - started) / count
    return (1 / hops_per_second) / one
