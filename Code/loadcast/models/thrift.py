"""The compact protocol of Thrift, in which Parquet keeps its footers and the headers of its pages.

Only what is read of those is understood: whole numbers, texts, lists and structs. Everything else is passed over or
refused, with a ValueError.

Source: thrift-compact-protocol.md.
"""

from __future__ import annotations

_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = (*range(11), 12)
_LONG_LIST = 15
_MAX_DEPTH = 12
_MAX_VARINT_BITS = 70

Value = int | bytes | list["Value"] | dict[int, "Value"] | None
Struct = dict[int, Value]


class Reader:
    """Reads structs from `position` on, which then is where the last one ended, and at most up to `end`."""

    def __init__(self, data: bytes, position: int, end: int) -> None:
        self._data, self._end = data, min(end, len(data))
        self.position = position

    def struct(self, depth: int = _MAX_DEPTH) -> Struct:
        """The fields of a struct by their numbers. Raises ValueError."""
        if not depth:
            raise ValueError("its description is nested too deeply")
        fields: Struct = {}
        field = 0
        while (head := self._byte()) != _STOP:
            field = field + (head >> 4) if head >> 4 else self._number()
            kind = head & 15
            fields[field] = None if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Value:
        if kind in (_I16, _I32, _I64):
            return self._number()
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind == _STRUCT:
            return self.struct(depth - 1)
        if kind in (_LIST, _SET):
            return self._list(depth - 1)
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        if kind == _DOUBLE:
            return self._bytes(8)
        raise ValueError("its description holds what none has")

    def _list(self, depth: int) -> Value:
        if not depth:
            raise ValueError("its description is nested too deeply")
        head = self._byte()
        size = head >> 4 if head >> 4 < _LONG_LIST else self._varint()
        # Each element takes a byte at least, so that `end` bounds the list.
        return [self._value(head & 15, depth) for _ in range(size)]

    def _bytes(self, size: int) -> bytes:
        self.position += size
        if self.position > self._end:
            raise ValueError("its description is cut short")
        return self._data[self.position - size : self.position]

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _varint(self) -> int:
        number = shift = 0
        while shift < _MAX_VARINT_BITS:
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7
        raise ValueError("its description holds an endless number")

    def _number(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)
