"""Taking flowfiles in over HTTP: ListenHTTP.

A request's life: room? -> body -> commit -> durable -> answer. While an outgoing connection holds
back pressure, and while the processor stops, the answer is 503 with `Retry-After`. Whoever posts
again what got no answer may double it, and never loses it.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web
from pydantic import ValidationInfo, field_validator

from processors.http_flowfiles import MEDIA_TYPE, receive_flowfiles
from processors.http_server import (
    PART_ATTRIBUTES,
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
from runtime.processor import Effects, Input, Processor, Relationship
from runtime.properties import DataSize, Pattern, Property
from runtime.properties import Properties as Declaration
from runtime.session import Session

_ACCEPTED: Final = {"Accept": f"{MEDIA_TYPE},*/*;q=0.8", "Accept-Encoding": "gzip"}
_NAMES_KEPT: Final = 1000


class ListenHTTP(Processor):
    """Make a flowfile of each HTTP POST, and answer when it is safe on disk."""

    class Properties(Declaration):
        base_path: str = Property(
            "contentListener",
            name="Base Path",
            description="The path that takes posts, without slashes around it.",
            pattern=r"^(|[^/\s?#]([^\s?#]*[^/\s?#])?)$",
        )
        port: int = Property(
            name="Listening Port",
            description="The port to listen on; with 0 the system chooses a free one.",
            ge=0,
            le=65535,
        )
        health_port: int | None = Property(
            None,
            name="Listening Port for Health Check Requests",
            description="Another port that answers health checks and nothing else.",
            formerly=("health-check-port",),
            ge=0,
            le=65535,
        )
        headers: Pattern | None = Property(
            None,
            name="HTTP Headers for Attributes",
            description="Headers whose whole name this regular expression matches become "
            "attributes of the same name.",
            formerly=("HTTP Headers to receive as Attributes (Regex)",),
        )
        header_size: DataSize = Property(
            8192,
            name="Request Header Maximum Size",
            description="How long the request line, and each header, may be.",
            ge=256,
        )
        return_code: int = Property(
            200,
            name="Return Code",
            description="The status of an answer that says that all went well.",
            ge=200,
            le=599,
        )
        multipart_size: DataSize = Property(
            2**20,
            name="Multipart Request Max Size",
            description="How large a multipart request may be; a larger one is answered with 413.",
            formerly=("multipart-request-max-size",),
            ge=1,
        )

        @field_validator("health_port")
        @classmethod
        def _is_another(cls, value: int | None, info: ValidationInfo) -> int | None:
            if value and value == info.data.get("port"):
                raise ValueError(f"is {value}, as is Listening Port; they must differ")
            return value

    success = Relationship("The flowfiles that came.")
    input = Input.FORBIDDEN
    effects = Effects.READS_OUTSIDE
    exclusive = True
    tags = ("ingest", "http", "rest", "listen", "post", "webhook")
    writes = {
        "restlistener.remote.source.host": "The address that the request came from.",
        "restlistener.request.uri": "The path that was asked for.",
        "restlistener.remote.user.dn": "'none': clients are not asked for certificates.",
        "restlistener.remote.issuer.dn": "'none': clients are not asked for certificates.",
        "filename": "The value of the header 'filename', where there is one.",
        "mime.type": "The value of the header 'Content-Type', where there is one.",
        **PART_ATTRIBUTES,
    }
    delivery = (
        "A request is answered when its flowfiles are durable. One that got no answer before a "
        "crash may have been kept; its repetition makes it twice."
    )

    properties: Properties

    async def start(self) -> None:
        """Listen.

        Raises:
            PortError: the port cannot be listened on.
        """
        properties = self.properties
        self._path = f"/{properties.base_path}"
        self._health_path = f"{self._path.rstrip('/')}/healthcheck"
        self._attribute_headers: dict[str, bool] = {}
        self._intake = Intake(self.context, self.success)
        self._listeners: list[HttpListener] = []
        self.port = await self._listen(self._handle, properties.port)
        if properties.health_port is not None:
            self.health_port = await self._listen(self._check_health, properties.health_port)

    async def _listen(self, handler: object, port: int) -> int:
        listener = HttpListener(
            handler,  # type: ignore[arg-type]  # one of the two methods below
            host=None,
            port=port,
            header_bytes=self.properties.header_size,
        )
        await listener.start()
        self._listeners.append(listener)
        return listener.port

    async def stop(self) -> None:
        """Close the ports; requests under way get a little time."""
        for listener in getattr(self, "_listeners", ()):
            await listener.stop()
        if hasattr(self, "_intake"):
            self._intake.close()

    def on_trigger(self, session: Session) -> None:
        """Requests come by themselves."""
        self.context.exhausted()

    async def _check_health(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != self._health_path:
            return web.Response(status=404)
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers={"Allow": "GET, HEAD"})
        return web.Response(text="OK")

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == self._health_path:
            return await self._check_health(request)
        if request.path != self._path:
            return web.Response(status=404)
        if request.method == "HEAD":
            return web.Response(headers=_ACCEPTED)
        if request.method != "POST":
            return web.Response(status=405, headers={"Allow": "POST, HEAD"})
        if self.context.stopping or not self.context.has_room():
            return unavailable("There is no room for more at the moment")
        try:
            await self._receive(request)
        except BrokenRequestError as error:
            return web.Response(status=400, text=f"The request is not complete: {error}")
        except TooLargeError:
            limit = self.properties.multipart_size
            return web.Response(status=413, text=f"The request is larger than {limit:,} bytes")
        except OSError as error:
            self.context.report("ERROR", f"A request could not be stored: {error}")
            return unavailable("The request could not be stored")
        return web.Response(status=self.properties.return_code)

    async def _receive(self, request: web.BaseRequest) -> None:
        attributes = self._attributes(request)
        # Without the query, which may hold what is secret; `request.url` costs ten times as much.
        transit_uri = f"http://{request.host}{request.path}"
        if is_small(request) and not is_multipart(request) and _is_plain(request):
            content = await read_small(request)
            await self._intake.add(Arrival(attributes, content, transit_uri))
            return
        async with self._intake.session() as session:
            if is_multipart(request):
                limit = self.properties.multipart_size
                flowfiles = await receive_parts(request, session, transit_uri, limit)
            elif not _is_plain(request):
                flowfiles = await receive_flowfiles(request, session, transit_uri)
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
        attributes = {
            "restlistener.remote.source.host": request.remote or "",
            "restlistener.request.uri": request.path,
            "restlistener.remote.user.dn": "none",
            "restlistener.remote.issuer.dn": "none",
        }
        headers = request.headers
        if (filename := headers.get("filename")) and _is_plain(request):
            attributes["filename"] = filename
        if (mime_type := headers.get("Content-Type")) and _is_plain(request):
            attributes["mime.type"] = mime_type
        if self.properties.headers is not None:
            attributes |= {
                name: value for name, value in headers.items() if self._becomes_attribute(name)
            }
        return attributes

    def _becomes_attribute(self, name: str) -> bool:
        known = self._attribute_headers.get(name)
        if known is None:
            assert self.properties.headers is not None
            known = self.properties.headers.matches(name)
            # Clients choose the names: what is remembered has a bound.
            if len(self._attribute_headers) < _NAMES_KEPT:
                self._attribute_headers[name] = known
        return known


def _is_plain(request: web.BaseRequest) -> bool:
    """Whether the body is one content, not a package of flowfiles."""
    return request.headers.get("Content-Type") != MEDIA_TYPE
