"""Reading segments from WebDataset tar shards."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, ClassVar

from curator_audio.errors import AccessError, RecordError
from curator_audio.stages.io.tar_member import UNREADABLE, TarMember, check_end, check_size
from curator_audio.stages.io.tree_reader import TreeReaderStage
from curator_audio.stages.speech.batches import segment_batches
from curator_audio.stages.speech.npz import recording_of
from curator_audio.stages.speech.segments import SEGMENT_FIELDS, foreign_segment
from curator_audio.storage.json_codec import decode_line
from curator_audio.storage.storage import join
from curator_audio.tasks import AudioBatch, Partition, Record

SOUND = ("flac", "wav", "mp3", "ogg", "opus", "m4a")


@dataclass
class WebDatasetReaderStage(TreeReaderStage[AudioBatch]):
    """Reads segments from tar shards: of each key a sound file, ``….json`` with its fields and ``….txt`` with its text.

    The files of a key follow one another. A key with neither sound, text nor codes is quarantined, and so is a shard
    that is no tar file or breaks off, from there on.

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
        for key in task.keys:
            path = join(task.source_path, key)
            yield from segment_batches(((record, -1) for record in self._records(path)), path)

    def _records(self, path: str) -> Iterator[Record]:
        try:
            with self.tree.open(path) as file:
                for key, files in _samples(file):
                    try:
                        if isinstance(files, RecordError):
                            raise files
                        yield _record(key, files)
                    except RecordError as error:
                        self.set_aside(f"{path}/{key}", error)
        except (RecordError, AccessError) as error:
            self.set_aside(path, error)


def _samples(file: IO[bytes]) -> Iterator[tuple[str, dict[str, bytes] | RecordError]]:
    """The files of a tar by key: the path up to the first dot of the name, as WebDataset has it.

    Of a key with more than memory should hold there is the error.
    """
    current = ""
    files: dict[str, bytes] = {}
    error: RecordError | None = None
    try:
        num_bytes = file.seek(0, 2)
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r|", tarinfo=TarMember) as archive:
            for member in archive:
                archive.members.clear()  # type: ignore[attr-defined]  # which would grow with the shard
                if not member.isfile():
                    check_end(archive, num_bytes)
                    continue
                folder, _, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                key, suffix = posixpath.join(folder, stem), suffix.lower()
                if (files or error) and (key != current or suffix in files):
                    yield current, error or files
                    files, error = {}, None
                current = key
                check_end(archive, num_bytes)
                try:
                    check_size(member, sum(map(len, files.values())))
                except RecordError as found:
                    error, files = error or found, {}
                content = archive.extractfile(member) if error is None else None
                if content is not None:
                    files[suffix] = content.read()
    except UNREADABLE as failure:
        raise RecordError("not_tar", f"it is no tar file, or breaks off at '{current}': {failure}") from None
    if files or error:
        yield current, error or files


def _record(key: str, files: dict[str, bytes]) -> Record:
    folder, _, name = key.rpartition("/")
    described = decode_line(files["json"]) if "json" in files else {}
    if not isinstance(described, dict):
        raise RecordError("not_an_object", f"{key}.json holds a {type(described).__name__}, not a JSON object")
    record = foreign_segment({**described, "audio": None}, name)
    sound = next((suffix for suffix in SOUND if suffix in files), None)
    if sound is not None:
        record["audio"] = {"bytes": files[sound], "path": f"{name}.{sound}"}
    if "txt" in files and not record["text"]:
        record["text"] = files["txt"].decode(errors="replace").strip()
    if sound is None and not record["text"] and not record["codes"]:
        there = ", ".join(f"*.{suffix}" for suffix in files)
        raise RecordError(
            "missing_field", f"{key} has neither sound ({', '.join(SOUND)}), text nor codes, only {there}"
        )
    record["audio_id"] = record["audio_id"] or recording_of(record["segment_id"])
    if not record["channel"] and posixpath.basename(folder) not in ("", ".", ".."):
        record["channel"] = posixpath.basename(folder)
    return record
