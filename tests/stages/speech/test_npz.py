from __future__ import annotations

import io
import os
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_audio.errors import RecordError
from curator_audio.stages.speech import npz
from curator_audio.stages.speech.foreign_fields import is_nobody
from curator_audio.stages.speech.npz import npz_of_record, record_of_npz, with_codes
from curator_audio.stages.speech.segments import index_of, recording_of, segment_record
from curator_audio.stages.speech.sound import audio_field, decode_sound
from curator_audio.tasks import Record

RATE = 16000
TONE = (0.5 * np.sin(np.arange(1600) / 10)).astype(np.float32)


def saved(**arrays: Any) -> bytes:
    """What ``np.savez_compressed`` writes, objects pickled."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def read(data: bytes, sample_rate: int = RATE) -> Record:
    return record_of_npz(data, "show_seg_3", "news", sample_rate).record


def samples_of(record: Record) -> npt.NDArray[np.float32]:
    samples, rate = decode_sound(record["audio"]["bytes"])
    assert rate == record["sample_rate"]
    return samples


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


class Bomb:
    """Whoever unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


# Reading -----------------------------------------------------------------------------------------------------


def test_what_existing_files_hold() -> None:
    record = read(
        saved(
            audio=TONE,
            codes=np.array([3, 65535, 0], np.int64),
            text="السلام عليكم — naïve",
            speaker_id="spk_7",
            gender="female",
            dialect="najdi",
            tone="calm",
            duration_sec=99.0,
            audio_id="show",
        )
    )
    assert {name: value for name, value in record.items() if name != "audio"} == {
        "segment_id": "news/show_seg_3",
        "audio_id": "show",
        "text": "السلام عليكم — naïve",
        "speaker_id": "spk_7",
        "gender": "female",
        "dialect": "najdi",
        "tone": "calm",
        "language": None,
        "channel": "news",
        "start": None,
        "end": None,
        "duration_sec": 0.1,
        "sample_rate": RATE,
        "codes": [3, 65535, 0],
    }
    assert record["audio"]["path"] == "show_seg_3.flac"
    assert np.abs(samples_of(record) - TONE).max() <= 2**-15


def test_what_a_file_does_not_tell_is_none() -> None:
    record = read(saved(audio=TONE), sample_rate=8000)
    assert (record["audio_id"], record["duration_sec"], record["sample_rate"]) == ("show", 0.2, 8000)
    assert record["codes"] == []
    assert {record[name] for name in ("text", "speaker_id", "gender", "dialect", "tone", "language")} == {None}


def test_a_saved_none_is_none(tmp_path: Path) -> None:
    bomb = Bomb(tmp_path / "unpickled")
    record = read(saved(audio=TONE, text="so be it", gender=None, dialect=np.array(bomb, object), codes=None))
    assert (record["text"], record["gender"], record["dialect"], record["codes"]) == ("so be it", None, None, [])
    assert not bomb.path.exists()
    pickle.loads(pickle.dumps(bomb))
    assert bomb.path.exists(), "the bomb works"


@pytest.mark.parametrize("how", ["object", "list", "none"])
def test_audio_that_is_pickled_is_refused_unread(how: str, tmp_path: Path) -> None:
    bomb = Bomb(tmp_path / "unpickled")
    audio: Any = {"object": np.array(bomb, object), "list": np.array([bomb, 1], object), "none": None}[how]
    with pytest.raises(RecordError) as raised:
        read(saved(audio=audio))
    assert raised.value.reason == "pickled_audio"
    assert not bomb.path.exists()


@pytest.mark.parametrize(
    ("audio", "expected"),
    [
        (TONE.astype(np.float64), TONE),
        (TONE.astype(np.float16), TONE),
        (TONE.astype(">f4"), TONE),
        (TONE[None], TONE),
        (TONE[:, None], TONE),
        (np.array([0, 16384, -32768, 32767], np.int16), np.array([0, 0.5, -1, 32767 / 32768])),
        (np.array([0, 2**30, -(2**31)], np.int32), np.array([0, 0.5, -1])),
        (np.float32(0.5), np.array([0.5])),
        (np.array([[0.5]]), np.array([0.5])),
        (np.array([0.25, np.nan, np.inf, -np.inf, 1e300]), np.array([0.25, 0, 0, 0, 0])),
        (np.array([2.0, -3.0]), np.array([1.0, -1.0])),
    ],
)
def test_audio_of_many_kinds(audio: Any, expected: npt.NDArray[Any]) -> None:
    record = read(saved(audio=audio))
    samples = samples_of(record)
    assert record["duration_sec"] == len(expected) / RATE
    assert samples.shape == expected.shape
    assert np.abs(samples - expected).max() <= 2**-10 if audio.dtype == np.float16 else 2**-15


def test_samples_that_are_no_numbers_are_counted() -> None:
    segment = record_of_npz(saved(audio=[0.25, np.nan, np.inf, -0.5, 1e20]), "show_seg_3", "news", RATE)
    assert segment.num_bad == 3
    with pytest.raises(RecordError, match="none of the 9 samples of 'audio' is a number that sound has"):
        read(saved(audio=np.full(9, np.nan)))


@pytest.mark.parametrize(
    ("audio", "reason"),
    [
        (np.zeros((2, 100), np.float32), "wrong_type"),
        (np.zeros((100, 2), np.float32), "wrong_type"),
        (np.zeros(100, np.complex64), "wrong_type"),
        (np.zeros(100, np.uint8), "wrong_type"),
        (np.array([0.0, 9830.0, -5.0], np.float32), "out_of_range"),
        (np.array([0, 9830, -5], np.int64), "out_of_range"),
        (np.array([0, -32768], np.int32), "out_of_range"),
        (np.zeros(100, bool), "wrong_type"),
        (np.array("sound"), "wrong_type"),
        (np.zeros(0, np.float32), "empty_audio"),
        (np.zeros((1, 0), np.float32), "empty_audio"),
    ],
)
def test_audio_that_is_none(audio: Any, reason: str) -> None:
    with pytest.raises(RecordError) as raised:
        read(saved(audio=audio))
    assert raised.value.reason == reason


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (np.array([1, 2], np.uint16), [1, 2]),
        (np.array([[[1, 2]]]), [1, 2]),
        (np.array([1.0, 2.0]), [1, 2]),
        (np.array([]), []),
        (np.array(7), [7]),
    ],
)
def test_codes_of_many_kinds(codes: Any, expected: list[int]) -> None:
    assert read(saved(audio=TONE, codes=codes))["codes"] == expected


@pytest.mark.parametrize("codes", [np.ones((2, 3), int), np.array([0.5]), np.array([np.nan]), np.array(["1"])])
def test_codes_that_are_none(codes: Any) -> None:
    with pytest.raises(RecordError, match=r"wrong_type: 'codes' is .* of shape .*; a list of whole numbers is needed"):
        read(saved(audio=TONE, codes=codes))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.array(["only"]), "only"),
        (np.bytes_("ä".encode()), "ä"),
        (np.int64(7), "7"),
        (np.float64("nan"), None),
        (np.array(["two", "of them"]), None),
        ("", ""),
    ],
)
def test_metadata_of_many_kinds(value: Any, expected: str | None) -> None:
    assert read(saved(audio=TONE, speaker_id=value))["speaker_id"] == expected


# Files that are none ------------------------------------------------------------------------------------------


def with_member(name: str, content: bytes, **arrays: Any) -> bytes:
    file = io.BytesIO(saved(**arrays))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def header(shape: str, dtype: str = "<f4") -> bytes:
    """An array file that begins as it should, and has no content."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


WHOLE = saved(audio=TONE, text="so be it", codes=[1, 2])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not_npz: it cannot be read as .npz"),
        (b"RIFF" + bytes(100), "not_npz: it cannot be read as .npz: File is not a zip file"),
        (WHOLE[:-30], "not_npz: it cannot be read as .npz"),
        (WHOLE[: len(WHOLE) // 2], "not_npz"),
        (pickle.dumps([1, 2]), "not_npz"),
        (saved(text="no sound"), "missing_field: the file has no 'audio', only text"),
        (with_member("readme.txt", b"hello"), "missing_field: the file has no 'audio', only nothing"),
        (with_member("audio.npy", b"not an array"), "not_npz: 'audio' cannot be read as .npz"),
        (with_member("audio", b"no array at all"), "missing_field"),
        (with_member("audio.npy", header("(1000000000000000,)")), "not_npz: 'audio' cannot be read"),
        (with_member("audio.npy", header("(-5,)")), "not_npz: 'audio' cannot be read"),
        (
            with_member("audio.npy", header("(5,)", "O8")),
            "pickled_audio: 'audio' holds pickled objects, which are never",
        ),
        (with_member("codes.npy", b"", audio=TONE), "not_npz: 'codes' cannot be read"),
    ],
)
def test_files_that_are_none(data: bytes, message: str) -> None:
    with pytest.raises(RecordError) as raised:
        read(data)
    assert message in str(raised.value)


def test_a_file_that_unpacks_to_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "MAX_UNPACKED_BYTES", 2**20)
    data = saved(audio=np.zeros(2**19, np.float32))
    assert len(data) < 2**16
    for function in (read, lambda data: with_codes(data, [1])):
        with pytest.raises(RecordError, match=r"too_large: its arrays have 2097\d+ bytes unpacked, more than 1048576"):
            function(data)


@given(st.data())
def test_damaged_files_are_read_or_refused(data: st.DataObject) -> None:
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    for function in (read, lambda data: with_codes(data, [1])):
        with suppress(RecordError):
            function(bytes(damaged))


# Writing -----------------------------------------------------------------------------------------------------


def segment(**values: Any) -> Record:
    return segment_record(
        segment_id="news/show_seg_3", audio=audio_field(TONE, RATE, "show_seg_3"), sample_rate=RATE, **values
    )


def test_what_is_written_numpy_reads() -> None:
    record = segment(text="naïve — ١", audio_id="show", speaker_id="show/spk0", codes=[1, 65535])
    with np.load(io.BytesIO(npz_of_record(record)), allow_pickle=False) as arrays:
        assert set(arrays) == {"audio", "codes", "duration_sec", "text", "audio_id", "speaker_id", "metadata"}
        assert arrays["audio"].dtype == np.float32 and np.abs(arrays["audio"] - TONE).max() <= 2**-15
        assert arrays["codes"].dtype == np.int32 and arrays["codes"].tolist() == [1, 65535]
        assert (str(arrays["text"]), str(arrays["speaker_id"])) == ("naïve — ١", "show/spk0")
        assert float(arrays["duration_sec"]) == 0.1


texts = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(texts, texts.filter(lambda name: not is_nobody(name)), st.lists(st.integers(0, 65535), max_size=5))
def test_a_record_survives_being_written(text: str | None, speaker_id: str | None, codes: list[int]) -> None:
    record = segment(text=text, speaker_id=speaker_id, codes=codes, audio_id="show", channel="news", duration_sec=0.1)
    assert read(npz_of_record(record)) == record


def test_the_same_record_is_the_same_bytes() -> None:
    assert npz_of_record(segment(codes=[1])) == npz_of_record(segment(codes=[1]))
    assert with_codes(WHOLE, [7]) == with_codes(with_codes(WHOLE, [5]), [7])


@pytest.mark.parametrize("codes", [["a"], [1.5], [[1, 2]], [2**31], [None], [1, [2]]])
def test_codes_that_cannot_be_written(codes: Any) -> None:
    for function in (lambda: npz_of_record(segment(codes=codes)), lambda: with_codes(WHOLE, codes)):
        with pytest.raises(RecordError, match=r"wrong_type: codes is \[.*; give a list of whole numbers"):
            function()


@pytest.mark.parametrize("audio", [None, {"bytes": None, "path": "a.wav"}, {"bytes": b""}, "a.wav"])
def test_a_record_without_sound_cannot_be_written(audio: Any) -> None:
    with pytest.raises(RecordError, match="missing_audio: the record has no sound"):
        npz_of_record({**segment(), "audio": audio})


# New codes ----------------------------------------------------------------------------------------------------


def test_new_codes_leave_everything_else_as_it_was(tmp_path: Path) -> None:
    bomb = Bomb(tmp_path / "unpickled")
    before = with_member(
        "notes.txt", b"not an array", audio=TONE, text="naïve", gender=None, mine=np.array(bomb, object), codes=[]
    )

    after = with_codes(before, [5, 6])

    old, new = members(before), members(after)
    assert {name: new[name] for name in new if name != "codes.npy"} == {
        name: old[name] for name in old if name != "codes.npy"
    }
    assert np.load(io.BytesIO(new["codes.npy"])).tolist() == [5, 6]
    assert not bomb.path.exists()
    assert read(after)["codes"] == [5, 6] and read(after)["text"] == "naïve"
    assert samples_of(read(after)).tolist() == samples_of(read(before)).tolist()


def test_a_stored_file_stays_stored_and_codes_are_added() -> None:
    file = io.BytesIO()
    np.savez(file, audio=TONE)
    after = with_codes(file.getvalue(), [1])
    with zipfile.ZipFile(io.BytesIO(after)) as archive:
        assert archive.getinfo("audio.npy").compress_type == zipfile.ZIP_STORED
        assert archive.testzip() is None
    assert read(after)["codes"] == [1]


def test_a_file_with_a_member_that_cannot_be_unpacked_is_refused() -> None:
    """Reading, which has no need of that member, would not notice."""
    data = bytearray(with_member("notes.txt", b"x" * 100, audio=TONE))
    data[data.index(b"x" * 100)] = 0
    assert read(bytes(data))["duration_sec"] == 0.1
    with pytest.raises(RecordError, match=r"not_npz: .*Bad CRC-32"):
        with_codes(bytes(data), [1])


# Names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "recording", "index"),
    [
        ("show_seg_12", "show", 12),
        ("a_seg_1_seg_2", "a_seg_1", 2),
        ("show", "show", -1),
        ("show_seg_x", "show_seg_x", -1),
    ],
)
def test_the_recording_and_the_index_are_in_the_name(name: str, recording: str, index: int) -> None:
    assert (recording_of(name), index_of(name)) == (recording, index)
