"""The pipeline against the oracle, on every column of every table: two programs written from Docs/DATA.md."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner

import classic
import oracle
import runs
import sessions
from loadcast import paths, schema
from loadcast.cli.main import main
from loadcast.storage.files import find_files

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

FILTERED = (sessions.SERVERS[1], sessions.SERVERS[4], sessions.SERVERS[5])
# The oracle adds exactly and rounds once, the pipeline adds 24 hours or 7 days one by one: up to some units of the last
# place apart.
SUM_TOLERANCE = 1e-12
# Mean and deviation are of thousands of rows, added up in another order.
SCALED_TOLERANCE = 1e-9
# What a mean of up to 24 equal or of a single value makes of it is exact in both.
EXACT_FLOATS = (*schema.PEAKS, classic.LINEAR_TREND, *classic.LAG_COLUMNS)


@dataclass(frozen=True)
class Pair:
    """A run, and what the oracle says it should be."""

    run: runs.Run
    oracle: oracle.OracleResult

    def wanted(self, name: str) -> pd.DataFrame:
        """The oracle's frame for one of the run's tables, sorted alike."""
        frames = {
            paths.FEATURES: self.oracle.features,
            paths.HOURLY: self.oracle.hourly,
            paths.DAILY: self.oracle.daily,
            paths.REJECTED: self.oracle.rejected,
        }
        keys = [key for key, _ in runs.SORTED_BY[name]]
        return frames[name].sort_values(keys).reset_index(drop=True)


def ask_oracle(run: runs.Run, filter_ip: bool) -> Pair:
    settings = run.settings
    result = oracle.run(
        [Path(file.path) for file in find_files(settings.data_file)],
        train_begin=settings.train_begin,
        train_end=settings.train_end,
        test_split_start=settings.split,
        low=settings.low_threshold,
        high=settings.high_threshold,
        holidays=set(run.calendar.holidays),
        columns=settings.columns,
        keep_servers=settings.filter_servers if filter_ip else None,
        contract=run.quality["contract"],
    )
    return Pair(run, result)


@pytest.fixture(scope="module")
def everything(hostile: runs.Run) -> Pair:
    """All servers, both layouts, told apart by the field count, under a data contract."""
    return ask_oracle(hostile, filter_ip=False)


@pytest.fixture(scope="module")
def filtered(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Three servers of a log whose columns the configuration names; without a contract."""
    folder = tmp_path_factory.mktemp("filtered")
    sessions.write_split(sessions.hostile_log(5, days=12, rows=2500, layout=16), folder / "data", 3, seed=2)
    columns = [
        name if name in (schema.SERVER, schema.SESSION_START, *schema.MEASURES) else f"unused{index}"
        for index, name in enumerate(schema.SESSION_COLUMNS_16)
    ]
    pattern = folder / "data" / "*" / "*" / "request.csv*"
    settings = runs.make_settings(pattern, folder / "output", 12, 3, columns=columns, filterServers=FILTERED)
    return ask_oracle(runs.etl(settings, filter_ip=True), filter_ip=True)


@pytest.fixture(params=["everything", "filtered"])
def pair(request: pytest.FixtureRequest) -> Pair:
    return request.getfixturevalue(request.param)


# --- schemas --------------------------------------------------------------------------------------------------------


def test_tables_have_the_contract_s_names_and_types(pair: Pair) -> None:
    actual = {name: runs.table(pair.run, name).schema for name in (paths.HOURLY, paths.DAILY, paths.REJECTED)}
    assert {name: plain_types(fields) for name, fields in actual.items()} == {
        paths.HOURLY: plain_types(schema.HOURLY_SCHEMA),
        paths.DAILY: plain_types(schema.DAILY_SCHEMA),
        paths.REJECTED: plain_types(schema.REJECTED_SCHEMA),
    }
    for name in actual:
        assert actual[name].names == list(pair.wanted(name).columns)


def test_ml_source_has_the_contract_s_names_and_types_once_each(pair: Pair) -> None:
    actual = runs.table(pair.run, paths.FEATURES).schema
    assert len(set(actual.names)) == len(actual.names)
    assert set(actual.names) == set(pair.wanted(paths.FEATURES).columns)
    types = plain_types(actual)
    for name, kind in plain_types(classic.FEATURES_SCHEMA).items():
        assert types.pop(name) == kind, name
    for name in pair.oracle.for_encode:
        assert types.pop(schema.encoded(name)).startswith("struct<type: int8"), name
    assert set(types.values()) == {"double"}


def plain_types(fields: pa.Schema) -> dict[str, str]:
    return {field.name: str(field.type) for field in fields}


# --- hourly and daily -----------------------------------------------------------------------------------------------


def test_hourly_rows_are_the_oracle_s_to_the_last_bit(pair: Pair) -> None:
    actual, wanted = runs.frame(pair.run, paths.HOURLY), pair.wanted(paths.HOURLY)
    assert len(wanted) > 500
    pd.testing.assert_frame_equal(actual, wanted, check_exact=True)


def test_daily_rows_are_the_oracle_s(pair: Pair) -> None:
    actual, wanted = runs.frame(pair.run, paths.DAILY), pair.wanted(paths.DAILY)
    assert len(wanted) > 20
    pd.testing.assert_frame_equal(actual, wanted, rtol=SUM_TOLERANCE, atol=0)


def test_statistics_lie_in_the_folder_of_their_month_sorted_in_each_file(pair: Pair) -> None:
    for kind, time in ((paths.HOURLY, schema.HOUR), (paths.DAILY, schema.DAY)):
        files = sorted((pair.run.folder / kind).rglob("*.parquet"))
        assert files
        for file in files:
            rows = pd.read_parquet(file)
            month = file.parent.relative_to(pair.run.folder / kind).as_posix()
            assert set(rows[time].dt.strftime("%Y/%m")) == {month}
            pd.testing.assert_frame_equal(rows, rows.sort_values([schema.SERVER, time], ignore_index=True))


# --- mlSource -------------------------------------------------------------------------------------------------------


def test_calendar_labels_trend_and_lags_are_the_oracle_s_to_the_last_bit(pair: Pair) -> None:
    names = [name for name in classic.FEATURES_SCHEMA.names if name not in classic.ROLLING_COLUMNS]
    actual, wanted = runs.frame(pair.run, paths.FEATURES)[names], pair.wanted(paths.FEATURES)[names]
    pd.testing.assert_frame_equal(actual, wanted, check_exact=True)


def test_rolling_means_are_the_oracle_s(pair: Pair) -> None:
    names = list(classic.ROLLING_COLUMNS)
    actual, wanted = runs.frame(pair.run, paths.FEATURES)[names], pair.wanted(paths.FEATURES)[names]
    assert (wanted > 0).any().all()
    pd.testing.assert_frame_equal(actual, wanted, rtol=SUM_TOLERANCE, atol=0)


def test_every_lag_is_seen_to_work(everything: Pair) -> None:
    wanted = everything.wanted(paths.FEATURES)
    assert (wanted[list(classic.LAG_COLUMNS)] > 0).any().all()


def test_indexed_columns_are_the_oracle_s(pair: Pair) -> None:
    names = [schema.indexed(name) for name in classic.CATEGORICAL_COLUMNS]
    actual, wanted = runs.frame(pair.run, paths.FEATURES)[names], pair.wanted(paths.FEATURES)[names]
    pd.testing.assert_frame_equal(actual, wanted, check_exact=True)


def test_one_hot_slots_are_the_oracle_s(pair: Pair) -> None:
    actual, wanted = runs.table(pair.run, paths.FEATURES), pair.wanted(paths.FEATURES)
    for name in pair.oracle.for_encode:
        slots = [slots_of(vector) for vector in actual.column(schema.encoded(name)).to_pylist()]
        assert slots == wanted[schema.encoded(name)].tolist(), name


def slots_of(vector: dict[str, Any]) -> tuple[int, int | None]:
    """A saved Spark vector as the oracle writes it: (number of slots, the one that holds 1)."""
    assert vector["type"] == 0
    assert (vector["indices"] == []) == (vector["values"] == [])
    assert vector["values"] in ([], [1.0])
    return vector["size"], vector["indices"][0] if vector["indices"] else None


def test_scaled_columns_are_the_oracle_s(pair: Pair) -> None:
    names = [schema.scaled(name) for name in classic.HISTORY_COLUMNS]
    actual, wanted = runs.frame(pair.run, paths.FEATURES)[names], pair.wanted(paths.FEATURES)[names]
    for name in names:
        np.testing.assert_allclose(actual[name], wanted[name], rtol=SCALED_TOLERANCE, atol=SCALED_TOLERANCE)


def test_a_column_that_never_varies_is_scaled_to_zero(filtered: Pair) -> None:
    # No server of a log of twelve days has an hour 730 hours before.
    name = f"{schema.PEAK_LOAD}Lag730"
    actual = runs.frame(filtered.run, paths.FEATURES)
    assert (actual[name] == 0).all()
    assert (actual[schema.scaled(name)] == 0).all()


def test_info_names_the_columns_that_are_only_indexed_and_those_that_are_encoded(pair: Pair) -> None:
    info = pair.run.info
    assert info["columnOnlyIndexed"] == list(pair.oracle.only_indexed)
    assert info["columnForEncode"] == list(pair.oracle.for_encode)
    assert "year" in pair.oracle.only_indexed


# --- rejected rows and counts ---------------------------------------------------------------------------------------


def test_rejected_rows_are_the_oracle_s(pair: Pair) -> None:
    actual, wanted = runs.frame(pair.run, paths.REJECTED), pair.wanted(paths.REJECTED)
    reasons = {reason.value for reason in schema.Reason}
    if not pair.run.settings.contract:
        reasons.remove(schema.Reason.CONTRACT.value)
    assert set(wanted[schema.REJECTED_REASON]) == reasons
    pd.testing.assert_frame_equal(actual, wanted)


def test_quality_counts_are_the_oracle_s(pair: Pair) -> None:
    actual, wanted = pair.run.quality, pair.oracle.counts
    for name in ("rows", "blank", "good", "outsidePeriod", "otherServer", "rejectedFraction"):
        assert actual[name] == wanted[name], name
    assert actual["rejectedByReason"] == without_zeros(wanted["rejected"])
    by_column = {name: without_zeros(kinds) for name, kinds in wanted["repaired"].items()}
    assert actual["repairedByColumn"] == without_zeros(by_column)
    assert actual["repaired"] == sum(sum(kinds.values()) for kinds in by_column.values())
    assert actual["rows"] == actual["good"] + actual["outsidePeriod"] + actual["otherServer"] + actual["rejected"]


def test_breaches_of_the_contract_are_the_oracle_s(pair: Pair) -> None:
    actual, wanted = pair.run.quality, without_zeros(pair.oracle.counts["breaches"])
    assert set(wanted) == set(pair.run.settings.contract)
    assert actual["breachesByColumn"] == wanted
    assert actual["breaches"] == sum(wanted.values())
    by_file = [file["breachesByColumn"] for file in actual["files"]]
    assert {name: sum(file.get(name, 0) for file in by_file) for name in wanted} == wanted


def test_the_page_shows_what_broke_the_contract(everything: Pair) -> None:
    result = CliRunner().invoke(main, ["quality", str(everything.run.settings.output)])
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()]
    page = {words[0]: words[1:] for words in lines if words and words[0] in sessions.CONTRACT}
    wanted = everything.oracle.counts
    assert page["MbytesTransferred"] == ["0.2", "60", "counted", f"{wanted['breaches']['MbytesTransferred']:,}"]
    assert page["SubService_3_Load"] == ["0.5", "199", "rejected", f"{wanted['breaches']['SubService_3_Load']:,}"]
    (reason,) = [words for words in lines if words[:1] == ["contract"]]
    assert reason[1] == f"{wanted['rejected']['contract']:,}"


def test_what_is_said_of_time_servers_and_files_is_the_oracle_s(pair: Pair) -> None:
    actual, wanted = pair.run.quality, pair.oracle.quality
    assert {name: actual[name] for name in wanted} == wanted
    assert actual["servers"]["number"] > 2
    assert actual["servers"]["hoursWithoutData"] > 0
    assert actual == json.loads((pair.run.folder / paths.QUALITY).read_text())


def without_zeros(counts: dict[str, Any]) -> dict[str, Any]:
    return {name: count for name, count in counts.items() if count}


def test_only_the_configured_servers_are_there_under_filter_ip(filtered: Pair) -> None:
    assert set(runs.frame(filtered.run, paths.HOURLY)[schema.SERVER]) == set(FILTERED)
    assert filtered.run.quality["otherServer"] > 0
    assert filtered.run.quality["filterIp"] is True
