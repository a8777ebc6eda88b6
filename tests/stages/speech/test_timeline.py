"""Timestamps against samples: gaps, overlaps, late starts and clocks that jump, in all containers that have a clock."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_audio.stages.speech.timeline import JUMP, LATE_START, MAX_GAP_SEC, TOLERANCE_SEC, Timeline
from tests.stages.speech.sound_files import (
    RATE,
    by_ffmpeg,
    by_second,
    decoded,
    encoded_packets,
    needs_ffmpeg,
    remuxed,
    tones,
    write_sound,
)

LOSSLESS = [("flac", "mkv"), ("pcm_s16le", "mkv"), ("alac", "m4a"), ("alac", "mov"), ("flac", "flac")]
LOSSY = [
    ("libopus", "webm"),
    ("libopus", "mkv"),
    ("aac", "mp4"),
    ("aac", "ts"),
    ("aac", "flv"),
    ("aac", "mkv"),
    ("mp2", "ts"),
]
OTHERS = [
    ("pcm_s16le", "wav"),
    ("pcm_s16le", "caf"),
    ("pcm_s16be", "aiff"),
    ("libmp3lame", "mp3"),
    ("aac", "aac"),
    ("flac", "ogg"),
    ("libopus", "ogg"),
    ("mp2", "mpg"),
]


# The count ----------------------------------------------------------------------------------------------------


def placed(timeline: Timeline, timestamps: list[int], num_samples: int = 320, rate: int = RATE) -> list[int]:
    return [timeline.place(timestamp, num_samples, rate) for timestamp in timestamps]


@given(st.lists(st.integers(-20, 20), max_size=200), st.integers(0, 10**9))
@settings(max_examples=30)
def test_timestamps_that_jitter_change_nothing_and_do_not_add_up(jitter: list[int], start: int) -> None:
    timeline = Timeline()
    timeline.begin(1 / 1000, 0.0)
    frames = [start, *(start + 20 * (k + 1) + off for k, off in enumerate(jitter))]
    assert placed(timeline, frames) == [0] * len(frames)
    assert timeline.num_faults == 0
    assert timeline.sec == pytest.approx(len(frames) * 0.02)


@given(st.lists(st.integers(6, 500), max_size=29), st.lists(st.integers(1, 40), min_size=30, max_size=30))
@settings(max_examples=30)
def test_gaps_of_whole_frames_are_filled_to_the_sample_however_coarse_the_clock(
    num_lost: list[int], num_between: list[int]
) -> None:
    for frame, rate in ((1024, 44100), (960, 48000), (1152, 22050)):
        timeline = Timeline()
        timeline.begin(1 / 1000, 0.0)
        position, silence = 0, 0
        for lost, between in zip([0, *num_lost], num_between):
            position += lost
            for _ in range(between):
                silence += timeline.place(round(position * frame * 1000 / rate), frame, rate)
                position += 1
        assert silence == sum(num_lost) * frame
        assert timeline.gap_sec == pytest.approx(silence / rate)
        assert timeline.sec == pytest.approx(position * frame / rate)


@given(st.lists(st.integers(-400, 400), max_size=60))
@settings(max_examples=50)
def test_a_sample_is_never_further_from_its_timestamp_than_the_tolerance(moves: list[int]) -> None:
    timeline = Timeline()
    timeline.begin(1 / 1000, 0.0)
    timestamp, num_out = 0, 0
    for move in [0, *moves]:
        timestamp += 20 + move
        offset = timeline.place(timestamp, 320, RATE)
        if any(fault.kind == JUMP for fault in timeline.faults) or timeline.num_faults > 3:
            break  # from here on it is another clock
        first = num_out = num_out + max(offset, 0)
        num_kept = 320 + min(offset, 0)
        if num_kept == 320:
            assert abs(first / RATE - (timestamp - 20) / 1000) <= TOLERANCE_SEC + 1e-9
        num_out += num_kept


def test_a_clock_that_drifts_is_followed_without_ever_being_far_off() -> None:
    timeline = Timeline()
    timeline.begin(1 / 90000, 0.0)
    silence = sum(placed(timeline, [round(k * 1800 * 1.001) for k in range(50_000)]))  # 1000 s, a second slow
    assert 0 <= 1.0 - silence / RATE < TOLERANCE_SEC + 0.01


@pytest.mark.parametrize("jump_sec", [-7.0, -30.0, MAX_GAP_SEC + 1, 26.5 * 3600, -26.5 * 3600])
def test_a_clock_that_is_set_anew_goes_on_as_if_nothing_were_missing(jump_sec: float) -> None:
    timeline = Timeline()
    timeline.begin(1 / 1000, 0.0)
    before = [20 * k for k in range(350)]
    after = [round(7000 + 1000 * jump_sec) + 20 * k for k in range(50)]
    assert placed(timeline, before + after) == [0] * 400
    assert [(fault.kind, fault.at_sec, fault.length_sec) for fault in timeline.faults] == [(JUMP, 7.0, jump_sec)]
    assert (timeline.gap_sec, timeline.overlap_sec, timeline.sec) == (0, 0, pytest.approx(8.0))


def test_silence_has_a_limit_in_all() -> None:
    timeline = Timeline()
    timeline.begin(1 / 1000, 0.0)
    silence = sum(placed(timeline, [k * 3_000_000 for k in range(1000)]))
    assert 23 * 3600 < silence / RATE < 24 * 3600


def test_a_rate_that_changes_is_counted_in_its_own_samples() -> None:
    timeline = Timeline()
    timeline.begin(1 / 1000, 0.0)
    assert placed(timeline, [0, 20], 960, 48000) == [0, 0]
    assert placed(timeline, [40, 60, 1080], 320, 16000) == [0, 0, 16000]
    assert timeline.sec == pytest.approx(1.1)


# Files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("codec", "suffix"), [*LOSSLESS, *LOSSY, *OTHERS])
def test_a_plain_file_has_no_gaps_and_is_the_same_by_either_timeline(codec: str, suffix: str, tmp_path: Path) -> None:
    rate = 48000 if codec == "libopus" else 44100
    path = write_sound(tmp_path / f"a.{suffix}", codec, tones(2.0, rate), rate)

    recording, samples = decoded(path)

    assert (recording.timeline.faults, recording.broken_off) == ([], "")
    assert np.array_equal(samples, decoded(path, timeline="container")[1])


@pytest.mark.parametrize(("codec", "suffix"), [*LOSSLESS, *LOSSY])
def test_a_gap_becomes_silence(codec: str, suffix: str, tmp_path: Path) -> None:
    rate = 48000 if codec == "libopus" else RATE
    whole_path = write_sound(tmp_path / f"whole.{suffix}", codec, tones(5.0, rate), rate)
    path = remuxed(whole_path, tmp_path / f"a.{suffix}", lambda time: None if 2.2 <= time < 3.0 else time)
    _, whole = decoded(whole_path)

    recording, samples = decoded(path)
    _, filled = decoded(path, timeline="container")

    (fault,) = recording.timeline.faults
    num_missing = len(whole) - len(samples)
    assert (fault.kind, recording.broken_off) == ("gap", "")
    assert fault.length_sec == pytest.approx(num_missing / rate) == pytest.approx(0.8, abs=0.1)
    assert len(filled) == len(whole)
    gap = slice(round(fault.at_sec * rate), round(fault.at_sec * rate) + num_missing)
    if (codec, suffix) in LOSSLESS:
        assert np.array_equal(samples, np.concatenate([whole[: gap.start], whole[gap.stop :]]))
        assert np.array_equal(filled, np.concatenate([whole[: gap.start], 0 * whole[gap], whole[gap.stop :]]))
    else:  # a decoder needs a moment until it is as if nothing had been lost
        assert not filled[gap].any() and np.array_equal(filled[: gap.start], whole[: gap.start])
        assert np.abs(filled - whole)[gap.stop + rate // 5 :].max() < 0.01
    assert by_second(filled, rate)[3:5] == [800, 1000]


@needs_ffmpeg
@pytest.mark.parametrize(("codec", "suffix"), [("flac", "mkv"), ("alac", "m4a"), ("mp2", "mpg"), ("aac", "flv")])
def test_gaps_are_filled_as_ffmpeg_s_own_command_does(codec: str, suffix: str, tmp_path: Path) -> None:
    whole = write_sound(tmp_path / f"whole.{suffix}", codec, tones())
    path = remuxed(whole, tmp_path / f"a.{suffix}", lambda time: None if 1.2 <= time < 2 or 2.5 <= time < 4.1 else time)
    recording, filled = decoded(path, timeline="container")
    assert recording.timeline.num_faults == 2
    assert filled == pytest.approx(by_ffmpeg(path, "-af", "aresample=async=1:first_pts=0"), abs=1e-4)


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS", "flac"])
def test_a_page_that_is_missing_in_an_ogg_file(codec: str, tmp_path: Path) -> None:
    rate = 48000
    pages = ogg_pages(write_ogg(tmp_path / "whole.ogg", codec).read_bytes())
    number = next(number for number, page in enumerate(pages) if int.from_bytes(page[6:14], "little") > 5 * rate)
    start, end = (int.from_bytes(page[6:14], "little") / rate for page in pages[number - 1 : number + 1])
    (tmp_path / "a.ogg").write_bytes(b"".join(pages[:number] + pages[number + 1 :]))
    _, whole = decoded(tmp_path / "whole.ogg")

    recording, samples = decoded(tmp_path / "a.ogg")
    _, filled = decoded(tmp_path / "a.ogg", timeline="container")

    (fault,) = recording.timeline.faults
    assert recording.broken_off == "" and len(filled) == len(whole) > len(samples)
    assert (fault.at_sec, fault.length_sec) == (pytest.approx(start, abs=0.05), pytest.approx(end - start, abs=0.05))
    assert np.abs(filled - whole)[round((end + 0.2) * rate) :].max() < 0.01


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS", "flac"])
def test_an_ogg_file_without_its_beginning_begins_where_it_begins(codec: str, tmp_path: Path) -> None:
    pages = ogg_pages(write_ogg(tmp_path / "a.ogg", codec).read_bytes())
    headers = [page for page in pages if not int.from_bytes(page[6:14], "little")]
    (tmp_path / "a.ogg").write_bytes(b"".join(headers + pages[len(headers) + 2 :]))
    recording, samples = decoded(tmp_path / "a.ogg", timeline="container")
    assert recording.timeline.faults == [] and len(samples) < 7.1 * 48000


def write_ogg(path: Path, codec: str) -> Path:
    """Nine seconds at 48 kHz."""
    if codec == "flac":
        return write_sound(path, codec, tones(9.0, 48000), 48000)
    soundfile.write(path, tones(9.0, 48000), 48000, format="OGG", subtype=codec)
    return path


def ogg_pages(data: bytes) -> list[bytes]:
    pages = []
    while data:
        length = 27 + data[26] + sum(data[27 : 27 + data[26]])
        pages.append(data[:length])
        data = data[length:]
    return pages


@pytest.mark.parametrize(("codec", "suffix"), [("flac", "flac"), ("aac", "ts"), ("mp2", "ts"), ("aac", "flv")])
def test_what_comes_twice_is_dropped(codec: str, suffix: str, tmp_path: Path) -> None:
    path = write_sound(tmp_path / f"whole.{suffix}", codec, tones())
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(audio=0) if packet.size]
    data, (start, end) = path.read_bytes(), (places[len(places) * 2 // 5], places[len(places) // 2])
    (tmp_path / f"a.{suffix}").write_bytes(data[:end] + data[start:])
    _, whole = decoded(path)

    recording, samples = decoded(tmp_path / f"a.{suffix}")
    _, kept = decoded(tmp_path / f"a.{suffix}", timeline="container")

    assert [fault.kind for fault in recording.timeline.faults] == ["overlap"]
    assert recording.timeline.overlap_sec == pytest.approx((len(samples) - len(whole)) / RATE)
    assert np.array_equal(kept, whole)
    assert recording.broken_off == ""


@pytest.mark.parametrize("codec", ["flac", "pcm_s16le"])
def test_a_cluster_of_matroska_that_comes_twice(codec: str, tmp_path: Path) -> None:
    path = write_sound(tmp_path / "whole.mkv", codec, tones(), live="1", cluster_time_limit="500")
    head, *clusters = path.read_bytes().split(b"\x1f\x43\xb6\x75")
    middle = len(clusters) // 2
    doubled = [head, *clusters[: middle + 1], *clusters[middle:]]
    (tmp_path / "a.mkv").write_bytes(b"\x1f\x43\xb6\x75".join(doubled))

    recording, kept = decoded(tmp_path / "a.mkv", timeline="container")

    assert recording.timeline.overlap_sec == pytest.approx(0.5, abs=0.1)
    assert np.array_equal(kept, decoded(path)[1])


def with_picture(path: Path, video: str, codec: str, late_sec: float, rate: int = RATE) -> Path:
    """Two seconds of sound that begin when a picture has been there for a while."""
    with av.open(str(path), "w") as output:
        picture = output.add_stream(video, rate=25, width=32, height=32, pix_fmt="yuv420p")
        sound = output.add_stream(codec, rate=rate, layout="mono")
        frames = [av.VideoFrame.from_ndarray(np.zeros((48, 32), np.uint8), format="yuv420p") for _ in range(75)]
        packets = [packet for frame in [*frames, None] for packet in picture.encode(frame)]
        for packet in encoded_packets(sound, tones(2.0, rate), rate, "mono"):
            packet.pts += round(late_sec / packet.time_base)
            packet.dts = packet.pts
            packets.append(packet)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            output.mux(packet)
    return path


KINDS_WITH_PICTURES = [
    ("mkv", "mpeg4", "flac"),
    ("mov", "mpeg4", "alac"),
    ("mp4", "mpeg4", "aac"),
    ("ts", "mpeg2video", "mp2"),
    ("webm", "libvpx", "libopus"),
]


@pytest.mark.parametrize(("suffix", "video", "codec"), KINDS_WITH_PICTURES)
@pytest.mark.parametrize("late_sec", [0.0, 0.64])
def test_sound_that_starts_after_the_picture(
    suffix: str, video: str, codec: str, late_sec: float, tmp_path: Path
) -> None:
    rate = 48000 if codec == "libopus" else RATE
    path = with_picture(tmp_path / f"a.{suffix}", video, codec, late_sec, rate)

    recording, samples = decoded(path)
    in_place, placed_samples = decoded(path, timeline="container")

    assert recording.broken_off == recording.wrong_header == in_place.broken_off == in_place.wrong_header == ""
    if not late_sec:
        assert recording.timeline.faults == [] and np.array_equal(placed_samples, samples)
        return
    (fault,) = recording.timeline.faults
    assert (fault.kind, fault.at_sec) == (LATE_START, 0.0)
    assert fault.length_sec == pytest.approx(late_sec, abs=0.07)  # less the encoder's delay
    num_late = len(placed_samples) - len(samples)
    assert num_late == round(fault.length_sec * rate)
    assert not placed_samples[:num_late].any() and np.array_equal(placed_samples[num_late:], samples)


@pytest.mark.parametrize("num_cut", [0, 10])
def test_a_flac_file_without_its_beginning_does_not_break_off(num_cut: int, tmp_path: Path) -> None:
    """As FFmpeg's command makes it of a cut without encoding: numbers and length stay those of the whole."""
    path = write_sound(tmp_path / "whole.flac", "flac", tones())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
    places, data = [packet.pos for packet in packets], path.read_bytes()
    middle, end = places[len(places) // 2], places[-num_cut] if num_cut else len(data)
    (tmp_path / "a.flac").write_bytes(data[: places[0]] + data[middle:end])
    _, whole = decoded(path)

    recording, samples = decoded(tmp_path / "a.flac")

    first = packets[len(places) // 2].pts
    assert len(samples) and np.array_equal(samples, whole[first:][: len(samples)])
    assert bool(recording.broken_off) == bool(num_cut) == (len(samples) < len(whole) - first)
    assert recording.wrong_header.endswith("s that are there, and it lacks the first ones")


def test_an_encoder_that_left_out_silence_in_ogg_flac(tmp_path: Path) -> None:
    """The numbers of the frames run on, and only the pages tell."""
    whole, a = tmp_path / "whole.ogg", tmp_path / "a.ogg"
    write_sound(whole, "flac", tones())
    remuxed(whole, a, lambda time: time if time < 2 else time + 1.5, page_duration="100000")
    recording, filled = decoded(a, timeline="container")
    (fault,) = recording.timeline.faults
    assert (fault.kind, fault.length_sec) == ("gap", pytest.approx(1.5, abs=0.01))
    assert fault.at_sec == pytest.approx(2.0, abs=0.3)
    assert len(filled) == len(decoded(whole)[1]) + round(fault.length_sec * RATE)


# Clocks that are set anew -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("codec", "suffix"), [("aac", "ts"), ("mp2", "mpg"), ("aac", "flv"), ("flac", "mkv")])
def test_files_put_one_behind_the_other_are_heard_one_after_the_other(codec: str, suffix: str, tmp_path: Path) -> None:
    path = write_sound(tmp_path / f"one.{suffix}", codec, tones(2.0), **({"live": "1"} if suffix == "mkv" else {}))
    (tmp_path / f"a.{suffix}").write_bytes(2 * path.read_bytes())
    _, one = decoded(path)

    recording, both = decoded(tmp_path / f"a.{suffix}", timeline="container")

    assert [fault.kind for fault in recording.timeline.faults] == [JUMP]
    assert (len(both), recording.broken_off) == (2 * len(one), "")
    assert by_second(both)[:2] == by_second(both[len(one) :])[:2] == [200, 400]


@pytest.mark.parametrize(("rate", "num_channels"), [(16000, 1), (16000, 2), (22050, 1), (48000, 2)])
def test_flac_files_put_one_behind_the_other_are_read_one_by_one(rate: int, num_channels: int, tmp_path: Path) -> None:
    first = write_sound(tmp_path / "first.flac", "flac", tones(2.3))
    second = write_sound(tmp_path / "second.flac", "flac", tones(2.3, rate, num_channels), rate)
    (tmp_path / "a.flac").write_bytes(first.read_bytes() + second.read_bytes() + first.read_bytes())
    _, one = decoded(first)

    for timeline in ("samples", "container"):
        recording, samples = decoded(tmp_path / "a.flac", timeline=timeline)
        assert (recording.timeline.faults, recording.broken_off, recording.wrong_header) == ([], "", "")
        assert len(samples) == pytest.approx(3 * len(one), abs=1)
        assert np.array_equal(samples[: len(one)], one) and np.array_equal(samples[-len(one) :], one)
        assert by_second(samples[len(one) :])[:2] == [200, 400]
    cut = first.read_bytes() + second.read_bytes()[:-4000]
    (tmp_path / "a.flac").write_bytes(cut)
    assert decoded(tmp_path / "a.flac")[0].broken_off


def test_a_transport_stream_whose_clock_runs_over(tmp_path: Path) -> None:
    offset = f"{2**33 / 90000 - 2.5:.3f}"
    path = write_sound(tmp_path / "a.ts", "mp2", tones(), output_ts_offset=offset)
    recording, samples = decoded(path, timeline="container")
    assert recording.timeline.faults == [] and by_second(samples) == [200, 400, 600, 800, 1000]


@pytest.mark.parametrize(("codec", "suffix"), [("flac", "mkv"), ("mp2", "ts")])
def test_a_clock_that_jumps_by_a_day_adds_no_silence(codec: str, suffix: str, tmp_path: Path) -> None:
    whole = write_sound(tmp_path / f"whole.{suffix}", codec, tones())
    path = remuxed(whole, tmp_path / f"a.{suffix}", lambda time: time if time < 3 else time + 20 * 3600)
    recording, samples = decoded(path, timeline="container")
    (fault,) = recording.timeline.faults
    assert (fault.kind, fault.length_sec) == (JUMP, pytest.approx(20 * 3600, abs=0.01))
    assert recording.broken_off == ""
    assert np.array_equal(samples, decoded(whole)[1])


# What is damaged in the middle --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "suffix"), [("aac", "ts"), ("mp2", "ts"), ("aac", "mkv"), ("flac", "flac"), ("flac", "ogg")]
)
def test_bytes_that_are_missing_in_the_middle_are_a_gap_and_no_end(codec: str, suffix: str, tmp_path: Path) -> None:
    options = {"cluster_time_limit": "500"} if suffix == "mkv" else {}
    path = write_sound(tmp_path / f"whole.{suffix}", codec, tones(), **options)
    data = path.read_bytes()
    (tmp_path / f"a.{suffix}").write_bytes(data[: len(data) * 2 // 5 + 3] + data[len(data) * 3 // 5 + 1 :])
    _, whole = decoded(path)

    recording, samples = decoded(tmp_path / f"a.{suffix}")
    _, filled = decoded(tmp_path / f"a.{suffix}", timeline="container")

    assert (recording.broken_off, [fault.kind for fault in recording.timeline.faults]) == ("", ["gap"])
    assert len(samples) < 0.9 * len(whole)
    assert len(filled) == pytest.approx(len(whole), abs=TOLERANCE_SEC * RATE)
    assert by_second(filled)[4] == 1000


@pytest.mark.parametrize(
    ("codec", "suffix"), [("aac", "aac"), ("aac", "ts"), ("mp2", "ts"), ("mp2", "mpg"), ("libmp3lame", "mp3")]
)
@pytest.mark.parametrize(("rate", "next_rate"), [(16000, 32000), (48000, 16000)])
def test_a_rate_that_changes_within_a_stream(
    codec: str, suffix: str, rate: int, next_rate: int, tmp_path: Path
) -> None:
    options = {"write_xing": "0", "id3v2_version": "0"} if suffix == "mp3" else {}
    first = write_sound(tmp_path / f"first.{suffix}", codec, tones(2.0, rate), rate, **options)
    second = write_sound(tmp_path / f"second.{suffix}", codec, tones(2.0, next_rate, 2), next_rate, **options)
    (tmp_path / f"a.{suffix}").write_bytes(first.read_bytes() + second.read_bytes())

    recording, samples = decoded(tmp_path / f"a.{suffix}", timeline="container")

    length, next_length = len(decoded(first)[1]), round(len(decoded(second)[1]) * rate / next_rate)
    assert (recording.sample_rate, recording.num_channels, recording.broken_off) == (rate, 1, "")
    assert len(samples) == length + next_length
    assert by_second(samples, rate)[:2] == by_second(samples[length:], rate)[:2] == [200, 400]
