import io
from collections.abc import Callable, Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curator_audio.storage import byte_ranges
from curator_audio.storage.byte_ranges import OVERLONG_KEPT_BYTES, Lines, read_blocks, read_lines

MAX_LINE_BYTES = 2**20

line_ends = st.sampled_from(["\n", "\r\n", "\n\n", "\n \t\n", "\n  ", "\x0b\n", "\r", "\u2028", "\x85", ""])
texts = st.lists(st.tuples(st.text(max_size=40), line_ends)).map(lambda pieces: "".join(map("".join, pieces)).encode())


def lines_with_offsets(data: bytes) -> list[tuple[int, bytes]]:
    """The lines of a file that are not blank, found the plain way: ``\\n`` and nothing else ends a line."""
    lines = []
    offset = 0
    for line in io.BytesIO(data):
        if not line.isspace():
            lines.append((offset, line.removesuffix(b"\n")))
        offset += len(line)
    return lines


def ranges_of(data: bytes, step: int, max_line_bytes: int = MAX_LINE_BYTES) -> list[Lines]:
    def read(start: int, end: int) -> bytes:
        return data[start:end]

    starts = range(0, len(data), step)
    return [read_lines(read, start, min(start + step, len(data)), max_line_bytes) for start in starts]


def blocks_of(data: bytes, block_bytes: int, max_line_bytes: int = MAX_LINE_BYTES) -> list[Lines]:
    return list(read_blocks(io.BytesIO(data).read, block_bytes, max_line_bytes))


def joined(pieces: Iterable[Lines]) -> list[tuple[int, bytes]]:
    return [line for lines in pieces for line in lines]


@given(texts, st.integers(1, 60))
@example(b"", 1)
@example(b"\n", 1)
@example(b"one\ntwo", 4)
@example(b"one\n\n\ntwo\n", 4)
@example("naïve\r\ncafé — 東京\r\n".encode(), 3)
def test_all_ranges_together_hold_every_line_once(data: bytes, step: int) -> None:
    assert joined(ranges_of(data, step)) == lines_with_offsets(data)


@given(texts, st.integers(1, 60), st.integers(1, 12))
@example(b"one\n\ntwo", 1, 1)
def test_all_blocks_together_hold_every_line_once(data: bytes, block_bytes: int, read_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(byte_ranges, "READ_BYTES", read_bytes)
        blocks = blocks_of(data, block_bytes)

    assert joined(blocks) == lines_with_offsets(data)
    assert b"".join(block.data for block in blocks) == data
    assert all(block.data.endswith(b"\n") for block in blocks[:-1])


def test_a_line_belongs_to_the_range_in_which_it_begins() -> None:
    first, second, third = ranges_of(b"one\ntwo\nthree and more\n", 8)

    assert first == Lines(0, b"one\ntwo\n")
    assert second == Lines(8, b"three and more\n")
    assert list(third) == []


def test_a_range_inside_a_long_line_is_not_read_beyond_its_end() -> None:
    data = b"a" * 1000 + b"\nend\n"
    asked: list[tuple[int, int]] = []

    def read(start: int, end: int) -> bytes:
        asked.append((start, end))
        return data[start:end]

    assert list(read_lines(read, 100, 200, MAX_LINE_BYTES)) == []
    assert asked == [(99, 200)]


# Lines that are too long -------------------------------------------------------------------------------------

LIMIT = 100_000
OVERLONG = b"<" + b"x" * 149_998 + b">"
AROUND_OVERLONG = b"before\n" + OVERLONG + b"\nafter\n"
CUT = (7, OVERLONG[:OVERLONG_KEPT_BYTES])


def blocks_read_in_pieces(data: bytes, size: int) -> list[Lines]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(byte_ranges, "READ_BYTES", 1000)
        return blocks_of(data, size, LIMIT)


@pytest.mark.parametrize("size", [7, 8, 500, 60_000])
@pytest.mark.parametrize("cut", [lambda data, size: ranges_of(data, size, LIMIT), blocks_read_in_pieces])
def test_an_overlong_line_is_cut_and_its_neighbours_are_whole(
    cut: Callable[[bytes, int], list[Lines]], size: int
) -> None:
    pieces = [piece for piece in cut(AROUND_OVERLONG, size) if list(piece)]

    assert joined(pieces) == [(0, b"before"), CUT, (len(AROUND_OVERLONG) - 6, b"after")]
    (overlong,) = [piece for piece in pieces if piece.overlong_num_bytes]
    assert overlong.overlong_num_bytes == len(OVERLONG)
    assert list(overlong)[-1] == CUT


def test_an_overlong_line_that_a_range_holds_whole_is_left_to_the_reader() -> None:
    (lines,) = ranges_of(AROUND_OVERLONG, 2**20, LIMIT)

    assert joined([lines]) == lines_with_offsets(AROUND_OVERLONG)
    assert lines.overlong_num_bytes == 0


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize(("num_bytes", "is_cut"), [(LIMIT - 1, False), (LIMIT, False), (LIMIT + 1, True)])
def test_the_line_end_does_not_count(num_bytes: int, is_cut: bool, end: bytes) -> None:
    line = b"x" * num_bytes

    first = ranges_of(line + end, 5, LIMIT)[0] if is_cut else ranges_of(line + end, 5000, LIMIT)[0]

    assert first.overlong_num_bytes == (num_bytes if is_cut else 0)
    assert first.data == (line[:OVERLONG_KEPT_BYTES] if is_cut else line + end)


def test_an_overlong_line_at_the_end_without_line_end() -> None:
    data = b"before\n" + OVERLONG

    assert joined(ranges_of(data, 1000, LIMIT)) == [(0, b"before"), CUT]
    assert joined(blocks_read_in_pieces(data, 500)) == [(0, b"before"), CUT]


def test_a_limit_below_what_is_kept_still_shows_the_line() -> None:
    assert joined(ranges_of(b"ab\n" + b"x" * 50 + b"\nc\n", 5, max_line_bytes=10)) == [
        (0, b"ab"),
        (3, b"x" * 50),
        (54, b"c"),
    ]


# What changed ------------------------------------------------------------------------------------------------


def test_the_hash_tells_lines_apart_and_not_where_they_lie() -> None:
    assert Lines(0, b"one\n").sha256 == Lines(400, b"one\n").sha256
    assert Lines(0, b"one\n").sha256 != Lines(0, b"one").sha256
    assert Lines(0, b"one", overlong_num_bytes=500).sha256 != Lines(0, b"one", overlong_num_bytes=501).sha256


def test_blank_lines_are_passed_over_however_many_there_are() -> None:
    assert list(Lines(5, b"\n" * 10**6 + b"\r\n" * 10**5 + b"  a\n \t")) == [(5 + 1_200_000, b"  a")]


@pytest.mark.parametrize("rest", [b"x\nnext\n", b"\nnext\n"])
def test_a_line_of_too_many_blanks_is_told(rest: bytes) -> None:
    data = b"first\n" + b" " * 200_000 + rest
    for pieces in (blocks_of(data, 1000, 100_000), ranges_of(data, 50_000, 100_000)):
        assert joined(pieces) == [(0, b"first"), (6, b" " * OVERLONG_KEPT_BYTES), (len(data) - 5, b"next")]
        assert [lines.overlong_num_bytes for lines in pieces if lines.overlong_num_bytes] == [len(data) - 12]
