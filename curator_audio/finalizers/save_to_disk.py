"""The dataset in the form that ``datasets.load_from_disk`` opens."""

from __future__ import annotations

import hashlib
import json
import posixpath
from dataclasses import dataclass
from typing import Any

from curator_audio.errors import ConfigurationError, StorageError
from curator_audio.ledger import StepEntry, sha256_of
from curator_audio.pipeline.after import AfterContext, AfterStep
from curator_audio.pipeline.plan import Plan
from curator_audio.stages.dataset_features import with_features
from curator_audio.stages.io.parquet_shards import ParquetShardWriterStage
from curator_audio.storage.atomic_file import is_temporary
from curator_audio.storage.storage import FileInfo, absolute, join
from curator_audio.tasks import Part

STATE = "state.json"
INFO = "dataset_info.json"
END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # of Arrow messages: none follows
UNWRITTEN = -1


@dataclass
class SaveToDisk(AfterStep):
    """Writes the Parquet shards of a run once more, as Arrow files that ``datasets.load_from_disk`` maps into memory.

    Each shard becomes an Arrow file, row group by row group, so that memory does not grow. Files are named after the
    content of their shard: a later run writes those of new and changed shards only. ``state.json``, which lists them,
    is replaced last, and what it no longer lists is deleted after that.

    Args:
        path: the folder or prefix to write to; a local path or any fsspec URL. None does nothing.

    Raises:
        ConfigurationError: no path.
    """

    path: str | None

    name = "save_to_disk"

    def __post_init__(self) -> None:
        if self.path is not None and (not isinstance(self.path, str) or not self.path):
            raise ConfigurationError(f"path is {self.path!r}; give a folder or prefix, or null")
        self.path = self.path and absolute(self.path).rstrip("/")

    def check(self, plan: Plan) -> None:
        if self.path is None:
            return
        if not isinstance(plan.writer, ParquetShardWriterStage):
            raise ConfigurationError(
                f"save_to_disk takes Parquet shards, and '{plan.writer.name}' writes *{plan.writer.suffix}; "
                "end with a writer of Parquet, or set its path to null"
            )
        if self.path == plan.writer.output_path.rstrip("/"):
            raise ConfigurationError(f"save_to_disk writes to {self.path}, where the shards are; give another path")

    def output_places(self, plan: Plan) -> list[str]:
        return [self.path] if self.path is not None else []

    def run(self, context: AfterContext) -> None:
        if self.path is None:
            return
        ledger = context.ledger
        parts = [part for entry in context.entries for part in entry.parts]
        inputs = sha256_of([[part.path, part.sha256, part.num_bytes] for part in parts] + [self.path])
        if not parts or ledger.step_is_done(self.name, inputs):
            return
        shards = {join(self.path, _arrow_name(part)): part for part in parts}
        there = self._files_there(context, self.path)
        before = self._claim(context, self.path, list(shards))
        outputs: list[Part] = []
        for path, part in shards.items():
            found = there.get(path)
            num_bytes, version = (found.num_bytes, found.version) if found else _write_arrow(context, part, path)
            outputs.append(Part(ledger.relative(path), num_bytes, "", part.num_records, version=version))
        schema = _schema(context.plan)
        state = _state([posixpath.basename(path) for path in shards], fingerprint=inputs[:16])
        for name, values in ((INFO, json.loads(schema.metadata[b"huggingface"])["info"]), (STATE, state)):
            path, data = join(self.path, name), json.dumps(values, indent=2).encode()
            version = context.storage.written(path, data)
            outputs.append(Part(ledger.relative(path), len(data), hashlib.sha256(data).hexdigest(), 0, version=version))
        context.storage.delete(sorted(before - {ledger.absolute(part.path) for part in outputs}))
        ledger.finish_step(self.name, StepEntry(inputs, outputs))

    def _files_there(self, context: AfterContext, folder: str) -> dict[str, FileInfo]:
        """The files that are in the folder.

        Raises:
            ConfigurationError: they are a dataset that no run of this output folder wrote.
        """
        listed = {file.path: file for file in context.storage.list_files(folder, max_depth=1)}
        if join(folder, STATE) in listed and not self._noted(context, folder):
            raise ConfigurationError(
                f"{folder} holds a dataset already, and not from here; move it, or give save_to_disk another path"
            )
        context.storage.delete([path for path in listed if is_temporary(path)])
        return listed

    def _claim(self, context: AfterContext, folder: str, paths: list[str]) -> set[str]:
        """Note what will be written, so that it is known even if this is killed; returns what was noted before."""
        before = self._noted(context, folder)
        outputs = [Part(context.ledger.relative(path), UNWRITTEN, "", 0) for path in sorted(before.union(paths))]
        context.ledger.finish_step(self.name, StepEntry("", outputs))
        return before

    def _noted(self, context: AfterContext, folder: str) -> set[str]:
        """The files in the folder that the ledger has as this step's."""
        step = context.ledger.steps.get(self.name)
        paths = {context.ledger.absolute(part.path) for part in step.outputs} if step else set()
        return {path for path in paths if path.rpartition("/")[0] == folder}


def _write_arrow(context: AfterContext, part: Part, path: str) -> tuple[int, str]:
    """Write a shard as a stream of Arrow messages; returns its size in bytes, and its version."""
    import pyarrow.parquet

    storage, schema = context.storage, _schema(context.plan)
    source = context.ledger.part_source(part)
    if source is None:
        raise StorageError(f"the shard {part.path} has gone while the run was going on; run again")
    with storage.open(source.path, reads_ahead=False) as opened, storage.create(path) as file:
        shard = pyarrow.parquet.ParquetFile(opened, pre_buffer=True)
        file.write(schema.serialize().to_pybytes())
        for index in range(shard.num_row_groups):
            table = shard.read_row_group(index, use_threads=False).cast(schema)
            for batch in table.to_batches():
                file.write(batch.serialize().to_pybytes())
        file.write(END_OF_STREAM)
        context.ledger.check_unchanged([part])  # it goes by the hash of what it was made of
    return file.num_bytes, file.version


def _arrow_name(part: Part) -> str:
    return f"{posixpath.basename(part.path).removesuffix('.parquet')}-{part.sha256[:16]}.arrow"


def _schema(plan: Plan) -> Any:
    assert isinstance(plan.writer, ParquetShardWriterStage)  # see check
    schema = plan.writer.schema()
    return schema if (schema.metadata or {}).get(b"huggingface") else with_features(schema)


def _state(names: list[str], fingerprint: str) -> dict[str, Any]:
    """What ``datasets`` keeps in ``state.json``, for a dataset with no split and no format set."""
    return {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": fingerprint,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
