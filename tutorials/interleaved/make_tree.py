"""Makes a small tree of segments, two of them bad, as some are in large ones.

python tutorials/interleaved/make_tree.py segments
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

BOOKS = {
    "anna/letters": ["My dear friend,", "the summer has been long.", "Write to me soon."],
    "anna/recipes": ["Take three eggs and a little salt.", "Stir until it is smooth."],
    "ben/news": ["Good evening.", "The river has gone down again.", "And now the weather.", "Good night."],
    "carla/poems": ["The fog comes", "on little cat feet."],
    "dan/stories": ["Once there was a fox.", "He said <|text_end|> and was gone.", "Nobody knew why."],
}
"""The sentences of a book; one of them contains a token that frames documents."""
CODES_PER_SEC = 50
SEC_PER_LETTER = 0.06


def main(root: Path) -> None:
    """Write the tree."""
    for folder, sentences in BOOKS.items():
        speaker, book = folder.split("/")
        (root / folder).mkdir(parents=True, exist_ok=True)
        begin = 0.0
        for number, sentence in enumerate(sentences):
            entry_id = f"{speaker}_{book}_{number:03d}"
            duration = round(SEC_PER_LETTER * len(sentence), 2)
            codes = random.Random(entry_id).choices(range(65536), k=int(CODES_PER_SEC * duration))
            segment = {
                "entry_id": entry_id,
                "original_path": f"https://example.org/{speaker}/{book}.mp3",
                "speaker_id": speaker,
                "book_id": book,
                "transcript": sentence,
                "begin_time": round(begin, 2),
                "end_time": round(begin + duration, 2),
                "audio_duration": duration,
                "audio_str": "".join(f"<|speech_{code}|>" for code in codes),
            }
            (root / folder / f"{entry_id}.json").write_text(json.dumps(segment))
            begin += duration + 0.4
    (root / "ben/news/ben_news_004.json").write_text('{"entry_id": "ben_news_004", "transc')


if __name__ == "__main__":
    main(Path(sys.argv[1]))
