"""Writing JSONL manifests."""

from __future__ import annotations

from dataclasses import dataclass

from curator_audio.stages.writer import WriterStage
from curator_audio.storage.json_codec import encode_record
from curator_audio.tasks import AudioBatch


@dataclass
class ManifestWriterStage(WriterStage[AudioBatch]):
    """Writes records as JSON, one a line, in input order.

    Args:
        output_path: a file ending in ``.jsonl``, put together from the parts when all are done, or a folder of
            shards; a local path or any fsspec URL.

    Example:
        >>> ManifestWriterStage("out/windows.jsonl").encode(AudioBatch([{"text": "a"}, {"text": "b"}]))
        b'{"text":"a"}\\n{"text":"b"}\\n'
    """

    output_path: str

    name = "manifest_writer"
    suffix = ".jsonl"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["records"], []

    def encode(self, task: AudioBatch) -> bytes:
        lines = [encode_record(record) for record in task.records]
        return b"\n".join([*lines, b""])
