"""The half that fits: each class's mean, computed by Spark."""

from __future__ import annotations

import json
from collections.abc import Callable

from pyspark.ml.functions import vector_to_array
from pyspark.ml.stat import Summarizer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from loadcast.settings import Settings
from toymodel import SAVED_CLASS


def fit(training: DataFrame, settings: Settings) -> Callable[[str], None]:
    means = training.groupBy("label").agg(Summarizer.mean(F.col("features")).alias("mean"))
    arrays = means.select("label", vector_to_array("mean").alias("mean"))

    def save(address: str) -> None:
        metadata = [(json.dumps({"class": SAVED_CLASS}),)]
        spark = training.sparkSession
        spark.createDataFrame(metadata, "value string").coalesce(1).write.text(f"{address}/metadata")
        arrays.coalesce(1).write.parquet(f"{address}/data")

    return save
