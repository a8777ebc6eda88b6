"""Makes three recordings of two segments each, one of them too quiet, and their manifest.

python tutorials/custom_stage/make_recordings.py recordings
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from curator_audio.testing import noise, tone

RECORDINGS = {
    "news/jingle": tone(4.0, frequency_hz=523.25, rms_db=-12.0),
    "news/street": noise(4.0, rms_db=-26.0),
    "news/whisper": noise(4.0, rms_db=-52.0, seed=1),
}
TIMES = [(0.0, 1.5), (1.5, 4.0)]


def main(folder: str) -> None:
    """Write them into a folder."""
    lines = []
    for name, sound in RECORDINGS.items():
        path = Path(folder, f"{name}.flac")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sound)
        segments = [
            {"start": start, "end": end, "speaker": "s", "text": f"part {number} of {name}"}
            for number, (start, end) in enumerate(TIMES)
        ]
        lines.append(json.dumps({"audio_filepath": f"{name}.flac", "segments": segments}))
    Path(folder, "manifest.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
