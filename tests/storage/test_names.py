"""Names that come from data, made to fit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_audio.storage.names import MAX_NAME_BYTES, short_key, short_name
from curator_audio.storage.storage import Storage

characters = st.characters(exclude_characters="/\0", exclude_categories=("Cs",))
names = st.builds(
    lambda start, repeated, number, tail: start + repeated * number + tail,
    st.text(characters, max_size=20),
    st.sampled_from(["a", "é", "あ", "🎙", "e\u0301", "."]),
    st.integers(0, 300),
    st.sampled_from(["", "_seg_3.npz", "_seg_12.npz", "_win_0.flac", ".tar.gz", ".json"]),
).filter(bool)


@given(st.lists(names, min_size=2, max_size=6, unique=True))
def test_names_fit_and_stay_apart(some: list[str]) -> None:
    shorts = [short_name(name) for name in some]
    assert all(len(short.encode()) <= MAX_NAME_BYTES for short in shorts)
    assert len(set(shorts)) == len(some)
    assert [short_name(short) for short in shorts] == shorts, "what is short enough stays"
    assert [short for short, name in zip(shorts, some) if len(name.encode()) <= MAX_NAME_BYTES and short != name] == []


@pytest.mark.parametrize("letter", ["a", "é", "あ", "🎙"])
def test_pieces_of_a_recording_differ_in_their_numbers_only(letter: str) -> None:
    shorts = [short_name(f"{letter * 300}_seg_{number}.npz") for number in (0, 7, 123456)]
    starts = {short.partition("_seg_")[0] for short in shorts}
    assert len(starts) == 1 and [short.partition("_seg_")[2] for short in shorts] == ["0.npz", "7.npz", "123456.npz"]
    assert short_name(f"{letter * 299}b_seg_0.npz").partition("_seg_")[0] not in starts


def test_names_that_are_no_text_are_told_apart_too() -> None:
    some = [f"{'x' * 300}{end}" for end in ("\udcff", "\udcfe", "\ud800", "\ud801")]
    assert len({short_name(name) for name in some}) == 4


@given(st.lists(st.lists(names, min_size=1, max_size=8).map("/".join), min_size=2, max_size=4, unique=True))
def test_paths_fit_and_stay_apart(keys: list[str]) -> None:
    for max_name_bytes in (MAX_NAME_BYTES, None):
        shorts = [short_key(key, 24, 1024, max_name_bytes) for key in keys]
        assert all(24 + len(short.encode()) <= 1024 for short in shorts)
        assert len(set(shorts)) == len(keys)


def test_folders_stay_where_there_is_room() -> None:
    key = "/".join(["folder" * 30] * 6 + ["show.wav"])
    short = short_key(key, 10, 1024)
    assert short.startswith("/".join(["folder" * 30] * 5) + "/show-") and short.endswith(".wav")


@pytest.mark.parametrize("num_bytes", [237, 238, 255])
def test_a_file_with_the_longest_name_there_is(num_bytes: int, tmp_path: Path) -> None:
    """Which had no room for what it is called while it is written."""
    name = "あ" * 70 + "x" * (num_bytes - 210)
    Storage().write(f"{tmp_path}/{name}", b"sound")
    assert os.listdir(tmp_path) == [name]
