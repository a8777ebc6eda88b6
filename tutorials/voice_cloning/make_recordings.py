"""Makes two channels of recordings to try the pipelines on: opus files, and a manifest of who says what when.

    python tutorials/voice_cloning/make_recordings.py recordings

The speakers are voices of espeak-ng (Debian: apt-get install espeak-ng). Needs the extra audio.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

SAMPLE_RATE = 48000
PAUSE_SEC = 0.4
VOICES = {"anna": "en-us+f2", "ben": "en-gb+m3", "carla": "en-gb-scotland+f4", "dan": "en-us+m7"}
"""Who speaks, and with which voice of espeak-ng."""

TALKS = {
    "news/morning.opus": [
        ("anna", "Good morning, and welcome to the program."),
        ("ben", "The river has risen by half a meter since yesterday."),
        ("anna", "Does that mean the bridge will be closed?"),
        ("ben", "It will stay open for people on foot, but not for cars."),
        ("anna", "Thank you. Now to the weather in the north."),
        ("ben", "Snow is expected above six hundred meters."),
    ],
    "news/evening.opus": [
        ("anna", "Good evening. Here is what happened today."),
        ("carla", "The council voted for the new school by nine to four."),
        ("anna", "When will the building begin?"),
        ("carla", "In the spring, if the ground is dry enough."),
        ("anna", "And this is what it will look like."),
    ],
    "talks/bees.opus": [
        ("dan", "A bee visits a thousand flowers for one gram of honey."),
        ("dan", "She finds her way by the sun, even when clouds hide it."),
        ("carla", "How does she tell the others where to go?"),
        ("dan", "She dances. The angle tells the direction, the length the distance."),
        ("carla", "And what if there is nothing to be found?"),
        ("dan", "Then nobody dances, and the others stay at home."),
    ],
}


def spoken(voice: str, text: str) -> np.ndarray:
    """A sentence at 48 kHz."""
    command = ["espeak-ng", "-v", voice, "-s", "150", "--stdout", text]
    wav = subprocess.run(command, capture_output=True, check=True).stdout
    samples, sample_rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    return soxr.resample(samples, sample_rate, SAMPLE_RATE)


def write_opus(path: Path, samples: np.ndarray) -> None:
    """Samples at 48 kHz as an opus file."""
    with av.open(str(path), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=SAMPLE_RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def main(folder: Path) -> None:
    """Make the recordings and their manifest in a folder."""
    entries = []
    for name, sentences in TALKS.items():
        pieces: list[np.ndarray] = []
        segments = []
        position = 0.0
        for speaker, text in sentences:
            samples = spoken(VOICES[speaker], text)
            end = position + len(samples) / SAMPLE_RATE
            segment = {"start": round(position, 3), "end": round(end, 3), "speaker": speaker, "text": text}
            segments.append({**segment, "speaker_id": speaker})
            pieces += [samples, np.zeros(int(PAUSE_SEC * SAMPLE_RATE), np.float32)]
            position = end + PAUSE_SEC
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_opus(path, np.concatenate(pieces))
        entries.append({"audio_filepath": name, "language": "en", "segments": segments})
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    print(f"{len(entries)} recordings and {manifest}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_recordings.py FOLDER")
    if shutil.which("espeak-ng") is None:
        sys.exit("espeak-ng is not installed; on Debian and Ubuntu: apt-get install espeak-ng")
    main(Path(sys.argv[1]))
