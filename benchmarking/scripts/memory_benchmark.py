"""Shows that memory does not grow with the manifest: peak memory of all processes, on a small and a large one.

    python benchmarking/scripts/memory_benchmark.py --executor ray_actors --small-mb 60 --large-mb 600

Every 50 ms the memory of the pipeline's process and its workers is added up: their resident memory less what they
share, so that pages of shared libraries and of Ray's object store are not counted once a process. Ray's own processes
(raylet, GCS, log monitor, agents) are left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLE = REPOSITORY / "tutorials" / "alm_windows" / "sample.jsonl"
INTERVAL_SEC = 0.05
STAGE_WORKERS = ("ray::_ActorBody", "ray::MapWorker", "ray::StageWorker", "ray::Stage ")
"""How Ray names the processes that run stages, on ray_actors, ray_data and xenna."""


def peak_memory_mb(command: list[str]) -> float:
    """Run a command; the highest sum of its process's and its workers' own memory."""
    run = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    root = psutil.Process(run.pid)
    peak = 0
    while run.poll() is None:
        peak = max(peak, sum(map(own_memory_bytes, [root, *workers_of(root)])))
        time.sleep(INTERVAL_SEC)
    if run.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {run.returncode}")
    return peak / 2**20


def workers_of(root: psutil.Process) -> list[psutil.Process]:
    """The processes below that run our stages: Ray names a process after the actor in it."""
    try:
        children = root.children(recursive=True)
    except psutil.Error:
        return []
    return [child for child in children if is_worker(child)]


def is_worker(process: psutil.Process) -> bool:
    try:
        return any(worker in "".join(process.cmdline()[:1]) for worker in STAGE_WORKERS)
    except psutil.Error:
        return False


def own_memory_bytes(process: psutil.Process) -> int:
    try:
        memory = process.memory_info()
        return int(memory.rss - memory.shared)
    except psutil.Error:
        return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input-manifest", type=Path, default=SAMPLE)
    parser.add_argument("--executor", default="ray_actors", choices=["local", "ray_actors", "ray_data", "xenna"])
    parser.add_argument("--small-mb", type=int, default=60, help="size of the small manifest, MB")
    parser.add_argument("--large-mb", type=int, default=600, help="size of the large manifest, MB")
    parser.add_argument("--work-dir", help="folder with room for ten times the large manifest, twice")
    options = parser.parse_args()
    data = options.input_manifest.read_bytes()
    peaks = []
    for size_mb in (options.small_mb, options.large_mb):
        with tempfile.TemporaryDirectory(dir=options.work_dir) as work:
            manifest = Path(work, "manifest.jsonl")
            with manifest.open("wb") as file:
                for _ in range(size_mb * 10**6 // len(data) + 1):
                    file.write(data)
            arguments = [f"executor={options.executor}", f"manifest_path={manifest}", f"output_dir={work}/out"]
            peaks.append(peak_memory_mb([sys.executable, "main.py", *arguments, f"output_path={work}/out/shards"]))
            print(f"{size_mb:5d} MB manifest: peak {peaks[-1]:.0f} MB", flush=True)
    print(json.dumps({"executor": options.executor, "peak_mb": peaks, "ratio": round(peaks[1] / peaks[0], 3)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
