"""Trees of segments to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from curator_audio.storage.storage import Storage


def segment_json(speaker: str, book: str, number: int, **more: Any) -> dict[str, Any]:
    """A segment of 2 s, the number-th of its recording."""
    return {
        "entry_id": f"{speaker}_{book}_{number:06d}",
        "original_path": f"https://example.org/{speaker}/{book}.mp3",
        "speaker_id": speaker,
        "book_id": book,
        "transcript": f"segment {number} of {speaker}",
        "begin_time": 2.0 * number,
        "end_time": 2.0 * number + 2.0,
        "audio_duration": 2.0,
        "audio_str": "".join(f"<|speech_{code}|>" for code in range(number, number + 3)),
        **more,
    }


def write_tree(root: str | Path, folders: dict[str, int]) -> None:
    """Write so many segments into each folder ``speaker/book``."""
    storage = Storage()
    files = {}
    for folder, num_segments in folders.items():
        speaker, book = folder.split("/")
        for number in range(num_segments):
            segment = segment_json(speaker, book, number)
            files[f"{root}/{folder}/{segment['entry_id']}.json"] = json.dumps(segment, ensure_ascii=False).encode()
    storage.each(lambda path: storage.write(path, files[path]), list(files))
