"""Interleaved documents against a plain script, and what memory and an object store make of it.

    python benchmarking/scripts/interleave_benchmark.py speed --num-files 50000
    python benchmarking/scripts/interleave_benchmark.py memory --num-files 10000 100000
    python benchmarking/scripts/interleave_benchmark.py store --num-files 2000 --latency-ms 30

``speed`` reads one tree by 8 lists with the pipeline on two cores and with a script of some lines (json.load a file,
sort, join, pandas' to_parquet), in turns, each in a process of its own; of both the time they take for 8 files is taken
off, and the documents are compared. ``memory`` puts all segments into one list, in folders of the same size. ``store``
reads from a moto server behind a proxy that holds every answer back, with the reader and one file at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from memory_benchmark import REPOSITORY, peak_memory_mb

WORDS = "so be it the quick brown fox jumps over a lazy dog and then some more of what was told"
NUM_LISTS = 8
SPEAKERS_PER_LIST = 10
FOLDER_FILES = 250


def segments_of(speaker: str, book: str, num_segments: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files of a folder: segments of 1 to 15 s, a recording an hour or so."""
    rng = random.Random(f"{speaker}/{book}")
    time_sec = 0.0
    for number in range(num_segments):
        duration = rng.uniform(1, 15)
        entry_id = f"{speaker}_{book}_{number:06d}"
        segment = {
            "entry_id": entry_id,
            "original_path": f"https://example.org/{speaker}/{book}/{number // 400:02d}.mp3",
            "speaker_id": speaker,
            "book_id": book,
            "transcript": " ".join(rng.choices(WORDS.split(), k=int(2.5 * duration))),
            "begin_time": round(time_sec, 3),
            "end_time": round(time_sec + duration, 3),
            "audio_duration": round(duration, 3),
            "audio_str": "".join(f"<|speech_{rng.randrange(65536)}|>" for _ in range(int(50 * duration))),
        }
        time_sec += duration
        yield f"{entry_id}.json", json.dumps(segment).encode()


def make_tree(root: Path, num_files: int, num_lists: int = NUM_LISTS) -> None:
    """A tree of so many files in folders of ``FOLDER_FILES``, and lists that name each folder once."""
    (root / "lists").mkdir(parents=True)
    lines: list[list[str]] = [[] for _ in range(num_lists)]
    num_folders = max(num_lists, num_files // FOLDER_FILES)
    for number in range(num_folders):
        of_list = number % num_lists
        speaker, book = f"{1000 + of_list * SPEAKERS_PER_LIST + number % SPEAKERS_PER_LIST}", f"{number}"
        folder = root / "tree" / speaker / book
        folder.mkdir(parents=True)
        num_of_folder = num_files * (number + 1) // num_folders - num_files * number // num_folders
        for name, content in segments_of(speaker, book, num_of_folder):
            (folder / name).write_bytes(content)
        lines[of_list].append(f"{speaker}-{book}\n")
    for number, of_list in enumerate(lines):
        (root / "lists" / f"train-{number:04d}.txt").write_text("".join(of_list))


# The plain script --------------------------------------------------------------------------------------------


def script(root: Path, out: Path) -> None:
    """What one writes in ten minutes."""
    import pandas as pd

    out.mkdir()
    for list_path in sorted((root / "lists").glob("*.txt")):
        rows = []
        for line in list_path.read_text().split():
            recordings: dict[str, list[dict[str, Any]]] = {}
            for path in (root / "tree" / line.replace("-", "/")).glob("*.json"):
                with open(path) as file:
                    segment = json.load(file)
                recordings.setdefault(segment["original_path"], []).append(segment)
            for recording, segments in sorted(recordings.items()):
                segments.sort(key=lambda segment: (segment["begin_time"], segment["entry_id"]))
                texts = [f"<|text_start|>{segment['transcript']}<|text_end|>" for segment in segments]
                audios = [f"<|audio_start|>{segment['audio_str']}<|audio_end|>" for segment in segments]
                text_first = "".join(text + audio for text, audio in zip(texts, audios))
                audio_first = "".join(audio + text for text, audio in zip(texts, audios))
                speaker, book = line.split("-")
                rows.append(
                    {
                        "original_path": recording,
                        "text_first": f"<|begin_of_text|>{text_first}<|end_of_text|>",
                        "audio_first": f"<|begin_of_text|>{audio_first}<|end_of_text|>",
                        "num_segments": len(segments),
                        "speaker_id": speaker,
                        "book_id": book,
                    }
                )
        pd.DataFrame(rows).to_parquet(out / f"{list_path.stem}.parquet")


def pipeline_command(root: Path, out: Path, *overrides: str) -> list[str]:
    paths = [f"input_path={root / 'tree'}", f"list_dir={root / 'lists'}", f"output_dir={out}"]
    return [sys.executable, str(REPOSITORY / "main.py"), "--config-name", "interleave", *paths, *overrides]


# speed -------------------------------------------------------------------------------------------------------


def speed(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        trees = {"start": Path(folder, "small"), "whole": Path(folder, "large")}
        make_tree(trees["start"], NUM_LISTS)
        make_tree(trees["whole"], options.num_files)
        runs = {
            "script": lambda root, out: [sys.executable, __file__, "script", str(root), str(out)],
            "pipeline": lambda root, out: pipeline_command(root, out / "run"),
            "pipeline, snappy": lambda root, out: pipeline_command(root, out / "run", "stages.2.compression=snappy"),
            "pipeline, one process": lambda root, out: pipeline_command(root, out / "run", "executor=local"),
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(options.rounds):
            for name, command in list(runs.items())[:: 1 if number % 2 == 0 else -1]:
                took = {}
                for tree, root in trees.items():
                    out = Path(folder, f"{name}-{tree}-{number}")
                    took[tree] = seconds_of(command(root, out))
                times[name].append(took["whole"] - took["start"])
                print(f"{name}: {took['whole']:.2f} s, start-up {took['start']:.2f} s", flush=True)
        same = documents(Path(folder, "script-whole-0")) == documents(Path(folder, "pipeline-whole-0/run/data"))
    medians = {name: statistics.median(of_name) for name, of_name in times.items()}
    for name, median in medians.items():
        per_file = 1e6 * median / options.num_files
        print(f"{name:24} {per_file:6.1f} us a file   {medians['script'] / median:5.2f} x the script")
    print(f"the same documents: {same}")
    return 0 if same else 1


def seconds_of(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def documents(folder: Path) -> dict[str, list[Any]]:
    import pyarrow.parquet

    return {path.name: pyarrow.parquet.read_table(path).to_pylist() for path in sorted(folder.glob("*.parquet"))}


# memory ------------------------------------------------------------------------------------------------------


def memory(options: argparse.Namespace) -> int:
    peaks = []
    for num_files in sorted(options.num_files):
        with tempfile.TemporaryDirectory() as folder:
            make_tree(Path(folder, "in"), num_files, num_lists=1)
            command = pipeline_command(Path(folder, "in"), Path(folder, "out"), "executor=local")
            peaks.append(peak_memory_mb(command))
        print(f"{num_files} segments in one list, folders of {FOLDER_FILES}: {peaks[-1]:.0f} MB", flush=True)
    print(json.dumps({"memory_ratio": round(peaks[-1] / peaks[0], 3)}))
    return 0


# store -------------------------------------------------------------------------------------------------------


def store(options: argparse.Namespace) -> int:
    from encode_benchmark import ObjectStore

    from curator_audio.stages.interleave import SegmentJsonReaderStage
    from curator_audio.storage.storage import Storage

    with ObjectStore() as objects:
        storage = Storage()
        names = {f"s3://speech/tree/1/{book}/{name}": content for book in range(8)
                 for name, content in segments_of("1", str(book), options.num_files // 8)}  # fmt: skip
        storage.each(lambda path: storage.write(path, names[path]), list(names))
        storage.write("s3://speech/lists/train-0000.txt", b"".join(b"1-%d\n" % book for book in range(8)))
        os.environ["S3_ENDPOINT_URL"] = slowed(objects.endpoint, options.latency_ms / 1000)
        reader = SegmentJsonReaderStage("s3://speech/tree", "s3://speech/lists")
        (partition,) = reader.partitions()
        started = time.perf_counter()
        num_read = sum(batch.num_items for batch in reader.process(partition))
        together = num_read / (time.perf_counter() - started)
        some = list(names)[:100]
        one_by_one = Storage()
        one_by_one.read(some[0])
        started = time.perf_counter()
        for path in some:
            one_by_one.read(path)
        alone = len(some) / (time.perf_counter() - started)
    print(f"answers after {options.latency_ms:g} ms: {together:.0f} files a second, one at a time {alone:.0f}: "
          f"{together / alone:.1f} x")  # fmt: skip
    return 0 if num_read == len(names) else 1


def slowed(endpoint: str, latency_sec: float) -> str:
    """The address of a proxy, in a thread of this process, that holds back every answer of the endpoint."""
    target = urlsplit(endpoint)
    ready: list[int] = []
    is_ready = threading.Event()

    async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay: float) -> None:
        quiet = True
        while data := await source.read(2**16):
            if quiet and delay:
                await asyncio.sleep(delay)
            quiet = len(data) < 2**14  # the rest of a long answer follows at once
            sink.write(data)
            await sink.drain()
        sink.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(target.hostname, target.port)
        await asyncio.gather(pass_on(reader, back, 0.0), pass_on(there, writer, latency_sec), return_exceptions=True)

    async def serve() -> None:
        server = await asyncio.start_server(connect, "127.0.0.1", 0)
        ready.append(server.sockets[0].getsockname()[1])
        is_ready.set()
        await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    is_ready.wait()
    return f"http://127.0.0.1:{ready[0]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest="what", required=True)
    of_speed = what.add_parser("speed")
    of_speed.add_argument("--num-files", type=int, default=50_000)
    of_speed.add_argument("--rounds", type=int, default=3)
    of_memory = what.add_parser("memory")
    of_memory.add_argument("--num-files", type=int, nargs="+", default=[10_000, 100_000])
    of_store = what.add_parser("store")
    of_store.add_argument("--num-files", type=int, default=2000)
    of_store.add_argument("--latency-ms", type=float, default=30.0)
    of_script = what.add_parser("script")
    of_script.add_argument("root", type=Path)
    of_script.add_argument("out", type=Path)
    options = parser.parse_args()
    if options.what == "script":
        script(options.root, options.out)
        return 0
    return {"speed": speed, "memory": memory, "store": store}[options.what](options)


if __name__ == "__main__":
    sys.exit(main())
