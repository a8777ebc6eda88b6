import json
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from curator_audio.errors import ConfigurationError, CuratorError
from curator_audio.executors.local import LocalExecutor
from curator_audio.finalizers import JoinParts
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.report.result import RunResult
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage
from curator_audio.stages.record_stage import RecordStage
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Record


def write(storage_root: str, *batches: list[Record]) -> tuple[ManifestWriterStage, Any]:
    stage = ManifestWriterStage(f"{storage_root}/shards")
    return stage, stage.write(Storage(), f"{storage_root}/part.jsonl", [AudioBatch(records) for records in batches])


def test_a_part_is_the_records_of_its_batches_a_line_each(tmp_path: Path) -> None:
    _, (part,) = write(str(tmp_path), [{"a": 1, "text": "naïve"}], [], [{"b": [1.5, None]}, {}])

    assert (tmp_path / "part.jsonl").read_text(encoding="utf-8") == '{"a":1,"text":"naïve"}\n{"b":[1.5,null]}\n{}\n'
    assert (part.num_records, part.num_bytes) == (3, (tmp_path / "part.jsonl").stat().st_size)


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    hashes = [write(str(tmp_path), *batches)[1][0].sha256 for batches in ([[{}, {}]], [[{}], [{}]], [[{}]])]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("root", ["local", "s3"])
def test_no_records_are_no_file_and_the_older_one_goes(root: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue("s3_bucket") if root == "s3" else str(request.getfixturevalue("tmp_path"))
    assert write(folder, [{"a": 1}])[1] != []
    assert write(folder, [], [])[1] == []
    assert not Storage().exists(f"{folder}/part.jsonl")


NOT_JSON = {"day": date(2024, 2, 29)}


def test_a_record_that_cannot_be_written_is_set_aside(tmp_path: Path) -> None:
    stage = ManifestWriterStage(f"{tmp_path}/shards")
    batches = [
        AudioBatch([{"a": 1}, NOT_JSON, {"a": 2}], "in.jsonl", [0, 10, 20]),
        AudioBatch([NOT_JSON], "in.jsonl", [30]),
    ]

    (part,) = stage.write(Storage(), f"{tmp_path}/part.jsonl", batches)

    assert (tmp_path / "part.jsonl").read_bytes() == b'{"a":1}\n{"a":2}\n'
    assert part.num_records == 2
    bad = stage.take_observations().quarantined
    assert [(record.source_path, record.offset, record.stage, record.reason) for record in bad] == [
        ("in.jsonl", 10, "manifest_writer", "not_serializable"),
        ("in.jsonl", 30, "manifest_writer", "not_serializable"),
    ]
    assert bad[0].message == "a value of type date has no JSON form; give a JSON value"


@dataclass
class Dated(RecordStage):
    """A stage with a mistake: for some records it gives what is no JSON."""

    odd: list[int] = field(default_factory=list)

    def process_record(self, record: Record) -> Record:
        return {**record, "day": date(2024, 2, 29)} if record["number"] in self.odd else record


def run(tmp_path: Path, odd: list[int], **options: Any) -> RunResult:
    lines = "".join(json.dumps({"number": number}) + "\n" for number in range(10))
    (tmp_path / "in.jsonl").write_text(lines)
    stages = [ManifestReaderStage(f"{tmp_path}/in.jsonl"), Dated(odd), ManifestWriterStage(f"{tmp_path}/out/out.jsonl")]
    return Pipeline("test", stages, after=[JoinParts()]).run(LocalExecutor(), **options)


def test_a_run_counts_what_the_writer_sets_aside(tmp_path: Path) -> None:
    result = run(tmp_path, odd=[3, 7])

    numbers = [json.loads(line)["number"] for line in (tmp_path / "out" / "out.jsonl").open()]
    assert numbers == [0, 1, 2, 4, 5, 6, 8, 9]
    assert (result.num_output_records, result.quarantined) == (8, {"not_serializable": 2})
    (quarantine,) = (tmp_path / "out" / "quarantine").iterdir()
    bad = [json.loads(line) for line in quarantine.open()]
    assert [(line["stage"], line["record"], line["record_repr"]) for line in bad] == [
        ("manifest_writer", None, "{'number': 3, 'day': datetime.date(2024, 2, 29)}"),
        ("manifest_writer", None, "{'number': 7, 'day': datetime.date(2024, 2, 29)}"),
    ]


def test_on_error_raise_names_the_line_of_what_cannot_be_written(tmp_path: Path) -> None:
    message = r"in\.jsonl:4: \[manifest_writer\] not_serializable: a value of type date has no JSON form"
    with pytest.raises(CuratorError, match=message):
        run(tmp_path, odd=[3], on_error="raise")
    assert not (tmp_path / "out" / "out.jsonl").exists()


def test_a_name_with_the_suffix_is_a_file_and_any_other_a_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ManifestWriterStage("out/a.jsonl").is_single_file
    assert ManifestWriterStage("out/a.jsonl").output_path == f"{tmp_path}/out/a.jsonl"
    assert not ManifestWriterStage("out/a").is_single_file
    assert not ManifestWriterStage("s3://bucket/out/").is_single_file


@pytest.mark.parametrize("path", ["", None, 5])
def test_a_path_that_is_none_is_refused(path: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"output_path is .*; give a file \(\*\.jsonl\) or a folder"):
        ManifestWriterStage(path)


@pytest.mark.parametrize("root", ["tmp", "s3"])
def test_the_output_may_lie_elsewhere_than_the_ledger(
    root: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue("s3_bucket") if root == "s3" else f"{tmp_path}/elsewhere"
    (tmp_path / "in.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    stages = [ManifestReaderStage(f"{tmp_path}/in.jsonl"), ManifestWriterStage(f"{folder}/deep/out.jsonl")]
    pipeline = Pipeline("test", stages, after=[JoinParts()])

    pipeline.run(LocalExecutor(), output_dir=f"{tmp_path}/out")
    assert Storage().read(f"{folder}/deep/out.jsonl") == b'{"a":1}\n{"a":2}\n'
    assert pipeline.run(LocalExecutor(), output_dir=f"{tmp_path}/out").num_done_before == 1
