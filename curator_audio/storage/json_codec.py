"""One line of JSON to a value and back: numbers keep their digits, and what is written is valid JSON in UTF-8.

orjson does nearly all the work. What it would change or refuse takes a slower way: integers beyond 64 bits, floats
written with more digits than a double holds, and what ``valid_text`` has a rule for: NaN, infinities and halves of
surrogate pairs.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from curator_audio.errors import RecordError
from curator_audio.storage.limits import MAX_JSON_BYTES
from curator_audio.storage.valid_text import BEYOND_DOUBLES, Repairs, decoded_utf8, is_valid, valid_text


class VerbatimFloat(float):
    """A number as it was written, where a double holds only a part of it.

    It computes as the nearest double and is written back as the text it was read from, where that double is finite.

    Args:
        text: the number; or NaN, Infinity or -Infinity, which are no JSON but are met in it.

    Example:
        >>> number = VerbatimFloat("0.12345678901234567890123")
        >>> number == 0.12345678901234568, number.text
        (True, '0.12345678901234567890123')
    """

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> VerbatimFloat:
        """The nearest double, and the text."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __reduce__(self) -> tuple[type[VerbatimFloat], tuple[str]]:
        """Pickle and copy with the text."""
        return type(self), (self.text,)


# ---- reading

_DIGITS_TO_ZERO = bytes.maketrans(b"123456789E", b"000000000e")
_BESIDE_NUMBERS = bytes(set(range(256)) - set(b"0123456789eE-,:\\"))  # and their points, so that all digits adjoin
_MANY_DIGITS = b"0" * 16  # any 15 fit into a double
_SMALL_EXPONENT = b"e-000"
_NUMBER_OF_MANY_DIGITS = re.compile(rb"[0-9][0-9.]{15,}(?:[eE][+-]?[0-9]+)?")
_NUMBER_OF_SMALL_EXPONENT = re.compile(rb"[0-9][0-9.]*[eE]-[0-9]{3,}")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_BEFORE_NUMBERS = b":[,- \t\r\n"


def decode_line(line: bytes) -> Any:
    """The value of one line of JSON.

    Args:
        line: UTF-8 text, with or without its line end; a byte order mark in front is ignored.

    Raises:
        RecordError: ``invalid_utf8`` or ``invalid_json``.

    Example:
        >>> decode_line(b'{"id": 123456789012345678901234567890, "start": 0.5}')
        {'id': 123456789012345678901234567890, 'start': 0.5}
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return _decode_slowly(line)
    digits = line.translate(_DIGITS_TO_ZERO, _BESIDE_NUMBERS)
    if (_MANY_DIGITS not in digits and _SMALL_EXPONENT not in digits) or _would_be_written(line, value):
        return value
    if _holds_all(_NUMBER_OF_MANY_DIGITS, line) and _holds_all(_NUMBER_OF_SMALL_EXPONENT, line):
        return value
    return _decode_slowly(line)


def _would_be_written(line: bytes, value: Any) -> bool:
    """Whether orjson would write the line's numbers as they stand there; none of their digits is lost then."""
    try:
        written = orjson.dumps(value)
    except orjson.JSONEncodeError:  # nested deeper than it writes
        return False
    if b"\\" in line:  # which texts may be written without
        line, written = _STRING.sub(b"", line), _STRING.sub(b"", written)
    return written.replace(b" ", b"") == line.translate(None, b" \t\r\n")


def _holds_all(pattern: re.Pattern[bytes], line: bytes) -> bool:
    """Whether orjson's type holds every number that the pattern finds in the line, none of its digits lost."""
    for match in pattern.finditer(line):
        start = match.start()
        if line[start - 1 : start] in _BEFORE_NUMBERS:  # else it is in a string
            text = match.group().decode()
            if text.isdigit():
                if len(text) >= 20 or int(text) >= 2**63:
                    return False
                continue
            try:
                exact = type(_float(text)) is float
            except ValueError:  # several points: it is in a string
                continue
            if not exact:
                return False
    return True


def _decode_slowly(line: bytes) -> Any:
    try:
        text = decoded_utf8(line, "the line").removeprefix("\ufeff")
        return json.loads(text, parse_int=_int, parse_float=_float, parse_constant=VerbatimFloat)
    except RecordError:
        raise
    except RecursionError:
        raise RecordError("invalid_json", "lists and objects are nested too deeply; flatten the record") from None
    except ValueError as error:
        raise RecordError("invalid_json", f"{error}; give one complete JSON value a line") from None


def _int(text: str) -> int | VerbatimFloat:
    try:
        return int(text)
    except ValueError:  # more digits than Python converts
        return VerbatimFloat(text)


def _float(text: str) -> float:
    number = float(text)
    if repr(number) == text:
        return number
    try:
        same = math.isfinite(number) and Decimal(text) == Decimal(repr(number))
    except InvalidOperation:  # an exponent beyond what Decimal knows
        same = False
    return number if same else VerbatimFloat(text)


# ---- writing

_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def encode_record(record: dict[str, Any], repairs: Repairs | None = None) -> bytes:
    """The record as one line of JSON, without a line end.

    The text is compact UTF-8. NaN, infinities and numbers beyond the range of a double, which other readers of JSON
    refuse, are written as null, halves of surrogate pairs as U+FFFD.

    Args:
        record: the record; its values are JSON values.
        repairs: where it is counted; NaN and infinities that were computed, and not read, become null uncounted.

    Raises:
        RecordError: ``not_serializable``: a value has no JSON form, or contains itself.

    Example:
        >>> repairs = Repairs()
        >>> encode_record({"text": "naïve", "id": 2**70, "score": decode_line(b"NaN")}, repairs).decode()
        '{"text":"naïve","id":1180591620717411303424,"score":null}'
        >>> repairs.num_numbers
        1
    """
    return encode_value(record, repairs)


def encode_fields(record: dict[str, Any], repairs: Repairs | None = None) -> bytes:
    """Encode a record as ``encode_record`` does, for a document of its own; an error names the field.

    Raises:
        RecordError: ``not_serializable``, or ``too_large``: readers of such documents would refuse it.

    Example:
        >>> encode_fields({"text": "so be it", "picture": b"PNG"})
        Traceback (most recent call last):
            ...
        curator_audio.errors.RecordError: not_serializable: 'picture': a value of type bytes has no JSON form; give a \
JSON value
    """
    try:
        data = encode_record(record, repairs)
    except RecordError:
        for name, value in record.items():
            try:
                encode_value(value)
            except RecordError as error:
                raise RecordError(error.reason, f"'{name}': {error.message}") from None
        raise
    if len(data) > MAX_JSON_BYTES:
        raise RecordError("too_large", f"its fields have {len(data)} bytes as JSON, more than {MAX_JSON_BYTES}")
    return data


def encode_value(value: Any, repairs: Repairs | None = None) -> bytes:
    """Any JSON value, written as ``encode_record`` writes it.

    Raises:
        RecordError: ``not_serializable``: something in it has no JSON form, or contains itself.

    Example:
        >>> encode_value([0.5, None, "a"])
        b'[0.5,null,"a"]'
    """
    counted = Repairs() if repairs is None else repairs
    num_before = counted.num_numbers

    def fragment(value: Any) -> orjson.Fragment:
        """What orjson asks about an object it does not know."""
        if isinstance(value, float):
            return orjson.Fragment(_encode_scalar(value, counted))
        raise TypeError

    try:
        return orjson.dumps(value, fragment, _OPTIONS)
    except orjson.JSONEncodeError:
        counted.num_numbers = num_before  # which are counted again
        return _encode_slowly(value, counted)


# ---- writing what orjson refuses

_VALUE, _TEXT, _END = range(3)


def _encode_slowly(value: Any, repairs: Repairs) -> bytes:
    """Any value: as orjson would write it, and where orjson refuses. Nesting may be as deep as memory allows."""
    pieces: list[bytes] = []
    open_ids: dict[int, None] = {}
    todo: list[tuple[int, Any]] = [(_VALUE, value)]
    while todo:
        kind, item = todo.pop()
        if kind == _TEXT:
            pieces.append(item)
        elif kind == _END:
            pieces.append(item)
            open_ids.popitem()
        elif isinstance(item, (dict, list, tuple)):
            if id(item) in open_ids:
                raise RecordError("not_serializable", "a list or object contains itself; give a copy of it")
            open_ids[id(item)] = None
            todo += reversed(_steps(item, repairs))
        else:
            pieces.append(_encode_scalar(item, repairs))
    return b"".join(pieces)


def _steps(container: Any, repairs: Repairs) -> list[tuple[int, Any]]:
    """What is to be written for a list or object, its items still as values."""
    steps: list[tuple[int, Any]] = []
    if isinstance(container, dict):
        steps.append((_TEXT, b"{"))
        for key, item in _with_valid_keys(container, repairs).items():
            if len(steps) > 1:
                steps.append((_TEXT, b","))
            steps += ((_TEXT, _encode_key(key)), (_VALUE, item))
        steps.append((_END, b"}"))
    else:
        steps.append((_TEXT, b"["))
        for item in container:
            if len(steps) > 1:
                steps.append((_TEXT, b","))
            steps.append((_VALUE, item))
        steps.append((_END, b"]"))
    return steps


def _with_valid_keys(container: dict[Any, Any], repairs: Repairs) -> dict[Any, Any]:
    """The object with keys that can be written; such as become the same are told apart by further U+FFFD."""
    if all(not isinstance(key, str) or is_valid(key) for key in container):
        return container
    valid: dict[Any, Any] = {}
    for key, item in container.items():
        if isinstance(key, str) and not is_valid(key):
            repairs.num_texts += 1
            key = valid_text(key)
            while key in valid or key in container:
                key += "\ufffd"
        valid[key] = item
    return valid


def _encode_scalar(value: Any, repairs: Repairs) -> bytes:
    if isinstance(value, str):
        if not is_valid(value):
            repairs.num_texts += 1
            value = valid_text(value)
        return json.dumps(value, ensure_ascii=False).encode()
    if isinstance(value, float) and not math.isfinite(value):
        repairs.num_numbers += 1
        return b"null"
    if isinstance(value, VerbatimFloat):
        return value.text.encode()
    if isinstance(value, float):
        return orjson.dumps(float(value))
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            if abs(value) >= BEYOND_DOUBLES:
                repairs.num_numbers += 1
                return b"null"
            return int.__repr__(value).encode()
        return orjson.dumps(value, None, _OPTIONS)
    except (ValueError, TypeError):  # more digits than Python writes, or no JSON at all
        kind = type(value).__name__
        raise RecordError("not_serializable", f"a value of type {kind} has no JSON form; give a JSON value") from None


_encoded_keys: dict[str, bytes] = {}


def _encode_key(key: str) -> bytes:
    """The key and its colon."""
    data = _encoded_keys.get(key)
    if data is None:
        if not isinstance(key, str):
            raise RecordError("not_serializable", f"a key is {key!r}; give a string")
        data = json.dumps(key, ensure_ascii=False).encode() + b":"
        if len(_encoded_keys) < 1000:  # field names are few; keys made of data would pile up
            _encoded_keys[key] = data
    return data
