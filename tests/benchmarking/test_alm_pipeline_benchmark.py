"""The benchmark of the ALM pipeline: manifests on a store, and nightly files it does not understand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from curator_audio.storage.storage import Storage
from tests.benchmarking.scripts import script


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return script("alm_pipeline_benchmark")


def run(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["alm_pipeline_benchmark.py", *map(str, arguments)])
    status: int = benchmark.main()
    return status


def test_a_manifest_on_a_store(
    benchmark: ModuleType, manifest: Path, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    Storage().write(f"{s3_bucket}/manifest.jsonl", manifest.read_bytes())
    arguments = ("--input-manifest", f"{s3_bucket}/manifest.jsonl", "--executor", "local", "--repeat-factor", 2)
    assert run(benchmark, monkeypatch, "--benchmark-results-path", tmp_path / "results", *arguments) == 0
    metrics = json.loads((tmp_path / "results" / "metrics.json").read_text())
    assert (metrics["is_success"], metrics["num_entries"]) == (True, 80)


def test_a_manifest_that_is_not_there(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    arguments = ("--benchmark-results-path", tmp_path / "results", "--input-manifest", tmp_path / "none.jsonl")
    assert run(benchmark, monkeypatch, *arguments) == 1
    assert (
        capsys.readouterr().err == f"error: cannot read {tmp_path}/none.jsonl: there is no such file; check the path\n"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "has no entries that this script knows"),
        ("entries: {a: 1}", "has no entries that this script knows"),
        ("results_path: /tmp\nsuites: [x]", "has no entries that this script knows"),
        ("entries: [alm]", "entry 0 is 'alm'; give 'entries:', a list of"),
        ("entries: [{name: a, script: b.py}]", "entry 0 is {'name': 'a', 'script': 'b.py'}"),
        ("entries: [{name: a, args: {num_gpus: 1}}]", "entry 0 (a) has the unknown option 'num_gpus'; there are"),
        ("entries: [{name: a, args: --x}]", "entry 0 (a) has the args '--x'"),
        ("entries: [", "is no YAML"),
    ],
)
def test_a_nightly_file_of_another_kind_is_one_line(
    content: str, said: str, benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    config = tmp_path / "nightly.yaml"
    config.write_text(content)
    assert run(benchmark, monkeypatch, "--benchmark-results-path", tmp_path / "results", "--config", config) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --config {config}") and said in line
