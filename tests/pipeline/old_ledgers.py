"""Folders with ledgers of format 1, one of each kind of source, as the version that wrote them left them.

``python -m tests.pipeline.old_ledgers`` recorded them, run with that version; what they were made of lies beside them.
Versions of files tell times of writing, and names tell paths, so they are put back to where they were recorded.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from curator_audio.executors.local import LocalExecutor
from curator_audio.finalizers import JoinParts
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.stages.general import DropFieldsStage
from curator_audio.stages.hub import FileHasherStage, PublishedFileReaderStage
from curator_audio.stages.interleave import BatchListWriterStage, SegmentJsonReaderStage, SpeakerBatchReaderStage
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage
from curator_audio.stages.speech import (
    NpzReaderStage,
    NpzWriterStage,
    PairReaderStage,
    RecordingReaderStage,
    SegmentParquetReaderStage,
    SegmentParquetWriterStage,
    WebDatasetReaderStage,
    WebDatasetWriterStage,
)
from curator_audio.stages.transfer import FileCopierStage, FileTreeReaderStage
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch
from tests.segments import npz, segment

HERE = Path(__file__).parent / "ledgers_of_format_1"
RECORDED_AT = Path("/tmp/curator_audio-ledgers-of-format-1")
LINES = [json.dumps({"audio_filepath": f"news/{n}.wav", "text": f"text {n}"}) + "\n" for n in range(40)]


def write(path: Path, data: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def manifests(root: Path) -> None:
    write(root / "in/a.jsonl", "".join(LINES))
    write(root / "in/b/b.jsonl", "".join(LINES[:5]) + "no JSON\n")


def one_manifest(root: Path) -> None:
    write(root / "in.jsonl", "".join(LINES))


def gzipped(root: Path) -> None:
    write(root / "in.jsonl.gz", gzip.compress("".join(LINES).encode()))


def recordings(root: Path) -> None:
    for n in range(2, 6):
        write(root / f"in/news/{n}.wav", f"sound {n}")
    write(root / "in/in.jsonl", "".join(LINES[:6]) + "no JSON\n")


def npz_tree(root: Path) -> None:
    for name in ("news/a_seg_0", "news/a_seg_1", "news/b_seg_0", "talks/c_seg_10", "talks/c_seg_2"):
        write(root / f"in/{name}.npz", npz())


def shards(root: Path, writer: Callable[[str], Any], suffix: str) -> None:
    for n in range(3):
        segments = [
            segment(f"a{n}_seg_{k}", channel="news", speaker_id=f"s{(n + k) % 2}", text="so be it", codes=[k])
            for k in range(3)
        ]
        (root / "in").mkdir(parents=True, exist_ok=True)
        list(writer(f"{root}/in").write(Storage(), f"{root}/in/{n}{suffix}", [AudioBatch(segments)]))


def segment_json(root: Path) -> None:
    for folder in ("1472/1437", "1472/1438", "26/495"):
        for n in range(2):
            write(root / f"in/{folder}/{n}.json", json.dumps({"entry_id": f"{folder}/{n}"}))
    write(root / "lists/train-0000.txt", "1472-1437\n1472-1438\n")
    write(root / "lists/train-0001.txt", "26-495\n26-496\n")


def files(root: Path) -> None:
    for n in range(4):
        write(root / f"in/{n % 2}/{n}.txt", f"{n}")


def pipelines(root: Path) -> dict[str, tuple[Callable[[Path], None], Callable[[], Pipeline]]]:
    """What makes the input of each kind, and the pipeline that was run over it."""
    source, out = f"{root}/in", f"{root}/out"

    def made(*stages: Any, after: Any = ()) -> Callable[[], Pipeline]:
        return lambda: Pipeline("test", [stage() for stage in stages], [step() for step in after])

    def write_lines() -> ManifestWriterStage:
        return ManifestWriterStage(f"{out}/lines")

    def drop_audio() -> DropFieldsStage:
        return DropFieldsStage(["audio"])

    def write_one() -> ManifestWriterStage:
        return ManifestWriterStage(f"{out}/all.jsonl")

    parquet = ".parquet"
    return {
        "manifests": (manifests, made(lambda: ManifestReaderStage(source, 0.0005), write_lines)),
        "one_manifest": (
            one_manifest,
            made(lambda: ManifestReaderStage(f"{root}/in.jsonl", 0.0005), write_one, after=[JoinParts]),
        ),
        "gzipped": (gzipped, made(lambda: ManifestReaderStage(f"{root}/in.jsonl.gz", 0.0005), write_lines)),
        "recordings": (recordings, made(lambda: RecordingReaderStage(f"{source}/in.jsonl"), write_lines)),
        "npz": (npz_tree, made(lambda: NpzReaderStage(source, 0.001), drop_audio, write_lines)),
        "npz_in_place": (npz_tree, made(lambda: NpzReaderStage(source, 0), lambda: NpzWriterStage(source))),
        "parquet": (
            lambda root: shards(root, SegmentParquetWriterStage, parquet),
            made(lambda: SegmentParquetReaderStage(source, 0), drop_audio, write_lines),
        ),
        "webdataset": (
            lambda root: shards(root, WebDatasetWriterStage, ".tar"),
            made(lambda: WebDatasetReaderStage(source, 0), drop_audio, write_lines),
        ),
        "pairs": (
            lambda root: shards(root, SegmentParquetWriterStage, parquet),
            made(lambda: PairReaderStage(source, segments_per_partition=5), write_lines),
        ),
        "segment_json": (segment_json, made(lambda: SegmentJsonReaderStage(source, f"{root}/lists"), write_lines)),
        "batch_lists": (
            segment_json,
            made(lambda: SpeakerBatchReaderStage(source, 1), lambda: BatchListWriterStage(f"{out}/lists")),
        ),
        "transfer": (files, made(lambda: FileTreeReaderStage(source), lambda: FileCopierStage(f"{out}/copy"))),
        "publish": (files, made(lambda: PublishedFileReaderStage(source), lambda: FileHasherStage(out))),
    }


def run(pipeline: Pipeline, root: Path) -> Any:
    return pipeline.run(LocalExecutor(), output_dir=f"{root}/out")


def record() -> None:
    for name, (make, pipeline) in pipelines(RECORDED_AT).items():
        shutil.rmtree(RECORDED_AT, ignore_errors=True)
        make(RECORDED_AT)
        result = run(pipeline(), RECORDED_AT)
        assert not result.failures
        print(name, len(result.entries), result.quarantined, file=sys.stderr)
        with tarfile.open(HERE / f"{name}.tar.xz", "w:xz", format=tarfile.PAX_FORMAT) as tar:
            for path in sorted(RECORDED_AT.rglob("*")):
                member = tar.gettarinfo(path, str(path.relative_to(RECORDED_AT)))
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                if path.is_file():
                    member.pax_headers = {"mtime_ns": str(path.stat().st_mtime_ns)}
                    with path.open("rb") as file:
                        tar.addfile(member, file)


def put_back(name: str) -> Path:
    """The folder of a kind, as it was when its run was over; empty before."""
    shutil.rmtree(RECORDED_AT, ignore_errors=True)
    with tarfile.open(HERE / f"{name}.tar.xz") as tar:
        for member in tar:
            path = RECORDED_AT / member.name
            data = tar.extractfile(member)
            assert data is not None
            write(path, data.read())
            os.utime(path, ns=(int(member.pax_headers["mtime_ns"]),) * 2)
    _with_todays_versions(RECORDED_AT / "out/_ledger", pipelines(RECORDED_AT)[name][1]())
    return RECORDED_AT


def _with_todays_versions(ledger: Path, pipeline: Pipeline) -> None:
    """Have stages as they are now in an old ledger: where their output is another since, a run would be refused."""
    from curator_audio.ledger import fingerprint_of

    path, entries = ledger / "configuration.json", ledger / "entries.jsonl"
    stored = json.loads(path.read_text())
    before = fingerprint_of(stored["configuration"])
    for stage in pipeline.stages:
        stored["configuration"][stage.name]["version"] = stage.version
    path.write_text(json.dumps(stored))
    entries.write_text(entries.read_text().replace(before, fingerprint_of(stored["configuration"])))


if __name__ == "__main__":
    record()
