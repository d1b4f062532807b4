"""Controller services of a running node: order, groups, failures, secrets."""

from pathlib import Path

import pytest

from runtime import service_pool
from runtime.component import Status
from runtime.model import FlowModel, GroupModel, ServiceModel
from runtime.node import Node
from runtime.processor import ControllerService, Processor, Relationship
from runtime.properties import Properties, Property, Service
from runtime.service_pool import ServicePool
from runtime.session import Session
from tests.node_world import (
    Feed,
    Gate,
    connection,
    flow,
    messages,
    open_node,
    processor,
    running,
    wait_until,
)

gates: list[Gate] = []


class Ledger(ControllerService):
    """Keeps accounts."""

    class Properties(Properties):
        currency: str = Property("EUR", description="Which one.")
        password: str = Property("", sensitive=True, description="For whom it opens.")

    def enable(self) -> None:
        gates[-1].note(f"{self.context.name} on {self.properties.password}".strip())

    def disable(self) -> None:
        gates[-1].note(f"{self.context.name} off")


class Auditor(ControllerService):
    """Needs a ledger at its start."""

    class Properties(Properties):
        ledger: Service[Ledger] = Property(description="What it looks into.")

    def enable(self) -> None:
        self.properties.ledger.get()
        gates[-1].note(f"{self.context.name} on")


class Flaky(ControllerService):
    """Answers at the third call."""

    calls = 0

    def enable(self) -> None:
        type(self).calls += 1
        if type(self).calls < 3:
            raise ConnectionError("no answer")

    def disable(self) -> None:
        raise OSError("the socket is gone")


class Ask(Processor):
    """Notes what its service says."""

    class Properties(Properties):
        ledger: Service[Ledger] = Property(description="Whom it asks.")

    success = Relationship("All.")

    def on_trigger(self, session: Session) -> None:
        flowfiles = session.take()
        gates[-1].note(self.properties.ledger.get().properties.currency)
        session.transfer(flowfiles, self.success)


def _service(
    id: int, type: type[ControllerService], name: str = "", **more: object
) -> ServiceModel:
    properties = {key.title(): str(value) for key, value in more.items() if key != "enabled"}
    return ServiceModel(
        id=id,
        name=name or type.__name__.lower(),
        type=type.__name__,
        properties=properties,
        enabled=bool(more.get("enabled", True)),
    )


def _open(tmp_path: Path) -> Node:
    gates.append(Gate())
    return open_node(tmp_path, Ledger, Auditor, Flaky, Ask)


def _asking(*services: ServiceModel) -> FlowModel:
    return flow(
        [processor(10, Feed), processor(11, Ask, name="ask", properties={"Ledger": "ledger"},
                                        yield_seconds=60.0)],
        [connection(20, 10, 11)],
        services,
    )  # fmt: skip


def test_services_are_on_before_what_uses_them_and_off_after_it(tmp_path: Path) -> None:
    with running(_open(tmp_path), _asking(_service(50, Ledger))) as node:
        wait_until(lambda: "EUR" in gates[-1].seen)
    assert gates[-1].seen == ["ledger on", "EUR", "ledger off"]
    assert node.controller.services.services[50].instance is None


def test_an_edit_restarts_only_the_service_that_changed(tmp_path: Path) -> None:
    first = _service(50, Ledger, "a")
    model = flow([], (), [first, _service(51, Ledger, "b")])
    with running(_open(tmp_path), model) as node:
        kept = node.controller.services.services[50].instance
        changed = flow([], (), [first, _service(51, Ledger, "b", currency="NOK")])
        node.controller.edit(changed, user="test", note="other money")
        assert node.controller.services.services[50].instance is kept
        assert gates[-1].seen == ["a on", "b on", "b off", "b on"]
        node.controller.edit(flow([]), user="test", note="none")
        assert gates[-1].seen[4:] == ["a off", "b off"]


def test_a_service_that_needs_another_is_enabled_after_it(tmp_path: Path) -> None:
    services = [_service(50, Auditor, ledger="books"), _service(51, Ledger, "books")]
    with running(_open(tmp_path), flow([], (), services)) as node:
        assert gates[-1].seen == ["books on", "auditor on"]
        assert messages(node) == []


def test_a_service_is_found_in_the_groups_above(tmp_path: Path) -> None:
    inner = GroupModel(
        id=30,
        name="inner",
        processors=(processor(11, Ask, properties={"Ledger": "ledger"}),),
        services=(_service(51, Ledger, "own", currency="NOK"),),
    )
    root = GroupModel(
        id=1,
        name="test",
        groups=(inner,),
        services=(_service(50, Ledger), _service(52, Ledger, "own", currency="SEK")),
    )
    model = FlowModel(root=root, next_id=100)
    with running(_open(tmp_path), model) as node:
        pool = node.controller.services
        assert pool.find(model, inner, "own").properties.currency == "NOK"
        assert pool.find(model, root, "own").properties.currency == "SEK"
        assert pool.find(model, inner, "ledger").properties.currency == "EUR"


def test_a_service_that_does_not_exist_is_told_with_those_that_do(tmp_path: Path) -> None:
    model = _asking(_service(50, Ledger, "books"), _service(51, Ledger, "accounts"))
    with running(_open(tmp_path), model) as node:
        wait_until(lambda: messages(node))
        assert (
            "LookupError: controller service 'ledger' does not exist. There are: accounts, books"
            in messages(node)[0]
        )


def test_a_service_that_is_disabled_is_told(tmp_path: Path) -> None:
    with running(_open(tmp_path), _asking(_service(50, Ledger, enabled=False))) as node:
        wait_until(lambda: messages(node))
        assert (
            "LookupError: controller service 'ledger' is not enabled: it is disabled"
            in messages(node)[0]
        )
    assert "ledger on" not in gates[-1].seen


def test_what_cannot_be_enabled_says_why(tmp_path: Path) -> None:
    services = [
        _service(50, Ledger, "wrong", colour="red"),
        ServiceModel(id=51, name="new", type="Unheard"),
    ]
    with running(_open(tmp_path), flow([], (), services)) as node:
        assert messages(node) == [
            "Controller service 'wrong' (Ledger) cannot be enabled: property 'Colour' does not "
            "exist. There are: Currency, Password",
            "Controller service 'new' (Unheard) cannot be enabled: type 'Unheard' is not known on "
            "this node",
        ]
        model = node.flow
        with pytest.raises(LookupError) as raised:
            node.controller.services.find(model, model.root, "new")
        assert str(raised.value) == (
            "controller service 'new' is not enabled: type 'Unheard' is not known on this node"
        )


def test_a_service_that_raises_is_tried_again_with_growing_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_pool, "PAUSE_SECONDS_MIN", 0.01)
    Flaky.calls = 0
    with running(_open(tmp_path), flow([], (), [_service(50, Flaky)])) as node:
        wait_until(lambda: node.controller.services.services[50].instance)
        assert messages(node) == [
            "Controller service 'flaky' (Flaky) cannot be enabled: ConnectionError: no answer. "
            "Next try in 0.01 s",
            "Controller service 'flaky' (Flaky) cannot be enabled: ConnectionError: no answer. "
            "Next try in 0.02 s",
        ]
    assert messages(node)[-1] == (
        "Controller service 'flaky' (Flaky) raised while it was disabled: OSError: the socket is "
        "gone"
    )


def test_a_stopped_node_tries_no_service_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_pool, "PAUSE_SECONDS_MIN", 0.02)
    Flaky.calls = -1_000_000
    with running(_open(tmp_path), flow([], (), [_service(50, Flaky)])) as node:
        wait_until(lambda: Flaky.calls > -1_000_000 + 1)
        assert node.controller.services._timer is not None
    assert node.controller.services._timer is None


def test_a_secret_reaches_its_service_in_clear(tmp_path: Path) -> None:
    node = _open(tmp_path)
    secret = node.open_secrets().encrypt("open sesame")
    assert "sesame" not in secret
    with running(node, flow([], (), [_service(50, Ledger, password=secret)])):
        assert gates[-1].seen == ["ledger on open sesame"]


def test_a_pool_without_services_has_none_to_name(tmp_path: Path) -> None:
    with running(_open(tmp_path), flow([])) as node:
        pool: ServicePool = node.controller.services
        with pytest.raises(LookupError) as raised:
            pool.find(node.flow, node.flow.root, "books")
        assert str(raised.value) == "controller service 'books' does not exist. There are: none"
        assert {one.status for one in node.engine.components.values()} <= {Status.RUNNING}
