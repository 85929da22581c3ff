"""Past forecasts, as `loadcast score --output` or training wrote them: read in portions, each row checked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import csv

from loadcast import schema
from loadcast.errors import InputError
from loadcast.kernels.buckets import Float64s, Int64s
from loadcast.kernels.grid import hours_of
from loadcast.secrets import shown
from loadcast.storage.table_files import is_hidden
from loadcast.system.small_files import read_small_file

FORMATS = (".parquet", ".csv", ".json")
ROWS_PER_BATCH = 65_536
_BLOCK_BYTES = 4_000_000
#: JSON is read whole; CSV and Parquet are not.
MAX_JSON_BYTES = 64_000_000
_SUM_TOLERANCE = 1e-3
_SHARES = tuple(schema.PROBABILITY_COLUMNS.values())
_TYPES = {
    schema.SERVER: pa.string(),
    schema.HOUR: schema.TIMESTAMP,
    schema.PREDICTION: pa.float64(),
    **dict.fromkeys(_SHARES, pa.float64()),
}
#: What the model itself said, where forecasts came through a gate: that is what is scored.
_OF_MODEL = {
    schema.PREDICTION: schema.MODEL_PREDICTION,
    **{name: schema.MODEL_PROBABILITY_COLUMNS[label] for label, name in schema.PROBABILITY_COLUMNS.items()},
}
_OPTIONAL = {schema.FORECAST_ORIGIN: schema.TIMESTAMP, **dict.fromkeys(_OF_MODEL.values(), pa.float64())}
_REMEDY = "Wanted a file as loadcast score --output FILE writes it: .parquet, .csv or .json."


@dataclass(frozen=True, eq=False)
class Forecasts:
    """n forecasts: numbers of `servers`, hours and origins since 1970, classes 1 to 3, (n,); probabilities, (n, 3)."""

    servers: list[str]
    codes: Int64s
    hours: Int64s
    origins: Int64s
    labels: NDArray[np.int8]
    probabilities: Float64s

    def __len__(self) -> int:
        return len(self.hours)


def find_forecasts(path: Path) -> list[Path]:
    """The files with forecasts at a path, a file's or a folder's, by name. Raises InputError where there is none."""
    if path.is_dir():
        files = (Path(folder, name) for folder, _, names in os.walk(path) for name in names if not is_hidden(name))
        found = sorted(file for file in files if file.suffix.lower() in FORMATS and file.is_file())
        if not found:
            raise InputError(f"{shown(path)} holds no forecasts. {_REMEDY}")
        return found
    if not path.is_file():
        raise InputError(f"{shown(path)}: found no such file or folder. {_REMEDY}")
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{shown(path)}: found another kind of file. {_REMEDY}")
    return [path]


def read_forecasts(files: Iterable[Path], have_origins: bool = False) -> Iterator[Forecasts]:
    """The forecasts of some files.

    A table may name each row's origin. Else it is 48 hours before, as classic features look back so far; where they
    `have_origins`, it is the hour before the file's first, which then is one forecast. Raises InputError for a file
    that cannot be read, or a row that is no forecast.
    """
    for file in files:
        begin = 0
        origin = _origin_of(file) if have_origins else None
        for table in _tables(file):
            yield _checked(table, file, begin, origin)
            begin += len(table)


def _origin_of(file: Path) -> int | None:
    """The hour before the file's first; None where rows name their own. Raises InputError for more than a forecast."""
    first, last = None, None
    for table in _tables(file):
        if schema.FORECAST_ORIGIN in table.column_names:
            return None
        hours = hours_of(table.column(schema.HOUR).drop_null())
        if len(hours):
            first = int(hours.min()) if first is None else min(first, int(hours.min()))
            last = int(hours.max()) if last is None else max(last, int(hours.max()))
    if first is not None and last is not None and last - first >= schema.HORIZON_HOURS:
        raise InputError(
            f"{shown(file)}: found {last - first + 1:,} hours and no column {schema.FORECAST_ORIGIN}, wanted one "
            f"forecast of {schema.HORIZON_HOURS} hours, or an origin in each row. "
            "Keep each forecast in a file of its own."
        )
    return None if first is None else first - 1


def _tables(file: Path) -> Iterator[pa.Table]:
    read = {".parquet": _parquet, ".csv": _csv, ".json": _json}[file.suffix.lower()]
    try:
        yield from read(file)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = shown(" ".join(str(error).split()), 200)
        raise InputError(f"{shown(file)} cannot be read: {why}. {_REMEDY}") from error


def _parquet(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        names = _chosen(file.schema_arrow.names)
        for batch in file.iter_batches(ROWS_PER_BATCH, columns=names, use_threads=False):
            yield _typed(pa.Table.from_batches([batch]))


def _csv(path: Path) -> Iterator[pa.Table]:
    types = csv.ConvertOptions(column_types={**_TYPES, **_OPTIONAL}, timestamp_parsers=[schema.TIME_FORMAT])
    reading = csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False)
    with csv.open_csv(path, reading, convert_options=types) as batches:
        for batch in batches:
            table = pa.Table.from_batches([batch])
            yield _typed(table.select(_chosen(table.column_names)))


def _json(path: Path) -> Iterator[pa.Table]:
    data = read_small_file(path, MAX_JSON_BYTES + 1)
    if len(data) > MAX_JSON_BYTES:
        raise ValueError(f"it is larger than {MAX_JSON_BYTES:,} bytes, which only .parquet and .csv may be")
    columns: dict[str, list[Any]] = {name: [] for name in _TYPES}
    for forecast in json.loads(data)["forecasts"]:
        for hour in forecast["hours"]:
            columns[schema.SERVER].append(forecast[schema.SERVER])
            columns[schema.HOUR].append(hour[schema.HOUR])
            said = hour.get(schema.MODEL, hour)
            columns[schema.PREDICTION].append(said[schema.PREDICTION])
            for label, name in schema.CLASS_NAMES.items():
                columns[schema.PROBABILITY_COLUMNS[label]].append(said["probability"][name])
    times = pc.strptime(pa.array(columns.pop(schema.HOUR), pa.string()), schema.TIME_FORMAT, "us")
    yield _typed(pa.table({**columns, schema.HOUR: times}))


def _chosen(names: Sequence[str]) -> list[str]:
    if missing := [name for name in _TYPES if name not in names]:
        raise ValueError(f"it is without the column {missing[0]}")
    return [name for name in (*_TYPES, *_OPTIONAL) if name in names]


def _typed(table: pa.Table) -> pa.Table:
    types = {**_TYPES, **_OPTIONAL}
    typed = table.cast(pa.schema([(name, types[name]) for name in table.column_names]))
    own = [name for name in _OF_MODEL.values() if name in typed.column_names]
    if not own:
        return typed
    if len(own) < len(_OF_MODEL):
        raise ValueError(f"it has {own[0]} without the rest of what the model said")
    answers = {own: name for name, own in _OF_MODEL.items()}
    kept = typed.drop_columns(list(_OF_MODEL))
    return kept.rename_columns([answers.get(name, name) for name in kept.column_names])


def _checked(table: pa.Table, file: Path, begin: int, origin: int | None) -> Forecasts:
    """The rows, each proven to be a forecast; `begin` is the number of the table's first row in the file."""
    if empty := [name for name in table.column_names if table.column(name).null_count]:
        raise InputError(f"{shown(file)}: found no value in {empty[0]}, wanted one in each row. {_REMEDY}")
    hours = hours_of(table.column(schema.HOUR))
    if schema.FORECAST_ORIGIN in table.column_names:
        origins = hours_of(table.column(schema.FORECAST_ORIGIN))
    else:
        origins = hours - schema.HORIZON_HOURS if origin is None else np.full(len(hours), origin)
    labels = table.column(schema.PREDICTION).to_numpy()
    shares = np.stack([table.column(name).to_numpy() for name in _SHARES], axis=1)
    horizons = hours - origins
    for name, right, wanted in (
        (schema.PREDICTION, np.isin(labels, list(schema.CLASS_NAMES)), "a class, 1 to 3"),
        (_SHARES[0], (np.isfinite(shares) & (shares >= 0) & (shares <= 1)).all(axis=1), "three shares from 0 to 1"),
        (_SHARES[0], np.abs(shares.sum(axis=1) - 1) <= _SUM_TOLERANCE, "three shares of 1 together"),
        (
            schema.FORECAST_ORIGIN,
            (horizons >= 1) & (horizons <= schema.HORIZON_HOURS),
            "an origin 1 to 48 hours before",
        ),
    ):
        if not right.all():
            row = int(np.argmin(right))
            found = shown(str({name: table.column(name)[row].as_py() for name in table.column_names}), 300)
            raise InputError(f"{shown(file)}, row {begin + row + 1}: found {found}, wanted {wanted} as {name}.")
    servers = table.column(schema.SERVER).combine_chunks().dictionary_encode()
    if isinstance(servers, pa.ChunkedArray):
        servers = servers.combine_chunks()
    codes = servers.indices.to_numpy().astype(np.int64)
    return Forecasts(servers.dictionary.to_pylist(), codes, hours, origins, labels.astype(np.int8), shares)
