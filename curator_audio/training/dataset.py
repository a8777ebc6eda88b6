"""Shards as a PyTorch dataset."""

from __future__ import annotations

import copy
import hashlib
import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from curator_audio.errors import ConfigurationError
from curator_audio.stages.parameters import check_count, check_flag, check_number
from curator_audio.stages.source import without_bookkeeping
from curator_audio.storage.storage import FileInfo, Storage, absolute
from curator_audio.training.shards import FORMATS, Piece, Sample, Shards, between


@dataclass(frozen=True)
class _Place:
    """How far a pass has come.

    Args:
        epoch: the pass.
        piece: the piece, among those of this reader, in which the samples at hand begin.
        at: where in it, as ``Shards.samples`` counts.
        taken: how many of the samples at hand were given out.
    """

    epoch: int
    piece: int = 0
    at: int = 0
    taken: int = 0


class ShardDataset(IterableDataset[Sample]):  # type: ignore[misc]
    """The samples of Parquet or WebDataset shards, shared out to ranks and ``DataLoader`` workers, and resumable.

    An iteration is one pass. All shards are laid end to end, and each reader (a worker of a rank) is given a stretch of
    them: each sample is read by exactly one reader, with any number of shards. The stretches of Parquet shards differ
    by at most one sample. Those of tar shards are equally long in bytes, so that their numbers of samples differ as the
    lengths of the sounds do; a reader whose stretch begins within a tar walks over what lies before it, so that more
    tars than readers are read with less effort.

    A sample is a dict, its sound the bytes of a file:
    ``curator_audio.stages.speech.sound.decode_sound(sample["audio"]["bytes"])`` gives samples and rate. The values are
    those of the shards, which the default collation does not take (None, bytes, lists of any length): give the loader
    ``collate_fn=list`` or one of your own.

    ``state_dict`` and ``load_state_dict`` hold and restore the place in a pass, exactly. torchdata's
    ``StatefulDataLoader`` calls them in its workers; a loop over the dataset itself calls them itself. The state
    fits the same files, parameters, ranks and number of workers only.

    Args:
        path: the folder or prefix, or a single shard; a local path or any fsspec URL. Ledger, quarantine and metrics
            of a run are left out.
        columns: the fields of a sample, the only ones read; None for all of them. Fields in a column ``extra`` stand in
            the sample beside the others, and ``extra`` among ``columns`` takes all of them.
        shuffle: whether the order is drawn by ``seed`` and epoch: that of the row groups (or tars), and that of the
            samples of about ``shuffle_mb``.
        seed: of the order.
        shuffle_mb: how much each reader holds in memory to shuffle it, MB (2**20 bytes).
        rank: this process among those that train together; None for that of ``torch.distributed`` if it is initialised,
            else ``RANK`` in the environment, else 0.
        world_size: how many of them there are; None as for ``rank``.
        equal_ranks: whether all ranks are given the same number of samples, at most ``world_size - 1`` of a pass being
            left out. ``DistributedDataParallel`` waits forever for a rank that has run out before the others. For
            Parquet only; with tars stop all ranks after the same number of steps.
        storage_options: as in the pipelines; credentials are taken from the environment.

    Raises:
        ConfigurationError: a parameter that does not fit, no shards, or shards of both kinds.
        AccessError: a shard cannot be read.

    Example:
        >>> import pyarrow.parquet
        >>> folder = getfixture("tmp_path")
        >>> pyarrow.parquet.write_table(pyarrow.table({"id": [0, 1, 2, 3, 4]}), folder / "a.parquet")
        >>> [sample["id"] for sample in ShardDataset(str(folder), rank=1, world_size=2)]
        [2, 3, 4]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        columns: list[str] | None = None,
        *,
        shuffle: bool = False,
        seed: int = 0,
        shuffle_mb: float = 64.0,
        rank: int | None = None,
        world_size: int | None = None,
        equal_ranks: bool = False,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(path, (str, os.PathLike)) or not path:
            raise ConfigurationError(f"path is {path!r}; give the folder or prefix of the shards")
        check_flag("shuffle", shuffle)
        check_count("seed", seed, "of at least 0", 0)
        check_number("shuffle_mb", shuffle_mb, "of MB above 0", 0, above=True)
        check_flag("equal_ranks", equal_ranks)
        _check_columns(columns)
        self._shuffle, self._seed, self._shuffle_mb, self._equal_ranks = shuffle, seed, shuffle_mb, equal_ranks
        self._rank, self._world_size = _rank_of(rank, world_size)
        self._storage = Storage(storage_options)
        self._path = absolute(os.fspath(path))
        files = list(without_bookkeeping(self._storage.list_files(self._path)))
        self._shards, files = _shards_of(self._path, files, columns)
        self._pieces = self._shards.pieces(self._storage, files)
        self._size = sum(piece.end - piece.start for piece in self._pieces)
        self._check_size()
        self._files = _digest([(file.path.removeprefix(self._path).strip("/"), file.num_bytes) for file in files])
        # Shared, so that the workers that a loader keeps from pass to pass learn of the next one.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._place = _Place(0)
        self._resumed: dict[str, Any] | None = None

    @property
    def num_samples(self) -> int | None:
        """How many samples a pass gives this rank; None for tars, which do not tell."""
        start, end = self._stretch()
        return end - start if self._shards.counts_samples else None

    def set_epoch(self, epoch: int) -> None:
        """Which pass the next iteration is: another order under ``shuffle``.

        A pass that is resumed is the one it was. Otherwise the epoch stays as it is until this is called again.
        """
        check_count("epoch", epoch, "of at least 0", 0)
        self._epoch.fill_(epoch)
        self._place = _Place(epoch)

    def state_dict(self) -> dict[str, Any]:
        """The place after the last sample that was given out, in values that JSON and ``torch.save`` take."""
        if self._resumed is not None:
            return self._resumed
        return {**self._identity(), **vars(self._place)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Have the next iteration go on from there.

        Raises:
            ConfigurationError: the state is that of other files, parameters or another reader.
        """
        self._check(state_dict)
        self._resumed = dict(state_dict)

    def __iter__(self) -> Iterator[Sample]:
        resumed, self._resumed = self._resumed, None
        self._place = _Place(int(self._epoch))
        if resumed is not None:
            self._check(resumed)  # a copy of the dataset in a worker is another reader than the one that loaded it
            self._place = _Place(*(resumed[name] for name in vars(self._place)))
        return self._samples(self._place)

    def _samples(self, begin: _Place) -> Iterator[Sample]:
        pieces = list(self._pieces)
        if self._shuffle:
            random.Random(f"{self._seed}/{begin.epoch}").shuffle(pieces)
        pieces = between(pieces, *self._stretch(*_worker()))
        taken = begin.taken
        for place, samples in self._at_hand(pieces, begin):
            if self._shuffle:
                random.Random(f"{self._seed}/{place.epoch}/{place.piece}/{place.at}").shuffle(samples)
            samples.reverse()
            del samples[len(samples) - taken :]
            while samples:
                taken += 1
                self._place = replace(place, taken=taken)
                yield samples.pop()
            taken = 0

    def _at_hand(self, pieces: list[Piece], begin: _Place) -> Iterator[tuple[_Place, list[Sample]]]:
        """The samples from a place on, as many at once as are shuffled, each time with the place where they begin."""
        limit = self._shuffle_mb * 2**20 if self._shuffle else 0
        storage = self._storage if get_worker_info() is None else copy.copy(self._storage)  # connections do not fork
        place, num_bytes = begin, 0
        samples: list[Sample] = []
        for number in range(begin.piece, len(pieces)):
            piece = pieces[number]
            if number == begin.piece:
                piece = replace(piece, start=max(piece.start, begin.at))
            for at, sample in self._shards.samples(storage, piece):
                if not samples:
                    place = _Place(begin.epoch, number, at)
                samples.append(sample)
                num_bytes += _num_bytes(sample)
                if num_bytes >= limit:
                    yield place, samples
                    samples, num_bytes = [], 0
        if samples:
            yield place, samples

    def _stretch(self, worker: int = 0, num_workers: int = 1) -> tuple[int, int]:
        """What a worker of this rank reads of all the pieces laid end to end: from where to where."""
        size = self._size - self._size % self._world_size if self._equal_ranks else self._size
        start, end = (size * rank // self._world_size for rank in (self._rank, self._rank + 1))
        return start + (end - start) * worker // num_workers, start + (end - start) * (worker + 1) // num_workers

    def _check_size(self) -> None:
        if not self._size:
            raise ConfigurationError(f"the shards below {self._path} hold no samples; check the path")
        if not self._equal_ranks:
            return
        if not self._shards.counts_samples:
            raise ConfigurationError(
                "equal_ranks is True, and tar shards do not tell how many samples they hold; write Parquet, or leave "
                "it False and stop all ranks after the same number of steps"
            )
        if self._size < self._world_size:
            raise ConfigurationError(f"{self._path} holds {self._size} samples, too few for {self._world_size} ranks")

    def _identity(self) -> dict[str, Any]:
        """What a state is valid for."""
        worker, num_workers = _worker()
        return {
            "files": self._files,
            "columns": self._shards.columns,
            "shuffle": self._shuffle,
            "seed": self._seed,
            "shuffle_mb": self._shuffle_mb,
            "equal_ranks": self._equal_ranks,
            "rank": self._rank,
            "world_size": self._world_size,
            "worker": worker,
            "num_workers": num_workers,
        }

    def _check(self, state: Mapping[str, Any]) -> None:
        remedy = "resume with what it was saved under, or begin anew without it"
        for name, value in {**self._identity(), **vars(self._place)}.items():
            if name not in state:
                raise ConfigurationError(f"the state has no '{name}'; give what ShardDataset.state_dict returned")
            if name in vars(self._place) or state[name] == value:
                continue
            if name == "files":
                raise ConfigurationError(f"the state is that of other files than those in {self._path}; {remedy}")
            raise ConfigurationError(f"{name} is {value!r} here, and {state[name]!r} in the state; {remedy}")


def _worker() -> tuple[int, int]:
    """Number of this worker of a ``DataLoader``, and how many there are."""
    info = get_worker_info()
    return (info.id, info.num_workers) if info is not None else (0, 1)


def _rank_of(rank: int | None, world_size: int | None) -> tuple[int, int]:
    if (rank is None) != (world_size is None):
        raise ConfigurationError(f"rank is {rank!r} and world_size {world_size!r}; give both or neither")
    distributed = torch.distributed
    if rank is None and distributed.is_available() and distributed.is_initialized():
        rank, world_size = distributed.get_rank(), distributed.get_world_size()
    if rank is None or world_size is None:
        try:
            rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        except ValueError as error:
            raise ConfigurationError(f"RANK and WORLD_SIZE in the environment: {error}") from None
    check_count("world_size", world_size, "of at least 1", 1)
    check_count("rank", rank, f"from 0 to world_size - 1, which is {world_size - 1}", 0, world_size - 1)
    return rank, world_size


def _check_columns(columns: Any) -> None:
    if columns is None:
        return
    if not isinstance(columns, list) or not columns or not all(isinstance(column, str) for column in columns):
        raise ConfigurationError(f"columns is {columns!r}; give a list such as ['text', 'codes'], or None for all")
    if len(set(columns)) < len(columns):
        raise ConfigurationError(f"columns is {columns!r}; name each column once")


def _shards_of(path: str, files: list[FileInfo], columns: list[str] | None) -> tuple[Shards, list[FileInfo]]:
    """Of what kind the shards are, and which files they are."""
    found = {kind: [file for file in files if file.path.endswith(kind.suffix)] for kind in FORMATS}
    kinds = [kind for kind in FORMATS if found[kind]]
    if not kinds:
        wanted = " or ".join(f"*{kind.suffix}" for kind in FORMATS)
        raise ConfigurationError(f"no shards ({wanted}) among the {len(files)} files below {path}; check the path")
    if len(kinds) > 1:
        examples = " and ".join(found[kind][0].path for kind in kinds)
        raise ConfigurationError(f"shards of several kinds below {path}: {examples}; give the folder of one kind")
    return kinds[0](columns), found[kinds[0]]


def _digest(values: list[Any]) -> str:
    return hashlib.sha256(repr(values).encode(errors="surrogateescape")).hexdigest()[:16]


def _num_bytes(value: Any) -> int:
    """About how much room a value takes in memory."""
    if isinstance(value, (bytes, str)):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_num_bytes, value.values()))
    if isinstance(value, list):
        return sum(map(_num_bytes, value)) if value and isinstance(value[0], (dict, list, str)) else 8 * len(value)
    return 8
