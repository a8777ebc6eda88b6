"""What is said of long pieces of work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from loguru import logger

from curator_audio.executors.local import LocalExecutor
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.stages import pace
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage
from curator_audio.stages.pace import Pace
from curator_audio.storage.storage import Storage


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    messages: list[str] = []
    sink = logger.add(lambda message: messages.append(message.record["message"]), level="INFO")
    yield messages
    logger.remove(sink)


def test_it_is_said_now_and_then(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 129.9, 130.0, 159.0, 161.0])
    monkeypatch.setattr(pace.time, "monotonic", lambda: next(times))
    copying = Pace("files")
    for number in range(4):
        copying.at(f"{number} of 9")
    assert said == ["files: 1 of 9 after 30 s, going on", "files: 3 of 9 after 61 s, going on"]


def test_a_large_partition_tells_how_far_it_is(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "INTERVAL_SEC", 0.0)
    Storage().write("memory://pace/in.jsonl", b"".join(b'{"a": "%s"}\n' % (b"x" * 1000) for _ in range(200)))
    Pipeline("test", [ManifestReaderStage("memory://pace/in.jsonl"), ManifestWriterStage("memory://pace/out")]).run(
        LocalExecutor()
    )
    counts = [int(line.split(": ")[1].split()[0]) for line in said if "records of 'manifest_reader'" in line]
    assert len(counts) >= 3 and counts == sorted(counts) and counts[-1] == 200
