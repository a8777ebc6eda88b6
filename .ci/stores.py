"""An object store and a Hub on this machine, with what the README's commands read, until standard input ends.

    python .ci/stores.py FOLDER    # FOLDER/environment tells where they are, once they can be used

Needs the extra ``dev``. The recordings go to ``recordings/`` here, too.
"""

from __future__ import annotations

import json
import math
import os
import random
import struct
import subprocess
import sys
import urllib.request
import wave
from pathlib import Path

from moto.server import ThreadedMotoServer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.hub_server import TOKEN, serving_hub

RATE = 16000
NUM_SEGMENTS = 50
SEGMENT_SEC = 4.0


def make_recording(path: Path, seed: int) -> dict[str, object]:
    """A conversation of two voices, each a tone in noise; returns its line of the manifest."""
    rng = random.Random(seed)
    num_samples = int(SEGMENT_SEC * RATE)
    segments = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", "NONE"))
        for index in range(NUM_SEGMENTS):
            speaker = index % 2
            pitch = 2 * math.pi * (150 + 100 * speaker) / RATE
            samples = [int(9000 * math.sin(pitch * at) + rng.uniform(-900, 900)) for at in range(num_samples)]
            file.writeframes(struct.pack(f"<{num_samples}h", *samples))
            segments.append(
                {
                    "start": index * SEGMENT_SEC,
                    "end": (index + 1) * SEGMENT_SEC - 0.25,
                    "speaker": f"speaker_{speaker}",
                    "text": f"sentence number {index}",
                    "metrics": {"bandwidth": 8000},
                }
            )
    return {"audio_filepath": f"{path.parent.name}/{path.name}", "audio_sample_rate": RATE, "segments": segments}


def pipeline(name: str, *overrides: str) -> None:
    """Run a pipeline in this environment."""
    command = [sys.executable, "main.py", "--config-name", name, "executor=local", *overrides]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main(folder: Path) -> None:
    """Start both, fill the store, and wait."""
    store = ThreadedMotoServer("127.0.0.1", port=0)
    store.start()
    host, port = store.get_host_and_port()
    with serving_hub() as hub:
        environment = {
            "S3_ENDPOINT_URL": f"http://{host}:{port}",
            "S3_ACCESS_KEY": "key",
            "S3_SECRET_KEY": "secret",
            "HF_ENDPOINT": hub.endpoint,
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
        }
        os.environ.update(environment)
        bucket = urllib.request.Request(f"{environment['S3_ENDPOINT_URL']}/bucket", method="PUT")
        urllib.request.urlopen(bucket).close()
        recordings = Path("recordings")
        entries = [
            make_recording(recordings / "news" / "morning.wav", 0),
            make_recording(recordings / "talks" / "a.wav", 1),
        ]
        (recordings / "manifest.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        subprocess.run([sys.executable, "tutorials/interleaved/make_tree.py", str(folder / "json")], check=True)
        for source, name in ((recordings, "recordings"), (folder / "json", "json")):
            pipeline("transfer", f"input_path={source}", f"output_dir=s3://bucket/{name}")
        out = [f"output_dir={folder}/npz", "output_path=s3://bucket/npz"]
        pipeline("segment", "output=npz", f"manifest_path={recordings}/manifest.jsonl", *out)
        lines = "".join(f"export {name}={value}\n" for name, value in environment.items())
        (folder / "environment.part").write_text(lines)
        (folder / "environment.part").rename(folder / "environment")
        sys.stdin.read()
    store.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
