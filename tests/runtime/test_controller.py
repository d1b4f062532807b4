"""Edits of a running flow, starts that do not succeed, and data that lost its place."""

import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runtime import commit as commits
from runtime import controller as controllers
from runtime.commit import Action
from runtime.component import Status
from runtime.controller import BusyError
from runtime.log_reader import read_log
from runtime.memory_disk import MemoryDisk
from runtime.model import (
    HOLD,
    FlowModel,
    FunnelModel,
    GroupModel,
    Parameter,
    ParameterContext,
    PortModel,
    ProcessorModel,
)
from runtime.node import Node
from runtime.processor import Effects, Input, Processor, Relationship
from runtime.properties import Properties, Property
from runtime.session import Session
from tests.node_world import (
    Feed,
    Gate,
    Pass,
    connection,
    flow,
    messages,
    open_node,
    processor,
    queued,
    running,
    wait_until,
)


class Mark(Processor):
    """Writes its setting into an attribute."""

    class Properties(Properties):
        word: str = Property("none", description="What is written.")

    effects = Effects.PURE
    success = Relationship("All.")

    def on_trigger(self, session: Session) -> None:
        flowfiles = session.put_all(session.take(), {"word": self.properties.word})
        session.transfer(flowfiles, self.success)


class Tick(Feed):
    """Makes one flowfile each time it runs, without an end."""

    def on_trigger(self, session: Session) -> None:
        session.transfer(session.create(), self.success)


def _edit(node: Node, model: FlowModel, note: str = "test") -> FlowModel:
    return node.controller.edit(model, user="ann", note=note)


def _attributes(node: Node, id: int, name: str) -> list[str | None]:
    runs = node.engine.queues[id].runs()
    return [one.attributes.get(name) for run in runs for one in run.flowfiles]


def _marked(word: str, **more: Any) -> FlowModel:
    return flow(
        [processor(10, Tick), processor(11, Mark, properties={"Word": word}, **more)],
        [connection(20, 10, 11), connection(21, 11, HOLD, max_count=0)],
    )


def test_new_settings_are_in_force_from_one_session_to_the_next(tmp_path: Path) -> None:
    with running(open_node(tmp_path, Tick, Mark), _marked("old")) as node:
        wait_until(lambda: queued(node, 21) > 20)
        _edit(node, _marked("new"))
        seen = queued(node, 21)
        wait_until(lambda: queued(node, 21) > seen + 20)
        node.controller.stop(10)
        words = _attributes(node, 21, "word")

    assert set(words) == {"old", "new"}
    assert words == sorted(words, key=str, reverse=True), "never the old one after the new one"
    assert node.flow.revision == 2


def test_what_an_edit_does_not_touch_runs_on_with_its_instance(tmp_path: Path) -> None:
    with running(open_node(tmp_path, Tick, Mark), _marked("old")) as node:
        feed, mark = (node.engine.components[id].instance for id in (10, 11))
        moved = _marked("old", position=(9.0, 9.0), comments="moved")
        _edit(node, moved)
        assert node.engine.components[11].instance is mark
        _edit(node, _marked("new"))
        assert node.engine.components[10].instance is feed
        assert node.engine.components[11].instance is not mark


def test_an_edit_is_a_record_with_who_and_why(tmp_path: Path) -> None:
    disk = MemoryDisk()
    with running(open_node(tmp_path, disk=disk), flow([processor(10, Pass)])) as node:
        _edit(node, flow([]), note="not needed")
        node.log.sync()
        read = read_log(tmp_path / "log", disk)
        actions = [commits.decode(data).action for _, _, data in read]

    assert [(one.user, one.note) for one in actions if isinstance(one, Action)] == [
        ("test", "begin"),
        ("ann", "not needed"),
    ]


def test_listeners_hear_of_the_flow_in_force(tmp_path: Path) -> None:
    heard: list[int] = []
    with running(open_node(tmp_path), flow([])) as node:
        node.controller.listeners.append(lambda model: heard.append(model.revision))
        given = flow([], revision=77)
        assert _edit(node, given).revision == 2
    assert heard == [2]


def test_ids_are_never_given_again(tmp_path: Path) -> None:
    with running(open_node(tmp_path), flow([processor(10, Pass)])) as node:
        model = msgspec.structs.replace(flow([]), next_id=5)
        assert _edit(node, model).next_id == 1000


def test_a_queue_keeps_its_flowfiles_when_its_ends_move(tmp_path: Path) -> None:
    stopped = processor(12, Mark, properties={"Word": "b"}, state="stopped")
    before = flow([processor(10, Feed)], [connection(20, 10, HOLD)])
    after = flow(
        [processor(10, Feed, state="stopped"), stopped],
        [connection(20, 10, 12), connection(21, 12, HOLD)],
    )
    with running(open_node(tmp_path, Mark), before) as node:
        wait_until(lambda: queued(node, 20) == Feed.limit)
        numbers = _attributes(node, 20, "number")
        _edit(node, after)
        assert _attributes(node, 20, "number") == numbers
        node.controller.start(12)
        wait_until(lambda: queued(node, 21) == Feed.limit)
        assert _attributes(node, 21, "number") == numbers


def test_prioritizers_change_while_flowfiles_lie_there(tmp_path: Path) -> None:
    def model(*prioritizers: str) -> FlowModel:
        return flow(
            [processor(10, Feed), processor(11, Pass, state="stopped")],
            [connection(20, 10, 11, prioritizers=prioritizers), connection(21, 11, HOLD)],
        )

    with running(open_node(tmp_path), model()) as node:
        wait_until(lambda: queued(node, 20) == Feed.limit)
        _edit(node, model("newest"))
        assert queued(node, 20) == Feed.limit
        _edit(node, model("fifo"))
        node.controller.start(11)
        wait_until(lambda: queued(node, 21) == Feed.limit)
        assert _attributes(node, 21, "number") == [str(n) for n in range(Feed.limit)]


def test_data_of_a_removed_connection_is_parked_and_comes_back_with_it(tmp_path: Path) -> None:
    whole = flow([processor(10, Feed)], [connection(20, 10, HOLD)])
    with running(open_node(tmp_path), whole) as node:
        wait_until(lambda: queued(node, 20) == Feed.limit)
        _edit(node, flow([processor(10, Feed)]))
        assert node.controller.parked.keys() == {20}
        assert queued(node, 20) == Feed.limit

        _edit(node, whole)
        assert node.controller.parked == {}
        assert queued(node, 20) == Feed.limit


def test_an_empty_connection_that_is_removed_leaves_nothing(tmp_path: Path) -> None:
    model = flow([processor(10, Pass)], [connection(20, 10, HOLD)])
    with running(open_node(tmp_path), model) as node:
        _edit(node, flow([]))
        assert node.controller.parked == {}
        assert node.engine.queues == {}
        assert node.engine.components == {}


def test_an_edit_under_load_loses_nothing(tmp_path: Path) -> None:
    class Many(Feed):
        """Makes a thousand."""

        limit = 1000

    def model(word: str, through: bool) -> FlowModel:
        target = 11 if through else HOLD
        return flow(
            [processor(10, Many), processor(11, Mark, properties={"Word": word})],
            [connection(20, 10, target), connection(21, 11, HOLD, max_count=0)],
        )

    with running(open_node(tmp_path, Many, Mark), model("0", True)) as node:
        for number in range(1, 12):
            _edit(node, model(str(number), number % 3 != 0))
        _edit(node, model("last", True))
        wait_until(lambda: queued(node, 21) == Many.limit)
        numbers = [int(one or -1) for one in _attributes(node, 21, "number")]
    assert numbers == list(range(Many.limit))


# What does not start, and what does not stop


class Reluctant(Pass):
    """Starts at the third try."""

    tries = 0
    lock = threading.Lock()

    def start(self) -> None:
        type(self).tries += 1
        if type(self).tries < 3:
            raise ConnectionError(f"no answer ({self.tries})")

    def stop(self) -> None:
        gates[-1].note("stopped")


gates: list[Gate] = [Gate()]


def test_a_start_that_fails_is_told_and_tried_again(tmp_path: Path) -> None:
    Reluctant.tries = 0
    gates.append(Gate())
    model = flow([processor(10, Reluctant, name="ask", yield_seconds=0.01)])
    with running(open_node(tmp_path, Reluctant), model) as node:
        wait_until(lambda: node.engine.components[10].status is Status.RUNNING)
        assert messages(node) == [
            "ask could not start: ConnectionError: no answer (1). Next try in 0.01 s",
            "ask could not start: ConnectionError: no answer (2). Next try in 0.01 s",
        ]
        assert gates[-1].seen == ["stopped", "stopped"], "each instance is released"
    assert gates[-1].seen == ["stopped"] * 3


def test_a_stop_ends_the_tries_to_start(tmp_path: Path) -> None:
    Reluctant.tries = -1_000_000
    model = flow([processor(10, Reluctant, yield_seconds=0.01)])
    with running(open_node(tmp_path, Reluctant), model) as node:
        wait_until(lambda: Reluctant.tries > -1_000_000 + 3)
        node.controller.stop(10)
        assert node.controller._retries == {}
        assert node.engine.components[10].status is Status.STOPPED


def test_what_is_not_valid_does_not_start_and_says_why(tmp_path: Path) -> None:
    model = flow(
        [
            processor(10, Mark, name="mark", properties={"Colour": "red"}),
            processor(11, Pass, name="pass", ended=("failure",)),
            ProcessorModel(id=12, name="new", type="Unheard"),
        ]
    )
    with running(open_node(tmp_path, Mark), model) as node:
        found = {one.name: (one.status, one.problems) for one in node.engine.components.values()}
        assert found["mark"] == (
            Status.INVALID,
            ("property 'Colour' does not exist. There are: Word",),
        )
        assert found["pass"] == (
            Status.INVALID,
            ("relationship 'success' leads nowhere; connect it, or set it to end or hold",),
        )
        assert found["new"] == (Status.INVALID, ("type 'Unheard' is not known on this node",))
        assert messages(node) == [
            "mark is not valid: property 'Colour' does not exist. There are: Word",
            "pass is not valid: relationship 'success' leads nowhere; connect it, or set it to "
            "end or hold",
        ]


def test_what_was_mended_by_an_edit_starts(tmp_path: Path) -> None:
    broken = flow([processor(10, Pass, ended=("failure",))])
    with running(open_node(tmp_path), flow([processor(11, Pass)])) as node:
        _edit(node, broken)
        assert node.engine.components[10].status is Status.INVALID
        _edit(node, flow([processor(10, Pass), processor(11, Pass)]))
        wait_until(lambda: node.engine.components[10].status is Status.RUNNING)
        assert node.engine.components[10].problems == ()


def test_an_edit_that_waits_for_a_hung_trigger_gives_up_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controllers, "EDIT_WAIT_SECONDS", 0.05)
    gate = Gate()

    class Hang(Pass):
        """Waits for the test."""

        def on_trigger(self, session: Session) -> None:
            flowfiles = session.take()
            gate.entered.set()
            gate.open.wait(20)
            session.transfer(flowfiles, self.success)

    def model(comments: str) -> FlowModel:
        return flow(
            [processor(10, Feed), processor(11, Hang, name="hang", penalty_seconds=len(comments))],
            [connection(20, 10, 11), connection(21, 11, HOLD)],
        )

    with running(open_node(tmp_path, Hang), model("")) as node:
        assert gate.entered.wait(10)
        with pytest.raises(BusyError) as raised:
            _edit(node, model("longer"))
        assert str(raised.value) == (
            "hang is in a trigger that does not end (for 0.05 s). Wait for it, or terminate it"
        )
        assert node.flow.revision == 1
        assert node.engine.components[11].status is Status.RUNNING
        gate.open.set()
        wait_until(lambda: queued(node, 21) == Feed.limit)
        assert _edit(node, model("longer")).revision == 2
        assert node.engine.components[11].penalty_seconds == 6


def test_a_start_that_does_not_end_is_named(tmp_path: Path) -> None:
    gate = Gate()

    class Late(Pass):
        """Starts when the test says."""

        def start(self) -> None:
            gate.entered.set()
            gate.open.wait(20)

    node = open_node(tmp_path, Late)
    with running(node, flow([processor(10, Late, name="late", state="stopped")])):
        starting = threading.Thread(target=node.controller.start, args=(10,))
        starting.start()
        assert gate.entered.wait(10)
        with pytest.raises(BusyError) as raised:
            node.controller.stop(10, 0.05)
        assert str(raised.value) == (
            "late is in a start that does not end (for 0.05 s). Wait for it, or terminate it"
        )
        gate.open.set()
        starting.join(10)
        node.controller.stop(10)
        assert node.engine.components[10].status is Status.STOPPED


def test_a_start_that_was_terminated_is_released_when_it_ends(tmp_path: Path) -> None:
    gate = Gate()

    class Late(Pass):
        """Starts when the test says."""

        def start(self) -> None:
            gate.entered.set()
            gate.open.wait(20)

        def stop(self) -> None:
            gate.note("stopped")

    node = open_node(tmp_path, Late)
    with running(node, flow([processor(10, Late, state="stopped")])):
        starting = threading.Thread(target=node.controller.start, args=(10,))
        starting.start()
        assert gate.entered.wait(10)
        assert node.controller.terminate(10) == 0
        gate.open.set()
        starting.join(10)
        assert node.engine.components[10].status is Status.STOPPED
        assert "stopped" in gate.seen


def test_a_stop_that_raises_does_not_keep_the_flow_from_stopping(tmp_path: Path) -> None:
    class Grumpy(Pass):
        """Raises at its end."""

        def stop(self) -> None:
            raise OSError("the socket is gone")

    with running(open_node(tmp_path, Grumpy), flow([processor(10, Grumpy, name="grumpy")])) as node:
        node.controller.stop(10)
        assert node.engine.components[10].status is Status.STOPPED
        assert messages(node) == ["grumpy raised while it stopped: OSError: the socket is gone"]


def test_a_stopped_component_runs_once_when_asked(tmp_path: Path) -> None:
    model = flow([processor(10, Tick, state="stopped")], [connection(20, 10, HOLD)])
    with running(open_node(tmp_path, Tick), model) as node:
        for times in (1, 2):
            node.controller.run_once(10)
            wait_until(lambda: node.engine.components[10].status is Status.STOPPED)
            assert queued(node, 20) == times
            assert node.engine.components[10].instance is None


def test_held_flowfiles_return_before_an_edit(tmp_path: Path) -> None:
    gate = Gate()

    class Keep(Processor):
        """Holds everything."""

        effects = Effects.PURE
        success = Relationship("None.")

        def on_trigger(self, session: Session) -> None:
            session.hold(session.take())

        def on_returned(self) -> None:
            gate.note("returned")

    def model(penalty: float) -> FlowModel:
        return flow(
            [processor(10, Feed), processor(11, Keep, penalty_seconds=penalty)],
            [connection(20, 10, 11)],
        )

    with running(open_node(tmp_path, Keep), model(1.0)) as node:
        component = node.engine.components[11]
        wait_until(lambda: len(component.held) == Feed.limit)
        _edit(node, model(2.0))
        assert gate.seen == ["returned"]
        wait_until(lambda: len(component.held) == Feed.limit, "it takes them again")
        node.controller.stop(11)
        assert component.held == {}
        assert node.engine.queues[20].available == Feed.limit


def test_ports_and_funnels_pass_flowfiles_through_groups(tmp_path: Path) -> None:
    inner = GroupModel(
        id=30,
        name="inner",
        ports=(
            PortModel(id=31, name="in", kind="input"),
            PortModel(id=32, name="out", kind="output"),
        ),
        funnels=(FunnelModel(id=33),),
        connections=(
            connection(40, 31, 33, relationships=()),
            connection(41, 33, 32, relationships=()),
        ),
    )
    root = GroupModel(
        id=1,
        name="test",
        processors=(processor(10, Feed),),
        groups=(inner,),
        connections=(connection(20, 10, 31), connection(21, 32, HOLD, relationships=())),
    )
    model = FlowModel(root=root, next_id=100)
    with running(open_node(tmp_path), model) as node:
        wait_until(lambda: queued(node, 21) == Feed.limit)
        assert _attributes(node, 21, "number") == [str(n) for n in range(Feed.limit)]
        paths = sorted(one.path for one in node.engine.components.values())
        assert paths == ["feed 10", "inner / funnel", "inner / in", "inner / out"]


def test_a_funnel_that_leads_nowhere_keeps_what_comes_to_it(tmp_path: Path) -> None:
    root = GroupModel(
        id=1,
        name="test",
        processors=(processor(10, Feed),),
        funnels=(FunnelModel(id=11), FunnelModel(id=12)),
        connections=(connection(20, 10, 11),),
    )
    with running(open_node(tmp_path), FlowModel(root=root, next_id=100)) as node:
        wait_until(lambda: queued(node, 20) == Feed.limit)
        assert node.engine.components[11].status is Status.INVALID
        assert messages(node) == ["funnel is not valid: leads nowhere; connect it"]

        out = connection(21, 11, HOLD, relationships=())
        mended = msgspec.structs.replace(root, connections=(*root.connections, out))
        _edit(node, FlowModel(root=mended, next_id=100))
        wait_until(lambda: queued(node, 21) == Feed.limit)


def test_a_changed_parameter_restarts_what_uses_it(tmp_path: Path) -> None:
    def model(word: str) -> FlowModel:
        mark = processor(11, Mark, properties={"Word": "#{word}"})
        root = GroupModel(
            id=1,
            name="test",
            parameter_context=50,
            processors=(processor(10, Tick), mark),
            connections=(connection(20, 10, 11), connection(21, 11, HOLD, max_count=0)),
        )
        context = ParameterContext(id=50, name="words", parameters={"word": Parameter(value=word)})
        return FlowModel(root=root, parameter_contexts=(context,), next_id=100)

    with running(open_node(tmp_path, Tick, Mark), model("one")) as node:
        wait_until(lambda: "one" in _attributes(node, 21, "word"))
        _edit(node, model("two"))
        wait_until(lambda: "two" in _attributes(node, 21, "word"))


def test_a_processor_without_a_trigger_says_what_it_needs(tmp_path: Path) -> None:
    class Empty(Processor):
        """Forgot the most important thing."""

        input = Input.FORBIDDEN
        success = Relationship("All.")

    model = flow([processor(10, Empty, name="empty", yield_seconds=60.0)])
    with running(open_node(tmp_path, Empty), model) as node:
        wait_until(lambda: messages(node))
        assert "TypeError: Empty has no on_trigger method; it needs one" in messages(node)[0]
