"""Encodes thousands of generated segments from one S3 prefix into another, and shows what it takes.

    python benchmarking/scripts/encode_benchmark.py --num-segments 2000 20000 --kills 3

The object store is a moto server on this machine, whose own memory is not counted; the codec has the real architecture,
narrow and with random weights. The largest number is done twice: in one go, for the peak of memory and disk, and into
another prefix with the run killed (SIGKILL, with all its workers) as many times as asked. Shown are the memory of the
pipeline's process and its workers, what lies on the disk in all temporary folders, and how often each segment is in the
output. Needs the extras codec and test.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from memory_benchmark import own_memory_bytes, workers_of

from curator_audio.stages.speech.npz import npz_of_record
from curator_audio.stages.speech.segments import segment_record
from curator_audio.stages.speech.sound import Samples, audio_field
from curator_audio.storage.storage import Storage

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLE_RATE = 16000
SEGMENTS_PER_RECORDING = 50
INTERVAL_SEC = 0.1


class ObjectStore:
    """A moto server for the length of the benchmark; its address and credentials stand in the environment."""

    def __enter__(self) -> ObjectStore:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        self.server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.environ |= {"S3_ENDPOINT_URL": self.endpoint, "S3_ACCESS_KEY": "benchmark", "S3_SECRET_KEY": "benchmark"}
        for _ in range(200):
            try:
                urllib.request.urlopen(self.endpoint, timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/speech", method="PUT")).close()
        return self

    def __exit__(self, *_: Any) -> None:
        self.server.terminate()
        self.server.wait()


def make_segments(prefix: str, num_segments: int, max_sec: float) -> float:
    """Write segments as ``.npz``; returns the hours of sound in them."""
    rng = np.random.default_rng(0)
    storage = Storage()
    num_samples = 0
    for first in range(0, num_segments, 1000):
        files: dict[str, bytes] = {}
        for number in range(first, min(first + 1000, num_segments)):
            recording, index = divmod(number, SEGMENTS_PER_RECORDING)
            samples = sound(rng, int(rng.uniform(0.3, max_sec) * SAMPLE_RATE))
            segment_id = f"rec{recording:05d}_seg_{index}"
            record = segment_record(
                segment_id=segment_id,
                audio_id=f"rec{recording:05d}",
                text=f"segment {number}",
                speaker_id=f"rec{recording:05d}/a",
                duration_sec=len(samples) / SAMPLE_RATE,
                audio=audio_field(samples, SAMPLE_RATE, segment_id),
            )
            files[f"{prefix}/channel{recording % 7}/{segment_id}.npz"] = npz_of_record(record)
            num_samples += len(samples)
        storage.each(lambda path: storage.write(path, files[path]), list(files))  # noqa: B023 done before the next
    return num_samples / SAMPLE_RATE / 3600


def sound(rng: np.random.Generator, num_samples: int) -> Samples:
    """A few gliding tones and some noise."""
    time_sec = np.arange(num_samples) / SAMPLE_RATE
    tones = sum(
        np.sin(2 * np.pi * (rng.uniform(80, 3000) * time_sec + rng.uniform(-500, 500) * time_sec**2)) for _ in range(4)
    )
    mixed = 0.15 * tones + 0.02 * rng.standard_normal(num_samples)
    return np.round(mixed * 2048).astype(np.float32) / 4096


class Run:
    """The pipeline in a process of its own, watched: memory, disk, finished partitions."""

    def __init__(self, source: str, output_dir: str, options: argparse.Namespace) -> None:
        self.output_dir = output_dir
        self.peak_memory = 0
        self.peak_disk = 0
        self._command = [
            *(sys.executable, str(REPOSITORY / "main.py"), "--config-name", "encode", "input=npz"),
            *(f"executor={options.executor}", f"input_path={source}", f"output_dir={output_dir}"),
            *(f"input.partition_size_mb={options.partition_size_mb}", "stages.1.model=random-tiny"),
            *("stages.1.resources={cpus: 1, gpus: 0}", f"scratch_budget_gb={options.scratch_budget_gb}"),
        ]

    def until(self, num_done: float = float("inf")) -> int | None:
        """Run to the end, or until so many partitions are done and then kill it; returns the exit status."""
        storage = Storage()
        before = self.num_done(storage)
        with tempfile.TemporaryDirectory(prefix="enc", dir="/tmp") as scratch:  # short: sockets lie below it
            environment = os.environ | {"TMPDIR": scratch, "RAY_TMPDIR": scratch, "OMP_NUM_THREADS": "1"}
            run = subprocess.Popen(
                self._command, cwd=scratch, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
            )
            root = psutil.Process(run.pid)
            looked = 0.0
            while run.poll() is None:
                self.peak_memory = max(self.peak_memory, sum(map(own_memory_bytes, [root, *workers_of(root)])))
                self.peak_disk = max(self.peak_disk, disk_bytes(Path(scratch)))
                if num_done != float("inf") and time.monotonic() - looked > 1.0:
                    looked = time.monotonic()
                    if self.num_done(storage) >= max(num_done, before + 1):
                        kill_all(root)
                        break
                time.sleep(INTERVAL_SEC)
            return run.wait()

    def num_done(self, storage: Storage) -> int:
        loose = len(storage.list_files(f"{self.output_dir}/_ledger/entries"))
        gathered = f"{self.output_dir}/_ledger/entries.jsonl"
        return loose + (len(storage.read(gathered).splitlines()) if storage.exists(gathered) else 0)


def disk_bytes(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_blocks * 512
            except OSError:
                continue
    return total


def kill_all(root: psutil.Process) -> None:
    """SIGKILL to the process and everything below it, Ray included."""
    processes = [root, *root.children(recursive=True)]
    for process in processes:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.Error:
            continue
    psutil.wait_procs(processes, timeout=10)


def times_encoded(output_dir: str) -> tuple[Counter[int], int, int]:
    """How often segments are in the output, how many have codes of the right number, and how many distinct codes."""
    import pyarrow.parquet

    storage = Storage()
    seen: Counter[str] = Counter()
    num_right = 0
    distinct: set[int] = set()
    for info in storage.list_files(f"{output_dir}/data"):
        if not info.path.endswith(".parquet"):
            continue
        with storage.open(info.path) as file:
            table = pyarrow.parquet.read_table(file, columns=["segment_id", "duration_sec", "codes"])
        for row in table.to_pylist():
            seen[row["segment_id"]] += 1
            num_samples = round(row["duration_sec"] * SAMPLE_RATE)
            num_right += len(row["codes"]) == num_samples // 320
            distinct.update(row["codes"])
    return Counter(seen.values()), num_right, len(distinct)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-segments", type=int, nargs="+", default=[2000, 20000])
    parser.add_argument("--max-sec", type=float, default=2.0, help="longest segment, seconds")
    parser.add_argument("--executor", default="ray_actors", choices=["local", "ray_actors", "ray_data"])
    parser.add_argument("--partition-size-mb", type=float, default=4.0)
    parser.add_argument("--scratch-budget-gb", type=float, default=0.2)
    parser.add_argument("--kills", type=int, default=3)
    options = parser.parse_args()
    peaks: list[int] = []
    with ObjectStore():
        for num_segments in sorted(options.num_segments):
            source = f"s3://speech/{num_segments}"
            hours = make_segments(source, num_segments, options.max_sec)
            print(f"{num_segments} segments, {hours:.2f} h of sound", flush=True)
            run = Run(source, f"s3://speech/out{num_segments}", options)
            started = time.perf_counter()
            status = run.until()
            time_sec = time.perf_counter() - started
            peaks.append(run.peak_memory)
            print(
                f"  in one go: exit {status}, {time_sec:.0f} s, memory {run.peak_memory / 1e6:.0f} MB, "
                f"disk {run.peak_disk / 1e6:.0f} MB of {options.scratch_budget_gb * 1e3:.0f} MB",
                flush=True,
            )
        num_partitions = run.num_done(Storage())
        killed = Run(source, f"s3://speech/killed{num_segments}", options)
        for kill in range(options.kills):
            killed.until((kill + 1) * num_partitions / (options.kills + 1))
            print(
                f"  killed with {killed.num_done(Storage())} of {num_partitions} partitions done",
                flush=True,
            )
        status = killed.until()
        counts, num_right, num_distinct = times_encoded(killed.output_dir)
        print(f"  resumed: exit {status}, disk at most {killed.peak_disk / 1e6:.0f} MB")
    result = {
        "memory_ratio": round(peaks[-1] / peaks[0], 3),
        "peak_disk_mb": round(max(run.peak_disk, killed.peak_disk) / 1e6, 1),
        "times_in_output": dict(counts),
        "right_number_of_codes": num_right,
        "distinct_codes": num_distinct,
    }
    print(json.dumps(result))
    is_good = counts == Counter({1: num_segments}) and num_right == num_segments
    return 0 if is_good and result["peak_disk_mb"] <= options.scratch_budget_gb * 1e3 else 1


if __name__ == "__main__":
    sys.exit(main())
