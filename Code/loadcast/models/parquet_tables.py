"""Parquet files in memory as one table, decoded only once it is known how much they unpack to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from loadcast.models.parquet_pages import chunks_of

MAX_TABLE_BYTES = 4 << 30
#: A table may unpack to this much, or to so many times the bytes of its files; forests take some 10 times.
SMALL_TABLE_BYTES = 64 << 20
MAX_EXPANSION = 100
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12}
_TEXT = "BYTE_ARRAY"
_TEXT_WIDTH = 4
_LEVEL_BYTES = 4  # of a value in lists or structs, while it is decoded


class TableError(ValueError):
    """What is wrong with the files, in a few words: `part` names the one, where it is one."""

    def __init__(self, part: str | None, reason: str) -> None:
        super().__init__(reason)
        self.part = part


class _Part(NamedTuple):
    name: str
    data: bytes
    file: pq.ParquetFile


def read_parquet(
    parts: Iterable[tuple[str, bytes]], columns: Sequence[str] | None = None, n_rows: int | None = None
) -> pa.Table:
    """The rows of files, given by name and bytes; `columns` as pyarrow names them, all unless given.

    Raises TableError for what is not Parquet, unpacks to too much, or has other than `n_rows` rows.
    """
    opened = [_open(name, data) for name, data in parts]
    rows = sum(part.file.metadata.num_rows for part in opened)
    if n_rows is not None and rows != n_rows:
        raise TableError(None, f"has {rows} rows, wanted {n_rows}")
    # Spark writes a file for each of its tasks, and most of them may be empty.
    filled = [part for part in opened if part.file.metadata.num_rows] or opened[:1]
    limit = min(MAX_TABLE_BYTES, max(SMALL_TABLE_BYTES, MAX_EXPANSION * sum(len(part.data) for part in filled)))
    left = limit
    for part in filled:
        left -= _fixed_bytes(part, columns)
        if left < 0:
            raise TableError(part.name, f"unpacks to more than {limit:,} bytes, which its size does not explain")
    for part in filled:
        left -= _text_bytes(part, columns)
        if left < 0:
            raise TableError(part.name, f"unpacks to texts of more than {limit:,} bytes")
    return pa.concat_tables(_read(part, part.file, columns) for part in filled)


def _open(name: str, data: bytes) -> _Part:
    try:
        return _Part(name, data, pq.ParquetFile(pa.BufferReader(data)))
    except (pa.ArrowException, OSError, ValueError) as exc:
        raise TableError(name, f"is no Parquet file ({_short(exc)})") from exc


def _fixed_bytes(part: _Part, columns: Sequence[str] | None) -> int:
    """What the part unpacks to: its pages, and all values but texts."""
    leaves = _leaves(part.file, columns)
    try:
        groups = chunks_of(part.data, len(part.file.schema))
    except ValueError as exc:
        raise TableError(part.name, f"is damaged ({exc})") from exc
    chunks = [(leaf, group[leaf]) for group in groups for leaf in leaves]
    return sum(chunk.n_values * _width(part.file, leaf) + chunk.unpacked_bytes for leaf, chunk in chunks)


def _width(file: pq.ParquetFile, leaf: int) -> int:
    """Bytes of a value while it is decoded; of a text that is what says where it lies."""
    column = file.schema.column(leaf)
    width = _TEXT_WIDTH if column.physical_type == _TEXT else _WIDTHS.get(column.physical_type, column.length)
    return int(width) + _LEVEL_BYTES


def _text_bytes(part: _Part, columns: Sequence[str] | None) -> int:
    """The bytes of all texts, counted while each of them is kept once: a dictionary's entry may be used often."""
    leaves = [part.file.schema.column(leaf) for leaf in _leaves(part.file, columns)]
    texts = [leaf.path for leaf in leaves if leaf.physical_type == _TEXT]
    if not texts:
        return 0
    file = pq.ParquetFile(pa.BufferReader(part.data), read_dictionary=texts)
    table = _read(part, file, columns)
    return sum(_length(chunk) for column in table.columns for chunk in column.chunks)


def _length(array: pa.Array) -> int:
    if isinstance(array, pa.DictionaryArray):
        lengths = pc.binary_length(array.dictionary).cast(pa.int64()).take(array.indices)
        return pc.sum(lengths).as_py() or 0
    if isinstance(array, pa.StructArray):
        return sum(map(_length, array.flatten()))
    if isinstance(array, (pa.ListArray, pa.LargeListArray, pa.MapArray)):
        return _length(array.values)
    return 0


def _leaves(file: pq.ParquetFile, columns: Sequence[str] | None) -> list[int]:
    paths = [file.schema.column(leaf).path for leaf in range(len(file.schema))]
    if columns is None:
        return list(range(len(paths)))
    return [leaf for leaf, path in enumerate(paths) if any(f"{path}.".startswith(f"{name}.") for name in columns)]


def _read(part: _Part, file: pq.ParquetFile, columns: Sequence[str] | None) -> pa.Table:
    try:
        # Read without threads: gunicorn forks this process, and threads do not survive a fork.
        return file.read(columns=columns, use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as exc:
        raise TableError(part.name, f"is damaged ({_short(exc)})") from exc


def _short(exc: Exception) -> str:
    return f"{type(exc).__name__}: {str(exc)[:200]}"
