"""Retention on a real node: the log goes, what is alive stays explained."""

import threading
from pathlib import Path

import pytest

from provenance.attachment import ProvenanceAttachment
from provenance.database import look
from provenance.home import open_home
from provenance.search import Query, search
from runtime.model import ConnectionModel, FlowModel, GroupModel, ProcessorModel, Schedule
from runtime.node import Node
from runtime.processor import Effects, Input, Processor, Relationship
from runtime.registry import Registry
from runtime.session import Session
from runtime.settings import Settings


class Make(Processor):
    """Create flowfiles with a long attribute until told to stop."""

    input = Input.FORBIDDEN
    effects = Effects.PURE
    success = Relationship("Everything.")

    def on_trigger(self, session: Session) -> None:
        number = int(session.state.get("number", "0"))
        if number >= 3000:
            self.context.exhausted()
            return
        made = session.create_many(
            [{"number": str(one), "text": "x" * 1500} for one in range(number, number + 100)]
        )
        session.transfer(made, self.success)
        session.set_state({"number": str(number + 100)})


class End(Processor):
    """Drop all but the first flowfile, which it never takes."""

    effects = Effects.PURE

    def on_trigger(self, session: Session) -> None:
        for flowfile in session.take():
            if flowfile.attributes["number"] == "0":
                session.put_back(flowfile, wait_seconds=3600)
            else:
                session.drop(flowfile)


def _flow() -> FlowModel:
    processors = (
        ProcessorModel(id=2, name="make", type="Make", schedule=Schedule(batch_size=100)),
        ProcessorModel(id=3, name="end", type="End", schedule=Schedule(batch_size=100)),
    )
    connections = (ConnectionModel(id=4, source=2, destination=3, relationships=("success",)),)
    root = GroupModel(id=1, name="r", processors=processors, connections=connections)
    return FlowModel(root=root, next_id=5)


def _wait(condition: object) -> None:
    deadline = threading.Event()
    for _ in range(600):
        if condition():  # type: ignore[operator]  # a function
            return
        deadline.wait(0.05)
    pytest.fail("it did not happen within 30 s")


@pytest.mark.slow
def test_a_live_flowfile_is_explained_after_its_log_file_is_gone(tmp_path: Path) -> None:
    registry = Registry([])
    registry.add(Make, End)
    settings = Settings(log_file_size=2**20, log_max_size=2**20)  # type: ignore[call-arg]  # rest
    node = Node(tmp_path, registry=registry, settings=settings)
    attachment = ProvenanceAttachment()
    attachment.attach(node)
    try:
        node.controller.edit(_flow(), user="test", note="")
        node.start()
        make, queue = node.engine.components[2], node.engine.queues[4]
        _wait(lambda: make.exhausted and queue.count == 1)
        first = node.log.files()[0].id

        def gone() -> bool:
            node.engine.act(node.engine.new_record())  # so that the next checkpoint is another
            node.maintenance.checkpoint()
            node.maintenance.drop_log()
            return node.log.files()[0].id > first

        _wait(gone)
        home = open_home(tmp_path)
        query = Query(attributes={"number": "0"})
        events, _ = look(home, lambda database: search(database, query))
        assert events
        assert events[0].attributes["text"] == "x" * 1500
    finally:
        attachment.detach(node)
        node.stop()
