"""Thrift's compact protocol, as far as the headers of Parquet's pages need it.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 16
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)


class Thrift:
    """Values in a row, read from ``position`` on.

    Args:
        data: the bytes.
        position: where the next value begins.

    Example:
        >>> reader = Thrift(bytes([0x15, 0x04, 0x15, 0x06, 0x00]))
        >>> reader.struct(), reader.position
        ({1: 2, 2: 3}, 5)
    """

    def __init__(self, data: bytes | memoryview, position: int = 0) -> None:
        self._data = data
        self.position = position

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """The whole numbers in a struct by the numbers of their fields, and those of structs in it.

        Args:
            depth: how many structs it lies in.

        Raises:
            ValueError: there is something else.
            IndexError: it is cut.
        """
        if depth > MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        data, number = self._data, 0
        fields: dict[int, Any] = {}
        while head := data[self.position]:
            self.position += 1
            kind = head & 0x0F
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            if kind in (I32, I64, I16):
                fields[number] = self._zigzag()
            elif kind == STRUCT:
                fields[number] = self.struct(depth + 1)
            elif kind not in (TRUE, FALSE):  # which have no value but their kind
                self._skip(kind, depth)
        self.position += 1
        return fields

    def _skip(self, kind: int, depth: int) -> None:
        if kind in (TRUE, FALSE, BYTE):
            self._advance(1)
        elif kind in (I16, I32, I64):
            self._varint()
        elif kind == DOUBLE:
            self._advance(8)
        elif kind == BINARY:
            self._advance(self._varint())
        elif kind == STRUCT:
            self.struct(depth + 1)
        elif kind in (LIST, SET):
            if depth > MAX_DEPTH:
                raise ValueError("it is nested too deeply")
            head = self._byte()
            for _ in range(self._varint() if head >> 4 == 15 else head >> 4):
                self._skip(head & 0x0F, depth + 1)
        else:
            raise ValueError(f"{kind} is no type of its fields")

    def _byte(self) -> int:
        self.position += 1
        return self._data[self.position - 1]

    def _advance(self, num_bytes: int) -> None:
        self.position += num_bytes
        if self.position > len(self._data):
            raise IndexError("it is cut")

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number has more than 64 bits")

    def _zigzag(self) -> int:
        value = self._data[self.position]
        if value < 0x80:
            self.position += 1
        else:
            value = self._varint()
        return (value >> 1) ^ -(value & 1)
