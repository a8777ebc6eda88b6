"""Values that a stage of another library gives, as plain values that every container holds."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.stages.field_types import NAMES, fits, is_type
from curator_audio.storage.json_codec import VerbatimFloat

_NUMBERS: dict[str, type] = {"b": bool, "i": int, "u": int, "f": float}
_AS_THEY_ARE = frozenset((type(None), bool, int, float, bytes, VerbatimFloat))
_LEFT_OUT = object()


def copied(value: Any) -> Any:
    """Return a value whose lists, objects and arrays may be changed: records share theirs.

    Example:
        >>> record = {"segments": [{"start": 0.5}]}
        >>> copied(record)["segments"][0]["start"] = 9
        >>> record
        {'segments': [{'start': 0.5}]}
    """
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value.copy() if isinstance(value, np.ndarray) else value


@dataclass
class Plain:
    """Turns values into plain ones: numbers of NumPy and torch become Python's, tuples and sets become lists.

    What no container holds is left out and counted: an array or tensor, unless its field is declared as a list, and any
    other object.

    Args:
        kinds: the types of declared fields.
        names: what takes the place of texts, such as the name of a temporary file.
        left_out: how much was left out, by the field it is in.

    Example:
        >>> plain = Plain({"scores": "list<float>"})
        >>> plain.record({"wer": np.float32(0.5), "scores": np.array([1.0, 2.0]), "mel": np.zeros((80, 3))})
        {'wer': 0.5, 'scores': [1.0, 2.0]}
        >>> plain.left_out
        Counter({'mel': 1})
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def record(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        """Return the record of a stage's values."""
        found = {}
        for name, value in values.items():
            keeps_arrays = self.kinds.get(name, "").startswith("list<")
            if (plain := self._plain(value, str(name), keeps_arrays)) is not _LEFT_OUT:
                found[str(name)] = plain
        return found

    def _plain(self, value: Any, name: str, keeps_arrays: bool = False) -> Any:
        """The value in a field, or in a list or object in it."""
        kind = type(value)
        if kind in _AS_THEY_ARE:
            return value
        if kind is str:
            return self._text(value) if self.names else value
        if kind is dict or isinstance(value, Mapping):
            items = {str(key): self._plain(item, name) for key, item in value.items()}
            return {key: item for key, item in items.items() if item is not _LEFT_OUT}
        if isinstance(value, (list, tuple)):
            values = [self._plain(item, name, keeps_arrays) for item in value]
            return _LEFT_OUT if _LEFT_OUT in values else values
        if isinstance(value, (set, frozenset)):
            return self._plain(sorted(value, key=repr), name)
        if isinstance(value, Enum):
            return self._plain(value.value, name)
        if isinstance(value, (str, PurePath)):
            return self._text(str.__str__(value) if isinstance(value, str) else str(value))
        if isinstance(value, np.generic) and value.dtype.kind in _NUMBERS:
            return _NUMBERS[value.dtype.kind](value)
        if is_array(value) and (keeps_arrays or not value.shape):
            array = as_array(value)
            if array.dtype.kind in "biufUSO":
                return self._plain(array.tolist(), name, keeps_arrays)
        if isinstance(value, (bytearray, memoryview)):
            return bytes(value)
        bases: tuple[Any, ...] = (int, float, bytes)
        for base in bases:
            if isinstance(value, base):
                return base(value)
        self.left_out[name] += 1
        return _LEFT_OUT

    def _text(self, text: str) -> str:
        for name, instead in self.names.items():
            if name in text:
                text = text.replace(name, instead)
        return text


def is_array(value: Any) -> bool:
    """Return whether a value is an array of NumPy or a tensor of torch."""
    torch = sys.modules.get("torch")
    return isinstance(value, np.ndarray) or (torch is not None and isinstance(value, torch.Tensor))


def as_array(value: Any) -> np.ndarray[Any, Any]:
    """Return an array, or a tensor of torch on whatever device, as an array of NumPy."""
    if isinstance(value, np.ndarray):
        return value
    import torch

    tensor = value.detach().cpu()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()  # which NumPy has not
    found: np.ndarray[Any, Any] = tensor.resolve_conj().resolve_neg().numpy()
    return found


def check_types(parameter: str, types: Any) -> None:
    """Check declared fields and the names of their types.

    Raises:
        ConfigurationError: it is no mapping from names of fields to types that there are.

    Example:
        >>> check_types("adds", {"wer": "float", "scores": "list<float>"})
    """
    if not isinstance(types, dict) or not all(isinstance(name, str) and name for name in types):
        raise ConfigurationError(f"{parameter} is {types!r}; give types by the names of fields, such as {{wer: float}}")
    for name, kind in types.items():
        if not is_type(kind):
            raise ConfigurationError(f"{parameter}.{name} is {kind!r}; give {NAMES}, or object")


def check_fits(name: str, value: Any, kind: str) -> None:
    """Check that a plain value is of a declared type.

    Raises:
        RecordError: it is of another.

    Example:
        >>> check_fits("wer", 1, "float"), check_fits("words", ["a"], "list<string>"), check_fits("wer", None, "float")
        (None, None, None)
    """
    if not fits([value], kind, may_round=True):
        raise RecordError("wrong_type", f"{name} is {value!r:.80}, which is no {kind}, as 'adds' says")
