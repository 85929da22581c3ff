"""Spark's types for ours."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql import types as T

#: Where Spark looks, in a Parquet file, for the schema with its own types.
SPARK_SCHEMA_KEY = "org.apache.spark.sql.parquet.row.metadata"

_TYPES: dict[pa.DataType, T.DataType] = {
    pa.string(): T.StringType(),
    pa.bool_(): T.BooleanType(),
    pa.int32(): T.IntegerType(),
    pa.int64(): T.LongType(),
    pa.float32(): T.FloatType(),
    pa.float64(): T.DoubleType(),
    pa.timestamp("us"): T.TimestampNTZType(),
}


def to_struct(arrow: pa.Schema) -> T.StructType:
    """The Spark SQL schema of an Arrow one; timestamps stay without a zone."""
    return T.StructType([T.StructField(field.name, _TYPES[field.type], field.nullable) for field in arrow])
