from datetime import UTC, datetime
from pathlib import Path

import pytest

from provenance.content import Contents, ContentUnknownError, contents, open_content
from provenance.database import Database
from provenance.home import Home
from provenance.replay import Replay, ReplayRefusedError, prepare
from provenance.search import find_event
from runtime.clock import SystemClock
from runtime.commit import Changed, Commit, Created, EventType, Rewritten, Target, encode_ids
from runtime.content import ContentGoneError, ContentStore
from runtime.disk import SystemDisk
from runtime.flowfile import Claim
from runtime.model import empty_flow
from tests.provenance.histories import (
    FIRST,
    FLOW,
    IDENTITY,
    START,
    created,
    flow_edit,
    flowfile,
    make_home,
    routed,
)

NOW = datetime(2026, 11, 23, 14, 5, 6, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """One flowfile: created (commit 2), rewritten by `route` (3), joined (4)."""
    path = tmp_path / "home"
    path.mkdir()
    store = ContentStore(path / "content", disk=SystemDisk(), clock=SystemClock())
    writer = store.writer()
    old, new = writer.append(b"before"), writer.append(b"after!!")
    writer.flush()
    store.close()
    rewrite = routed([FIRST], "late", Target(11))
    rewrite.rewritten.append(Rewritten(encode_ids([FIRST]), [new]))
    rewrite.changed.append(Changed(encode_ids([FIRST]), [{"a": "2", "discard.reason": None}]))
    join = Commit(START, 3, created=[
        Created(EventType.JOIN, [flowfile(FIRST + 1, new)], encode_ids([FIRST]))
    ])  # fmt: skip
    first = flowfile(FIRST, old, a="1", **{"discard.reason": "x", "alternate.identifier": "y"})
    return make_home(path, [flow_edit(), created(first), rewrite, join])


def found_in(home: Home, id: int) -> Contents:
    """An event with its states."""
    with Database(home) as database:
        return contents(database, find_event(database, id))


def test_a_replay_queues_what_the_component_was_given(home: Home) -> None:
    found = found_in(home, 3 << 20)
    replay = prepare(found, FLOW, has_content=home.content.verify, now=NOW, lineage_start=7)

    assert replay == Replay(
        event=3 << 20,
        parent=FIRST,
        connection=10,
        attributes={
            "a": "1",
            "filename": IDENTITY.uuid(FIRST),
            "flowfile.replay": "true",
            "flowfile.replay.timestamp": "Mon Nov 23 14:05:06 UTC 2026",
        },
        claim=found.before.claim,
        lineage_start=7,
    )
    assert home.content.read(replay.claim) == b"before"


@pytest.mark.parametrize(
    ("id", "words"),
    [
        (4 << 20, "a JOIN has several inputs; replay the events of its parents"),
        (2 << 20, "was taken from no connection by flights; replay an event of the next"),
    ],
)
def test_an_event_without_one_input_is_refused(home: Home, id: int, words: str) -> None:
    with pytest.raises(ReplayRefusedError, match=words):
        prepare(found_in(home, id), FLOW, has_content=home.content.verify, now=NOW)


def test_content_that_is_gone_is_refused(home: Home) -> None:
    with pytest.raises(ReplayRefusedError, match="content is gone, removed by content retention"):
        prepare(found_in(home, 3 << 20), FLOW, has_content=lambda claim: False, now=NOW)


def test_a_connection_that_no_longer_exists_is_refused(home: Home) -> None:
    with pytest.raises(ReplayRefusedError, match="connection 10, .* no longer exists"):
        prepare(found_in(home, 3 << 20), empty_flow(), has_content=home.content.verify, now=NOW)


def test_a_flowfile_that_is_not_fully_known_is_refused(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", [flow_edit(), routed([FIRST], "late", Target(11)),
                                         routed([FIRST], "late", Target(11))])  # fmt: skip
    found = found_in(home, 3 << 20)

    with pytest.raises(ReplayRefusedError, match="is not fully known"):
        prepare(found, FLOW, has_content=lambda claim: True, now=NOW)
    with pytest.raises(ContentUnknownError, match="the content before it is not known"):
        found.claim("before")


def test_content_before_and_after_an_event_is_readable(home: Home) -> None:
    found = found_in(home, 3 << 20)
    with (
        open_content(home, found.claim("before")) as before,
        open_content(home, found.claim("after")) as after,
    ):
        assert (before.read(), after.read()) == (b"before", b"after!!")


def test_there_is_no_content_before_a_birth(home: Home) -> None:
    with pytest.raises(ContentUnknownError, match=r"did not exist before it \(CREATE\)"):
        found_in(home, 2 << 20).claim("before")


def test_content_that_retention_removed_says_so(home: Home) -> None:
    with pytest.raises(ContentGoneError, match="removed by retention"):
        open_content(home, Claim(999, 0, 5, 1)).read()
