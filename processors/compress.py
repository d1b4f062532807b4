"""Compressing and decompressing contents of any size, in constant memory.

Each format is a *coder*: bytes go in piece by piece, coded bytes come out. The standard library
has gzip, deflate, bzip2, xz and lzma; `cramjam` compresses snappy, lz4, zstd and brotli, and
`pyarrow` decompresses the last three, because cramjam's decompressors want a whole frame at once.

Snappy itself has no stream format, so three of its framings are cut and joined here:

    snappy          82 "SNAPPY" 00, version 1, compatible 1, then blocks: length, bytes
    snappy-hadoop   blocks: uncompressed length, length, bytes
    snappy framed   the published framing: chunks of type (1), length (3), checksum and bytes

(numbers big-endian but in the last). A content that ends inside a stream, or goes on behind its
end with something else, is damaged: its flowfile goes to `failure` as it was.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol

import cramjam
from pydantic import ValidationInfo, field_validator

from processors.compression_level import Level
from runtime.flowfile import FlowFile
from runtime.processor import Effects, Example, Input, Processor, Relationship
from runtime.properties import Choice, Property
from runtime.properties import Properties as Declaration
from runtime.session import Session

if TYPE_CHECKING:
    from runtime.session import WriteStream

CHUNK_BYTES: Final = 2**18
_SNAPPY_HEADER: Final = b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1)
_SNAPPY_BLOCK_BYTES: Final = 32 * 1024
_HADOOP_BLOCK_BYTES: Final = 256 * 1024
_FRAMED_HEADER: Final = b"\xff\x06\x00\x00sNaPpY"
# No snappy block in use is larger; a length beyond it is damage, not a reason to read on.
_SNAPPY_LENGTH_LIMIT: Final = 2**26


class DamagedContentError(ValueError):
    """The content is not, or not to its end, in the format that it should have."""


class Mode(Choice):
    """The direction."""

    COMPRESS = "compress", "Compress"
    DECOMPRESS = "decompress", "Decompress"


class Format(Choice):
    """The compression formats."""

    BY_MIME_TYPE = "use mime.type attribute", "Use the mime.type attribute"
    GZIP = "gzip", "gzip"
    DEFLATE = "deflate", "deflate"
    BZIP2 = "bzip2", "bzip2"
    XZ = "xz-lzma2", "xz-lzma2"
    LZMA = "lzma", "lzma"
    SNAPPY = "snappy", "snappy"
    SNAPPY_HADOOP = "snappy-hadoop", "snappy-hadoop"
    SNAPPY_FRAMED = "snappy framed", "snappy framed"
    LZ4 = "lz4-framed", "lz4-framed"
    ZSTD = "zstd", "zstd"
    BROTLI = "brotli", "brotli"


FORMATS_BY_MIME_TYPE: Final = {
    "application/gzip": Format.GZIP,
    "application/x-gzip": Format.GZIP,
    "application/deflate": Format.DEFLATE,
    "application/x-deflate": Format.DEFLATE,
    "application/bzip2": Format.BZIP2,
    "application/x-bzip2": Format.BZIP2,
    "application/x-lzma": Format.LZMA,
    "application/x-xz": Format.XZ,
    "application/x-snappy": Format.SNAPPY,
    "application/x-snappy-hadoop": Format.SNAPPY_HADOOP,
    "application/x-snappy-framed": Format.SNAPPY_FRAMED,
    "application/x-lz4-framed": Format.LZ4,
    "application/zstd": Format.ZSTD,
    "application/x-brotli": Format.BROTLI,
}
# What a compressed content is called: MIME type and file name extension. Deflate is NiFi's gzip.
NAMES: Final = {
    Format.GZIP: ("application/gzip", ".gz"),
    Format.DEFLATE: ("application/gzip", ".zlib"),
    Format.BZIP2: ("application/x-bzip2", ".bz2"),
    Format.XZ: ("application/x-xz", ".xz"),
    Format.LZMA: ("application/x-lzma", ".lzma"),
    Format.SNAPPY: ("application/x-snappy", ".snappy"),
    Format.SNAPPY_HADOOP: ("application/x-snappy-hadoop", ".snappy"),
    Format.SNAPPY_FRAMED: ("application/x-snappy-framed", ".sz"),
    Format.LZ4: ("application/x-lz4-framed", ".lz4"),
    Format.ZSTD: ("application/zstd", ".zst"),
    Format.BROTLI: ("application/x-brotli", ".br"),
}


class CompressContent(Processor):
    """Compress or decompress the content."""

    class Properties(Declaration):
        mode: Mode = Property(Mode.COMPRESS, name="Mode", description="The direction.")
        format: Format = Property(
            Format.BY_MIME_TYPE,
            name="Compression Format",
            description="The format. By MIME type, a flowfile whose type names no compression "
            "passes unchanged.",
        )
        level: Level = Property(
            Level.L1,
            name="Compression Level",
            description="From 0, fastest, to 9, smallest. It counts for gzip, deflate, xz-lzma2, "
            "zstd and brotli.",
            depends_on={"Mode": ("compress",)},
        )
        update_filename: bool = Property(
            False,
            name="Update Filename",
            description="Add the format's extension to the file name, or on decompression take "
            "it off.",
        )

        @field_validator("format")
        @classmethod
        def _can_be_read(cls, value: Format, info: ValidationInfo) -> Format:
            if value is Format.SNAPPY_HADOOP and info.data.get("mode") is Mode.DECOMPRESS:
                raise ValueError("is 'snappy-hadoop', which can be written but not read")
            return value

    success = Relationship("Flowfiles that were compressed or decompressed.")
    failure = Relationship("Flowfiles whose content is damaged or of another format, unchanged.")
    input = Input.REQUIRED
    effects = Effects.PURE
    batch_size = 100
    tags = ("compress", "decompress", "gzip", "bzip2", "xz", "lzma", "zstd", "brotli", "snappy",
            "lz4", "deflate", "content")  # fmt: skip
    reads = {"mime.type": "Names the format where the format is taken from it."}
    writes = {
        "mime.type": "The compressed content's type; removed by decompression.",
        "filename": "With or without the format's extension, if so configured.",
    }
    example = Example(
        "Decompress gzip",
        properties={"Mode": "decompress", "Compression Format": "gzip", "Update Filename": "true"},
        attributes={"filename": "readings.csv.gz"},
        content=zlib.compress(b"1,2,3\n", wbits=31),
        expect_attributes={"filename": "readings.csv"},
        expect_content=b"1,2,3\n",
    )

    properties: Properties

    def on_trigger(self, session: Session) -> None:
        """Code each content."""
        for flowfile in session.take():
            try:
                format = self._format_of(session, flowfile)
                if format is None:
                    session.transfer(flowfile, self.success)
                    continue
                coded = self._code(session, flowfile, format)
            except DamagedContentError as error:
                session.transfer(flowfile, self.failure, reason=error)
                continue
            coded = session.put(coded, self._changes(session, coded, format))
            session.transfer(coded, self.success)

    def _format_of(self, session: Session, flowfile: FlowFile) -> Format | None:
        if self.properties.format is not Format.BY_MIME_TYPE:
            return self.properties.format
        mime_type = session.attribute(flowfile, "mime.type")
        if mime_type is None:
            raise DamagedContentError(
                "The attribute 'mime.type' is missing; the format is to be taken from it"
            )
        format = FORMATS_BY_MIME_TYPE.get(mime_type)
        if format is Format.SNAPPY_HADOOP and self.properties.mode is Mode.DECOMPRESS:
            raise DamagedContentError("The content is snappy-hadoop, which cannot be read")
        return format

    def _code(self, session: Session, flowfile: FlowFile, format: Format) -> FlowFile:
        with session.open_read(flowfile) as source, session.open_write(flowfile) as target:
            if self.properties.mode is Mode.COMPRESS:
                compress(source, target, format, int(self.properties.level))
            else:
                decompress(source, target, format)
        return target.flowfile

    def _changes(
        self, session: Session, flowfile: FlowFile, format: Format
    ) -> dict[str, str | None]:
        mime_type, extension = NAMES[format]
        filename = session.attribute(flowfile, "filename") or ""
        changes: dict[str, str | None]
        if self.properties.mode is Mode.COMPRESS:
            changes, filename = {"mime.type": mime_type}, filename + extension
        else:
            # What the content is now, nobody knows.
            changes = {"mime.type": None}
            if filename.lower().endswith(extension):
                filename = filename[: -len(extension)]
        if self.properties.update_filename and filename:
            changes["filename"] = filename
        return changes


class Coder(Protocol):
    """Turns a stream into another, piece by piece."""

    def code(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


def compress(source: BinaryIO, target: WriteStream, format: Format, level: int) -> None:
    """Copy `source` to `target` compressed."""
    coder = _compressor(format, level)
    while chunk := source.read(CHUNK_BYTES):
        target.write(coder.code(chunk))
    target.write(coder.finish())


def decompress(source: BinaryIO, target: WriteStream, format: Format) -> None:
    """Copy `source` to `target` decompressed.

    Raises:
        DamagedContentError: with what is wrong and where.
    """
    total = 0
    chunks = _decompressed(_Source(source), format)
    while True:
        try:
            chunk = next(chunks, None)
        except _CODEC_ERRORS as error:
            raise DamagedContentError(
                f"The content is not {format.value}, or damaged behind {total:,} bytes of output "
                f"({str(error) or type(error).__name__})"
            ) from error
        if chunk is None:
            return
        # Outside of the `try`: a full disk is no matter of the format.
        target.write(chunk)
        total += len(chunk)


_CODEC_ERRORS: Final = (
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    struct.error,
    cramjam.DecompressionError,
)


class UnreadableContentError(Exception):
    """Reading the content itself went wrong: no matter of its format."""


class _Source:
    """A source whose own errors cannot be taken for errors of the format."""

    closed = False

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.any_read = False

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._source.read(size)
        except OSError as error:
            raise UnreadableContentError(str(error)) from error
        self.any_read = self.any_read or bool(data)
        return data

    def read_exactly(self, size: int) -> bytes:
        """Read `size` bytes; fewer are a truncated stream, except none at all."""
        data = b""
        while len(data) < size and (more := self.read(size - len(data))):
            data += more
        if data and len(data) < size:
            raise EOFError("it ends in the middle of a block")
        return data

    def close(self) -> None:
        """The source belongs to the session."""


class _Objects:
    """A coder of the standard library's kind: `compress` and `flush`."""

    def __init__(self, coder: Any) -> None:
        self.code: Callable[[bytes], bytes] = coder.compress
        self.finish: Callable[[], bytes] = coder.flush


class _Cramjam:
    """A coder of cramjam's kind: it gathers output until somebody collects it.

    `empty` is what a stream without bytes looks like, where cramjam would write nothing.
    """

    def __init__(self, coder: Any, empty: bytes = b"") -> None:
        self._coder = coder
        self._empty = empty

    def code(self, data: bytes) -> bytes:
        self._coder.compress(data)
        self._empty = b""
        # A flush a chunk costs a few bytes and keeps memory constant.
        return bytes(self._coder.flush())

    def finish(self) -> bytes:
        return bytes(self._coder.finish()) or self._empty


class _SnappyBlocks:
    """Cuts a stream into blocks that are compressed one by one."""

    def __init__(self, header: bytes, block_bytes: int, *, with_size: bool) -> None:
        self._out = header
        self._block_bytes = block_bytes
        self._with_size = with_size
        self._rest = b""

    def code(self, data: bytes) -> bytes:
        data = self._rest + data
        whole = len(data) - len(data) % self._block_bytes
        head, self._out = self._out, b""
        self._rest = data[whole:]
        step = self._block_bytes
        blocks = [self._block(data[start : start + step]) for start in range(0, whole, step)]
        return head + b"".join(blocks)

    def finish(self) -> bytes:
        return self._out + (self._block(self._rest) if self._rest else b"")

    def _block(self, data: bytes) -> bytes:
        packed = bytes(cramjam.snappy.compress_raw(data))
        size = struct.pack(">i", len(data)) if self._with_size else b""
        return size + struct.pack(">i", len(packed)) + packed


def _compressor(format: Format, level: int) -> Coder:
    match format:
        case Format.GZIP:
            return _Objects(zlib.compressobj(level, wbits=31))
        case Format.DEFLATE:
            return _Objects(zlib.compressobj(level))
        case Format.BZIP2:
            return _Objects(bz2.BZ2Compressor())
        case Format.XZ:
            return _Objects(lzma.LZMACompressor(preset=level))
        case Format.LZMA:
            return _Objects(lzma.LZMACompressor(lzma.FORMAT_ALONE))
        case Format.SNAPPY:
            return _SnappyBlocks(_SNAPPY_HEADER, _SNAPPY_BLOCK_BYTES, with_size=False)
        case Format.SNAPPY_HADOOP:
            return _SnappyBlocks(b"", _HADOOP_BLOCK_BYTES, with_size=True)
        case Format.SNAPPY_FRAMED:
            return _Cramjam(cramjam.snappy.Compressor(), _FRAMED_HEADER)
        case Format.LZ4:
            return _Cramjam(cramjam.lz4.Compressor())
        case Format.ZSTD:
            # NiFi's scale of ten, spread over zstd's of about twenty.
            return _Cramjam(cramjam.zstd.Compressor(level=level * 2))
        case Format.BROTLI:
            return _Cramjam(cramjam.brotli.Compressor(level=level))
    raise AssertionError(format)


def _decompressed(source: _Source, format: Format) -> Iterator[bytes]:
    match format:
        case Format.GZIP:
            return _members(source, lambda: zlib.decompressobj(wbits=31))
        case Format.DEFLATE:
            return _members(source, zlib.decompressobj)
        case Format.BZIP2:
            return _members(source, bz2.BZ2Decompressor)
        case Format.XZ:
            return _members(source, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ))
        case Format.LZMA:
            return _members(source, lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE))
        case Format.SNAPPY:
            return _snappy_blocks(source)
        case Format.SNAPPY_FRAMED:
            return _snappy_chunks(source)
        case Format.LZ4:
            return _arrow_stream(source, "lz4")
        case Format.ZSTD:
            return _arrow_stream(source, "zstd")
        case Format.BROTLI:
            return _arrow_stream(source, "brotli")
    raise AssertionError(format)


def _members(source: _Source, new: Callable[[], Any]) -> Iterator[bytes]:
    """Decompress one stream after another, a bounded piece of output at a time."""
    data = source.read(CHUNK_BYTES)
    if not data:
        raise EOFError("it is empty")
    while data:
        decompressor = new()
        is_zlib = not hasattr(decompressor, "needs_input")
        while not decompressor.eof:
            # zlib hands back what it did not get to; bz2 and lzma keep it.
            if not data and (is_zlib or decompressor.needs_input):
                data = source.read(CHUNK_BYTES)
                if not data:
                    raise EOFError("it ends in the middle of a stream")
            out = decompressor.decompress(data, CHUNK_BYTES)
            data = decompressor.unconsumed_tail if is_zlib else b""
            if out:
                yield out
        data = decompressor.unused_data or source.read(CHUNK_BYTES)


def _arrow_stream(source: _Source, codec: str) -> Iterator[bytes]:
    # Importing it takes a tenth of a second: only where it is used.
    import pyarrow  # type: ignore[import-untyped]  # it has no type hints

    with pyarrow.CompressedInputStream(pyarrow.PythonFile(source, mode="r"), codec) as stream:
        out = stream.read(CHUNK_BYTES)
        if not out and not source.any_read:
            raise EOFError("it is empty")
        while out:
            yield out
            out = stream.read(CHUNK_BYTES)


def _snappy_blocks(source: _Source) -> Iterator[bytes]:
    if source.read_exactly(len(_SNAPPY_HEADER))[:8] != _SNAPPY_HEADER[:8]:
        raise EOFError("it does not begin as a snappy stream does")
    while head := source.read_exactly(4):
        (length,) = struct.unpack(">i", head)
        if length == int.from_bytes(_SNAPPY_HEADER[:4], "big", signed=True):
            source.read_exactly(len(_SNAPPY_HEADER) - 4)  # another stream follows
            continue
        yield _unpacked(_block(source, length))


def _unpacked(packed: bytes) -> bytes:
    """Decompress one raw block. Its head says how large it gets: that is checked first."""
    if cramjam.snappy.decompress_raw_len(packed) > _SNAPPY_LENGTH_LIMIT:
        raise EOFError("a block claims to be larger than any is")
    return bytes(cramjam.snappy.decompress_raw(packed))


def _block(source: _Source, length: int) -> bytes:
    if not 0 < length <= _SNAPPY_LENGTH_LIMIT:
        raise EOFError(f"a block has the length {length}")
    packed = source.read_exactly(length)
    if not packed:
        raise EOFError("it ends in the middle of a block")
    return packed


def _snappy_chunks(source: _Source) -> Iterator[bytes]:
    if source.read_exactly(len(_FRAMED_HEADER)) != _FRAMED_HEADER:
        raise EOFError("it does not begin as a framed snappy stream does")
    while head := source.read_exactly(4):
        length = int.from_bytes(head[1:], "little")
        body = _block(source, length) if length else b""
        if head[0] in (0x00, 0x01):
            # cramjam checks the chunk's checksum; it wants the stream's head before each.
            yield bytes(cramjam.snappy.decompress(_FRAMED_HEADER + head + body))
        elif head[0] < 0x80:
            raise EOFError(f"it has a chunk of the unknown type {head[0]}")
