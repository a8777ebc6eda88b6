"""Runs of all pipelines that read or write a store, while it fails by a seed; what must come of each."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from curator_audio.cli import main
from curator_audio.storage.storage import Storage, join
from tests.segments import fake_codes, npz, segment
from tests.stages.speech.windows import recording
from tests.storage.faulty_proxy import FaultyProxy
from tests.storage.servers import serving

SHARES = (0.1, 0.3, 0.6, 0.85)
"""How many requests fail on a bad day; on the worst some are in vain however often they are made."""

TINY = ("stages.1.model=random-tiny", "stages.1.resources={{cpus: 1, gpus: 0}}")
"""An encoder of little sense that needs neither weights nor a GPU."""


@dataclass
class Job:
    """A command, whose paths are below an input folder and an output folder: ``{i}`` and ``{o}``."""

    pipeline: str
    arguments: tuple[str, ...] = ()
    reads: str = "s3"
    writes: str = "s3"
    needs: str = ""

    @property
    def can_run(self) -> bool:
        """Whether the package that it needs is installed."""
        return not self.needs or find_spec(self.needs) is not None


JOBS: dict[str, Job] = {
    "pipeline": Job("pipeline", ("manifest_path={i}/alm.jsonl", "stages.0.partition_size_mb=0.005")),
    "pipeline, folder of gz": Job("pipeline", ("manifest_path={i}/gz/", "output_path={o}/shards")),
    "bandwidth": Job("bandwidth", ("manifest_path={i}/talks.jsonl",)),
    "segment": Job("segment", ("manifest_path={i}/talks.jsonl",)),
    "segment to npz": Job("segment", ("manifest_path={i}/talks.jsonl", "output=npz")),
    "segment to tars": Job("segment", ("manifest_path={i}/talks.jsonl", "output=webdataset")),
    "alm_shards": Job("alm_shards", ("manifest_path={i}/windows.jsonl",)),
    "encode": Job("encode", ("input_path={i}/segments", *TINY), needs="neucodec"),
    "dataset": Job("dataset", ("input_path={i}/segments",)),
    "dataset of npz": Job("dataset", ("input=npz", "input_path={i}/npz")),
    "dataset of tars": Job("dataset", ("input=webdataset", "input_path={i}/tars")),
    "pairs": Job("pairs", ("input_path={i}/segments", "stages.0.min_reference_duration=0.1")),
    "batch_lists": Job("batch_lists", ("input_path={i}/tree", "stages.0.speakers_per_batch=1")),
    "interleave": Job("interleave", ("input_path={i}/tree", "list_dir={i}/lists/")),
    "interleave_segments": Job("interleave_segments", ("input_path={i}/segments",)),
    "transfer": Job("transfer", ("input_path={i}/tree", "stages.0.partition_size_mb=0.001")),
    "transfer up": Job("transfer", ("input_path={i}/tree",), reads="local"),
    "transfer down": Job("transfer", ("input_path={i}/large",), writes="local"),
}


@dataclass
class Outcome:
    """What a run on a bad day came to."""

    job: str
    seed: int
    result: str
    line: str = ""
    faults: Counter[str] = field(default_factory=Counter)


class BadDays:
    """Inputs on a store, and what the jobs make of them on a good day.

    Args:
        endpoint: the store's.
        bucket: ``s3://`` and an empty bucket.
    """

    def __init__(self, endpoint: str, bucket: str) -> None:
        self.endpoint, self.bucket = endpoint, bucket
        self._storage = Storage({"endpoint_url": endpoint})
        self._temporary = tempfile.TemporaryDirectory()
        self._expected: dict[str, dict[str, bytes]] = {}
        self._folders = {"s3": f"{bucket}/in", "local": f"{self._temporary.name}/in"}
        for path, data in self._inputs().items():
            for folder in self._folders.values():
                self._storage.write(join(folder, path), data)

    def outcome(self, job: str, seed: int) -> Outcome:
        """Run a job on a bad day; then, if it failed, again on a good one.

        Raises:
            AssertionError: something wrong was accepted, or the error is not one clear line.
        """
        expected = self.expected(job)
        share = random.Random(f"share {seed}").choice(SHARES)
        proxy = FaultyProxy(urlsplit(self.endpoint).netloc, seed, share)
        out = f"{job}-{seed}".replace(" ", "_").replace(",", "")
        with serving(proxy) as host:
            status, told = self._run(job, out, f"http://{host}")
        assert "Traceback" not in told, told
        made = self._made(job, out)
        what = f"{job}, seed {seed}:\n{told}"
        if status == 0:
            assert made == expected, f"{what}\naccepted, but not the same: {_difference(made, expected)}"
            assert "Quarantined" not in told, what
            return Outcome(job, seed, "same bytes", faults=proxy.done)
        errors = [line for line in told.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, what
        status, told = self._run(job, out, self.endpoint)
        assert status == 0, f"{what}\nand on a good day:\n{told}"
        made = self._made(job, out)
        assert made == expected, f"{what}\nand after a rerun not the same: {_difference(made, expected)}"
        return Outcome(job, seed, "one line, same bytes after a rerun", errors[0], proxy.done)

    def expected(self, job: str) -> dict[str, bytes]:
        """What the job makes on a good day."""
        if job not in self._expected:
            out = f"expected-{job}".replace(" ", "_").replace(",", "")
            status, told = self._run(job, out, self.endpoint)
            assert status == 0 and "Quarantined" not in told, told
            self._expected[job] = self._made(job, out)
            assert self._expected[job], "nothing to compare"
        return self._expected[job]

    def _run(self, job: str, out: str, endpoint: str) -> tuple[int, str]:
        of = JOBS[job]
        places = {"i": self._folders[of.reads], "o": self._out(job, out)}
        arguments = [argument.format(**places) for argument in of.arguments]
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            status = main(
                [
                    f"--config-name={of.pipeline}",
                    "executor=local",
                    f"output_dir={places['o']}",
                    f"storage_options.endpoint_url={endpoint}",
                    *arguments,
                ]
            )
        return status, told.getvalue()

    def _out(self, job: str, out: str) -> str:
        return join(self.bucket if JOBS[job].writes == "s3" else self._temporary.name, out)

    def _made(self, job: str, out: str) -> dict[str, bytes]:
        """All that a run has left, without its bookkeeping."""
        folder = self._out(job, out)
        paths = [file.path for file in self._storage.list_files(folder)]
        ours = re.compile(re.escape(folder) + r"/(_ledger/(?!parts/)|metrics\.json)")
        left = [path for path in paths if not ours.match(path)]
        return dict(zip((path.removeprefix(folder) for path in left), self._storage.read_many(left)))

    def _inputs(self) -> dict[str, bytes]:
        from tests.conftest import make_entry

        entries = [json.dumps(make_entry(seed, 24)).encode() + b"\n" for seed in range(8)]
        talks, windows = [], []
        files: dict[str, bytes] = {}
        for number in range(3):
            files[f"audio/talk{number}.flac"] = recording(6.0 + number, "FLAC")
            segments = [
                {"start": 0.5 + 2 * k, "end": 2.2 + 2 * k, "text": f"text {number} {k}", "speaker": f"spk{k % 2}"}
                for k in range(3)
            ]
            talk = {"audio_filepath": f"audio/talk{number}.flac", "segments": segments}
            talks.append(json.dumps(talk).encode() + b"\n")
            windows.append(json.dumps(talk | {"filtered_windows": [{"segments": segments[:2]}]}).encode() + b"\n")
        import gzip

        for number in range(2):
            files[f"gz/{number}.jsonl.gz"] = gzip.compress(b"".join(entries[4 * number :][:4]), mtime=0)
        files |= {"alm.jsonl": b"".join(entries), "talks.jsonl": b"".join(talks), "windows.jsonl": b"".join(windows)}
        for speaker in ("1001", "1002"):
            for number in range(6):
                name, values = f"{speaker}_b{number % 2}_{number:03d}", {"original_path": f"{speaker}.mp3"}
                values |= {
                    "entry_id": name,
                    "speaker_id": speaker,
                    "book_id": f"b{number % 2}",
                    "transcript": f"t{number}",
                }
                times = {"begin_time": number, "end_time": number + 1, "audio_duration": 1}
                line = json.dumps(values | times | {"audio_str": "<|speech_1|>"})
                files[f"tree/{speaker}/b{number % 2}/{name}.json"] = line.encode()
            files[f"lists/train-{speaker}.txt"] = f"{speaker}-b0\n{speaker}-b1\n".encode()
        files |= {"large/a.bin": random.Random(0).randbytes(17 * 2**20), "large/b.bin": b"small"}
        files |= {f"npz/news/show_seg_{number}.npz": npz(0.2, 300 + number) for number in range(4)}
        return files | self._shards()

    def _shards(self) -> dict[str, bytes]:
        """Shards of segments with codes, as this package writes them."""
        from curator_audio.stages.speech import SegmentParquetWriterStage, WebDatasetWriterStage
        from curator_audio.tasks import AudioBatch

        files = {}
        for number in range(2):
            records = [segment(f"show{number}_seg_{k}", 0.3, start=float(k), end=k + 0.3) for k in range(4)]
            records = [record | {"codes": fake_codes(record)} for record in records]
            for stage, folder in ((SegmentParquetWriterStage, "segments"), (WebDatasetWriterStage, "tars")):
                writer = stage(f"{self._temporary.name}/{folder}")
                path = f"{self._temporary.name}/{folder}/{number}{writer.suffix}"
                writer.write(Storage(), path, [AudioBatch(records, "made")])
                files[f"{folder}/{number}{writer.suffix}"] = Path(path).read_bytes()
                os.remove(path)
        return files


def _difference(made: dict[str, bytes], expected: dict[str, bytes]) -> str:
    differ = [path for path in made.keys() & expected.keys() if made[path] != expected[path]]
    return f"missing {expected.keys() - made.keys()}, more {made.keys() - expected.keys()}, other {differ}"
