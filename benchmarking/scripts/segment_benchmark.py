"""How fast recordings become segments on one core, beside librosa doing the same; one JSON line on standard output.

    python benchmarking/scripts/segment_benchmark.py --manifest shows/manifest.jsonl --repeat 5

Both decode every recording, mix it to mono, resample it to 16 kHz and make a 16-bit FLAC in memory of every segment:
``SegmenterStage`` in a stream, librosa by ``librosa.load`` of the whole recording. Only the segments that the stage
keeps are cut by both. Each goes through all recordings ``--repeat`` times, in turns; the medians are told. Without
``--manifest`` two recordings of speech-like noise are made, 48 kHz stereo Opus.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile

from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.references import resolved
from curator_audio.stages.speech.segmenter import SegmenterStage
from curator_audio.storage.storage import Storage, absolute
from curator_audio.tasks import AudioBatch

SAMPLE_RATE = 16000
GENERATED_SEC = 120.0

Entry = dict[str, Any]
Cut = tuple[int, int]


class CountingStorage(Storage):
    """A storage that counts how often each file is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.num_opened: Counter[str] = Counter()

    @contextmanager
    def open(self, path: str, reads_ahead: bool = True) -> Iterator[IO[bytes]]:
        self.num_opened[path] += 1
        with super().open(path, reads_ahead) as file:
            yield file


def segment_with_stage(entries: list[Entry], manifest: str, storage: Storage) -> tuple[dict[str, list[Cut]], float]:
    """The cuts of every recording in samples, and the seconds of sound decoded."""
    stage = SegmenterStage(sample_rate=SAMPLE_RATE)
    stage.setup(WorkerInfo(storage=storage))
    cuts: dict[str, list[Cut]] = {}
    for batch in stage.process(AudioBatch(entries, manifest)):
        for record in batch.records:
            first = int(record["start"] * SAMPLE_RATE + 0.5)
            num_samples = round(record["duration_sec"] * SAMPLE_RATE)
            cuts.setdefault(record["audio_id"], []).append((first, first + num_samples))
    observed = stage.take_observations()
    if observed.quarantined:
        raise SystemExit(f"{observed.quarantined[0].message}; mend the manifest")
    return cuts, observed.metrics["audio_duration"]


def segment_with_librosa(paths: dict[str, str], cuts: dict[str, list[Cut]]) -> int:
    """The same cuts; returns how many bytes of FLAC they are."""
    import librosa

    num_bytes = 0
    for audio_id, path in paths.items():
        samples, _ = librosa.load(path, sr=SAMPLE_RATE, mono=True)
        for first, end in cuts.get(audio_id, []):
            file = io.BytesIO()
            soundfile.write(file, samples[first:end], SAMPLE_RATE, format="FLAC", subtype="PCM_16")
            num_bytes += file.tell()
    return num_bytes


def generate(folder: Path) -> Path:
    """Recordings of noise that rises and falls as syllables do, with a segment for every phrase."""
    rng = np.random.default_rng(0)
    rate = 48000
    time_sec = np.arange(int(GENERATED_SEC * rate)) / rate
    lines = []
    for name in ("generated_1", "generated_2"):
        hiss = rng.standard_normal((len(time_sec), 2)).astype(np.float32)
        voice = np.cumsum(hiss, axis=0)  # falls by 6 dB an octave, as voices do
        voice -= np.convolve(voice[:, 0], np.ones(480) / 480, mode="same")[:, None]
        syllables = np.clip(np.sin(2 * np.pi * 4 * time_sec), 0, None) * (time_sec % 5 < 4.5)
        sound = 0.5 * voice / np.abs(voice).max() * syllables[:, None]
        soundfile.write(folder / f"{name}.opus", sound.astype(np.float32), rate, format="OGG", subtype="OPUS")
        starts = np.arange(0, GENERATED_SEC - 5, 5)
        segments = [{"start": start, "end": start + 4.5, "speaker": "a", "text": "generated"} for start in starts]
        lines.append(json.dumps({"audio_filepath": f"{name}.opus", "segments": segments}) + "\n")
    (folder / "manifest.jsonl").write_text("".join(lines))
    return folder / "manifest.jsonl"


def measure(manifest: str, repeat: int) -> dict[str, Any]:
    """Both, in turns, after a first time that is not counted."""
    storage = CountingStorage()
    entries = [json.loads(line) for line in storage.read(manifest).splitlines() if line.strip()]
    paths = {
        Path(e["audio_filepath"]).stem: resolved(e["audio_filepath"], manifest.rpartition("/")[0]) for e in entries
    }
    cuts, duration_sec = segment_with_stage(entries, manifest, storage)
    segment_with_librosa(paths, cuts)
    storage.num_opened.clear()
    stage_sec, librosa_sec = [], []
    for _ in range(repeat):
        started = time.perf_counter()
        segment_with_stage(entries, manifest, storage)
        stage_sec.append(time.perf_counter() - started)
        started = time.perf_counter()
        segment_with_librosa(paths, cuts)
        librosa_sec.append(time.perf_counter() - started)
    stage_speed = duration_sec / statistics.median(stage_sec)
    librosa_speed = duration_sec / statistics.median(librosa_sec)
    return {
        "recordings": len(paths),
        "audio_sec": round(duration_sec, 3),
        "segments": sum(map(len, cuts.values())),
        "repeat": repeat,
        "times_decoded_per_pass": sorted({count / repeat for count in storage.num_opened.values()}),
        "segmenter_x_real_time": round(stage_speed, 1),
        "librosa_x_real_time": round(librosa_speed, 1),
        "ratio": round(stage_speed / librosa_speed, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", help="manifest of local recordings (default: two that are generated)")
    parser.add_argument("--repeat", type=int, default=5, help="how often all recordings are segmented (default: 5)")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        manifest = absolute(options.manifest) if options.manifest else str(generate(Path(folder)))
        result = measure(manifest, options.repeat)
    print(
        f"{result['audio_sec']} s of sound: SegmenterStage {result['segmenter_x_real_time']} x real time, "
        f"librosa {result['librosa_x_real_time']} x, {result['ratio']} times as fast",
        file=sys.stderr,
    )
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
