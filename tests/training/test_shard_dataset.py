"""Who reads what, in which order, and where a pass goes on, without and with worker processes."""

from __future__ import annotations

import io
import json
import tarfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.extras import needs

torch = needs("torch")

from torch.utils.data import DataLoader  # noqa: E402

from curator_audio.errors import AccessError, ConfigurationError, CuratorError  # noqa: E402
from curator_audio.stages.speech.parquet_writer import SegmentParquetWriterStage  # noqa: E402
from curator_audio.stages.speech.segments import SEGMENT_FIELDS  # noqa: E402
from curator_audio.stages.speech.sound import decode_sound  # noqa: E402
from curator_audio.stages.speech.webdataset_writer import WebDatasetWriterStage  # noqa: E402
from curator_audio.stages.speech.window_parquet_writer import WindowParquetWriterStage  # noqa: E402
from curator_audio.stages.speech.window_webdataset_writer import WindowWebDatasetWriterStage  # noqa: E402
from curator_audio.stages.speech.windows import WINDOW_FIELDS  # noqa: E402
from curator_audio.stages.writer import WriterStage  # noqa: E402
from curator_audio.storage.storage import Storage, join  # noqa: E402
from curator_audio.tasks import AudioBatch, Record  # noqa: E402
from curator_audio.training import ShardDataset, dataset  # noqa: E402
from tests.segments import segment  # noqa: E402

Write = Callable[[str, list[int]], None]
"""Writes shards of so many samples each, numbered from 0 on as ``id``, into a folder."""


def write_parquet(folder: str, sizes: list[int], rows_per_group: int = 4) -> None:
    first = 0
    for number, size in enumerate(sizes):
        file = io.BytesIO()
        ids = list(range(first, first + size))
        table = pa.table({"id": pa.array(ids, pa.int64()), "text": [f"text {i}" for i in ids]})
        pq.write_table(table, file, row_group_size=rows_per_group)
        Storage().write(join(folder, f"{number:04d}.parquet"), file.getvalue())
        first += size


def write_tar(folder: str, sizes: list[int]) -> None:
    """Sounds of different lengths, so that bytes are not samples."""
    first = 0
    for number, size in enumerate(sizes):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            for i in range(first, first + size):
                described = json.dumps({"id": i, "text": f"text {i}"}).encode()
                for suffix, data in (("flac", b"fLaC" * (1 + i * 97 % 1000)), ("json", described)):
                    member = tarfile.TarInfo(f"news/show_seg_{i}.{suffix}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        Storage().write(join(folder, f"{number:04d}.tar"), file.getvalue())
        first += size


def members_of(data: bytes) -> list[tuple[int, str]]:
    """Where in a tar each file begins, and its name."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [(member.offset, member.name) for member in archive]


FORMATS = [write_parquet, write_tar]


def new_folder() -> str:
    return f"memory://training/{uuid.uuid4().hex}"


@contextmanager
def as_worker(number: int, num_workers: int) -> Iterator[None]:
    """What is run in the block takes itself for a worker of a ``DataLoader``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "get_worker_info", lambda: SimpleNamespace(id=number, num_workers=num_workers))
        yield


def ids(samples: Any) -> list[int]:
    return [sample["id"] for sample in samples]


def read_by_all(folder: str, world_size: int, num_workers: int, **options: Any) -> list[list[list[int]]]:
    """What each worker of each rank reads in a pass."""
    ranks = []
    for rank in range(world_size):
        shards = ShardDataset(folder, rank=rank, world_size=world_size, **options)
        workers = []
        for worker in range(num_workers):
            with as_worker(worker, num_workers):
                workers.append(ids(shards))
        ranks.append(workers)
    return ranks


def flat(lists: list[list[Any]]) -> list[Any]:
    return [value for values in lists for value in values]


sizes_of_shards = st.lists(st.integers(0, 11), min_size=1, max_size=6).filter(any)
readers = {"world_size": st.integers(1, 5), "num_workers": st.integers(1, 4)}


# ---- who reads what


@settings(deadline=None, max_examples=60)
@given(
    sizes=sizes_of_shards, rows_per_group=st.integers(1, 12), shuffle=st.booleans(), epoch=st.integers(0, 3), **readers
)
def test_each_row_has_one_reader_and_shares_differ_by_one_at_most(
    sizes: list[int], rows_per_group: int, shuffle: bool, epoch: int, world_size: int, num_workers: int
) -> None:
    folder = new_folder()
    write_parquet(folder, sizes, rows_per_group)
    ranks = []
    for rank in range(world_size):
        shards = ShardDataset(folder, shuffle=shuffle, rank=rank, world_size=world_size)
        shards.set_epoch(epoch)
        for worker in range(num_workers):
            with as_worker(worker, num_workers):
                ranks.append((rank, ids(shards)))
    assert sorted(flat([read for _, read in ranks])) == list(range(sum(sizes)))
    numbers = [len(read) for _, read in ranks]
    assert max(numbers) - min(numbers) <= 1
    of_ranks = [sum(len(read) for of, read in ranks if of == rank) for rank in range(world_size)]
    assert max(of_ranks) - min(of_ranks) <= 1


@settings(deadline=None, max_examples=40)
@given(sizes=sizes_of_shards, shuffle=st.booleans(), **readers)
def test_each_sample_of_a_tar_has_one_reader(
    sizes: list[int], shuffle: bool, world_size: int, num_workers: int
) -> None:
    folder = new_folder()
    write_tar(folder, sizes)
    ranks = read_by_all(folder, world_size, num_workers, shuffle=shuffle)
    assert sorted(flat(flat(ranks))) == list(range(sum(sizes)))


@settings(deadline=None, max_examples=40)
@given(sizes=sizes_of_shards, shuffle=st.booleans(), **readers)
def test_equal_ranks_all_read_as_many_and_leave_out_less_than_one_each(
    sizes: list[int], shuffle: bool, world_size: int, num_workers: int
) -> None:
    folder = new_folder()
    write_parquet(folder, sizes)
    if sum(sizes) < world_size:
        with pytest.raises(ConfigurationError, match=f"too few for {world_size} ranks"):
            ShardDataset(folder, rank=0, world_size=world_size, equal_ranks=True)
        return
    ranks = read_by_all(folder, world_size, num_workers, shuffle=shuffle, equal_ranks=True)
    assert {len(flat(workers)) for workers in ranks} == {sum(sizes) // world_size}
    assert len({tuple(map(len, workers)) for workers in ranks}) == 1  # and so as many batches
    read = flat(flat(ranks))
    assert len(set(read)) == len(read) > sum(sizes) - world_size


def test_without_shuffling_readers_follow_one_another() -> None:
    folder = new_folder()
    write_parquet(folder, [5, 1, 4])
    assert read_by_all(folder, 2, 2) == [[[0, 1], [2, 3, 4]], [[5, 6], [7, 8, 9]]]
    assert ShardDataset(folder, rank=1, world_size=2).num_samples == 5


def test_a_sample_of_a_tar_is_read_where_it_begins() -> None:
    folder = new_folder()
    write_tar(folder, [40])
    data = Storage().read(f"{folder}/0000.tar")
    begins = [offset for offset, name in members_of(data) if name.endswith("flac")]
    in_first_half = [number for number in range(40) if begins[number] < len(data) // 2]
    assert 15 < len(in_first_half) < 30
    assert read_by_all(folder, 2, 1) == [[in_first_half], [list(range(len(in_first_half), 40))]]
    assert ShardDataset(folder).num_samples is None


def test_rank_and_world_size_come_from_torch_distributed_else_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = new_folder()
    write_parquet(folder, [8])
    assert ids(ShardDataset(folder)) == list(range(8))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert ids(ShardDataset(folder)) == [2, 3]
    assert ids(ShardDataset(folder, rank=3, world_size=4)) == [6, 7]
    torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=torch.distributed.HashStore())
    try:
        assert ids(ShardDataset(folder)) == list(range(8))
    finally:
        torch.distributed.destroy_process_group()
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(ConfigurationError, match=r"RANK and WORLD_SIZE in the environment: .*'first'"):
        ShardDataset(folder)


# ---- in which order


@pytest.mark.parametrize("write", FORMATS)
def test_the_order_is_that_of_seed_and_epoch(write: Write) -> None:
    folder = new_folder()
    write(folder, [20, 20, 20])

    def order(seed: int, epoch: int) -> list[int]:
        shards = ShardDataset(folder, shuffle=True, seed=seed)
        shards.set_epoch(epoch)
        return ids(shards)

    assert order(1, 0) == order(1, 0)
    orders = [order(1, 0), order(1, 1), order(2, 0), list(range(60))]
    assert all(sorted(one) == list(range(60)) for one in orders)
    assert len(set(map(tuple, orders))) == 4


def test_samples_are_shuffled_over_several_row_groups_within_a_bounded_room() -> None:
    folder = new_folder()
    write_parquet(folder, [40], rows_per_group=10)
    wide = ids(ShardDataset(folder, shuffle=True))
    assert len({i // 10 for i in wide[:10]}) > 1
    sample_mb = (8 + len("text 0")) / 2**20  # as a sample is counted: a number and a text
    narrow = ids(ShardDataset(folder, shuffle=True, shuffle_mb=5 * sample_mb))
    assert [len({i // 10 for i in narrow[n : n + 10]}) for n in range(0, 40, 10)] == [1, 1, 1, 1]
    assert narrow[:10] != sorted(narrow[:10])


# ---- where it goes on


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("write", FORMATS)
def test_a_pass_goes_on_where_it_was_from_any_place(write: Write, shuffle: bool) -> None:
    folder = new_folder()
    write(folder, [7, 0, 3, 5])
    options: dict[str, Any] = {"shuffle": shuffle, "shuffle_mb": 40 / 2**20 if write is write_parquet else 5000 / 2**20}
    for rank in range(2):

        def new(rank: int = rank) -> ShardDataset:
            return ShardDataset(folder, rank=rank, world_size=2, **options)

        first = new()
        first.set_epoch(3)
        whole = ids(first)
        for num_read in range(len(whole) + 1):
            stopped = new()
            stopped.set_epoch(3)
            iterator = iter(stopped)
            before = [next(iterator)["id"] for _ in range(num_read)]
            state = json.loads(json.dumps(stopped.state_dict()))
            resumed = new()
            resumed.load_state_dict(state)
            assert resumed.state_dict() == state
            assert before + ids(resumed) == whole
            assert ids(resumed) == ids(new())  # the next iteration is a pass of its own


@settings(deadline=None, max_examples=40)
@given(
    sizes=sizes_of_shards,
    rows_per_group=st.integers(1, 12),
    shuffled_samples=st.integers(0, 9),
    stops=st.lists(st.integers(0, 12), max_size=4),
    is_tar=st.booleans(),
)
def test_stopping_again_and_again_loses_and_repeats_nothing(
    sizes: list[int], rows_per_group: int, shuffled_samples: int, stops: list[int], is_tar: bool
) -> None:
    folder = new_folder()
    if is_tar:
        write_tar(folder, sizes)
    else:
        write_parquet(folder, sizes, rows_per_group)
    options: dict[str, Any] = {"shuffle": shuffled_samples > 0, "shuffle_mb": max(1, shuffled_samples) * 15 / 2**20}
    with as_worker(0, 2):
        whole = ids(ShardDataset(folder, **options))
        read = []
        state = None
        for stop in stops:
            shards = ShardDataset(folder, **options)
            if state is not None:
                shards.load_state_dict(state)
            read += ids(islice(iter(shards), stop))
            state = shards.state_dict()
        shards = ShardDataset(folder, **options)
        if state is not None:
            shards.load_state_dict(state)
        assert read + ids(shards) == whole


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 5}, "seed is 5 here, and 0 in the state"),
        ({"shuffle": True}, "shuffle is True here, and False"),
        ({"columns": ["id"]}, r"columns is \['id'\] here, and None"),
        ({"world_size": 2, "rank": 0}, "world_size is 2 here, and 1"),
    ],
)
def test_a_state_of_other_parameters_is_refused(changed: dict[str, Any], message: str) -> None:
    folder = new_folder()
    write_parquet(folder, [3])
    state = ShardDataset(folder, rank=0, world_size=1).state_dict()
    with pytest.raises(ConfigurationError, match=f"{message}.*; resume with what it was saved under"):
        ShardDataset(folder, **{"rank": 0, "world_size": 1, **changed}).load_state_dict(state)


def test_a_state_of_other_files_or_of_another_reader_is_refused() -> None:
    folder = new_folder()
    write_parquet(folder, [3])
    state = ShardDataset(folder).state_dict()
    shards = ShardDataset(folder)
    shards.load_state_dict(state)
    with as_worker(1, 2), pytest.raises(ConfigurationError, match="worker is 1 here, and 0 in the state"):
        iter(shards)
    with pytest.raises(ConfigurationError, match="the state has no 'piece'"):
        shards.load_state_dict({name: value for name, value in state.items() if name != "piece"})
    write_parquet(folder, [3, 1])
    with pytest.raises(ConfigurationError, match=f"other files than those in {folder}"):
        ShardDataset(folder).load_state_dict(state)


def test_a_copy_elsewhere_takes_the_same_state() -> None:
    here, there = new_folder(), new_folder()
    write_parquet(here, [5])
    write_parquet(there, [5])
    shards = ShardDataset(here)
    iterator = iter(shards)
    assert [next(iterator)["id"] for _ in range(2)] == [0, 1]
    copied = ShardDataset(there + "/")
    copied.load_state_dict(shards.state_dict())
    assert ids(copied) == [2, 3, 4]


# ---- what a sample is


def write_with(writer: WriterStage[AudioBatch], records: list[Record]) -> None:
    path = writer.part_path("part-000000", "")
    writer.write(Storage(), path, [AudioBatch(records, "manifest.jsonl")])


def test_segments_are_the_same_from_parquet_and_from_tar(tmp_path: Path) -> None:
    segments = [segment(f"show_seg_{n}", codes=[n, 7], duration_sec=0.1 + n / 100) for n in range(3)]
    segments.append({**segment("show_seg_3"), "audio": None})
    parquet, tar = tmp_path / "parquet", tmp_path / "tar"
    write_with(SegmentParquetWriterStage(str(parquet)), segments)
    write_with(WebDatasetWriterStage(str(tar)), segments)
    samples = list(ShardDataset(parquet))
    assert samples == segments == list(ShardDataset(tar))
    assert tuple(samples[0]) == SEGMENT_FIELDS
    decoded, sample_rate = decode_sound(samples[2]["audio"]["bytes"])
    assert (len(decoded), sample_rate) == (1920, 16000)
    for folder in (parquet, tar):
        assert list(ShardDataset(folder, columns=["codes", "text"]))[1] == {
            "codes": [1, 7],
            "text": "text of show_seg_1",
        }
    assert list(ShardDataset(parquet / "part-000000.parquet")) == samples


def test_windows_are_the_same_from_parquet_and_from_tar(tmp_path: Path) -> None:
    turns = [
        {"start": 0.0, "end": 0.5, "speaker": "a", "text": "so"},
        {"start": 0.5, "end": 1, "speaker": "b", "text": ""},
    ]
    known = {"window_id": "show_win_0", "num_speakers": 2, "speakers": ["a", "b"], "segments": turns, "codes": []}
    windows = [{**dict.fromkeys(WINDOW_FIELDS), **known, "audio": segment("show_win_0")["audio"]}]
    parquet, tar = tmp_path / "parquet", tmp_path / "tar"
    write_with(WindowParquetWriterStage(str(parquet)), windows)
    write_with(WindowWebDatasetWriterStage(str(tar)), windows)
    assert list(ShardDataset(parquet, shuffle=True)) == windows == list(ShardDataset(tar, shuffle=True))


def test_a_tar_is_read_without_going_back(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = new_folder()
    write_tar(folder, [10])
    data = Storage().read(f"{folder}/0000.tar")
    ranges = []

    class Recorded(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            start = self.tell()
            content = super().read(size)
            ranges.append((start, self.tell()))
            return content

    monkeypatch.setattr(Storage, "open", lambda self, path: contextmanager(lambda: iter([Recorded(data)]))())
    assert ids(ShardDataset(folder)) == list(range(10))
    assert all(start >= end - 1 for (_, end), (start, _) in pairwise(ranges))


def test_what_a_run_keeps_beside_its_shards_is_left_out() -> None:
    folder = new_folder()
    write_parquet(f"{folder}/data", [3])
    write_parquet(f"{folder}/_ledger/parts", [2])
    Storage().write(f"{folder}/_ledger/configuration.json", b"{}")
    Storage().write(f"{folder}/metrics.json", b"{}")
    assert ids(ShardDataset(folder)) == [0, 1, 2]


# ---- in worker processes


@pytest.mark.parametrize(("write", "start"), [(write_parquet, "spawn"), (write_parquet, "fork"), (write_tar, "fork")])
def test_two_workers_read_from_s3(write: Write, start: str, s3_bucket: str) -> None:
    write(f"{s3_bucket}/shards", [5, 1])
    shards = ShardDataset(f"{s3_bucket}/shards", shuffle=True)
    assert sorted(ids(shards)) == list(range(6))
    loader = DataLoader(shards, batch_size=None, num_workers=2, multiprocessing_context=start)
    assert sorted(ids(loader)) == list(range(6))


def test_workers_that_stay_learn_of_the_next_epoch(tmp_path: Path) -> None:
    write_parquet(str(tmp_path), [16])
    shards = ShardDataset(tmp_path, shuffle=True)
    loader = DataLoader(shards, batch_size=None, num_workers=2, persistent_workers=True)
    orders = []
    for epoch in (0, 1, 0):
        shards.set_epoch(epoch)
        orders.append(ids(loader))
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[1]) == list(range(16))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_stateful_loader_resumes_exactly(num_workers: int, tmp_path: Path) -> None:
    stateful = needs("torchdata.stateful_dataloader")
    write_parquet(str(tmp_path), [9, 4, 2])

    def new() -> tuple[ShardDataset, Any]:
        shards = ShardDataset(tmp_path, shuffle=True, shuffle_mb=50 / 2**20)
        return shards, stateful.StatefulDataLoader(shards, batch_size=2, num_workers=num_workers, collate_fn=ids)

    shards, loader = new()
    passes = []
    for epoch in range(2):
        shards.set_epoch(epoch)
        passes.append(list(loader))
        assert sorted(flat(passes[epoch])) == list(range(15))
    assert passes[0] != passes[1]
    for num_batches in (1, 2, 5, len(passes[1])):
        shards, loader = new()
        shards.set_epoch(1)
        batches = iter(loader)
        before = [next(batches) for _ in range(num_batches)]
        state = loader.state_dict()
        del batches
        shards, loader = new()
        loader.load_state_dict(state)
        shards.set_epoch(1)
        assert before + list(loader) == passes[1]
        shards.set_epoch(0)
        assert list(loader) == passes[0]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_state_saved_between_two_passes_begins_the_next_one(num_workers: int, tmp_path: Path) -> None:
    stateful = needs("torchdata.stateful_dataloader")
    write_parquet(str(tmp_path), [9])

    def new() -> tuple[ShardDataset, Any]:
        shards = ShardDataset(tmp_path, shuffle=True)
        return shards, stateful.StatefulDataLoader(shards, batch_size=None, num_workers=num_workers)

    shards, loader = new()
    assert sorted(ids(loader)) == list(range(9))
    state = loader.state_dict()
    shards.set_epoch(1)
    second = ids(loader)
    shards, loader = new()
    loader.load_state_dict(state)
    shards.set_epoch(1)
    assert ids(loader) == second


# ---- what is refused


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"path": ""}, "path is ''"),
        ({"columns": []}, r"columns is \[\]; give a list"),
        ({"columns": "id"}, "columns is 'id'; give a list"),
        ({"columns": ["id", "id"]}, "name each column once"),
        ({"columns": ["id", "codes"]}, "columns has 'codes'; .*0000.parquet has id, text"),
        ({"shuffle": 1}, "shuffle is 1; give true or false"),
        ({"seed": -1}, "seed is -1; give a whole number of at least 0"),
        ({"shuffle_mb": 0}, "shuffle_mb is 0; give a number of MB above 0"),
        ({"rank": 2}, "rank is 2 and world_size None; give both or neither"),
        ({"rank": 2, "world_size": 2}, "rank is 2; give a whole number from 0 to world_size - 1, which is 1"),
        ({"rank": 0, "world_size": 0}, "world_size is 0; give a whole number of at least 1"),
        ({"storage_options": {"key": "abc"}}, "secrets belong in the environment"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, Any], message: str) -> None:
    folder = new_folder()
    write_parquet(folder, [3])
    with pytest.raises(ConfigurationError, match=message):
        ShardDataset(**{"path": folder, **parameters})


def test_folders_without_shards_of_one_kind_are_named() -> None:
    folder = new_folder()
    with pytest.raises(
        ConfigurationError, match=rf"no shards \(\*.parquet or \*.tar\) among the 0 files below {folder}"
    ):
        ShardDataset(folder)
    write_parquet(folder, [0])
    with pytest.raises(ConfigurationError, match=f"the shards below {folder} hold no samples"):
        ShardDataset(folder)
    write_tar(folder, [2])
    with pytest.raises(
        ConfigurationError, match=r"several kinds .*/0000.parquet and .*/0000.tar; give the folder of one"
    ):
        ShardDataset(folder)


def test_equal_ranks_are_not_to_be_had_of_tars() -> None:
    folder = new_folder()
    write_tar(folder, [4])
    with pytest.raises(ConfigurationError, match="equal_ranks is True, and tar shards do not tell"):
        ShardDataset(folder, equal_ranks=True)


def test_a_column_that_a_tar_lacks_is_named_with_the_sample() -> None:
    folder = new_folder()
    write_tar(folder, [4])
    with pytest.raises(
        ConfigurationError, match=r"columns has 'codes'; news/show_seg_0.json in .*0000.tar has id, text"
    ):
        list(ShardDataset(folder, columns=["id", "codes"]))


@pytest.mark.parametrize("damage", ["empty", "cut", "other", "overwritten"])
@pytest.mark.parametrize("write", FORMATS)
def test_a_damaged_shard_is_named(write: Write, damage: str) -> None:
    folder = new_folder()
    write(folder, [4, 4])
    (path,) = (file.path for file in Storage().list_files(folder) if "0001" in file.path)
    data = Storage().read(path)
    middle = 4 if write is write_parquet else members_of(data)[3][0]
    damaged = {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "other": b"this is no shard" * 100,
        "overwritten": data[:middle] + b"\xff" * 60 + data[middle + 60 :],
    }[damage]
    Storage().write(path, damaged)
    kind = "Parquet" if write is write_parquet else "tar"
    with pytest.raises(AccessError, match=f"cannot read {path}: it is no {kind} file, or damaged .*; make it again"):
        list(ShardDataset(folder))


def test_a_damaged_shard_is_named_from_a_worker_process_too(tmp_path: Path) -> None:
    write_tar(str(tmp_path), [4])
    path = tmp_path / "0000.tar"
    data = path.read_bytes()
    path.write_bytes(data[: members_of(data)[-1][0] + 600])
    samples: Any = iter(DataLoader(ShardDataset(tmp_path), batch_size=None, num_workers=2))
    with pytest.raises(CuratorError, match=f"cannot read {path}: it is no tar file, or damaged"):
        list(samples)
    for worker in samples._workers:  # for whose end PyTorch would wait 5 s each
        worker.terminate()


# Further fields ----------------------------------------------------------------------------------------------


def test_fields_without_a_column_are_in_the_samples(tmp_path: Path) -> None:
    rows = {"id": [0, 1, 2], "snr": [1.5, None, None], "extra": ['{"tags": ["a"]}', '{"snr": "high"}', None]}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet", row_group_size=2)
    first, second, third = ShardDataset(str(tmp_path))
    assert first == {"id": 0, "snr": 1.5, "tags": ["a"]}
    assert (second, third) == ({"id": 1, "snr": "high"}, {"id": 2, "snr": None})
    assert list(ShardDataset(str(tmp_path), columns=["snr"])) == [{"snr": 1.5}, {"snr": "high"}, {"snr": None}]
    assert next(iter(ShardDataset(str(tmp_path), columns=["id", "extra"]))) == {"id": 0, "tags": ["a"]}
    with pytest.raises(ConfigurationError, match=r"columns has 'tags'; .* has id, snr, extra"):
        ShardDataset(str(tmp_path), columns=["tags"])


def test_fields_beside_those_of_segments_arrive_from_tars(tmp_path: Path) -> None:
    record = segment("show_seg_0") | {"loudness_db": 1.5, "tags": ["a"], ".npy": b"\x93NUMPY\0"}
    WebDatasetWriterStage(str(tmp_path)).write(Storage(), f"{tmp_path}/a.tar", [AudioBatch([record])])
    (sample,) = ShardDataset(str(tmp_path))
    assert {name: sample[name] for name in ("loudness_db", "tags", ".npy")} == {
        "loudness_db": 1.5,
        "tags": ["a"],
        ".npy": b"\x93NUMPY\0",
    }
    assert list(ShardDataset(str(tmp_path), columns=["loudness_db"])) == [{"loudness_db": 1.5}]
