"""How much a column of a Parquet file holds, counted in its pages before any of them is decoded.

A footer may say anything: pyarrow decodes what the pages hold. A page of a few bytes may repeat one value a billion
times. So the header of each page is read here, and nothing else of it.

Source: parquet.thrift (PageHeader) and the compact protocol of Thrift.
"""

from __future__ import annotations

from typing import NamedTuple

import pyarrow.parquet as pq

_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _STRUCT = 0, 1, 2, 3, 4, 5, 6, 7, 8, 12
_UNPACKED, _PACKED = 2, 3
_PAGES = {5: True, 7: False, 8: True}  # data, dictionary, data of version 2: whether its values are those of rows
_N_VALUES = 1
_MAX_DEPTH = 4
_MAX_VARINT_BITS = 70

Fields = dict[int, "int | Fields"]


class PageSums(NamedTuple):
    """All pages of a column chunk: values of rows, and bytes once they are unpacked."""

    n_values: int
    unpacked_bytes: int


def page_sums(data: bytes, chunk: pq.ColumnChunkMetaData) -> PageSums:
    """What the pages of a column chunk hold, by their headers. Raises ValueError where these are damaged."""
    position = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < (chunk.dictionary_page_offset or 0) < position:
        position = chunk.dictionary_page_offset
    end = position + chunk.total_compressed_size
    if not 0 <= position <= end <= len(data):
        raise ValueError("a column lies outside the file")
    n_values = unpacked_bytes = 0
    while position < end:
        header, position = _header(data, position)
        unpacked, packed = header.get(_UNPACKED), header.get(_PACKED)
        if not isinstance(unpacked, int) or not isinstance(packed, int) or unpacked < 0 or packed < 0:
            raise ValueError("a page has no size")
        n_values += _row_values(header)
        unpacked_bytes += unpacked
        position += packed
    return PageSums(n_values, unpacked_bytes)


def _row_values(header: Fields) -> int:
    n_values = 0
    for field, has_rows in _PAGES.items():
        page = header.get(field)
        number = page.get(_N_VALUES) if isinstance(page, dict) else None
        if page is not None and (not isinstance(number, int) or number < 0):
            raise ValueError("a page does not say how many values it has")
        n_values += number if has_rows and isinstance(number, int) else 0
    return n_values


def _header(data: bytes, position: int) -> tuple[Fields, int]:
    reader = _Compact(data, position)
    return reader.struct(_MAX_DEPTH), reader.position


class _Compact:
    """Reads whole numbers and structs; what else a header may hold is passed over."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self.position = position

    def struct(self, depth: int) -> Fields:
        """Fields by their numbers. Raises ValueError."""
        if not depth:
            raise ValueError("a page header is nested too deeply")
        fields: Fields = {}
        field = 0
        while (head := self._byte()) != _STOP:
            kind = head & 15
            field = field + (head >> 4) if head >> 4 else self._number()
            value = self._value(kind, depth)
            if value is not None:
                fields[field] = value
        return fields

    def _value(self, kind: int, depth: int) -> int | Fields | None:
        if kind in (_I16, _I32, _I64):
            return self._number()
        if kind == _STRUCT:
            return self.struct(depth - 1)
        if kind in (_TRUE, _FALSE):
            return None
        sizes = {_BYTE: 1, _DOUBLE: 8}
        if kind != _BINARY and kind not in sizes:
            raise ValueError("a page header holds what none has")
        skipped = sizes.get(kind) or self._varint()
        self.position += skipped
        return None

    def _byte(self) -> int:
        if self.position >= len(self._data):
            raise ValueError("a page header is cut short")
        self.position += 1
        return self._data[self.position - 1]

    def _varint(self) -> int:
        number = shift = 0
        while shift < _MAX_VARINT_BITS:
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7
        raise ValueError("a page header holds an endless number")

    def _number(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)
