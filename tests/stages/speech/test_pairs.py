"""Pairs for voice cloning: drawn by speaker, reproducibly, and only those of speakers that are new or changed."""

from __future__ import annotations

import io
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_audio.errors import ConfigurationError, StorageError
from curator_audio.executors.local import LocalExecutor
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.report.result import RunResult
from curator_audio.stages.speech.pair_reader import NEEDED_COLUMNS, PairReaderStage
from curator_audio.stages.speech.pair_writer import PairParquetWriterStage
from curator_audio.stages.speech.pairs import PAIR_FIELDS, drawn_pairs
from curator_audio.stages.speech.parquet_writer import SegmentParquetWriterStage
from curator_audio.stages.speech.segments import segment_record
from curator_audio.stages.speech.speaker_index import SpeakerIndex, speaker_key, speakers_of
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Record
from tests.extras import needs


def segment(speaker: str | None, number: int, **more: Any) -> Record:
    """Segment ``number`` of a speaker: 2 s, with a text and two codes of its own."""
    values = {
        "segment_id": f"{speaker}_seg_{number}",
        "speaker_id": speaker,
        "text": f"text {number}",
        "codes": [number, 100 + number],
        "duration_sec": 2.0,
        "channel": "news",
    }
    return segment_record(**(values | more))


def write_shard(folder: Path | str, name: str, segments: list[Record], **options: Any) -> str:
    path = f"{folder}/{name}.parquet"
    SegmentParquetWriterStage(str(folder), **options).write(Storage(), path, [AudioBatch(segments)])
    return path


def drawn(reader: PairReaderStage) -> list[Record]:
    batches = [batch for partition in reader.partitions() for batch in reader.process(partition)]
    return [record for batch in batches for record in batch.records]


def ids(pairs: list[Record]) -> list[tuple[str, str]]:
    return [(pair["reference_segment_id"], pair["target_segment_id"]) for pair in pairs]


# The draw -----------------------------------------------------------------------------------------------------


@given(
    num_segments=st.integers(0, 12),
    are_references=st.lists(st.booleans(), min_size=12, max_size=12),
    max_pairs=st.integers(1, 140),
    speaker=st.text(max_size=5),
    seed=st.integers(0, 2**40),
)
def test_pairs_are_distinct_bounded_and_never_of_one_segment(
    num_segments: int, are_references: list[bool], max_pairs: int, speaker: str, seed: int
) -> None:
    references = [number for number in range(num_segments) if are_references[number]]
    pairs = drawn_pairs(speaker, num_segments, references, max_pairs, seed)
    possible = {(one, other) for one in references for other in range(num_segments) if one != other}
    assert len(pairs) == len(set(pairs)) == min(max_pairs, len(possible))
    assert set(pairs) <= possible
    assert pairs == sorted(pairs)
    assert pairs == drawn_pairs(speaker, num_segments, references, max_pairs, seed)


def test_every_pair_is_drawn_as_often_as_any_other() -> None:
    counts = Counter(pair for seed in range(3000) for pair in drawn_pairs("a", 3, [0, 1, 2], 2, seed))
    assert len(counts) == 6
    assert all(abs(count - 1000) < 100 for count in counts.values()), "standard deviation 26"


def test_the_draw_does_not_change_from_release_to_release() -> None:
    assert drawn_pairs("show_12/spk00", 1000, range(1000), 4, seed=0) == [
        (557, 905),
        (598, 331),
        (853, 812),
        (943, 294),
    ]
    assert drawn_pairs("show_12/spk00", 1000, range(1000), 4, seed=1) != drawn_pairs(
        "show_12/spk00", 1000, range(1000), 4, seed=0
    )


# The reader ---------------------------------------------------------------------------------------------------


def test_a_speaker_is_one_within_a_channel(tmp_path: Path, warned: list[str]) -> None:
    """Two shows may each have a first speaker, and a shard may not tell the channel at all."""
    columns = ["speaker_id", "segment_id", "text", "codes", "duration_sec"]
    of_two = [segment("spk0", number, channel=("news", "talks")[number % 2], text=str(number)) for number in range(6)]
    write_shard(tmp_path, "0", of_two)
    write_shard(tmp_path, "1", [segment("spk0", number) for number in (6, 8)], columns=columns)
    reader = PairReaderStage(str(tmp_path))
    pairs = drawn(reader)
    assert Counter(pair["channel"] for pair in pairs) == {"news": 6, "talks": 6, None: 2}
    for pair in pairs:
        one, other = (int(pair[f"{side}_segment_id"].rpartition("_")[2]) for side in ("reference", "target"))
        assert one % 2 == other % 2 and (one < 6) == (other < 6)
    assert reader.take_observations().metrics == {"speakers": 3}
    assert warned == [
        "1 speaker_id(s) such as 'spk0' are in several channels; pairs stay within a channel. Where they are the same "
        "people, give the channels one name (channel_mapping of dataset)"
    ]


def test_segments_of_one_id_in_two_channels_are_two(tmp_path: Path) -> None:
    write_shard(tmp_path, "0", [segment("a", n, channel=channel) for n in range(2) for channel in ("news", "talks")])
    reader = PairReaderStage(str(tmp_path))
    assert len(drawn(reader)) == 4
    assert "segments_of_the_same_id" not in reader.take_observations().metrics


def test_columns_of_others(tmp_path: Path) -> None:
    columns = {
        "id": [f"S1_{number}" for number in range(3)],
        "speaker": ["S1", "S1", "S1"],
        "sentence": ["so", "be", "it"],
        "codes": [[1], [2], [3]],
        "duration_ms": [2000, 2000, 20_000],
        "narrator": ["anna", "ben", "anna"],
    }
    pq.write_table(pa.table(columns), tmp_path / "0.parquet")
    pairs = drawn(PairReaderStage(str(tmp_path)))
    assert len(pairs) == 4 and {pair["speaker_id"] for pair in pairs} == {"S1"}, "one is too long for a reference"
    assert {(pair["reference_text"], pair["reference_duration_sec"]) for pair in pairs} == {("so", 2.0), ("be", 2.0)}

    (pair,) = drawn(PairReaderStage(str(tmp_path), fields={"speaker_id": "narrator"}))
    assert (pair["speaker_id"], pair["reference_segment_id"], pair["target_segment_id"]) == ("anna", "S1_0", "S1_2")

    with pytest.raises(ConfigurationError, match=r"no column 'words', only id, .*'fields=\{text: NAME\}'"):
        list(PairReaderStage(str(tmp_path), fields={"text": "words"}).partitions())
    with pytest.raises(ConfigurationError, match="fields has 'words', which segments do not have"):
        PairReaderStage(str(tmp_path), fields={"words": "text"})


def test_labels_of_a_diarization_are_people_of_their_recording_unless_they_are_said_to_be_more(tmp_path: Path) -> None:
    columns = {
        "id": [f"{number}" for number in range(8)],
        "recording_id": [None, None, "ep1", "ep2", "ep1", "ep1", "ep1", "ep1"],
        "speaker": ["SPEAKER_00", "SPEAKER_00", "anna", "anna", "SPEAKER_00", "SPEAKER_00", "N/A", "N/A"],
        "text": ["so", "be", "it", "then"] * 2,
        "codes": [[1]] * 8,
        "duration": [2.0] * 8,
    }
    pq.write_table(pa.table(columns), tmp_path / "0.parquet")
    reader = PairReaderStage(str(tmp_path))
    assert Counter(pair["speaker_id"] for pair in drawn(reader)) == {"anna": 2, "ep1/SPEAKER_00": 2}
    assert reader.take_observations().metrics == {"segments_without_speaker": 4, "speakers": 2}
    claimed = drawn(PairReaderStage(str(tmp_path), fields={"speaker_id": "speaker"}))
    assert Counter(pair["speaker_id"] for pair in claimed) == {"anna": 2, "SPEAKER_00": 4 * 3, "N/A": 2}


def test_a_pair_has_text_and_codes_of_both_and_what_the_target_says(tmp_path: Path) -> None:
    first = segment("a/spk0", 1, tone="calm", channel="news")
    second = segment("a/spk0", 2, tone="angry", gender="female", language="ar", duration_sec=20.0)
    write_shard(tmp_path, "0", [first, second])
    (pair,) = drawn(PairReaderStage(str(tmp_path)))  # the second one is too long to be a reference
    assert list(pair) == list(PAIR_FIELDS)
    assert pair == {
        "speaker_id": "a/spk0",
        "gender": "female",
        "dialect": None,
        "tone": "angry",
        "language": "ar",
        "channel": "news",
        "reference_segment_id": "a/spk0_seg_1",
        "reference_text": "text 1",
        "reference_codes": [1, 101],
        "reference_duration_sec": 2.0,
        "target_segment_id": "a/spk0_seg_2",
        "target_text": "text 2",
        "target_codes": [2, 102],
        "target_duration_sec": 20.0,
    }


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    segments = [
        *(segment("a", number) for number in range(3)),
        segment("a", 3, text=None),
        segment("a", 4, text="  "),
        segment("a", 5, codes=[]),
        segment("a", 2, text="the same again"),
        segment("a", 6, segment_id=None),
        segment("b", 0),
        segment("c", 0, codes=[]),
        segment("d", 0, duration_sec=0.4),
        segment("d", 1, duration_sec=None),
        segment("d", 2, duration_sec=float("nan")),
        segment(None, 0),
        segment("", 0),
    ]
    write_shard(tmp_path, "0", segments)
    reader = PairReaderStage(str(tmp_path))
    pairs = drawn(reader)
    assert ids(pairs) == [(f"a_seg_{one}", f"a_seg_{other}") for one in range(3) for other in range(3) if one != other]
    assert reader.take_observations().metrics == {
        "segments_without_text": 2,
        "segments_without_codes": 2,
        "segments_without_id": 1,
        "segments_without_speaker": 2,
        "segments_of_the_same_id": 1,
        "speakers": 4,
        "speakers_without_two_segments": 2,
        "speakers_without_reference": 1,
    }


def test_the_bound_holds_for_every_speaker(tmp_path: Path) -> None:
    numbers = {"a": 2, "b": 3, "c": 20}
    write_shard(tmp_path, "0", [segment(speaker, n) for speaker, count in numbers.items() for n in range(count)])
    pairs = drawn(PairReaderStage(str(tmp_path), max_pairs_per_speaker=5))
    assert Counter(pair["speaker_id"] for pair in pairs) == {"a": 2, "b": 5, "c": 5}
    assert len(set(ids(pairs))) == 12
    assert all(one != other for one, other in ids(pairs))


@settings(max_examples=15, deadline=None)
@given(
    places=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 999)), min_size=24, max_size=24),
    others=st.integers(0, 3),
    segments_per_partition=st.integers(1, 40),
    seed=st.integers(0, 3),
)
def test_neither_other_speakers_nor_where_segments_are_make_a_difference(
    places: list[tuple[int, int]], others: int, segments_per_partition: int, seed: int
) -> None:
    segments = [segment(f"{speaker}", number) for speaker in "ab" for number in range(12)]
    with tempfile.TemporaryDirectory() as plain, tempfile.TemporaryDirectory() as mixed:
        write_shard(plain, "0", segments)
        expected = drawn(PairReaderStage(plain, seed, max_pairs_per_speaker=7))

        more = [segment(f"other {other}", number) for other in range(others) for number in range(5)]
        for shard in range(4):
            there = sorted((order, n) for n, (place, order) in enumerate(places) if place == shard)
            write_shard(mixed, str(shard), [*more[shard::4], *(segments[n] for _, n in there)])
        reader = PairReaderStage(mixed, seed, max_pairs_per_speaker=7, segments_per_partition=segments_per_partition)
        pairs = drawn(reader)
    for speaker in "ab":
        assert [p for p in pairs if p["speaker_id"] == speaker] == [p for p in expected if p["speaker_id"] == speaker]
    assert len(pairs) == 14 + 7 * others


def test_speakers_are_put_together_up_to_a_number_of_segments(tmp_path: Path) -> None:
    write_shard(tmp_path, "0", [segment(speaker, number) for speaker in "dcab" for number in range(4)])
    partitions = list(PairReaderStage(str(tmp_path), segments_per_partition=8).partitions())
    assert [list(partition.inputs) for partition in partitions] == [
        [speaker_key("news", name) for name in pair] for pair in ("dc", "ab")
    ]
    assert len({partition.name for partition in partitions}) == 2


def test_shards_may_be_a_single_one_and_lack_what_is_not_needed(tmp_path: Path) -> None:
    columns = ["speaker_id", "segment_id", "text", "codes", "duration_sec"]
    path = write_shard(tmp_path, "0", [segment("a", 0), segment("a", 1)], columns=columns)
    write_shard(tmp_path, "1", [segment("b", 0), segment("b", 1)])
    assert {pair["speaker_id"] for pair in drawn(PairReaderStage(str(tmp_path)))} == {"a", "b"}
    (pair, _) = drawn(PairReaderStage(path))
    assert pair["channel"] is None


def test_other_types_of_column_are_read_as_what_they_mean(tmp_path: Path) -> None:
    columns = {
        "segment_id": pa.array([1, 2, 3]),
        "speaker_id": pa.array([7, 7, 8]).dictionary_encode(),
        "text": pa.array(["so", "be", "it"], pa.large_string()),
        "codes": pa.array([[1], [2], [3]], pa.large_list(pa.int64())),
        "duration_sec": pa.array([1, 2, 3]),
        "language": pa.nulls(3),
    }
    pq.write_table(pa.table(columns), tmp_path / "0.parquet")
    write_shard(tmp_path, "1", [segment("7", 0, channel=None)])
    pairs = drawn(PairReaderStage(str(tmp_path)))
    assert ids(pairs) == [(a, b) for a in ("1", "2", "7_seg_0") for b in ("1", "2", "7_seg_0") if a != b]
    assert (pairs[0]["speaker_id"], pairs[0]["reference_codes"], pairs[0]["target_text"]) == ("7", [1], "be")


def test_sound_and_other_speakers_row_groups_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = {"bytes": bytes(range(256)) * 4000, "path": None}  # 1 MB
    segments = [segment(f"speaker {n}", number, audio=noise) for n in range(20) for number in range(2)]
    write_shard(tmp_path, "0", segments)
    num_row_groups = pq.read_metadata(tmp_path / "0.parquet").num_row_groups
    assert num_row_groups > 2
    num_bytes = 0
    opened = Storage.open

    @contextmanager
    def counting(self: Storage, path: str, reads_ahead: bool = True) -> Iterator[IO[bytes]]:
        class Counted(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                nonlocal num_bytes
                data = super().read(size)
                num_bytes += len(data)
                return data

        with opened(self, path, reads_ahead) as file:
            yield Counted(file.read())

    monkeypatch.setattr(Storage, "open", counting)
    reader = PairReaderStage(str(tmp_path), segments_per_partition=2)
    first, *_ = reader.partitions()
    num_bytes = 0
    (batch,) = reader.process(first)
    assert batch.num_items == 2
    assert num_bytes < 200_000, f"of a shard of {(tmp_path / '0.parquet').stat().st_size} bytes"


speakers = st.tuples(st.sampled_from(["news", "", None]), st.sampled_from(["a", "b", "c", "", None]))


@given(st.lists(st.lists(speakers, max_size=8), min_size=1, max_size=5))
def test_the_index_finds_every_row(shards: list[list[tuple[str | None, str | None]]]) -> None:
    def speakers_in(rows: list[tuple[str | None, str | None]]) -> Any:
        channels, names = (pa.array([row[side] for row in rows], pa.string()).dictionary_encode() for side in (0, 1))
        return speakers_of(names, channels)

    columns = [[speakers_in(rows[:3]), speakers_in(rows[3:])] for rows in shards]
    index = SpeakerIndex({f"{number}": "mark" for number in range(len(shards))}, columns)
    found = {speaker: index.rows(speaker) for speaker in index.speakers}
    expected: dict[str, dict[str, list[int]]] = {}
    for number, rows in enumerate(shards):
        for row, (channel, name) in enumerate(rows):
            expected.setdefault(speaker_key(channel, name), {}).setdefault(f"{number}", []).append(row)
    assert found == expected
    assert {speaker: index.num_segments(speaker) for speaker in found} == {
        speaker: sum(map(len, places.values())) for speaker, places in expected.items()
    }


# Mistakes -----------------------------------------------------------------------------------------------------


def test_shards_that_cannot_be_paired_are_named(tmp_path: Path) -> None:
    write_shard(tmp_path, "0", [segment("a", 0)], columns=["text", "codes"])
    with pytest.raises(
        ConfigurationError, match=r"/0.parquet has no column 'speaker_id', only text, codes; pairs need"
    ):
        list(PairReaderStage(str(tmp_path)).partitions())
    (tmp_path / "0.parquet").write_bytes(b"Dear reader, this is no Parquet file")
    with pytest.raises(ConfigurationError, match=r"/0.parquet cannot be read as a shard of segments: .*; remove it"):
        list(PairReaderStage(str(tmp_path)).partitions())
    pq.write_table(pa.table({name: ["so be it"] for name in NEEDED_COLUMNS}), tmp_path / "0.parquet")
    with pytest.raises(ConfigurationError, match=r"0.parquet cannot be read as a shard of segments: .*; remove it"):
        list(PairReaderStage(str(tmp_path)).partitions())
    with pytest.raises(ConfigurationError, match="nothing to read below"):
        list(PairReaderStage(f"{tmp_path}/nowhere").partitions())


@pytest.mark.parametrize("now", [["b", "b"], ["a"]])
def test_a_shard_written_again_meanwhile_is_noticed(now: list[str], tmp_path: Path) -> None:
    write_shard(tmp_path, "0", [segment("a", 0), segment("a", 1)])
    reader = PairReaderStage(str(tmp_path))
    (partition,) = reader.partitions()
    write_shard(tmp_path, "0", [segment(speaker, number) for number, speaker in enumerate(now)])
    with pytest.raises(StorageError, match=r"0.parquet was written again while pairs were drawn from it; run again"):
        list(reader.process(partition))


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        ("seed", -1, "seed is -1; give a whole number of at least 0"),
        ("max_pairs_per_speaker", 0, "max_pairs_per_speaker is 0; give a whole number of at least 1"),
        ("min_reference_duration", "1 s", "min_reference_duration is '1 s'; give a number of seconds"),
        ("max_reference_duration", 0.5, "max_reference_duration is 0.5; give a number of seconds, at least min_ref"),
        ("segments_per_partition", 1.5, "segments_per_partition is 1.5; give a whole number of at least 1"),
        ("input_path", "", "input_path is ''; give a folder or prefix"),
    ],
)
def test_parameters_out_of_range(parameter: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        PairReaderStage(**({"input_path": "in"} | {parameter: value}))


# Runs ---------------------------------------------------------------------------------------------------------


def run(folder: Path, out: Path) -> RunResult:
    reader = PairReaderStage(str(folder), max_pairs_per_speaker=4, segments_per_partition=6)
    return Pipeline("pairs", [reader, PairParquetWriterStage(f"{out}/data")]).run(LocalExecutor(), output_dir=str(out))


def shards(out: Path) -> dict[str, tuple[int, set[str]]]:
    """When each shard was written, and whose pairs it holds."""
    return {
        path.name: (path.stat().st_mtime_ns, set(pq.read_table(path)["speaker_id"].to_pylist()))
        for path in (out / "data").iterdir()
    }


def test_new_and_changed_speakers_only(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    write_shard(folder, "5", [segment(speaker, number) for speaker in "mn" for number in range(3)])
    write_shard(folder, "6", [segment("o", number) for number in range(3)])
    first = run(folder, out)
    assert (len(first.entries), first.num_output_records) == (2, 12)
    before = shards(out)

    write_shard(folder, "4", [segment("a", number) for number in range(3)])  # comes first of all
    second = run(folder, out)
    after = shards(out)
    assert (second.num_done_before, len(second.entries), second.num_output_records) == (2, 3, 16)
    assert before.items() < after.items(), "what was there is as it was"
    assert [whose for name, (_, whose) in after.items() if name not in before] == [{"a"}]

    write_shard(folder, "7", [segment("o", 3, text="one more")])
    third = run(folder, out)
    assert (third.num_done_before, third.num_output_records) == (2, 16)
    changed = [whose for name, (time, whose) in shards(out).items() if (time, whose) != after[name]]
    assert changed == [{"o"}]

    assert run(folder, out).num_done_before == 3


def test_a_run_again_gives_the_same_bytes(tmp_path: Path) -> None:
    write_shard(tmp_path / "in", "0", [segment(speaker, number) for speaker in "abc" for number in range(5)])
    for out in ("one", "other"):
        run(tmp_path / "in", tmp_path / out)
    contents = [
        {path.name: path.read_bytes() for path in (tmp_path / out / "data").iterdir()} for out in ("one", "other")
    ]
    assert contents[0] == contents[1]


def test_pairs_open_in_datasets_and_become_prompts(tmp_path: Path) -> None:
    datasets = needs("datasets")
    write_shard(tmp_path / "in", "0", [segment("a", number) for number in range(2)])
    run(tmp_path / "in", tmp_path / "out")
    files = f"{tmp_path}/out/data/*.parquet"
    pairs = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert pairs.column_names == list(PAIR_FIELDS)
    assert pairs.features["reference_codes"] == datasets.List(datasets.Value("int32"))

    def prompt(pair: dict[str, Any]) -> dict[str, str]:
        spoken = {side: "".join(f"<|speech_{c}|>" for c in pair[f"{side}_codes"]) for side in ("reference", "target")}
        text = f"{pair['reference_text']} {pair['target_text']}"
        return {"prompt": f"{text}<|start|>{spoken['reference']}{spoken['target']}<|end|>"}

    prompts = pairs.map(prompt, remove_columns=pairs.column_names)
    assert prompts["prompt"][:] == [
        "text 0 text 1<|start|><|speech_0|><|speech_100|><|speech_1|><|speech_101|><|end|>",
        "text 1 text 0<|start|><|speech_1|><|speech_101|><|speech_0|><|speech_100|><|end|>",
    ]


# Further fields -----------------------------------------------------------------------------------------------


def test_further_fields_of_both_sides_are_columns(tmp_path: Path) -> None:
    segments = [segment("ann", n, snr=float(n), licence="CC0", extra={"n": n}, take=b"x") for n in range(2)]
    write_shard(tmp_path / "in", "0", segments)
    (tmp_path / "in" / "1.parquet").write_bytes((tmp_path / "in" / "0.parquet").read_bytes())
    stages = [PairReaderStage(f"{tmp_path}/in"), PairParquetWriterStage(f"{tmp_path}/out")]
    Pipeline("pairs", stages).run(LocalExecutor())
    (path,) = (tmp_path / "out").glob("*.parquet")
    table = pq.read_table(path)
    assert table.schema.names[len(PAIR_FIELDS) :] == [
        "reference_snr",
        "reference_licence",
        "target_snr",
        "target_licence",
        "extra",
    ]
    first, second = table.to_pylist()
    assert (first["reference_snr"], first["target_snr"], second["reference_snr"]) == (0.0, 1.0, 1.0)
    assert first["target_licence"] == "CC0"
    assert json.loads(first["extra"]) == {"reference_extra": {"n": 0}, "target_extra": {"n": 1}}


def test_without_further_fields_there_are_no_further_columns(tmp_path: Path) -> None:
    write_shard(tmp_path / "in", "0", [segment("ann", n) for n in range(2)])
    stages = [PairReaderStage(f"{tmp_path}/in"), PairParquetWriterStage(f"{tmp_path}/out")]
    Pipeline("pairs", stages).run(LocalExecutor())
    (path,) = (tmp_path / "out").glob("*.parquet")
    assert pq.read_schema(path).names == list(PAIR_FIELDS)


def test_what_holds_bytes_is_told_and_names_of_members_do_not_matter(tmp_path: Path) -> None:
    room = {"audio_gain": 1.5, "binary": True}
    segments = [segment("ann", n, room=room, json={"n": n}, takes=[b"x"]) for n in range(2)]
    write_shard(tmp_path / "in", "0", segments)
    reader = PairReaderStage(f"{tmp_path}/in")
    assert reader.remarks() == [f"pairs leave out 'takes' of {tmp_path}/in, for bytes stay with the segments"]
    Pipeline("pairs", [reader, PairParquetWriterStage(f"{tmp_path}/out")]).run(LocalExecutor())
    (path,) = (tmp_path / "out").glob("*.parquet")
    first, second = pq.read_table(path).to_pylist()
    assert first["reference_room"] == second["target_room"] == room
    assert (first["reference_json"], first["target_json"]) == ({"n": 0}, {"n": 1})
    assert not [name for name in first if "takes" in name]


def test_a_field_that_has_other_types_in_other_shards(tmp_path: Path) -> None:
    for number, snr in enumerate((1, 2.5, "high")):
        write_shard(tmp_path / "in", str(number), [segment("ann", number, snr=snr)])
    stages = [PairReaderStage(f"{tmp_path}/in", min_reference_duration=0.1), PairParquetWriterStage(f"{tmp_path}/out")]
    result = Pipeline("pairs", stages).run(LocalExecutor())
    assert result.quarantined == {}
    (path,) = (tmp_path / "out").glob("*.parquet")
    found = {
        (row[f"{side}_segment_id"], row.get(f"{side}_snr") or json.loads(row["extra"] or "{}").get(f"{side}_snr"))
        for row in pq.read_table(path).to_pylist()
        for side in ("reference", "target")
    }
    ids = [segment("ann", number)["segment_id"] for number in range(3)]
    assert found == set(zip(ids, (1, 2.5, "high")))
