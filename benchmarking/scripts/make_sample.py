"""Make the sample manifest: five invented conversations, the same bytes every time.

    python benchmarking/scripts/make_sample.py

There is no audio behind it, and nobody ever said any of it: text, speakers and times come from a seeded generator.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent.parent
OUTPUT = REPOSITORY / "tutorials" / "alm_windows" / "sample.jsonl"
SEED = 23

TEXT = (
    "the quiet river carried seven paper boats past an old mill while we were talking about bread and weather "
    "nobody knew which street led to our naïve little café so everyone followed a dog with one white ear "
    "later they found green keys under two chairs and laughed until rain began again over distant hills"
)
VOCABULARY = TEXT.split()


@dataclass(frozen=True)
class Conversation:
    """What one entry is to be like.

    Args:
        name: the recording's name.
        sample_rate: of the recording, in Hz.
        num_speakers: how many people talk.
        num_segments: how many turns they take.
        num_narrowband: how many of them have a bandwidth below 8000 Hz.
        main_share: how much of the turns the first speaker takes.
    """

    name: str
    sample_rate: int
    num_speakers: int
    num_segments: int
    num_narrowband: int
    main_share: float = 0.0


CONVERSATIONS = (
    Conversation("interview", 16000, num_speakers=2, num_segments=40, num_narrowband=2),
    Conversation("meeting", 22050, num_speakers=4, num_segments=50, num_narrowband=2),
    Conversation("lecture", 44100, num_speakers=2, num_segments=40, num_narrowband=1, main_share=0.9),
    Conversation("podcast", 48000, num_speakers=3, num_segments=46, num_narrowband=3),
    Conversation("call", 16000, num_speakers=2, num_segments=32, num_narrowband=1),
)


class Dice:
    """Random numbers that every version of Python draws alike: only ``random()`` itself is promised to stay."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def chance(self, probability: float) -> bool:
        return self._random() < probability

    def number(self, low: float, high: float) -> float:
        """A number with two digits after the point."""
        return round(low + (high - low) * self._random(), 2)

    def choice(self, items: Sequence[Any]) -> Any:
        return items[int(self._random() * len(items))]


def make_entry(conversation: Conversation, dice: Dice) -> dict[str, Any]:
    """One line of the manifest."""
    words_per_sec = [dice.number(1.3, 2.4) for _ in range(conversation.num_speakers)]
    segments: list[dict[str, Any]] = []
    end, speaker = 0.0, 0
    for index in range(conversation.num_segments):
        speaker = _next_speaker(conversation, speaker, dice)
        changes = bool(segments) and segments[-1]["speaker"] != f"speaker_{speaker}"
        cuts_in = changes and dice.chance(0.3)
        start = round(max(0.0, end - dice.number(0.1, 0.8) if cuts_in else end + dice.number(0.1, 1.5)), 2)
        end = round(start + dice.number(2.5, 14.0), 2)
        words = [dice.choice(VOCABULARY) for _ in range(int((end - start) * words_per_sec[speaker]))]
        segment = {"start": start, "end": end, "speaker": f"speaker_{speaker}", "text": " ".join(words)}
        if index % 10 == 4:
            segment["words"] = _timed(words, start, end)
        segments.append(segment | {"metrics": {"bandwidth": dice.choice((8000, 8000, 8500, 11000, 16000))}})
    for _ in range(conversation.num_narrowband):
        wideband = [segment for segment in segments if segment["metrics"]["bandwidth"] >= 8000]
        dice.choice(wideband)["metrics"]["bandwidth"] = dice.choice((3400, 4000, 7000))
    return {
        "audio_filepath": f"audio/{conversation.name}.wav",
        "audio_sample_rate": conversation.sample_rate,
        "duration": round(max(segment["end"] for segment in segments) + 1.5, 2),
        "segments": segments,
    }


def make_sample(seed: int = SEED) -> bytes:
    """The whole manifest."""
    dice = Dice(seed)
    entries = [make_entry(conversation, dice) for conversation in CONVERSATIONS]
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries).encode()


def _next_speaker(conversation: Conversation, speaker: int, dice: Dice) -> int:
    if conversation.main_share and dice.chance(conversation.main_share):
        return 0
    return int((speaker + dice.choice(range(1, conversation.num_speakers))) % conversation.num_speakers)


def _timed(words: Sequence[str], start: float, end: float) -> list[dict[str, Any]]:
    """The words one after the other, with as much time each as it has letters."""
    num_letters = sum(map(len, words))
    timed, position = [], 0
    for word in words:
        word_start = round(start + (end - start) * position / num_letters, 2)
        position += len(word)
        word_end = round(start + (end - start) * position / num_letters, 2)
        timed.append({"word": word, "start": word_start, "end": word_end})
    return timed


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where to write it (default: the sample's place)")
    parser.add_argument("--seed", type=int, default=SEED, help="another seed gives other conversations")
    options = parser.parse_args(arguments)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_bytes(make_sample(options.seed))


if __name__ == "__main__":
    main()
