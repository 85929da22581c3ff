"""What goes wrong is said in one message, and what was published before stays; runs follow one another in order."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import runs
import sessions
from loadcast import paths, schema
from loadcast.errors import ArtefactError, ConfigError, InputError, LoadcastError, QualityError
from loadcast.secrets import shown
from loadcast.serving.predictor import Predictor
from loadcast.settings import Settings
from loadcast.storage.publish import open_run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

DAYS, TEST_DAYS = 4, 1
FEW_TREES = {"numTrees": 3, "maxDepth": 3}


@pytest.fixture(scope="module")
def clean_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two servers' four days without dirt."""
    path = tmp_path_factory.mktemp("clean") / "request.csv"
    path.write_bytes(b"".join(sessions.hostile_log(1, servers=2, days=DAYS, rows=400, dirty=0)))
    return path


@pytest.fixture(scope="module")
def good(spark: SparkSession, clean_log: Path, tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    """A run of ETL on it."""
    return runs.etl(settings_for(clean_log, tmp_path_factory.mktemp("good") / "output"))


def settings_for(data: Path | str, output: Path | str, **changes: Any) -> Settings:
    return runs.make_settings(data, Path(output), DAYS, TEST_DAYS, **{"forest": FEW_TREES, **changes})


def state_of(output: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """All files and links of an output folder."""
    links = {str(path.relative_to(output)): str(path.readlink()) for path in output.rglob("*") if path.is_symlink()}
    return runs.file_bytes(output), links


def assert_fails_and_publishes_nothing(good: runs.Run, error: type[LoadcastError], run: Any) -> str:
    """Run something that fails on the output of a good run; gives the message."""
    output = Path(good.settings.output)
    before = state_of(output)
    with pytest.raises(error) as caught:
        run()
    assert type(caught.value) is error
    assert state_of(output) == before
    assert folders_of_runs(output) == {good.folder}
    return str(caught.value)


# --- input that cannot be used --------------------------------------------------------------------------------------


def test_too_many_rejected_rows_fail_with_the_counts_by_reason(good: runs.Run, tmp_path: Path) -> None:
    log = tmp_path / "request.csv"
    log.write_bytes(b"".join(sessions.hostile_log(2, servers=2, days=DAYS, rows=400)))
    settings = settings_for(log, good.settings.output, maxRejectedFraction=0.05, contract=sessions.CONTRACT)
    message = assert_fails_and_publishes_nothing(good, QualityError, lambda: runs.etl(settings))
    for reason in schema.Reason:
        assert f"{reason.value} " in message
    assert "maxRejectedFraction 5.0%" in message
    assert str(log) in message


def test_as_many_rejected_rows_as_allowed_do_not_fail(clean_log: Path, tmp_path: Path) -> None:
    log = tmp_path / "request.csv"
    rows = clean_log.read_bytes().splitlines()
    log.write_bytes(b"\n".join([*rows, *[b"garbage"] * len(rows)]))
    run = runs.etl(settings_for(log, tmp_path / "output", maxRejectedFraction=0.5))
    assert run.quality["rejectedFraction"] == 0.5


def test_no_file_is_an_input_error_that_names_the_pattern(good: runs.Run, tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "*" / "request.csv", good.settings.output)
    message = assert_fails_and_publishes_nothing(good, InputError, lambda: runs.etl(settings))
    assert f"{settings.data_file} matches no file" in message


def test_no_row_in_the_period_is_an_input_error_that_says_where_the_rows_are(good: runs.Run, clean_log: Path) -> None:
    settings = settings_for(
        clean_log,
        good.settings.output,
        trainBegin="2017-06-01 00:00:00",
        trainEnd="2017-06-30 00:00:00",
        testSplitStart="2017-06-29 00:00:00",
    )
    message = assert_fails_and_publishes_nothing(good, InputError, lambda: runs.etl(settings))
    assert f"{good.quality['rows']:,} lie outside trainBegin … trainEnd" in message


def test_a_corrupt_compressed_file_is_a_one_line_input_error_that_names_it(
    good: runs.Run, clean_log: Path, tmp_path: Path
) -> None:
    data = bytearray(gzip.compress(clean_log.read_bytes()))
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(clean_log.read_bytes()))
    (tmp_path / "b.csv.gz").write_bytes(data)
    settings = settings_for(tmp_path / "*.csv.gz", good.settings.output)
    message = assert_fails_and_publishes_nothing(good, InputError, lambda: runs.etl(settings))
    assert message.startswith(f"Cannot read {tmp_path / 'b.csv.gz'}: ")
    assert "\n" not in message


def test_a_cut_compressed_file_of_a_hostile_name_is_an_input_error_with_the_whole_name(
    good: runs.Run, clean_log: Path, tmp_path: Path
) -> None:
    log = tmp_path / "name with 'quotes'\n: and a line break.csv.gz"
    log.write_bytes(gzip.compress(clean_log.read_bytes())[:-200])
    settings = settings_for(log, good.settings.output)
    message = assert_fails_and_publishes_nothing(good, InputError, lambda: runs.etl(settings))
    assert message.startswith(f"Cannot read {shown(log)}: ")
    assert message.endswith("Replace the file, or leave it out of dataFile.")


def test_a_filter_of_absent_servers_is_an_input_error_that_counts_the_others_rows(
    good: runs.Run, clean_log: Path
) -> None:
    settings = settings_for(clean_log, good.settings.output, filterServers=["198.51.100.1"])
    message = assert_fails_and_publishes_nothing(good, InputError, lambda: runs.etl(settings, filter_ip=True))
    assert f"{good.quality['good']:,} belong to servers not in filterServers" in message


def test_an_empty_training_period_is_an_input_error(good: runs.Run, clean_log: Path) -> None:
    settings = settings_for(
        clean_log, good.settings.output, trainBegin="2016-05-01 00:00:00", testSplitStart="2016-05-31 00:00:00"
    )
    message = assert_fails_and_publishes_nothing(good, InputError, lambda: runs.etl(settings))
    assert "before testSplitStart" in message


def test_a_training_period_of_one_hour_is_an_input_error(good: runs.Run, clean_log: Path) -> None:
    log = clean_log.with_name("one_server.csv")
    server = sessions.SERVERS[0].encode()
    log.write_bytes(b"".join(row for row in clean_log.read_bytes().splitlines(True) if server in row))
    settings = settings_for(log, good.settings.output, testSplitStart="2016-06-01 01:00:00")
    message = assert_fails_and_publishes_nothing(good, InputError, lambda: runs.etl(settings))
    assert "no two observed hours before testSplitStart" in message


# --- training at the wrong time -------------------------------------------------------------------------------------


def test_training_before_etl_says_to_run_etl(spark: SparkSession, clean_log: Path, tmp_path: Path) -> None:
    from loadcast.pipeline.run import run_train

    with pytest.raises(ArtefactError, match=r"Run python Code/etl\.py CONFIG first"):
        run_train(settings_for(clean_log, tmp_path / "output"), runs.OPTIONS)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lowThreshold", 99.0),
        ("highThreshold", 501.0),
        ("labelRule", "quantile"),
        ("trainBegin", "2016-05-31 00:00:00"),
        ("testSplitStart", "2016-06-03 00:00:00"),
    ],
)
def test_training_with_other_dates_or_thresholds_than_etl_names_the_key(
    good: runs.Run, clean_log: Path, key: str, value: Any
) -> None:
    other = runs.Run(settings_for(clean_log, good.settings.output, **{key: value}), good.folder, {}, {})
    message = assert_fails_and_publishes_nothing(good, ConfigError, lambda: runs.train(other))
    assert message.startswith(f"{key}: ETL ran with ")


# --- one class, and run after run -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_class(spark: SparkSession, clean_log: Path, tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    """Training where every hour is low."""
    output = tmp_path_factory.mktemp("one_class") / "output"
    return runs.train(runs.etl(settings_for(clean_log, output, lowThreshold=1e9, highThreshold=2e9)))


def test_training_with_only_one_class_forecasts_it(one_class: runs.Run) -> None:
    predictions = runs.frame(one_class, paths.PREDICTIONS)
    assert len(predictions) > 20
    assert set(predictions[schema.PREDICTION]) == {1.0}
    names = list(schema.PROBABILITY_COLUMNS.values())
    assert (predictions[names] == [1.0, 0.0, 0.0]).all().all()
    assert one_class.metrics["test"]["accuracy"] == one_class.metrics["test"]["macroF1"] == 1.0
    assert one_class.metrics["test"]["logLoss"] == 0.0


def test_a_forest_of_only_one_class_can_be_served(one_class: runs.Run) -> None:
    answers = Predictor.load(one_class.settings.output).predict(runs.test_rows(one_class)).values()
    assert {answer[schema.LABEL] for answer in answers} == {"low"}
    assert all(answer["probability"] == {"low": 1.0, "medium": 0.0, "high": 0.0} for answer in answers)


def test_the_two_newest_runs_and_models_are_kept(one_class: runs.Run) -> None:
    output = Path(one_class.settings.output)
    month = one_class.settings.model_copy(update={"test_split_start": None})

    statistics = [runs.stats(month).folder for _ in range(2)]
    assert folders_of_runs(output) == set(statistics)
    # The statistics of a new month carry the model along.
    assert open_run(output) == open_run(output, paths.MODEL) == statistics[-1]

    untrained = [runs.etl(one_class.settings).folder for _ in range(2)]
    assert folders_of_runs(output) == {*statistics, *untrained}
    assert open_run(output) == untrained[-1]
    assert open_run(output, paths.MODEL) == statistics[-1]
    assert Predictor.load(output).info.low_threshold == 1e9


def folders_of_runs(output: Path) -> set[Path]:
    return {path.resolve() for path in (output / paths.RUNS).iterdir()}


# --- the bundle's checksums -----------------------------------------------------------------------------------------


def test_info_has_the_right_sha_256_of_every_file_of_the_bundle(hostile: runs.Run) -> None:
    actual = json.loads((hostile.folder / paths.INFO).read_text())["files"]
    wanted = {
        name: hashlib.sha256(data).hexdigest()
        for name, data in runs.file_bytes(hostile.folder).items()
        if name.split("/")[0] in (*paths.BUNDLE_FOLDERS, paths.METRICS) and not name.endswith("_SUCCESS")
    }
    assert len(wanted) > 10
    assert actual == wanted
