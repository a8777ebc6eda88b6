"""Writing JSONL manifests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from curator_audio.errors import RecordError
from curator_audio.stages.io.appended_writer import AppendedWriterStage
from curator_audio.storage.json_codec import encode_record
from curator_audio.storage.valid_text import Repairs
from curator_audio.tasks import AudioBatch


@dataclass
class ManifestWriterStage(AppendedWriterStage[AudioBatch]):
    """Writes records as JSON, one a line, in input order. A record with a value that has no JSON form is set aside.

    NaN and infinities are written as null (``numbers_not_finite``), halves of surrogate pairs in texts as U+FFFD
    (``texts_repaired``); both are counted.

    Args:
        output_path: a file ending in ``.jsonl``, put together from the parts when all are done, or a folder of
            shards; a local path or any fsspec URL.

    Example:
        >>> ManifestWriterStage("out/windows.jsonl").encode(AudioBatch([{"text": "a"}, {"text": "b"}]))
        b'{"text":"a"}\\n{"text":"b"}\\n'
    """

    output_path: str

    name = "manifest_writer"
    version = 2
    suffix = ".jsonl"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["records"], []

    def encode(self, task: AudioBatch) -> bytes:
        repairs = Repairs()
        lines = list(self._lines(task, repairs))
        self.log_metrics(repairs.as_metrics())
        return b"\n".join([*lines, b""])

    def _lines(self, task: AudioBatch, repairs: Repairs) -> Iterator[bytes]:
        for index, record in enumerate(task.records):
            try:
                yield encode_record(record, repairs)
            except RecordError as error:
                self.quarantine(task, index, error)
