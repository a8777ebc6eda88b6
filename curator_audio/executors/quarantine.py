"""How a bad record is told: as a line of the quarantine, and as an error."""

from __future__ import annotations

import base64
import reprlib
from collections.abc import Iterable
from typing import Any

from curator_audio.errors import RecordError
from curator_audio.stages.base import QuarantinedRecord
from curator_audio.storage.byte_ranges import OVERLONG_KEPT_BYTES, READ_BYTES
from curator_audio.storage.decompression import codec_of, decompressed
from curator_audio.storage.json_codec import encode_record
from curator_audio.storage.storage import Storage

BYTES = (bytes, bytearray, memoryview)


def quarantine_lines(records: Iterable[QuarantinedRecord]) -> bytes:
    """Quarantined records as JSON lines: source, byte offset, stage, reason, message, and the record itself.

    A line that could not be read as a record stands as ``raw`` text, or ``raw_base64`` where it is no text; what is
    longer than 64 kB is cut, and ``num_bytes`` tells the whole length. A record with a value that has no JSON form
    stands as ``record_repr``, the text Python gives it.
    """
    return b"".join(_line(record) + b"\n" for record in records)


def one_line(record: QuarantinedRecord, storage: Storage) -> str:
    """A bad record as an error message: file, line, stage, reason."""
    place = record.source_path or "a record"
    if record.offset >= 0 and record.source_path:
        place += f":{line_number(storage, record.source_path, record.offset)}"
    message = " ".join(record.message.splitlines())
    return f"{place}: [{record.stage}] {record.reason}: {message}; mend it, or run with on_error=quarantine"


def line_number(storage: Storage, path: str, offset: int) -> int:
    """The number, from 1, of the line that begins at a byte offset of the (decompressed) file."""
    codec = codec_of(path)
    number, position = 1, 0
    if codec is not None:
        with decompressed(storage, path, codec) as read:
            while position < offset and (data := read(min(READ_BYTES, offset - position))):
                number, position = number + data.count(b"\n"), position + len(data)
        return number
    while position < offset:
        data = storage.read_range(path, position, min(position + 16 * READ_BYTES, offset))
        number, position = number + data.count(b"\n"), position + max(1, len(data))
    return number


def _line(record: QuarantinedRecord) -> bytes:
    try:
        return encode_record(_told(record) | _content(record))
    except (RecordError, RecursionError):
        return encode_record(_told(record) | {"record": None, "record_repr": _shown(record.record)})


def _shown(value: Any) -> str:
    try:
        return repr(value)[:OVERLONG_KEPT_BYTES]
    except RecursionError:  # nested more deeply than Python can say
        return reprlib.repr(value)


def _told(record: QuarantinedRecord) -> dict[str, Any]:
    return {
        "source": record.source_path,
        "offset": record.offset,
        "stage": record.stage,
        "reason": record.reason,
        "message": record.message,
    }


def _content(record: QuarantinedRecord) -> dict[str, Any]:
    if not isinstance(record.record, bytes):
        return {"record": _without_bytes(record.record)}
    raw = record.record[:OVERLONG_KEPT_BYTES]
    line = {"num_bytes": record.num_bytes}
    try:
        return line | {"raw": _decoded(raw, is_cut=len(raw) < record.num_bytes)}
    except UnicodeDecodeError:
        return line | {"raw_base64": base64.b64encode(raw).decode("ascii")}


def _without_bytes(value: Any) -> Any:
    """A record with sound and other bytes told by their length only."""
    if isinstance(value, dict):
        return {key: _without_bytes(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and any(isinstance(item, (dict, list, tuple, *BYTES)) for item in value):
        return [_without_bytes(item) for item in value]
    return f"<{len(value)} bytes>" if isinstance(value, BYTES) else value


def _decoded(raw: bytes, is_cut: bool) -> str:
    for back in range(4 if is_cut else 1):  # a cut may have gone through a character
        try:
            return raw[: len(raw) - back].decode()
        except UnicodeDecodeError as error:
            if back == 3 or not is_cut:
                raise error
    return raw.decode()
