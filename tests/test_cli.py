"""The command line as a user meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from curator_audio import __version__
from curator_audio.cli import main
from tests.conftest import REPOSITORY


def test_the_main_job(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--config-name", "pipeline", "executor=local", f"manifest_path={manifest}", f"output_dir={out}"]
    done = subprocess.run([sys.executable, str(REPOSITORY / "main.py"), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "PIPELINE COMPLETE"
    assert lines[1] == "  Output entries: 40"
    assert [line.split()[0] for line in lines[2:6]] == [
        "[alm_manifest_reader]",
        "[alm_data_builder]",
        "[alm_data_overlap]",
        "[alm_manifest_writer]",
    ]
    records = [json.loads(line) for line in (out / "alm_output.jsonl").read_text(encoding="utf-8").splitlines()]
    assert f"windows_created: {sum(len(record['windows']) for record in records)}" in lines[3]
    kept = sum(len(record["filtered_windows"]) for record in records)
    seconds = sum(record["filtered_dur"] for record in records)
    assert f"output_windows (after overlap): {kept} · filtered_audio_duration: {seconds:.1f}s" in lines[4]
    assert not (out / "quarantine").exists()
    assert json.loads((out / "metrics.json").read_text())["num_output_records"] == 40


def test_the_three_ways_to_call_it_are_one() -> None:
    script = str(Path(sys.executable).parent / "curator-audio")
    for command in ([sys.executable, str(REPOSITORY / "main.py")], [sys.executable, "-m", "curator_audio"], [script]):
        printed = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout
        assert printed == f"curator_audio {__version__}\n"


def test_dry_run_prints_the_plan_and_writes_nothing(manifest: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    assert main([f"manifest_path={manifest}", f"output_dir={out}", "dry_run=true", "executor=ray_actors"]) == 0
    printed = capsys.readouterr().out
    for stage in ("alm_manifest_reader", "alm_data_builder", "alm_data_overlap", "alm_manifest_writer", "join_parts"):
        assert stage in printed
    assert "partitions: 1 to do, 0 done before" in printed
    assert not out.exists()


def test_a_folder_of_shards(manifest: Path, tmp_path: Path, capsys: Any) -> None:
    arguments = [
        "executor=local",
        f"manifest_path={manifest}",
        f"output_dir={tmp_path}/out",
        "stages.0.partition_size_mb=0.02",
    ]
    assert main([*arguments, f"output_path={tmp_path}/out/shards"]) == 0
    shards = sorted((tmp_path / "out" / "shards").iterdir())
    assert len(shards) > 5
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in shards) == 40


def test_another_configuration_is_refused_unless_overwritten(manifest: Path, tmp_path: Path, capsys: Any) -> None:
    arguments = [
        "executor=local",
        f"manifest_path={manifest}",
        f"output_dir={tmp_path}/out",
        "stages.1.min_bandwidth=0",
    ]
    assert main(arguments) == 0
    (tmp_path / "out" / "notes.txt").write_text("mine")
    before = (tmp_path / "out" / "alm_output.jsonl").read_bytes()
    capsys.readouterr()

    assert main([*arguments, "stages.2.overlap_percentage=10"]) == 2
    error = capsys.readouterr().err
    assert "alm_data_overlap.overlap_percentage: 50 → 10" in error and "overwrite=true" in error
    assert (tmp_path / "out" / "alm_output.jsonl").read_bytes() == before

    assert main([*arguments, "stages.2.overlap_percentage=10", "overwrite=true"]) == 0
    assert (tmp_path / "out" / "alm_output.jsonl").read_bytes() != before
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_overwrite_with_a_source_that_is_not_there_deletes_nothing(manifest: Path, tmp_path: Path, capsys: Any) -> None:
    arguments = ["executor=local", f"output_dir={tmp_path}/out"]
    assert main([*arguments, f"manifest_path={manifest}"]) == 0
    assert main([*arguments, f"manifest_path={tmp_path}/nothing.jsonl", "overwrite=true"]) == 2
    assert (tmp_path / "out" / "alm_output.jsonl").exists()


def test_overwrite_deletes_nothing_that_is_read(manifest: Path, tmp_path: Path, capsys: Any) -> None:
    """A second pipeline is given the output folder of the one that made its input, and does what the error proposes."""
    arguments = ["executor=local", f"output_dir={tmp_path}/out"]
    assert main([*arguments, f"manifest_path={manifest}"]) == 0
    made = tmp_path / "out" / "alm_output.jsonl"
    before = made.read_bytes()
    again = [*arguments, f"manifest_path={made}", f"output_path={tmp_path}/other.jsonl"]
    assert main(again) == 2
    capsys.readouterr()
    assert main([*again, "overwrite=true"]) == 2
    assert f"overwrite=true would delete {made}, which is read" in capsys.readouterr().err
    assert made.read_bytes() == before
    assert main([*arguments, f"manifest_path={manifest}", "overwrite=true"]) == 0


def test_a_file_of_ones_own_is_not_replaced(manifest: Path, tmp_path: Path, capsys: Any) -> None:
    precious = tmp_path / "out" / "alm_output.jsonl"
    precious.parent.mkdir()
    precious.write_text("mine")
    arguments = ["executor=local", f"manifest_path={manifest}", f"output_dir={tmp_path}/out"]
    assert main(arguments) == 2
    assert "is there already, and not from here" in capsys.readouterr().err
    assert precious.read_text() == "mine"
    assert main([*arguments, "overwrite=true"]) == 0


def test_memory_is_that_of_one_process(manifest: Path, capsys: Any) -> None:
    assert main([f"manifest_path={manifest}", "output_dir=memory://out", "executor=ray_actors"]) == 2
    assert "memory://out lies in the memory of one process; run it with executor=local" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["maybe", "1", "[true]"])
def test_flags_are_true_or_false(value: str, manifest: Path, capsys: Any) -> None:
    assert main([f"manifest_path={manifest}", f"dry_run={value}"]) == 2
    assert "dry_run is" in capsys.readouterr().err


def test_a_check_says_in_one_line_that_all_is_well(s3_bucket: str, s3_endpoint: str, run_cli: Any) -> None:
    done = run_cli("--check", f"{s3_bucket}/out", f"storage_options.endpoint_url={s3_endpoint}")
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith(
        f"ok: {s3_bucket}/out (nothing there yet) can be listed, read, written and deleted (endpoint "
    )


def test_a_check_says_in_one_line_what_is_wrong(tmp_path: Path, s3_bucket: str, run_cli: Any) -> None:
    wrong = run_cli("--check", f"{s3_bucket}-not/out", "storage_options.verify=false")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    (line,) = wrong.stderr.splitlines()
    assert line.startswith(
        f"error: {s3_bucket}-not/out cannot be listed or written: there is no such bucket; check the"
    )

    failed = run_cli("--check", f"{s3_bucket}/out", "storage_options.endpoint_url=http://127.0.0.1:1")
    assert (failed.returncode, failed.stdout) == (1, "")
    (line,) = failed.stderr.splitlines()
    assert line.startswith(
        f"error: cannot list {s3_bucket}/out: the endpoint cannot be reached (http://127.0.0.1:1 ref"
    )


def test_a_check_needs_no_pipeline(tmp_path: Path, capsys: Any) -> None:
    assert main(["--check", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"ok: {tmp_path} (nothing there yet) can be listed, read, written and deleted\n"


@pytest.mark.parametrize("override", ["manifest_path=in.jsonl", "storage_option.verify=false", "verify"])
def test_a_check_takes_options_of_storage_only(override: str, tmp_path: Path, capsys: Any) -> None:
    assert main(["--check", str(tmp_path), override]) == 2
    assert capsys.readouterr().err == f"error: '{override}' is not for --check; give it storage_options.… only\n"


def test_alone_it_tells_what_can_be_run(capsys: Any) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert "\nsegment              Segments of recordings, cut to 16 kHz mono, with their texts\n" in printed
    assert "--config-name NAME key=value" in printed


def test_the_composed_configuration(capsys: Any) -> None:
    assert main(["--cfg", "job", "--config-name", "pairs", "stages.0.seed=3", "executor=local"]) == 0
    composed = yaml.safe_load(capsys.readouterr().out)
    assert (composed["stages"][0]["seed"], composed["input_path"]) == (3, "???")
    assert composed["executor"] == {"_target_": "curator_audio.executors.local.LocalExecutor"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--channels=a,b"],
            "there is no option --channels=a,b; parameters are written without dashes: channels=[a,b]",
        ),
        (["--foo-bar", "3"], "there is no option --foo-bar; parameters are written without dashes: foo_bar=…"),
        (["--max-workers", "4"], "there is no option --max-workers; use executor.num_workers"),
        (["manifest_path=a.jsonl", "max_workers=4"], "there is no 'max_workers' here; use executor.num_workers"),
        (
            ["--config-name", "publish", "hf_repo=me/a"],
            "there is no 'hf_repo' here; use repo_id, with --config-name publ",
        ),
        (
            ["--config-name", "encode", "codec_device=cpu"],
            "there is no 'codec_device' here; use 'stages.1.resources={cp",
        ),
        (["--config-name", "segment", "input_path=a"], "there is no 'input_path' here; use manifest_path"),
        (["--config-name", "encode", "manifest_path=a"], "there is no 'manifest_path' here; use input_path"),
        (["--list", "a=1"], "'a=1' is not for --list or --show; leave it out"),
        (["--show", "segmnt"], "did you mean 'segment'?"),
    ],
)
def test_what_is_meant_for_another_tool(arguments: list[str], said: str, capsys: Any) -> None:
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and said in line


def test_a_terminal_of_few_letters_is_no_failure(manifest: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    command = [sys.executable, str(REPOSITORY / "main.py"), "executor=local"]
    command += [f"manifest_path={manifest}", f"output_dir={tmp_path}/out"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[1]) == (0, "  Output entries: 40")
    assert "s | items_processed: 40" in done.stdout and "\\x" not in done.stdout


def test_a_reader_that_wants_no_more_of_the_output_is_no_failure_with_a_traceback() -> None:
    command = f"{sys.executable} {REPOSITORY / 'main.py'} --list | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stderr == ""


def test_the_package_tells_what_it_has() -> None:
    import curator_audio

    assert {"Pipeline", "__version__"} <= set(dir(curator_audio))


def test_importing_the_package_brings_no_heavy_library() -> None:
    code = "import sys, curator_audio; print(sorted({'ray', 'pyarrow', 'hydra', 's3fs', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


# Stopped -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_advice_after_a_stop_keeps_what_is_done(
    overwrite: bool, manifest: Path, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "test.yaml").write_text(
        f"""
overwrite: false
output_dir: {tmp_path}/out
stages:
  - {{_target_: curator_audio.stages.io.ManifestReaderStage, manifest_path: {manifest}, partition_size_mb: 0.02}}
  - _target_: curator_audio.stages.general.CallFunctionStage
    function: tests.functions.interrupted
    arguments: {{victim: audio/0030.wav, marker_path: {tmp_path}/marker}}
  - {{_target_: curator_audio.stages.io.ManifestWriterStage, output_path: {tmp_path}/out/out.jsonl}}
after: [{{_target_: curator_audio.finalizers.JoinParts}}]
executor: {{_target_: curator_audio.executors.local.LocalExecutor}}
"""
    )
    command = ["--config-path", f"{tmp_path}/conf", "--config-name", "test"]
    assert main([*command, *(["overwrite=true"] if overwrite else [])]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == (
        "stopped; leave out overwrite=true (which begins from nothing) and run the same command to go on where it was"
        if overwrite
        else "stopped; run the same command again to go on where it was"
    )
    assert main(command) == 0
    assert "of them by an earlier run" in capsys.readouterr().out


# Folders of others -------------------------------------------------------------------------------------------


def test_overwrite_deletes_nothing_that_a_foreign_ledger_names_elsewhere(
    manifest: Path, tmp_path: Path, capsys: Any
) -> None:
    out, mine = tmp_path / "out", tmp_path / "mine.txt"
    arguments = ["executor=local", f"manifest_path={manifest}", f"output_dir={out}"]
    assert main(arguments) == 0
    mine.write_text("mine")
    entries = out / "_ledger" / "entries.jsonl"
    entries.write_text(entries.read_text().replace('"quarantine":[]', '"quarantine":[{"path":"../mine.txt",'
        '"num_bytes":4,"sha256":"","num_records":1}]'))  # fmt: skip
    assert main([*arguments, "overwrite=true"]) == 0
    assert mine.read_text() == "mine"
    told = capsys.readouterr().err
    assert f"the ledger names 1 file(s) that lie neither in {out} nor where this run writes: {out}/../mine.txt" in told
