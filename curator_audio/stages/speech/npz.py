"""Segments as ``.npz`` files: what existing data of this kind looks like."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from curator_audio.errors import RecordError
from curator_audio.stages.speech.segments import METADATA_FIELDS, segment_record
from curator_audio.stages.speech.sound import Samples, audio_field, decode_sound
from curator_audio.tasks import Record

MAX_BYTES = 2**30  # of the arrays of one segment, unpacked
_INDEX = re.compile(r"_seg_(\d+)$")


def record_of_npz(data: bytes, segment_id: str, channel: str | None, sample_rate: int) -> Record:
    """The record of a segment from the bytes of its ``.npz`` file.

    Arrays of Python objects can only be read by unpickling, which could run anything: such metadata (a saved ``None``
    is one) is read as None, such audio refused.

    Args:
        data: the file.
        segment_id: its stem.
        channel: its folder.
        sample_rate: of the audio in Hz, which the file does not tell.

    Raises:
        RecordError: it is no ``.npz`` file, or has no audio that can be read.
    """
    arrays = _Arrays(data)
    samples = _samples(arrays.get("audio", is_needed=True))
    text_of = {name: _text(arrays.get(name)) for name in ("text", "audio_id", *METADATA_FIELDS)}
    codes = arrays.get("codes")
    is_codes = codes is not None and codes.dtype.kind in "iu"
    return segment_record(
        **{**text_of, "audio_id": text_of["audio_id"] or recording_of(segment_id)},
        segment_id=segment_id,
        channel=channel,
        duration_sec=len(samples) / sample_rate,
        sample_rate=sample_rate,
        audio=audio_field(samples, sample_rate, segment_id),
        codes=codes.ravel().tolist() if codes is not None and is_codes else [],
    )


def npz_of_record(record: Record) -> bytes:
    """The ``.npz`` file of a segment's record; fields that are None are left out."""
    samples, _ = decode_sound(record["audio"]["bytes"])
    arrays: dict[str, Any] = {
        "audio": samples,
        "codes": np.asarray(record.get("codes") or [], np.int32),
        "duration_sec": np.float64(record["duration_sec"]),
    }
    for name in ("text", "audio_id", *METADATA_FIELDS):
        if record.get(name) is not None:
            arrays[name] = np.str_(record[name])
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, value in arrays.items():
            _add(archive, name, value)
    return file.getvalue()


def with_codes(data: bytes, codes: Sequence[int]) -> bytes:
    """An ``.npz`` file with other codes and everything else as it was, unread."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(file, "w") as after:
        for member in before.infolist():
            if member.filename != "codes.npy":
                after.writestr(member, before.read(member))
        _add(after, "codes", np.asarray(codes, np.int32))
    return file.getvalue()


def _add(archive: zipfile.ZipFile, name: str, value: Any) -> None:
    """Add an array as NumPy does, but without the time of day: the same arrays are the same bytes."""
    array = io.BytesIO()
    np.save(array, value, allow_pickle=False)
    archive.writestr(zipfile.ZipInfo(f"{name}.npy"), array.getvalue(), zipfile.ZIP_DEFLATED)


def recording_of(segment_id: str) -> str:
    """The recording a segment was cut from, as its name tells.

    Example:
        >>> recording_of("show_12_seg_3")
        'show_12'
    """
    return _INDEX.sub("", segment_id)


def index_of(segment_id: str) -> int:
    """The place of a segment in its recording, as its name tells.

    Example:
        >>> index_of("show_12_seg_3")
        3
    """
    found = _INDEX.search(segment_id)
    return int(found[1]) if found else -1


class _Arrays:
    """The arrays of an ``.npz`` file, those of Python objects left alone."""

    def __init__(self, data: bytes) -> None:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                num_bytes = sum(member.file_size for member in file.infolist())
            if num_bytes > MAX_BYTES:
                raise RecordError("too_large", f"its arrays have {num_bytes} bytes unpacked, more than {MAX_BYTES}")
            self._file = np.load(io.BytesIO(data), allow_pickle=False)
        except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
            raise RecordError("not_npz", f"it is no .npz file: {error}") from None

    def get(self, name: str, is_needed: bool = False) -> npt.NDArray[Any] | None:
        if name not in self._file:
            if is_needed:
                there = ", ".join(self._file) or "nothing"
                raise RecordError("missing_field", f"the file has no '{name}', only {there}")
            return None
        try:
            array: npt.NDArray[Any] = self._file[name]
            return array
        except ValueError as error:
            if is_needed and "allow_pickle" in str(error):
                raise RecordError("pickled_audio", f"'{name}' holds pickled objects, which are never read") from None
            if is_needed:
                raise RecordError("not_npz", f"'{name}' cannot be read: {error}") from None
            return None
        except (zipfile.BadZipFile, OSError, EOFError, zlib.error) as error:
            raise RecordError("not_npz", f"'{name}' cannot be read: {error}") from None


def _samples(array: npt.NDArray[Any] | None) -> Samples:
    assert array is not None
    array = np.squeeze(array)
    if array.ndim == 0 and array.size == 1:
        array = array.reshape(1)
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise RecordError("wrong_type", f"'audio' is {array.dtype} of shape {array.shape}; mono samples are needed")
    if not array.size:
        raise RecordError("empty_audio", "'audio' has no samples")
    if array.dtype.kind in "iu":
        array = array / (np.iinfo(array.dtype).max + 1)
    samples: Samples = np.nan_to_num(array.astype(np.float32, copy=False), nan=0.0, posinf=0.0, neginf=0.0)
    return samples


def _text(array: npt.NDArray[Any] | None) -> str | None:
    if array is None or array.size != 1 or array.dtype.kind not in "USifb":
        return None
    value = array.ravel()[0]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
