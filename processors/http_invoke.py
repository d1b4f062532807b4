"""Calling HTTP services: InvokeHTTP.

The requests of a batch run at the same time over a pool of connections that stay open; the batch
is committed when all have an answer. Where a request's flowfile goes:

    2xx  Original, and the answer to Response      5xx  Retry, penalized
    1xx, 3xx, 4xx  No Retry                        no answer  Failure, penalized

Small bodies are read and written whole, larger ones pass piece by piece. A crash after a request
and before the commit repeats the request; requests that change something carry the flowfile's
UUID as `Idempotency-Key`, so that the other side can see that it is the same one.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from email.utils import formatdate
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import aiohttp
from aiohttp import payload
from yarl import URL

from processors.http_invoke_properties import (
    FORM_PREFIX,
    REDIRECTS_MAX,
    Cookies,
    Encoding,
    InvokeProperties,
    Naming,
    parse_url,
)
from processors.http_redact import redact_url
from runtime.commit import EventType
from runtime.expression import ExpressionError
from runtime.flowfile import FlowFile
from runtime.processor import Effects, Example, Input, Processor, Relationship

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

    from runtime.session import Session

SMALL_BODY_BYTES: Final = 2**18
CHUNK_BYTES: Final = 2**18
_BODY_METHODS: Final = frozenset({"POST", "PUT", "PATCH"})
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_BINARY: Final = "application/octet-stream"
_OWN_ATTRIBUTES: Final = frozenset(
    {
        "invokehttp.status.code", "invokehttp.status.message", "invokehttp.response.body",
        "invokehttp.request.url", "invokehttp.response.url", "invokehttp.tx.id",
        "invokehttp.remote.dn", "invokehttp.java.exception.class",
        "invokehttp.java.exception.message", "path",
    }
)  # fmt: skip


class InvokeHTTP(Processor):
    """Send an HTTP request for each flowfile and make a flowfile of the answer."""

    Properties = InvokeProperties

    original = Relationship("Requests whose answer has a status of 2xx.", name="Original")
    response = Relationship("The answers.", name="Response")
    retry = Relationship("Requests whose answer has a status of 5xx.", name="Retry")
    no_retry = Relationship("Requests with any other answer.", name="No Retry")
    failure = Relationship("Requests that got no answer.", name="Failure")
    input = Input.ALLOWED
    effects = Effects.WRITES_OUTSIDE
    batch_size = 50
    tags = ("http", "https", "rest", "client", "get", "post")
    reads = {"mime.type": "The body's type, unless configured otherwise."}
    writes = {
        "invokehttp.status.code": "The answer's status.",
        "invokehttp.status.message": "The answer's reason phrase.",
        "invokehttp.request.url": "The URL asked for.",
        "invokehttp.response.url": "The URL that answered, after redirects.",
        "invokehttp.request.duration": "How long it took, in milliseconds.",
        "invokehttp.response.body": "On the request: the start of a body that is no success.",
        "invokehttp.tx.id": "A random name of this request.",
        "invokehttp.java.exception.class": "Without an answer: the kind of error.",
        "invokehttp.java.exception.message": "Without an answer: what happened.",
        "mime.type": "On the answer: its content type.",
        "filename": "On the answer: from the URL, if so configured.",
    }
    delivery = (
        "After a crash, requests whose batch was not committed are sent again. Methods other than "
        "GET, HEAD, OPTIONS and TRACE carry the flowfile's UUID as Idempotency-Key, unless a "
        "property sets that header."
    )
    example = Example(
        "A service that does not listen",
        properties={"HTTP URL": "http://127.0.0.1:1/"},
        content=b"a reading",
        expect="Failure",
        expect_content=b"a reading",
    )

    properties: InvokeProperties

    @classmethod
    def effects_of(cls, properties: InvokeProperties) -> Effects:
        """Return what the method does: GET, HEAD and OPTIONS change nothing."""
        method = properties.method
        if method.is_constant and method.text.strip().upper() in _SAFE_METHODS:
            return Effects.READS_OUTSIDE
        return Effects.WRITES_OUTSIDE

    async def start(self) -> None:
        """Open the pool of connections."""
        properties = self.properties
        # Streams of one session are written one after the other.
        self._streaming = asyncio.Lock()
        middlewares = []
        if properties.username and properties.digest:
            middlewares.append(
                aiohttp.DigestAuthMiddleware(properties.username, properties.password or "")
            )
        keeps_cookies = properties.cookies is Cookies.ACCEPT_ALL
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                limit_per_host=properties.idle_connections,
                keepalive_timeout=properties.idle_timeout,
            ),
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=properties.connect_timeout,
                sock_read=properties.read_timeout,
            ),
            cookie_jar=(
                aiohttp.CookieJar(unsafe=True) if keeps_cookies else aiohttp.DummyCookieJar()
            ),
            skip_auto_headers=("User-Agent", "Content-Type"),
            read_bufsize=CHUNK_BYTES,
            middlewares=tuple(middlewares),
            trust_env=False,
        )

    async def stop(self) -> None:
        """Close the connections."""
        if hasattr(self, "_client"):
            await self._client.close()

    async def on_trigger(self, session: Session) -> None:
        """Send the requests of a batch at the same time."""
        flowfiles: list[FlowFile | None] = list(session.take())
        if not flowfiles:
            # Without a connection the schedule asks for requests, as long as they need no body.
            if session.component.has_outer_input:
                return
            if self._method(None) in _BODY_METHODS:
                raise ValueError(
                    f"{self.context.path} has no incoming connection, so {self._method(None)} has "
                    "no body to send. Connect something, or choose GET"
                )
            flowfiles = [None]
        await asyncio.gather(*[self._invoke(session, flowfile) for flowfile in flowfiles])

    async def _invoke(self, session: Session, flowfile: FlowFile | None) -> None:
        try:
            request = self._request(session, flowfile)
            answer = await self._exchange(session, flowfile, request)
        except _REQUEST_ERRORS as error:
            self._fail(session, flowfile, error)
            return
        except TimeoutError:
            self._fail(session, flowfile, _timed_out(self.properties))
            return
        self._route(session, flowfile, request, answer)

    def _request(self, session: Session, flowfile: FlowFile | None) -> Request:
        method = self._method(flowfile)
        url = self.properties.url.evaluate(flowfile).strip()
        parse_url(url)
        body, headers = None, self._headers(session, flowfile, method)
        if flowfile is not None and method in _BODY_METHODS:
            body = self._body(session, flowfile, headers)
        return Request(method, url, headers, body)

    def _method(self, flowfile: FlowFile | None) -> str:
        return self.properties.method.evaluate(flowfile).strip().upper()

    def _headers(
        self, session: Session, flowfile: FlowFile | None, method: str
    ) -> dict[str, str]:
        properties = self.properties
        headers = {}
        if properties.user_agent is not None:
            headers["User-Agent"] = properties.user_agent.evaluate(flowfile)
        if properties.sends_date:
            headers["Date"] = formatdate(self.context.clock.wall(), usegmt=True)
        if properties.username and not properties.digest:
            login = f"{properties.username}:{properties.password or ''}".encode()
            headers["Authorization"] = f"Basic {b64encode(login).decode()}"
        if flowfile is not None and method not in _SAFE_METHODS:
            headers["Idempotency-Key"] = session.uuid(flowfile)
        chosen = {
            name: expression.evaluate(flowfile)
            for name, expression in properties.dynamic.items()
            if not name.startswith(FORM_PREFIX)
        }
        if properties.sent_attributes is not None and flowfile is not None:
            for name, value in session.attributes(flowfile).items():
                if name not in _OWN_ATTRIBUTES and properties.sent_attributes.matches(name):
                    chosen[name.strip()] = value.strip()
        names = {name.lower() for name in chosen}
        usual = {name: value for name, value in headers.items() if name.lower() not in names}
        return usual | chosen

    def _body(
        self, session: Session, flowfile: FlowFile, headers: dict[str, str]
    ) -> aiohttp.MultipartWriter | payload.Payload | None:
        properties = self.properties
        content_type = properties.content_type.evaluate(flowfile).strip() or _BINARY
        content = ContentPayload(
            session, flowfile, content_type=content_type, properties=properties
        )
        form = {
            name.removeprefix(FORM_PREFIX): expression.evaluate(flowfile)
            for name, expression in properties.dynamic.items()
            if name.startswith(FORM_PREFIX)
        }
        if not form and properties.form_name is None:
            if not properties.sends_body:
                return None
            if "content-type" not in {name.lower() for name in headers}:
                headers["Content-Type"] = content_type
            if properties.encoding is Encoding.GZIP:
                headers["Content-Encoding"] = "gzip"
            return content
        writer = aiohttp.MultipartWriter("form-data")
        for name, value in form.items():
            part = payload.StringPayload(value)
            part.set_content_disposition("form-data", name=name)
            writer.append_payload(part)
        if properties.sends_body and properties.form_name is not None:
            form_name = properties.form_name.evaluate(flowfile)
            if properties.form_filename:
                filename = session.attribute(flowfile, "filename") or ""
                content.set_content_disposition("form-data", name=form_name, filename=filename)
            else:
                content.set_content_disposition("form-data", name=form_name)
            writer.append_payload(content)
        # As for a plain body, the library adds no type of its own.
        headers["Content-Type"] = writer.content_type
        return writer

    async def _exchange(
        self, session: Session, flowfile: FlowFile | None, request: Request
    ) -> Answer:
        started = self.context.clock.monotonic()
        async with self._client.request(
            request.method,
            URL(request.url, encoded=True),
            headers=request.headers,
            data=request.body,
            chunked=True if request.body is not None and self.properties.chunked else None,
            allow_redirects=self.properties.redirects,
            max_redirects=REDIRECTS_MAX,
        ) as response:
            answer = Answer(response, started)
            is_success = response.status // 100 == 2
            to_attribute = self.properties.body_attribute is not None
            makes_flowfile = self.properties.always_responds or (is_success and not to_attribute)
            if to_attribute and flowfile is None and is_success:
                makes_flowfile = True  # there is no other flowfile that could have the attribute
            if makes_flowfile:
                answer.flowfile = session.create(parents=() if flowfile is None else flowfile)
            try:
                if not self.properties.ignores_body:
                    await self._read_body(session, response, answer)
            except BaseException:
                if answer.flowfile is not None:
                    session.drop(answer.flowfile, "The answer was cut short")
                raise
            answer.seconds = self.context.clock.monotonic() - started
        return answer

    async def _read_body(
        self, session: Session, response: aiohttp.ClientResponse, answer: Answer
    ) -> None:
        limit = self.properties.body_attribute_size
        if answer.flowfile is None:
            while len(answer.start) < limit and (chunk := await response.content.read(limit)):
                answer.start += chunk
            answer.start = answer.start[:limit]
            return
        head = b""
        async for chunk in response.content.iter_any():
            head += chunk
            if len(head) > SMALL_BODY_BYTES:
                async with self._streaming:
                    with session.open_write(answer.flowfile) as target:
                        target.write(head)
                        async for more in response.content.iter_any():
                            target.write(more)
                answer.flowfile = target.flowfile
                break
        else:
            answer.flowfile = session.write(answer.flowfile, head)
        answer.start = head[:limit]

    def _route(
        self, session: Session, flowfile: FlowFile | None, request: Request, answer: Answer
    ) -> None:
        status = answer.status
        notes = answer.notes(request)
        self._report(session, flowfile, request, answer)
        if answer.flowfile is not None:
            session.put(answer.flowfile, notes | self._answer_attributes(request, answer))
            session.transfer(answer.flowfile, self.response)
        if flowfile is None:
            if status // 100 != 2:
                self.context.report("WARN", _answered(request, answer))
                self.context.yield_for()
            return
        if answer.start and (status // 100 != 2 or self.properties.body_attribute is not None):
            name = self.properties.body_attribute
            key = "invokehttp.response.body" if name is None else name.evaluate(flowfile)
            notes[key] = answer.start.decode(answer.charset, errors="replace")
        if self.properties.keeps_headers:
            prefix = self.properties.header_prefix
            lead = "" if prefix is None else prefix.evaluate(flowfile).strip()
            notes |= {lead + name: value for name, value in answer.headers.items()}
        session.put(flowfile, notes)
        if status // 100 == 2:
            session.transfer(flowfile, self.original)
            return
        error = ResponseError(_answered(request, answer))
        if status // 100 == 5:
            session.penalize(flowfile)
            session.transfer(flowfile, self.retry, reason=error)
            return
        if self.properties.penalize:
            session.penalize(flowfile)
        session.transfer(flowfile, self.no_retry, reason=error)

    def _report(
        self, session: Session, flowfile: FlowFile | None, request: Request, answer: Answer
    ) -> None:
        url = redact_url(request.url)
        if flowfile is not None and request.body is not None:
            session.sent(flowfile, url, duration_seconds=answer.seconds)
        if answer.flowfile is not None:
            event = EventType.RECEIVE if flowfile is None else EventType.FETCH
            session.report(event, answer.flowfile, url, duration_seconds=answer.seconds)

    def _answer_attributes(self, request: Request, answer: Answer) -> dict[str, str]:
        attributes = dict(answer.headers)
        if answer.content_type:
            attributes["mime.type"] = answer.content_type
        if self.properties.naming is Naming.URL_PATH and request.method == "GET":
            name = URL(request.url, encoded=True).raw_path.rstrip("/").rpartition("/")[2]
            if name:
                attributes["filename"] = name
        return attributes

    def _fail(self, session: Session, flowfile: FlowFile | None, error: Exception) -> None:
        if flowfile is None:
            self.context.report("ERROR", f"The request got no answer: {error}")
            self.context.yield_for()
            return
        session.put(
            flowfile,
            {
                "invokehttp.java.exception.class": type(error).__name__,
                "invokehttp.java.exception.message": str(error) or type(error).__name__,
            },
        )
        session.penalize(flowfile)
        session.transfer(flowfile, self.failure, reason=error)


class ResponseError(Exception):
    """The server answered with a status that is no success."""


class NoAnswerError(Exception):
    """The server did not take the request in time."""


_REQUEST_ERRORS: Final = (aiohttp.ClientError, ExpressionError, ValueError, ConnectionError)


class Request:
    """A request as it will be sent."""

    def __init__(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: aiohttp.MultipartWriter | payload.Payload | None,
    ) -> None:
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.transaction = str(uuid4())


class Answer:
    """What came back; `start` is the beginning of the body, `flowfile` what has all of it."""

    def __init__(self, response: aiohttp.ClientResponse, started: float) -> None:
        self.status = response.status
        self.reason = response.reason or ""
        self.url = str(response.url)
        self.content_type = response.headers.get("Content-Type", "")
        self.charset = _known_charset(response.charset)
        self.headers = {
            name: ", ".join(response.headers.getall(name)) for name in response.headers
        }
        self.flowfile: FlowFile | None = None
        self.start = b""
        self.seconds = 0.0

    def notes(self, request: Request) -> dict[str, str]:
        """Return the attributes that both flowfiles get."""
        return {
            "invokehttp.status.code": str(self.status),
            "invokehttp.status.message": self.reason,
            "invokehttp.request.url": request.url,
            "invokehttp.response.url": self.url,
            "invokehttp.request.duration": str(int(self.seconds * 1000)),
            "invokehttp.tx.id": request.transaction,
        }


class ContentPayload(payload.Payload):
    """A flowfile's content as a body, which a redirect may ask for more than once."""

    def __init__(
        self,
        session: Session,
        flowfile: FlowFile,
        *,
        content_type: str,
        properties: InvokeProperties,
    ) -> None:
        super().__init__(flowfile, content_type=content_type)
        self._session = session
        self._flowfile = flowfile
        self._is_encoded = properties.encoding is Encoding.GZIP
        self._write_seconds = properties.write_timeout
        if not (self._is_encoded or properties.chunked):
            self._size = flowfile.size

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the content as text."""
        return self._session.read(self._flowfile).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the content."""
        try:
            async for chunk in self._chunks():
                async with asyncio.timeout(self._write_seconds):
                    await writer.write(chunk)
        except TimeoutError:
            # Closing would wait for the server to take what is buffered, which it does not.
            transport = getattr(writer, "transport", None)
            if transport is not None:
                transport.abort()
            raise

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Send the content, whose length has been announced."""
        await self.write(writer)

    async def _chunks(self) -> AsyncIterator[bytes]:
        if self._flowfile.size <= SMALL_BODY_BYTES:
            content = self._session.read(self._flowfile)
            yield gzip.compress(content) if self._is_encoded else content
            return
        coder = zlib.compressobj(wbits=31) if self._is_encoded else None
        with self._session.open_read(self._flowfile) as source:
            while chunk := source.read(CHUNK_BYTES):
                yield chunk if coder is None else coder.compress(chunk)
        if coder is not None:
            yield coder.flush()


def _answered(request: Request, answer: Answer) -> str:
    return f"{redact_url(request.url)} answered {answer.status} {answer.reason}".strip()


def _timed_out(properties: InvokeProperties) -> NoAnswerError:
    # What takes too long elsewhere is an error of the client library, with words of its own.
    return NoAnswerError(
        f"The server took nothing of the body for {properties.write_timeout:g} s (Socket Write "
        "Timeout)"
    )


def _known_charset(name: str | None) -> str:
    try:
        "".encode(name or "utf-8")
    except LookupError:
        return "utf-8"
    return name or "utf-8"
