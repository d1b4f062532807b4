"""Requests that wait for their answer: StandardHttpContextMap.

HandleHttpRequest registers an `Exchange` under an identifier that travels with the flowfile as an
attribute; HandleHttpResponse takes it out and answers. Each exchange is taken at most once, so of
two flowfiles that carry the same identifier only the first answers. What nobody takes in time is
answered with 503 and forgotten. Exchanges live in memory: a restart closes the connections, and
the flowfiles that would have answered go to `failure`.

An exchange belongs to the event loop of its server; `answer` may be awaited on another one.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterable, Mapping
from typing import Final

from aiohttp import web

from processors.http_server import unavailable
from runtime.processor import Context, ControllerService
from runtime.properties import Duration, Property
from runtime.properties import Properties as Declaration

# A client that takes nothing for so long has gone, whatever its connection says.
WRITE_SECONDS: Final = 30.0
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class ClientGoneError(ConnectionError):
    """The client closed the connection before it had the answer."""


class Exchange:
    """A request and the place for its answer."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self._loop = asyncio.get_running_loop()
        self.response: asyncio.Future[web.StreamResponse] = self._loop.create_future()

    def refuse(self, text: str) -> None:
        """Answer 503. Safe from any thread."""
        self._loop.call_soon_threadsafe(self._settle, unavailable(text))

    async def answer(
        self, status: int, headers: Mapping[str, str], chunks: Iterable[bytes], *, size: int
    ) -> None:
        """Send the answer, whose body has `size` bytes; may be awaited on any event loop.

        Raises:
            ClientGoneError: the client is no longer there.
            ValueError: a header or the status cannot be sent.
        """
        sending = self._send(status, headers, chunks, size)
        if asyncio.get_running_loop() is self._loop:
            await sending
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(sending, self._loop))

    async def _send(
        self, status: int, headers: Mapping[str, str], chunks: Iterable[bytes], size: int
    ) -> None:
        response = web.StreamResponse(status=status, headers=headers)
        has_body = status >= 200 and status not in (204, 304)
        if has_body:
            response.content_length = size
        try:
            _check_headers(headers)
            transport = self._request.transport
            if transport is None or transport.is_closing():
                raise ConnectionError
            async with asyncio.timeout(WRITE_SECONDS):
                await response.prepare(self._request)
            for chunk in chunks if has_body and self._request.method != "HEAD" else ():
                async with asyncio.timeout(WRITE_SECONDS):
                    await response.write(chunk)
            async with asyncio.timeout(WRITE_SECONDS):
                await response.write_eof()
        except (ConnectionError, TimeoutError) as error:
            self._close(response)
            raise ClientGoneError("The client went away before it had the answer") from error
        except BaseException:
            self._close(response)
            raise
        self._settle(response)

    def _close(self, response: web.StreamResponse) -> None:
        """Give up: an answer that was begun can only be cut short, another one becomes 500."""
        if response.prepared and self._request.transport is not None:
            self._request.transport.close()
        self._settle(response if response.prepared else web.Response(status=500))

    def _settle(self, response: web.StreamResponse) -> None:
        if not self.response.done():
            self.response.set_result(response)


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if _CONTROL.search(value):
            raise ValueError(
                f"The header '{name}' is {value[:50]!r}; a header has no line breaks and no other "
                "control characters"
            )


class StandardHttpContextMap(ControllerService):
    """Keep HTTP requests until their answer comes."""

    class Properties(Declaration):
        maximum: int = Property(
            5000,
            name="Maximum Outstanding Requests",
            description="How many requests may wait for their answer; one more is answered with "
            "503.",
            ge=1,
        )
        expiration: Duration = Property(
            60.0,
            name="Request Expiration",
            description="How long a request waits for its answer; then it is answered with 503.",
            gt=0,
        )

    provides = ("HttpContextMap",)
    tags = ("http", "request", "response")

    properties: Properties

    def __init__(self, properties: Properties, context: Context) -> None:
        super().__init__(properties, context)
        self._exchanges: dict[str, Exchange] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._exchanges)

    def register(self, identifier: str, exchange: Exchange) -> bool:
        """Keep an exchange; False when there is no room."""
        with self._lock:
            if len(self._exchanges) >= self.properties.maximum:
                return False
            self._exchanges[identifier] = exchange
            return True

    def take(self, identifier: str) -> Exchange | None:
        """Hand out an exchange, once; None when it is not (or no longer) kept."""
        with self._lock:
            return self._exchanges.pop(identifier, None)

    async def response(self, identifier: str, exchange: Exchange) -> web.StreamResponse:
        """Wait for the answer; 503 when nobody took the exchange in time."""
        done, _ = await asyncio.wait([exchange.response], timeout=self.properties.expiration)
        # Who takes it answers: an answer that has begun is waited for.
        if not done and self.take(identifier) is not None:
            exchange.refuse("No answer came in time")
        return await exchange.response

    def disable(self) -> None:
        """Answer 503 to all who wait."""
        with self._lock:
            exchanges, self._exchanges = self._exchanges, {}
        for exchange in exchanges.values():
            exchange.refuse("The service was disabled")
