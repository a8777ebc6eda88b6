"""The executor of examples/dask_executor, found by its entry point."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from curator_audio.cli import main
from tests.conftest import REPOSITORY
from tests.extras import needs
from tests.packages import install

needs("distributed")

EXAMPLE = REPOSITORY / "examples" / "dask_executor"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package as good as installed, with the entry points of its pyproject.toml."""
    text = (EXAMPLE / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^\[project\.entry-points\."(.*)"\]\n(.*)\n', text, re.MULTILINE)
    assert found
    entry_points = f"[{found[1]}]\n{found[2]}\n".replace('"', "")
    install(tmp_path / "site", monkeypatch, entry_points, name="curator-audio-dask")
    monkeypatch.syspath_prepend(EXAMPLE)


@pytest.mark.slow
def test_the_same_bytes_as_local(installed: None, manifest: Path, tmp_path: Path, capsys: Any) -> None:
    words = [f"manifest_path={manifest}", "stages.0.partition_size_mb=0.02"]
    assert main([*words, "executor=local", f"output_dir={tmp_path}/local"]) == 0
    assert main([*words, "executor=dask", "executor.num_workers=2", f"output_dir={tmp_path}/dask"]) == 0
    local, dask = (tmp_path / name / "alm_output.jsonl" for name in ("local", "dask"))
    assert local.read_bytes() == dask.read_bytes()
    metrics = json.loads((tmp_path / "dask" / "metrics.json").read_text())
    assert metrics["executor"] == "dask" and metrics["partitions"]["done"] > 5


def test_a_bad_record_stops_the_run_where_that_is_asked_for(installed: None, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "in.jsonl").write_text('{"segments": []}\n{\n')
    words = [f"manifest_path={tmp_path}/in.jsonl", f"output_dir={tmp_path}/out", "executor=dask"]
    assert main([*words, "on_error=raise", "executor.num_workers=1"]) == 1
    assert f"error: {tmp_path}/in.jsonl:2: [alm_manifest_reader] invalid_json" in capsys.readouterr().err


def test_a_stage_that_wants_a_gpu_is_refused(installed: None, manifest: Path, tmp_path: Path, capsys: Any) -> None:
    words = [f"manifest_path={manifest}", f"output_dir={tmp_path}/out", "executor=dask", "stages.1.resources.gpus=1"]
    assert main(words) == 2
    assert "'alm_data_builder' asks for 1 GPUs a worker, and there are 0" in capsys.readouterr().err
