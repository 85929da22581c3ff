"""The statistics of a month to be scored, beside those of the months before."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pytest

import runs
import sessions
from loadcast import paths, schema
from loadcast.errors import ConfigError
from loadcast.serving.statistics import open_statistics, scoring_features
from loadcast.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

JULY = datetime(2016, 7, 1)
# Days after the seam at which features look back into both months.
BEGINS = (datetime(2016, 7, 1), datetime(2016, 7, 2, 7), datetime(2016, 7, 5), datetime(2016, 7, 12, 13))


@pytest.fixture(scope="module")
def june(spark: SparkSession, hostile: runs.Run, tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    """ETL on the June of the hostile logs alone."""
    output = tmp_path_factory.mktemp("months") / "output"
    changes = {"trainEnd": "2016-06-30 23:59:59", "maxRejectedFraction": 1.0, "contract": sessions.CONTRACT}
    return runs.etl(runs.make_settings(hostile.settings.data_file, output, 30, 3, **changes))


@pytest.fixture(scope="module")
def june_files(june: runs.Run) -> dict[str, bytes]:
    """What June's run held, before another one took its place."""
    return runs.file_bytes(june.folder)


@pytest.fixture(scope="module")
def false_july(june: runs.Run, june_files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    """Statistics of another July, published beside that June."""
    log = tmp_path_factory.mktemp("false") / "july.csv"
    log.write_bytes(b"".join(sessions.hostile_log(3, servers=3, days=31, rows=300, dirty=0, begin=JULY)))
    return runs.stats(july_settings(june, str(log), datetime(2016, 7, 31, 23, 59, 59)))


@pytest.fixture(scope="module")
def july(hostile: runs.Run, june: runs.Run, false_july: runs.Run, false_hourly: pd.DataFrame) -> runs.Run:
    """Statistics of the right July, published in place of the other."""
    return runs.stats(july_settings(june, hostile.settings.data_file, hostile.settings.train_end))


@pytest.fixture(scope="module")
def false_hourly(false_july: runs.Run) -> pd.DataFrame:
    return runs.frame(false_july, paths.HOURLY)


def july_settings(june: runs.Run, data: str, end: datetime) -> Settings:
    period = {"train_begin": JULY, "train_end": end, "test_split_start": None}
    return june.settings.model_copy(update={**period, "data_file": data})


def test_statistics_by_another_clock_are_refused(july: runs.Run) -> None:
    settings = july.settings.model_copy(update={"timezone": "Europe/Oslo"})
    with pytest.raises(ConfigError, match="timezone: found 'Europe/Oslo', wanted 'UTC' as in the run"):
        runs.stats(settings)


def in_july(rows: pd.DataFrame, time: str = schema.HOUR) -> pd.DataFrame:
    return rows[rows[time] >= JULY].reset_index(drop=True)


def in_june(rows: pd.DataFrame, time: str = schema.HOUR) -> pd.DataFrame:
    return rows[rows[time] < JULY].reset_index(drop=True)


def test_the_old_months_stay_as_they_were(june_files: dict[str, bytes], july: runs.Run) -> None:
    actual = runs.file_bytes(july.folder)
    kept = {name for name in june_files if name.startswith((f"{paths.HOURLY}/2016/06", f"{paths.DAILY}/2016/06"))}
    assert len(kept) >= 2
    assert {name: actual[name] for name in kept} == {name: june_files[name] for name in kept}


def test_everything_but_statistics_and_the_account_of_the_input_stays_as_it_was(
    june_files: dict[str, bytes], july: runs.Run
) -> None:
    def rest(files: dict[str, bytes]) -> dict[str, bytes]:
        statistics = (paths.HOURLY, paths.DAILY, paths.QUALITY, paths.REJECTED, paths.COMPLETE)
        return {name: data for name, data in files.items() if not name.startswith(statistics)}

    assert rest(runs.file_bytes(july.folder)) == rest(june_files)
    assert json.loads((july.folder / paths.QUALITY).read_text()) == july.quality
    assert runs.table(july, paths.REJECTED).num_rows == july.quality["rejected"]


def test_a_month_computed_again_is_replaced_not_doubled(false_hourly: pd.DataFrame, july: runs.Run) -> None:
    actual = in_july(runs.frame(july, paths.HOURLY))
    assert not actual[schema.KEY].duplicated().any()
    assert len(in_july(false_hourly)) > 300
    # The other July goes on to the month's end, this one stops before.
    assert false_hourly[schema.HOUR].max() >= datetime(2016, 7, 31)
    assert actual[schema.HOUR].max() <= july.settings.train_end


def test_the_month_s_hours_are_those_of_one_run_over_both_months(hostile: runs.Run, july: runs.Run) -> None:
    """Apart from the seam: a run knows the grid of its own period only.

    A server's July begins with its first session of July, where a run over both months has hours without sessions from
    the first of July on (and until the end of June after its last session of that month).
    """
    whole, actual = in_july(runs.frame(hostile, paths.HOURLY)), in_july(runs.frame(july, paths.HOURLY))
    first = actual.groupby(schema.SERVER)[schema.HOUR].min()
    # A server whose last session was in June is in neither.
    assert set(first.index) == set(whole[schema.SERVER])
    seam = whole[schema.HOUR] < whole[schema.SERVER].map(first)
    assert seam.sum() >= 10
    assert (whole.loc[seam, list(schema.PEAKS)] == 0).all().all()
    assert not whole.loc[seam, schema.OBSERVED].any()
    pd.testing.assert_frame_equal(actual, whole[~seam].reset_index(drop=True), check_exact=True)


def test_the_month_s_days_are_those_of_one_run_but_for_the_day_at_the_seam(hostile: runs.Run, july: runs.Run) -> None:
    """The first day's mean is over the hours that the grid has: fewer, where July begins with the first session."""
    whole = in_july(runs.frame(hostile, paths.DAILY), schema.DAY)
    actual = in_july(runs.frame(july, paths.DAILY), schema.DAY)
    both = actual.merge(whole, on=[schema.SERVER, schema.DAY], suffixes=("", "Whole"))
    assert len(both) == len(actual)
    first = actual.groupby(schema.SERVER)[schema.DAY].transform("min")
    later = actual[schema.DAY] > first
    assert later.sum() > 50
    for name in schema.DAILY:
        assert (both.loc[later, name] == both.loc[later, f"{name}Whole"]).all()


@pytest.mark.parametrize("begin", BEGINS, ids=str)
def test_features_across_the_seam_are_those_of_one_run_over_both_months(
    hostile: runs.Run, july: runs.Run, begin: datetime
) -> None:
    wanted = built(hostile, begin)
    actual = built(july, begin)
    assert len(wanted) >= 5
    assert set(actual) == set(wanted)
    for server, table in wanted.items():
        assert runs.same_bits(actual[server], table) == [], server


def built(run: runs.Run, begin: datetime) -> dict[str, pa.Table]:
    """Features of each server's 48 hours from `begin`."""
    sources = scoring_features(open_statistics(Path(run.settings.output)), None, begin)
    return {source.server: source.table() for source in sources}
