"""Measures the ALM pipeline on a manifest, once or as the entries of a nightly configuration say.

    python benchmarking/scripts/alm_pipeline_benchmark.py --benchmark-results-path results \\
        --input-manifest tutorials/alm_windows/sample.jsonl --executor ray_actors --repeat-factor 2000

Writes to the results path: params.json (what was run), metrics.json (how it went), tasks.jsonl (every partition's
ledger entry) and the same as tasks.pkl for runners that expect it. With ``--config nightly-benchmark.yaml`` each entry
of the file is run in a process of its own, into a folder of its name. A manifest may be a URL, such as s3://….
"""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from curator_audio.errors import ConfigurationError, CuratorError
from curator_audio.pipeline.config import build_executor, build_pipeline, load_config
from curator_audio.report.result import RunResult
from curator_audio.storage.storage import Storage, absolute

SAMPLE = Path(__file__).resolve().parents[2] / "tutorials" / "alm_windows" / "sample.jsonl"
STAGE_PARAMETERS = {
    "target_window_duration": (1, float),
    "tolerance": (1, float),
    "min_sample_rate": (1, int),
    "min_bandwidth": (1, int),
    "min_speakers": (1, int),
    "max_speakers": (1, int),
    "truncation": (1, str),
    "drop_fields": (1, str),
    "drop_fields_top_level": (1, str),
    "overlap_percentage": (2, float),
    "target_duration": (2, float),
}
"""The ALM parameters: the stage each belongs to, by its place in the pipeline, and its type."""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark-results-path", type=Path, required=True, help="folder for the results")
    parser.add_argument("--input-manifest", default=str(SAMPLE), help="manifest to process (default: the sample)")
    parser.add_argument("--executor", default="ray_actors", choices=["local", "ray_actors", "ray_data", "xenna"])
    parser.add_argument("--num-workers", type=int, help="workers of the executor (default: it decides)")
    parser.add_argument("--repeat-factor", type=int, default=1, help="how often the manifest is repeated (default: 1)")
    parser.add_argument("--config", type=Path, help="run the entries of a nightly configuration")
    for name, (_, kind) in STAGE_PARAMETERS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help="see the ALM pipeline (default: its own)")
    return parser


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    options = parser().parse_args(arguments)
    if options.repeat_factor < 1:
        parser().error(f"--repeat-factor is {options.repeat_factor}; give a number of at least 1")
    if options.config and not options.config.is_file():
        parser().error(f"--config {options.config} is not a file")
    return options


def overrides(options: argparse.Namespace, manifest: Path, output_dir: Path) -> list[str]:
    """The command line that the options stand for."""
    values = [f"executor={options.executor}", f"manifest_path={manifest}", f"output_dir={output_dir}"]
    if options.num_workers and options.executor != "local":
        values.append(f"executor.num_workers={options.num_workers}")
    for name, (stage, _) in STAGE_PARAMETERS.items():
        value = getattr(options, name)
        if value is not None:
            quoted = f"'{value}'" if isinstance(value, str) and name != "truncation" else value
            values.append(f"stages.{stage}.{name}={quoted}")
    return values


def run(options: argparse.Namespace) -> bool:
    """Run once and write the results; returns whether it succeeded."""
    results: Path = options.benchmark_results_path
    results.mkdir(parents=True, exist_ok=True)
    params = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    write_json(results / "params.json", params)
    metrics: dict[str, Any] = {"is_success": False}
    tasks: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as work:
        manifest = Path(work, "manifest.jsonl")
        try:
            repeat(options.input_manifest, options.repeat_factor, manifest)
            started = time.perf_counter()
            config = load_config("pipeline", None, overrides(options, manifest, Path(work, "out")))
            result = build_pipeline(config).run(build_executor(config), output_dir=str(Path(work, "out")))
            metrics = figures(result, time.perf_counter() - started)
            tasks = [json.loads(entry.to_json()) for entry in result.entries]
        except CuratorError as error:
            print(f"error: {error}", file=sys.stderr)
            metrics["error"] = str(error)
    write_json(results / "metrics.json", metrics)
    (results / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
    (results / "tasks.pkl").write_bytes(pickle.dumps(tasks))
    print(json.dumps(metrics, indent=1))
    return bool(metrics["is_success"])


def figures(result: RunResult, time_taken_s: float) -> dict[str, Any]:
    """What a run's own metrics and the time it took amount to."""
    reader, builder, overlap = (result.metrics[stage] for stage in result.stages[:3])
    windows = builder.custom.get("windows_created", 0)
    return {
        "is_success": result.exit_status == 0,
        "time_taken_s": time_taken_s,
        "num_entries": reader.items_out,
        "num_output_entries": result.num_output_records,
        "num_quarantined": sum(result.quarantined.values()),
        "num_failed_partitions": len(result.failures),
        "total_windows": int(windows),
        "total_filtered_windows": int(overlap.custom.get("output_windows (after overlap)", 0)),
        "total_audio_duration_s": reader.custom.get("audio_duration", 0.0),
        "total_filtered_duration_s": overlap.custom.get("filtered_audio_duration", 0.0),
        "throughput_entries_per_sec": reader.items_out / time_taken_s,
        "throughput_windows_per_sec": windows / time_taken_s,
        "stage_process_time_s": {stage: metrics.process_time for stage, metrics in result.metrics.items()},
    }


def run_nightly(options: argparse.Namespace) -> bool:
    """Run every entry of a nightly configuration; returns whether all succeeded."""
    succeeded = True
    for entry in nightly_entries(options.config):
        results = options.benchmark_results_path / entry["name"]
        command = [sys.executable, __file__, "--benchmark-results-path", str(results)]
        arguments = {"input_manifest": options.input_manifest, **(entry.get("args") or {})}
        for name, value in arguments.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        print(f"== {entry['name']}", flush=True)
        succeeded &= subprocess.run(command).returncode == 0
    return succeeded


def nightly_entries(config: Path) -> list[dict[str, Any]]:
    """The entries of a nightly configuration: each a ``name``, and ``args`` with options of this script.

    Raises:
        ConfigurationError: the file is something else.
    """
    import yaml

    form = "give 'entries:', a list of {name: …, args: {repeat_factor: …}}"
    try:
        content = yaml.safe_load(config.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--config {config} is no YAML: {' '.join(str(error).split())}; {form}") from None
    entries = content.get("entries") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ConfigurationError(f"--config {config} has no entries that this script knows; {form}")
    options = {action.dest for action in parser()._actions} - {"help", "config", "benchmark_results_path"}
    for number, entry in enumerate(entries):
        place = f"--config {config}: entry {number}"
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or set(entry) - {"name", "args"}:
            raise ConfigurationError(f"{place} is {entry!r:.200}; {form}")
        args = entry.get("args") or {}
        if not isinstance(args, dict) or (unknown := set(args) - options):
            what = f"the unknown option '{min(unknown)}'" if isinstance(args, dict) else f"the args {args!r:.100}"
            raise ConfigurationError(f"{place} ({entry['name']}) has {what}; there are {', '.join(sorted(options))}")
    return entries


def repeat(manifest: str, factor: int, target: Path) -> None:
    """Write a manifest out several times."""
    data = Storage().read(absolute(manifest))
    data += b"" if data.endswith(b"\n") else b"\n"
    with target.open("wb") as file:
        for _ in range(factor):
            file.write(data)


def write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1) + "\n")


def main() -> int:
    options = parse()
    try:
        return 0 if (run_nightly(options) if options.config else run(options)) else 1
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status


if __name__ == "__main__":
    sys.exit(main())
