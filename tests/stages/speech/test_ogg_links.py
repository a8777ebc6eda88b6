"""Chains of Ogg streams: split where a link begins, and heard to their end whatever the links are."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_audio.stages.speech.ogg_links import OggLinks
from curator_audio.stages.speech.resample import resampled
from tests.stages.speech.sound_files import by_ffmpeg, by_second, decoded, needs_ffmpeg, tones, write_sound

# Bytes --------------------------------------------------------------------------------------------------------


def page(content: bytes, begins: bool = False, time: int = 0) -> bytes:
    sizes = [255] * (len(content) // 255) + [len(content) % 255]
    return (
        b"OggS"
        + bytes([0, 2 * begins])
        + time.to_bytes(8, "little")
        + bytes(12)
        + bytes([len(sizes), *sizes])
        + content
    )


class Dripping(io.BytesIO):
    """A file that gives a few bytes at a time."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        super().__init__(data)
        self.sizes = sizes

    def read(self, num_bytes: int | None = -1) -> bytes:
        self.sizes = self.sizes[1:] + self.sizes[:1]
        return super().read(min(num_bytes or 0, self.sizes[0]))


def split(data: bytes, num_bytes: int = 4096, sizes: list[int] | None = None) -> list[bytes]:
    links, found = OggLinks(Dripping(data, sizes or [65536])), []
    while True:
        found.append(b"".join(iter(lambda: links.read(num_bytes), b"")))
        if not links.advance():
            return found


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.lists(st.binary(max_size=700), min_size=1, max_size=4)), min_size=1, max_size=4
    ),
    st.integers(1, 3000),
    st.lists(st.integers(1, 900), min_size=1, max_size=5),
)
@settings(max_examples=50)
def test_a_chain_is_split_where_streams_begin_however_it_is_read(
    chain: list[tuple[int, list[bytes]]], num_bytes: int, sizes: list[int]
) -> None:
    links = [
        b"".join([page(b"header", begins=True)] * num_streams + [page(content) for content in contents])
        for num_streams, contents in chain
    ]
    assert split(b"".join(links), num_bytes, sizes) == links


def test_a_link_that_was_not_read_to_its_end_is_passed_over() -> None:
    links = OggLinks(io.BytesIO(page(b"a", True) + page(b"b" * 9000) + page(b"c", True) + page(b"d")))
    assert links.read(10) and links.advance()
    assert b"".join(iter(lambda: links.read(100), b"")) == page(b"c", True) + page(b"d")
    assert not links.advance()


@given(st.binary(max_size=2000), st.integers(0, 200), st.binary(max_size=300))
@settings(max_examples=50)
def test_no_byte_is_lost_of_what_is_damaged(noise: bytes, num_cut: int, more: bytes) -> None:
    data = page(b"a", True) + page(b"b" * 300)[num_cut:] + noise + page(b"c") + more
    assert b"".join(split(data)) == data


# Sound --------------------------------------------------------------------------------------------------------

LINKS = {
    "vorbis": (44100, 2),
    "vorbis mono": (22050, 1),
    "opus": (48000, 1),
    "flac": (16000, 2),
    "flac mono": (8000, 1),
}


def link(folder: Path, kind: str) -> Path:
    rate, num_channels = LINKS[kind]
    path, codec = folder / f"{kind}.ogg", kind.split()[0]
    if codec == "flac":
        return write_sound(path, codec, tones(2.0, rate, num_channels), rate)
    soundfile.write(path, tones(2.0, rate, num_channels), rate, format="OGG", subtype=codec.upper())
    return path


@pytest.mark.parametrize(
    "kinds",
    [
        ("vorbis", "vorbis mono"),
        ("opus", "vorbis", "flac mono"),
        ("flac", "opus"),
        ("flac mono", "flac", "flac mono"),
        ("opus", "opus"),
    ],
)
@pytest.mark.parametrize("timeline", ["samples", "container"])
def test_a_chain_is_what_its_links_are_alone(kinds: tuple[str, ...], timeline: str, tmp_path: Path) -> None:
    paths = [link(tmp_path, kind) for kind in kinds]
    (tmp_path / "chain.ogg").write_bytes(b"".join(path.read_bytes() for path in paths))
    rate = LINKS[kinds[0]][0]

    recording, samples = decoded(tmp_path / "chain.ogg", timeline=timeline)

    alone = [(decoded(path)[1], LINKS[kind][0]) for path, kind in zip(paths, kinds)]
    expected = [np.concatenate(list(resampled([sound], own_rate, rate))) for sound, own_rate in alone]
    assert (recording.sample_rate, recording.broken_off, recording.timeline.faults) == (rate, "", [])
    assert len(samples) == sum(map(len, expected))
    assert np.array_equal(samples, np.concatenate(expected))
    assert [by_second(sound, own_rate)[0] for sound, own_rate in alone] == [200] * len(kinds)


@needs_ffmpeg
def test_links_of_another_rate_are_as_ffmpeg_s_own_command_has_them(tmp_path: Path) -> None:
    paths = [link(tmp_path, kind) for kind in ("vorbis", "vorbis mono")]
    (tmp_path / "chain.ogg").write_bytes(b"".join(path.read_bytes() for path in paths))
    _, samples = decoded(tmp_path / "chain.ogg")
    theirs = by_ffmpeg(tmp_path / "chain.ogg", "-ac", "2").reshape(-1, 2).mean(axis=1)
    length = 2 * 44100
    assert len(samples) == pytest.approx(len(theirs), abs=1200)  # it does not cut the last link where it ends
    assert np.abs(samples[:length] - theirs[:length]).max() < 1e-4
    assert by_second(samples[length:], 44100)[0] == by_second(theirs[length:], 44100)[0] == 200


def test_a_long_chain_with_links_that_hold_no_sound(tmp_path: Path) -> None:
    path = link(tmp_path, "opus")
    header = io.BytesIO()
    soundfile.write(header, np.zeros((0, 1)), 48000, format="OGG", subtype="OPUS")
    (tmp_path / "chain.ogg").write_bytes(15 * (path.read_bytes() + header.getvalue()))
    recording, samples = decoded(tmp_path / "chain.ogg")
    assert (len(samples), recording.broken_off) == (30 * 48000, "")


def test_a_link_that_is_damaged_ends_the_recording_with_a_word(tmp_path: Path) -> None:
    data = link(tmp_path, "opus").read_bytes()
    unknown = page(b"\x01unknown codec", True) + page(b"x" * 500, time=960)
    (tmp_path / "chain.ogg").write_bytes(data + unknown)
    recording, samples = decoded(tmp_path / "chain.ogg")
    assert len(samples) == 2 * 48000
    assert "chain.ogg" in recording.broken_off
