import gzip
from pathlib import Path

import pyarrow
import pytest

from curator_audio.errors import AccessError, StorageError
from curator_audio.storage.decompression import codec_of, decompressed
from curator_audio.storage.storage import Storage

TEXT = b"".join(b"line %d\n" % number for number in range(5000))


def zstd(data: bytes) -> bytes:
    return pyarrow.Codec("zstd").compress(data, asbytes=True)


COMPRESS = {"gzip": gzip.compress, "zstd": zstd}
SKIPPABLE_ZSTD_FRAME = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"


def read_all(path: Path, codec: str, piece_bytes: int = 1000) -> bytes:
    pieces = []
    with decompressed(Storage(), str(path), codec) as read:
        while piece := read(piece_bytes):
            pieces.append(piece)
    assert all(len(piece) == piece_bytes for piece in pieces[:-1])
    return b"".join(pieces)


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_members_and_frames_are_read_one_after_the_other(codec: str, tmp_path: Path) -> None:
    compress = COMPRESS[codec]
    for name, data, expected in (
        ("one", compress(TEXT), TEXT),
        ("several", compress(TEXT) + compress(b"and more\n") + compress(TEXT), TEXT + b"and more\n" + TEXT),
        ("some empty", compress(b"") + compress(TEXT) + compress(b""), TEXT),
        ("empty", compress(b""), b""),
        ("a line each", b"".join(map(compress, TEXT.splitlines(keepends=True))), TEXT),
        *([("skippable", SKIPPABLE_ZSTD_FRAME + compress(TEXT), TEXT)] if codec == "zstd" else []),
    ):
        (tmp_path / name).write_bytes(data)
        assert read_all(tmp_path / name, codec) == expected, name


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_damaged_file_is_told_by_name(codec: str, tmp_path: Path) -> None:
    compress = COMPRESS[codec]
    whole = compress(TEXT)
    for name, data in (
        ("cut in the middle", whole[: len(whole) // 2]),
        ("cut by a byte", whole[:-1]),
        ("cut in the second", whole + whole[: len(whole) // 2]),
        ("cut in the second's header", whole + whole[:3]),
        ("not compressed", TEXT),
        ("something behind", whole + b"garbage"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(StorageError) as raised:
            read_all(tmp_path / name, codec)
        assert str(raised.value).startswith(f"cannot decompress {tmp_path / name}: ")
        assert str(raised.value).endswith(f"; check that the file is whole, and {codec} as its name says")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match=r"cannot read .*/none\.gz: there is no such file"):
        read_all(tmp_path / "none.gz", "gzip")


def test_over_s3(s3_bucket: str) -> None:
    Storage().write(f"{s3_bucket}/a.zst", zstd(TEXT))
    with decompressed(Storage(), f"{s3_bucket}/a.zst", "zstd") as read:
        assert read(len(TEXT) + 1) == TEXT


def test_the_name_tells_the_codec() -> None:
    names = ["a.jsonl.gz", "a.JSONL.GZ", "a.gzip", "s3://b/a.jsonl.zst", "a.zstd", "a.jsonl", "a.gz.jsonl"]
    assert [codec_of(name) for name in names] == ["gzip", "gzip", "gzip", "zstd", "zstd", None, None]
