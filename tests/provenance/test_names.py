from provenance.names import Component, FlowNames
from runtime.commit import Commit
from runtime.model import encode_flow
from tests.provenance.histories import FLOW, START, flow_edit


def test_a_component_is_named_with_its_type_and_group() -> None:
    names = FlowNames(encode_flow(FLOW))

    assert names.component(3) == Component("route", "RouteOnAttribute", "/")
    assert names.component(20) == Component("write", "PutFile", "Output")


def test_the_node_and_unknown_components_have_names_too() -> None:
    names = FlowNames()

    assert names.component(0).type == "Node"
    assert names.component(77).name == "component 77"


def test_a_choice_needs_more_than_one_relationship_connected_or_ended() -> None:
    names = FlowNames(encode_flow(FLOW))

    assert [names.chooses(id) for id in (2, 3, 4)] == [False, True, False]
    assert names.chooses(77)


def test_an_edit_is_in_force_from_its_own_commit_on() -> None:
    names = FlowNames()
    names.see(Commit(START, 3))
    assert names.encoded is None
    names.see(flow_edit())

    assert names.component(3).name == "route"
