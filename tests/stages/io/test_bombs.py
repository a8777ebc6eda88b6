"""Small files that would fill the memory: they are set aside, and the good ones beside them are read.

All of them are read in one process with a 16th of the usual limits, which takes at most ``ROOM_BYTES`` beyond what it
took before.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_audio.errors import ConfigurationError, RecordError, StorageError
from curator_audio.stages.hub.contents import contents_of
from curator_audio.stages.io import ManifestReaderStage, parquet_shard
from curator_audio.stages.io.parquet_shard import ParquetShard
from curator_audio.stages.speech import PairReaderStage, npz, sound
from curator_audio.stages.speech.decode import open_recording
from curator_audio.stages.speech.resample import resampled
from curator_audio.stages.speech.sound import decode_sound, encode_flac
from curator_audio.storage.decompression import decompressed
from curator_audio.storage.limits import MAX_UNPACKED_BYTES
from curator_audio.storage.storage import Storage
from tests.segments import npz as good_npz

ROOM_BYTES = 100e6
LARGE = MAX_UNPACKED_BYTES // 16 + 1

# Parquet -----------------------------------------------------------------------------------------------------


def column(name: str, values: Any, kind: Any = None) -> pa.Table:
    return pa.table({name: pa.array(values, kind)})


def same_value(value: bytes, num_rows: int) -> pa.Table:
    indices = pa.array(np.zeros(num_rows, np.int32))
    return pa.table({"audio": pa.DictionaryArray.from_arrays(indices, pa.array([value]))})


def numbers(*sizes: int) -> pa.Table:
    """A row with a list of so many numbers for each size."""
    offsets = pa.array(np.cumsum([0, *sizes]), pa.int32())
    zeros = pa.array(np.zeros(sum(sizes), np.int8))
    return pa.table({"codes": pa.ListArray.from_arrays(offsets, zeros)})


def audio(value: bytes) -> pa.Table:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return column("audio", [{"bytes": value, "path": "a"}], kind)


PARQUET: dict[str, tuple[Callable[[], pa.Table], dict[str, Any], int]] = {
    "a-cell": (lambda: column("audio", [bytes(30_000_000)]), {}, 0),
    "a-cell-in-a-struct": (lambda: audio(bytes(LARGE)), {"compression": "gzip"}, 0),
    "a-cell-of-text": (lambda: column("text", ["x" * LARGE]), {"use_dictionary": False}, 0),
    "one-value-in-all-rows": (lambda: same_value(bytes(2**18), 10_000), {}, 248),
    "a-cell-in-json": (lambda: column("json", [{"text": "x" * LARGE}]), {"compression": "gzip"}, 0),
    "rows-of-nothing": (lambda: column("text", pa.nulls(1_100_000), pa.string()), {}, 0),
    "a-list": (lambda: numbers(2**22 + 1), {}, 0),
    "a-list-and-a-good-one": (lambda: numbers(2**20, 2), {}, 1),
}
"""What makes each, how it is written, and how many of its rows may be read."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bombs")
    for kind in ("parquet", "npz/news", "tar"):
        (root / kind).mkdir(parents=True)
    for name, (table, options, _) in PARQUET.items():
        pq.write_table(table(), root / f"parquet/{name}.parquet", **{"compression": "zstd", **options})
    for name in ("0-good", "z-good"):
        pq.write_table(column("text", ["good"]), root / f"parquet/{name}.parquet")
        (root / f"npz/news/{name}.npz").write_bytes(good_npz())
        (root / f"tar/{name}.tar").write_bytes(tar(("a.txt", b"good")))
    for name, data in NPZ.items():
        (root / f"npz/news/{name}.npz").write_bytes(data())
    with open(root / "npz/news/holes.npz", "wb") as file:
        file.truncate(2**26 + 1)
    for name, data in TAR.items():
        (root / f"tar/{name}.tar").write_bytes(data())
    with open(root / "tar/name.tar", "wb") as file:  # of 900 MB, which are not there
        file.write(tar(("a.txt", b"good"))[:1024] + header("././@LongLink", 900_000_000, b"L"))
        file.truncate(900_000_000)
    return root


# npz ---------------------------------------------------------------------------------------------------------


def array(shape: str, descr: str = "<f4", padding: int = 0) -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}{' ' * padding}\n".encode()
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text


def zipped(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def lying_about_its_size() -> bytes:
    data = bytearray(zipped(("audio.npy", array("(5000000,)") + bytes(20_000_000))))
    entry = data.rfind(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = struct.pack("<I", 1000)
    return bytes(data)


def many_members() -> bytes:
    data = zipped(*((f"{number}{'x' * 200}", b"") for number in range(5000)))
    assert len(data) < 3_000_000
    return data


NPZ: dict[str, Callable[[], bytes]] = {
    "large": lambda: zipped(("audio.npy", array("(5000000,)") + bytes(20_000_000))),
    "lying-size": lying_about_its_size,
    "lying-shape": lambda: zipped(("audio.npy", array("(200000000000,)") + bytes(64))),
    "small-samples": lambda: zipped(("audio.npy", array("(4500000,)", "|i1") + bytes(4_500_000))),
    "long-header": lambda: zipped(("audio.npy", array("(16,)", padding=10_000_000) + bytes(64))),
    "many-members": many_members,
}

# tar ---------------------------------------------------------------------------------------------------------


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def member(name: str, data: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    return header(name, len(data), kind) + data + bytes(-len(data) % 512)


def tar(*members: tuple[str, bytes]) -> bytes:
    return b"".join(member(*one) for one in members) + bytes(1024)


def pax(**values: object) -> bytes:
    """A tar with a good sample, one with such a header, and another good one."""
    lines = []
    for name, value in values.items():
        name = name.replace("_", ".")
        size = len(f" {name}={value}\n")
        size += len(str(size + len(str(size))))
        lines.append(f"{size} {name}={value}\n")
    told = "".join(lines).encode()
    middle = member("PaxHeader", told, tarfile.XHDTYPE) + member("b.txt", b"text")
    return member("a.txt", b"good") + middle + member("c.txt", b"good") + bytes(1024)


TAR: dict[str, Callable[[], bytes]] = {
    "names-of-names": lambda: member("././@LongLink", b"a\0", b"L") * 3000 + tar(("a.txt", b"good")),
    "no-such-size": lambda: pax(size=10**15),
    "backwards": lambda: pax(size=-5120),
    "no-number": lambda: pax(size="x"),
    "many-words": lambda: pax(comment="x" * 2_000_000),
    "holes": lambda: pax(GNU_sparse_map="0,4", GNU_sparse_size=20_000_000),
    "a-long-name": lambda: pax(path="x/" * 3000 + "a.txt"),
    "lying": lambda: member("a.txt", b"good") + header("b.wav", 10**9) + bytes(1024),
}

# All of them -------------------------------------------------------------------------------------------------

READ = """
import json, resource, sys
from curator_audio.storage import limits
limits.MAX_UNPACKED_BYTES //= 16
limits.MAX_RECORD_BYTES //= 16
from curator_audio.stages.io import parquet_shard
parquet_shard.MAX_VALUES //= 16
import pyarrow.parquet, soundfile
from curator_audio.stages.speech import NpzReaderStage, SegmentParquetReaderStage, WebDatasetReaderStage
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
told = {}
for kind, stage in (("parquet", SegmentParquetReaderStage), ("npz", NpzReaderStage), ("tar", WebDatasetReaderStage)):
    reader = stage(f"{sys.argv[1]}/{kind}")
    num_read = {}
    for partition in reader.partitions():
        for batch in reader.process(partition):
            for index in range(len(batch.records)):
                path = batch.path_of(index).split("/")[-1]
                num_read[path] = num_read.get(path, 0) + 1
    told[kind] = [num_read, [[bad.source_path.split("/")[len(sys.argv[1].split("/")) + 1 + (kind == "npz")], bad.reason]
                             for bad in reader.observed.quarantined]]
told["num_bytes"] = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
print(json.dumps(told))
"""


def test_the_process_lives_and_what_is_good_is_read(folder: Path) -> None:
    command = [sys.executable, "-c", READ, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["num_bytes"] < ROOM_BYTES

    num_read, bad = told["parquet"]
    rows = {f"{name}.parquet": num for name, (_, _, num) in PARQUET.items() if num}
    assert num_read == {"0-good.parquet": 1, "z-good.parquet": 1, **rows}
    paths = [path.partition("#")[0] for path, _ in bad]
    assert sorted(paths) == sorted(f"{name}.parquet" for name in PARQUET)
    assert {reason for _, reason in bad} == {"too_large"}

    num_read, bad = told["npz"]
    assert num_read == {"0-good.npz": 1, "z-good.npz": 1}
    assert {path.removesuffix(".npz"): reason for path, reason in bad} == {
        "holes": "too_large",
        "large": "too_large",
        "lying-size": "not_npz",
        "lying-shape": "not_npz",
        "small-samples": "too_large",
        "long-header": "not_npz",
        "many-members": "too_large",
    }

    num_read, bad = told["tar"]
    assert num_read == {
        "0-good.tar": 1,
        "z-good.tar": 1,
        "holes.tar": 2,
        "no-number.tar": 1,
        "lying.tar": 1,
        "no-such-size.tar": 1,
    }
    assert {path.removesuffix(".tar"): reason for path, reason in bad} == {
        **dict.fromkeys([*TAR, "name"], "not_tar"),
        "holes": "too_large",
    }


def test_publishing_looks_into_them_as_carefully(folder: Path) -> None:
    for name in ("name", "names-of-names", "backwards", "a-long-name", "no-such-size"):
        with pytest.raises(RecordError, match="it is no whole tar archive"):
            contents_of(Storage(), f"{folder}/tar/{name}.tar")


# Parquet in detail -------------------------------------------------------------------------------------------


def shard_of(table: pa.Table, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file


@pytest.mark.parametrize("is_local", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"compression": "none"}, {"data_page_version": "2.0"}, {"data_page_size": 100}]
)
def test_pages_are_looked_at_however_a_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], is_local: bool
) -> None:
    """And wherever it lies: what is local pyarrow reads by itself, of another it is given what was looked at."""
    table = pa.table({"text": ["a" * 1000, "b"] * 50, "codes": [[1, 2], None] * 50, "start": [0.5, None] * 50})
    (tmp_path / "a").write_bytes(shard_of(table, row_group_size=40, **options).getvalue())
    for limit, is_fine in ((10_000_000, True), (500, False)):
        monkeypatch.setattr(parquet_shard, "MAX_UNPACKED_BYTES", limit)
        with open(tmp_path / "a", "rb") as local:
            shard = ParquetShard(local if is_local else io.BytesIO(local.read()))
            groups = range(shard.metadata.num_row_groups)
            if is_fine:
                rows = [row for group in groups for batch in shard.batches(group, None, 7) for row in batch.to_pylist()]
                assert rows == table.to_pylist()
            else:
                with pytest.raises(
                    RecordError, match=r"too_large: a page of 'text' unpacks to \d+ bytes, more than 500"
                ):
                    list(shard.batches(0, None, 7))


def test_large_values_of_a_dictionary_are_read_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(parquet_shard, "MAX_UNPACKED_BYTES", 5000)
    data = shard_of(pa.table({"text": ["a" * 900] * 20})).getvalue()
    (tmp_path / "a").write_bytes(data)
    with open(tmp_path / "a", "rb") as local:
        for file in (local, io.BytesIO(data)):
            batches = list(ParquetShard(file).batches(0, ["text"], 64))
            assert [len(batch) for batch in batches] == [2] * 10


def test_pairs_name_the_shard_that_holds_too_much(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its speakers, which are read first, are harmless."""
    monkeypatch.setattr(parquet_shard, "MAX_UNPACKED_BYTES", 2**20)
    row = {"segment_id": "a", "speaker_id": "ann", "text": "so be it", "duration_sec": 5.0, "codes": [1]}
    pq.write_table(pa.Table.from_pylist([row, row | {"text": "x" * 2**20}]), tmp_path / "0.parquet")
    reader = PairReaderStage(str(tmp_path))
    partitions = list(reader.partitions())
    with pytest.raises(ConfigurationError, match=r"0.parquet cannot be read .* a page of 'text' .*; remove it"):
        [*reader.process(*partitions)]


def test_a_page_that_is_no_page() -> None:
    data = bytearray(shard_of(column("text", ["a", "b"]), compression="none").getvalue())
    data[4:12] = b"\xff" * 8
    with pytest.raises(RecordError, match="not_parquet: the header of a page of 'text' cannot be read"):
        list(ParquetShard(io.BytesIO(bytes(data))).batches(0, None, 64))


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.list_(pa.int8())),
        pa.list_(pa.struct({"a": pa.int8()})),
        pa.struct({"a": pa.list_(pa.int8()), "b": pa.int8()}),
        pa.list_(pa.list_(pa.int8()), 1),
    ],
)
def test_a_row_of_many_small_items_in_others_is_refused(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte in Arrow is an object of Python, whatever it lies in."""
    monkeypatch.setattr(parquet_shard, "MAX_UNPACKED_BYTES", 100_000)

    def value(length: int) -> Any:
        inner = {"a": [1] * length, "b": 1} if pa.types.is_struct(kind) else [[1] * length]
        return [{"a": 1}] * length if kind == pa.list_(pa.struct({"a": pa.int8()})) else inner

    table = pa.table({"id": [1, 2, 3], "further": pa.array([value(10), value(4000), None], kind)})
    small, large, none = parquet_shard.usable_rows(table)
    assert isinstance(large, RecordError) and large.reason == "too_large"
    assert (small, none) == ({"id": 1, "further": value(10)}, {"id": 3, "further": None})


def test_columns_nested_too_deeply() -> None:
    kind: Any = pa.int8()
    for _ in range(parquet_shard.MAX_DEPTH + 1):
        kind = pa.struct([("a", kind)])
    with pytest.raises(RecordError, match="too_large: its columns are nested 33 deep, more than 32"):
        ParquetShard(shard_of(column("text", [None], kind)))


# Sounds ------------------------------------------------------------------------------------------------------


def test_a_small_sound_that_lasts_for_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound, "MAX_UNPACKED_BYTES", 4 * 160_000)
    data = encode_flac(np.zeros(160_000, np.float32), 16000)
    assert len(data) < 10_000 and len(decode_sound(data)[0]) == 160_000
    data = encode_flac(np.zeros(160_001, np.float32), 16000)
    with pytest.raises(RecordError, match=r"too_large: its \d+ samples of 1 channels take"):
        decode_sound(data)


@pytest.mark.parametrize("sample_rate", [1, 999, 2**31 - 1])
def test_a_rate_that_no_sound_has(sample_rate: int) -> None:
    data = b"RIFF\x34\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0" + struct.pack("<IIHH", sample_rate, 0, 2, 16) + b"data\x10\0\0\0"
    with pytest.raises(RecordError, match=f"unreadable_audio: its sample rate is {sample_rate} Hz; it takes 1000 to"):
        decode_sound(data + bytes(16))


def test_npz_arrays_come_back_as_they_were() -> None:
    for samples in (np.arange(6, dtype=np.int16), np.asfortranarray(np.full((1, 5), 0.5)), np.float32([0.25] * 3)):
        record = npz.record_of_npz(good_npz(audio=samples), "a", None, 16000).record
        assert record["duration_sec"] == samples.size / 16000


@pytest.mark.parametrize(
    ("num_channels", "sample_rate", "width"), [(1, 1, 2), (65535, 48000, 2), (1, 2**31 - 1, 4), (0, 0, 0)]
)
def test_a_recording_whose_header_is_a_lie(tmp_path: Path, num_channels: int, sample_rate: int, width: int) -> None:
    form = struct.pack("<HHIIHH", 1, num_channels, sample_rate, 0, num_channels * width % 65536, 8 * width)
    data = b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\0\0\0" + form + b"data\xff\xff\xff\x7f" + bytes(100_000)
    (tmp_path / "a.wav").write_bytes(data)
    num_samples = 0
    try:
        with open_recording(Storage(), str(tmp_path / "a.wav")) as recording:
            for block in resampled(recording.blocks(), recording.sample_rate, 16000):
                num_samples += len(block)
    except RecordError as error:
        assert error.reason in ("unreadable_audio", "empty_audio", "no_audio_stream")
    assert num_samples < 100_000


# Compressed manifests ----------------------------------------------------------------------------------------


def test_a_window_of_two_gigabytes(tmp_path: Path) -> None:
    """Which a decoder would have to hold: the format allows it, in 10 bytes."""
    (tmp_path / "a.jsonl.zst").write_bytes(b"\x28\xb5\x2f\xfd\0\xa8\x0b\0\0a")
    with (
        pytest.raises(StorageError, match="cannot decompress"),
        decompressed(Storage(), str(tmp_path / "a.jsonl.zst"), "zstd") as read,
    ):
        read(10)


def test_a_line_that_unpacks_to_much_more(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"id": 1}\n"' + b"x" * 20_000_000 + b'"\n{"id": 2}\n'))
    reader = ManifestReaderStage(str(tmp_path / "a.jsonl.gz"), max_line_mb=1.0)
    partitions = list(reader.partitions())
    assert sum(len(partition.data or b"") for partition in partitions) < 200_000
    assert [batch.records for part in partitions for batch in reader.process(part)] == [[{"id": 1}], [{"id": 2}]]
    (bad,) = reader.observed.quarantined
    assert (bad.reason, bad.num_bytes) == ("line_too_long", 20_000_002)
