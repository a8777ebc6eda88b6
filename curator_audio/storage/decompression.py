"""Compressed files, read in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from curator_audio.errors import StorageError
from curator_audio.storage.failures import explained
from curator_audio.storage.storage import Storage

CODECS = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}


def codec_of(path: str) -> str | None:
    """The compression a file's name tells: ``gzip``, ``zstd`` or None.

    Example:
        >>> codec_of("manifest.jsonl.zst")
        'zstd'
    """
    return next((codec for suffix, codec in CODECS.items() if path.lower().endswith(suffix)), None)


@contextmanager
def decompressed(storage: Storage, path: str, codec: str) -> Iterator[Callable[[int], bytes]]:
    """A function that returns the file's next bytes, decompressed, as many as asked for until its end.

    Raises:
        StorageError: the file cannot be read, or is not (or only in part) what its name says.
    """
    import pyarrow as pa

    with storage.open(path) as file, explained(path, "decompress"):
        stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), codec)

        def next_piece(num_bytes: int) -> bytes:
            try:
                piece: bytes = stream.read(num_bytes)
            except OSError as error:
                if error.errno is not None:
                    raise
                remedy = f"check that the file is whole, and {codec} as its name says"
                raise StorageError(f"cannot decompress {path}: {error}; {remedy}") from error
            return piece

        def read(num_bytes: int) -> bytes:
            pieces: list[bytes] = []
            while num_bytes > 0 and (piece := next_piece(num_bytes)):
                pieces.append(piece)
                num_bytes -= len(piece)
            return b"".join(pieces)

        yield read
