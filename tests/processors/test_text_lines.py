import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.text_lines import Encoding, LineTooLongError, end_of, line_blocks

texts = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bc", b"\xff"])).map(b"".join)


@given(texts, st.integers(1, 5))
def test_blocks_are_whole_lines_and_lose_nothing(content, size):
    blocks = list(line_blocks(io.BytesIO(content), size=size))

    lines = [line for block in blocks for line in block.splitlines(keepends=True)]
    assert lines == content.splitlines(keepends=True)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_line_that_is_too_long_stops_the_reading(size):
    content = b"a\n" + b"x" * 50

    with pytest.raises(LineTooLongError, match="a line of more than 10 bytes"):
        for block in line_blocks(io.BytesIO(content), limit=10, size=size):
            assert len(block) <= 2


@given(st.binary(), st.sampled_from(["UTF-8", "US-ASCII", "windows-1252", "ISO-8859-1"]))
def test_bytes_survive_the_way_through_text(data, name):
    encoding = Encoding(name)

    assert encoding.encode(encoding.decode(data)) == data
    assert encoding.written(encoding.read(data)) == data


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 7))
def test_text_survives_another_character_set(text, size):
    encoding = Encoding("UTF-16LE")
    content = text.encode("utf-16-le")
    reader = encoding.reader(io.BytesIO(content))
    pieces = []
    while piece := reader.read(size):
        pieces.append(piece)
    target = io.BytesIO()
    writer = encoding.writer(target)
    for piece in pieces:
        writer.write(piece)

    assert b"".join(pieces) == encoding.read(content) == text.encode()
    assert target.getvalue() == encoding.written(text.encode()) == content


def test_character_that_a_set_lacks_becomes_a_question_mark():
    assert Encoding("ISO-8859-1").encode("\u00e4\u20ac\udcff") == b"\xe4?\xff"


def test_end_of_a_line_is_found():
    assert [end_of(line) for line in (b"a\r\n", b"a\n", b"a", b"\n", b"")] == [1, 1, 1, 0, 0]
    assert end_of("ab\r") == 2
