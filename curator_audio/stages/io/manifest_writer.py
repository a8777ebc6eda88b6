"""Writing JSONL manifests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from curator_audio.errors import RecordError
from curator_audio.stages.writer import WriterStage
from curator_audio.storage.json_codec import encode_record
from curator_audio.tasks import AudioBatch


@dataclass
class ManifestWriterStage(WriterStage[AudioBatch]):
    """Writes records as JSON, one a line, in input order. A record with a value that has no JSON form is set aside.

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
        try:
            lines = [encode_record(record) for record in task.records]
        except RecordError:
            lines = list(self._those_that_can_be_written(task))
        return b"\n".join([*lines, b""])

    def _those_that_can_be_written(self, task: AudioBatch) -> Iterator[bytes]:
        for index, record in enumerate(task.records):
            try:
                yield encode_record(record)
            except RecordError as error:
                self.quarantine(task, index, error)
