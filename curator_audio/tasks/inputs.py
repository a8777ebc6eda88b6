"""What a partition is made from."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import NamedTuple

MAX_UNPACKED_BYTES = 2**28  # of one partition


class Input(NamedTuple):
    """What a place of a source held.

    Args:
        fingerprint: what changes when it is written again, and costs little to know; empty where nothing does.
        content: the hash of what was read there; empty where nobody made one.
    """

    fingerprint: str
    content: str = ""


class Inputs:
    """What a partition was made from, by place: the identity of what is done, at some 30 bytes a file.

    Places are paths below the root of the source, or pieces of what lies there, so that a source that was moved is
    the same source.

    Args:
        packed: the map in order of its places, as JSON under gzip.
        num: how many places it has.
        sha256: the digest of its places and fingerprints.

    Example:
        >>> inputs = Inputs.of({"b.npz": Input("2"), "a.npz": Input("1", "ca978112")})
        >>> inputs.num, inputs.unpacked()
        (2, {'a.npz': Input(fingerprint='1', content='ca978112'), 'b.npz': Input(fingerprint='2', content='')})
    """

    __slots__ = ("num", "packed", "sha256")

    def __init__(self, packed: bytes, num: int, sha256: str) -> None:
        self.packed, self.num, self.sha256 = packed, num, sha256

    @classmethod
    def of(cls, inputs: Mapping[str, Input]) -> Inputs:
        """Pack what is given."""
        places = sorted(inputs)
        lines = {place: [*inputs[place]] if inputs[place].content else inputs[place].fingerprint for place in places}
        data = json.dumps(lines, separators=(",", ":")).encode() + b"\n"
        return cls(gzip.compress(data, 6, mtime=0), len(places), digest_of(inputs))

    def unpacked(self) -> dict[str, Input]:
        """Return what each place held, in order of the places.

        Raises:
            ValueError: it is damaged.
        """
        reader = zlib.decompressobj(31)
        try:
            data = reader.decompress(self.packed, MAX_UNPACKED_BYTES)
        except zlib.error as error:
            raise ValueError(str(error)) from None
        if reader.unconsumed_tail or not reader.eof:
            raise ValueError("the places of a partition end too early, or take too much room")
        inputs = inputs_of_json(json.loads(data))
        if len(inputs) != self.num:
            raise ValueError(f"a partition has {len(inputs)} places, and not {self.num}")
        return inputs

    @property
    def first(self) -> str:
        """The first of the places; empty where there are none."""
        start = zlib.decompressobj(31).decompress(self.packed, 2**14).decode(errors="ignore")
        if not start.startswith('{"'):
            return ""
        try:
            return str(json.JSONDecoder().raw_decode(start, 1)[0])
        except ValueError:  # a very long one
            return next(iter(self.unpacked()))

    def __len__(self) -> int:
        return self.num

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Inputs) and self.unpacked() == other.unpacked()

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __repr__(self) -> str:
        return f"Inputs({self.unpacked()!r})"


def digest_of(inputs: Mapping[str, Input]) -> str:
    """Return what tells a map from others: a digest of its places and fingerprints."""
    fingerprints = [[place, inputs[place].fingerprint] for place in sorted(inputs)]
    return hashlib.sha256(json.dumps(fingerprints).encode()).hexdigest()[:32]


def inputs_of_json(values: object) -> dict[str, Input]:
    """Return what JSON tells of places.

    Raises:
        ValueError: it is of another kind.
    """
    if not isinstance(values, dict):
        raise ValueError("places are of another kind")
    inputs = {}
    for place, value in values.items():
        one = Input(*value) if isinstance(value, list) and len(value) == 2 else Input(value)
        if not (isinstance(one.fingerprint, str) and isinstance(one.content, str)):
            raise ValueError("a fingerprint is of another kind")
        inputs[place] = one
    return inputs


NOTHING = Inputs.of({})
