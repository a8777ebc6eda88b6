"""Segments as ``.npz`` files: what existing data of this kind looks like."""

from __future__ import annotations

import copy
import io
import math
import shutil
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curator_audio.errors import RecordError
from curator_audio.stages.io.parquet_shard import BYTES_OF_ITEM
from curator_audio.stages.speech.foreign_fields import (
    NAMES,
    NEVER_READ,
    OWN_NAMES,
    Sources,
    kind_of,
    sources_of,
    speaker_named,
    taken,
)
from curator_audio.stages.speech.segments import (
    METADATA_FIELDS,
    SEGMENT_FIELDS,
    SEGMENT_TYPES,
    TIME_FIELDS,
    foreign_segment,
    id_in,
    name_in,
    recording_of,
    sound_of,
)
from curator_audio.stages.speech.sound import MAX_PEAK, Samples, audio_field, decode_sound, repaired
from curator_audio.storage.json_codec import decode_line, encode_fields, encode_value
from curator_audio.storage.limits import MAX_HEADER_BYTES, MAX_JSON_BYTES, MAX_UNPACKED_BYTES
from curator_audio.storage.names import short_name
from curator_audio.storage.valid_text import decoded_utf8
from curator_audio.tasks import Record

WHOLE_ID = "whole_segment_id"
"""The array with a segment's id in files whose name had to be shortened, which no file of others has."""
METADATA = "metadata"
"""The array with all fields that have none of their own: a JSON object, as text."""
_TEXTS = ("text", "audio_id", *METADATA_FIELDS)
"""The fields that have an array of their own, where they are known."""
_TOLD_BY_PATH = ("segment_id", "channel")
_TOLD_BY_FILE = tuple(name for name in SEGMENT_FIELDS if name in OWN_NAMES)
_KNOWN = frozenset(other for names in NAMES.values() for other in names)
_END_OF_ZIP = b"PK\x05\x06"


class NpzSegment(NamedTuple):
    """What an ``.npz`` file tells of a segment.

    Args:
        record: the segment's.
        num_bad: how many samples were NaN, infinite or absurdly large: they are 0 in it.
        values: what stands in the file beside sound and codes.
        sources: which of it was taken.
    """

    record: Record
    num_bad: int
    values: dict[str, Any]
    sources: Sources


def record_of_npz(
    data: bytes, name: str, channel: str | None, sample_rate: int, fields: Mapping[str, str] | None = None
) -> NpzSegment:
    """The record of a segment from the bytes of its ``.npz`` file.

    Arrays of Python objects can only be read by unpickling, which could run anything: such metadata (a saved ``None``
    is one) is read as None, such codes as none, such audio refused.

    Args:
        data: the file.
        name: its stem; a longer one, which the stem was made of, goes before it.
        channel: its folder.
        sample_rate: of the audio in Hz, where the file does not tell.
        fields: names of arrays by what they are of a segment.

    Raises:
        RecordError: it is no ``.npz`` file, or has no audio that can be read, codes that are none, or text that is not
            UTF-8.
    """
    fields = fields or {}
    with _Arrays(data) as arrays:
        values, kinds = _values(arrays, fields)
        sources = npz_sources(kinds, fields)
        samples, num_bad = _samples(arrays.needed(fields.get("audio", "audio")))
        codes = _codes(arrays.get(fields.get("codes", "codes")))
        name = _whole_name(_text(arrays.get(WHOLE_ID)), channel, name) or name
    found = taken(values, replace(sources, of={f: other for f, other in sources.of.items() if other in values}))
    rate = _rate(found.get("sample_rate")) or sample_rate
    found |= {"channel": channel, "duration_sec": len(samples) / rate, "sample_rate": rate, "codes": codes}
    found["audio"] = audio_field(samples, rate, name)
    record = foreign_segment(found, id_in(channel, name))
    record["audio_id"] = record["audio_id"] or recording_of(name)
    return NpzSegment(record, num_bad, values, sources)


def values_of_npz(data: bytes, fields: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """What an ``.npz`` file has beside sound and codes, by name, and the kinds of all, as ``sources_of`` takes them.

    Raises:
        RecordError: it is no ``.npz`` file.
    """
    with _Arrays(data) as arrays:
        return _values(arrays, fields)


def _values(arrays: _Arrays, fields: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    kinds_of_numbers = {
        other: kind
        for name, kind in (("audio", "sound"), ("codes", "list"))
        for other in (name, fields.get(name, name))
        if other in arrays.names
    }
    metadata = _metadata(arrays)
    own = {WHOLE_ID, *kinds_of_numbers} | ({METADATA} if metadata is not None else set())
    known = _KNOWN.union(fields.values())
    found = {name: arrays.value(name) for name in arrays.names if name not in own}
    values = (metadata or {}) | {name: _one(value) if name in known else value for name, value in found.items()}
    return values, {name: kind_of(value) for name, value in values.items()} | kinds_of_numbers


def _metadata(arrays: _Arrays) -> dict[str, Any] | None:
    """The fields that have no array of their own; None where there is nothing of the kind."""
    array = arrays.get(METADATA)
    if array is None or array.dtype.kind != "U" or array.shape != ():
        return None
    data = str(array).encode(errors="surrogatepass")
    if not data.lstrip().startswith(b"{"):
        return None  # it is somebody else's, and a text
    if len(data) > MAX_JSON_BYTES:
        raise RecordError("too_large", f"its '{METADATA}' has {len(data)} bytes, more than {MAX_JSON_BYTES}")
    try:
        found = decode_line(data)
    except RecordError:
        return None
    return found if isinstance(found, dict) else None


def _one(value: Any) -> Any:
    """A value that may be one of a segment's own fields: arrays of one are what is in them, and NaN is missing."""
    if isinstance(value, list) and len(value) == 1:
        return _one(value[0])
    return None if value is NEVER_READ or value != value else value


def npz_sources(kinds: Mapping[str, str], fields: Mapping[str, str]) -> Sources:
    """Where fields come from; the file's path tells id and channel, and what is called so in it is not taken."""
    found = sources_of(kinds, fields)
    of = {name: other for name, other in found.of.items() if name not in _TOLD_BY_PATH}
    others = [found.of[name] for name in _TOLD_BY_PATH if name in found.of and found.of[name] not in of.values()]
    own = [other for other in others if other in _TOLD_BY_PATH and kinds[other] != "none"]
    further = (*found.further, *(other for other in others if other not in _TOLD_BY_PATH))
    return replace(found, of=of, further=further, not_taken=tuple(sorted({*found.not_taken, *own})))


def npz_of_record(record: Record) -> bytes:
    """The ``.npz`` file of a segment's record.

    Fields that have no array of their own stand as JSON in ``metadata``, and so do those of a segment that are None.

    Raises:
        RecordError: the record has no sound that can be decoded, codes that are none, or a value without a JSON form.
    """
    samples, sample_rate = decode_sound(sound_of(record))
    arrays: dict[str, Any] = {
        "audio": samples,
        "codes": _codes_array(record.get("codes")),
        "duration_sec": np.float64(len(samples) / sample_rate),
    }
    for name in _TEXTS:
        if record.get(name) is not None:
            arrays[name] = np.str_(record[name])
    file_name = f"{_name_of(record)}.npz"
    if short_name(file_name) != file_name:
        arrays[WHOLE_ID] = np.str_(record["segment_id"])  # which the file's name no longer tells
    others = {name: record.get(name) for name in _TOLD_BY_FILE if name not in arrays}
    others["sample_rate"] = sample_rate
    others |= {name: value for name, value in record.items() if name not in SEGMENT_TYPES}
    arrays[METADATA] = np.str_(encode_fields(others).decode())
    if (num_bytes := sum(np.asarray(array).nbytes for array in arrays.values())) > MAX_UNPACKED_BYTES:
        raise RecordError("too_large", f"its arrays would have {num_bytes} bytes, more than {MAX_UNPACKED_BYTES}")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, value in arrays.items():
            _add(archive, name, value)
    return file.getvalue()


def with_fields(
    data: bytes,
    record: Record,
    name: str,
    sample_rate: int,
    fields: Mapping[str, str] | None = None,
    json_values: Callable[[Record], Record] = dict,
) -> bytes:
    """An ``.npz`` file with the fields of a record that was read from it, and everything else as it was, unread.

    A field that differs is put where it stands; one that the record no longer has is left out.

    Args:
        data: the file.
        record: the record, each of its values one that JSON can hold.
        name: the file's stem.
        sample_rate: of the audio in Hz, where the file does not tell.
        fields: names of arrays by what they are of a segment, as it was read with.
        json_values: how the record's values were made such that JSON can hold them.

    Raises:
        RecordError: it is no ``.npz`` file, the codes are none, a value has no JSON form, or ``not_in_place``: the file
            cannot hold a field, as the id, which its path tells, and everything that the sound tells.
    """

    def read(data: bytes) -> tuple[Record, Sources]:
        segment = record_of_npz(data, name, record.get("channel"), sample_rate, fields)
        told = segment.record["audio_id"] if segment.record["audio_id"] != name else None
        speaker = speaker_named(segment.record, segment.values, segment.sources, told)
        return json_values({**segment.record, **speaker}), segment.sources

    before, sources = read(data)
    codes_name = sources.of.get("codes", "codes")
    differing = [field for field in _differing(before, record) if field != "codes"]
    if not differing:
        return with_codes(data, record.get("codes"), name=codes_name)
    gone, texts, others = set(), {}, {}
    for field in differing:
        place = sources.of.get(field, field)
        place = field if place in record else place  # of a label that is no person there is a field, too
        value = record.get(field)
        if field not in record:
            gone.add(place)
        elif field in _TEXTS and isinstance(value, str):
            texts[place] = value
        elif field != "audio":
            is_ms = field in TIME_FIELDS and place.endswith("_ms")
            others[place] = value * 1000 if is_ms and isinstance(value, (int, float)) else value
    after = with_codes(data, record.get("codes"), others, name=codes_name, texts=texts, gone=gone)
    for field in _differing(read(after)[0], record):
        if field != "codes":
            message = f"'{field}' cannot be changed in the file that it was read from"
            raise RecordError("not_in_place", f"{message}; choose another output_path")
    return after


def _differing(before: Record, record: Record) -> list[str]:
    """The fields in which a record is another than it was read as; a null is the same as nothing."""
    names = [*record, *(name for name in before if name not in record)]
    return [name for name in names if not _is_as_before(name, before.get(name), record.get(name))]


def _is_as_before(name: str, before: Any, value: Any) -> bool:
    if name == "audio" and isinstance(before, dict) and isinstance(value, dict):
        return bool(before["bytes"] == value.get("bytes"))
    return before == value if isinstance(value, (str, bytes)) else _same(before, value)


def with_codes(
    data: bytes,
    codes: Sequence[int] | None,
    further: Record | None = None,
    *,
    name: str = "codes",
    texts: Mapping[str, str] | None = None,
    gone: Collection[str] = (),
) -> bytes:
    """An ``.npz`` file with other codes, and everything else as it was, unread.

    Args:
        data: the file.
        codes: its codes.
        further: fields that segments do not have otherwise; those of them that the file does not have, or has with
            another value, are put into its ``metadata``.
        name: what its codes are called.
        texts: arrays of one text each, by name.
        gone: names of fields that it is not to have any more.

    Raises:
        RecordError: it is no ``.npz`` file, the codes are none, or a value has no JSON form.
    """
    arrays: dict[str, Any] = {name: _codes_array(codes)}
    replaced = {name, *gone}
    if (further or texts or gone) and (changed := _changed(data, further or {}, {*gone, *(texts or ())})) is not None:
        replaced |= {METADATA, *changed}
        if changed:
            arrays[METADATA] = np.str_(encode_fields(changed).decode())
    arrays |= {name: np.str_(text) for name, text in (texts or {}).items()}
    replaced.update(arrays)
    file = io.BytesIO()
    with _as_npz("it"), _opened(data) as before, zipfile.ZipFile(file, "w") as after:
        for member in before.infolist():
            if member.filename.removesuffix(".npy") not in replaced or not member.filename.endswith(".npy"):
                with before.open(member) as source, after.open(copy.copy(member), "w") as target:
                    shutil.copyfileobj(source, target)
        for name, value in arrays.items():
            _add(after, name, value)
    return file.getvalue()


def _changed(data: bytes, further: Record, gone: Collection[str]) -> Record | None:
    """The metadata of a file with other fields, and without some; None where these change nothing of it."""
    with _Arrays(data) as arrays:
        metadata = _metadata(arrays)
        names = [name for name in arrays.names if name in further or name == METADATA]
        there = {name: arrays.value(name) for name in names if name != METADATA or metadata is None}
    values = (metadata or {}) | {name: _one(value) if name in _KNOWN else value for name, value in there.items()}
    new = {name: value for name, value in further.items() if name not in values or not _same(values[name], value)}
    left_out = [name for name in metadata or () if name in gone]
    if not new and not left_out:
        return None
    if values.get(METADATA) is NEVER_READ:
        message = f"its '{METADATA}' holds objects that are never read, so {', '.join(new)} cannot be put there"
        raise RecordError("pickled_metadata", f"{message}; choose another output_path")
    kept = metadata if metadata is not None else {name: values[name] for name in there if name == METADATA}
    return {name: value for name, value in kept.items() if name not in gone} | new


def _same(value: Any, other: Any) -> bool:
    """Whether two values are the same in JSON, where NaN is null; what is never read is the same as nothing."""
    return value is not NEVER_READ and encode_value(value) == encode_value(other)


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


def _whole_name(stored: str | None, channel: str | None, name: str) -> str:
    """The name of a segment in its channel from which its file's was shortened, empty where it was not."""
    whole = _name_of({"channel": channel, "segment_id": stored})
    return whole if whole != name and short_name(f"{whole}.npz") == f"{name}.npz" else ""


def _name_of(record: Record) -> str:
    """The name of a segment in its channel, as a file has it."""
    return name_in(record.get("channel"), str(record.get("segment_id") or "")).replace("/", "_")


class _Arrays:
    """The arrays of an ``.npz`` file, those of Python objects left alone."""

    def __init__(self, data: bytes) -> None:
        with _as_npz("it"):
            self._file = _opened(data)
        self.names = {name.removesuffix(".npy"): name for name in self._file.namelist() if name.endswith(".npy")}

    def __enter__(self) -> _Arrays:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def needed(self, name: str) -> npt.NDArray[Any]:
        if name not in self.names:
            there = ", ".join(self.names) or "nothing"
            remedy = "'fields={audio: NAME}' says which one is the sound" if name == "audio" else "check the name"
            raise RecordError("missing_field", f"the file has no '{name}', only {there}; {remedy}")
        array = self.get(name)
        if array is None:
            raise RecordError(f"pickled_{name}", f"'{name}' holds pickled objects, which are never read")
        return array

    def value(self, name: str) -> Any:
        """What is in an array, in Python's own types; ``NEVER_READ`` for what JSON has no word for."""
        array = self.get(name)
        if array is None or array.dtype.kind not in "biufUS":
            return NEVER_READ
        if (num_bytes := array.size * BYTES_OF_ITEM) > MAX_UNPACKED_BYTES:
            raise RecordError(
                "too_large", f"'{name}' takes {num_bytes} bytes in Python, more than {MAX_UNPACKED_BYTES}"
            )
        if array.dtype.kind == "S":
            try:
                array = np.char.decode(array, "utf-8")
            except UnicodeDecodeError:
                raise RecordError("invalid_utf8", f"'{name}' is not UTF-8; save it as text") from None
        elif array.dtype.kind == "f" and array.itemsize > 8:
            array = array.astype(np.float64)
        return array.tolist()

    def get(self, name: str) -> npt.NDArray[Any] | None:
        """The array, or None where there is none or it holds objects."""
        if name not in self.names:
            return None
        with _as_npz(f"'{name}'"):
            file = io.BytesIO(self._file.read(self.names[name]))
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
        peak = int(np.abs(mono.astype(np.float64)).max())
        if mono.itemsize > 2 and 0 < peak <= 2**15:
            found = f"'audio' is {array.dtype} and reaches {peak}, which would be silence"
            raise RecordError("out_of_range", f"{found}; save samples of 16 bits as int16")
        mono = mono / -float(np.iinfo(mono.dtype).min)
    with np.errstate(over="ignore"):
        samples, num_bad = repaired(mono.astype(np.float32, copy=False))
    if num_bad == samples.size:
        raise RecordError("no_audio", f"none of the {num_bad} samples of 'audio' is a number that sound has")
    if (loudest := float(np.abs(samples).max())) > MAX_PEAK:
        found = f"'audio' is {array.dtype} and reaches {loudest:g}"
        raise RecordError("out_of_range", f"{found}; floats go from -1 to 1, save samples of 16 bits as int16")
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


def _rate(value: Any) -> int | None:
    """A sample rate that stands in a file; None where it is none."""
    try:
        rate = float(value)
    except (TypeError, ValueError):
        return None
    return int(rate) if rate.is_integer() and rate > 0 else None


def _text(array: npt.NDArray[Any] | None) -> str | None:
    if array is None or array.size != 1 or array.dtype.kind not in "USif":
        return None
    value = array.reshape(-1)[0]
    if isinstance(value, bytes):
        return decoded_utf8(value, "a text")
    return None if value != value else str(value)  # NaN: what pandas makes of what is missing
