"""How good the forest is, beside what naive forecasts score on the same rows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from loadcast import schema
from loadcast.kernels.features import Thresholds
from loadcast.kernels.scores import scores
from loadcast.spark.forest import is_test

FOREST = "forest"
SAME_AS_48H = "sameClassAs48hBefore"
SAME_AS_168H = "sameClassAs168hBefore"
HOUR_OF_WEEK = "mostFrequentOfHourOfWeek"
MOST_FREQUENT = "mostFrequent"
NAIVE = (SAME_AS_48H, SAME_AS_168H, HOUR_OF_WEEK, MOST_FREQUENT)
_PLACE = (schema.SERVER, "dayofweek", "hourofday")
_SMALLEST_PROBABILITY = 1e-15


def evaluate(predicted: DataFrame, split: datetime, thresholds: Thresholds) -> dict[str, Any]:
    """metrics.json: scores of the forest and of the naive forecasts on the observed rows, for train and test."""
    rows = predicted.filter(F.col(schema.OBSERVED)).withColumn("isTest", is_test(split))
    answers = _with_naive(rows, thresholds)
    forecasts = F.explode(F.create_map(*(part for name in (FOREST, *NAIVE) for part in (F.lit(name), F.col(name)))))
    counted = (
        answers.select("isTest", schema.LABEL, "loss", forecasts)
        .groupBy("isTest", "key", schema.LABEL, "value")
        .agg(F.count("*").alias("number"), F.sum("loss").alias("loss"))
        .collect()
    )
    return {
        part: _report([row for row in counted if row["isTest"] == flag])
        for part, flag in (("train", False), ("test", True))
    }


def _with_naive(rows: DataFrame, thresholds: Thresholds) -> DataFrame:
    """The forest's answer and each naive one as a column, with the forest's loss."""
    training = rows.filter(~F.col("isTest"))
    per_place = _most_frequent(training, list(_PLACE)).withColumnRenamed("class", HOUR_OF_WEEK)
    overall = _most_frequent(training, []).first()
    fallback = F.lit(int(overall["class"]) if overall and overall["class"] is not None else 1)
    probability = F.coalesce(
        *(F.when(F.col(schema.LABEL) == label, F.col(name)) for label, name in schema.PROBABILITY_COLUMNS.items())
    )
    joined = rows.join(F.broadcast(per_place), on=list(_PLACE), how="left")
    return joined.select(
        "isTest",
        F.col(schema.LABEL).cast("int").alias(schema.LABEL),
        (-F.log(F.greatest(probability, F.lit(_SMALLEST_PROBABILITY)))).alias("loss"),
        F.col(schema.PREDICTION).cast("int").alias(FOREST),
        _class_of(F.col("peakLoadLag48"), thresholds).alias(SAME_AS_48H),
        _class_of(F.col("peakLoadLag168"), thresholds).alias(SAME_AS_168H),
        F.coalesce(F.col(HOUR_OF_WEEK), fallback).alias(HOUR_OF_WEEK),
        fallback.alias(MOST_FREQUENT),
    )


def _class_of(load: Column, thresholds: Thresholds) -> Column:
    return F.when(load > thresholds.high, 3).when(load > thresholds.low, 2).otherwise(1)


def _most_frequent(training: DataFrame, by: list[str]) -> DataFrame:
    """The commonest class per group (the lower of equals)."""
    counts = training.groupBy(*by, schema.LABEL).count()
    best = F.max(F.struct(F.col("count"), (-F.col(schema.LABEL)).alias("minusLabel"))).alias("best")
    return counts.groupBy(*by).agg(best).select(*by, (-F.col("best.minusLabel")).cast("int").alias("class"))


def _report(counted: list[Any]) -> dict[str, Any]:
    """Scores of one part, from counts by forecast, class and answer."""
    parts = {name: scores(_confusion([row for row in counted if row["key"] == name])) for name in (FOREST, *NAIVE)}
    forest = parts.pop(FOREST)
    rows = max(forest["rows"], 1)
    forest["logLoss"] = sum(row["loss"] for row in counted if row["key"] == FOREST) / rows
    best = max(NAIVE, key=lambda name: (parts[name]["macroF1"], parts[name]["accuracy"]))
    lift = {name: forest[name] - parts[best][name] for name in ("accuracy", "macroF1")}
    return {**forest, "naive": parts, "bestNaive": best, "liftOverBestNaive": lift}


def _confusion(counted: list[Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    matrix = np.zeros((len(schema.CLASS_NAMES), len(schema.CLASS_NAMES)), dtype=np.int64)
    for row in counted:
        matrix[int(row[schema.LABEL]) - 1, int(row["value"]) - 1] += row["number"]
    return matrix
