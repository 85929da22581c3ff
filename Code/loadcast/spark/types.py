"""Spark's types for ours, and frames from Arrow schemas."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql import types as T

_TYPES: dict[pa.DataType, T.DataType] = {
    pa.string(): T.StringType(),
    pa.bool_(): T.BooleanType(),
    pa.int32(): T.IntegerType(),
    pa.int64(): T.LongType(),
    pa.float64(): T.DoubleType(),
    pa.timestamp("us"): T.TimestampNTZType(),
}


def spark_type(kind: pa.DataType) -> T.DataType:
    """The Spark SQL type of an Arrow type; timestamps stay without a zone."""
    return _TYPES[kind]
