"""What is named like a recording and is none is named as what it is."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from curator_audio.errors import RecordError
from curator_audio.stages.speech.decode import open_recording
from curator_audio.storage.storage import Storage


def zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:  # stored, so that a player would find the sound in it
        archive.writestr("a.mp3", data)
    return file.getvalue()


def tarred(data: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.mp3"), io.BytesIO(data))
    return file.getvalue()


def mp3() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(16000), 16000, format="MP3")
    return file.getvalue()


FAILED = "; has the download failed?"
KINDS = {
    "page": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "an HTML page", FAILED),
    "page with a comment": (b"\n<!-- x -->\n<HTML lang='en'><head></head></HTML>", "an HTML page", FAILED),
    "comments without end": (b"<!-- -->" * 5000 + b"x", "a text", FAILED),
    "page in utf-16": ("<html><body>Sign in</body></html>".encode("utf-16"), "an HTML page", FAILED),
    "error of s3": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML document", FAILED),
    "json": (json.dumps({"error": "quota"}).encode(), "a JSON document", FAILED),
    "json in lines": (json.dumps([{"a": 1}], indent=2).encode(), "a JSON document", FAILED),
    "text": ("Zugriff verweigert: für Gäste gesperrt\n".encode(), "a text", FAILED),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a Git LFS pointer", "; get what"),
    "playlist": (b"#EXTM3U\n#EXTINF:4,\na.wav\n", "a playlist", "; give the recordings"),
    "subtitles": (b"1\n00:00:01,000 --> 00:00:02,000\nhello\n", "subtitles", ""),
    "zip": (zipped(mp3()), "a ZIP archive", "; unpack it"),
    "gzip": (gzip.compress(mp3()), "a gzip file", "; unpack it"),
    "tar": (tarred(mp3()), "a tar archive", "; unpack it"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF document", ""),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(100), "a PNG image", ""),
    "jpeg": (b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(100), "a JPEG image", ""),
    "webp": (b"RIFF\x24\0\0\0WEBPVP8 " + bytes(100), "a WebP image", ""),
    "parquet": (b"PAR1" + bytes(100), "a Parquet file", ""),
    "zeros": (bytes(100_000), "nothing but zero bytes", "; has the copy failed?"),
}


def refused(data: bytes, path: Path) -> RecordError:
    path.write_bytes(data)
    with pytest.raises(RecordError) as caught, open_recording(Storage(), str(path)):
        pass
    return caught.value


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("suffix", ["mp3", "wav"])
def test_what_is_no_recording(name: str, suffix: str, tmp_path: Path) -> None:
    data, kind, remedy = KINDS[name]
    error = refused(data, tmp_path / f"a.{suffix}")
    assert error.reason == "not_audio"
    assert error.message.startswith(f"{tmp_path}/a.{suffix}: it is {kind}, not audio{remedy}")


def test_an_empty_file(tmp_path: Path) -> None:
    error = refused(b"", tmp_path / "a.mp3")
    assert error.reason == "empty_audio"
    assert error.message == f"{tmp_path}/a.mp3 is an empty file; has the download or the copy failed?"


@pytest.mark.parametrize("data", [b"RIFF, but nothing that follows", b"ID3 and text", b"\x80\x81\x82" * 50])
def test_what_begins_like_a_recording_or_like_nothing_is_not_guessed_at(data: bytes, tmp_path: Path) -> None:
    assert refused(data, tmp_path / "a.wav").reason == "unreadable_audio"
