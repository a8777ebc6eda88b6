"""Good recordings with bad references among them: whether the good ones are all done, and each bad one is set aside.

    python benchmarking/scripts/bad_references.py --num-good 10000 --executors local ray_actors ray_data xenna

Makes a manifest of good lines, and among them two of each kind of reference that cannot be opened, goes through it with
a pipeline, and compares what comes out and what is in quarantine with what should be.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

REPOSITORY = Path(__file__).resolve().parents[2]
SECOND = [{"start": 0.0, "end": 1.0, "speaker": "a", "text": "hello"}]

KINDS: list[tuple[str, str]] = [
    ("nul\0%d.wav", "invalid_path"),
    ("surrogate\ud800%d.wav", "invalid_path"),
    ("x" * 300 + "%d.wav", "invalid_path"),
    ("very/long/" * 2000 + "%d.wav", "invalid_path"),
    ("zip://a%d.wav", "scheme_not_allowed"),
    ("ftp://ftp.example.org/%d.wav", "scheme_not_allowed"),
    ("hdfs://namenode/%d.wav", "scheme_not_allowed"),
    ("http://example.org/%d.wav", "scheme_not_allowed"),
    ("memory://elsewhere/%d.wav", "scheme_not_allowed"),
    ("local:///etc/hosts%d", "scheme_not_allowed"),
    ("htps://example.org/%d.wav", "unknown_protocol"),
    ("https://host-that-is-not-there-%d.invalid/a.wav", "unreachable_host"),
    ("s3://bucket-without-credentials/%d.wav", "unusable_store"),
    ("https://127.0.0.1:9/%d.wav", "private_host"),
    ("https://169.254.169.254/latest/meta-data/%d", "private_host"),
    ("https://2130706433/%d.wav", "private_host"),
    ("https://[::1]/%d.wav", "private_host"),
    ("simplecache::https://example.org/%d.wav", "chained_url"),
    ("zip://%d.wav::s3://bucket/a.zip", "chained_url"),
    ("https://example.org:99999/%d.wav", "invalid_url"),
    ("https://[::1/%d.wav", "invalid_url"),
    ("https://exam ple.org/%d.wav", "invalid_url"),
    ("C:\\recordings\\%d.wav", "windows_path"),
    ("../../elsewhere/%d.wav", "path_leaves_root"),
    ("/etc/elsewhere/%d.wav", "path_leaves_root"),
    ("folder/%d.wav", "unreadable_file"),
    ("loop/%d.wav", "unreadable_file"),
    ("missing/%d.wav", "unreadable_file"),
    ("pipe/%d.wav", "not_a_file"),
    ("text/%d.wav", "not_audio"),
]
"""Kinds of references that cannot be opened, and the reason that each is set aside for."""
PER_KIND = 2


def make_corpus(folder: Path, num_good: int) -> Path:
    """A manifest and what it names; the bad lines are spread over it."""
    for name in ("news", "folder", "loop", "pipe", "text"):
        (folder / name).mkdir(parents=True)
    soundfile.write(folder / "tone.wav", np.sin(np.arange(24000) / 20).astype(np.float32) / 2, 16000)
    lines = []
    for number in range(num_good):
        os.link(folder / "tone.wav", folder / "news" / f"{number:05d}.wav")
        lines.append({"audio_filepath": f"news/{number:05d}.wav", "segments": SECOND})
    for number in range(PER_KIND):
        (folder / "folder" / f"{number}.wav").mkdir()
        (folder / "loop" / f"{number}.wav").symlink_to(folder / "loop" / f"{number}.wav")
        os.mkfifo(folder / "pipe" / f"{number}.wav")
        (folder / "text" / f"{number}.wav").write_text("this is no sound")
    bad = [kind.replace("%d", str(number)) for number in range(PER_KIND) for kind, _ in KINDS]
    step = max(1, num_good // len(bad))
    for place, path in enumerate(bad):
        lines.insert(place * (step + 1) + 1, {"audio_filepath": path, "segments": SECOND})
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest


def environment() -> dict[str, str]:
    """Without credentials, as where nobody has thought of S3."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "S3_"))}
    return kept | {"AWS_EC2_METADATA_DISABLED": "true", "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


def run(pipeline: str, manifest: Path, output_dir: Path, executor: str) -> tuple[int, dict[str, Any], str]:
    """Exit status and metrics of a pipeline, and what it told."""
    command = [sys.executable, str(REPOSITORY / "main.py"), "--config-name", pipeline, f"executor={executor}"]
    command += [f"manifest_path={manifest}", f"output_dir={output_dir}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    path = output_dir / "metrics.json"
    return done.returncode, json.loads(path.read_text()) if path.exists() else {}, done.stdout + done.stderr


def expected() -> dict[str, int]:
    """How many are set aside for each reason."""
    return dict(Counter(reason for _, reason in KINDS for _ in range(PER_KIND)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-good", type=int, default=10_000)
    parser.add_argument("--executors", nargs="+", default=["local"])
    parser.add_argument("--pipelines", nargs="+", default=["segment"])
    arguments = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        manifest = make_corpus(Path(folder) / "in", arguments.num_good)
        for pipeline in arguments.pipelines:
            for executor in arguments.executors:
                started = time.perf_counter()
                out = Path(folder) / f"{pipeline}-{executor}"
                status, metrics, told = run(pipeline, manifest, out, executor)
                found = metrics.get("num_output_records"), metrics.get("quarantined")
                is_right = (status, *found) == (0, arguments.num_good, expected())
                print(
                    f"{pipeline} {executor}: exit {status}, {found[0]} in the output, "
                    f"{metrics.get('num_quarantined')} in quarantine of {len(KINDS)} kinds, "
                    f"{time.perf_counter() - started:.0f} s: {'right' if is_right else 'WRONG'}",
                    flush=True,
                )
                if not is_right:
                    failed = True
                    print(json.dumps(found[1]), json.dumps(expected()), told[-3000:], sep="\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
