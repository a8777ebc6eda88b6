"""Streams cut into spans: exact to the sample, with no more in memory than must be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curator_audio.stages.speech.cutting import cut, sample_index


@given(
    lengths=st.lists(st.integers(0, 20), max_size=12),
    spans=st.dictionaries(st.integers(0, 50), st.tuples(st.integers(0, 120), st.integers(1, 80)), max_size=12),
)
def test_a_stream_is_cut_as_the_whole_is(lengths: list[int], spans: dict[int, tuple[int, int]]) -> None:
    whole = np.arange(sum(lengths), dtype=np.float32)
    blocks = np.split(whole, np.cumsum(lengths)[:-1]) if lengths else []
    spans = {name: (first, first + length) for name, (first, length) in spans.items()}

    pieces = dict(cut(blocks, spans))

    expected = {name for name, (first, end) in spans.items() if first < len(whole) and end <= len(whole) + 1}
    assert set(pieces) == expected
    for name, piece in pieces.items():
        assert piece.tolist() == whole[slice(*spans[name])].tolist()


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 30)), min_size=1, max_size=30))
def test_no_more_of_the_stream_is_held_than_spans_need(starts: list[tuple[int, int]]) -> None:
    spans = {name: (first, first + length) for name, (first, length) in enumerate(starts)}
    num_alive = 0

    class Block(np.ndarray):
        def __del__(self) -> None:
            nonlocal num_alive
            num_alive -= self.base is None

    def blocks() -> Iterator[Any]:
        nonlocal num_alive
        for _ in range(110):
            num_alive += 1
            yield Block((10,), np.float32)
            assert num_alive <= 6  # a span of 30 lies in 4 blocks of 10 at most; one more is being made, one passed on

    for _, _ in cut(blocks(), spans):
        pass


@given(st.integers(1, 200_000), st.integers(0, 10**7))
def test_times_are_rounded_to_the_nearest_sample(sample_rate: int, index: int) -> None:
    assert sample_index(index / sample_rate, sample_rate) == index
    assert [sample_index(half, 1) for half in (0.5, 1.5, 2.5, 0.4999)] == [1, 2, 3, 0]
