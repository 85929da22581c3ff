"""Tables written by many tasks: each task writes files of its own, and tells which; files nobody tells of are removed.

So a task that fails half-way, or runs twice, leaves no row and no row twice.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from loadcast.storage.table_files import Tables


class PartWriter:
    """One task's Parquet files, each written piece by piece; `name` is the task's own.

    A piece goes into a row group; hold pieces to some ten thousand rows.
    """

    def __init__(self, tables: Tables, name: str) -> None:
        self._place, self._name = tables.writing(), name
        self._writers: dict[str, pq.ParquetWriter] = {}

    def __enter__(self) -> PartWriter:
        self._folder: Path = self._place.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for writer in self._writers.values():
            writer.close()
        self._place.__exit__(kind, error, at)

    @property
    def written(self) -> list[str]:
        """The files, as paths below the tables' place."""
        return list(self._writers)

    def write(self, table: str, rows: pa.Table) -> None:
        """Add rows to the task's file of a table, such as `rejected`."""
        file = f"{table}/part-{self._name}.parquet"
        writer = self._writers.get(file)
        if writer is None:
            path = self._folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            # Doubles are nearly all different: looking for equal ones costs more than it saves.
            equal = [
                field.name for field in rows.schema if pa.types.is_string(field.type) or pa.types.is_int32(field.type)
            ]
            writer = pq.ParquetWriter(path, rows.schema, use_dictionary=equal, store_schema=False)
            if rows.schema.metadata:
                writer.add_key_value_metadata(rows.schema.metadata)
            self._writers[file] = writer
        writer.write_table(rows)

    def write_monthly(self, table: str, rows: pa.Table, time: str) -> None:
        """Add rows to the files of a table's months, `table/yyyy/MM`, by their `time` column."""
        months = pc.strftime(pc.floor_temporal(rows.column(time), unit="month"), "%Y/%m").combine_chunks()
        encoded = months.dictionary_encode()
        for code, month in enumerate(encoded.dictionary.to_pylist()):
            self.write(f"{table}/{month}", rows.filter(pc.equal(encoded.indices, code)))
