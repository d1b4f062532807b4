"""Writing a flow in a process of its own: `python -m runtime.flow_text.writer_process`.

Parsing YAML holds the interpreter's lock; the node that runs the flow must not feel it. The
request on standard input is MessagePack: the model, the facts of its types, the previous text.
The answer is the text in UTF-8. The process imports no processors and reads no files.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from runtime.flow_text import shape
from runtime.flow_text.writer import write_with
from runtime.model import FlowModel

if TYPE_CHECKING:
    from runtime.registry import Registry

TIME_LIMIT_SECONDS: Final = 120.0
_ROOT = Path(__file__).parent.parent.parent


class Request(msgspec.Struct, frozen=True):
    """What one run of the process is asked to write."""

    model: FlowModel
    known: dict[str, shape.TypeFacts]
    previous: str | None


class WriterError(RuntimeError):
    """The process gave no text; the message ends in what it said."""


async def write_flow_aside(
    model: FlowModel, *, registry: Registry | None, previous: str | None = None
) -> str:
    """Write a flow as `write_flow` does, in another process.

    Raises:
        WriterError: it ended with an error, or took longer than two minutes.
    """
    request = msgspec.msgpack.encode(Request(model, shape.vocabulary(registry), previous))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "runtime.flow_text.writer_process",
        cwd=_ROOT, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(TIME_LIMIT_SECONDS):
            output, errors = await process.communicate(request)
    except BaseException as error:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if isinstance(error, TimeoutError):
            message = f"writing the flow takes longer than {TIME_LIMIT_SECONDS:.0f} s"
            raise WriterError(message) from error
        raise
    if process.returncode:
        said = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise WriterError(f"the process that writes the flow ended with an error: {said}")
    return output.decode("utf-8")


def main() -> None:
    """Answer one request."""
    request = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Request)
    text = write_with(request.model, request.known, request.previous)
    sys.stdout.buffer.write(text.encode("utf-8"))


if __name__ == "__main__":
    main()
