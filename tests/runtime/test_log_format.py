"""The bytes of the log: what is written is read back, and no bit of it may differ."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.log_format import (
    GROUP_HEAD_BYTES,
    LOG_START,
    RECORD_BYTES_MAX,
    SECTOR_BYTES,
    FileHeader,
    FrameFault,
    GroupHead,
    LogEnd,
    LogVersionError,
    after_group,
    check_payload,
    check_place,
    decode_file_header,
    decode_head,
    encode_end,
    encode_file_header,
    encode_group,
    frame_chain,
    split_records,
)

PLACE = LogEnd(group=4, chain=99, sequence=10, file=2, offset=512)
HEADER = FileHeader(home=7, file=3, previous=PLACE, wall_ms=1_700_000_000_000)


def decode(frame: bytes) -> tuple[GroupHead, bytes]:
    head = decode_head(frame)
    payload = frame[GROUP_HEAD_BYTES : GROUP_HEAD_BYTES + head.length]
    check_payload(head, payload)
    return head, payload


@given(st.lists(st.binary(max_size=700), min_size=1, max_size=20))
def test_records_of_a_group_come_back_as_they_were(records: list[bytes]) -> None:
    head, payload = decode(bytes(encode_group(records, PLACE, 5)))

    assert split_records(head, payload) == records
    assert (head.group, head.first_sequence, head.wall_ms) == (5, 11, 5)


def test_position_behind_a_group_is_the_next_sector() -> None:
    frame = bytes(encode_group([b"x" * 500], PLACE, 5))
    head, _ = decode(frame)

    end = after_group(PLACE, head)

    assert end == LogEnd(5, frame_chain(bytearray(frame)), 11, 2, 512 + 2 * SECTOR_BYTES)


@given(st.data())
def test_one_flipped_bit_of_a_group_is_noticed(data: st.DataObject) -> None:
    frame = bytearray(encode_group([b"first", b"second"], PLACE, 5))
    bit = data.draw(st.integers(0, len(frame) * 8 - 1))
    frame[bit // 8] ^= 1 << bit % 8

    with pytest.raises(FrameFault):
        decode(bytes(frame))


@given(st.integers(0, 79), st.integers(0, 7))
def test_one_flipped_bit_of_a_header_is_noticed(byte: int, bit: int) -> None:
    data = bytearray(encode_file_header(HEADER))
    data[byte] ^= 1 << bit

    with pytest.raises(FrameFault):
        decode_file_header(bytes(data))


def test_header_comes_back_as_it_was_and_fills_a_sector() -> None:
    data = encode_file_header(HEADER)

    assert decode_file_header(data) == HEADER
    assert len(data) == SECTOR_BYTES


def test_zeros_are_neither_header_nor_group() -> None:
    with pytest.raises(FrameFault, match="does not start with the header of a log file"):
        decode_file_header(bytes(512))
    with pytest.raises(FrameFault, match="holds no group"):
        decode_head(bytes(512))


def test_faults_say_what_is_wrong_with_a_header_or_group() -> None:
    header = bytearray(encode_file_header(HEADER))
    header[20] ^= 1
    frame = encode_group([b"record"], PLACE, 5)
    head = decode_head(bytes(frame))

    with pytest.raises(FrameFault, match="has a header that does not match its checksum"):
        decode_file_header(bytes(header))
    with pytest.raises(FrameFault, match="holds 3 of the 10 bytes of a group"):
        check_payload(head, b"abc")
    with pytest.raises(FrameFault, match="holds a group that does not match its checksum"):
        check_payload(head, bytes(10))
    with pytest.raises(FrameFault, match="length of 67,108,864 bytes no group has"):
        decode_head(bytes(frame[:36]) + (1 << 26).to_bytes(4, "little") + bytes(frame[40:]))


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (LogEnd(4, 99, 10, 3, 512), "holds a group of file 2"),
        (LogEnd(5, 99, 10, 2, 512), "holds group 5 where group 6 belongs"),
        (LogEnd(4, 99, 11, 2, 512), "holds group 5 where group 5 belongs"),
        (LogEnd(4, 98, 10, 2, 512), "holds a group that follows another history"),
    ],
)
def test_group_in_another_place_says_where_it_belongs(place: LogEnd, words: str) -> None:
    head, _ = decode(bytes(encode_group([b"record"], PLACE, 5)))

    with pytest.raises(FrameFault, match=words):
        check_place(head, place)


def test_end_frame_repeats_the_last_group() -> None:
    head, _ = decode(bytes(encode_end(PLACE, 5)))

    check_place(head, PLACE)
    assert (head.group, head.records) == (4, 0)


def test_newer_format_is_named_instead_of_called_rot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.log_format.VERSION", 2)
    frame, header = encode_group([b"record"], LOG_START, 5), encode_file_header(HEADER)
    monkeypatch.undo()

    with pytest.raises(LogVersionError, match="format version 2; this release of Levada reads"):
        decode(bytes(frame))
    with pytest.raises(LogVersionError, match="Start the home with the release that wrote it"):
        decode_file_header(header)


def test_largest_record_fits_a_group() -> None:
    frame = encode_group([bytes(RECORD_BYTES_MAX)], LOG_START, 5)

    assert decode_head(bytes(frame[:64])).length == RECORD_BYTES_MAX + 4
