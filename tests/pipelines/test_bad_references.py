"""One bad line among good ones, in every pipeline that opens what a manifest names."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from curator_audio.cli import main
from curator_audio.executors.local import LocalExecutor
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.stages.general import GetAudioDurationStage
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage
from curator_audio.storage.valid_text import valid_text
from tests.benchmarking.scripts import script as load_script

NUM_GOOD = 25
SEGMENTS = [{"start": 0.0, "end": 1.0, "speaker": "a", "text": "hello"}]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The benchmark of the same, whose corpus this is, only smaller."""
    module = load_script("bad_references")
    module.PER_KIND = 1  # type: ignore[attr-defined]
    return module


@pytest.fixture
def manifest(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith(("AWS_", "S3_")):
            monkeypatch.delenv(name)
    for name, value in script.environment().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    made: Path = script.make_corpus(tmp_path / "in", NUM_GOOD)
    return made


def run(pipeline: str, manifest: Path, out: Path, *overrides: str) -> int:
    return main(
        ["--config-name", pipeline, "executor=local", f"manifest_path={manifest}", f"output_dir={out}", *overrides]
    )


def metrics(out: Path) -> Any:
    return json.loads((out / "metrics.json").read_text())


def quarantined(out: Path) -> list[Any]:
    return [json.loads(line) for path in sorted((out / "quarantine").iterdir()) for line in path.open()]


@pytest.mark.parametrize("pipeline", ["segment", "bandwidth", "alm_shards"])
def test_the_good_ones_are_done_and_each_bad_one_says_why(
    pipeline: str, script: ModuleType, manifest: Path, tmp_path: Path
) -> None:
    if pipeline == "alm_shards":
        lines = [json.loads(line) for line in manifest.open()]
        windows = [line | {"filtered_windows": [{"segments": SEGMENTS}]} for line in lines]
        manifest.write_text("".join(json.dumps(line) + "\n" for line in windows))

    assert run(pipeline, manifest, tmp_path / "out") == 0

    found = metrics(tmp_path / "out")
    assert found["num_output_records"] == NUM_GOOD
    assert found["quarantined"] == script.expected()
    told = {line["record"]["audio_filepath"]: line for line in quarantined(tmp_path / "out")}
    assert len(told) == len(script.KINDS) * script.PER_KIND
    for path, reason in script.KINDS:
        assert told[valid_text(path.replace("%d", "0"))]["reason"] == reason
    remedies = {"scheme_not_allowed": "allowed_schemes=", "path_leaves_root": "allow_outside=true"}
    remedies |= {"private_host": "allow_private_hosts=true", "unusable_store": "set S3_ACCESS_KEY"}
    for line in told.values():
        assert remedies.get(line["reason"], "") in line["message"] and len(line["message"]) < 700
    assert run(pipeline, manifest, tmp_path / "out") == 0
    assert metrics(tmp_path / "out")["quarantined"] == script.expected()


def test_durations_are_added_to_the_good_ones(script: ModuleType, manifest: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    stages = [ManifestReaderStage(str(manifest)), GetAudioDurationStage(), ManifestWriterStage(out)]
    result = Pipeline("durations", stages).run(LocalExecutor())
    assert (result.num_output_records, result.exit_status) == (NUM_GOOD, 0)
    assert sum(result.quarantined.values()) == len(script.KINDS)


def test_in_workers(script: ModuleType, manifest: Path, tmp_path: Path, ray_session: None) -> None:
    overrides = [
        "executor=ray_actors",
        "executor.num_workers=2",
        f"manifest_path={manifest}",
        f"output_dir={tmp_path}/out",
    ]
    assert main(["--config-name", "bandwidth", *overrides]) == 0
    assert metrics(tmp_path / "out")["num_output_records"] == NUM_GOOD
    assert metrics(tmp_path / "out")["quarantined"] == script.expected()


def test_what_is_allowed_later_is_done_then(manifest: Path, tmp_path: Path) -> None:
    """And nothing else is done again."""
    (tmp_path / "elsewhere").mkdir()
    lines = [json.loads(line) for line in manifest.open()][:1]
    for name in ("../elsewhere/b.wav", f"{tmp_path}/elsewhere/c.wav"):
        os.link(manifest.parent / "tone.wav", tmp_path / "elsewhere" / Path(name).name)
        lines.append({"audio_filepath": name, "segments": SEGMENTS})
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run("segment", manifest, tmp_path / "out") == 0
    assert metrics(tmp_path / "out")["quarantined"] == {"path_leaves_root": 2}

    assert run("segment", manifest, tmp_path / "out", "allow_outside=true") == 0

    found = metrics(tmp_path / "out")
    assert (found["num_output_records"], found["quarantined"]) == (3, {})
    assert (found["partitions"]["done"], found["partitions"]["done_before"]) == (3, 1)


# The same for all ----------------------------------------------------------------------------------------------


def write(manifest: Path, *paths: str) -> None:
    entries = [{"audio_filepath": path, "segments": SEGMENTS} for path in paths]
    manifest.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


@pytest.mark.parametrize("pipeline", ["segment", "bandwidth"])
@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (
            [f"ftp://host/{number}.wav" for number in range(30)],
            "the first 20 references cannot be read, all for one reason: 'ftp://host/19.wav': a manifest may not name "
            r"ftp://; allowed_schemes=\[s3,s3\+source,gs,https,ftp\] lets it",
        ),
        (
            [f"/elsewhere/{number}.wav" for number in range(30)],
            "the first 20 references cannot be read, all for one reason: '/elsewhere/19.wav' lies outside of ",
        ),
        (
            ["s3://bucket/0.wav", "s3://bucket/1.wav"],
            "no reference can be read: cannot (list|read) s3://bucket.*: no credentials; set S3_ACCESS_KEY",
        ),
    ],
)
def test_what_meets_all_of_them_ends_the_run_in_one_line(
    pipeline: str, paths: list[str], message: str, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(manifest, *paths)

    assert run(pipeline, manifest, tmp_path / "out") == 2

    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert re.search(message, line)
    assert not list((tmp_path / "out").glob("quarantine/*"))


def test_schemes_can_be_allowed_as_the_message_says(manifest: Path, tmp_path: Path) -> None:
    write(manifest, "news/00000.wav", "http://127.0.0.1:9/a.wav")
    overrides = ["allowed_schemes=[s3,s3+source,gs,https,http]", "allow_private_hosts=true"]
    assert run("segment", manifest, tmp_path / "out", *overrides) == 0
    assert metrics(tmp_path / "out")["quarantined"] == {"unreachable_host": 1}


def test_missing_files_never_end_a_run(manifest: Path, tmp_path: Path) -> None:
    write(manifest, *(f"missing/x{number}.wav" for number in range(25)), "news/00000.wav")
    assert run("segment", manifest, tmp_path / "out") == 0
    assert metrics(tmp_path / "out")["quarantined"] == {"unreadable_file": 25}
