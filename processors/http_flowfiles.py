"""Packages of flowfiles in a request's body: FlowFile Stream, version 3.

`processors.merge_formats` draws the format. Names and values are read into memory, so they have
limits; contents are streamed.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Final

from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError

from processors.http_server import CHUNK_BYTES, BrokenRequestError
from runtime.flowfile import FlowFile

if TYPE_CHECKING:
    from aiohttp import StreamReader

    from runtime.session import Session

MEDIA_TYPE: Final = "application/flowfile-v3"
_MAGIC: Final = b"NiFiFF3"
ATTRIBUTES_MAX: Final = 10_000
ATTRIBUTE_BYTES_MAX: Final = 2**20


async def receive_flowfiles(
    request: web.BaseRequest, session: Session, transit_uri: str
) -> list[FlowFile]:
    """Make the flowfiles that a request's body holds, with their attributes.

    Raises:
        BrokenRequestError: it ends early or is not in the format.
    """
    flowfiles = []
    body = request.content
    try:
        while not await _at_end(body):
            attributes = await _attributes(body)
            # What it was elsewhere is no name for it here.
            attributes.pop("uuid", None)
            flowfile = session.create(attributes, received_from=transit_uri)
            (left,) = struct.unpack(">Q", await body.readexactly(8))
            with session.open_write(flowfile) as target:
                while left:
                    chunk = await body.read(min(left, CHUNK_BYTES))
                    if not chunk:
                        raise BrokenRequestError("it ends inside of a flowfile's content")
                    target.write(chunk)
                    left -= len(chunk)
            flowfiles.append(target.flowfile)
    except (asyncio.IncompleteReadError, UnicodeDecodeError) as error:
        raise BrokenRequestError("it ends or breaks inside of a flowfile's attributes") from error
    except (ConnectionError, ClientError, HttpProcessingError, web.RequestPayloadError) as error:
        raise BrokenRequestError(str(error) or type(error).__name__) from error
    return flowfiles


async def _at_end(body: StreamReader) -> bool:
    head = await body.read(1)
    if not head:
        return True
    if head + await body.readexactly(len(_MAGIC) - 1) != _MAGIC:
        raise BrokenRequestError("it is not a FlowFile Stream of version 3")
    return False


async def _attributes(body: StreamReader) -> dict[str, str]:
    count = await _length(body)
    if count > ATTRIBUTES_MAX:
        raise BrokenRequestError(
            f"a flowfile has {count:,} attributes; {ATTRIBUTES_MAX:,} is the limit"
        )
    attributes = {}
    for _ in range(count):
        name = await _text(body)
        attributes[name] = await _text(body)
    return attributes


async def _text(body: StreamReader) -> str:
    length = await _length(body)
    if length > ATTRIBUTE_BYTES_MAX:
        raise BrokenRequestError(
            f"an attribute has {length:,} bytes; {ATTRIBUTE_BYTES_MAX:,} is the limit"
        )
    return (await body.readexactly(length)).decode()


async def _length(body: StreamReader) -> int:
    (length,) = struct.unpack(">H", await body.readexactly(2))
    if length == 0xFFFF:
        (length,) = struct.unpack(">I", await body.readexactly(4))
    return int(length)
