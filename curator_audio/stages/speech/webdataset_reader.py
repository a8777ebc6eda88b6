"""Reading segments from WebDataset tar shards."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, ClassVar

from curator_audio.errors import AccessError, RecordError
from curator_audio.stages.io.tree_reader import TreeReaderStage
from curator_audio.stages.speech.batches import segment_batches
from curator_audio.stages.speech.npz import recording_of
from curator_audio.stages.speech.segments import SEGMENT_FIELDS, segment_record
from curator_audio.storage.json_codec import decode_line
from curator_audio.tasks import AudioBatch, Partition, Record

SOUND = ("flac", "wav", "mp3", "ogg", "opus", "m4a")
MAX_MEMBER_BYTES = 2**30


@dataclass
class WebDatasetReaderStage(TreeReaderStage[AudioBatch]):
    """Reads segments from tar shards: of each key a sound file, ``….json`` with its fields and ``….txt`` with its text.

    The files of a key follow one another. A shard that is no tar file, or breaks off, is quarantined from there on.

    Args:
        input_path: the folder or prefix, or a single shard; a local path or any fsspec URL.
        partition_size_mb: shards are put together up to this size in MB (2**20 bytes); 0 leaves each by itself.
    """

    partition_size_mb: float = 0.0

    name = "webdataset_reader"
    suffixes: ClassVar[tuple[str, ...]] = (".tar",)

    def outputs(self) -> tuple[list[str], list[str]]:
        return ["records"], list(SEGMENT_FIELDS)

    def process(self, task: Partition) -> Iterator[AudioBatch]:
        for path in self.paths(task):
            yield from segment_batches(self._records(path), path)

    def _records(self, path: str) -> Iterator[tuple[Record, int]]:
        position = 0
        try:
            with self.storage.open(path) as file:
                for key, files in _samples(file):
                    try:
                        yield _record(key, files), position
                    except RecordError as error:
                        self.set_aside(f"{path}/{key}", error, position)
                    position += 1
        except (RecordError, AccessError) as error:
            self.set_aside(path, error, position)


def _samples(file: IO[bytes]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The files of a tar by key: the path up to the first dot of the name, as WebDataset has it."""
    current = ""
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is None:
                    continue
                folder, _, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                if member.size > MAX_MEMBER_BYTES:
                    raise RecordError(
                        "too_large", f"{member.name} has {member.size} bytes, more than {MAX_MEMBER_BYTES}"
                    )
                if files and key != current:
                    yield current, files
                    files = {}
                current = key
                files[suffix.lower()] = content.read()
    except (tarfile.TarError, EOFError) as error:
        raise RecordError("not_tar", f"it is no tar file, or breaks off after '{current}': {error}") from None
    if files:
        yield current, files


def _record(key: str, files: dict[str, bytes]) -> Record:
    folder, _, name = key.rpartition("/")
    described = decode_line(files["json"]) if "json" in files else {}
    if not isinstance(described, dict):
        raise RecordError("not_an_object", f"{key}.json holds a {type(described).__name__}, not a JSON object")
    fields: dict[str, Any] = {name: described[name] for name in SEGMENT_FIELDS if name in described}
    sound = next((suffix for suffix in SOUND if suffix in files), None)
    if sound is not None:
        fields["audio"] = {"bytes": files[sound], "path": f"{name}.{sound}"}
    if "txt" in files and not fields.get("text"):
        fields["text"] = files["txt"].decode(errors="replace").strip()
    record = segment_record(**{**fields, "segment_id": fields.get("segment_id") or name})
    record["audio_id"] = record["audio_id"] or recording_of(record["segment_id"])
    record["channel"] = record["channel"] or posixpath.basename(folder) or None
    record["codes"] = record["codes"] or []
    return record
