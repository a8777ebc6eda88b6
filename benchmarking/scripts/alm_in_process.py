"""Parse -> windows -> overlap -> JSON in this process, without an engine; one JSON line on standard output.

    python benchmarking/scripts/alm_in_process.py --manifest IN.jsonl

The manifest is read before the clock runs and nothing is written: what is timed is the computing alone, with the
stages' defaults and an ``overlap_percentage`` of 50.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from curator_audio.stages.alm import ALMDataBuilderStage, ALMDataOverlapStage
from curator_audio.storage.json_codec import decode_line, encode_record

OVERLAP_PERCENTAGE = 50


def line_processor() -> Callable[[bytes], tuple[dict[str, Any], bytes]]:
    """A function from a manifest line to the processed record and its JSON."""
    builder = ALMDataBuilderStage()
    overlap = ALMDataOverlapStage(overlap_percentage=OVERLAP_PERCENTAGE)

    def process(line: bytes) -> tuple[dict[str, Any], bytes]:
        record = overlap.process_record(builder.process_record(decode_line(line)))
        return record, encode_record(record)

    return process


def measure(manifest: Path, warm_up: int) -> dict[str, Any]:
    """Milliseconds an entry, and counts to compare the work by."""
    process = line_processor()
    lines = [line for line in manifest.read_bytes().splitlines() if line.strip()]
    for line in lines[:warm_up]:
        process(line)
    windows = filtered_windows = size = 0
    started = time.perf_counter()
    for line in lines:
        record, text = process(line)
        windows += len(record["windows"])
        filtered_windows += len(record["filtered_windows"])
        size += len(text)
    seconds = time.perf_counter() - started
    return {
        "entries": len(lines),
        "windows": windows,
        "filtered_windows": filtered_windows,
        "output_size": size,
        "seconds": seconds,
        "ms_per_entry": 1000 * seconds / max(len(lines), 1),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--warm-up", type=int, default=50, metavar="N", help="entries processed before the clock runs")
    options = parser.parse_args(arguments)
    print(json.dumps(measure(options.manifest, options.warm_up)), flush=True)


if __name__ == "__main__":
    main()
