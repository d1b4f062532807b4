"""What processors that listen for HTTP share: the server, the intake of requests, multipart.

An answer promises that what came is durable. Large bodies are streamed into a session of their
own; small ones gather while a commit is under way and then share the next one:

    request 1 --read--> commit ------------------------> answer
    request 2 ---------read--> waits \\
    request 3 ------------read-> waits >-> commit ------> answers

So a record and a sync are paid once for all that came meanwhile, and nobody waits when nothing
else happens. A request that ends early is rolled back as a whole.

All of it runs on the engine's event loop.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiohttp import BodyPartReader, ClientError, web
from aiohttp.http_exceptions import HttpProcessingError

from runtime.flowfile import FlowFile
from runtime.processor import Context, Relationship

if TYPE_CHECKING:
    from runtime.session import Session

PART_ATTRIBUTES: Final = {
    "http.multipart.name": "Of a part: the name of its field.",
    "http.multipart.filename": "Of a part: the name of its file.",
    "http.multipart.content.type": "Of a part: its content type.",
    "http.multipart.size": "Of a part: its size in bytes.",
    "http.multipart.fragments.sequence.number": "Of a part: its number, from 1.",
    "http.multipart.fragments.total.number": "Of a part: how many there are.",
    "http.headers.multipart.XXX": "Of a part: each of its headers.",
}
SMALL_BODY_BYTES: Final = 2**16
CHUNK_BYTES: Final = 2**18
RETRY_SECONDS: Final = 1
STOP_SECONDS = 5.0
# How long the rest of a refused body is read, so that the client gets to see its answer.
LINGER_SECONDS: Final = 2.0
PARTS_MAX: Final = 10_000

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class PortError(RuntimeError):
    """The port cannot be listened on."""


class BrokenRequestError(Exception):
    """The request ended early or is not what HTTP allows; nothing of it is kept."""


class TooLargeError(Exception):
    """The request is larger than is allowed."""


class HttpListener:
    """An HTTP/1.1 server on one port; `port` is the one in use (for port 0 a free one)."""

    def __init__(
        self, handler: Handler, *, host: str | None, port: int, header_bytes: int = 8192
    ) -> None:
        self._host = host
        self.port = port
        self._server = web.Server(
            handler,
            access_log=None,
            max_line_size=header_bytes,
            max_field_size=header_bytes,
            read_bufsize=CHUNK_BYTES,
            lingering_time=LINGER_SECONDS,
        )
        self._runner = web.ServerRunner(self._server, shutdown_timeout=STOP_SECONDS)

    async def start(self) -> None:
        """Listen.

        Raises:
            PortError: the port is taken, not allowed, or the host is not this machine's.
        """
        await self._runner.setup()
        # On all addresses, port 0 would get another port for each kind of address.
        host = self._host or (None if self.port else "0.0.0.0")
        site = web.TCPSite(self._runner, host, self.port, backlog=1024)
        try:
            await site.start()
        except (OSError, OverflowError) as error:
            await self._runner.cleanup()
            raise PortError(self._explain(error)) from error
        self.port = self._runner.addresses[0][1]

    def _explain(self, error: Exception) -> str:
        where = f"Port {self.port}" + (f" of {self._host}" if self._host else "")
        match getattr(error, "errno", None):
            case errno.EADDRINUSE:
                return f"{where} is in use by another program or processor. Choose another port"
            case errno.EACCES:
                return f"{where} needs more rights than this node has. Choose one above 1023"
            case _:
                return f"{where} cannot be listened on: {error}"

    async def stop(self) -> None:
        """Take no more connections, wait a little for requests under way, and close."""
        await self._runner.cleanup()
        # Requests that were cancelled end in the next turn of the loop.
        await asyncio.sleep(0)


def unavailable(text: str) -> web.Response:
    """Answer that the client should come again later."""
    return web.Response(status=503, text=text, headers={"Retry-After": str(RETRY_SECONDS)})


@dataclass
class Arrival:
    """One request's flowfile to be, with its content in memory."""

    attributes: dict[str, str]
    content: bytes
    transit_uri: str
    turn: asyncio.Future[bool] = field(default_factory=lambda: _future())


def _future() -> asyncio.Future[bool]:
    return asyncio.get_running_loop().create_future()


class Intake:
    """Commits what arrives. Of those that wait, one commits for all and then names the next."""

    def __init__(self, context: Context, relationship: Relationship) -> None:
        self._context = context
        self._relationship = relationship
        self._waiting: list[Arrival] = []
        self._is_committing = False
        self._sessions: list[Session] = []

    async def add(self, arrival: Arrival) -> None:
        """Commit an arrival; return when it is durable."""
        self._waiting.append(arrival)
        if self._is_committing and not await arrival.turn:
            return
        self._is_committing = True
        batch, self._waiting = self._waiting, []
        try:
            await self._commit(batch)
        except BaseException as error:
            for one in batch:
                if one is not arrival and not one.turn.done():
                    one.turn.set_exception(_failure(error))
            raise
        finally:
            self._pass_on()
        for one in batch:
            if one is not arrival and not one.turn.done():
                one.turn.set_result(False)

    def _pass_on(self) -> None:
        for one in self._waiting:
            if not one.turn.done():
                one.turn.set_result(True)
                return
        self._is_committing = False

    async def _commit(self, batch: list[Arrival]) -> None:
        async with self.session() as session:
            flowfiles = [
                session.create(one.attributes, one.content, received_from=one.transit_uri)
                for one in batch
            ]
            session.transfer(flowfiles, self._relationship)
            await session.commit_async()

    def session(self) -> _Borrowed:
        """Lend a session; what is not committed at the end of the block is rolled back."""
        return _Borrowed(self._context, self._sessions)

    def close(self) -> None:
        """Give the sessions' writers back."""
        for session in self._sessions:
            session.close()
        self._sessions.clear()


class _Borrowed:
    """A session from the pool, for the length of an `async with` block."""

    def __init__(self, context: Context, idle: list[Session]) -> None:
        self._context = context
        self._idle = idle

    async def __aenter__(self) -> Session:
        self._session = self._idle.pop() if self._idle else self._context.open_session()
        return self._session

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._session.rollback()
        self._idle.append(self._session)


def _failure(error: BaseException) -> Exception:
    if isinstance(error, Exception):
        return error
    return BrokenRequestError("the commit was cancelled")


def is_small(request: web.BaseRequest) -> bool:
    """Tell whether the body is known to be small enough for memory."""
    length = request.content_length
    return (
        length is not None
        and length <= SMALL_BODY_BYTES
        # A compressed body says nothing about what it becomes.
        and "Content-Encoding" not in request.headers
    )


async def chunks_of(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """Yield the body piece by piece.

    Raises:
        BrokenRequestError: it ends early or is malformed.
    """
    try:
        async for chunk in request.content.iter_any():
            yield chunk
    except (ConnectionError, ClientError, HttpProcessingError, web.RequestPayloadError) as error:
        raise BrokenRequestError(str(error) or type(error).__name__) from error


async def read_small(request: web.BaseRequest) -> bytes:
    """Return a small body; see `is_small`.

    Raises:
        BrokenRequestError: it ends early or is malformed.
    """
    try:
        return await request.content.read()
    except (ConnectionError, ClientError, HttpProcessingError, web.RequestPayloadError) as error:
        raise BrokenRequestError(str(error) or type(error).__name__) from error


async def receive_parts(
    request: web.BaseRequest, session: Session, transit_uri: str, limit: int
) -> list[FlowFile]:
    """Make a flowfile of each part of a multipart request, with the part's attributes.

    Raises:
        BrokenRequestError: it ends early or is malformed.
        TooLargeError: the parts have more than `limit` bytes.
    """
    if (request.content_length or 0) > limit:
        raise TooLargeError
    flowfiles: list[FlowFile] = []
    left = limit
    try:
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            if not isinstance(part, BodyPartReader):
                raise BrokenRequestError("a multipart request inside another is not supported")
            if len(flowfiles) == PARTS_MAX:
                raise TooLargeError
            flowfile = session.create(received_from=transit_uri)
            with session.open_write(flowfile) as target:
                while chunk := await part.read_chunk(CHUNK_BYTES):
                    left -= len(chunk)
                    if left < 0:
                        raise TooLargeError
                    target.write(chunk)
            attributes = _part_attributes(part, target.flowfile.size, len(flowfiles) + 1)
            flowfiles.append(session.put(target.flowfile, attributes))
    except (
        ConnectionError, ClientError, HttpProcessingError, web.RequestPayloadError,
        ValueError, AssertionError,
    ) as error:  # fmt: skip
        raise BrokenRequestError(str(error) or type(error).__name__) from error
    total = {"http.multipart.fragments.total.number": str(len(flowfiles))}
    return [session.put(flowfile, total) for flowfile in flowfiles]


def _part_attributes(part: BodyPartReader, size: int, number: int) -> dict[str, str]:
    attributes = {
        f"http.headers.multipart.{name}": value for name, value in part.headers.items()
    }
    attributes["http.multipart.size"] = str(size)
    attributes["http.multipart.fragments.sequence.number"] = str(number)
    for name, value in (
        ("content.type", part.headers.get("Content-Type")),
        ("name", part.name),
        ("filename", part.filename),
    ):
        if value is not None:
            attributes[f"http.multipart.{name}"] = value
    return attributes


def is_multipart(request: web.BaseRequest) -> bool:
    """Tell whether the body is a form with files."""
    return request.content_type == "multipart/form-data"
