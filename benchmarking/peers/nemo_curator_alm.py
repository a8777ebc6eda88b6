"""NeMo Curator's ALM stages on a manifest: one JSON line on standard output for every measurement.

Runs with the Python of an environment that has ``nemo-curator``, not with ours; ``compare.py`` makes that
environment and calls this script. By hand:

    ENV/bin/python benchmarking/peers/nemo_curator_alm.py versions
    ENV/bin/python benchmarking/peers/nemo_curator_alm.py pipeline --manifest IN.jsonl --executor ray_actors
    ENV/bin/python benchmarking/peers/nemo_curator_alm.py stages --manifest IN.jsonl

``--parameters`` takes a JSON object. ``builder``, ``overlap``, ``reader`` and ``executor`` hold keyword arguments
of the stages and of the executor (its ``config``); ``batch_size`` is set on the two ALM stages and ``cpus`` on all
stages. What is left out keeps NeMo Curator's default, except for an ``overlap_percentage`` of 50.

    --parameters '{"batch_size": 64, "cpus": 0.25, "builder": {"min_speakers": 1}, "executor": {}}'
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

Parameters = dict[str, Any]

OVERLAP_PERCENTAGE = 50
PACKAGES = ("nemo-curator", "ray", "torch", "cosmos-xenna")
EXECUTORS = {
    "ray_actors": ("nemo_curator.backends.ray_actor_pool", "RayActorPoolExecutor"),
    "ray_data": ("nemo_curator.backends.ray_data", "RayDataExecutor"),
    "xenna": ("nemo_curator.backends.xenna", "XennaExecutor"),
}
READER_PARTS = ("file_partitioning", "manifest_reader_stage")


def load(module: str, name: str) -> Any:
    """A class of the peer, by name, so that this file can be type-checked without the peer."""
    return getattr(import_module(module), name)


def alm_stages(parameters: Parameters) -> tuple[Any, Any]:
    builder = load("nemo_curator.stages.audio.alm", "ALMDataBuilderStage")
    overlap = load("nemo_curator.stages.audio.alm", "ALMDataOverlapStage")
    return (
        builder(**parameters.get("builder", {})),
        overlap(**{"overlap_percentage": OVERLAP_PERCENTAGE, **parameters.get("overlap", {})}),
    )


def pipeline_stages(manifest: Path, parameters: Parameters) -> list[Any]:
    """The manifest reader and the two ALM stages, with the batch size and CPUs asked for."""
    changes: dict[str, Any] = {}
    reader = load("nemo_curator.stages.audio.common", "ManifestReader")
    reader = reader(manifest_path=str(manifest), **parameters.get("reader", {}))
    if "cpus" in parameters:
        changes["resources"] = load("nemo_curator.stages.resources", "Resources")(cpus=parameters["cpus"])
        reader = reader.with_({part: changes.copy() for part in READER_PARTS})
    if "batch_size" in parameters:
        changes["batch_size"] = parameters["batch_size"]
    return [reader, *(stage.with_(**changes) if changes else stage for stage in alm_stages(parameters))]


def run_pipeline(manifest: Path, executor: str, parameters: Parameters) -> dict[str, Any]:
    """Run the whole pipeline on one of the peer's executors; nothing is written."""
    started = time.perf_counter()
    pipeline = load("nemo_curator.pipeline", "Pipeline")(name="alm", stages=pipeline_stages(manifest, parameters))
    engine = load(*EXECUTORS[executor])(config=parameters.get("executor", {}))
    running = time.perf_counter()
    entries = [task.data for task in pipeline.run(engine) or []]
    finished = time.perf_counter()
    return {
        "executor": executor,
        "parameters": parameters,
        **count(entries),
        "seconds_import": running - started,
        "seconds_pipeline": finished - running,
    }


def count(entries: list[dict[str, Any]]) -> dict[str, int]:
    return {
        "entries": len(entries),
        "windows": sum(len(entry["windows"]) for entry in entries),
        "filtered_windows": sum(len(entry["filtered_windows"]) for entry in entries),
    }


def line_processor(parameters: Parameters) -> Callable[[bytes], tuple[dict[str, Any], str]]:
    """A function from a manifest line to the processed entry and its JSON, all in this process."""
    task = load("nemo_curator.tasks", "AudioTask")
    builder, overlap = alm_stages(parameters)

    def process(line: bytes) -> tuple[dict[str, Any], str]:
        entry = overlap.process(builder.process(task(dataset_name="alm", data=json.loads(line)))).data
        return entry, json.dumps(entry, ensure_ascii=False)

    return process


def run_stages(manifest: Path, warm_up: int, parameters: Parameters) -> dict[str, Any]:
    """Parse, build windows, filter them and format, line by line, without an engine."""
    process = line_processor(parameters)
    lines = [line for line in manifest.read_bytes().splitlines() if line.strip()]
    for line in lines[:warm_up]:
        process(line)
    windows = filtered_windows = characters = 0
    started = time.perf_counter()
    for line in lines:
        entry, text = process(line)
        windows += len(entry["windows"])
        filtered_windows += len(entry["filtered_windows"])
        characters += len(text)
    seconds = time.perf_counter() - started
    return {
        "entries": len(lines),
        "windows": windows,
        "filtered_windows": filtered_windows,
        "output_size": characters,
        "seconds": seconds,
        "ms_per_entry": 1000 * seconds / max(len(lines), 1),
    }


def versions() -> dict[str, str]:
    """The versions installed; fails where the ALM stages cannot be imported."""
    alm_stages({})
    load("nemo_curator.stages.audio.common", "ManifestReader")
    return {package: metadata.version(package) for package in PACKAGES}


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("versions", help="check the installation")
    pipeline = commands.add_parser("pipeline", help="reader and ALM stages on an executor")
    pipeline.add_argument("--executor", choices=sorted(EXECUTORS), default="ray_actors")
    stages = commands.add_parser("stages", help="parsing, ALM stages and formatting in this process")
    stages.add_argument("--warm-up", type=int, default=50, metavar="N", help="entries processed before the clock runs")
    for command in (pipeline, stages):
        command.add_argument("--manifest", type=Path, required=True)
        command.add_argument("--parameters", type=json.loads, default={}, metavar="JSON")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_arguments(arguments)
    result: dict[str, Any]
    if options.command == "pipeline":
        result = run_pipeline(options.manifest, options.executor, options.parameters)
    elif options.command == "stages":
        result = run_stages(options.manifest, options.warm_up, options.parameters)
    else:
        result = dict(versions())
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
