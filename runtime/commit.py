"""A commit: what one session changed, as it is stored in the log.

A record of the log is one `Commit`, encoded as a MessagePack array in field order; its sequence
is its place in the log and is not repeated inside. Queue state is the fold of commits in
sequence order, and every provenance event is a view of one commit. A flowfile that a commit moves
was in the queue named by `taken`; a created one appears in `created` in its final version; a
later version is described by what differs (`changed`, `rewritten`).

Lists of ids are stored as `(first, count, None)` where they are consecutive, as
`(first, count, differences)` otherwise: 1,000 plain 64-bit ids would be 9 KB.
"""

from collections.abc import Iterator, Sequence
from enum import IntEnum
from itertools import accumulate, chain
from operator import sub

import msgspec

from runtime.flowfile import Claim, FlowFile

Ids = tuple[int, int, list[int] | None]


class EventType(IntEnum):
    """NiFi's provenance event types. The numbers are part of the stored format."""

    CREATE = 1
    RECEIVE = 2
    FETCH = 3
    SEND = 4
    UPLOAD = 5
    REMOTE_INVOCATION = 6
    DOWNLOAD = 7
    DROP = 8
    EXPIRE = 9
    FORK = 10
    JOIN = 11
    CLONE = 12
    CONTENT_MODIFIED = 13
    ATTRIBUTES_MODIFIED = 14
    ROUTE = 15
    ADDINFO = 16
    REPLAY = 17


class Taken(msgspec.Struct, array_like=True, gc=False):
    """Flowfiles that left a queue, in the order of taking."""

    connection: int
    ids: Ids


class Created(msgspec.Struct, array_like=True, gc=False):
    """Flowfiles that did not exist before, with their parents.

    `event` says how parents and children belong together: CREATE and RECEIVE have no parents,
    FORK has one parent and any number of children, JOIN any number of parents and one child,
    CLONE and REPLAY as many parents as children, in the same order.
    """

    event: int
    flowfiles: list[FlowFile]
    parents: Ids | None = None
    transit_uri: str | None = None
    details: str | None = None


class Changed(msgspec.Struct, array_like=True, gc=False):
    """Attribute deltas, one for each id, in order of application; None removes."""

    ids: Ids
    deltas: list[dict[str, str | None]]


class Rewritten(msgspec.Struct, array_like=True, gc=False):
    """New contents, one claim for each id; None is empty content."""

    ids: Ids
    claims: list[Claim | None]


class Target(msgspec.Struct, array_like=True, gc=False):
    """A connection that flowfiles were put into; `clones` names the copies, None the originals."""

    connection: int
    clones: Ids | None = None


class Reason(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Why flowfiles failed: class of the error, its message, and where it was raised."""

    kind: str
    message: str
    place: str = ""


class Routed(msgspec.Struct, array_like=True, gc=False):
    """Flowfiles that left by a relationship.

    Without targets the relationship ends there (auto-terminated) and they are dropped.
    `due`: milliseconds since the epoch before which they must wait (penalty), 0 for none.
    """

    relationship: str
    ids: Ids
    targets: list[Target]
    due: int = 0
    reason: Reason | None = None


class Dropped(msgspec.Struct, array_like=True, gc=False):
    """Flowfiles that ended: `event` is DROP or EXPIRE."""

    event: int
    ids: Ids
    details: str | None = None


class Deferred(msgspec.Struct, array_like=True, gc=False):
    """Flowfiles that stay in (or return to) their queue and wait there until `due`."""

    connection: int
    ids: Ids
    due: int
    retries: int = 0
    reason: Reason | None = None


class Reported(msgspec.Struct, array_like=True, gc=False):
    """Provenance that only the processor knows: SEND, FETCH, ADDINFO, ...

    `duration` is microseconds.
    """

    event: int
    ids: Ids
    transit_uri: str | None = None
    details: str | None = None
    duration: int = 0


class Action(msgspec.Struct, array_like=True):
    """What a person (or the node itself) did: who, what and why.

    `flow` holds the encoded flow model after an edit.
    """

    kind: str
    user: str
    note: str = ""
    flow: bytes | None = None


class Commit(msgspec.Struct, array_like=True):
    """One record of the log.

    `time` is microseconds since the epoch, `duration` microseconds since the session began,
    `component` the acting component's id (0: the node), `revision` the flow revision in force,
    `settings` a 64-bit hash of the processor's code and settings. `state` replaces the
    component's whole small state, `keyed` changes single keys of its keyed state (None removes).
    """

    time: int
    component: int
    revision: int = 0
    settings: int = 0
    duration: int = 0
    taken: list[Taken] = []
    created: list[Created] = []
    changed: list[Changed] = []
    rewritten: list[Rewritten] = []
    routed: list[Routed] = []
    dropped: list[Dropped] = []
    deferred: list[Deferred] = []
    reported: list[Reported] = []
    state: dict[str, str] | None = None
    keyed: dict[str, bytes | None] | None = None
    counters: dict[str, int] | None = None
    action: Action | None = None


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Commit).decode


def new_claims(commit: Commit) -> Iterator[Claim]:
    """Yield the claims whose content a commit brings into the store."""
    for created in commit.created:
        for flowfile in created.flowfiles:
            if flowfile.claim is not None:
                yield flowfile.claim
    for rewritten in commit.rewritten:
        yield from filter(None, rewritten.claims)


def encode_ids(ids: Sequence[int]) -> Ids:
    """Pack ids (at least one) into their stored form."""
    first = ids[0]
    count = len(ids)
    if count == 1:
        return (first, 1, None)
    # The first test is nearly free and fails for almost every list that is not a run.
    if ids[-1] - first == count - 1 and list(ids) == list(range(first, first + count)):
        return (first, count, None)
    return (first, count, list(map(sub, ids[1:], ids)))


def decode_ids(ids: Ids) -> Sequence[int]:
    """Unpack what `encode_ids` packed."""
    first, count, differences = ids
    if differences is None:
        return range(first, first + count)
    return list(accumulate(chain((first,), differences)))
