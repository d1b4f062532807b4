import base64
import gzip
import os
import socket
from collections.abc import Iterator

import pytest

from processors.http_invoke import SMALL_BODY_BYTES, InvokeHTTP
from runtime.commit import EventType
from runtime.processor import Effects
from runtime.testing import Result, TestRunner, check_processor
from tests.processors.http_world import Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def invoke(
    url: str, properties: dict[str, str] | None = None, content: bytes = b"body", **more: str
) -> TestRunner:
    runner = TestRunner(InvokeHTTP, {"HTTP URL": url} | (properties or {}))
    runner.enqueue(content, more)
    try:
        runner.run()
    finally:
        runner.close()
    return runner


def reason(result: Result) -> str:
    assert result.reason is not None
    return result.reason.message


def test_it_conforms() -> None:
    check_processor(InvokeHTTP)


def test_an_answer_becomes_a_flowfile(server: Server) -> None:
    headers = {"Content-Type": "text/csv", "X-Page": "2"}
    server.answers["/data"] = (200, headers, b"1,2\xff")

    runner = invoke(server.url("/data?token=abc"), content=b"question", kept="yes")

    original, answer = runner.one("Original"), runner.one("Response")
    assert (original.content, answer.content) == (b"question", b"1,2\xff")
    assert answer.attributes["kept"] == "yes"
    assert answer.attributes["mime.type"] == "text/csv"
    assert answer.attributes["X-Page"] == "2"
    for result in (original, answer):
        assert result.attributes["invokehttp.status.code"] == "200"
        assert result.attributes["invokehttp.status.message"] == "OK"
        assert result.attributes["invokehttp.request.url"] == server.url("/data?token=abc")
        assert result.attributes["invokehttp.tx.id"]
    assert "X-Page" not in original.attributes
    assert server.received[0].body == b""
    assert "Idempotency-Key" not in server.received[0].headers
    assert (EventType.FETCH, server.url("/data?token=redacted"), None) in runner.reported
    assert EventType.SEND not in {event for event, _, _ in runner.reported}


def test_a_post_sends_the_content_and_its_uuid(server: Server) -> None:
    properties = {"HTTP Method": "post", "X-Kind": "${kind}", "Request User-Agent": "levada"}

    runner = invoke(server.url(), properties, b"\xffbody", kind="a", **{"mime.type": "image/png"})

    (request,) = server.received
    assert (request.method, request.body) == ("POST", b"\xffbody")
    assert request.headers["Content-Type"] == "image/png"
    assert request.headers["Content-Length"] == "5"
    assert request.headers["X-Kind"] == "a"
    assert request.headers["User-Agent"] == "levada"
    assert request.headers["Idempotency-Key"] == runner.one("Original").uuid
    assert "Date" in request.headers
    assert (EventType.SEND, server.url(), None) in runner.reported


def test_a_crash_repeats_a_request_under_the_same_key(server: Server) -> None:
    runner = TestRunner(InvokeHTTP, {"HTTP URL": server.url(), "HTTP Method": "PUT"})
    runner.enqueue(b"once")
    runner.start()
    session = runner.engine.open_session(runner.component)
    runner.on_loop(runner.processor.on_trigger(session))

    runner.crash()
    runner.run()
    runner.close()

    first, second = server.received
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert runner.one("Original").content == b"once"


def test_headers_can_be_set_over_the_usual_ones(server: Server) -> None:
    properties = {
        "HTTP Method": "POST",
        "idempotency-key": "mine",
        "Content-Type": "text/x",
        "Request Header Attributes Pattern": "x-.*",
        "Request Date Header Enabled": "False",
    }

    invoke(server.url(), properties, **{"x-a": " 1 ", "y": "2"})

    headers = server.received[0].headers
    assert headers["idempotency-key"] == "mine"
    assert "Idempotency-Key" not in headers
    assert headers["x-a"] == "1"
    assert "y" not in headers and "Date" not in headers


@pytest.mark.parametrize(
    ("status", "relationship", "penalized"),
    [
        (500, "Retry", True),
        (503, "Retry", True),
        (404, "No Retry", False),
        (302, "No Retry", False),
    ],
)
def test_where_a_request_goes_depends_on_the_status(
    server: Server, status: int, relationship: str, penalized: bool
) -> None:
    server.answers["/"] = (status, {}, "é".encode() * 300)

    runner = invoke(server.url("/?password=x"), {"Response Redirects Enabled": "False"})

    result = runner.one(relationship)
    assert result.penalized is penalized
    assert result.attributes["invokehttp.response.body"] == "é" * 128
    assert reason(result).startswith(f"{server.url('/?password=redacted')} answered {status}")
    runner.assert_empty("Original", "Response", "Failure")


def test_no_retry_can_be_penalized(server: Server) -> None:
    server.answers["/"] = (400, {}, b"")

    runner = invoke(server.url(), {"Request Failure Penalization Enabled": "true"})

    assert runner.one("No Retry").penalized


def test_an_answer_can_be_kept_whatever_its_status(server: Server) -> None:
    server.answers["/"] = (500, {}, b"trouble")

    runner = invoke(server.url(), {"Response Generation Required": "true"})

    assert runner.one("Response").content == b"trouble"
    assert runner.one("Retry").attributes["invokehttp.response.body"] == "trouble"


def test_an_answer_can_go_into_an_attribute(server: Server) -> None:
    server.answers["/"] = (200, {"Content-Type": "text/plain; charset=latin-1"}, b"\xe9" * 10)
    properties = {
        "Response Body Attribute Name": "${where}",
        "Response Body Attribute Size": "4",
        "Response Header Request Attributes Enabled": "true",
        "Response Header Request Attributes Prefix": "h.",
    }

    runner = invoke(server.url(), properties, where="found")

    result = runner.one("Original")
    assert result.attributes["found"] == "éééé"
    assert result.attributes["h.Content-Type"] == "text/plain; charset=latin-1"
    runner.assert_empty("Response")


def test_the_body_of_an_answer_can_be_ignored(server: Server) -> None:
    runner = invoke(server.url(), {"Response Body Ignored": "true"})

    assert runner.one("Response").content == b""


def test_large_bodies_pass_both_ways(server: Server) -> None:
    there = os.urandom(3 * SMALL_BODY_BYTES + 1)
    server.answers["/"] = (200, {}, os.urandom(5 * SMALL_BODY_BYTES + 1))
    runner = TestRunner(InvokeHTTP, {"HTTP URL": server.url(), "HTTP Method": "POST"})
    for _ in range(3):
        runner.enqueue(there)

    runner.run()
    runner.close()

    assert [one.body for one in server.received] == [there] * 3
    answers = [one.content for one in runner.flowfiles("Response")]
    assert answers == [server.answers["/"][2]] * 3


@pytest.mark.parametrize("size", [10, 2 * SMALL_BODY_BYTES])
def test_a_body_can_be_chunked_or_encoded(server: Server, size: int) -> None:
    content = os.urandom(size)
    chunked = {"HTTP Method": "PUT", "Request Chunked Transfer-Encoding Enabled": "true"}
    encoded = {"HTTP Method": "PUT", "Request Content-Encoding": "GZIP"}

    invoke(server.url(), chunked, content)
    invoke(server.url(), encoded, content)

    first, second = server.received
    assert first.body == content and "Content-Length" not in first.headers
    assert gzip.decompress(second.body) == content
    assert second.headers["Content-Encoding"] == "gzip"


def test_a_body_can_be_left_out(server: Server) -> None:
    invoke(server.url(), {"HTTP Method": "POST", "Request Body Enabled": "false"})

    assert server.received[0].body == b""


def test_a_form_has_the_content_and_fields(server: Server) -> None:
    properties = {
        "HTTP Method": "POST",
        "Request Multipart Form-Data Name": "file",
        "post:form:note": "for ${who}",
    }

    invoke(server.url(), properties, b"\xffdata", who="you", filename="a.bin")

    (request,) = server.received
    assert request.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert b'name="note"' in request.body and b"for you" in request.body
    assert b'name="file"; filename="a.bin"' in request.body and b"\xffdata" in request.body


@pytest.mark.parametrize("status", [301, 307])
@pytest.mark.parametrize("size", [4, 2 * SMALL_BODY_BYTES])
def test_redirects_are_followed_with_their_bodies(
    server: Server, status: int, size: int
) -> None:
    server.answers["/"] = (status, {"Location": "/there"}, b"")
    server.answers["/there"] = (200, {}, b"found")
    content = os.urandom(size)

    runner = invoke(server.url(), {"HTTP Method": "PUT"}, content)

    assert runner.one("Response").content == b"found"
    assert [one.body for one in server.received] == [content, content]
    attributes = runner.one("Original").attributes
    assert attributes["invokehttp.request.url"] == server.url()
    assert attributes["invokehttp.response.url"] == server.url("/there")


def test_endless_redirects_end(server: Server) -> None:
    server.answers["/"] = (302, {"Location": "/"}, b"")

    runner = invoke(server.url())

    assert runner.one("Failure").reason
    assert len(server.received) == 20


def test_a_user_is_authenticated(server: Server) -> None:
    user = {"Request Username": "me", "Request Password": "é:x"}

    invoke(server.url(), user)

    login = server.received[0].headers["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(login).decode() == "me:é:x"


def test_digest_answers_the_challenge(server: Server) -> None:
    challenge = 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
    server.answers["/"] = (401, {"WWW-Authenticate": challenge}, b"")
    user = {
        "Request Username": "me",
        "Request Password": "x",
        "Request Digest Authentication Enabled": "true",
    }

    invoke(server.url(), user)

    first, second = server.received
    assert "Authorization" not in first.headers
    assert second.headers["Authorization"].startswith('Digest username="me"')


@pytest.mark.parametrize(("strategy", "sent"), [("ACCEPT_ALL", "id=7"), ("DISABLED", None)])
def test_cookies_are_kept_if_wanted(server: Server, strategy: str, sent: str | None) -> None:
    server.answers["/"] = (200, {"Set-Cookie": "id=7"}, b"")
    runner = TestRunner(
        InvokeHTTP, {"HTTP URL": server.url(), "Response Cookie Strategy": strategy}
    )
    for _ in range(2):
        runner.enqueue()
        runner.run()
    runner.close()

    assert server.received[1].headers.get("Cookie") == sent


def test_the_file_name_can_come_from_the_url(server: Server) -> None:
    properties = {"Response FlowFile Naming Strategy": "URL_PATH"}

    runner = invoke(server.url("/a/b%20c.csv?x=1"), properties, filename="request")

    assert runner.one("Response").attributes["filename"] == "b%20c.csv"
    assert runner.one("Original").attributes["filename"] == "request"


def test_url_and_method_are_expressions_and_a_batch_shares_connections(server: Server) -> None:
    properties = {"HTTP URL": server.url("/${n}"), "HTTP Method": "${m}"}
    runner = TestRunner(InvokeHTTP, properties)
    for number in range(60):
        runner.enqueue(n=str(number), m="DELETE" if number % 2 else "GET")

    runner.run_until_idle()
    runner.close()

    paths = {int(one.path[1:]): one.method for one in server.received}
    assert paths == {number: "DELETE" if number % 2 else "GET" for number in range(60)}
    assert runner.outputs["Original"].count == runner.outputs["Response"].count == 60


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

        runner = invoke(f"http://127.0.0.1:{port}/")

    result = runner.one("Failure")
    assert result.penalized
    assert f"127.0.0.1:{port}" in reason(result)
    assert result.attributes["invokehttp.java.exception.class"] == "ClientConnectorError"
    assert result.attributes["invokehttp.java.exception.message"] == reason(result)


def test_an_answer_that_is_cut_short_leaves_no_flowfile(server: Server) -> None:
    server.answers["/"] = (200, {"Content-Length": "1000000"}, bytes(2 * SMALL_BODY_BYTES))

    runner = invoke(server.url())

    runner.assert_empty("Response", "Original")
    assert runner.one("Failure").content == b"body"


def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"

        runner = invoke(url, {"Socket Read Timeout": "50 ms"})

    assert "Timeout on reading data from socket" in reason(runner.one("Failure"))


def test_a_server_that_takes_nothing_is_given_up() -> None:
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"

        properties = {"HTTP Method": "POST", "Socket Write Timeout": "50 ms"}
        runner = invoke(url, properties, bytes(8 * 2**20))

    assert reason(runner.one("Failure")) == (
        "The server took nothing of the body for 0.05 s (Socket Write Timeout)"
    )


def test_one_failure_does_not_keep_the_others_of_its_batch(server: Server) -> None:
    runner = TestRunner(InvokeHTTP, {"HTTP URL": "${url}"})
    for url in (server.url("/a"), "no url", server.url("/b"), "ftp://x/"):
        runner.enqueue(url=url)

    runner.run()
    runner.close()

    assert len(runner.flowfiles("Original")) == 2
    assert [reason(one) for one in runner.flowfiles("Failure")] == [
        "is 'no url'; it must be a URL such as https://example.org/path",
        "is 'ftp://x/'; it must be a URL such as https://example.org/path",
    ]


def test_a_header_that_would_break_the_request_fails(server: Server) -> None:
    runner = invoke(server.url(), {"X-Note": "${note}"}, note="a\r\nX-Other: b")

    assert runner.one("Failure").reason
    assert server.received == []


@pytest.mark.parametrize(
    ("method", "effects"),
    [
        ("GET", Effects.READS_OUTSIDE),
        ("head", Effects.READS_OUTSIDE),
        ("POST", Effects.WRITES_OUTSIDE),
        ("${m}", Effects.WRITES_OUTSIDE),
    ],
)
def test_effects_follow_the_method(method: str, effects: Effects) -> None:
    runner = TestRunner(InvokeHTTP, {"HTTP URL": "http://x/", "HTTP Method": method})

    assert runner.component.effects is effects


@pytest.mark.parametrize(
    ("properties", "name", "message"),
    [
        ({}, "HTTP URL", "is not set; it is required"),
        (
            {"HTTP URL": "example.org"},
            "HTTP URL",
            "is 'example.org'; it must be a URL such as https://example.org/path",
        ),
        (
            {"HTTP URL": "http://x:99999/"},
            "HTTP URL",
            "is 'http://x:99999/', which is no URL: Port out of range 0-65535",
        ),
        (
            {
                "HTTP URL": "http://x/",
                "Request Body Enabled": "false",
                "Request Multipart Form-Data Name": "f",
            },
            "Request Multipart Form-Data Name",
            "is set; then Request Body Enabled must be true",
        ),
        (
            {"HTTP URL": "http://x/", "post:form:a": "1"},
            "",
            "there are properties 'post:form:...', so Request Multipart Form-Data Name must be "
            "set, or Request Body Enabled be false",
        ),
        (
            {"HTTP URL": "http://x/", "HTTP/2 Disabled": "False"},
            "",
            "property 'HTTP/2 Disabled' does not exist and cannot be a header either: a header's "
            "name has no spaces and no separators, and the transfer's own headers cannot be set",
        ),
    ],
)
def test_settings_are_checked(properties: dict[str, str], name: str, message: str) -> None:
    (problem,) = TestRunner(InvokeHTTP, properties).problems

    assert (problem.property, problem.message) == (name, message)


def source(url: str, **properties: str) -> TestRunner:
    runner = TestRunner(InvokeHTTP, {"HTTP URL": url} | properties)
    runner.component.inputs.clear()
    runner.component.derive()
    return runner


def test_without_a_connection_the_schedule_asks(server: Server) -> None:
    runner = source(server.url("/data"))
    runner.run(2)
    runner.close()

    assert [one.content for one in runner.flowfiles("Response")] == [b"ok", b"ok"]
    assert (EventType.RECEIVE, server.url("/data"), None) in runner.reported


def test_without_a_connection_a_problem_becomes_a_bulletin(server: Server) -> None:
    server.answers["/"] = (503, {}, b"")
    unwell = source(server.url())
    unwell.run()
    unwell.close()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        absent = source(f"http://127.0.0.1:{unused.getsockname()[1]}/")
        absent.run()
        absent.close()

    assert unwell.bulletins[0].message == f"{server.url()} answered 503 Service Unavailable"
    assert absent.bulletins[0].message.startswith("The request got no answer: Cannot connect")


def test_without_a_connection_there_is_no_body_to_send(server: Server) -> None:
    runner = source(server.url(), **{"HTTP Method": "POST"})

    with pytest.raises(ValueError, match="has no incoming connection, so POST has no body to send"):
        runner.run()
    runner.close()


def test_an_empty_trigger_asks_for_nothing(server: Server) -> None:
    runner = TestRunner(InvokeHTTP, {"HTTP URL": server.url()})
    runner.run()
    runner.close()

    assert server.received == []
