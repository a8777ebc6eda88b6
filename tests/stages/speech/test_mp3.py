"""Segments as mp3 files with JSON beside them: what is written, and what is read of them and of others'."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from curator_audio.cli import main
from curator_audio.errors import ConfigurationError
from curator_audio.executors.local import LocalExecutor
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.stages.speech import Mp3WriterStage, SoundFileReaderStage
from curator_audio.stages.speech.sound import audio_field, decode_sound, encode_mp3, mp3_rate
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Record
from tests.segments import segment, tone


def write(out: str, *records: Record, **parameters: Any) -> Mp3WriterStage:
    writer = Mp3WriterStage(out, **parameters)
    writer.write(Storage(), "", [AudioBatch(list(records), "elsewhere")])
    return writer


def read(path: str, **parameters: Any) -> tuple[list[Record], SoundFileReaderStage]:
    reader = SoundFileReaderStage(path, **parameters)
    batches = [batch for partition in reader.partitions() for batch in reader.process(partition)]
    return [record for batch in batches for record in batch.records], reader


def sound(kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone(0.1), 16000, format=kind)
    return file.getvalue()


def test_a_segment_is_an_mp3_and_its_fields_beside_it(tmp_path: Path) -> None:
    record = segment("show_seg_0", 1.0, codes=[1, 2]) | {"loudness_db": 1.5, "meta": {"a": [None]}}
    write(str(tmp_path), record)
    told = json.loads((tmp_path / "news/show_seg_0.json").read_text())
    assert told == {name: value for name, value in record.items() if name != "audio"}
    samples, rate = soundfile.read(tmp_path / "news/show_seg_0.mp3", dtype="float32")
    expected, _ = decode_sound(record["audio"]["bytes"])
    assert (rate, len(samples)) == (16000, len(expected)), "no delay, to the sample"
    assert np.corrcoef(samples, expected)[0, 1] > 0.99


@pytest.mark.parametrize(("bitrate", "kbit"), [(32, 32), (64, 64), (128, 128), (320, 160)])
def test_bitrates(bitrate: int, kbit: int, tmp_path: Path) -> None:
    write(str(tmp_path), segment("a", 4.0), bitrate=bitrate)
    assert (tmp_path / "news/a.mp3").stat().st_size * 8 / 4000 == pytest.approx(kbit, rel=0.04)


@pytest.mark.parametrize("bitrate", [0, 7, 321, 64.5, "64", True])
def test_bitrates_that_mp3_does_not_have(bitrate: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"bitrate is .*; give .* kbit/s, from 8 to 320"):
        Mp3WriterStage("out", bitrate=bitrate)


@pytest.mark.parametrize("rate", [8000, 11025, 20000, 24000, 44100, 96000])
def test_rates(rate: int, tmp_path: Path) -> None:
    write(str(tmp_path), segment("a", audio=audio_field(tone(0.5, sample_rate=rate), rate, "a"), sample_rate=rate))
    (record,), _ = read(str(tmp_path))
    samples, found = decode_sound(record["audio"]["bytes"])
    assert found == record["sample_rate"] == mp3_rate(rate)
    assert len(samples) == round(found / 2)


def test_the_same_sound_is_the_same_bytes() -> None:
    assert encode_mp3(tone(), 16000, 64) == encode_mp3(tone(), 16000, 64)


def test_bad_segments_are_set_aside_and_leave_no_file(tmp_path: Path) -> None:
    bad = [segment("a", audio=None), segment("b", mine=b"bytes"), segment("c", audio={"bytes": b"no sound"})]
    writer = write(str(tmp_path), *bad, segment("d"), segment("d", text="another"))
    reasons = [aside.reason for aside in writer.observed.quarantined]
    assert reasons == ["duplicate_segment", "missing_audio", "not_serializable", "unreadable_audio"]
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["d.json", "d.mp3"]


def test_segments_come_back(tmp_path: Path) -> None:
    records = [segment(f"v1.2_seg_{k}", codes=[k]) | {"loudness_db": k / 2, "tags": ["a"]} for k in (10, 9, 0)]
    write(str(tmp_path), *records)
    found, reader = read(str(tmp_path))
    assert found == [record | {"audio": again["audio"]} for record, again in zip(reversed(records), found)]
    assert [again["audio"]["path"] for again in found] == [f"v1.2_seg_{k}.mp3" for k in (0, 9, 10)]
    assert reader.sampled_fields().types.items() >= {"loudness_db": "float", "tags": "list<string>"}.items()
    assert not reader.observed.quarantined


def test_files_of_others(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "news"
    folder.mkdir(parents=True)
    for name, data in {
        "a.wav": sound(),
        "a.txt": b"so be it\n",
        "b.FLAC": sound("FLAC"),
        "c.json": b'{"sentence": "no sound", "client_id": "ann", "up_votes": 2}',
        "d.mp3": sound("MP3"),
        "d.json": b"[1]",
        "e.json": b'{"up_votes": 2}',
        "readme.md": b"nothing to read",
    }.items():
        (folder / name).write_bytes(data)
    records, reader = read(f"{tmp_path}/in")
    assert [(record["segment_id"], record["text"], record["speaker_id"]) for record in records] == [
        ("news/a", "so be it", None),
        ("news/b", None, None),
        ("news/c", "no sound", "ann"),
    ]
    assert records[1]["audio"] == {"bytes": sound("FLAC"), "path": "b.flac"} and records[2]["up_votes"] == 2
    asides = [(Path(aside.source_path).name, aside.reason) for aside in reader.observed.quarantined]
    assert asides == [("d.mp3", "not_an_object"), ("e.json", "missing_field")]


def test_what_comes_after_its_sound_was_read_makes_its_segment_anew(tmp_path: Path) -> None:
    """Files that are new make partitions of their own, but for these: they would be half a segment each."""

    def run(**options: Any) -> tuple[int, dict[str, int]]:
        stages = [SoundFileReaderStage(f"{tmp_path}/in"), Mp3WriterStage(f"{tmp_path}/out")]
        result = Pipeline("copy", stages).run(LocalExecutor(), **options)
        return result.num_output_records, dict(result.quarantined)

    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.wav").write_bytes(sound())
    assert run() == (1, {})
    (tmp_path / "in/a.txt").write_text("so be it")
    (tmp_path / "in/b.wav").write_bytes(sound())
    (tmp_path / "in/b.txt").write_text("and b")
    assert run() == (2, {})
    assert json.loads((tmp_path / "out/a.json").read_text())["text"] == "so be it"
    assert run(overwrite=True) == (2, {})


@pytest.mark.parametrize("limit", [None, 2])
def test_a_folder_that_was_moved_may_have_more_of_a_recording(limit: int | None, tmp_path: Path) -> None:
    def run(name: str, limit: int | None = None) -> list[str]:
        stages = [SoundFileReaderStage(f"{tmp_path}/{name}", limit=limit), Mp3WriterStage(f"{tmp_path}/out")]
        Pipeline("copy", stages).run(LocalExecutor())
        return sorted(path.name for path in (tmp_path / "out").rglob("*.mp3"))

    (tmp_path / "in").mkdir()
    for k in range(3):
        (tmp_path / f"in/a_seg_{k}.wav").write_bytes(sound())
    assert run("in", limit) == [f"a_seg_{k}.mp3" for k in range(limit or 3)]
    (tmp_path / "in").rename(tmp_path / "moved")
    (tmp_path / "moved/a_seg_3.wav").write_bytes(sound())
    assert run("moved") == [f"a_seg_{k}.mp3" for k in range(4)]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_limit_cuts_no_segment_in_two(limit: int, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.json").write_text('{"text": "so be it"}')
        (tmp_path / f"{name}.wav").write_bytes(sound())
    records, _ = read(str(tmp_path), limit=limit)
    assert [(record["text"], record["audio"] is None) for record in records] == [("so be it", False)] * (
        (limit + 1) // 2
    )
    (partition,) = SoundFileReaderStage(str(tmp_path), limit=limit).partitions()
    assert list(partition.inputs) == ["a.json", "a.wav", "b.json", "b.wav"][: 2 * len(records)]
    assert partition.is_cut == (len(records) < 2)
    (alone,), _ = read(f"{tmp_path}/a.wav")
    assert alone["text"] == "so be it"


def test_files_of_a_segment_come_together_whatever_the_names_of_others(tmp_path: Path) -> None:
    for name in ("a.json", "a.m.json", "a.wav"):
        (tmp_path / name).write_bytes(b'{"text": "so be it"}' if name.endswith("json") else sound())
    (partition,) = SoundFileReaderStage(str(tmp_path), limit=1).partitions()
    assert list(partition.inputs) == ["a.json", "a.wav"]


def test_a_json_that_is_too_large_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curator_audio.stages.speech.sound_file_reader.MAX_JSON_BYTES", 100)
    (tmp_path / "a.json").write_bytes(b'{"text": "' + b"x" * 100 + b'"}')
    (tmp_path / "a.wav").write_bytes(sound())
    records, reader = read(str(tmp_path))
    assert records == [] and [aside.reason for aside in reader.observed.quarantined] == ["too_large"]


def test_from_the_command_line_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(f"{tmp_path}/in", segment("show_seg_0") | {"loudness_db": 1.5})
    run = ["--config-name", "dataset", "executor=local", "input=sound_files"]
    assert main([*run, f"input_path={tmp_path}/in", f"output_dir={tmp_path}/out"]) == 0
    (path,) = (tmp_path / "out/data").iterdir()
    (row,) = pq.read_table(path).to_pylist()
    assert (row["segment_id"], row["text"], row["start"]) == ("show_seg_0", "text of show_seg_0", 1.5)
    assert row["audio"]["bytes"] == (tmp_path / "in/news/show_seg_0.mp3").read_bytes()
    assert "segments_without_speaker" not in capsys.readouterr().out
