"""What the outputs may hold: text that is Unicode, and numbers that JSON has a word for.

One rule for every container that is read or written:

- Half of a surrogate pair in a text (what is left of a character where a program cut a string in two, or a byte of a
  file name that is not UTF-8) is written as U+FFFD and counted: one character is lost, and the record goes on.
- NaN and infinities that were read are written as null and counted.
- Bytes that are not UTF-8 are text in another encoding, of which every letter beyond ASCII would be lost: what they
  stand in (a line, a row, a file) is quarantined as ``invalid_utf8``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from curator_audio.errors import RecordError

BEYOND_DOUBLES = int(sys.float_info.max) + 2**970
"""From half a step above the largest double on: what other readers of JSON refuse."""


@dataclass
class Repairs:
    """How much had to be replaced.

    Args:
        num_texts: texts with half of a surrogate pair.
        num_numbers: NaN and infinities.
    """

    num_texts: int = 0
    num_numbers: int = 0

    def as_metrics(self) -> dict[str, float]:
        """The counts as a stage logs them, without zeros.

        Example:
            >>> Repairs(num_texts=2).as_metrics()
            {'texts_repaired': 2}
        """
        counts = {"texts_repaired": self.num_texts, "numbers_not_finite": self.num_numbers}
        return {name: count for name, count in counts.items() if count}


def valid_text(text: str) -> str:
    """The text with U+FFFD for each half of a surrogate pair; two that stand together as a pair become its character.

    Example:
        >>> valid_text("caf\\udce9"), valid_text("\\ud83d\\ude00")
        ('caf\\ufffd', '😀')
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def is_valid(text: str) -> bool:
    """Whether the text can be written as UTF-8.

    Example:
        >>> is_valid("café"), is_valid("caf\\udce9")
        (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def with_valid_text(value: Any, repairs: Repairs) -> Any:
    """A value with texts that can be written, in lists and objects and as their keys too; itself where all can be.

    Args:
        value: the value.
        repairs: where the texts that were repaired are counted.

    Example:
        >>> repairs = Repairs()
        >>> with_valid_text({"text": "\\ud83d", "codes": [7]}, repairs), repairs.num_texts
        ({'text': '\ufffd', 'codes': [7]}, 1)
    """

    def repaired(item: Any) -> Any:
        if not isinstance(item, str) or item.isascii() or is_valid(item):
            return item
        repairs.num_texts += 1
        return valid_text(item)

    num_before = repairs.num_texts
    result = _each(value, repaired)
    return result if repairs.num_texts > num_before else value


def with_finite_numbers(value: Any, repairs: Repairs) -> Any:
    """A value with None for NaN and infinities, in lists and objects too; itself where all are finite.

    Args:
        value: the value.
        repairs: where the numbers that were replaced are counted.

    Example:
        >>> with_finite_numbers({"scores": [0.5, float("nan")]}, Repairs())
        {'scores': [0.5, None]}
    """

    def finite(item: Any) -> Any:
        if not isinstance(item, float) or math.isfinite(item):
            return item
        repairs.num_numbers += 1
        return None

    num_before = repairs.num_numbers
    result = _each(value, finite)
    return result if repairs.num_numbers > num_before else value


def with_json_values(value: Any, repairs: Repairs) -> Any:
    """Return a value as JSON can have it, as far as that is possible: in lists and objects, and their keys, too.

    Texts become valid, numbers that JSON has no word for None, and NumPy's numbers and arrays those of Python. What has
    no JSON form (bytes, a time) stays as it is.

    Args:
        value: the value.
        repairs: where texts and numbers that were replaced are counted.

    Raises:
        RecordError: ``not_serializable``: it contains itself, or is nested too deeply.

    Example:
        >>> import numpy
        >>> repairs = Repairs()
        >>> with_json_values({"snr": numpy.float32(9.5), "codes": numpy.array([1, 2]), "x": [float("nan")]}, repairs)
        {'snr': 9.5, 'codes': [1, 2], 'x': [None]}
        >>> repairs.num_numbers
        1
    """

    def json_value(item: Any) -> Any:
        if isinstance(item, str):
            if item.isascii() or is_valid(item):
                return item
            repairs.num_texts += 1
            return valid_text(item)
        if isinstance(item, float):
            if math.isfinite(item):
                return item if type(item).__module__ != "numpy" else float(item)
            repairs.num_numbers += 1
            return None
        if isinstance(item, int):
            if abs(item) < BEYOND_DOUBLES:
                return item
            repairs.num_numbers += 1
            return None
        if type(item).__module__ == "numpy":
            plain = item.tolist()
            return item if type(plain) is type(item) else _each(plain, json_value)
        return item

    try:
        return _each(value, json_value)
    except RecursionError:
        raise RecordError("not_serializable", "a value contains itself, or is nested too deeply; flatten it") from None


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """A copy in which every text, number and key is changed."""
    if isinstance(value, dict):
        return {change(key): _each(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        is_whole = set(map(type, value)) <= {int}  # of long lists of codes, nothing is to be changed
        return value if is_whole else [_each(item, change) for item in value]
    return change(value)


def decoded_utf8(data: bytes, what: str) -> str:
    """The text in bytes that must be UTF-8.

    Args:
        data: the bytes.
        what: what they are, for the message.

    Raises:
        RecordError: ``invalid_utf8``.

    Example:
        >>> decoded_utf8(b"caf\\xe9", "'text'")
        Traceback (most recent call last):
            ...
        curator_audio.errors.RecordError: invalid_utf8: byte 3 of 'text' (0xe9) is not UTF-8; save the file as UTF-8
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        message = f"byte {error.start} of {what} (0x{data[error.start]:02x}) is not UTF-8; save the file as UTF-8"
        raise RecordError("invalid_utf8", message) from None
