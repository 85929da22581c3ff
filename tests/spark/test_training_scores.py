"""What training scores is what Spark's own transform of mlSource would say, written as Spark would write it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import runs
from loadcast import paths, schema
from loadcast.errors import ArtefactError
from loadcast.kernels.features import CLASSIC
from loadcast.kernels.labels import LabelRule
from loadcast.models.registry import load_model
from loadcast.models.saved import read_saved
from loadcast.serving.predictor import Predictor
from loadcast.spark.scoring import ScoreTask, score_features
from loadcast.storage.table_files import FolderTables

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def in_file_order(folder: Path) -> pa.Table:
    return pa.concat_tables(pq.ParquetFile(file).read() for file in parts(folder))


def test_predictions_are_what_spark_s_transform_says(spark: SparkSession, hostile: runs.Run, tmp_path: Path) -> None:
    from pyspark.ml.classification import RandomForestClassificationModel
    from pyspark.ml.feature import VectorAssembler
    from pyspark.ml.functions import vector_to_array
    from pyspark.sql import functions as F

    rows = spark.read.parquet(str(hostile.folder / paths.FEATURES))
    rows = VectorAssembler(inputCols=hostile.info["featureColumns"], outputCol="features").transform(rows)
    scored = RandomForestClassificationModel.load(str(hostile.folder / paths.FOREST_MODEL)).transform(rows)
    shares = [vector_to_array("probability")[label].alias(name) for label, name in schema.PROBABILITY_COLUMNS.items()]
    tested = scored.filter(F.col(schema.HOUR) >= F.lit(hostile.settings.split))
    tested.select(*schema.PREDICTION_COLUMNS[:6], *shares).coalesce(1).write.parquet(str(tmp_path / "wanted"))
    keys = runs.SORTED_BY[paths.PREDICTIONS]
    wanted = in_file_order(tmp_path / "wanted").sort_by(keys).combine_chunks()
    actual = runs.table(hostile, paths.PREDICTIONS)
    assert runs.same_bits(actual.replace_schema_metadata(None), wanted.replace_schema_metadata(None)) == []


def test_rows_are_in_the_order_of_ml_source(hostile: runs.Run) -> None:
    rows = in_file_order(hostile.folder / paths.FEATURES)
    tested = rows.filter(pa.array(rows.column(schema.HOUR).to_numpy() >= np.datetime64(hostile.settings.split, "us")))
    assert in_file_order(hostile.folder / paths.PREDICTIONS).column(schema.KEY) == tested.column(schema.KEY)


def test_spark_reads_the_predictions_with_the_types_that_the_documents_promise(
    spark: SparkSession, hostile: runs.Run
) -> None:
    types = dict(spark.read.parquet(str(hostile.folder / paths.PREDICTIONS)).dtypes)
    assert types == {
        schema.KEY: "string",
        schema.SERVER: "string",
        schema.HOUR: "timestamp_ntz",
        schema.OBSERVED: "boolean",
        schema.LABEL: "int",
        schema.PREDICTION: "double",
        **dict.fromkeys(schema.PROBABILITY_COLUMNS.values(), "double"),
    }


def task(run: runs.Run, source: Path, target: Path, **changes: object) -> ScoreTask:
    tables = FolderTables(str(source))
    columns = tuple(run.info["featureColumns"])
    first = next(pq.ParquetFile(source / tables.names(paths.FEATURES)[0]).iter_batches(1))
    from loadcast.kernels.vectors import dense_blocks

    (matrix,) = dense_blocks(pa.Table.from_batches([first]), columns)
    settings = run.settings
    values = {
        "files": tuple(tables.names(paths.FEATURES)),
        "source": tables,
        "predictions": FolderTables(str(target)),
        "record_columns": tuple(CLASSIC.request_schema.names),
        "columns": columns,
        "model": load_model(read_saved(run.folder, [paths.FOREST_MODEL]), matrix.shape[1]),
        "split": settings.split,
        "rule": LabelRule.absolute(settings.low_threshold, settings.high_threshold),
    }
    return ScoreTask(**{**values, **changes})  # type: ignore[arg-type]


def test_without_a_test_row_there_is_an_empty_table(spark: SparkSession, hostile: runs.Run, tmp_path: Path) -> None:
    later = hostile.settings.train_end.replace(year=2030)
    test = score_features(spark, task(hostile, hostile.folder, tmp_path, split=later)).test
    assert sum(counts.sum() for counts in test.confusion.values()) == 0
    empty = in_file_order(tmp_path / paths.PREDICTIONS)
    assert empty.num_rows == 0
    assert empty.schema.remove_metadata() == schema.PREDICTIONS_SCHEMA


def test_a_server_in_two_files_is_refused(spark: SparkSession, hostile: runs.Run, tmp_path: Path) -> None:
    folder = tmp_path / "source" / paths.FEATURES
    folder.mkdir(parents=True)
    rows = pq.ParquetFile(parts(hostile.folder / paths.FEATURES)[0]).read()
    for number, part in enumerate((rows.slice(0, 100), rows.slice(100, 100))):
        pq.write_table(part, folder / f"part-{number}.parquet")
    with pytest.raises(ArtefactError, match="a server's rows in two files"):
        score_features(spark, task(hostile, tmp_path / "source", tmp_path / "target"))


def test_the_bundle_keeps_answers_by_which_a_service_checks_itself(hostile: runs.Run) -> None:
    check, features = hostile.info["selfCheck"], runs.table(hostile, paths.FEATURES)
    observed = features.filter(features.column(schema.OBSERVED))
    assert {record[schema.SERVER] for record in check["records"]} == {min(observed.column(schema.SERVER).to_pylist())}
    assert 1 < len(check["records"]) == len(check["predictions"]) == len(check["probabilities"]) <= 16
    Predictor.load(hostile.folder)  # which answers them
