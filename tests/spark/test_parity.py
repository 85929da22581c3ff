"""Train/serve parity: what the client builds is what ETL built, and what the service answers is what Spark answers."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import classic
import runs
from loadcast import paths, schema
from loadcast.kernels.encode import Encoders
from loadcast.models.forest import Forest
from loadcast.serving.bundle import Bundle, load_bundle
from loadcast.serving.predictor import Predictor
from loadcast.serving.request_contract import RequestContract
from loadcast.serving.statistics import open_statistics, scoring_features
from reference import feature_matrix

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

STRETCH = timedelta(hours=schema.HORIZON_HOURS)
SYNTHETIC_ROWS = 120_000
#: A level of each categorical column that no row of the logs has.
UNSEEN = {
    "dayofweek": 0,
    schema.SERVER: "192.0.2.77",
    "year": 2017,
    "month": 2,
    "weekofyear": 53,
    "dayofmonth": 0,
    "hourofday": 24,
    "Holiday": 2,
    "BusinessHour": 2,
    "Morning": 2,
}


# --- features -------------------------------------------------------------------------------------------------------


def begins(run: runs.Run, offset_h: int) -> list[datetime]:
    """Starts of 48-hour stretches that cover the test period from `offset_h` hours after its start on."""
    begin, end = run.settings.split + timedelta(hours=offset_h), run.settings.train_end
    return [begin + number * STRETCH for number in range(-(-(end - begin) // STRETCH))]


def rows_of(rows: pa.Table, server: str, begin: datetime) -> pa.Table:
    """The rows of a server and stretch, with the columns that a client builds."""
    hour = rows.column(schema.HOUR)
    inside = pc.and_(pc.greater_equal(hour, begin), pc.less(hour, begin + STRETCH))
    return rows.filter(pc.and_(inside, pc.equal(rows.column(schema.SERVER), server))).select(
        classic.SCORING_SCHEMA.names
    )


def in_wanted_hours(built: pa.Table, wanted: pa.Table) -> pa.Table:
    """The built rows of the hours that ETL has: the client goes on after a server's last hour."""
    return built.filter(pc.is_in(built.column(schema.HOUR), value_set=wanted.column(schema.HOUR).combine_chunks()))


@pytest.mark.parametrize("offset_h", [0, 17])
def test_client_built_features_are_etl_s_for_every_test_row(hostile: runs.Run, offset_h: int) -> None:
    rows = runs.test_rows(hostile)
    statistics = open_statistics(Path(hostile.settings.output))
    compared = unknown = 0
    for begin in begins(hostile, offset_h):
        sources = {source.server: source for source in scoring_features(statistics, None, begin)}
        for server in pc.unique(rows.column(schema.SERVER)).to_pylist():
            wanted = rows_of(rows, server, begin)
            if server in sources:
                source = sources[server]
                built = source.table()
                actual = in_wanted_hours(built, wanted)
                assert runs.same_bits(actual, wanted.cast(classic.SCORING_SCHEMA)) == [], (server, begin)
                compared += wanted.num_rows
            else:
                unknown += nothing_known(wanted)
    skipped = pc.sum(pc.less(rows.column(schema.HOUR), hostile.settings.split + timedelta(hours=offset_h))).as_py()
    assert compared + unknown + skipped == rows.num_rows
    assert compared > 500


def nothing_known(wanted: pa.Table) -> int:
    """Rows of a server without a session before the forecast: no client can know of it, and no feature saw any load."""
    assert all(pc.max(wanted.column(name)).as_py() in (0, None) for name in classic.HISTORY_COLUMNS)
    return wanted.num_rows


def test_all_of_the_statistics_give_the_same_features_as_the_months_a_client_reads(hostile: runs.Run) -> None:
    rows, hourly, daily = runs.test_rows(hostile), runs.table(hostile, paths.HOURLY), runs.table(hostile, paths.DAILY)
    begin = hostile.settings.split + STRETCH
    compared = 0
    known = hourly.filter(pc.less(hourly.column(schema.HOUR), begin))
    for server in pc.unique(known.column(schema.SERVER)).to_pylist():
        own = [part.filter(pc.equal(part.column(schema.SERVER), server)) for part in (hourly, daily)]
        wanted = rows_of(rows, server, begin)
        built = classic.future_features(*own, begin, schema.HORIZON_HOURS, hostile.calendar)
        assert runs.same_bits(in_wanted_hours(built, wanted), wanted.cast(classic.SCORING_SCHEMA)) == [], server
        compared += wanted.num_rows
    assert compared > 150


def test_records_lose_nothing_on_their_way_to_the_service(hostile: runs.Run) -> None:
    statistics = open_statistics(Path(hostile.settings.output))
    begin = hostile.settings.split
    for source in scoring_features(statistics, None, begin):
        table = RequestContract(classic.CLASSIC).read_records(list(source.records()))
        built = source.table()
        assert runs.same_bits(table, built.select(table.column_names)) == []


# --- answers --------------------------------------------------------------------------------------------------------


def test_the_predictor_answers_as_spark_did_for_every_test_row(hostile: runs.Run) -> None:
    wanted = runs.table(hostile, paths.PREDICTIONS)
    answers = list(Predictor.load(hostile.settings.output).predict(runs.test_rows(hostile)).values())
    assert [answer[schema.SERVER] for answer in answers] == wanted.column(schema.SERVER).to_pylist()
    hours = [runs.text(hour) for hour in wanted.column(schema.HOUR).to_pylist()]
    assert [answer[schema.HOUR] for answer in answers] == hours
    assert [answer[schema.PREDICTION] for answer in answers] == wanted.column(schema.PREDICTION).to_pylist()
    for label, name in schema.CLASS_NAMES.items():
        shares = [answer["probability"][name] for answer in answers]
        # The same trees added up in the same order: not only within 1e-9, but the same bits.
        assert shares == wanted.column(schema.PROBABILITY_COLUMNS[label]).to_pylist()


@pytest.fixture(scope="module")
def bundle(hostile: runs.Run) -> Bundle:
    return load_bundle(hostile.folder)


@pytest.fixture(scope="module")
def synthetic(hostile: runs.Run, bundle: Bundle) -> pa.Table:
    """Rows that put together, at random, values of the run, unseen levels, and numbers on and beside the splits."""
    rng = np.random.default_rng(6)
    pool = runs.table(hostile, paths.FEATURES)
    columns = {}
    for field in classic.SCORING_SCHEMA:
        values = pool.column(field.name).to_numpy()[rng.integers(0, pool.num_rows, SYNTHETIC_ROWS)]
        if field.name in UNSEEN:
            values = np.where(rng.random(SYNTHETIC_ROWS) < 0.1, UNSEEN[field.name], values)
        columns[field.name] = values
    for index, (name, mean, scale) in enumerate(numbers(bundle.encoders)):
        feature = bundle.model.forest.n_features - len(classic.HISTORY_COLUMNS) - 1 + index
        edges = edge_values(thresholds(bundle.model.forest, feature), mean, scale)
        if len(edges):
            chosen = rng.random(SYNTHETIC_ROWS) < 0.4
            columns[name] = np.where(chosen, rng.choice(edges, SYNTHETIC_ROWS), columns[name])
    return pa.table(columns).cast(classic.SCORING_SCHEMA)


def numbers(encoders: Encoders) -> list[tuple[str, float, float]]:
    """The forest's numbers in order: name, and the mean and scale it is scaled with."""
    history = zip(classic.HISTORY_COLUMNS, encoders.mean.tolist(), encoders.scale.tolist(), strict=True)
    return [(classic.LINEAR_TREND, 0.0, 1.0), *history]


def thresholds(forest: Forest, feature: int) -> np.ndarray:
    at = np.isfinite(forest.threshold) & (forest.feature == feature) & (forest.categories == 0)
    return np.unique(forest.threshold[at])


def edge_values(splits: np.ndarray, mean: float, scale: float) -> np.ndarray:
    """Raw values whose scaled form is a split, and their neighbours among the doubles on both sides."""
    if not len(splits) or not scale:
        return np.zeros(0)
    near = [splits / scale + mean]
    for step in (-np.inf, np.inf):
        value = near[0]
        for _ in range(8):
            value = np.nextafter(value, step)
            near.append(value)
    candidates = np.stack(near)
    exact = candidates[(candidates - mean) * scale == splits]
    return np.unique([exact, np.nextafter(exact, -np.inf), np.nextafter(exact, np.inf)])


def test_the_synthetic_rows_hold_what_they_promise(synthetic: pa.Table, bundle: Bundle) -> None:
    assert synthetic.num_rows >= 100_000
    for name, level in UNSEEN.items():
        assert str(level) not in bundle.encoders.levels[name]
        assert pc.sum(pc.equal(synthetic.column(name), level)).as_py() > 1000, name
    matrix = feature_matrix(synthetic, bundle.encoders)
    on = beside = features = 0
    for feature in range(matrix.shape[1]):
        splits = thresholds(bundle.model.forest, feature)
        hits = int(np.isin(matrix[:, feature], splits).sum())
        on += hits
        features += hits > 0
        beside += sum(int(np.isin(matrix[:, feature], np.nextafter(splits, to)).sum()) for to in (-np.inf, np.inf))
    assert features >= 15
    assert on > 100_000
    assert beside > 10_000


def test_spark_and_the_predictor_answer_alike_on_synthetic_rows(
    spark: SparkSession, hostile: runs.Run, bundle: Bundle, synthetic: pa.Table, tmp_path: Path
) -> None:
    wanted_classes, wanted = spark_answers(spark, hostile, synthetic, tmp_path)
    actual = bundle.model.predict(feature_matrix(synthetic, bundle.encoders))
    assert np.array_equal(actual.labels, wanted_classes)
    # Asked for are 1e-9; the bits are the same.
    assert np.array_equal(actual.probabilities, wanted)
    assert np.unique(wanted_classes).tolist() == [1, 2, 3]


def spark_answers(spark: SparkSession, run: runs.Run, rows: pa.Table, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Classes (n,) and probabilities (n, 3) that Spark ML's own saved models give, in the rows' order."""
    from pyspark.ml import PipelineModel
    from pyspark.ml.classification import RandomForestClassificationModel
    from pyspark.ml.feature import StandardScalerModel, VectorAssembler
    from pyspark.ml.functions import vector_to_array

    pq.write_table(rows.append_column("row", pa.array(np.arange(rows.num_rows))), folder / "rows.parquet")
    frame = spark.read.parquet(str(folder / "rows.parquet"))
    for name in (paths.STRING_INDEX_MODEL, paths.ONE_HOT_MODEL):
        frame = PipelineModel.load(str(run.folder / name)).transform(frame)
    frame = VectorAssembler(inputCols=list(classic.HISTORY_COLUMNS), outputCol="history").transform(frame)
    frame = StandardScalerModel.load(str(run.folder / paths.SCALE_MODEL)).transform(frame)
    scaled = [schema.scaled(name) for name in classic.HISTORY_COLUMNS]
    others = [name for name in run.info["featureColumns"] if name not in scaled]
    output = StandardScalerModel.load(str(run.folder / paths.SCALE_MODEL)).getOutputCol()
    frame = VectorAssembler(inputCols=[*others, output], outputCol="features").transform(frame)
    answers = RandomForestClassificationModel.load(str(run.folder / paths.FOREST_MODEL)).transform(frame)
    answers = answers.select("row", "prediction", vector_to_array("probability").alias("p"))
    answers.write.parquet(str(folder / "answers.parquet"))
    actual = pq.read_table(folder / "answers.parquet").sort_by("row")
    shares = np.stack(actual.column("p").to_numpy(zero_copy_only=False))
    return actual.column("prediction").to_numpy(), shares[:, list(schema.CLASS_NAMES)]
