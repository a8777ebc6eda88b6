"""What it costs to know a tree of many small files again: time, memory of the driver, and bytes of ledger a file.

    python benchmarking/scripts/ledger_scale.py --files 10000 100000 656300

For each number a local tree of that many tiny files is made, 500 a folder, and run over four times, each run in a
process of its own: the first time, once more, with one folder added, and once more after that. What is done with a
file is next to nothing. One JSON line a run goes to standard output: seconds of the whole run, and of listing,
comparing and writing by themselves; peak memory of the process, and what of it the run has added; bytes of
``_ledger/`` a file.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from curator_audio.executors.local import LocalExecutor
from curator_audio.ledger import Ledger
from curator_audio.pipeline.pending import Pending
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.stages.io import ManifestWriterStage
from curator_audio.stages.io.tree_reader import TreeReaderStage
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Partition

FILES_A_FOLDER = 500
MEASURED_IN = "--run"


@dataclass
class NameReaderStage(TreeReaderStage[AudioBatch]):
    """Gives a record with the number of files in a partition; they are read for their hash, as by all readers."""

    name = "name_reader"
    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    def process(self, task: Partition) -> Iterator[AudioBatch]:
        yield AudioBatch([{"files": len(task.inputs)}], task.source_path)


def make_tree(root: Path, num_files: int) -> None:
    """Make a tree of tiny files: speakers, books of theirs, and segments."""
    for first in range(0, num_files, FILES_A_FOLDER):
        make_folder(root, first, min(FILES_A_FOLDER, num_files - first))


def make_folder(root: Path, first: int, num_files: int) -> None:
    """Make one folder of it, with files that are numbered from ``first``."""
    speaker, book = divmod(first // FILES_A_FOLDER, 10)
    folder = root / f"speaker_{speaker:04d}/book_{book}"
    folder.mkdir(parents=True)
    for number in range(first, first + num_files):
        (folder / f"segment_{number:07d}.json").write_text(f'{{"n": {number}}}')


def stages(root: str) -> tuple[NameReaderStage, ManifestWriterStage]:
    return NameReaderStage(f"{root}/tree"), ManifestWriterStage(f"{root}/out/lines")


def measured_run(root: str) -> dict[str, Any]:
    """Run over the tree, and then list, compare and write once more by themselves."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    reader, writer = stages(root)
    result = Pipeline("scale", [reader, writer]).run(LocalExecutor(), output_dir=f"{root}/out")
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    files = sum(entry.inputs.num for entry in result.entries)
    done = result.metrics["name_reader"].items_out
    return {
        "files": files,
        "partitions": len(result.entries),
        "done_before": result.num_done_before,
        "batches_read": done,
        "seconds": round(seconds, 2),
        **parts_of_a_run(root),
        "peak_mb": round(peak / 1024),
        "added_mb": round((peak - before) / 1024),
        "ledger_bytes_per_file": round(ledger_bytes(root) / files, 1),
    }


def parts_of_a_run(root: str) -> dict[str, float]:
    """Seconds that listing, comparing and writing take."""
    reader, writer = stages(root)
    times = [time.perf_counter()]
    reader.num_bytes()
    times.append(time.perf_counter())
    ledger = Ledger(Storage(), f"{root}/out", root=reader.root)
    ledger.load()
    assert not list(Pending(reader, ledger, writer)), "all of it is done"
    times.append(time.perf_counter())
    ledger.gather()
    times.append(time.perf_counter())
    names = ("listing_sec", "comparing_sec", "writing_sec")
    return {name: round(end - start, 2) for name, start, end in zip(names, times, times[1:])}


def ledger_bytes(root: str) -> int:
    return sum(file.num_bytes for file in Storage().list_files(f"{root}/out/_ledger"))


def measure(num_files: int) -> Iterator[dict[str, Any]]:
    """Run over a tree as it is, again, with a folder more, and again."""
    with TemporaryDirectory() as root:
        make_tree(Path(root) / "tree", num_files)
        for what in ("first", "again", "one folder more", "again"):
            if what == "one folder more":
                make_folder(Path(root) / "tree", 10**7, FILES_A_FOLDER)
            command = [sys.executable, __file__, MEASURED_IN, root]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            yield {"run": what, **json.loads(told.splitlines()[-1])}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--files", type=int, nargs="+", default=[10_000, 100_000, 656_300])
    parser.add_argument(MEASURED_IN, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        print(json.dumps(measured_run(options.run)))
        return
    for num_files in options.files:
        for told in measure(num_files):
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
