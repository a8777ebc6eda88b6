"""Runs that are killed and started again, and input that grows."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from curator_audio.cli import main
from curator_audio.executors.local import LocalExecutor
from curator_audio.finalizers import JoinParts
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.report.dry_run import dry_run
from curator_audio.report.result import RunResult
from curator_audio.stages.general import CallFunctionStage
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage
from curator_audio.storage.storage import Storage
from tests.killing import KILLED
from tests.processes import REPOSITORY, run_python
from tests.text_trees import TextTreeReader, write_tree

NOTING = (
    KILLED
    + """
from curator_audio.executors.local import LocalExecutor
from tests.pipeline.test_resume import noting
noting(sys.argv[1], sys.argv[2]).run(LocalExecutor())
"""
)


def noting(manifest: Path | str, output_dir: Path | str) -> Pipeline:
    stage = CallFunctionStage("tests.functions.noted", {"log_path": f"{output_dir}.log"})
    reader = ManifestReaderStage(str(manifest), partition_size_mb=0.02)
    return Pipeline("test", [reader, stage, ManifestWriterStage(f"{output_dir}/out.jsonl")], after=[JoinParts()])


def processed(output_dir: Path) -> list[str]:
    log = Path(f"{output_dir}.log")
    return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def expected(manifest: Path, tmp_path: Path) -> bytes:
    noting(manifest, tmp_path / "expected").run(LocalExecutor())
    return (tmp_path / "expected" / "out.jsonl").read_bytes()


# With 9 partitions a run commits the configuration, 9 parts and 9 entries in turn, the joined file and its entries.
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("commit", [1, 2, 9, 18, 20, 21, 22, 23])
def test_killed_and_started_again(commit: int, when: str, manifest: Path, tmp_path: Path, expected: bytes) -> None:
    out = tmp_path / "out"
    killed = run_python(NOTING, manifest, out, commit, when)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    entries_before = len(list((out / "_ledger" / "entries").glob("[!.]*.json"))) or _gathered(out)
    processed_before = len(processed(out))

    result = noting(manifest, out).run(LocalExecutor())

    assert (out / "out.jsonl").read_bytes() == expected
    assert result.num_done_before == entries_before, "completed partitions must not be processed again"
    redone = [name for entry in result.entries for name in [entry.partition]][entries_before:]
    assert len(processed(out)) - processed_before == sum(e.num_records for e in result.entries if e.partition in redone)
    assert _files(out) == _files(tmp_path / "expected"), "nothing may be left behind"


def _gathered(out: Path) -> int:
    path = out / "_ledger" / "entries.jsonl"
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_driver_and_workers_killed_on_ray(manifest: Path, tmp_path: Path, expected: bytes, ray_session: None) -> None:
    out, log, gate = tmp_path / "out", tmp_path / "log", tmp_path / "gate"
    log.touch()
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "test.yaml").write_text(
        f"""
defaults: [{{executor: ray_actors}}, _self_]
output_dir: {out}
stages:
  - {{_target_: curator_audio.stages.io.ManifestReaderStage, manifest_path: {manifest}, partition_size_mb: 0.02}}
  - _target_: curator_audio.stages.general.CallFunctionStage
    function: tests.functions.waiting_for
    arguments: {{log_path: {log}, gate_path: {gate}, open_for: 14}}
  - {{_target_: curator_audio.stages.io.ManifestWriterStage, output_path: {out}/out.jsonl}}
after: [{{_target_: curator_audio.finalizers.JoinParts}}]
"""
    )
    words = ["--config-path", str(tmp_path / "conf"), "--config-name", "test"]
    command = [sys.executable, "main.py", *words, "executor.num_cpus=2", "executor.num_workers=2"]
    run = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    entries = out / "_ledger" / "entries"
    while run.poll() is None and not (entries.is_dir() and len(list(entries.glob("[!.]*.json"))) >= 2):
        time.sleep(0.01)  # and not the processor of those who are waited for
    run.send_signal(signal.SIGKILL)
    run.communicate()
    done = len(list(entries.glob("[!.]*.json")))
    gate.touch()
    assert not (out / "out.jsonl").exists()

    assert main([*words, "executor.num_workers=2"]) == 0
    done_before = json.loads((out / "metrics.json").read_text())["partitions"]["done_before"]
    assert done_before >= done >= 2, "a worker may have finished one more before it noticed that its driver was gone"
    assert (out / "out.jsonl").read_bytes() == expected


def test_appending_processes_the_new_tail_only(manifest: Path, tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    out = tmp_path / "out"
    first = noting(manifest, out).run(LocalExecutor())
    before = len(processed(out))
    with manifest.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**entries[0], "audio_filepath": "audio/new.wav"}) + "\n")

    second = noting(manifest, out).run(LocalExecutor())

    last = first.entries[-1]
    assert second.num_done_before == len(first.entries) - 1
    assert processed(out)[before:] == [*processed(out)[before - last.num_records : before], "audio/new.wav"]
    lines = (out / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["audio_filepath"] for line in lines] == [e["audio_filepath"] for e in entries] + [
        "audio/new.wav"
    ]


# Ledgers that are damaged -----------------------------------------------------------------------------------


def shards(root: str, out: Path) -> Pipeline:
    return Pipeline("test", [TextTreeReader(root, 64), ManifestWriterStage(f"{out}/shards")])


@pytest.fixture
def two_shards(tmp_path: Path) -> tuple[str, Path]:
    """A tree and a folder made from it in two runs, 12 files each, so that a run anew would cut it otherwise."""
    root, out = f"{tmp_path}/in", tmp_path / "out"
    for texts in (TEXTS_BEFORE, TEXTS):
        write_tree(root, texts)
        shards(root, out).run(LocalExecutor(), output_dir=str(out))
    assert len(list((out / "shards").iterdir())) == 2
    return root, out


TEXTS_BEFORE = {f"a/{number:02d}.txt": f"text {number}" for number in range(12)}
TEXTS = TEXTS_BEFORE | {f"b/{number:02d}.txt": f"more {number}" for number in range(12)}


def texts_in(out: Path) -> list[tuple[str, str]]:
    lines = [line for path in (out / "shards").iterdir() for line in path.read_text().splitlines()]
    return sorted((record["audio_filepath"], record["text"]) for record in map(json.loads, lines))


@pytest.mark.parametrize("damage", ["inputs are gone", "inputs are cut", "entries are cut", "an entry is gone"])
def test_a_damaged_ledger_leaves_no_record_twice(damage: str, two_shards: tuple[str, Path], warned: list[str]) -> None:
    root, out = two_shards
    (inputs,) = (out / "_ledger").glob("inputs-*.gz")
    entries = out / "_ledger" / "entries.jsonl"
    if damage == "inputs are gone":
        inputs.unlink()
    elif damage == "inputs are cut":
        inputs.write_bytes(inputs.read_bytes()[:-20])
    elif damage == "entries are cut":
        entries.write_bytes(b"".join(line[:-20] + b"\n" for line in entries.read_bytes().splitlines()))
    else:
        entries.write_bytes(entries.read_bytes().splitlines()[0])

    shards(root, out).run(LocalExecutor(), output_dir=str(out))

    assert texts_in(out) == sorted(TEXTS.items())
    assert any("are deleted, such as" in message for message in warned) == (damage != "an entry is gone")
    warned.clear()
    again = shards(root, out).run(LocalExecutor(), output_dir=str(out))
    assert again.num_done_before == len(again.entries) and not warned
    assert texts_in(out) == sorted(TEXTS.items())


@pytest.mark.parametrize("lost", ["written over by a woken run", "nothing in it can be read"])
def test_files_that_nothing_names_are_told_of_until_they_are_gone(
    lost: str, two_shards: tuple[str, Path], warned: list[str]
) -> None:
    root, out = two_shards
    entries, older = out / "_ledger" / "entries.jsonl", f"{out}-before"
    if lost == "nothing in it can be read":
        entries.write_bytes(b"\0" * 100)
    else:  # it had gathered its entries when it was stopped; the file of their inputs has gone since
        write_tree(f"{root}-before", TEXTS_BEFORE)
        shards(f"{root}-before", Path(older)).run(LocalExecutor(), output_dir=older)
        entries.write_bytes(Path(older, "_ledger", "entries.jsonl").read_bytes())
    (out / "shards" / "mine.jsonl").write_text("")
    left = out / "shards" / "000001-00.jsonl"

    for _ in range(2):
        warned.clear()
        shards(root, out).run(LocalExecutor(), output_dir=str(out))
        assert f"the ledger does not have them: {left};" in warned[-1] and "1 file(s)" in warned[-1]
        assert set(texts_in(out)) == set(TEXTS.items())
    left.unlink()
    warned.clear()
    shards(root, out).run(LocalExecutor(), output_dir=str(out))
    assert texts_in(out) == sorted(TEXTS.items()) and not warned


def test_a_damaged_ledger_that_is_only_looked_at_stays(two_shards: tuple[str, Path]) -> None:
    root, out = two_shards
    next((out / "_ledger").glob("inputs-*.gz")).unlink()
    before = _contents(out)
    dry_run(shards(root, out), LocalExecutor(), str(out), {})
    assert _contents(out) == before


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_nothing_new_processes_nothing(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = noting(manifest, out).run(LocalExecutor())
    before, written = len(processed(out)), (out / "out.jsonl").stat().st_mtime_ns
    second = noting(manifest, out).run(LocalExecutor())
    assert len(processed(out)) == before
    assert second.num_done_before == len(first.entries)
    assert second.num_output_records == first.num_output_records
    assert (out / "out.jsonl").stat().st_mtime_ns == written


def test_a_lost_output_is_made_again(manifest: Path, tmp_path: Path, expected: bytes) -> None:
    out = tmp_path / "out"
    noting(manifest, out).run(LocalExecutor())
    (out / "out.jsonl").unlink()
    noting(manifest, out).run(LocalExecutor())
    assert (out / "out.jsonl").read_bytes() == expected


def test_runs_on_s3_resume_and_grow_too(manifest: Path, tmp_path: Path, s3_bucket: str, expected: bytes) -> None:
    storage = Storage()
    source, out = f"{s3_bucket}/manifest.jsonl", f"{s3_bucket}/out"
    data = manifest.read_bytes()
    half = data.index(b"\n", len(data) // 2) + 1
    storage.write(source, data[:half])

    def run() -> RunResult:
        stage = CallFunctionStage("tests.functions.noted", {"log_path": f"{tmp_path}/out.log"})
        reader = ManifestReaderStage(source, partition_size_mb=0.02)
        pipeline = Pipeline("test", [reader, stage, ManifestWriterStage(f"{out}/out.jsonl")], after=[JoinParts()])
        return pipeline.run(LocalExecutor())

    first = run()
    before = processed(tmp_path / "out")
    storage.write(source, data)
    second = run()

    assert second.num_done_before == len(first.entries) - 1
    redone = first.entries[-1].num_records
    assert processed(tmp_path / "out")[len(before) :][:redone] == before[len(before) - redone :]
    assert len(processed(tmp_path / "out")) == 40 + redone
    assert storage.read(f"{out}/out.jsonl") == expected
    assert run().num_done_before == len(second.entries)
    assert [info.path.removeprefix(out) for info in storage.list_files(out)] == [
        "/_ledger/after/join_parts.json",
        "/_ledger/configuration.json",
        "/_ledger/entries.jsonl",
        "/metrics.json",
        "/out.jsonl",
    ]
