import bz2
import gzip
import lzma
import os
import tracemalloc
import zlib

import cramjam
import pytest

from processors.compress import FORMATS_BY_MIME_TYPE, NAMES, CompressContent, Format
from runtime.testing import Result, TestRunner, check_processor

READABLE = [
    format for format in Format if format not in (Format.BY_MIME_TYPE, Format.SNAPPY_HADOOP)
]
CONTENTS = [b"", b"a", b"hello world " * 5000, bytes(range(256)) * 4096]


def coded(mode: str, format: Format, content: bytes, **attributes: str) -> Result:
    properties = {"Mode": mode, "Compression Format": format.value, "Update Filename": "true"}
    runner = TestRunner(CompressContent, properties)
    runner.enqueue(content, attributes)
    runner.run()
    runner.close()
    return (runner.flowfiles("success") + runner.flowfiles("failure"))[0]


def test_it_conforms() -> None:
    check_processor(CompressContent)


@pytest.mark.parametrize("content", CONTENTS, ids=len)
@pytest.mark.parametrize("format", READABLE)
def test_what_was_compressed_can_be_decompressed(format: Format, content: bytes) -> None:
    packed = coded("compress", format, content, filename="data.bin")

    assert packed.attributes["filename"] == f"data.bin{NAMES[format][1]}"
    assert packed.attributes["mime.type"] == NAMES[format][0]
    unpacked = coded("decompress", format, packed.content, **packed.attributes)
    assert unpacked.content == content
    assert unpacked.attributes["filename"] == "data.bin"
    assert "mime.type" not in unpacked.attributes


@pytest.mark.parametrize("format", READABLE)
@pytest.mark.parametrize("cut", [0, 1, 3, 0.5, 0.9])
def test_a_truncated_content_fails_unchanged(format: Format, cut: float) -> None:
    whole = coded("compress", format, os.urandom(100_000)).content
    damaged = whole[: int(len(whole) * cut) if isinstance(cut, float) else cut]

    result = coded("decompress", format, damaged)

    assert result.content == damaged
    assert result.reason is not None
    assert result.reason.message.startswith(f"The content is not {format.value}, or damaged")


@pytest.mark.parametrize("format", READABLE)
def test_what_is_something_else_fails(format: Format) -> None:
    result = coded("decompress", format, b"\xff\xfe plain text, and no archive at all " * 50)

    assert result.reason is not None
    assert "behind 0 bytes of output" in result.reason.message


@pytest.mark.parametrize(
    ("format", "read"),
    [
        (Format.GZIP, gzip.decompress),
        (Format.DEFLATE, zlib.decompress),
        (Format.BZIP2, bz2.decompress),
        (Format.XZ, lzma.decompress),
        (Format.LZMA, lzma.decompress),
        (Format.SNAPPY_FRAMED, cramjam.snappy.decompress),
        (Format.LZ4, cramjam.lz4.decompress),
        (Format.ZSTD, cramjam.zstd.decompress),
        (Format.BROTLI, cramjam.brotli.decompress),
    ],
)
def test_others_can_read_what_was_compressed(format: Format, read: object) -> None:
    assert callable(read)
    assert bytes(read(coded("compress", format, CONTENTS[2]).content)) == CONTENTS[2]


@pytest.mark.parametrize(
    ("format", "write"),
    [
        (Format.GZIP, gzip.compress),
        (Format.BZIP2, bz2.compress),
        (Format.XZ, lzma.compress),
        (Format.ZSTD, cramjam.zstd.compress),
        (Format.LZ4, cramjam.lz4.compress),
    ],
)
def test_streams_one_after_the_other_are_all_read(format: Format, write: object) -> None:
    assert callable(write)
    both = bytes(write(b"first ")) + bytes(write(b"second"))

    assert coded("decompress", format, both).content == b"first second"


def test_snappy_blocks_are_framed_as_java_does() -> None:
    content = b"x" * 40_000

    framed = coded("compress", Format.SNAPPY, content).content
    hadoop = coded("compress", Format.SNAPPY_HADOOP, content).content

    assert framed[:16] == b"\x82SNAPPY\0\0\0\0\1\0\0\0\1"
    first = int.from_bytes(framed[16:20], "big")
    assert bytes(cramjam.snappy.decompress_raw(framed[20 : 20 + first])) == content[:32768]
    assert int.from_bytes(hadoop[:4], "big") == 40_000
    assert bytes(cramjam.snappy.decompress_raw(hadoop[8:])) == content


def test_a_snappy_block_that_claims_to_be_huge_is_not_believed() -> None:
    head = b"\x82SNAPPY\0\0\0\0\1\0\0\0\1"
    huge = b"\xff\xff\xff\xff\x0f"

    too_long = coded("decompress", Format.SNAPPY, head + b"\x7f\xff\xff\xff" + b"x" * 20)
    too_large = coded("decompress", Format.SNAPPY, head + b"\0\0\0\x05" + huge)

    assert too_long.reason and "a block has the length 2147483647" in too_long.reason.message
    assert too_large.reason and "larger than any is" in too_large.reason.message


def test_a_framed_chunk_of_an_unknown_kind_fails() -> None:
    result = coded("decompress", Format.SNAPPY_FRAMED, b"\xff\x06\0\0sNaPpY\x02\1\0\0x")

    assert result.reason and "a chunk of the unknown type 2" in result.reason.message


def test_the_format_can_come_from_the_mime_type() -> None:
    runner = TestRunner(CompressContent, {"Mode": "decompress"})
    for mime_type in FORMATS_BY_MIME_TYPE:
        if FORMATS_BY_MIME_TYPE[mime_type] is Format.GZIP:
            runner.enqueue(gzip.compress(b"zipped"), {"mime.type": mime_type})
    runner.enqueue(b"a picture", {"mime.type": "image/png"})
    runner.enqueue(b"?")
    runner.enqueue(b"?", {"mime.type": "application/x-snappy-hadoop"})

    runner.run()

    contents = [one.content for one in runner.flowfiles("success")]
    assert contents == [b"zipped", b"zipped", b"a picture"]
    assert [one.reason.message for one in runner.flowfiles("failure") if one.reason] == [
        "The attribute 'mime.type' is missing; the format is to be taken from it",
        "The content is snappy-hadoop, which cannot be read",
    ]


def test_snappy_hadoop_cannot_be_decompressed() -> None:
    properties = {"Mode": "decompress", "Compression Format": "snappy-hadoop"}
    (problem,) = TestRunner(CompressContent, properties).problems

    assert problem.message == "is 'snappy-hadoop', which can be written but not read"


def test_levels_count() -> None:
    content = (b"some text that repeats, " + os.urandom(8)) * 2000
    sizes = []
    for level in ("1", "9"):
        runner = TestRunner(
            CompressContent, {"Compression Format": "gzip", "Compression Level": level}
        )
        runner.enqueue(content)
        runner.run()
        sizes.append(len(runner.one("success").content))

    assert sizes[1] < sizes[0]


@pytest.mark.parametrize("format", [Format.GZIP, Format.BZIP2, Format.ZSTD])
def test_a_small_content_that_becomes_huge_is_decompressed_piece_by_piece(
    format: Format,
) -> None:
    size = 32 * 2**20
    bomb = coded("compress", format, bytes(size)).content
    pieces = []

    class Sink:
        def write(self, data: bytes) -> int:
            pieces.append(len(data))
            return len(data)

    import io

    from processors.compress import decompress

    tracemalloc.start()
    decompress(io.BytesIO(bomb), Sink(), format)  # type: ignore[arg-type]  # all that is used
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert sum(pieces) == size
    assert peak < 4 * 2**20


def test_a_content_that_cannot_be_read_is_no_damaged_format() -> None:
    import io

    from processors.compress import UnreadableContentError, decompress

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("the disk is gone")

    with pytest.raises(UnreadableContentError, match="the disk is gone"):
        decompress(Broken(), None, Format.ZSTD)  # type: ignore[arg-type]  # never reached


def test_a_large_batch_passes() -> None:
    runner = TestRunner(CompressContent, {"Compression Format": "zstd"})
    for number in range(300):
        runner.enqueue(str(number).encode() * 20)

    runner.run_until_idle()

    assert len(runner.flowfiles("success")) == 300
