"""A web service as a flow: HandleHttpRequest and HandleHttpResponse.

    client --request--> HandleHttpRequest --flowfile--> ... --flowfile--> HandleHttpResponse
       ^                        |                                                |
       `------- answer ---------+------------ StandardHttpContextMap ------------'

The flowfile carries the exchange's identifier as the attribute `http.context.identifier`. It is
registered before the commit that makes the flowfile visible, and given up when that goes wrong.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote_plus
from uuid import uuid4

from aiohttp import web
from pydantic import field_validator, model_validator

from processors.http_context_map import ClientGoneError, Exchange, StandardHttpContextMap
from processors.http_redact import redact_url
from processors.http_server import (
    CHUNK_BYTES,
    PART_ATTRIBUTES,
    SMALL_BODY_BYTES,
    Arrival,
    BrokenRequestError,
    HttpListener,
    Intake,
    TooLargeError,
    chunks_of,
    is_multipart,
    is_small,
    read_small,
    receive_parts,
    unavailable,
)
from runtime.commit import EventType
from runtime.expression import ExpressionError
from runtime.flowfile import FlowFile
from runtime.processor import Effects, Input, Processor, Relationship
from runtime.properties import (
    DataSize,
    DynamicProperties,
    Expression,
    Pattern,
    Property,
    Service,
)
from runtime.properties import (
    Properties as Declaration,
)

if TYPE_CHECKING:
    from runtime.session import Session

IDENTIFIER: Final = "http.context.identifier"
# RFC 9110: what a header's name may consist of.
HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# These belong to the transfer, which the server arranges.
TRANSFER_HEADERS: Final = frozenset(
    {"content-length", "transfer-encoding", "connection", "upgrade", "trailer"}
)
_FORM: Final = "application/x-www-form-urlencoded"
_PARAMETERS_MAX: Final = 1000


class HandleHttpRequest(Processor):
    """Make a flowfile of each HTTP request; HandleHttpResponse answers it."""

    class Properties(Declaration):
        port: int = Property(
            80,
            name="Listening Port",
            description="The port to listen on; with 0 the system chooses a free one.",
            ge=0,
            le=65535,
        )
        host: str | None = Property(
            None,
            name="Hostname",
            description="The name or address to listen on. Unless it is set, all.",
        )
        context_map: Service[StandardHttpContextMap] = Property(
            name="HTTP Context Map",
            description="Where requests wait for their answer.",
            service_type="StandardHttpContextMap",
        )
        paths: Pattern | None = Property(
            None,
            name="Allowed Paths",
            description="A path that this regular expression does not match as a whole is "
            "answered with 404.",
        )
        charset: str = Property(
            "UTF-8",
            name="Default URL Character Set",
            description="How query parameters are encoded where the request does not say it.",
        )
        allow_get: bool = Property(True, name="Allow GET", description="Take GET.")
        allow_post: bool = Property(True, name="Allow POST", description="Take POST.")
        allow_put: bool = Property(True, name="Allow PUT", description="Take PUT.")
        allow_delete: bool = Property(True, name="Allow DELETE", description="Take DELETE.")
        allow_head: bool = Property(False, name="Allow HEAD", description="Take HEAD.")
        allow_options: bool = Property(False, name="Allow OPTIONS", description="Take OPTIONS.")
        more_methods: str | None = Property(
            None,
            name="Additional HTTP Methods",
            description="Other methods to take, separated by commas.",
        )
        header_size: DataSize = Property(
            8192,
            name="Request Header Maximum Size",
            description="How long the request line, and each header, may be.",
            ge=256,
        )
        multipart_size: DataSize = Property(
            2**20,
            name="Multipart Request Max Size",
            description="How large a multipart request may be; a larger one is answered with 413.",
            formerly=("multipart-request-max-size",),
            ge=1,
        )
        parameters: str | None = Property(
            None,
            name="Parameters to Attributes",
            description="Query and form parameters that become attributes http.param.NAME, "
            "separated by commas.",
            formerly=("parameters-to-attributes",),
        )

        @field_validator("charset")
        @classmethod
        def _is_known(cls, value: str) -> str:
            try:
                "".encode(value)
            except LookupError as error:
                raise ValueError(
                    f"is '{value}'; it must be a character set such as UTF-8"
                ) from error
            return value

        @property
        def methods(self) -> frozenset[str]:
            """The methods that are taken."""
            named = ("get", "post", "put", "delete", "head", "options")
            allowed = [name.upper() for name in named if getattr(self, f"allow_{name}")]
            return frozenset([*allowed, *(name.upper() for name in _listed(self.more_methods))])

    success = Relationship("The requests; of a multipart request its parts.")
    input = Input.FORBIDDEN
    effects = Effects.READS_OUTSIDE
    exclusive = True
    tags = ("http", "request", "listen", "ingress", "web service")
    writes = {
        IDENTIFIER: "Names the request to HandleHttpResponse.",
        "mime.type": "The header Content-Type.",
        "http.method": "The method, such as GET.",
        "http.protocol": "The protocol and its version.",
        "http.servlet.path": "The path.",
        "http.context.path": "Always empty.",
        "http.request.uri": "The path as it was sent.",
        "http.request.url": "The whole URL without the query.",
        "http.query.string": "The query, decoded.",
        "http.query.param.XXX": "Each parameter of the query.",
        "http.param.XXX": "Each query or form parameter that is configured.",
        "http.headers.XXX": "Each header, as the client spelled its name.",
        "http.cookie.XXX.value": "Each cookie.",
        "http.remote.host": "The client's address.",
        "http.remote.addr": "The client's address.",
        "http.local.name": "The address that the request came to.",
        "http.local.addr": "The address that the request came to.",
        "http.server.name": "The host that the client asked for.",
        "http.server.port": "The port that the request came to.",
        "http.character.encoding": "The body's character set, where the client names it.",
        **PART_ATTRIBUTES,
    }
    delivery = (
        "A crash closes the connections; the flowfiles remain, and HandleHttpResponse sends them "
        "to failure."
    )

    properties: Properties

    async def start(self) -> None:
        """Listen.

        Raises:
            PortError: the port cannot be listened on.
        """
        properties = self.properties
        self._methods = properties.methods
        self._parameters = frozenset(_listed(properties.parameters))
        self._map = properties.context_map.get()
        self._intake = Intake(self.context, self.success)
        self._listener = HttpListener(
            self._handle,
            host=properties.host,
            port=properties.port,
            header_bytes=properties.header_size,
        )
        await self._listener.start()
        self.port = self._listener.port

    async def stop(self) -> None:
        """Close the port; who waits for an answer gets a little time."""
        if hasattr(self, "_listener"):
            await self._listener.stop()
            self._intake.close()

    def on_trigger(self, session: Session) -> None:
        """Requests come by themselves."""
        self.context.exhausted()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in self._methods:
            allowed = ", ".join(sorted(self._methods))
            return web.Response(status=405, headers={"Allow": allowed})
        if self.properties.paths is not None and not self.properties.paths.matches(request.path):
            return web.Response(status=404)
        if self.context.stopping or not self.context.has_room():
            return unavailable("There is no room for more at the moment")
        exchange = Exchange(request)
        identifier = str(uuid4())
        # Registered before anybody can see the flowfile that will look for it.
        if not self._map.register(identifier, exchange):
            return unavailable("Too many requests wait for their answer")
        try:
            await self._receive(request, identifier)
            return await self._map.response(identifier, exchange)
        except BrokenRequestError as error:
            return web.Response(status=400, text=f"The request is not complete: {error}")
        except TooLargeError:
            limit = self.properties.multipart_size
            return web.Response(status=413, text=f"The request is larger than {limit:,} bytes")
        except OSError as error:
            self.context.report("ERROR", f"A request could not be stored: {error}")
            return unavailable("The request could not be stored")
        finally:
            self._map.take(identifier)

    async def _receive(self, request: web.BaseRequest, identifier: str) -> None:
        attributes = self._attributes(request) | {IDENTIFIER: identifier}
        transit_uri = redact_url(_transit_uri(attributes))
        if is_small(request) and not is_multipart(request):
            content = await read_small(request)
            attributes |= self._form(request, content)
            await self._intake.add(Arrival(attributes, content, transit_uri))
            return
        async with self._intake.session() as session:
            if is_multipart(request):
                limit = self.properties.multipart_size
                flowfiles = await receive_parts(request, session, transit_uri, limit)
                if not flowfiles:
                    raise BrokenRequestError("it has no parts")
            else:
                flowfile = session.create(received_from=transit_uri)
                with session.open_write(flowfile) as target:
                    async for chunk in chunks_of(request):
                        target.write(chunk)
                flowfiles = [target.flowfile]
            session.transfer(
                [session.put(flowfile, attributes) for flowfile in flowfiles], self.success
            )
            await session.commit_async()

    def _attributes(self, request: web.BaseRequest) -> dict[str, str]:
        host, port = _local_address(request)
        query = request.rel_url.raw_query_string
        charset = request.charset or self.properties.charset
        attributes = {
            "mime.type": request.headers.get("Content-Type", ""),
            "http.method": request.method,
            "http.protocol": f"HTTP/{request.version.major}.{request.version.minor}",
            "http.servlet.path": request.path,
            "http.context.path": "",
            "http.request.uri": request.rel_url.raw_path,
            "http.request.url": str(request.url.with_query(None)),
            "http.remote.host": request.remote or "",
            "http.remote.addr": request.remote or "",
            "http.local.name": host,
            "http.local.addr": host,
            "http.server.name": request.url.host or "",
            "http.server.port": str(port),
            "http.character.encoding": request.charset or "",
            "http.query.string": _decoded(query, charset),
        }
        # As in NiFi, what is not there is no attribute; only the context path stays, empty.
        attributes = {
            name: value
            for name, value in attributes.items()
            if value or name == "http.context.path"
        }
        for name, value in _pairs(query, charset):
            attributes[f"http.query.param.{name}"] = value
            if name in self._parameters:
                attributes[f"http.param.{name}"] = value
        for name, value in request.cookies.items():
            attributes[f"http.cookie.{name}.value"] = value
        for name, value in request.headers.items():
            attributes[f"http.headers.{name}"] = value
        return attributes

    def _form(self, request: web.BaseRequest, content: bytes) -> dict[str, str]:
        if not self._parameters or request.content_type != _FORM:
            return {}
        text = content.decode("latin-1")
        charset = request.charset or self.properties.charset
        return {
            f"http.param.{name}": value
            for name, value in _pairs(text, charset)
            if name in self._parameters
        }


class HandleHttpResponse(Processor):
    """Answer an HTTP request that came by HandleHttpRequest."""

    class Properties(DynamicProperties[Expression]):
        status: Expression = Property(
            name="HTTP Status Code", description="The answer's status, from 200 to 599."
        )
        context_map: Service[StandardHttpContextMap] = Property(
            name="HTTP Context Map",
            description="Where HandleHttpRequest keeps the requests.",
            service_type="StandardHttpContextMap",
        )
        attributes: Pattern | None = Property(
            None,
            name="Attributes for HTTP Response",
            description="Attributes whose whole name this regular expression matches become "
            "headers.",
            formerly=("Attributes to add to the HTTP Response (Regex)",),
        )

        @model_validator(mode="after")
        def _names_headers(self) -> HandleHttpResponse.Properties:
            for name in self.dynamic:
                check_header_name(name)
            return self

    success = Relationship("Flowfiles whose content was the answer, or whose client was gone.")
    failure = Relationship("Flowfiles that no request waits for, or whose answer cannot be sent.")
    input = Input.REQUIRED
    effects = Effects.WRITES_OUTSIDE
    batch_size = 100
    tags = ("http", "response", "egress", "web service")
    reads = {
        IDENTIFIER: "Names the request.",
        "http.request.uri": "For provenance.",
        "http.remote.host": "For provenance.",
        "http.local.name": "For provenance.",
        "http.server.port": "For provenance.",
    }
    delivery = (
        "An answer is sent at most once, from a flowfile that is durable. After a crash the "
        "request is gone and the flowfile goes to failure, even if it had been answered. A client "
        "that went away is no error: the flowfile goes to success, and provenance says so."
    )

    properties: Properties

    async def on_trigger(self, session: Session) -> None:
        """Answer all requests of the batch at the same time."""
        exchanges = self.properties.context_map.get()
        await asyncio.gather(
            *[self._respond(session, flowfile, exchanges) for flowfile in session.take()]
        )

    async def _respond(
        self, session: Session, flowfile: FlowFile, exchanges: StandardHttpContextMap
    ) -> None:
        started = self.context.clock.monotonic()
        identifier = flowfile.attributes.get(IDENTIFIER)
        try:
            if identifier is None:
                raise NoRequestError(f"The attribute '{IDENTIFIER}' is missing")
            status = self._status(flowfile)
            headers = self._headers(session, flowfile)
            exchange = exchanges.take(identifier)
            if exchange is None:
                raise NoRequestError(
                    f"No request waits under '{identifier}': it was answered, its time was over, "
                    "or the node was restarted"
                )
            chunks = _chunks(session, flowfile)
            await exchange.answer(status, headers, chunks, size=flowfile.size)
        except ClientGoneError as error:
            session.report(EventType.ADDINFO, flowfile, details=str(error))
        except (NoRequestError, ExpressionError, ValueError) as error:
            session.transfer(flowfile, self.failure, reason=error)
            return
        else:
            session.sent(
                flowfile,
                redact_url(_transit_uri(flowfile.attributes)),
                duration_seconds=self.context.clock.monotonic() - started,
            )
        session.transfer(flowfile, self.success)

    def _status(self, flowfile: FlowFile) -> int:
        text = self.properties.status.evaluate(flowfile)
        if not re.fullmatch("[2-5][0-9]{2}", text):
            raise ValueError(f"The HTTP Status Code is '{text[:50]}'; it must be from 200 to 599")
        return int(text)

    def _headers(self, session: Session, flowfile: FlowFile) -> dict[str, str]:
        headers = {
            name: value
            for name, expression in self.properties.dynamic.items()
            if (value := expression.evaluate(flowfile)).strip()
        }
        if self.properties.attributes is not None:
            matches = self.properties.attributes.matches
            headers |= {
                name: value
                for name, value in session.attributes(flowfile).items()
                if value.strip() and matches(name) and can_be_header(name)
            }
        return headers


class NoRequestError(LookupError):
    """No request waits for this flowfile."""


def can_be_header(name: str) -> bool:
    """Tell whether a header may have this name."""
    return bool(HEADER_NAME.fullmatch(name)) and name.lower() not in TRANSFER_HEADERS


def check_header_name(name: str) -> None:
    """Check the name of a property that becomes a header.

    Raises:
        ValueError: it is no property and no header either.
    """
    if not can_be_header(name):
        raise ValueError(
            f"property '{name}' does not exist and cannot be a header either: a header's name has "
            "no spaces and no separators, and the transfer's own headers cannot be set"
        )


def _chunks(session: Session, flowfile: FlowFile) -> Iterator[bytes]:
    if flowfile.size <= SMALL_BODY_BYTES:
        yield session.read(flowfile)
        return
    with session.open_read(flowfile) as source:
        while chunk := source.read(CHUNK_BYTES):
            yield chunk


def _transit_uri(attributes: Mapping[str, str]) -> str:
    client = attributes.get("http.remote.host", "")
    server = attributes.get("http.local.name", "")
    port = attributes.get("http.server.port", "")
    return f"http://{client}@{server}:{port}{attributes.get('http.request.uri', '')}"


def _local_address(request: web.BaseRequest) -> tuple[str, int]:
    transport = request.transport
    address = transport.get_extra_info("sockname") if transport is not None else None
    return (str(address[0]), int(address[1])) if address else ("", 0)


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _pairs(query: str, charset: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            query,
            keep_blank_values=True,
            encoding=_known_charset(charset),
            max_num_fields=_PARAMETERS_MAX,
        )
    except ValueError as error:
        raise BrokenRequestError(f"it has more than {_PARAMETERS_MAX:,} parameters") from error


def _decoded(query: str, charset: str) -> str:
    return unquote_plus(query, _known_charset(charset))


def _known_charset(charset: str) -> str:
    try:
        "".encode(charset)
    except LookupError:
        return "UTF-8"
    return charset
