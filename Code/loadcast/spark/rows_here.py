"""Training rows read by this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from loadcast import paths, schema
from loadcast.errors import ArtefactError
from loadcast.kernels.forest.fit import Piece, TrainingRows
from loadcast.kernels.forest.threads import side_by_side
from loadcast.kernels.vectors import dense_blocks
from loadcast.secrets import shown
from loadcast.spark.fitting import TrainingTable
from loadcast.spark.table_partitions import FilePiece
from loadcast.system.disk import is_full_disk

#: Of training rows, as a family counts those of one, up to which this process takes them.
MOST_BYTES = 2 << 30
#: The bytes that a row of so many features counts.
BytesOfRow = Callable[[int], int]
_VALUES = "values"
_SHOWN_CHARACTERS = 200
_LABELS = range(max(schema.CLASS_NAMES) + 1)


def read_rows(
    table: TrainingTable, partitions: Sequence[Sequence[FilePiece]], bytes_of_row: BytesOfRow, threads: int
) -> TrainingRows | None:
    """The rows, in the order of the pieces of files; None where they are too many or none, or hold what Spark refuses.

    Raises ArtefactError for files that cannot be read.
    """
    names = {PurePosixPath(name).name: name for name in table.files.names(paths.FEATURES)}
    pieces = [piece for partition in partitions for piece in partition]
    if any(piece.name not in names for piece in pieces) or not _fits(table, list(names.values()), bytes_of_row):
        return None
    with side_by_side(threads) as each:
        tables: list[pa.Table] = list(each(partial(_read, table, names), pieces))
        sound = all(each(partial(_is_sound, table.columns), tables))
    sizes = iter(map(len, tables))
    counts = [sum(next(sizes) for _ in partition) for partition in partitions]
    if not sound or not sum(counts):
        return None
    labels = np.concatenate([rows.column(schema.LABEL).to_numpy() for rows in tables]).astype(np.uint8)
    given = [Piece(len(rows), partial(_blocks, rows, table.columns)) for rows in tables]
    width = next(block.shape[1] for rows in tables for block in dense_blocks(rows.slice(0, 1), table.columns))
    return TrainingRows(given, labels, counts, width)


def _fits(table: TrainingTable, files: Sequence[str], bytes_of_row: BytesOfRow) -> bool:
    """Whether the training rows, as bytes, are few enough; not if the first row is none that Spark takes.

    Those of the test period, which may be many more, do not count.
    """
    n_rows, width = 0, 0
    for name in files:
        with _opened(table, name) as file:
            n_rows += file.metadata.num_rows
            if file.metadata.num_rows and not width:
                columns = [schema.LABEL, *table.columns]
                first = pa.Table.from_batches([next(file.iter_batches(1, columns=columns, use_threads=False))])
                if not _is_sound(table.columns, first):
                    return False
                width = next(dense_blocks(first, table.columns)).shape[1]
    most = MOST_BYTES // max(1, bytes_of_row(width))
    return n_rows <= most or _are_few(table, files, most)


def _are_few(table: TrainingTable, files: Sequence[str], most: int) -> bool:
    """Whether there are at most so many training rows."""
    n_rows = 0
    for name in files:
        with _opened(table, name) as file:
            for batch in file.iter_batches(columns=[schema.HOUR, schema.OBSERVED], use_threads=False):
                n_rows += pc.sum(_is_training(batch, table)).as_py() or 0
        if n_rows > most:
            return False
    return True


def _read(table: TrainingTable, names: Mapping[str, str], piece: FilePiece) -> pa.Table:
    """The training rows of a piece: label and features."""
    columns = [schema.LABEL, *table.columns]
    with _opened(table, names[piece.name]) as file:
        groups = piece.row_groups(file.metadata)
        wanted = list(dict.fromkeys([schema.HOUR, schema.OBSERVED, *columns]))
        rows = file.read_row_groups(groups, columns=wanted, use_threads=False)
    return rows.filter(_is_training(rows, table)).select(columns)


@contextmanager
def _opened(table: TrainingTable, name: str) -> Iterator[pq.ParquetFile]:
    try:
        with table.files.reading(name) as path, pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError, KeyError) as error:
        if is_full_disk(error):
            raise
        raise ArtefactError(
            f"{name} cannot be read: {shown(error, _SHOWN_CHARACTERS)}. Run python Code/etl.py CONFIG again."
        ) from error


def _is_training(rows: pa.Table | pa.RecordBatch, table: TrainingTable) -> pa.Array | pa.ChunkedArray:
    """Which rows are to be learned from."""
    hours = rows.column(schema.HOUR)
    return pc.and_(pc.less(hours, pa.scalar(table.split, hours.type)), rows.column(schema.OBSERVED))


def _is_sound(columns: Sequence[str], rows: pa.Table) -> bool:
    """Whether Spark would take the rows: no null, labels that it knows, numbers that are finite."""
    if any(rows.column(name).null_count for name in rows.column_names):
        return False
    labels = rows.column(schema.LABEL).to_numpy()
    return bool(np.isin(labels, _LABELS).all()) and all(map(_is_finite, map(rows.column, columns)))


def _is_finite(column: pa.ChunkedArray) -> bool:
    numbers = pc.list_flatten(pc.struct_field(column, _VALUES)) if pa.types.is_struct(column.type) else column
    return not pa.types.is_floating(numbers.type) or bool(pc.all(pc.is_finite(numbers), min_count=0).as_py())


def _blocks(rows: pa.Table, columns: Sequence[str], indices: NDArray[np.int64] | None) -> Iterator[NDArray[np.float64]]:
    return dense_blocks(rows if indices is None else rows.take(pa.array(indices)), columns)
