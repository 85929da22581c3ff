"""Folders of a saved model as Spark writes them, by this process: Spark would first load what it writes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import types as T

from loadcast.spark.session import SPARK_VERSION
from loadcast.spark.types import SPARK_SCHEMA_KEY

_SPARK_VERSION_KEY = "org.apache.spark.version"


def write_text(folder: Path, line: str) -> None:
    """Write a line of text into a folder that is new."""
    with _made(folder) as part:
        part.with_suffix(".txt").write_text(f"{line}\n", encoding="utf-8")


def write_table(folder: Path, table: pa.Table, schema_of_spark: T.StructType) -> None:
    """Write a table into a folder that is new; Spark looks in the file for its own schema."""
    about = {SPARK_SCHEMA_KEY: schema_of_spark.json(), _SPARK_VERSION_KEY: SPARK_VERSION}
    with _made(folder) as part:
        path = part.with_suffix(".snappy.parquet")
        with pq.ParquetWriter(path, table.schema, compression="snappy", store_schema=False) as writer:
            writer.add_key_value_metadata(about)
            writer.write_table(table)


@contextmanager
def _made(folder: Path) -> Iterator[Path]:
    """A new folder: gives what its one file's path begins with. Marked as whole at the end, as Spark does."""
    folder.mkdir(parents=True)
    yield folder / "part-00000"
    (folder / "_SUCCESS").touch()
