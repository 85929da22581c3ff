"""How much a column of a Parquet file holds, counted in its pages before any of them is decoded.

A footer may say anything: pyarrow decodes what the pages hold, and a page of a few bytes may repeat one value a billion
times. So the header of each page is read here, and nothing else of it. pyarrow's own view of a damaged footer may end
the process; this one does not.

Source: parquet.thrift (FileMetaData, PageHeader).
"""

from __future__ import annotations

from typing import NamedTuple

from loadcast.models.thrift import Reader, Struct, Value

_MAGIC = b"PAR1"
_TAIL_BYTES = 8
_MAX_FOOTER_BYTES = 4 << 20  # a column of a group takes some hundred
_MAX_HEADER_BYTES = 1 << 20
_ROW_GROUPS, _COLUMNS, _META_DATA = 4, 1, 3
_N_VALUES, _CHUNK_BYTES, _DATA_OFFSET, _DICTIONARY_OFFSET = 5, 7, 9, 11
_UNPACKED, _PACKED = 2, 3
_DATA_PAGES = (5, 8)  # of both versions; those of dictionaries hold no rows
_PAGE_VALUES = 1


class Chunk(NamedTuple):
    """A column of a group of rows: values by its pages, and bytes once they are unpacked."""

    n_values: int
    unpacked_bytes: int


def chunks_of(data: bytes, n_columns: int) -> list[list[Chunk]]:
    """The columns of each group of rows in a file, as they are ordered there. Raises ValueError where it is damaged."""
    size = int.from_bytes(data[-_TAIL_BYTES : -len(_MAGIC)], "little")
    start = len(data) - _TAIL_BYTES - size
    if data[-len(_MAGIC) :] != _MAGIC or start < len(_MAGIC) or size > _MAX_FOOTER_BYTES:
        raise ValueError("it does not end as Parquet does")
    footer = Reader(data, start, start + size).struct()
    groups = [_columns(data, group) for group in _list(footer.get(_ROW_GROUPS))]
    if any(len(columns) != n_columns for columns in groups):
        raise ValueError(f"a group of its rows has not the {n_columns} columns of the file")
    return groups


def _columns(data: bytes, group: Value) -> list[Chunk]:
    return [_chunk(data, _struct(_struct(column).get(_META_DATA))) for column in _list(_struct(group).get(_COLUMNS))]


def _chunk(data: bytes, column: Struct) -> Chunk:
    position = _size(column, _DATA_OFFSET)
    dictionary = column.get(_DICTIONARY_OFFSET)
    if isinstance(dictionary, int) and 0 < dictionary < position:
        position = dictionary
    end = position + _size(column, _CHUNK_BYTES)
    if end > len(data):
        raise ValueError("a column lies outside of it")
    n_values = unpacked_bytes = 0
    while position < end:
        reader = Reader(data, position, position + _MAX_HEADER_BYTES)
        header = reader.struct()
        n_values += sum(_size(_struct(header[page]), _PAGE_VALUES) for page in _DATA_PAGES if page in header)
        unpacked_bytes += _size(header, _UNPACKED)
        position = reader.position + _size(header, _PACKED)
    return Chunk(max(n_values, _size(column, _N_VALUES)), unpacked_bytes)


def _size(fields: Struct, field: int) -> int:
    number = fields.get(field)
    if not isinstance(number, int) or number < 0:
        raise ValueError("it does not say how large it is")
    return number


def _struct(value: Value) -> Struct:
    if not isinstance(value, dict):
        raise ValueError("it does not describe its columns")
    return value


def _list(value: Value) -> list[Value]:
    if not isinstance(value, list):
        raise ValueError("it does not describe its columns")
    return value
