"""How good the forest is, beside what naive forecasts score on the same rows."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from loadcast import schema
from loadcast.kernels.features.baseline import LAG_48, LAG_168
from loadcast.kernels.features.dates import DAY_OF_WEEK, HOUR_OF_DAY
from loadcast.kernels.labels import Bounds, LabelRule
from loadcast.kernels.scores import scores
from loadcast.spark.forest import is_test

FOREST = "forest"
SAME_AS_48H = "sameClassAs48hBefore"
SAME_AS_168H = "sameClassAs168hBefore"
HOUR_OF_WEEK = "mostFrequentOfHourOfWeek"
MOST_FREQUENT = "mostFrequent"
NAIVE = (SAME_AS_48H, SAME_AS_168H, HOUR_OF_WEEK, MOST_FREQUENT)
#: The answers that are columns; MOST_FREQUENT is one class for all.
_ANSWERS = (FOREST, SAME_AS_48H, SAME_AS_168H, HOUR_OF_WEEK)
_IS_TEST = "isTest"
_PLACE = (schema.SERVER, DAY_OF_WEEK.name, HOUR_OF_DAY.name)
_SMALLEST_PROBABILITY = 1e-15


def evaluate(predicted: DataFrame, split: datetime, rule: LabelRule) -> dict[str, Any]:
    """metrics.json: scores of the forest and of the naive forecasts on the observed rows, for train and test.

    One pass counts the classes of each place (server and hour of the week), one the answers; the rest is small.
    """
    rows = predicted.filter(F.col(schema.OBSERVED)).withColumn(_IS_TEST, is_test(split))
    counted = (
        _answers(rows, rule.common)
        .groupBy(_IS_TEST, schema.LABEL, *_ANSWERS)
        .agg(F.count("*").alias("number"), F.sum("loss").alias("loss"))
        .collect()
    )
    commonest = _commonest([row for row in counted if not row[_IS_TEST]])
    return {
        part: _report([row for row in counted if row[_IS_TEST] == flag], commonest)
        for part, flag in (("train", False), ("test", True))
    }


def _answers(rows: DataFrame, bounds: Bounds) -> DataFrame:
    """The forest's answer and each naive one as a column (null where it has none), with the forest's loss."""
    probability = F.coalesce(
        *(F.when(F.col(schema.LABEL) == label, F.col(name)) for label, name in schema.PROBABILITY_COLUMNS.items())
    )
    joined = rows.join(F.broadcast(_most_frequent(rows.filter(~F.col(_IS_TEST)))), on=list(_PLACE), how="left")
    return joined.select(
        _IS_TEST,
        F.col(schema.LABEL).cast("int").alias(schema.LABEL),
        (-F.log(F.greatest(probability, F.lit(_SMALLEST_PROBABILITY)))).alias("loss"),
        F.col(schema.PREDICTION).cast("int").alias(FOREST),
        _class_of(F.col(LAG_48.name), bounds).alias(SAME_AS_48H),
        _class_of(F.col(LAG_168.name), bounds).alias(SAME_AS_168H),
        HOUR_OF_WEEK,
    )


def _class_of(load: Column, bounds: Bounds) -> Column:
    return F.when(load > bounds.high, 3).when(load > bounds.low, 2).otherwise(1)


def _most_frequent(training: DataFrame) -> DataFrame:
    """The commonest class of each place (the lower of equals)."""
    numbers = [F.count(F.when(F.col(schema.LABEL) == label, 1)).alias(f"n{label}") for label in schema.CLASS_NAMES]
    low, medium, high = (F.col(f"n{label}") for label in schema.CLASS_NAMES)
    commonest = F.when((low >= medium) & (low >= high), 1).when(medium >= high, 2).otherwise(3)
    return training.groupBy(*_PLACE).agg(*numbers).select(*_PLACE, commonest.alias(HOUR_OF_WEEK))


def _commonest(counted: list[Any]) -> int:
    """The commonest class of all training rows (the lower of equals; 1 where there are none)."""
    numbers: Counter[int] = Counter()
    for row in counted:
        numbers[row[schema.LABEL]] += row["number"]
    return min(numbers, key=lambda label: (-numbers[label], label), default=1)


def _report(counted: list[Any], commonest: int) -> dict[str, Any]:
    """Scores of one part, from counts by class and answers; a place without a training row has the commonest class."""
    parts = {name: scores(_confusion(counted, name, commonest)) for name in (FOREST, *NAIVE)}
    forest = parts.pop(FOREST)
    # Spark adds up the losses in the order in which its tasks end: the last digits would differ from run to run.
    forest["logLoss"] = float(f"{sum(row['loss'] for row in counted) / max(forest['rows'], 1):.12g}")
    best = max(NAIVE, key=lambda name: (parts[name]["macroF1"], parts[name]["accuracy"]))
    lift = {name: forest[name] - parts[best][name] for name in ("accuracy", "macroF1")}
    return {**forest, "naive": parts, "bestNaive": best, "liftOverBestNaive": lift}


def _confusion(counted: list[Any], name: str, commonest: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    matrix = np.zeros((len(schema.CLASS_NAMES), len(schema.CLASS_NAMES)), dtype=np.int64)
    for row in counted:
        answer = row[name] if name in _ANSWERS else None
        matrix[row[schema.LABEL] - 1, (commonest if answer is None else answer) - 1] += row["number"]
    return matrix
