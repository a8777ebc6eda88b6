"""ALM windows cut out of long recordings: whether each is right to the sample, and how fast.

    python benchmarking/scripts/alm_shards_benchmark.py --manifest voxconverse/dev.jsonl

The recordings are made here, 16 kHz FLAC of the lengths in the manifest, in which the value of every sample tells its
place. The ALM pipeline finds the windows, ``alm_shards`` cuts them, and every window that comes out is compared with
the samples of its span.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
from memory_benchmark import REPOSITORY

from curator_audio.stages.speech.cutting import sample_index

SAMPLE_RATE = 16000
PERIOD = 30011
"""A prime, so that a place is known from some neighbouring samples whatever the window."""
BLOCK_SEC = 60


def samples_at(first: int, end: int) -> npt.NDArray[np.int16]:
    """The samples of a recording from one place up to another: a saw, whose steps come ever later."""
    places = np.arange(first, end, dtype=np.int64)
    return ((places + places // PERIOD * 7) % PERIOD).astype(np.int16)


def make_recording(path: Path, duration_sec: float) -> None:
    num_samples = sample_index(duration_sec, SAMPLE_RATE) + SAMPLE_RATE
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC") as file:
        for first in range(0, num_samples, BLOCK_SEC * SAMPLE_RATE):
            file.write(samples_at(first, min(first + BLOCK_SEC * SAMPLE_RATE, num_samples)))


def run(*arguments: object) -> float:
    """Run a pipeline; the seconds it took."""
    started = time.perf_counter()
    command = [sys.executable, str(REPOSITORY / "main.py"), *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def end_of(entry: dict[str, Any]) -> float:
    return max([float(entry.get("duration") or 0.0), *(segment["end"] for segment in entry["segments"])])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--executor", default="ray_actors")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        entries = [json.loads(line) for line in options.manifest.read_text().splitlines()]
        with open(root / "manifest.jsonl", "w") as manifest:
            for number, entry in enumerate(entries):
                entry["audio_filepath"] = f"recordings/{number:04d}.flac"
                make_recording(root / entry["audio_filepath"], end_of(entry))
                manifest.write(json.dumps(entry) + "\n")
        hours = sum(map(end_of, entries)) / 3600
        print(f"{len(entries)} recordings, {hours:.1f} h", flush=True)
        run(
            "--config-name",
            "pipeline",
            "executor=local",
            f"manifest_path={root}/manifest.jsonl",
            f"output_dir={root}/alm",
        )
        paths = [f"manifest_path={root}/alm/alm_output.jsonl", f"audio_dir={root}", f"output_dir={root}/shards"]
        time_sec = run("--config-name", "alm_shards", f"executor={options.executor}", *paths)
        wanted = spans(root / "alm/alm_output.jsonl")
        found = dict(windows(root / "shards/data"))
    num_right = sum(found.get(window_id) == span for window_id, span in wanted.items())
    result = {"windows": len(wanted), "right_to_the_sample": num_right, "others": len(found.keys() - wanted.keys())}
    print(f"{time_sec:.1f} s, {3600 * hours / time_sec:.0f} x real time, with the start of the executor")
    print(json.dumps(result))
    return 0 if num_right == len(wanted) == len(found) else 1


def spans(output: Path) -> dict[str, tuple[int, int]]:
    """First sample and end of every window, by its name, as the ALM pipeline has them."""
    found = {}
    for line in output.read_text().splitlines():
        entry = json.loads(line)
        for index, window in enumerate(entry["filtered_windows"]):
            times = window["segments"][0]["start"], window["segments"][-1]["end"]
            first, end = (sample_index(time_sec, SAMPLE_RATE) for time_sec in times)
            audio = Path(entry["audio_filepath"])
            found[f"{audio.parent.name}/{audio.stem}_win_{index}"] = first, end
    return found


def windows(shards: Path) -> Any:
    """The same as the sound of the shards has them; (-1, -1) where it is from nowhere."""
    import pyarrow.parquet

    for path in sorted(shards.glob("*.parquet")):
        for row in pyarrow.parquet.read_table(path, columns=["window_id", "start", "audio"]).to_pylist():
            samples, _ = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="int16")
            first = sample_index(row["start"], SAMPLE_RATE)
            is_there = np.array_equal(samples, samples_at(first, first + len(samples)))
            yield row["window_id"], (first, first + len(samples)) if is_there else (-1, -1)


if __name__ == "__main__":
    sys.exit(main())
