"""What came of the hours, from published hourly statistics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loadcast import schema
from loadcast.errors import InputError
from loadcast.kernels.gated_scores import EVIDENCE_H
from loadcast.kernels.grid import hours_of
from loadcast.kernels.labels import LabelRule
from loadcast.kernels.naive import SAME_HOUR
from loadcast.kernels.same_hour import most_counted
from loadcast.kernels.server_codes import server_codes
from loadcast.kernels.truth import HOURS_OF_WEEK, Truth
from loadcast.secrets import shown

#: Hours before the first that is scored, which the naive forecasts look back to that the gate learns from.
LOOK_BACK_H = (max(SAME_HOUR.values()) + 2) * 24 + EVIDENCE_H
_ROWS_PER_BATCH = 65_536
_N = len(schema.CLASS_NAMES)
_COLUMNS = [schema.SERVER, schema.HOUR, schema.PEAK_LOAD, schema.OBSERVED]


def read_truth(files: Iterable[Path], rule: LabelRule, span: tuple[int, int], split: int) -> Truth:
    """The truth of the hours of `span`, its last hour included, from hourly statistics.

    Hours before `split` are those that the model was trained on. Memory: some bytes for each server and hour of the
    span, and 2 KB for each server. Raises InputError for files that cannot be read.
    """
    paths, (first, last) = list(files), span
    numbers: dict[str, int] = {}
    for table in _tables(paths, [schema.SERVER]):
        server_codes(table.column(schema.SERVER), numbers)
    names = list(numbers)
    classes = np.zeros((len(names), last - first + 1), dtype=np.int8)
    weekly = np.zeros((len(names), HOURS_OF_WEEK, _N), dtype=np.int32)
    for table in _tables(paths, _COLUMNS):
        table = table.filter(table.column(schema.OBSERVED))
        rows, hours = server_codes(table.column(schema.SERVER), numbers), hours_of(table.column(schema.HOUR))
        labels = rule.labels(table.column(schema.PEAK_LOAD).to_numpy(), names, rows)
        inside = (hours >= first) & (hours <= last)
        classes[rows[inside], hours[inside] - first] = labels[inside]
        trained = hours < split
        np.add.at(weekly, (rows[trained], hours[trained] % HOURS_OF_WEEK, labels[trained] - 1), 1)
    usual = most_counted(weekly, axis=2)
    of_nothing = rule.labels(np.zeros(len(names)), names, np.arange(len(names))).astype(np.int8)
    return Truth(numbers, first, classes, of_nothing, usual)


def _tables(files: list[Path], columns: list[str]) -> Iterator[pa.Table]:
    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_ROWS_PER_BATCH, columns=columns, use_threads=False):
                    yield _whole(pa.Table.from_batches([batch]), path)
        except (pa.ArrowException, OSError, KeyError) as error:
            why = shown(" ".join(str(error).split()), 200)
            raise InputError(f"The statistics in {shown(path)} cannot be read: {why}. Make them anew.") from error


def _whole(table: pa.Table, path: Path) -> pa.Table:
    if any(column.null_count for column in table.columns):
        raise InputError(f"The statistics in {shown(path)} hold empty values, wanted none. Make them anew.")
    return table
