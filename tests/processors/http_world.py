"""A client and a server for the tests of the HTTP processors; both use real sockets."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from runtime.testing import TestRunner


@dataclass
class Reply:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes


def call(
    port: int,
    method: str,
    path: str = "/",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Send one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return Reply(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


def send_and_leave(port: int, data: bytes) -> None:
    """Send bytes and break the connection off."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)


@contextmanager
def listening(runner: TestRunner) -> Iterator[int]:
    """Start a server processor, keep its log synced as a node does, and yield its port."""
    runner.start()
    ended = threading.Event()

    def keep_durable() -> None:
        while not ended.wait(0.001):
            runner.engine.log.sync()

    syncing = threading.Thread(target=keep_durable)
    syncing.start()
    try:
        yield runner.processor.port
    finally:
        runner.close()
        ended.set()
        syncing.join()


def in_background(function: Callable[[], Reply]) -> Future[Reply]:
    """Run a call in a thread of its own."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(function)
    pool.shutdown(wait=False)
    return future


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until a condition holds."""
    event = threading.Event()
    for _ in range(int(seconds * 200)):
        if condition():
            return
        event.wait(0.005)
    raise AssertionError(f"the condition did not hold within {seconds} s")


@dataclass
class Received:
    """A request as the test's server saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """A server whose answers the test decides: path -> (status, headers, body)."""

    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    port: int = 0

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server until the block ends."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            server.received.append(
                Received(self.command, self.path, dict(self.headers.items()), self.read_body())
            )
            path = self.path.partition("?")[0]
            status, headers, body = server.answers.get(path, (200, {}, b"ok"))
            self.send_response(status)
            length = headers.get("Content-Length", str(len(body)))
            for name, value in {**headers, "Content-Length": length}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            if length != str(len(body)):
                self.close_connection = True

        def read_body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = handle_any

        def log_message(self, format: str, *arguments: object) -> None:
            """The tests' output is for the tests."""

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.daemon_threads = True
    server.port = web.server_address[1]
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        web.shutdown()
        thread.join()
        web.server_close()
