"""Compares what two commits cost: user CPU time of whole processes, old and new in turn, in one run.

    python benchmarking/scripts/compare_commits.py --old v0.1 --new HEAD

Runs the ALM pipeline on the sample, repeated to 10,000 entries, and `segment` on recordings made here (or on a manifest
of your own), each with executor=local, in copies of the two commits. Of the ratios new/old of each round it prints the
median and its 95 % interval (of order statistics), and ends with 1 where a median is above --limit. Needs the extra
audio, for both commits.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLE = REPOSITORY / "tutorials" / "alm_windows" / "sample.jsonl"
SEGMENT_SEC = 6.0
RATE = 44100


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", required=True, help="commit to compare with")
    parser.add_argument("--new", default="HEAD", help="commit to measure (default: HEAD)")
    parser.add_argument("--rounds", type=int, default=10, help="how often each is run (default: 10)")
    parser.add_argument("--entries", type=int, default=10_000, help="entries of the ALM manifest (default: 10000)")
    parser.add_argument("--minutes", type=float, default=30.0, help="of recordings made for segment (default: 30)")
    parser.add_argument("--manifest", type=Path, help="recordings of your own for segment")
    parser.add_argument("--limit", type=float, default=1.03, help="largest median ratio (default: 1.03)")
    return parser.parse_args()


def checkout(commit: str, folder: Path) -> Path:
    """A copy of a commit."""
    folder.mkdir()
    archive = subprocess.run(["git", "archive", commit], cwd=REPOSITORY, stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "x", "-C", str(folder)], input=archive, check=True)
    return folder


def make_manifest(path: Path, num_entries: int) -> Path:
    lines = SAMPLE.read_text(encoding="utf-8").splitlines()
    path.write_text("".join(lines[index % len(lines)] + "\n" for index in range(num_entries)), encoding="utf-8")
    return path


def make_recordings(folder: Path, minutes: float) -> Path:
    """Recordings of ten minutes at most, 44.1 kHz stereo, cut end to end into segments."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    entries = []
    for number in range(math.ceil(minutes / 10)):
        length_sec = 60 * min(10.0, minutes - 10 * number)
        samples = rng.normal(0, 0.1, (int(length_sec * RATE), 2)).astype(np.float32)
        name = f"{number}.{('flac', 'wav', 'ogg')[number % 3]}"
        with soundfile.SoundFile(folder / name, "w", RATE, 2) as file:
            for start in range(0, len(samples), RATE):  # libsndfile's Vorbis encoder takes no more at once
                file.write(samples[start : start + RATE])
        segments = [
            {"start": start, "end": start + SEGMENT_SEC, "speaker": f"s{index % 2}", "text": f"text {index}"}
            for index, start in enumerate(np.arange(0, length_sec - SEGMENT_SEC, SEGMENT_SEC).tolist())
        ]
        entries.append({"audio_filepath": name, "segments": segments})
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return manifest


def user_sec(tree: Path, pipeline: str, manifest: Path) -> float:
    """The user CPU time of one run of a pipeline, its children included."""
    with tempfile.TemporaryDirectory() as out:
        words = ["--config-name", pipeline, "executor=local", f"manifest_path={manifest}", f"output_dir={out}/out"]
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is not compiled at every start
        before = os.times().children_user
        run = subprocess.run(
            [sys.executable, str(tree / "main.py"), *words], env=environment, cwd=out, capture_output=True, text=True
        )
        if run.returncode:
            sys.exit(f"{pipeline} in {tree} ended with {run.returncode}: {run.stderr.strip()}")
        return os.times().children_user - before


def interval(ratios: list[float]) -> tuple[float, float]:
    """The narrowest pair of order statistics that holds the median with at least 95 % (all, where there are few)."""
    ordered, n = sorted(ratios), len(ratios)
    for rank in range(n // 2, 0, -1):
        outside = 2 * sum(math.comb(n, k) for k in range(rank)) / 2**n
        if outside <= 0.05:
            return ordered[rank - 1], ordered[n - rank]
    return ordered[0], ordered[-1]


def main() -> int:
    options = parse()
    too_slow = False
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        trees = {side: checkout(getattr(options, side), work / side) for side in ("old", "new")}
        jobs = {
            "pipeline": make_manifest(work / "alm.jsonl", options.entries),
            "segment": options.manifest.resolve() if options.manifest else make_recordings(work / "r", options.minutes),
        }
        for pipeline, manifest in jobs.items():
            for tree in trees.values():
                user_sec(tree, pipeline, manifest)  # compiles what it imports
            times: dict[str, list[float]] = {"old": [], "new": []}
            for number in range(options.rounds):
                for side in ("old", "new") if number % 2 else ("new", "old"):
                    times[side].append(user_sec(trees[side], pipeline, manifest))
            ratios = [new / old for old, new in zip(times["old"], times["new"])]
            low, high = interval(ratios)
            medians = " against ".join(f"{statistics.median(times[side]):.2f} s" for side in ("new", "old"))
            ratio = statistics.median(ratios)
            print(f"{pipeline}: {ratio:.3f} ({low:.3f} to {high:.3f}), {medians} of user CPU time", flush=True)
            too_slow |= ratio > options.limit
    return 1 if too_slow else 0


if __name__ == "__main__":
    sys.exit(main())
