"""Segments as ``.npz`` files: what existing data of this kind looks like."""

from __future__ import annotations

import copy
import io
import math
import re
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from curator_audio.errors import RecordError
from curator_audio.stages.speech.segments import METADATA_FIELDS, segment_record, sound_of
from curator_audio.stages.speech.sound import Samples, audio_field, decode_sound, repaired
from curator_audio.storage.limits import MAX_HEADER_BYTES, MAX_UNPACKED_BYTES
from curator_audio.tasks import Record

_END_OF_ZIP = b"PK\x05\x06"
_INDEX = re.compile(r"_seg_(\d+)\Z")


def record_of_npz(data: bytes, segment_id: str, channel: str | None, sample_rate: int) -> tuple[Record, int]:
    """The record of a segment from the bytes of its ``.npz`` file, and how many of its samples were no sound.

    Arrays of Python objects can only be read by unpickling, which could run anything: such metadata (a saved ``None``
    is one) is read as None, such codes as none, such audio refused.

    Args:
        data: the file.
        segment_id: its stem.
        channel: its folder.
        sample_rate: of the audio in Hz, which the file does not tell.

    Returns:
        The record, and the number of samples that were NaN, infinite or absurdly large: they are 0 in it.

    Raises:
        RecordError: it is no ``.npz`` file, has no audio that can be read, or codes that are none.
    """
    with _Arrays(data) as arrays:
        samples, num_bad = _samples(arrays.needed("audio"))
        text_of = {name: _text(arrays.get(name)) for name in ("text", "audio_id", *METADATA_FIELDS)}
        codes = _codes(arrays.get("codes"))
    record = segment_record(
        **{**text_of, "audio_id": text_of["audio_id"] or recording_of(segment_id)},
        segment_id=segment_id,
        channel=channel,
        duration_sec=len(samples) / sample_rate,
        sample_rate=sample_rate,
        audio=audio_field(samples, sample_rate, segment_id),
        codes=codes,
    )
    return record, num_bad


def npz_of_record(record: Record) -> bytes:
    """The ``.npz`` file of a segment's record; fields that are None are left out.

    Raises:
        RecordError: the record has no sound that can be decoded, or codes that are none.
    """
    samples, sample_rate = decode_sound(sound_of(record))
    arrays: dict[str, Any] = {
        "audio": samples,
        "codes": _codes_array(record.get("codes")),
        "duration_sec": np.float64(len(samples) / sample_rate),
    }
    for name in ("text", "audio_id", *METADATA_FIELDS):
        if record.get(name) is not None:
            arrays[name] = np.str_(record[name])
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, value in arrays.items():
            _add(archive, name, value)
    return file.getvalue()


def with_codes(data: bytes, codes: Sequence[int] | None) -> bytes:
    """An ``.npz`` file with other codes and everything else as it was, unread.

    Raises:
        RecordError: it is no ``.npz`` file, or the codes are none.
    """
    array = _codes_array(codes)
    file = io.BytesIO()
    with _as_npz("it"), _opened(data) as before, zipfile.ZipFile(file, "w") as after:
        for member in before.infolist():
            if member.filename != "codes.npy":
                with before.open(member) as source, after.open(copy.copy(member), "w") as target:
                    shutil.copyfileobj(source, target)
        _add(after, "codes", array)
    return file.getvalue()


def with_codes_of(before: bytes, data: bytes) -> bytes:
    """An ``.npz`` file with the codes of an earlier one, if that has any and holds the same sound.

    Raises:
        RecordError: ``data`` is no ``.npz`` file.
    """
    try:
        if _sound_checksum(before) != _sound_checksum(data):
            return data
        codes = _Arrays(before).get("codes")
    except (RecordError, zipfile.BadZipFile, KeyError):
        return data
    return with_codes(data, codes.tolist()) if codes is not None and codes.size else data


def _sound_checksum(data: bytes) -> tuple[int, int]:
    with _opened(data) as file:
        member = file.getinfo("audio.npy")
        return member.CRC, member.file_size


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
        with _as_npz("it"):
            self._file = _opened(data)
        self._names = {name.removesuffix(".npy"): name for name in self._file.namelist() if name.endswith(".npy")}

    def __enter__(self) -> _Arrays:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def needed(self, name: str) -> npt.NDArray[Any]:
        if name not in self._names:
            there = ", ".join(self._names) or "nothing"
            raise RecordError("missing_field", f"the file has no '{name}', only {there}")
        array = self.get(name)
        if array is None:
            raise RecordError(f"pickled_{name}", f"'{name}' holds pickled objects, which are never read")
        return array

    def get(self, name: str) -> npt.NDArray[Any] | None:
        """The array, or None where there is none or it holds objects."""
        if name not in self._names:
            return None
        with _as_npz(f"'{name}'"):
            file = io.BytesIO(self._file.read(self._names[name]))
            _check_header(file)
            try:
                array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
                return array
            except ValueError as error:
                if "allow_pickle" in str(error):
                    return None
                raise


@contextmanager
def _as_npz(what: str) -> Iterator[None]:
    """A damaged file makes zipfile and NumPy raise a dozen kinds of errors; a wrong size in it is a ``MemoryError``."""
    try:
        yield
    except RecordError:
        raise
    except Exception as error:
        raise RecordError("not_npz", f"{what} cannot be read as .npz: {error or type(error).__name__}") from None


def _opened(data: bytes) -> zipfile.ZipFile:
    """The members of an ``.npz`` file, none of them unpacked.

    Raises:
        RecordError: it would unpack to more than it may (``too_large``).
        zipfile.BadZipFile: it is none.
    """
    end = data.rfind(_END_OF_ZIP)
    num_bytes = int.from_bytes(data[end + 12 : end + 16], "little") if end >= 0 else 0
    if num_bytes > MAX_HEADER_BYTES:
        raise RecordError("too_large", f"its list of arrays has {num_bytes} bytes, more than {MAX_HEADER_BYTES}")
    file = zipfile.ZipFile(io.BytesIO(data))
    num_bytes = sum(member.file_size for member in file.infolist())
    if num_bytes > MAX_UNPACKED_BYTES:
        raise RecordError("too_large", f"its arrays have {num_bytes} bytes unpacked, more than {MAX_UNPACKED_BYTES}")
    return file


def _check_header(file: io.BytesIO) -> None:
    """Check that an array is no larger than what there is of it: NumPy makes room for what its header says."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    num_bytes = math.prod(shape) * dtype.itemsize
    there = len(file.getbuffer()) - file.tell()
    file.seek(0)
    if min(shape, default=0) < 0 or (num_bytes != there and not dtype.hasobject):
        raise ValueError(f"its header tells of {num_bytes} bytes of {dtype} {shape}, and there are {there}")


def _add(archive: zipfile.ZipFile, name: str, value: Any) -> None:
    """Add an array as NumPy does, but without the time of day: the same arrays are the same bytes."""
    array = io.BytesIO()
    np.save(array, value, allow_pickle=False)
    archive.writestr(zipfile.ZipInfo(f"{name}.npy"), array.getvalue(), zipfile.ZIP_DEFLATED)


def _samples(array: npt.NDArray[Any]) -> tuple[Samples, int]:
    """Mono samples, and how many of them were no sound: NaN, infinite or absurdly large."""
    mono = np.atleast_1d(np.squeeze(array))
    if mono.ndim != 1 or mono.dtype.kind not in "fi":
        raise RecordError("wrong_type", f"'audio' is {array.dtype} of shape {array.shape}; mono samples are needed")
    if not mono.size:
        raise RecordError("empty_audio", "'audio' has no samples")
    if mono.size > MAX_UNPACKED_BYTES // 4:
        raise RecordError("too_large", f"'audio' has {mono.size} samples, more than {MAX_UNPACKED_BYTES // 4}")
    if mono.dtype.kind == "i":
        mono = mono / -float(np.iinfo(mono.dtype).min)
    with np.errstate(over="ignore"):
        samples, num_bad = repaired(mono.astype(np.float32, copy=False))
    if num_bad == samples.size:
        raise RecordError("no_audio", f"none of the {num_bad} samples of 'audio' is a number that sound has")
    return samples, num_bad


def _codes(array: npt.NDArray[Any] | None) -> list[int]:
    if array is None or not array.size:
        return []
    row = np.atleast_1d(np.squeeze(array))
    if row.ndim == 1 and row.dtype.kind in "iuf":
        with np.errstate(invalid="ignore"):
            whole = row.astype(np.int64)
        if np.array_equal(whole, row):
            codes: list[int] = whole.tolist()
            return codes
    wanted = "a list of whole numbers is needed"
    raise RecordError("wrong_type", f"'codes' is {array.dtype} of shape {array.shape}; {wanted}")


def _codes_array(codes: Sequence[int] | None) -> npt.NDArray[np.int32]:
    try:
        array = np.asarray(codes if codes is not None and len(codes) else np.zeros(0, np.int32))
        if array.ndim == 1 and array.dtype.kind in "iu" and np.array_equal(array.astype(np.int32), array):
            return array.astype(np.int32)
    except (TypeError, ValueError):
        pass
    raise RecordError("wrong_type", f"codes is {codes!r:.80}; give a list of whole numbers")


def _text(array: npt.NDArray[Any] | None) -> str | None:
    if array is None or array.size != 1 or array.dtype.kind not in "USifb":
        return None
    value = array.reshape(-1)[0]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return None if value != value else str(value)  # NaN: what pandas makes of what is missing
