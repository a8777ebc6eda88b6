"""Segments in WebDataset tar shards: what is written, and what is read of others' shards."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from curator_audio.errors import ConfigurationError, CuratorError
from curator_audio.executors.local import LocalExecutor
from curator_audio.ledger import StageMetrics
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.stages.io import tar_member
from curator_audio.stages.speech import (
    SegmentParquetWriterStage,
    WebDatasetReaderStage,
    WebDatasetWriterStage,
)
from curator_audio.stages.speech.segments import id_in
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Part, Record
from tests.segments import RATE, segment, tone


def write(out: str, *batches: list[Record]) -> tuple[list[Part], WebDatasetWriterStage]:
    writer = WebDatasetWriterStage(out)
    return writer.write(Storage(), f"{out}/a.tar", [AudioBatch(records, "somewhere") for records in batches]), writer


def read(path: str) -> tuple[list[Record], WebDatasetReaderStage]:
    reader = WebDatasetReaderStage(path)
    batches = (batch for partition in reader.partitions() for batch in reader.process(partition))
    return [record for batch in batches for record in batch.records], reader


def tar(*members: tuple[str, bytes], file_format: int = tarfile.PAX_FORMAT) -> bytes:
    """A shard that another tool has written."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=file_format) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def read_tar(tmp_path: Path, data: bytes) -> tuple[list[Record], list[tuple[str, str]]]:
    """The records of a shard, and where and why something was set aside."""
    (tmp_path / "in").mkdir(exist_ok=True)
    (tmp_path / "in" / "a.tar").write_bytes(data)
    records, reader = read(f"{tmp_path}/in")
    return records, [(q.source_path.removeprefix(f"{tmp_path}/in/"), q.reason) for q in reader.observed.quarantined]


def sound(kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone(), RATE, format=kind)
    return file.getvalue()


# What is written ---------------------------------------------------------------------------------------------


def test_any_tool_reads_it(tmp_path: Path) -> None:
    record = segment("show_seg_0", codes=[1, 65535], text="naïve")
    (part,), _ = write(str(tmp_path), [record, segment("b_seg_0", channel=None, audio=None)])
    path = tmp_path / "a.tar"
    assert (part.path, part.num_bytes, part.num_records) == (str(path), path.stat().st_size, 2)
    with tarfile.open(path) as archive:
        members = {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]
    assert list(members) == ["news/show_seg_0.flac", "news/show_seg_0.json", "b_seg_0.json"]
    assert members["news/show_seg_0.flac"] == record["audio"]["bytes"]
    assert json.loads(members["news/show_seg_0.json"]) == {k: v for k, v in record.items() if k != "audio"}
    assert path.read_bytes().endswith(bytes(1024)) and path.stat().st_size % 512 == 0


texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]))
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=130)
segments = st.builds(
    segment,
    names.filter(lambda name: name not in (".", "..") and len(name.encode()) < 240),
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    tone=texts,
    channel=st.sampled_from([None, "news", "www.example.com", "ä" * 60]),
    codes=st.lists(st.integers(0, 65535), max_size=3),
    duration_sec=st.just(0.02),
)


@given(st.lists(segments, max_size=5, unique_by=lambda record: record["segment_id"].replace(".", "_")))
def test_segments_survive_being_written(records: list[Record]) -> None:
    Storage().write("memory://tars/a.tar", tar())
    write("memory://tars", records)
    if not records:
        assert not Storage().exists("memory://tars/a.tar")
        return
    found, reader = read("memory://tars")
    for record, again in zip(records, found):
        again["audio"]["path"] = record["audio"]["path"]  # dots in the name are underscores there
    assert found == records and reader.observed.quarantined == []


def test_the_same_segments_are_the_same_bytes_whatever_the_batches(tmp_path: Path) -> None:
    records = [segment(f"a_seg_{k}") for k in range(5)]
    write(f"{tmp_path}/x", records)
    write(f"{tmp_path}/y", records[:2], [], records[2:])
    assert (tmp_path / "x" / "a.tar").read_bytes() == (tmp_path / "y" / "a.tar").read_bytes()


def test_names_with_dots_stay_keys(tmp_path: Path) -> None:
    """To WebDataset a key ends at the first dot of a name."""
    records = [segment("v1.2_seg_0"), segment(".hidden_seg_0"), segment("www.x/v1.3_seg_0", channel="www.x")]
    _, writer = write(str(tmp_path), [*records, segment("v1_2_seg_0", text="another")])
    keys = ["news/v1_2_seg_0", "news/_hidden_seg_0", "www.x/v1_3_seg_0"]
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert archive.getnames() == [f"{key}.{kind}" for key in keys for kind in ("flac", "json")]
    found, _ = read(str(tmp_path))
    assert [record["segment_id"] for record in found] == [record["segment_id"] for record in records]
    (aside,) = writer.observed.quarantined
    assert (aside.reason, aside.record) == ("duplicate_segment", segment("v1_2_seg_0", text="another"))


def test_what_cannot_be_written_is_set_aside_by_itself(tmp_path: Path) -> None:
    bad = {
        "path_leaves_root": segment("b_seg_0", channel="../.."),
        "missing_audio": segment("c_seg_0", audio={"bytes": None, "path": "c.wav"}),
        "missing_field": segment("", text="nobody"),
        "not_serializable": segment("e_seg_0", codes=[object()]),
    }
    (part,), writer = write(str(tmp_path), [segment("a_seg_0"), *bad.values()], [segment("f_seg_0")])
    found, _ = read(str(tmp_path))
    assert [record["segment_id"] for record in found] == ["a_seg_0", "f_seg_0"] and part.num_records == 2
    assert {q.reason: q.record for q in writer.observed.quarantined} == bad
    assert write(f"{tmp_path}/none", list(bad.values()))[0] == []


@pytest.mark.parametrize(
    ("path", "data", "suffix"),
    [
        ("x.wav", b"RIFF", "wav"),
        ("x.FLAC", b"fLaC", "flac"),
        ("x", b"OggS", "ogg"),
        (None, b"RIFF", "wav"),
        ("x/../../../etc/passwd", b"fLaC", "flac"),
        ("x./../evil", b"ID3", "mp3"),
        (None, b"\xff\xfb", "mp3"),
    ],
)
def test_sound_is_named_after_what_it_is(path: str | None, data: bytes, suffix: str, tmp_path: Path) -> None:
    write(str(tmp_path), [segment("a_seg_0", audio={"bytes": data, "path": path})])
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert archive.getnames() == [f"news/a_seg_0.{suffix}", "news/a_seg_0.json"]


def test_a_folder_is_wanted() -> None:
    with pytest.raises(ConfigurationError, match="give a folder, tars are written as shards"):
        WebDatasetWriterStage("out.tar")


# What others have written ------------------------------------------------------------------------------------


def test_sound_text_and_fields(tmp_path: Path) -> None:
    described = {"speaker_id": 7, "duration_sec": 0.1, "score": 0.5, "audio": "elsewhere.wav", "codes": None}
    records, aside = read_tar(
        tmp_path,
        tar(
            ("talks/a_seg_3.json", json.dumps(described).encode()),
            ("talks/a_seg_3.WAV", sound()),
            ("talks/a_seg_3.txt", "naïve \n".encode()),
            ("b.mp3", sound("MP3")),
            ("c.txt", b"no sound"),
            ("d.json", b'{"text": "in json", "segment_id": "other", "channel": "news", "codes": [5]}'),
        ),
    )
    assert aside == []
    first = records[0]
    assert first["audio"] == {"bytes": sound(), "path": "a_seg_3.wav"}
    known = ("segment_id", "audio_id", "channel", "text", "speaker_id", "duration_sec", "codes", "gender")
    assert [first[name] for name in known] == ["talks/a_seg_3", "a", "talks", "naïve", "7", 0.1, [], None]
    assert first["score"] == 0.5
    assert [(r["segment_id"], r["channel"], r["text"], r["codes"], r["audio"] is None) for r in records[1:]] == [
        ("b", None, None, [], False),
        ("c", None, "no sound", [], True),
        ("other", "news", "in json", [5], True),
    ]


@pytest.mark.parametrize("file_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_in_every_format(file_format: int, tmp_path: Path) -> None:
    folder, name = "f" * 80, "n" * 90
    records, aside = read_tar(tmp_path, tar((f"{folder}/{name}.txt", b"text"), file_format=file_format))
    assert ([(r["channel"], r["segment_id"]) for r in records], aside) == ([(folder, f"{folder}/{name}")], [])


@pytest.mark.parametrize(
    ("name", "channel", "segment_id"),
    [
        ("./a.txt", None, "a"),
        ("../../a.txt", None, "a"),
        ("../../etc/a.txt", "etc", "a"),
        ("/etc/a.txt", "etc", "a"),
        ("x/./a.txt", None, "a"),
        ("deep/down/news/a.txt", "news", "a"),
    ],
)
def test_paths_in_a_shard_are_names_and_nothing_more(
    name: str, channel: str | None, segment_id: str, tmp_path: Path
) -> None:
    (record,), _ = read_tar(tmp_path, tar((name, b"text")))
    assert (record["channel"], record["segment_id"]) == (channel, id_in(channel, segment_id))
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "a.tar"]


def test_segment_ids_in_a_shard_are_names_and_nothing_more(tmp_path: Path) -> None:
    """They reach a writer, which refuses them."""
    described = {"text": "a", "segment_id": "../../evil", "channel": "..\0"}
    records, _ = read_tar(tmp_path, tar(("a.json", json.dumps(described).encode())))
    _, writer = write(f"{tmp_path}/out", records)
    assert [q.reason for q in writer.observed.quarantined] == ["path_leaves_root"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (("b.json", b"{not json"), "invalid_json"),
        (("b.json", b"[1, 2]"), "not_an_object"),
        (("b.json", b"\xff{}"), "invalid_utf8"),
        (("b.md", b"# read me"), "missing_field"),
        (("b.json", b"{}"), "missing_field"),
    ],
)
def test_a_key_that_is_no_segment_is_set_aside(bad: tuple[str, bytes], reason: str, tmp_path: Path) -> None:
    records, aside = read_tar(tmp_path, tar(("a.txt", b"a"), bad, ("c.txt", b"c")))
    assert [record["segment_id"] for record in records] == ["a", "c"]
    assert aside == [("a.tar/b", reason)]


def test_the_first_bad_key_stops_a_run_that_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.tar").write_bytes(tar(("a.txt", b"a"), ("b.json", b"{not json")))
    stages = [WebDatasetReaderStage(f"{tmp_path}/in"), WebDatasetWriterStage(f"{tmp_path}/out")]
    with pytest.raises(CuratorError, match=r"in/a\.tar/b: \[webdataset_reader\] invalid_json: .*; mend it, or run"):
        Pipeline("copy", stages).run(LocalExecutor(), on_error="raise")


def test_values_of_odd_types_do_no_harm_to_others(tmp_path: Path) -> None:
    odd = {"duration_sec": "long", "codes": "none", "text": ["a"], "channel": 5, "start": {}}
    records, aside = read_tar(tmp_path, tar(("a.json", json.dumps(odd).encode()), ("b.txt", b"b")))
    assert [record["segment_id"] for record in records] == ["5/a", "b"] and aside == []


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("text", ["a"]),
        ("text", True),
        ("language", ["de"]),
        ("start", "soon"),
        ("end", {}),
        ("duration_sec", float("nan")),
        ("sample_rate", "16k"),
        ("sample_rate", 0.5),
    ],
)
def test_an_optional_field_that_is_wrong_is_absent_there(name: str, wrong: object, tmp_path: Path) -> None:
    described = {"gender": "female", "codes": [1, 2], name: wrong}
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.tar").write_bytes(tar(("a.json", json.dumps(described).encode()), ("a.wav", sound())))
    stages = [WebDatasetReaderStage(f"{tmp_path}/in"), SegmentParquetWriterStage(f"{tmp_path}/out/data")]
    result = Pipeline("copy", stages).run(LocalExecutor(), output_dir=f"{tmp_path}/out")
    (row,) = [row for path in (tmp_path / "out").rglob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert (row[name], row["gender"], row["codes"], result.quarantined) == (None, "female", [1, 2], {})
    assert result.metrics["webdataset_reader"].custom["optional_fields_ignored"] == 1


def test_texts_in_files_of_other_names(tmp_path: Path) -> None:
    """LibriTTS has two; any other can be named."""
    members = [("a.wav", sound()), ("a.normalized.txt", b"so be it\n"), ("a.original.txt", b"So be it!")]
    records, _ = read_tar(tmp_path, tar(*members, ("a.who", b"ann"), ("a.npy", b"\x93NUMPY\0")))
    assert [(record["text"], record["speaker_id"]) for record in records] == [("so be it", None)]
    reader = WebDatasetReaderStage(f"{tmp_path}/in", fields={"text": ".original.txt", "speaker_id": ".who"})
    assert reader.sampled_fields().types.items() >= {".normalized.txt": "string", ".npy": "binary"}.items()
    (batch,) = [batch for part in reader.partitions() for batch in reader.process(part)]
    (record,) = batch.records
    assert (record["text"], record["speaker_id"]) == ("So be it!", "ann")
    assert (record[".normalized.txt"], record[".npy"]) == ("so be it", b"\x93NUMPY\0")

    write(f"{tmp_path}/again", [record])
    (again,), _ = read(f"{tmp_path}/again")
    assert again == record | {"audio": again["audio"]}, "bytes are a file again"


def test_a_file_that_is_no_text_and_said_to_be_one_is_absent(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar(("a.wav", sound()), ("a.npy", b"\x93NUMPY\0")))
    reader = WebDatasetReaderStage(str(tmp_path), fields={"text": ".npy"})
    (batch,) = [batch for part in reader.partitions() for batch in reader.process(part)]
    assert batch.records[0]["text"] is None


def test_keys_whose_files_are_apart_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar(("a.wav", sound()), ("b.wav", sound()), ("a.txt", b"a"), ("b.txt", b"b")))
    reader = WebDatasetReaderStage(str(tmp_path))
    (batch,) = [batch for part in reader.partitions() for batch in reader.process(part)]
    assert [record["text"] for record in batch.records] == [None, None, "a", "b"]
    metrics = StageMetrics(custom=reader.observed.metrics, items_out=4)
    assert metrics.custom["keys_not_together"] == 2
    assert reader.remarks_after(metrics)[-1].startswith("2 times files of one key do not follow one another")


MEMBERS = [(f"{key}.{kind}", key.encode() * 600) for key in "abc" for kind in ("txt", "wav")]
"""Each takes a block of header and two of content."""


@pytest.mark.parametrize("num_blocks", range(19))
def test_a_shard_that_breaks_off(num_blocks: int, tmp_path: Path) -> None:
    """Wherever that is, also between two files, where tarfile itself sees an end."""
    data = tar(*MEMBERS)[: 512 * num_blocks + (100 if num_blocks % 3 else 0)]
    records, aside = read_tar(tmp_path, data)
    # What belongs to a key is known when the next one comes.
    assert [record["segment_id"] for record in records] == ["a"] * (num_blocks >= 7) + ["b"] * (num_blocks >= 13)
    assert all(len(record["audio"]["bytes"]) == len(record["text"]) == 600 for record in records)
    assert aside == [("a.tar", "not_tar")]


@pytest.mark.parametrize("data", [b"", b"text", b"PK\x03\x04" + bytes(2000), bytes(511)])
def test_what_is_no_tar(data: bytes, tmp_path: Path) -> None:
    assert read_tar(tmp_path, data) == ([], [("a.tar", "not_tar")])


def test_a_shard_of_nothing(tmp_path: Path) -> None:
    assert read_tar(tmp_path, tar()) == ([], [])


def test_a_header_that_is_damaged(tmp_path: Path) -> None:
    data = bytearray(tar(*MEMBERS))
    data[6 * 512 + 148] ^= 1  # a digit of the checksum
    records, aside = read_tar(tmp_path, bytes(data))
    assert records == []  # there might have been more of the first key
    data = bytearray(tar(*MEMBERS))
    data[9 * 512 + 148] ^= 1
    records, _ = read_tar(tmp_path, bytes(data))
    assert [record["segment_id"] for record in records] == ["a"]
    assert aside == [("a.tar", "not_tar")]


def test_a_file_too_large_for_a_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It and what else is of its key is set aside, and the others are read."""
    monkeypatch.setattr(tar_member, "MAX_RECORD_BYTES", 1000)
    monkeypatch.setattr(tar_member, "MAX_JSON_BYTES", 500)
    many = [(f"d.{number}", bytes(300)) for number in range(5)]
    members = [("a.txt", b"a"), ("b.txt", b"b"), ("b.wav", bytes(1001)), ("b.x", b""), ("c.txt", b"c"), *many]
    records, aside = read_tar(tmp_path, tar(*members, ("e.txt", bytes(501)), ("f.txt", b"f"), ("g.json", bytes(501))))
    assert [record["segment_id"] for record in records] == ["a", "c", "f"]
    assert aside == [(f"a.tar/{key}", "too_large") for key in "bdeg"]


def test_links_and_folders_are_passed_over(tmp_path: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, kind in (("news", tarfile.DIRTYPE), ("news/a.txt", tarfile.SYMTYPE), ("news/b.txt", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    assert read_tar(tmp_path, file.getvalue()) == ([], [])


# In a pipeline -----------------------------------------------------------------------------------------------


def test_shards_on_a_store_through_a_pipeline(s3_bucket: str) -> None:
    noise = np.random.default_rng(0)
    for name in "ab":
        records = [segment(f"{name}_seg_{k}", audio={"bytes": noise.bytes(10**5), "path": "x.flac"}) for k in range(20)]
        writer = WebDatasetWriterStage(f"{s3_bucket}/in")
        writer.write(Storage(), f"{s3_bucket}/in/{name}.tar", [AudioBatch(records)])
    stages = [WebDatasetReaderStage(f"{s3_bucket}/in"), WebDatasetWriterStage(f"{s3_bucket}/out")]

    result = Pipeline("copy", stages).run(LocalExecutor())

    assert result.num_output_records == 40 and result.quarantined == {}
    before, after = (Storage().list_files(f"{s3_bucket}/{folder}", max_depth=1) for folder in ("in", "out"))
    shards = [file.path for file in after if file.path.endswith(".tar")]
    assert [Storage().read(path) for path in shards] == [Storage().read(file.path) for file in before]


@pytest.mark.parametrize("suffix", ["flac", "mp3"])
def test_the_files_of_a_record_with_a_long_name_share_what_is_left_of_it(suffix: str, tmp_path: Path) -> None:
    ids = [f"{'あ' * 80}{end}_seg_3" for end in ("", "!", "!!", "!" * 30)]
    records = [segment(name, audio={"bytes": sound(), "path": f"a.{suffix}"}) for name in ids]

    write(f"{tmp_path}/out", records)

    with tarfile.open(tmp_path / "out" / "a.tar") as archive:
        names = [Path(name).name for name in archive.getnames()]
    assert [Path(name).stem for name in names[::2]] == [Path(name).stem for name in names[1::2]]
    assert len(set(names)) == 8 and all(len(name.encode()) <= 255 for name in names)
    assert [record["segment_id"] for record in read(f"{tmp_path}/out")[0]] == ids
