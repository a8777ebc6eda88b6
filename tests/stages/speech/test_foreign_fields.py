"""Datasets of others: what their fields are called, in each container, and what becomes of all others."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_audio.cli import main
from curator_audio.errors import ConfigurationError
from curator_audio.stages.speech import NpzReaderStage, SegmentParquetReaderStage, WebDatasetReaderStage
from curator_audio.stages.speech.foreign_fields import NAMES, kind_of, sources_of, taken
from curator_audio.stages.speech.parquet_columns import SegmentColumns
from curator_audio.stages.speech.segment_tree_reader import MAX_NAMED, SegmentTreeReaderStage
from curator_audio.stages.speech.segments import SEGMENT_FIELDS, segment_record
from curator_audio.tasks import Record
from tests.segments import RATE, tone

Values = dict[str, Any]


def sound(kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone(0.1), RATE, format=kind)
    return file.getvalue()


def parquet(folder: Path, *rows: Values, name: str = "0", **columns: Any) -> SegmentParquetReaderStage:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), folder / f"{name}.parquet")
    return SegmentParquetReaderStage(str(folder), **columns)


def tar(folder: Path, *rows: Values, kind: str = "mp3", **parameters: Any) -> WebDatasetReaderStage:
    """A shard of sound files and what is told of each."""
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / "0.tar", "w") as archive:
        for number, row in enumerate(rows):
            for suffix, data in ((kind, sound(kind.upper())), ("json", json.dumps(row).encode())):
                info = tarfile.TarInfo(f"{number:06d}.{suffix}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return WebDatasetReaderStage(str(folder), **parameters)


def npz(folder: Path, *rows: Values, **parameters: Any) -> NpzReaderStage:
    for number, row in enumerate(rows):
        (folder / "news").mkdir(exist_ok=True, parents=True)
        np.savez(folder / "news" / f"{number}.npz", **{"audio": tone(0.1)} | row)
    return NpzReaderStage(str(folder), **parameters)


def read(reader: SegmentTreeReaderStage) -> list[Record]:
    batches = (batch for partition in reader.partitions() for batch in reader.process(partition))
    return [record for batch in batches for record in batch.records]


def known(record: Record) -> Values:
    """What is known of a segment, its sound apart."""
    return {name: value for name, value in record.items() if value not in (None, []) and name != "audio"}


def counted(reader: SegmentTreeReaderStage) -> dict[str, float]:
    return {name: value for name, value in reader.observed.metrics.items() if name.startswith("not_taken_")}


AUDIO = {"bytes": sound(), "path": "clip.wav"}

LAYOUTS: dict[str, tuple[Values, Values, list[str]]] = {
    "Multilingual LibriSpeech": (
        {
            "audio": AUDIO,
            "original_path": "http://x/a.mp3",
            "begin_time": 10.5,
            "end_time": 13.0,
            "transcript": "so be it",
            "audio_duration": 2.5,
            "speaker_id": "10148",
            "chapter_id": "10119",
            "file": "10148_10119_000000.flac",
            "id": "10148_10119_000000",
        },
        {
            "segment_id": "10148_10119_000000",
            "audio_id": "http://x/a.mp3",
            "text": "so be it",
            "speaker_id": "10148",
            "start": 10.5,
            "end": 13.0,
            "duration_sec": 2.5,
        },
        ["chapter_id", "file"],
    ),
    "Common Voice": (
        {
            "client_id": "f0e1",
            "path": "common_voice_de_1.mp3",
            "audio": AUDIO,
            "sentence": "so sei es",
            "up_votes": 2,
            "age": "twenties",
            "gender": "female",
            "accents": "Berlin",
            "locale": "de",
            "segment": "",
        },
        {
            "segment_id": "0_0",
            "audio_id": "common_voice_de_1.mp3",
            "text": "so sei es",
            "speaker_id": "f0e1",
            "gender": "female",
            "dialect": "Berlin",
            "language": "de",
        },
        ["age", "segment", "up_votes"],
    ),
    "LibriTTS-R": (
        {"audio": AUDIO, "text_normalized": "two", "text_original": "2", "speaker_id": 7, "path": "/x", "id": "7_1"},
        {"segment_id": "7_1", "audio_id": "/x", "text": "two", "speaker_id": "7"},
        ["text_original"],
    ),
    "GigaSpeech": (
        {"segment_id": "P_S1", "speaker": "N/A", "text": "SO BE IT", "audio": AUDIO, "begin_time": 1.0, "url": "http"},
        {"segment_id": "P_S1", "text": "SO BE IT", "start": 1.0},
        ["url", "speaker"],
    ),
    "YODAS": (
        {"id": 0, "utt_id": "yt-00000-1", "audio": AUDIO, "text": "so be it"},
        {"segment_id": "yt-00000-1", "text": "so be it"},
        ["id"],
    ),
    "People's Speech": (
        {"id": "a/b.flac", "audio": AUDIO, "duration_ms": 2500, "text": "so be it"},
        {"segment_id": "a/b.flac", "text": "so be it", "duration_sec": 2.5},
        [],
    ),
    "NeMo": (
        {"audio_filepath": "a.wav", "offset": 1.5, "duration": 2.0, "text": "so", "pred_text": "sew", "lang": "en"},
        {"audio_id": "a.wav", "segment_id": "0_0", "text": "so", "start": 1.5, "duration_sec": 2.0, "language": "en"},
        ["pred_text"],
    ),
    "NeuCodec": (
        {"id": "a", "text": "so be it", "codes": [7, 8], "speaker": "EN_B00000_S00000", "duration": 0.04},
        {
            "segment_id": "a",
            "text": "so be it",
            "codes": [7, 8],
            "speaker_id": "EN_B00000_S00000",
            "duration_sec": 0.04,
        },
        [],
    ),
    "a WebDataset as Parquet": (
        {
            "mp3": AUDIO,
            "json": {"_id": "a", "speaker": "S1", "duration": 2.5, "dnsmos": 3.2, "text": "of the json"},
            "__key__": "a/0",
            "__url__": "x.tar",
        },
        {"segment_id": "a", "speaker_id": "S1", "duration_sec": 2.5, "text": "of the json"},
        ["__key__", "__url__", "dnsmos"],
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_that_are_known_in_parquet(layout: str, tmp_path: Path) -> None:
    row, expected, further = LAYOUTS[layout]
    reader = parquet(tmp_path, row)
    (record,) = read(reader)
    there = row | row.get("json", {})
    assert known(record) == expected | {name: there[name] for name in further}
    assert list(record)[: len(SEGMENT_FIELDS)] == list(SEGMENT_FIELDS), "further fields stand behind"
    assert record["audio"] == (AUDIO if AUDIO in row.values() else None)
    assert set(reader.sampled_fields().types) == {*SEGMENT_FIELDS, *further} - {"speaker"}
    assert counted(reader) == {}


@pytest.mark.parametrize("layout", ["Common Voice", "NeMo", "GigaSpeech"])
def test_the_same_fields_in_tars(layout: str, tmp_path: Path) -> None:
    row, expected, further = LAYOUTS[layout]
    reader = tar(tmp_path, {name: value for name, value in row.items() if name != "audio"})
    (record,) = read(reader)
    told = {name: value for name, value in expected.items() if name != "segment_id" or value == "P_S1"}
    told |= {name: row[name] for name in further}
    assert known(record) == {"segment_id": "000000", "audio_id": expected.get("audio_id", "P_S1")} | told
    assert record["audio"] == {"bytes": sound("MP3"), "path": "000000.mp3"}
    assert set(further) - {"speaker"} <= reader.sampled_fields().known
    assert counted(reader) == {}


def test_emilia(tmp_path: Path) -> None:
    row = {"id": "EN_B1_S2_W3", "wav": "EN_B1/EN_B1_S2_W3.mp3", "text": " so be it.", "duration": 2.5}
    reader = tar(tmp_path, row | {"speaker": "EN_B1_S2", "language": "en", "dnsmos": 3.3709, "phone_count": 9})
    (record,) = read(reader)
    assert known(record) == {
        "segment_id": "EN_B1_S2_W3",
        "audio_id": "EN_B1_S2_W3",
        "text": " so be it.",
        "speaker_id": "EN_B1_S2",
        "language": "en",
        "duration_sec": 2.5,
        "wav": "EN_B1/EN_B1_S2_W3.mp3",
        "dnsmos": 3.3709,
        "phone_count": 9,
    }
    assert record["audio"]["bytes"] == sound("MP3"), "the path in 'wav' is no sound"
    types = reader.sampled_fields().types
    assert [types[name] for name in ("wav", "dnsmos", "phone_count")] == ["string", "float", "int"]


def test_npz_of_others(tmp_path: Path) -> None:
    row = {"transcript": "so be it", "speaker": "anna", "lang": "en", "sr": 8000, "snr": 20.5, "id": "x"}
    reader = npz(tmp_path, row)
    (record,) = read(reader)
    assert known(record) == {
        "segment_id": "news/0",
        "audio_id": "0",
        "text": "so be it",
        "speaker_id": "anna",
        "language": "en",
        "channel": "news",
        "duration_sec": 0.2,
        "sample_rate": 8000,
        "snr": 20.5,
        "id": "x",
    }, "1600 samples, at the rate that the file tells"
    assert soundfile.info(io.BytesIO(record["audio"]["bytes"])).samplerate == 8000
    assert counted(reader) == {}


def test_the_sound_of_npz_may_have_another_name(tmp_path: Path) -> None:
    folder = tmp_path / "news"
    folder.mkdir()
    np.savez(folder / "0.npz", samples=tone(0.1), vq=[7, 8])
    reader = NpzReaderStage(str(tmp_path))
    assert read(reader) == []
    (aside,) = reader.observed.quarantined
    assert "no 'audio', only samples, vq; 'fields={audio: NAME}' says which one is the sound" in aside.message
    (record,) = read(NpzReaderStage(str(tmp_path), fields={"audio": "samples", "codes": "vq"}))
    assert (record["duration_sec"], record["codes"]) == (0.1, [7, 8])


# The rules ----------------------------------------------------------------------------------------------------


def test_every_field_has_its_own_name_first() -> None:
    assert [names[0] for names in NAMES.values()] == [name for name in SEGMENT_FIELDS if name in NAMES]
    assert set(NAMES) == set(SEGMENT_FIELDS)


@settings(max_examples=50)
@given(st.sets(st.sampled_from([name for names in NAMES.values() for name in names])), st.randoms())
def test_the_first_name_that_is_there_is_taken_whatever_the_order(there: set[str], random: Any) -> None:
    names = sorted(there)
    random.shuffle(names)
    kinds = dict.fromkeys(names, "number") | {"audio": "sound", "codes": "list"}
    sources = sources_of(kinds, {})
    for name, all_names in NAMES.items():
        usable = [other for other in all_names if other in kinds and (name != "audio" or kinds[other] == "sound")]
        assert sources.of.get(name) == next(iter(usable), None)
    assert {*sources.further, *sources.not_taken} == kinds.keys() - set(sources.of.values())
    assert not set(sources.further) & set(SEGMENT_FIELDS), "what is called like a field and is none has no place"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"text": "a", "transcript": "b"}, {"text": "a", "transcript": "b"}),
        ({"text": None, "transcript": "b"}, {"text": "b"}),
        ({"transcript": None, "snr": None}, {"text": None, "snr": None}),
        ({"transcript": ["a", "list"], "sentence": "b"}, {"text": "b", "transcript": ["a", "list"]}),
        ({"start_ms": 1500, "end_ms": 2500.0}, {"start": 1.5, "end": 2.5}),
        ({"start": 0.5, "start_ms": 1500}, {"start": 0.5, "start_ms": 1500}),
        ({"start_ms": "1500", "duration": "2.5"}, {"duration_sec": "2.5", "start_ms": "1500"}),
        ({"segment_id": ["a"], "id": "b", "speaker_id": {}, "text": ["odd"]}, {"segment_id": "b", "text": ["odd"]}),
        ({"speaker": "SPEAKER_01"}, {"speaker_id": None}),
        ({"spk": "spk3"}, {"speaker_id": None}),
        ({"speaker": "N/A"}, {"speaker_id": None}),
        ({"speaker_id": "SPEAKER_01"}, {"speaker_id": "SPEAKER_01"}),
        ({"speaker_id": "None"}, {"speaker_id": None}),
        ({"speaker": "p225"}, {"speaker_id": "p225"}),
        ({"audio": "a.wav"}, {}),
        ({"audio": {"bytes": b"fLaC"}}, {"audio": {"bytes": b"fLaC"}}),
    ],
)
def test_what_is_taken(values: Values, expected: Values) -> None:
    assert taken(values, sources_of({name: kind_of(value) for name, value in values.items()}, {})) == expected


def test_what_the_user_says_goes_first(tmp_path: Path) -> None:
    fields = {"text": "words", "speaker_id": "speaker", "dialect": "id"}
    row = {"text": "wrong", "words": "right", "speaker": "SPEAKER_00", "id": "Berlin"}
    for reader in (parquet(tmp_path / "p", row, fields=fields), tar(tmp_path / "t", row, fields=fields)):
        (record,) = read(reader)
        assert [record[name] for name in fields] == ["right", "SPEAKER_00", "Berlin"]
        assert record["segment_id"] in ("0_0", "000000"), "what is the dialect is not the id, too"
        assert counted(reader) == {"not_taken_text": 1}


def test_labels_of_a_diarization_are_people_of_their_recording(tmp_path: Path) -> None:
    row = {"speaker": "SPEAKER_00", "text": "a", "channel": "news"}
    of_parquet = parquet(tmp_path / "p", row | {"recording_id": "ep1"}, row, row | {"speaker": "unknown"})
    assert [record["speaker_id"] for record in read(of_parquet)] == ["news/ep1/SPEAKER_00", None, None]
    of_tar = tar(tmp_path / "t", row | {"id": "ep1_seg_0"}, row | {"id": "ep1"})
    assert [record["speaker_id"] for record in read(of_tar)] == ["news/ep1/SPEAKER_00", None]
    of_npz = npz(tmp_path / "n", row | {"audio_id": "ep1"}, row)
    assert [record["speaker_id"] for record in read(of_npz)] == ["news/ep1/SPEAKER_00", None]
    found = [reader.observed.metrics["speaker_labels_not_taken"] for reader in (of_parquet, of_tar, of_npz)]
    assert found == [2, 1, 1]


def test_numbers_and_labels_become_what_the_fields_are(tmp_path: Path) -> None:
    """A whole number stays one where pandas has made a fraction of it; a class of ``datasets`` has a name."""
    features = {"gender": {"names": ["male", "female"], "_type": "ClassLabel"}}
    table = pa.table(
        {
            "text": [1984, None],
            "speaker_id": [7.0, None],
            "gender": pa.array([1, -1]),
            "duration": ["2.5", "long"],
            "audio": [sound(), None],
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, tmp_path / "0.parquet")
    first, second = read(SegmentParquetReaderStage(str(tmp_path)))
    names = ("text", "speaker_id", "gender", "duration_sec")
    assert [first[name] for name in names] == ["1984", "7", "female", 2.5]
    assert [second[name] for name in names] == [None, None, None, None]


def test_labels_that_are_no_names_stand_for_nothing() -> None:
    """A long one in the metadata would be in each of the rows, however many these are."""
    features = {
        name: {"names": [label], "_type": "ClassLabel"} for name, label in {"a": "ann", "b": "x" * 10**6}.items()
    }
    rows = pa.table({"a": [0, 0], "b": [0, 0]})
    schema = rows.schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    columns = SegmentColumns(schema, {"speaker_id": "a", "text": "b"})
    assert columns.of(rows).to_pylist() == [{"speaker_id": "ann", "text": 0}] * 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"texts": "a"}, "fields has 'texts', which segments do not have; .* text, speaker_id"),
        ({"text": ""}, "fields has text: ''; say which field is called what"),
        (["text"], r"fields is \['text'\]; say which field is called what"),
    ],
)
def test_fields_that_are_none(fields: Any, message: str) -> None:
    for stage in (SegmentParquetReaderStage, NpzReaderStage, WebDatasetReaderStage):
        with pytest.raises(ConfigurationError, match=message):
            stage("in", fields=fields)


def test_names_of_what_is_not_taken_are_counted_up_to_a_number_and_hold_nothing_odd(tmp_path: Path) -> None:
    rows = [{f"a\nb {number}": np.array([{}], object)} for number in range(MAX_NAMED + 5)]
    reader = npz(tmp_path, *rows)
    assert len(read(reader)) == len(rows)
    in_order = sorted(map(str, range(MAX_NAMED + 5)))  # of the files
    names = {f"not_taken_a_b_{number}": 1 for number in in_order[:MAX_NAMED]}
    assert counted(reader) == names | {"not_taken_others": 5}


def test_segments_of_ours_are_taken_as_they_are(tmp_path: Path) -> None:
    """A field beside ``tone`` that is called as others call it is no tone."""
    beside = {"emotion": "calm", "speaker": "SPEAKER_00", "duration_ms": 7, "file": "a.wav", "id": 3}
    ours = {name: value for name, value in segment_record(segment_id="a", audio_id="b").items() if name != "audio"}
    for reader in (parquet(tmp_path / "p", ours | beside), tar(tmp_path / "t", ours | beside)):
        (record,) = read(reader)
        assert {name: record[name] for name in beside} == beside
        assert [record[name] for name in ("tone", "speaker_id", "duration_sec")] == [None] * 3


# What a user is told ------------------------------------------------------------------------------------------


def run(folder: Path, *overrides: str, name: str = "dataset") -> int:
    arguments = ["--config-name", name, "executor=local", f"input_path={folder}", f"output_dir={folder}.out"]
    return main([*arguments, *overrides])


def test_what_is_not_taken_is_named_in_the_plan_and_before_and_after_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"id": "a", "utterance": "so be it", "narrator": "anna", "channel": ["news"], "audio": sound()}
    parquet(tmp_path / "in", row)
    what = "called like a field of segments that something else is, or that cannot be of this kind"
    named = f"'channel', {what}; 'fields={{FIELD: NAME}}' takes one"

    assert run(tmp_path / "in", "dry_run=true") == 0
    assert f"\nnote: not taken from {tmp_path}/in: {named}\n" in capsys.readouterr().out

    assert run(tmp_path / "in") == 0
    told = capsys.readouterr()
    assert f"WARNING: not taken from {tmp_path}/in: {named}\n" in told.err
    for field, what in (("text", "text"), ("speaker_id", "speaker")):
        line = f"none of the 1 segments has a {what}, and 'narrator', 'utterance' would be there; 'fields={{{field}: "
        assert line in told.err
    assert "not_taken_channel: 1" in told.out

    assert run(tmp_path / "in", "overwrite=true", "fields={text: utterance, speaker_id: narrator}") == 0
    told = capsys.readouterr()
    assert "none of" not in told.err
    (row,) = pq.read_table(f"{tmp_path}/in.out/data", columns=["text", "speaker_id"]).to_pylist()
    assert row == {"text": "so be it", "speaker_id": "anna"}


@pytest.mark.parametrize("container", ["npz", "webdataset"])
def test_the_other_containers_tell_the_same(container: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (npz if container == "npz" else tar)(tmp_path / "in", {"utterance": "so be it", "speaker": "spk0"})
    assert run(tmp_path / "in", f"input={container}") == 0
    told = capsys.readouterr().err
    assert "none of the 1 segments has a text, and 'utterance' would be there; 'fields={text: utterance}'" in told
    assert "1 segments name their speaker as diarization does (SPEAKER_00) or as nobody (N/A)" in told
    assert "'fields={speaker_id: speaker}' takes it as one person" in told


def test_a_column_that_is_nowhere_is_said_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet(tmp_path / "in", {"sentence": "so be it"})
    assert run(tmp_path / "in", "fields={text: sentense}") == 2
    assert "fields has text: sentense, and " in (told := capsys.readouterr().err)
    assert "begins without 'sentense', it has sentence; check the name" in told
    assert not list(tmp_path.glob("in.out/_ledger/configuration.json"))

    tar(tmp_path / "tars", {"sentence": "so be it"})
    assert run(tmp_path / "tars", "input=webdataset", "input.fields={dialect: region}") == 0
    assert "fields has dialect: region, and " in capsys.readouterr().err, "a later segment may have it"


def test_sound_that_lies_elsewhere_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parquet(tmp_path / "in", {"id": "a", "text": "b", "audio": {"bytes": None, "path": "a.wav"}}, {"audio": AUDIO})
    assert run(tmp_path / "in") == 0
    told = capsys.readouterr()
    assert "the sound of 1 segments lies elsewhere: their 'audio' has a path and no bytes" in told.err
    assert "sound_elsewhere: 1" in told.out


def test_nothing_is_said_of_our_own_data_and_of_columns_that_were_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet(tmp_path / "in", {"id": "a", "text": "so be it", "speaker_id": "anna", "snr": 9.5, "audio": sound()})
    assert run(tmp_path / "in", "input.columns=[text,segment_id]") == 0
    assert run(tmp_path / "in.out/data", f"output_dir={tmp_path}/again") == 0
    told = capsys.readouterr()
    assert "WARNING" not in told.err and "not_taken" not in told.out
    assert "segments_without_speaker" in told.out, "of the second run, which asked for it"
