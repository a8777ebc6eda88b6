"""A reader of trees of text files, for tests of what all readers of trees have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from curator_audio.stages.io.tree_reader import TreeReaderStage
from curator_audio.storage.storage import Storage, join
from curator_audio.tasks import AudioBatch, Partition


@dataclass
class TextTreeReader(TreeReaderStage[AudioBatch]):
    """A record a file, with its path and its text; the files of a folder are a group."""

    name = "text_tree_reader"
    suffixes: ClassVar[tuple[str, ...]] = (".txt",)

    def outputs(self) -> tuple[list[str], list[str]]:
        return ["records"], ["audio_filepath", "text"]

    def group_of(self, key: str) -> str:
        return key.rpartition("/")[0]

    def order_of(self, key: str) -> tuple[str, str]:
        return self.group_of(key), key

    def process(self, task: Partition) -> Iterator[AudioBatch]:
        for key in task.inputs:
            text = self.storage.read(join(task.source_path, key)).decode()
            yield AudioBatch([{"audio_filepath": key, "text": text}], task.source_path)


def write_tree(root: str, texts: dict[str, str], before: dict[str, str] | None = None) -> None:
    """Make a folder hold these texts by path, and no others; those of ``before`` are there already."""
    storage, before = Storage(), before or {}
    storage.delete([join(root, key) for key in before if key not in texts])
    for key, text in texts.items():
        if before.get(key) != text:
            storage.write(join(root, key), text.encode())
