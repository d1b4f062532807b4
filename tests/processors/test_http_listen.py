import gzip
import os
import socket
import struct
from collections.abc import Iterator
from functools import partial

import msgspec
import pytest

from processors import http_server
from processors.http_listen import ListenHTTP
from processors.http_server import PortError
from runtime.commit import EventType
from runtime.testing import TestRunner, check_processor
from tests.processors.http_world import call, in_background, listening, send_and_leave, wait_until

PATH = "/contentListener"


@pytest.fixture(autouse=True)
def short_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "STOP_SECONDS", 0.1)


@pytest.fixture
def runner() -> TestRunner:
    return TestRunner(
        ListenHTTP,
        {
            "Listening Port": "0",
            "HTTP Headers for Attributes": "X-.*",
            "Return Code": "202",
            "Multipart Request Max Size": "1 KB",
        },
    )


@pytest.fixture
def port(runner: TestRunner) -> Iterator[int]:
    with listening(runner) as port:
        yield port


def multipart(*parts: tuple[str, bytes]) -> tuple[bytes, dict[str, str]]:
    body = b"".join(b"--xx\r\n%s\r\n\r\n%s\r\n" % (head.encode(), data) for head, data in parts)
    return body + b"--xx--\r\n", {"Content-Type": "multipart/form-data; boundary=xx"}


def test_it_conforms() -> None:
    check_processor(ListenHTTP)


def test_a_post_becomes_a_flowfile(runner: TestRunner, port: int) -> None:
    headers = {"filename": "a.txt", "X-Team": "blue", "Y": "no", "Content-Type": "text/plain"}

    reply = call(port, "POST", PATH, b"\xffbody\0", headers)

    assert (reply.status, reply.body) == (202, b"")
    result = runner.one("success")
    assert result.content == b"\xffbody\0"
    assert result.attributes["restlistener.remote.source.host"] == "127.0.0.1"
    assert result.attributes["restlistener.request.uri"] == PATH
    assert result.attributes["filename"] == "a.txt"
    assert result.attributes["mime.type"] == "text/plain"
    assert result.attributes["X-Team"] == "blue"
    assert "Y" not in result.attributes
    assert runner.reported == [
        (EventType.RECEIVE, f"http://127.0.0.1:{port}/contentListener", None)
    ]


def test_what_was_answered_survives_a_crash(runner: TestRunner, port: int) -> None:
    for content in (b"one", b"", os.urandom(300_000)):
        assert call(port, "POST", PATH, content).status == 202
    contents = [one.content for one in runner.flowfiles("success")]

    runner.crash()

    assert [one.content for one in runner.flowfiles("success")] == contents
    assert [len(content) for content in contents] == [3, 0, 300_000]


def test_many_posts_at_a_time_share_commits(runner: TestRunner, port: int) -> None:
    calls = [
        in_background(partial(call, port, "POST", PATH, b"%d" % n))
        for n in range(40)
    ]

    assert {one.result(20).status for one in calls} == {202}
    assert {one.content for one in runner.flowfiles("success")} == {b"%d" % n for n in range(40)}
    assert len(runner.flowfiles("success")) == 40


def test_gzip_is_unpacked_and_chunks_are_joined(runner: TestRunner, port: int) -> None:
    call(port, "POST", PATH, gzip.compress(b"zipped" * 50), {"Content-Encoding": "gzip"})
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(
            b"POST /contentListener HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 202")

    assert [one.content for one in runner.flowfiles("success")] == [b"zipped" * 50, b"abcde"]


@pytest.mark.parametrize("announced", [100, 1_000_000])
def test_a_request_that_is_cut_short_leaves_nothing(
    runner: TestRunner, port: int, announced: int
) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {announced}\r\n\r\n"

    send_and_leave(port, head.encode() + b"only this")
    assert call(port, "POST", PATH, b"after").status == 202

    assert runner.one("success").content == b"after"


def test_a_body_that_is_not_what_it_says_is_refused(runner: TestRunner, port: int) -> None:
    reply = call(port, "POST", PATH, b"no gzip at all", {"Content-Encoding": "gzip"})

    assert reply.status == 400
    assert reply.body.startswith(b"The request is not complete: ")
    runner.assert_empty("success")


def test_parts_become_flowfiles(runner: TestRunner, port: int) -> None:
    body, headers = multipart(
        ('Content-Disposition: form-data; name="note"', b"hello"),
        (
            'Content-Disposition: form-data; name="file"; filename="a.bin"\r\n'
            "Content-Type: image/png",
            b"\x89PNG\r\n",
        ),
    )

    assert call(port, "POST", PATH, body, headers).status == 202

    note, file = runner.flowfiles("success")
    assert (note.content, file.content) == (b"hello", b"\x89PNG\r\n")
    assert note.attributes["http.multipart.name"] == "note"
    assert file.attributes["http.multipart.filename"] == "a.bin"
    assert file.attributes["http.multipart.content.type"] == "image/png"
    assert file.attributes["http.multipart.size"] == "6"
    assert file.attributes["http.multipart.fragments.sequence.number"] == "2"
    assert note.attributes["http.multipart.fragments.total.number"] == "2"
    assert file.attributes["http.headers.multipart.Content-Type"] == "image/png"
    assert file.attributes["restlistener.request.uri"] == PATH


def test_parts_that_are_too_large_leave_nothing(runner: TestRunner, port: int) -> None:
    small = ("Content-Disposition: form-data; name=a", b"kept?")
    body, headers = multipart(small, ("Content-Disposition: form-data; name=b", bytes(2000)))

    announced = call(port, "POST", PATH, body, headers)
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:50], body[50:]))
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(
            b"POST /contentListener HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: multipart/form-data; boundary=xx\r\n\r\n" + chunked + b"0\r\n\r\n"
        )
        unannounced = connection.recv(100)

    assert (announced.status, announced.body) == (413, b"The request is larger than 1,024 bytes")
    assert unannounced.startswith(b"HTTP/1.1 413")
    runner.assert_empty("success")


def test_forms_inside_of_forms_are_refused(runner: TestRunner, port: int) -> None:
    inner = "Content-Type: multipart/mixed; boundary=yy"
    body, headers = multipart((inner, b"--yy\r\n\r\nx\r\n--yy--"))

    reply = call(port, "POST", PATH, body, headers)

    assert (reply.status, reply.body) == (
        400,
        b"The request is not complete: a multipart request inside another is not supported",
    )


def test_the_number_of_parts_is_limited(
    runner: TestRunner, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "PARTS_MAX", 2)
    body, headers = multipart(*[("Content-Disposition: form-data; name=a", b"")] * 3)

    assert call(port, "POST", PATH, body, headers).status == 413
    runner.assert_empty("success")


@pytest.mark.parametrize(
    "body",
    [b"", b"nothing of a form", b"--xx\r\nContent-Disposition: form-data; name=a\r\n\r\ncut"],
)
def test_a_broken_form_does_no_harm(runner: TestRunner, port: int, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=xx"}

    assert call(port, "POST", PATH, body, headers).status in (202, 400)
    assert call(port, "POST", PATH, body, {"Content-Type": "multipart/form-data"}).status == 400
    assert call(port, "POST", PATH, b"after").status == 202

    assert b"after" in [one.content for one in runner.flowfiles("success")]


def test_packages_of_flowfiles_are_unpacked(runner: TestRunner, port: int) -> None:
    def text(value: str) -> bytes:
        return struct.pack(">H", len(value)) + value.encode()

    def packed(content: bytes, **attributes: str) -> bytes:
        pairs = b"".join(text(name) + text(value) for name, value in attributes.items())
        head = b"NiFiFF3" + struct.pack(">H", len(attributes)) + pairs
        return head + struct.pack(">Q", len(content)) + content

    kind = {"Content-Type": "application/flowfile-v3"}
    large = os.urandom(400_000)
    body = packed(b"one", filename="a", uuid="old") + packed(large, filename="b")

    assert call(port, "POST", PATH, body, kind).status == 202
    cut = call(port, "POST", PATH, body[:-1], kind)
    other = call(port, "POST", PATH, b"something else", kind)
    torn = call(port, "POST", PATH, body[:12], kind)

    first, second = runner.flowfiles("success")
    assert (first.content, first.attributes["filename"]) == (b"one", "a")
    assert (second.content, second.attributes["filename"]) == (large, "b")
    assert first.attributes["uuid"] != "old"
    assert cut.body.endswith(b"it ends inside of a flowfile's content")
    assert other.body.endswith(b"it is not a FlowFile Stream of version 3")
    assert torn.body.endswith(b"it ends or breaks inside of a flowfile's attributes")


def test_a_package_with_too_much_is_refused(runner: TestRunner, port: int) -> None:
    kind = {"Content-Type": "application/flowfile-v3"}

    many = call(port, "POST", PATH, b"NiFiFF3" + b"\xff\xff\0\1\0\0", kind)
    long = call(port, "POST", PATH, b"NiFiFF3\0\1\xff\xff\x7f\0\0\0", kind)

    assert many.body.endswith(b"a flowfile has 65,536 attributes; 10,000 is the limit")
    assert long.body.endswith(b"an attribute has 2,130,706,432 bytes; 1,048,576 is the limit")


def test_other_paths_and_methods_are_refused(port: int) -> None:
    assert call(port, "POST", "/other").status == 404
    assert call(port, "GET", PATH).status == 405
    assert call(port, "PUT", PATH, b"x").headers["Allow"] == "POST, HEAD"
    assert call(port, "HEAD", PATH).headers["Accept"] == "application/flowfile-v3,*/*;q=0.8"
    assert call(port, "GET", f"{PATH}/healthcheck").body == b"OK"


def test_health_can_have_a_port_of_its_own() -> None:
    properties = {"Listening Port": "0", "Listening Port for Health Check Requests": "0"}
    runner = TestRunner(ListenHTTP, properties)
    with listening(runner):
        port = runner.processor.health_port
        assert call(port, "GET", f"{PATH}/healthcheck").body == b"OK"
        assert call(port, "POST", f"{PATH}/healthcheck", b"x").status == 405
        assert call(port, "POST", PATH, b"x").status == 404


def test_back_pressure_is_answered_with_503(runner: TestRunner, port: int) -> None:
    queue = runner.outputs["success"]
    queue.model = msgspec.structs.replace(queue.model, max_count=1)
    assert call(port, "POST", PATH, b"1").status == 202
    assert queue.is_full

    reply = call(port, "POST", PATH, b"2")

    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert len(runner.flowfiles("success")) == 1


@pytest.mark.parametrize("size", [100, 500_000])
def test_a_full_disk_is_answered_with_503(runner: TestRunner, port: int, size: int) -> None:
    room, runner.disk.capacity_bytes = runner.disk.capacity_bytes, 0
    reply = call(port, "POST", PATH, bytes(size))
    runner.disk.capacity_bytes = room

    assert (reply.status, reply.body) == (503, b"The request could not be stored")
    assert runner.bulletins[0].message.startswith("A request could not be stored: ")
    assert call(port, "POST", PATH, b"after").status == 202
    assert runner.one("success").content == b"after"


def test_a_port_that_is_taken_is_named(port: int) -> None:
    second = TestRunner(ListenHTTP, {"Listening Port": str(port)})

    with pytest.raises(PortError) as caught:
        second.start()
    second.close()

    assert str(caught.value) == (
        f"Port {port} is in use by another program or processor. Choose another port"
    )


def test_a_port_that_needs_rights_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(site: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("aiohttp.web.TCPSite.start", refuse)
    runner = TestRunner(ListenHTTP, {"Listening Port": "80"})

    with pytest.raises(PortError, match="Port 80 needs more rights than this node has. Choose one"):
        runner.start()
    runner.close()


def test_headers_that_are_too_long_are_refused(runner: TestRunner, port: int) -> None:
    assert call(port, "POST", PATH, b"x", {"X-Long": "y" * 9000}).status in (400, 431)
    runner.assert_empty("success")


def test_a_stopped_listener_frees_its_port(runner: TestRunner) -> None:
    with listening(runner) as port:
        call(port, "POST", PATH, b"x")

    wait_until(lambda: not _is_open(port))


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("Listening Port", "70000", "is '70000'; it must be at most 65535"),
        ("Return Code", "99", "is '99'; it must be at least 200"),
        (
            "Listening Port for Health Check Requests",
            "8081",
            "is 8081, as is Listening Port; they must differ",
        ),
    ],
)
def test_settings_are_checked(name: str, value: str, message: str) -> None:
    runner = TestRunner(ListenHTTP, {"Listening Port": "8081", name: value})

    assert [str(one.message) for one in runner.problems] == [message]


@pytest.mark.parametrize("path", ["/a", "a/", "a b", "a?b"])
def test_the_base_path_has_no_slashes_around_it(path: str) -> None:
    (problem,) = TestRunner(ListenHTTP, {"Listening Port": "0", "Base Path": path}).problems

    assert problem.property == "Base Path"
