"""Columns that the first run of a folder settles: the same in all shards, in later runs, and on all executors."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_audio.errors import ConfigurationError
from curator_audio.executors.base import Executor
from curator_audio.executors.local import LocalExecutor
from curator_audio.executors.ray_actors import RayActorsExecutor
from curator_audio.executors.ray_data import RayDataExecutor
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.report.dry_run import dry_run
from curator_audio.report.result import RunResult
from curator_audio.stages.general import CallFunctionStage, DropFieldsStage, RenameFieldsStage, SelectFieldsStage
from curator_audio.stages.io import ManifestReaderStage, ParquetWriterStage
from curator_audio.stages.io.parquet_shards import ParquetShardWriterStage
from curator_audio.stages.record_stage import RecordStage
from curator_audio.stages.speech import SegmentParquetReaderStage, SegmentParquetWriterStage
from curator_audio.stages.speech.segments import SEGMENT_FIELDS
from curator_audio.tasks import Record
from tests.extras import needs


@dataclass
class LoudnessStage(RecordStage):
    """Adds how loud a record is, as somebody's own stage may."""

    name = "loudness"

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        return [], {"loudness_db": "float"}

    def process_record(self, record: Record) -> Record:
        return {**record, "loudness_db": record.get("wrong", -20.5)}


@dataclass
class TextColumn(ParquetShardWriterStage):
    """A writer that has the columns it has."""

    name = "text_column"

    def schema(self) -> Any:
        return pa.schema([("text", pa.string())])


def lines(*records: Record) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


FIRST = [{"text": f"text {n}", "snr": 9.5, "note": None, "tags": ["a"]} for n in range(1000)]
LATER = [
    {"text": "b", "snr": "loud", "note": "!", "tags": "none", "late": {"n": 2**70}},
    {"text": "c", "snr": None, "tags": None},
]


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """Two manifests, of which the second is looked into by nobody before it is read."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jsonl").write_text(lines(*FIRST))
    (folder / "b.jsonl").write_text(lines(*LATER))
    return folder


def run(folder: Path, out: Path, *stages: Any, executor: Executor | None = None, **options: Any) -> RunResult:
    writer = ParquetWriterStage(f"{out}/data")
    pipeline = Pipeline("open", [ManifestReaderStage(str(folder)), *stages, writer])
    return pipeline.run(executor or LocalExecutor(), output_dir=str(out), **options)


def shards(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "data").glob("*.parquet"))}


def tables(out: Path) -> list[Any]:
    return [pq.read_table(path) for path in sorted((out / "data").glob("*.parquet"))]


def columns(out: Path) -> dict[str, str]:
    found = [{field.name: str(field.type) for field in table.schema} for table in tables(out)]
    assert all(one == found[0] for one in found)
    return found[0]


def test_what_comes_later_and_what_does_not_fit_is_extra(manifests: Path, tmp_path: Path) -> None:
    result = run(manifests, tmp_path / "out", LoudnessStage())
    assert columns(tmp_path / "out") == {
        "text": "string",
        "snr": "double",
        "tags": "list<element: string>",
        "loudness_db": "double",
        "extra": "string",
    }
    first, second = tables(tmp_path / "out")
    assert first.num_rows == 1000 and first.column("extra").null_count == 1000
    later = second.to_pylist()
    assert [(row["text"], row["snr"], row["loudness_db"]) for row in later] == [("b", None, -20.5), ("c", None, -20.5)]
    extra = '{"snr":"loud","note":"!","tags":"none","late":{"n":1180591620717411303424}}'
    assert [row["extra"] for row in later] == [extra, None]
    assert result.metrics["parquet_writer"].custom == dict.fromkeys(
        ("extra_snr", "extra_note", "extra_tags", "extra_late"), 1.0
    )


def test_datasets_opens_all_shards_together(manifests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = needs("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    run(manifests, tmp_path / "out", LoudnessStage())
    files = f"{tmp_path}/out/data/*.parquet"
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=f"{tmp_path}/cache")
    assert loaded.features["loudness_db"] == datasets.Value("float64")
    assert loaded.features["tags"] == datasets.List(datasets.Value("string"))
    assert loaded.features["extra"] == datasets.Value("string")
    assert loaded["loudness_db"][:] == [-20.5] * 1002


@pytest.mark.ray
def test_the_same_bytes_on_ray(manifests: Path, tmp_path: Path, ray_session: None) -> None:
    run(manifests, tmp_path / "local", LoudnessStage())
    for executor in (RayActorsExecutor(num_workers=2), RayDataExecutor(num_workers=2)):
        run(manifests, tmp_path / executor.name, LoudnessStage(), executor=executor)
        assert shards(tmp_path / executor.name) == shards(tmp_path / "local"), executor.name


@pytest.mark.ray
def test_the_same_bytes_on_xenna(manifests: Path, tmp_path: Path, run_cli: Any) -> None:
    needs("cosmos_xenna")
    run(manifests, tmp_path / "local")
    (tmp_path / "open.yaml").write_text(
        "defaults: [{executor: xenna}, _self_]\nname: open\noutput_dir: ???\nmanifest_path: ???\nstages:\n"
        "  - {_target_: curator_audio.stages.io.ManifestReaderStage, manifest_path: '${manifest_path}'}\n"
        "  - {_target_: curator_audio.stages.io.ParquetWriterStage, output_path: '${output_dir}/data'}\n"
    )
    out = tmp_path / "xenna"
    done = run_cli(
        *(f"--config-path={tmp_path}", "--config-name=open", f"manifest_path={manifests}", f"output_dir={out}")
    )
    assert done.returncode == 0, done.stderr
    assert shards(out) == shards(tmp_path / "local")


def test_later_runs_have_the_columns_of_the_first(manifests: Path, tmp_path: Path) -> None:
    """Also where the start of the manifests would now tell something else; with ``overwrite`` it does."""
    out = tmp_path / "out"
    run(manifests, out)
    before = columns(out)
    (manifests / "0.jsonl").write_text(lines(*({"text": 7, "speed": n} for n in range(1000))))
    result = run(manifests, out)
    assert (result.num_done_before, columns(out)) == (2, before)
    (first, *_) = tables(out)
    assert first.to_pylist()[1] == {"text": None, "snr": None, "tags": None, "extra": '{"text":7,"speed":1}'}

    run(manifests, out, overwrite=True)
    assert columns(out) == {"text": "int64", "speed": "int64", "extra": "string"}


def test_input_with_a_field_that_the_columns_of_the_first_run_have_no_place_for(tmp_path: Path) -> None:
    """Of Parquet with a segment's own fields it was known that no other could come, so there is no ``extra``."""
    out = tmp_path / "out"
    stages = [SegmentParquetReaderStage(f"{tmp_path}/in"), SegmentParquetWriterStage(f"{out}/data")]
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "in" / "a.parquet")
    pipeline = Pipeline("dataset", stages)
    pipeline.run(LocalExecutor(), output_dir=str(out))
    assert list(columns(out)) == list(SEGMENT_FIELDS)
    pipeline.run(LocalExecutor(), output_dir=str(out))

    pq.write_table(pa.table({"text": ["b"], "licence": ["CC0"]}), tmp_path / "in" / "b.parquet")
    with pytest.raises(ConfigurationError, match="the columns of its first run, and none for 'licence', which comes"):
        pipeline.run(LocalExecutor(), output_dir=str(out))
    pipeline.run(LocalExecutor(), output_dir=str(out), overwrite=True)
    assert list(columns(out)) == [*SEGMENT_FIELDS, "licence", "extra"]


def test_columns_of_a_source_that_nobody_declared_have_extra_beside_them(tmp_path: Path) -> None:
    """Values that do not fit come later, or at once, where the source's own type has no name here."""
    out = tmp_path / "out"
    (tmp_path / "in").mkdir()
    numbers = {"n": pa.array([2**63 + 5, 1], pa.uint64()), "size": [{"bytes": 1, "path": "x"}] * 2, "snr": [1, 2]}
    pq.write_table(pa.table({"text": ["a", "b"], **numbers}), tmp_path / "in" / "a.parquet")
    stages = [SegmentParquetReaderStage(f"{tmp_path}/in"), SegmentParquetWriterStage(f"{out}/data")]
    Pipeline("dataset", stages).run(LocalExecutor(), output_dir=str(out))
    late = {"text": ["c"], "snr": [1.5], "n": [3], "size": [{"bytes": 2, "path": "y"}]}
    pq.write_table(pa.table(late), tmp_path / "in" / "b.parquet")
    result = Pipeline("dataset", stages).run(LocalExecutor(), output_dir=str(out))
    assert (result.quarantined, result.exit_status) == ({}, 0)
    names = ("text", "n", "size", "snr", "extra")
    assert [tuple(row[name] for name in names) for table in tables(out) for row in table.to_pylist()] == [
        ("a", None, {"bytes": 1, "path": "x"}, 1, '{"n":9223372036854775813}'),
        ("b", 1, {"bytes": 1, "path": "x"}, 2, None),
        ("c", 3, {"bytes": 2, "path": "y"}, None, '{"snr":1.5}'),
    ]


def test_names_that_columns_cannot_have(tmp_path: Path) -> None:
    ids = {f"speaker {n}": n for n in range(1200)}
    (tmp_path / "in.jsonl").write_text(lines({"text": "a", "": 1, "half \ud83d": 2, "o": {"a<b": 3}, **ids}))
    run(tmp_path / "in.jsonl", tmp_path / "out")
    (row,) = tables(tmp_path / "out")[0].to_pylist()
    extra = json.loads(row.pop("extra"))
    assert len(row) == 1000 and row["speaker 998"] == 998
    assert {name: extra.pop(name) for name in ("", "half \ufffd", "o")} == {"": 1, "half \ufffd": 2, "o": {"a<b": 3}}
    assert extra == {f"speaker {n}": n for n in range(999, 1200)}


def test_a_damaged_note_is_told(manifests: Path, tmp_path: Path) -> None:
    run(manifests, tmp_path / "out")
    note = tmp_path / "out" / "_ledger" / "schema.json"
    for text in ("{", "[]", '{"schema": {"columns": {"text": "strong"}, "declared": [], "others": "extra"}}'):
        note.write_text(text)
        with pytest.raises(ConfigurationError, match=r"schema\.json .*; choose another output_dir, or overwrite=true$"):
            run(manifests, tmp_path / "out")


def test_a_note_that_is_gone_is_made_again_of_a_shard(manifests: Path, tmp_path: Path, warned: list[str]) -> None:
    out = tmp_path / "out"
    run(manifests, out, LoudnessStage())
    note = out / "_ledger" / "schema.json"
    before, noted = columns(out), json.loads(note.read_text())
    note.unlink()
    (manifests / "0.jsonl").write_text(lines(*({"text": 7, "speed": n, "wrong": "x" * n} for n in range(2))))
    result = run(manifests, out, LoudnessStage())
    assert (columns(out), json.loads(note.read_text())) == (before, noted)
    assert (result.num_done_before, result.quarantined) == (2, {"wrong_type": 2}), "loudness_db is declared still"
    assert [line for line in warned if "schema.json is gone" in line]

    note.unlink()
    for path in (out / "data").glob("*.parquet"):
        path.write_bytes(b"PAR1 damaged PAR1") if path.name[0] in "0123" else path.unlink()
    with pytest.raises(
        ConfigurationError, match=r"schema\.json is gone, .*; choose another output_dir, or overwrite=tr"
    ):
        run(manifests, out, LoudnessStage())
    run(manifests, out, LoudnessStage(), overwrite=True)
    assert list(columns(out)) == ["text", "speed", "wrong", "snr", "tags", "loudness_db", "extra"]


def test_a_note_that_is_gone_of_columns_that_were_chosen(tmp_path: Path) -> None:
    """Fields that come now are left out as before, and a column has the type that it had."""
    out, source = tmp_path / "out", tmp_path / "in"
    source.mkdir()
    (source / "b.jsonl").write_text(lines({"segment_id": "a", "text": "so be it", "snr": 1}))
    writer = SegmentParquetWriterStage(f"{out}/data", columns=["snr", "segment_id"])
    pipeline = Pipeline("segments", [ManifestReaderStage(str(source)), writer])
    pipeline.run(LocalExecutor(), output_dir=str(out))
    (out / "_ledger" / "schema.json").unlink()
    (source / "a.jsonl").write_text(lines({"segment_id": "b", "snr": 9.0, "late": 1}, {"segment_id": "c", "snr": 9.5}))
    result = pipeline.run(LocalExecutor(), output_dir=str(out))
    assert columns(out) == {"snr": "int64", "segment_id": "string"} and result.quarantined == {"wrong_type": 1}
    found = sorted(row["segment_id"] for table in tables(out) for row in table.to_pylist())
    assert found == ["a", "b"]


def test_a_folder_of_an_earlier_version_keeps_its_columns(
    manifests: Path, tmp_path: Path, warned: list[str], segment_manifest: Callable[[], Path]
) -> None:
    out = tmp_path / "out"
    pipeline = Pipeline(
        "segments", [ManifestReaderStage(str(segment_manifest())), SegmentParquetWriterStage(f"{out}/data")]
    )
    pipeline.run(LocalExecutor(), output_dir=str(out))
    assert list(columns(out)) == [*SEGMENT_FIELDS, "snr", "extra"]
    for path in (out / "data").glob("*.parquet"):  # as version 0.1 left it
        path.unlink()
    (out / "_ledger" / "schema.json").unlink()
    noted = out / "_ledger" / "configuration.json"
    noted.write_text(json.dumps({**json.loads(noted.read_text()), "format": 1}))
    pipeline.run(LocalExecutor(), output_dir=str(out))
    assert list(columns(out)) == list(SEGMENT_FIELDS)
    assert [line for line in warned if "was begun by a version that wrote no further fields" in line]


@pytest.fixture
def segment_manifest(tmp_path: Path) -> Callable[[], Path]:
    def write() -> Path:
        (tmp_path / "segments.jsonl").write_text(lines({"segment_id": "a", "text": "so be it", "snr": 9.5}))
        return tmp_path / "segments.jsonl"

    return write


# What is declared ------------------------------------------------------------------------------------------------


def test_what_does_not_fit_a_declared_column_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(lines({"text": "a"}, {"text": "b", "wrong": "loud"}))
    result = run(tmp_path / "in.jsonl", tmp_path / "out", LoudnessStage())
    assert [row["text"] for row in tables(tmp_path / "out")[0].to_pylist()] == ["a"]
    assert result.quarantined == {"wrong_type": 1}


def test_types_go_along_with_names(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(lines({"text": "a", "snr": 1, "licence": "CC0"}))
    stages = [
        LoudnessStage(),
        RenameFieldsStage({"loudness_db": "level", "snr": "ratio"}),
        SelectFieldsStage(["level", "ratio", "text"]),
        DropFieldsStage(["text"]),
    ]
    run(tmp_path / "in.jsonl", tmp_path / "out", *stages)
    assert columns(tmp_path / "out") == {"ratio": "int64", "level": "double", "extra": "string"}

    run(tmp_path / "in.jsonl", tmp_path / "declared", LoudnessStage(), SelectFieldsStage(["loudness_db"]))
    assert columns(tmp_path / "declared") == {"loudness_db": "double"}, "nothing else can come"


def test_a_stage_that_does_not_say_what_it_adds_loses_nothing(tmp_path: Path) -> None:
    class Silent(LoudnessStage):
        def outputs(self) -> tuple[list[str], dict[str, str]]:
            return [], {}

    (tmp_path / "in.jsonl").write_text(lines({"text": "a"}))
    run(tmp_path / "in.jsonl", tmp_path / "out", SelectFieldsStage(["text"]), Silent())
    assert tables(tmp_path / "out")[0].to_pylist() == [{"text": "a", "extra": '{"loudness_db":-20.5}'}]


def test_what_a_function_adds_is_extra(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(lines({"text": "a"}))
    stages = [SelectFieldsStage(["text"]), CallFunctionStage("builtins.dict", {"language": "en"})]
    run(tmp_path / "in.jsonl", tmp_path / "out", *stages)
    assert tables(tmp_path / "out")[0].to_pylist() == [{"text": "a", "extra": '{"language":"en"}'}]


def test_chosen_columns_may_be_further_ones(segment_manifest: Callable[[], Path], tmp_path: Path) -> None:
    def chosen(*names: str) -> list[str]:
        out = tmp_path / "-".join(names)
        writer = SegmentParquetWriterStage(f"{out}/data", columns=list(names))
        Pipeline("segments", [ManifestReaderStage(str(segment_manifest())), LoudnessStage(), writer]).run(
            LocalExecutor(), output_dir=str(out)
        )
        return list(columns(out))

    assert chosen("snr", "text", "loudness_db") == ["snr", "text", "loudness_db"]
    assert chosen("text", "extra") == ["text", "extra"]
    with pytest.raises(ConfigurationError, match="columns has 'speed', which records here do not have; there are segm"):
        chosen("text", "speed")


def test_choosing_a_column_is_not_declaring_it(tmp_path: Path) -> None:
    """What does not fit a chosen column goes to ``extra`` where that is chosen too; else it has no other place."""
    records = [{"segment_id": f"s{n}", "text": "a", "snr": value} for n, value in enumerate((9.5, "high", 1))]
    (tmp_path / "in.jsonl").write_text(lines(*records))

    def chosen(*names: str) -> tuple[list[Any], dict[str, int]]:
        out = tmp_path / "-".join(names)
        writer = SegmentParquetWriterStage(f"{out}/data", columns=list(names))
        pipeline = Pipeline("segments", [ManifestReaderStage(f"{tmp_path}/in.jsonl"), writer])
        quarantined = pipeline.run(LocalExecutor(), output_dir=str(out)).quarantined
        return [tuple(row.values()) for row in tables(out)[0].to_pylist()], quarantined

    assert chosen("snr", "extra") == ([(9.5, None), (None, '{"snr":"high"}'), (1.0, None)], {})
    assert chosen("text", "snr") == ([("a", 9.5), ("a", 1.0)], {"wrong_type": 1})


def test_numbers_and_arrays_of_numpy_in_extra(tmp_path: Path) -> None:
    class Measure(LoudnessStage):
        def outputs(self) -> tuple[list[str], dict[str, str]]:
            return [], {}

        def process_record(self, record: Record) -> Record:
            level = {"db": np.float32(0.5), "peaks": np.array([1.5, np.nan])}
            return {**record, "n": np.int64(3), "level": level, "ok": np.bool_(True)}

    (tmp_path / "in.jsonl").write_text(lines({"text": "a"}))
    result = run(tmp_path / "in.jsonl", tmp_path / "out", Measure())
    extra = '{"n":3,"level":{"db":0.5,"peaks":[1.5,null]},"ok":true}'
    assert tables(tmp_path / "out")[0].to_pylist() == [{"text": "a", "extra": extra}]
    assert result.metrics["parquet_writer"].custom == {
        "numbers_not_finite": 1.0,
        "extra_n": 1.0,
        "extra_level": 1.0,
        "extra_ok": 1.0,
    }


# Before anything runs --------------------------------------------------------------------------------------------


def test_a_field_that_a_writer_would_lose_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(lines({"text": "a"}))
    reader, writer = ManifestReaderStage(f"{tmp_path}/in.jsonl"), TextColumn(f"{tmp_path}/out")
    with pytest.raises(ConfigurationError, match="'text_column' would lose the field 'loudness_db', which 'loudness'"):
        Pipeline("lossy", [reader, LoudnessStage(), writer]).plan()
    Pipeline("whole", [reader, LoudnessStage(), DropFieldsStage(["loudness_db"]), writer]).run(LocalExecutor())

    (tmp_path / "in.jsonl").write_text(lines({"text": "a", "snr": 1}))
    with pytest.raises(ConfigurationError, match="would lose the field 'snr', which 'manifest_reader' reads; give it"):
        Pipeline("lossy", [reader, writer]).run(LocalExecutor(), output_dir=f"{tmp_path}/new")
    assert not (tmp_path / "new" / "_ledger" / "configuration.json").exists()


def test_a_type_that_there_is_not(tmp_path: Path) -> None:
    class Odd(LoudnessStage):
        def outputs(self) -> tuple[list[str], dict[str, str]]:
            return [], {"loudness_db": "loud"}

    with pytest.raises(ConfigurationError, match="gives 'loudness_db' the type 'loud'; give string, bool, int"):
        Pipeline("odd", [ManifestReaderStage("in.jsonl"), Odd(), ParquetWriterStage(f"{tmp_path}/out")]).plan()


def test_a_dry_run_tells_of_fields(manifests: Path, tmp_path: Path) -> None:
    stages = [
        ManifestReaderStage(str(manifests)),
        LoudnessStage(),
        RenameFieldsStage({"text": "words"}),
        ParquetWriterStage(f"{tmp_path}/out", columns={"words": "string", "snr": "float32"}),
    ]
    told = dry_run(Pipeline("open", stages), LocalExecutor(), f"{tmp_path}/out", {})
    assert (
        "fields:\n"
        "  manifest_reader: gives text string, snr float, note, tags list<string>, whatever else comes\n"
        "  loudness: adds loudness_db\n"
        "  rename_fields: reads text; adds words; removes text\n"
        "  parquet_writer: keeps words string, snr float32; leaves out note, tags, loudness_db\n"
    ) in told
