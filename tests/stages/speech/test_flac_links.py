"""Chains of FLAC streams, told apart by how they begin, wherever reads cut them."""

from __future__ import annotations

import io

from hypothesis import given, settings
from hypothesis import strategies as st

from curator_audio.stages.speech.flac_links import FlacLinks

BEGIN = b"fLaC\0\0\0\x22"
PIECES = st.lists(st.sampled_from([b"f", b"fLaC", b"fLaC\0\0", b"\x22", b"ffLa", bytes(9)]), max_size=12).map(b"".join)


@given(st.lists(PIECES, min_size=1, max_size=4), st.lists(st.integers(1, 40), min_size=1, max_size=20))
@settings(max_examples=200)
def test_streams_are_given_out_one_by_one_and_whole(contents: list[bytes], sizes: list[int]) -> None:
    data = b"".join(BEGIN + content for content in contents)
    links, found, number = FlacLinks(io.BytesIO(data)), [b""], 0
    while True:
        size, number = sizes[number % len(sizes)], number + 1
        piece = links.read(size)
        assert len(piece) <= size
        found[-1] += piece
        if not piece:
            if not links.advance():
                break
            found.append(b"")
    assert b"".join(found) == data
    assert found == [BEGIN + part for part in data.split(BEGIN)[1:]]
