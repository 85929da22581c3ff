"""The oracle's stages, checked by hand-computed examples: each says one rule of Docs/DATA.md."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

import classic
import oracle
from loadcast import schema
from oracle import rows, stages
from oracle.rows import Session

BEGIN, END = datetime(2016, 6, 1), datetime(2016, 6, 30, 23, 59, 59)
A, B = "10.0.0.1", "10.0.0.2"


def raw(
    start: str = "2016-06-01 00:00:00", server: str = A, total: str = "1", mbytes: str = "2", layout: int = 17
) -> bytes:
    """One line without its end; loads 1…5 are 11…15 and the secure load is 16."""
    body = f"{start},end,3,{mbytes},gold,GET,apache,11,12,13,14,15,16,{total}"
    text = f"web,{body},{server},client" if layout == 17 else f"{body},client,{server}"
    return text.encode()


def session(start: str, total: float | None, server: str = A, mbytes: float = 0.0) -> Session:
    return Session(server, datetime.fromisoformat(start), (total, mbytes, None, None, None, None, None, None))


def hourly_of(*members: Session) -> tuple[stages.Series, dict[str, set[datetime]]]:
    return stages.make_hourly(stages.make_buckets(members))


def run(folder: Path, *lines: bytes, split: datetime | None = datetime(2016, 6, 29), **options) -> oracle.OracleResult:
    path = folder / "request.csv"
    path.write_bytes(b"\n".join(lines) + b"\n")
    period = {"train_begin": BEGIN, "train_end": END, "test_split_start": split, "low": 100, "high": 500}
    return oracle.run([path], **{**period, "holidays": set(), **options})


# --- buckets and hourly peaks ---------------------------------------------------------------------------------------


def test_sums_are_exact_and_rounded_to_14_digits():
    assert stages.rounded_sum([0.1, 0.2, 0.3]) == stages.rounded_sum([0.3, 0.2, 0.1]) == 0.6
    assert stages.rounded_sum([0.1] * 10) == 1.0
    assert stages.rounded_sum([1e15, 1e-300, None]) == 1e15
    assert stages.rounded_sum([123456789.123456]) == 123456789.12346
    assert stages.rounded_sum([]) == 0.0


def test_a_bucket_is_five_minutes_from_its_first_second():
    starts = ["2016-06-01 00:00:00", "2016-06-01 00:04:59", "2016-06-01 00:05:00"]
    buckets = stages.make_buckets([session(start, 1.5) for start in starts])
    assert {start.minute: (b.num_session, b.sums[0]) for start, b in buckets[A].items()} == {0: (2, 3.0), 5: (1, 1.5)}


def test_the_peak_is_the_largest_bucket_with_its_own_other_sums():
    members = [session("2016-06-01 00:01:00", 4, mbytes=9), session("2016-06-01 00:56:00", 5, mbytes=1)]
    hourly, _ = hourly_of(*members)
    assert hourly[A][BEGIN][:2] == (5, 1)


def test_of_equal_peaks_the_earliest_bucket_counts_even_where_float_sums_differ():
    early = [session("2016-06-01 00:01:00", 0.6, mbytes=1)]
    late = [session("2016-06-01 00:31:00", load, mbytes=7) for load in (0.1, 0.2, 0.3)]
    hourly, _ = hourly_of(*late, *early)
    assert hourly[A][BEGIN][:2] == (0.6, 1)


def test_the_grid_is_complete_from_the_first_to_the_last_observed_hour():
    hourly, observed = hourly_of(
        session("2016-06-01 22:10:00", 1), session("2016-06-02 01:59:59", 2), session("2016-06-01 23:00:00", 0, B)
    )
    assert {hour.hour: peaks[0] for hour, peaks in hourly[A].items()} == {22: 1, 23: 0, 0: 0, 1: 2}
    assert {hour.hour for hour in observed[A]} == {22, 1}
    assert len(hourly[B]) == 1


def test_daily_means_are_over_grid_hours_alone():
    hourly, _ = hourly_of(session("2016-06-01 20:00:00", 8), session("2016-06-02 03:00:00", 6))
    daily = stages.make_daily(hourly)
    assert [(day.day, values[0]) for day, values in daily[A].items()] == [(1, 8 / 4), (2, 6 / 4)]


# --- features -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("load", "label"), [(0, 1), (100, 1), (100.5, 2), (500, 2), (500.5, 3)])
def test_a_load_equal_to_a_threshold_belongs_below_it(load, label):
    assert stages.make_label(load, 100, 500) == label


@pytest.mark.parametrize(
    ("day", "week", "weekday"),
    [
        (date(2016, 1, 3), 53, 7),
        (date(2016, 1, 4), 1, 1),
        (date(2014, 12, 28), 52, 7),
        (date(2014, 12, 29), 1, 1),
        (date(2009, 12, 31), 53, 4),
        (date(2010, 1, 1), 53, 5),
        (date(2012, 1, 1), 52, 7),
        (date(2016, 6, 30), 26, 4),
    ],
)
def test_weeks_are_iso_weeks(day, week, weekday):
    calendar = stages.make_calendar(datetime(day.year, day.month, day.day), set())
    assert (calendar["weekofyear"], calendar["dayofweek"], calendar["year"]) == (week, weekday, day.year)


def test_every_day_of_50_years_has_the_iso_week_of_the_standard_library():
    days = [date(1990, 1, 1) + timedelta(days=number) for number in range(18262)]
    assert [stages.iso_week(day) for day in days] == [day.isocalendar().week for day in days]


def test_business_hours_are_8_to_18_and_mornings_6_to_9():
    calendars = [stages.make_calendar(BEGIN + timedelta(hours=hour), set()) for hour in range(24)]
    assert [hour for hour, row in enumerate(calendars) if row["BusinessHour"]] == list(range(8, 19))
    assert [hour for hour, row in enumerate(calendars) if row["Morning"]] == [6, 7, 8, 9]


def test_a_holiday_lasts_from_its_first_to_its_last_hour():
    hours = [datetime(2016, 7, 3, 23), datetime(2016, 7, 4), datetime(2016, 7, 4, 23), datetime(2016, 7, 5)]
    assert [stages.make_calendar(hour, {date(2016, 7, 4)})["Holiday"] for hour in hours] == [0, 1, 1, 0]


def test_the_trend_is_in_years_of_365_and_a_quarter_days():
    assert stages.linear_trend(datetime(2013, 1, 1), datetime(2009, 1, 1)) == 4.0
    assert stages.linear_trend(BEGIN, BEGIN) == 0.0


def test_lags_are_hours_across_gaps_and_0_before_the_first():
    hourly, _ = hourly_of(session("2016-06-01 05:00:00", 7), session("2016-06-03 05:00:00", 9))
    lags = {hour: dict(zip(stages.LAGS, stages.make_lags(hourly[A], hour), strict=True)) for hour in hourly[A]}
    assert lags[datetime(2016, 6, 3, 5)][48] == 7
    assert lags[datetime(2016, 6, 3, 4)][48] == 0
    assert lags[datetime(2016, 6, 3, 5)][49] == 0
    assert sum(value for row in lags.values() for value in row.values()) == 7


def test_rolling_means_take_the_days_9_to_3_before_that_a_young_server_has():
    days = {datetime(2016, 6, day): (float(day),) * 8 for day in range(2, 15)}
    rolling = {day: stages.make_rolling(days, datetime(2016, 6, day))[0] for day in (2, 4, 5, 6, 11, 12, 14)}
    assert rolling == {2: 0, 4: 0, 5: 2, 6: 2.5, 11: 5, 12: 6, 14: 8}


# --- encodings ------------------------------------------------------------------------------------------------------


def test_levels_are_ordered_by_frequency_and_then_as_text():
    levels = stages.order_levels([10, 9, 9, 2, 30, 30])
    assert levels == ["30", "9", "10", "2"]
    assert [stages.index_of(value, levels) for value in (30, 2, 7)] == [0, 3, 4]


def test_an_unseen_level_has_no_slot():
    assert oracle.dense(stages.one_hot(1.0, 3)) == (0, 1, 0)
    assert oracle.dense(stages.one_hot(3.0, 3)) == (0, 0, 0)


def test_scaling_divides_by_the_sample_deviation():
    assert stages.fit_scale([1.0, 3.0]) == (2.0, 2**0.5)
    assert stages.scale(4.0, 2.0, 2**0.5) == pytest.approx(2**0.5, rel=1e-15)


@pytest.mark.parametrize("values", [[0.1, 0.1, 0.1], [5.0]])
def test_a_column_without_deviation_scales_to_0(values):
    assert stages.scale(7.0, *stages.fit_scale(values)) == 0.0


def test_encoders_are_fitted_on_observed_rows_before_the_split(tmp_path):
    lines = [raw("2016-06-01 08:00:00", A), raw("2016-06-01 11:00:00", A), raw("2016-06-01 12:00:00", B)]
    result = run(tmp_path, *lines, split=datetime(2016, 6, 1, 12))
    assert result.levels["hourofday"] == ["11", "8"]
    assert result.levels["ServerIP"] == [A]
    assert result.for_encode == ("hourofday", "Morning")
    assert result.only_indexed == tuple(name for name in stages.CATEGORICAL if name not in result.for_encode)
    frame = result.features.set_index("key")
    assert frame.loc[f"{B}_2016-06-01 12:00:00", "ServerIP_indexed"] == 1.0
    assert frame.loc[f"{A}_2016-06-01 09:00:00", "hourofday_indexed_encoded"] == (2, None)
    assert frame.loc[f"{A}_2016-06-01 08:00:00", "hourofday_indexed_encoded"] == (2, 1)
    assert "ServerIP_indexed_encoded" not in frame
    assert (frame["scaledpeakLoadLag48"] == 0).all()


def test_nothing_to_fit_on_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no training rows"):
        run(tmp_path, raw("2016-06-29 00:00:00"))


def test_without_a_split_nothing_is_encoded_and_no_rows_give_empty_frames(tmp_path):
    result = run(tmp_path, b"x", b" ", split=None)
    assert (len(result.hourly), len(result.daily), len(result.features), result.levels) == (0, 0, 0, {})
    assert result.counts["rejectedFraction"] == 1.0
    kept = ("key", "ServerIP", "SessionStartHourTime", "peakLoad", "observed", "label")
    assert tuple(result.features) == (*kept, *stages.CALENDAR, "linearTrend", *stages.SCALED_SOURCES)


def test_a_run_names_its_columns_as_the_schema_does(tmp_path):
    result = run(tmp_path, raw(), raw("2016-06-01 01:00:00"))
    assert list(result.hourly) == schema.HOURLY_SCHEMA.names
    assert list(result.daily) == schema.DAILY_SCHEMA.names
    assert list(result.rejected) == schema.REJECTED_SCHEMA.names
    assert set(classic.FEATURES_SCHEMA.names) < set(result.features)
    assert set(classic.CLASSIC.vector(result.only_indexed, result.for_encode)) < set(result.features)
    assert (schema.SESSION_COLUMNS_17, schema.SESSION_COLUMNS_16) == (rows.LAYOUT_17, rows.LAYOUT_16)
    assert (classic.CATEGORICAL_COLUMNS, schema.MEASURES) == (stages.CATEGORICAL, rows.NUMBER_COLUMNS)
    assert tuple(reason.value for reason in schema.Reason) == oracle.REASONS
    assert tuple(kind.value for kind in schema.Repair) == oracle.KINDS
