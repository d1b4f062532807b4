import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import msgspec
import pytest

from processors import http_server
from processors.http_context_map import StandardHttpContextMap
from processors.http_handle import HandleHttpRequest, HandleHttpResponse
from processors.http_server import PortError
from runtime.commit import EventType
from runtime.testing import Result, TestRunner, check_processor
from tests.processors.http_world import (
    Reply,
    call,
    in_background,
    listening,
    send_and_leave,
    wait_until,
)

REQUEST = {"Listening Port": "0", "HTTP Context Map": "map"}
ANSWER = {"HTTP Status Code": "201", "HTTP Context Map": "map"}


@pytest.fixture(autouse=True)
def short_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "STOP_SECONDS", 0.1)


class World:
    """A request processor and a response processor with what lies between them."""

    def __init__(
        self,
        request: dict[str, str] | None = None,
        answer: dict[str, str] | None = None,
        service: dict[str, str] | None = None,
    ) -> None:
        services = {"map": (StandardHttpContextMap, service or {})}
        self.requests = TestRunner(HandleHttpRequest, REQUEST | (request or {}), services=services)
        self.answers = TestRunner(HandleHttpResponse, ANSWER | (answer or {}), services=services)

    @contextmanager
    def running(self) -> Iterator[int]:
        self.answers.start()
        with listening(self.requests) as port:
            yield port
        self.answers.close()

    @property
    def map(self) -> StandardHttpContextMap:
        found = self.requests.processor.properties.context_map.get()
        assert isinstance(found, StandardHttpContextMap)
        return found

    def arrived(self, count: int = 1) -> list[Result]:
        queue = self.requests.outputs["success"]
        wait_until(lambda: queue.count >= count)
        return self.requests.flowfiles("success")

    def answer(self, content: bytes, attributes: dict[str, str]) -> None:
        """Let a flowfile reach the response processor; the two share the waiting requests."""
        identifier = attributes.get("http.context.identifier", "")
        exchange = self.map.take(identifier)
        if exchange is not None:
            there = self.answers.processor.properties.context_map.get()
            assert there.register(identifier, exchange)
        self.answers.enqueue(content, attributes)
        self.answers.run()

    def exchange(
        self, port: int, content: bytes, method: str = "GET", **attributes: str
    ) -> Reply:
        """Send a request and answer it with `content`."""
        reply = in_background(lambda: call(port, method, "/a"))
        self.answer(content, self.arrived()[-1].attributes | attributes)
        return reply.result(20)


def test_both_conform() -> None:
    check_processor(HandleHttpRequest)
    check_processor(HandleHttpResponse)


def test_a_request_is_answered_by_its_flowfile() -> None:
    world = World(
        answer={
            "Content-Type": "text/${kind}",
            "X-Empty": " ",
            "Attributes for HTTP Response": "X-.*",
        }
    )
    with world.running() as port:
        more = {"kind": "csv", "X-From": "flow", "X-Not A Header": "x", "Y": "no"}
        reply = world.exchange(port, b"1,2\xff", **more)

    assert (reply.status, reply.body) == (201, b"1,2\xff")
    assert reply.headers["Content-Type"] == "text/csv"
    assert reply.headers["X-From"] == "flow"
    assert not {"X-Empty", "X-Not A Header", "Y"} & set(reply.headers)
    assert world.answers.one("success").content == b"1,2\xff"
    event, transit_uri, _ = world.answers.reported[-1]
    assert (event, transit_uri) == (
        EventType.SEND, f"http://127.0.0.1@127.0.0.1:{port}/a",
    )  # fmt: skip


def test_a_request_becomes_attributes() -> None:
    world = World({"Parameters to Attributes": "a, c", "Default URL Character Set": "latin-1"})
    with world.running() as port:
        path = "/p%20q/r?a=1&b=%E9&empty=&flag"
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": "id=7; other=x",
            "X-Team": "blue",
        }
        reply = in_background(lambda: call(port, "POST", path, b"c=3&d=4", headers))
        (result,) = world.arrived()
        world.answer(b"", result.attributes)
        reply.result(20)

    expected = {
        "http.method": "POST",
        "http.protocol": "HTTP/1.1",
        "http.servlet.path": "/p q/r",
        "http.context.path": "",
        "http.request.uri": "/p%20q/r",
        "http.request.url": f"http://127.0.0.1:{port}/p%20q/r",
        "http.query.string": "a=1&b=é&empty=&flag",
        "http.query.param.a": "1",
        "http.query.param.b": "é",
        "http.query.param.empty": "",
        "http.query.param.flag": "",
        "http.param.a": "1",
        "http.param.c": "3",
        "http.cookie.id.value": "7",
        "http.headers.X-Team": "blue",
        "http.remote.host": "127.0.0.1",
        "http.local.name": "127.0.0.1",
        "http.server.name": "127.0.0.1",
        "http.server.port": str(port),
        "mime.type": "application/x-www-form-urlencoded",
    }
    found = {name: result.attributes.get(name) for name in expected}
    assert found == expected
    assert result.content == b"c=3&d=4"
    assert not {"http.param.b", "http.param.d"} & set(result.attributes)


def test_large_bodies_pass_both_ways() -> None:
    there, back = os.urandom(700_000), os.urandom(900_000)
    world = World()
    with world.running() as port:
        reply = in_background(lambda: call(port, "PUT", "/", there))
        (result,) = world.arrived()
        world.answer(back, result.attributes)

        assert result.content == there
        assert reply.result(20).body == back


@pytest.mark.parametrize(("status", "method"), [("204", "GET"), ("304", "GET"), ("200", "HEAD")])
def test_some_answers_have_no_body(status: str, method: str) -> None:
    world = World({"Allow HEAD": "true"}, {"HTTP Status Code": "${status}"})
    with world.running() as port:
        reply = world.exchange(port, b"no one sees it", method, status=status)

    assert (reply.status, reply.body) == (int(status), b"")


def test_requests_are_answered_in_any_order() -> None:
    world = World()
    with world.running() as port:
        replies = [
            in_background(partial(call, port, "POST", "/", b"%d" % n))
            for n in range(10)
        ]
        for result in reversed(world.arrived(10)):
            world.answer(b"to " + result.content, result.attributes)

        assert [one.result(20).body for one in replies] == [b"to %d" % n for n in range(10)]


def test_only_the_first_of_two_answers_is_sent() -> None:
    world = World()
    with world.running() as port:
        reply = world.exchange(port, b"first")
        attributes = world.requests.one("success").attributes
        world.answer(b"second", attributes)

    assert reply.body == b"first"
    reason = world.answers.one("failure").reason
    identifier = attributes["http.context.identifier"]
    assert reason and reason.message == (
        f"No request waits under '{identifier}': it was answered, its time was over, or the node "
        "was restarted"
    )


def test_a_request_that_nobody_answers_in_time_gets_503_and_its_answer_fails() -> None:
    world = World(service={"Request Expiration": "50 ms"})
    with world.running() as port:
        reply = call(port, "GET", "/")
        world.answer(b"late", world.requests.one("success").attributes)

    assert (reply.status, reply.body) == (503, b"No answer came in time")
    assert world.answers.one("failure").content == b"late"


def test_no_more_requests_wait_than_are_allowed() -> None:
    world = World(service={"Maximum Outstanding Requests": "1"})
    with world.running() as port:
        first = in_background(lambda: call(port, "GET", "/"))
        (result,) = world.arrived()

        second = call(port, "GET", "/")

        world.answer(b"one", result.attributes)
        assert first.result(20).body == b"one"
    assert (second.status, second.body) == (503, b"Too many requests wait for their answer")
    assert len(world.requests.flowfiles("success")) == 1


def test_a_client_that_went_away_is_no_error() -> None:
    world = World()
    with world.running() as port:
        send_and_leave(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        (result,) = world.arrived()
        server = world.requests.processor._listener._server
        wait_until(lambda: all(one.transport is None for one in server.connections))
        world.answer(b"too late", result.attributes)

    assert world.answers.one("success").content == b"too late"
    assert world.answers.reported[-1] == (
        EventType.ADDINFO, None, "The client went away before it had the answer",
    )  # fmt: skip
    assert world.answers.bulletins == []


def test_a_request_that_is_cut_short_leaves_nothing() -> None:
    world = World()
    with world.running() as port:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\nonly this"
        send_and_leave(port, head % 100)
        send_and_leave(port, head % 1_000_000)
        wait_until(lambda: not len(world.map))
        reply = world.exchange(port, b"fine")

    assert reply.body == b"fine"
    assert len(world.requests.flowfiles("success")) == 1


def test_parts_share_one_request() -> None:
    body = (
        b'--xx\r\nContent-Disposition: form-data; name="a"\r\n\r\none\r\n'
        b'--xx\r\nContent-Disposition: form-data; name="b"\r\n\r\ntwo\r\n--xx--\r\n'
    )
    headers = {"Content-Type": "multipart/form-data; boundary=xx"}
    world = World()
    with world.running() as port:
        reply = in_background(lambda: call(port, "POST", "/", body, headers))
        first, second = world.arrived(2)
        world.answer(b"got both", second.attributes)
        empty = call(port, "POST", "/", b"--xx--\r\n", headers)
        large = call(port, "POST", "/", bytes(2_000_000), headers)

        assert reply.result(20).body == b"got both"
    assert (first.content, second.content) == (b"one", b"two")
    assert first.attributes["http.multipart.name"] == "a"
    name = "http.context.identifier"
    assert first.attributes[name] == second.attributes[name]
    assert (empty.status, empty.body) == (400, b"The request is not complete: it has no parts")
    assert (large.status, large.body) == (413, b"The request is larger than 1,048,576 bytes")


def test_methods_and_paths_are_limited() -> None:
    world = World(
        {"Allow DELETE": "false", "Additional HTTP Methods": "purge", "Allowed Paths": "/a.*"},
        service={"Request Expiration": "10 ms"},
    )
    with world.running() as port:
        refused = call(port, "DELETE", "/a")
        assert (refused.status, refused.headers["Allow"]) == (405, "GET, POST, PURGE, PUT")
        assert call(port, "GET", "/b").status == 404
        assert call(port, "PURGE", "/abc").body == b"No answer came in time"


def test_a_query_with_too_many_parameters_is_refused() -> None:
    world = World()
    with world.running() as port:
        reply = call(port, "GET", "/?" + "&".join("a" * 1500))

    assert reply.status == 400
    assert reply.body == b"The request is not complete: it has more than 1,000 parameters"


def test_back_pressure_is_answered_with_503() -> None:
    world = World(service={"Request Expiration": "10 ms"})
    with world.running() as port:
        queue = world.requests.outputs["success"]
        queue.model = msgspec.structs.replace(queue.model, max_count=1)
        call(port, "GET", "/")

        reply = call(port, "GET", "/")

    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert reply.body == b"There is no room for more at the moment"


def test_a_disk_that_is_full_is_answered_with_503() -> None:
    world = World(service={"Request Expiration": "10 ms"})
    with world.running() as port:
        world.requests.disk.capacity_bytes = 0
        reply = call(port, "POST", "/", b"x" * 100)

        assert (reply.status, reply.body) == (503, b"The request could not be stored")
        assert len(world.map) == 0
    world.requests.assert_empty("success")


def test_after_a_crash_the_flowfile_remains_and_its_answer_fails() -> None:
    world = World()
    with world.running() as port:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
            world.arrived()
        world.requests.crash()

        result = world.requests.one("success")
        assert result.content == b"abc"
        world.answers.enqueue(b"", result.attributes)
        world.answers.run()

    reason = world.answers.one("failure").reason
    assert reason and reason.kind == "NoRequestError"


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"s": "200"}, "The attribute 'http.context.identifier' is missing"),
        (
            {"http.context.identifier": "x", "s": "done"},
            "The HTTP Status Code is 'done'; it must be from 200 to 599",
        ),
        (
            {"http.context.identifier": "x", "s": "700"},
            "The HTTP Status Code is '700'; it must be from 200 to 599",
        ),
    ],
)
def test_what_cannot_be_an_answer_fails(attributes: dict[str, str], message: str) -> None:
    world = World(answer={"HTTP Status Code": "${s}"})
    world.answers.enqueue(b"", attributes)
    world.answers.run()
    world.answers.close()

    reason = world.answers.one("failure").reason
    assert reason and reason.message == message


def test_a_header_that_would_break_the_answer_fails() -> None:
    world = World(answer={"X-Note": "${note}"})
    with world.running() as port:
        reply = world.exchange(port, b"", note="a\r\nSet-Cookie: b")

    assert reply.status == 500
    reason = world.answers.one("failure").reason
    assert reason and reason.message == (
        "The header 'X-Note' is 'a\\r\\nSet-Cookie: b'; a header has no line breaks and no other "
        "control characters"
    )


def test_disabling_the_map_answers_who_waits() -> None:
    world = World()
    with world.running() as port:
        reply = in_background(lambda: call(port, "GET", "/"))
        world.arrived()
        world.map.disable()

        assert reply.result(20).body == b"The service was disabled"


def test_a_port_that_is_taken_is_named() -> None:
    world = World()
    with world.running() as port:
        second = World({"Listening Port": str(port), "Hostname": "127.0.0.1"})
        with pytest.raises(PortError, match=f"Port {port} of 127.0.0.1 is in use by another"):
            second.requests.start()
        second.requests.close()


def test_a_host_that_is_not_ours_is_named() -> None:
    world = World({"Hostname": "192.0.2.1"})
    with pytest.raises(PortError, match="Port 0 of 192.0.2.1 cannot be listened on: "):
        world.requests.start()
    world.requests.close()


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        (
            {**REQUEST, "Default URL Character Set": "klingon"},
            "is 'klingon'; it must be a character set such as UTF-8",
        ),
        ({"Listening Port": "0"}, "is not set; it is required"),
    ],
)
def test_request_settings_are_checked(properties: dict[str, str], message: str) -> None:
    (problem,) = TestRunner(HandleHttpRequest, properties).problems

    assert problem.message == message


@pytest.mark.parametrize("name", ["Not A Header", "Content-Length", "a:b"])
def test_other_properties_of_an_answer_must_be_headers(name: str) -> None:
    (problem,) = TestRunner(HandleHttpResponse, {**ANSWER, name: "x"}).problems

    assert problem.message == (
        f"property '{name}' does not exist and cannot be a header either: a header's name has no "
        "spaces and no separators, and the transfer's own headers cannot be set"
    )
