"""Publishing the files of a run as a dataset on the Hugging Face Hub."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

from loguru import logger

from curator_audio.errors import AccessError, ConfigurationError, RecordError, StorageError
from curator_audio.finalizers.hub.card import Description, Published, card_of, container_of, figures_of, parsed, size_of
from curator_audio.finalizers.hub.features import features_of
from curator_audio.finalizers.hub.files import FOLDER, File, expected_files, figures_before, files_of
from curator_audio.finalizers.hub.patience import patient_session
from curator_audio.finalizers.hub.repository import RemoteFile, Repository, State, blob_id, endpoint, token_for
from curator_audio.ledger import StepEntry, sha256_of
from curator_audio.pipeline.after import AfterContext, AfterStep
from curator_audio.pipeline.plan import Plan
from curator_audio.stages.hub.file_reader import PublishedFileReaderStage
from curator_audio.stages.io.parquet_errors import as_parquet
from curator_audio.stages.io.parquet_shard import ParquetShard
from curator_audio.stages.io.tree_reader import sha256_of_file
from curator_audio.stages.parameters import check_count, check_flag
from curator_audio.stages.transfer.copying import Copying
from curator_audio.storage.storage import Storage, is_local, join, local_path
from curator_audio.tasks import Partition

CARD = "README.md"
LIMITED = "the run has a limit; publish_limited=true publishes all the same"


@dataclass
class PublishToHub(AfterStep):
    """Publishes the files of a run in a dataset repository on the Hub, and writes the dataset's card.

    Every file goes to ``data/`` under its path below the writer's ``output_path``. One that is there with the same hash
    is not sent; a run that was killed goes on where it was. What is on the Hub and not in the output stays there. A
    remote file passes through a temporary one; so that is the disk space that is needed.

    The token is that of the environment (``HF_TOKEN``) or of the Hub client's login; ``HF_ENDPOINT`` is another Hub.

    Args:
        repo_id: ``namespace/name``; created if it is not there. None does nothing.
        revision: the branch; created if it is not there.
        private: whether to create it so that only its owners see it, and to refuse one that is public; one that is
            there keeps its visibility.
        commit_message: None for the pipeline's name and the number of files.
        num_files_per_commit: files sent before they are committed together.
        license: an identifier of the Hub, such as ``cc-by-4.0``; None leaves the one in the card.
        tags: words to find the dataset by.
        pretty_name: a name for people; None leaves the one in the card.
        publish_limited: whether to publish what comes of a run that has a ``limit``, too.

    Raises:
        ConfigurationError: a parameter out of range.

    Example:
        >>> PublishToHub("my dataset")
        Traceback (most recent call last):
        curator_audio.errors.ConfigurationError: repo_id is 'my dataset'; give namespace/name, such as me/my-dataset
    """

    repo_id: str | None
    revision: str = "main"
    private: bool = True
    commit_message: str | None = None
    num_files_per_commit: int = 50
    license: str | None = None
    tags: list[str] = field(default_factory=list)
    pretty_name: str | None = None
    publish_limited: bool = False

    name = "publish_to_hub"

    def __post_init__(self) -> None:
        if self.repo_id is not None and not (isinstance(self.repo_id, str) and _is_repo_id(self.repo_id)):
            raise ConfigurationError(f"repo_id is {self.repo_id!r}; give namespace/name, such as me/my-dataset")
        if not isinstance(self.revision, str) or not _is_branch(self.revision):
            raise ConfigurationError(f"revision is {self.revision!r}; give the name of a branch, such as main")
        check_flag("private", self.private)
        check_flag("publish_limited", self.publish_limited)
        check_count("num_files_per_commit", self.num_files_per_commit, "of at least 1", 1)
        for name in ("commit_message", "license", "pretty_name"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value.strip()):
                raise ConfigurationError(f"{name} is {value!r}; give a text, or null")
        self.tags = list(self.tags) if isinstance(self.tags, (list, tuple)) else self.tags
        if not isinstance(self.tags, list) or not all(isinstance(tag, str) and tag for tag in self.tags):
            raise ConfigurationError(f"tags is {self.tags!r}; give a list of words, such as [audio,speech]")

    def check(self, plan: Plan) -> None:
        """Raise ConfigurationError if there is no client; asks no server."""
        if self.repo_id is None:
            return
        try:
            import huggingface_hub  # noqa: F401
        except ImportError:
            raise ConfigurationError("publishing needs huggingface_hub; pip install 'curator-audio[hub]'") from None
        endpoint()

    def check_ready(self) -> None:
        """Raise ConfigurationError if there is no token; asks no server."""
        if self.repo_id is not None:
            token_for(f"datasets/{self.repo_id}")

    def run(self, context: AfterContext) -> None:
        if self.repo_id is None:
            return
        if self._is_limited(context):
            logger.warning(f"nothing is published in datasets/{self.repo_id}: {LIMITED}")
            return
        files = files_of(context)
        if not files:
            logger.warning(f"there is no file to publish in datasets/{self.repo_id}")
            return
        with patient_session():
            hub = Repository(self.repo_id, self.revision, check=context.storage.check_permit)
            state = hub.state()
            self._check_visibility(hub, state)
            note = f"{self.name}-{sha256_of([hub.endpoint, hub.name, hub.revision])[:12]}"
            inputs = self._inputs(context, files)
            if context.ledger.step_is_done(note, sha256_of([inputs, state and state.head])):
                logger.info(f"{hub.name} has all {len(files)} files already")
                return
            hub.create(state, self.private)
            self._publish(context, hub, files)
            state = hub.state()
            context.ledger.finish_step(note, StepEntry(sha256_of([inputs, state and state.head]), []))

    def preview(self, context: AfterContext, pending: Sequence[Partition]) -> str:
        if self.repo_id is None:
            return "nothing to publish: repo_id is null"
        if self._is_limited(context):
            return f"nothing to publish: {LIMITED}"
        files = expected_files(context, pending)
        with patient_session():
            hub = Repository(self.repo_id, self.revision, may_lack_token=True)
            state = hub.state()
            self._check_visibility(hub, state)
            there = hub.files() if state and state.head else {}
        is_there = {file.name: _is_there(context.storage, file, there.get(file.name), may_read=False) for file in files}
        missing = [file for file in files if not is_there[file.name]]
        lines = [
            f"  {'there' if is_there[file.name] else 'send'} {file.name} {size_of(file.num_bytes)}" for file in files
        ]
        others = _others(files, there)
        unknown = 0 if isinstance(context.plan.source, PublishedFileReaderStage) else len(pending)
        return "\n".join(
            [
                f"to {hub.name} at {hub.endpoint}, branch {hub.revision}{self._creations(state)}",
                *lines,
                f"  {len(missing)} files to send, {size_of(sum(file.num_bytes for file in missing))}; "
                f"{len(files) - len(missing)} there already",
                *([] if hub.has_token else ["  without a token, which publishing needs, nothing private is seen"]),
                *([f"  and the files of {unknown} partition(s) that are still to be done"] if unknown else []),
                *([f"  {len(others)} other file(s) stay there, such as {others[0]}"] if others else []),
            ]
        )

    def _is_limited(self, context: AfterContext) -> bool:
        return context.plan.source.limit is not None and not self.publish_limited

    def _creations(self, state: State | None) -> str:
        if state is None:
            return f" (will be created, {'private' if self.private else 'public'})"
        return " (will be created)" if state.head is None else ""

    def _check_visibility(self, hub: Repository, state: State | None) -> None:
        """What is meant to be private is not put where all can see it."""
        if state is not None and self.private and not state.is_private:
            raise ConfigurationError(
                f"{hub.name} is public, and private is true; give private=false to publish there all the same, "
                "or make it private in its settings on the Hub"
            )

    def _inputs(self, context: AfterContext, files: list[File]) -> str:
        """Tells whether anything that is published has changed."""
        parts = [part for entry in context.entries for part in entry.parts]
        made = [[part.place or part.path, part.sha256, part.num_bytes] for part in parts]
        card = [self.license, self.tags, self.pretty_name, figures_before(context)]
        return sha256_of([[file.name for file in files], made, card])

    def _publish(self, context: AfterContext, hub: Repository, files: list[File]) -> None:
        storage, there = context.storage, hub.files()
        card_before = hub.read(CARD) if CARD in there else None
        if card_before is not None:
            parsed(card_before)  # before anything is sent: it may be broken
        missing = [file for file in files if not _is_there(storage, file, there.get(file.name))]
        gone = {file for file in missing if file.is_users and storage.find(file.path) is None}
        if gone:
            logger.warning(f"{len(gone)} file(s) have gone and are not published, such as {next(iter(gone)).path}")
        published = [file for file in files if file not in gone]
        missing = [file for file in missing if file not in gone]
        progress = _Progress(hub.name, published, missing)
        card = card_of(self._description(context, published, there), card_before)
        for batch in _batches(missing, self.num_files_per_commit):
            operations = [_sent(hub, storage, file) for file in batch]
            if batch[-1] is missing[-1] and card != card_before:
                operations.append(hub.upload(CARD, card.encode())[0])
            hub.commit(operations, self._message(context, f"{len(batch)} file{'s' if len(batch) > 1 else ''}"))
            progress.log(batch)
        if not missing and card != card_before:
            hub.commit([hub.upload(CARD, card.encode())[0]], self._message(context, "dataset card"))
            progress.log([])

    def _message(self, context: AfterContext, what: str) -> str:
        return self.commit_message or f"{context.plan.name}: {what}"

    def _description(self, context: AfterContext, files: list[File], there: dict[str, RemoteFile]) -> Description:
        assert self.repo_id is not None
        pipeline, stages = figures_before(context)
        schemas = _schemas(context.storage, files)
        description = Description(
            title=self.repo_id.rpartition("/")[2],
            pipeline=pipeline,
            files=[Published(file.name, file.num_bytes, file.num_examples) for file in files],
            features=features_of({name: schema for name, schema in schemas.items() if schema is not None}),
            has_unread_files=None in schemas.values(),
            figures=figures_of(stages),
            license=self.license,
            tags=self.tags,
            pretty_name=self.pretty_name,
        )
        if others := _others(files, there):
            logger.warning(
                f"datasets/{self.repo_id} holds {len(others)} other file(s) in {FOLDER}/, such as {others[0]}, which "
                "stay and load with these; delete them there if they should not. "
                "The card tells no number of rows for datasets to check"
            )
            return replace(description, is_complete=False, has_unread_files=True)
        return description


class _Progress:
    """How much of all files is on the Hub."""

    def __init__(self, name: str, files: list[File], missing: list[File]) -> None:
        self._name = name
        self._num_files, self._num_bytes = len(files), sum(file.num_bytes for file in files)
        self._num_done = self._num_files - len(missing)
        self._bytes_done = self._num_bytes - sum(file.num_bytes for file in missing)

    def log(self, committed: list[File]) -> None:
        self._num_done += len(committed)
        self._bytes_done += sum(file.num_bytes for file in committed)
        sizes = f"{size_of(self._bytes_done)} of {size_of(self._num_bytes)}"
        logger.info(f"{self._num_done} of {self._num_files} files, {sizes} at {self._name}")


def _is_branch(name: str) -> bool:
    """Whether git takes it, of names in usual characters."""
    parts = name.split("/")
    is_usual = re.fullmatch(r"(?!refs/)[\w./-]+", name) and ".." not in name and not name.startswith("-")
    return bool(is_usual) and all(part and part[0] != "." and not part.endswith((".lock", ".")) for part in parts)


def _is_repo_id(repo_id: str) -> bool:
    """Whether the Hub could have a repository of this name."""
    names = repo_id.split("/")
    is_well_formed = all(re.fullmatch(r"\w([\w.-]*\w)?", name, re.ASCII) for name in names)
    return len(names) == 2 and is_well_formed and len(repo_id) <= 96 and not re.search(r"--|\.\.|\.git$", repo_id)


def _batches(files: list[File], size: int) -> Iterator[list[File]]:
    for start in range(0, len(files), size):
        yield files[start : start + size]


def _others(files: list[File], there: Iterable[str]) -> list[str]:
    """What the Hub has beside these files and ``datasets`` would load with them."""
    names = [file.name for file in files]
    container = container_of(names)
    if not container:
        return []
    others = set(there).difference(names)
    return sorted(name for name in others if name.startswith(f"{FOLDER}/") and name.endswith(container))


def _is_there(storage: Storage, file: File, remote: RemoteFile | None, may_read: bool = True) -> bool:
    """Whether the Hub has a file, going by its hash; where that is not known and must not be read, by its size."""
    if remote is None or remote.num_bytes != file.num_bytes:
        return False
    if remote.sha256 and file.sha256:
        return remote.sha256 == file.sha256
    if not may_read or (file.is_users and storage.find(file.path) is None):
        return True
    if remote.sha256:
        with storage.open(file.path) as opened:
            return remote.sha256 == sha256_of_file(opened)
    return remote.blob_id == blob_id(storage.read(file.path))


def _sent(hub: Repository, storage: Storage, file: File) -> Any:
    """Send a file, one from elsewhere through a temporary one; returns the operation for the commit."""
    if is_local(file.path):
        operation, sha256 = hub.upload(file.name, local_path(file.path))
    else:
        with TemporaryDirectory(prefix="curator-audio-hub-") as scratch:
            copy = join(scratch, posixpath.basename(file.path))
            Copying(storage).copy(storage.info(file.path), copy)
            operation, sha256 = hub.upload(file.name, copy)
    if file.sha256 and sha256 != file.sha256:
        raise StorageError(
            f"{file.path} has changed since it was {'hashed' if file.is_users else 'written'}; "
            "run again, with overwrite=true if that does not help"
        )
    return operation


def _schemas(storage: Storage, files: list[File]) -> dict[str, Any]:
    """The schemas of the Parquet files by their names; None of those that are only on the Hub."""
    shards = [file for file in files if file.name.endswith(".parquet")]
    found = storage.each(partial(_schema, storage), [file.path for file in shards])
    return dict(zip([file.name for file in shards], found))


def _schema(storage: Storage, path: str) -> Any:
    with suppress(AccessError, RecordError), storage.open(path, reads_ahead=False) as opened, as_parquet():
        return ParquetShard(opened).schema
    return None
