"""Calendar columns against Python's own calendar."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import pytest

import classic
from loadcast import schema
from loadcast.holiday_calendar import holiday_days
from loadcast.kernels.calendar import CalendarRule, epoch_seconds
from loadcast.kernels.features import FeatureRows
from loadcast.kernels.grid import Grid

EPOCH = datetime(1970, 1, 1)
HOUR = timedelta(hours=1)
RULE = CalendarRule(datetime(2009, 1, 1), frozenset({date(2016, 7, 4), date(1969, 12, 31), date(2100, 12, 25)}))


def calendar_columns(hours: np.ndarray, rule: CalendarRule) -> dict[str, np.ndarray]:
    """The columns that are made of an hour alone, by name."""
    first, last = (hours.min(), hours.max()) if len(hours) else (0, 0)
    slots = int(last // 24 - first // 24 + 1) * 24
    peaks = np.broadcast_to(0.0, (len(schema.PEAKS), slots))
    grid = Grid(("::1",), np.array([first]), np.array([last]), peaks, np.broadcast_to(False, slots))
    rows = FeatureRows(grid, hours - first // 24 * 24, hours - first // 24 * 24 - schema.HORIZON_HOURS, rule)
    made = (*classic.CALENDAR_COLUMNS, classic.LINEAR_TREND)
    return {
        feature.name: feature.column(rows).to_numpy() for feature in classic.CLASSIC.features if feature.name in made
    }


def columns_at(*hours: datetime, rule: CalendarRule = RULE) -> dict[str, list[float]]:
    numbers = np.array([(hour - EPOCH) // HOUR for hour in hours], dtype=np.int64)
    return {name: values.tolist() for name, values in calendar_columns(numbers, rule).items()}


def test_every_day_from_1970_to_2100_is_python_s() -> None:
    days = [date(1970, 1, 1) + timedelta(days=number) for number in range(131 * 365 + 32)]
    assert days[-1] == date(2100, 12, 31)
    hours = np.arange(len(days)) * 24 + np.arange(len(days)) % 24
    actual = calendar_columns(hours, RULE)
    wanted = {
        "year": [day.year for day in days],
        "month": [day.month for day in days],
        "dayofmonth": [day.day for day in days],
        "weekofyear": [day.isocalendar().week for day in days],
        "dayofweek": [day.isoweekday() for day in days],
        "Holiday": [int(day in RULE.holidays) for day in days],
    }
    for name, values in wanted.items():
        assert np.array_equal(actual[name], values), name


@pytest.mark.parametrize(
    ("day", "week", "weekday"),
    [
        (datetime(2015, 12, 31), 53, 4),
        (datetime(2016, 1, 1), 53, 5),
        (datetime(2016, 1, 3), 53, 7),
        (datetime(2016, 1, 4), 1, 1),
        (datetime(2016, 12, 31), 52, 6),
        (datetime(2017, 1, 1), 52, 7),
        (datetime(2018, 12, 31), 1, 1),
        (datetime(2020, 12, 31), 53, 4),
        (datetime(2021, 1, 3), 53, 7),
        (datetime(1969, 12, 28), 52, 7),
        (datetime(1, 1, 1), 1, 1),
        (datetime(9999, 12, 31), 52, 5),
    ],
)
def test_the_week_of_the_year_s_ends_is_that_of_its_thursday(day: datetime, week: int, weekday: int) -> None:
    actual = columns_at(day, day + 23 * HOUR)
    assert (actual["weekofyear"], actual["dayofweek"]) == ([week] * 2, [weekday] * 2)
    assert actual["year"] == [day.year] * 2


def test_the_hour_s_columns_are_those_of_the_hour_and_not_of_the_day() -> None:
    actual = columns_at(*(datetime(2016, 6, 15) + hour * HOUR for hour in range(24)))
    assert actual["hourofday"] == list(range(24))
    assert actual["dayofmonth"] == [15] * 24
    assert [hour for hour in range(24) if actual["BusinessHour"][hour]] == list(range(8, 19))
    assert [hour for hour in range(24) if actual["Morning"][hour]] == list(range(6, 10))


def test_each_hour_of_a_holiday_and_no_other_is_marked() -> None:
    actual = columns_at(*(datetime(2016, 7, 3, 22) + hour * HOUR for hour in range(28)))
    assert actual["Holiday"] == [0, 0, *[1] * 24, 0, 0]
    assert columns_at(datetime(1969, 12, 31, 23))["Holiday"] == [1]


def test_the_trend_is_years_since_the_training_began() -> None:
    begin = RULE.train_begin
    actual = columns_at(begin, begin + timedelta(days=365.25), begin + HOUR, begin - timedelta(days=1461))
    assert actual[classic.LINEAR_TREND] == [0, 1, 1 / 8766, -4]


def test_the_trend_counts_from_the_second_the_training_began() -> None:
    rule = CalendarRule(datetime(2016, 6, 1, 0, 30), frozenset())
    assert columns_at(datetime(2016, 6, 1, 1), rule=rule)[classic.LINEAR_TREND] == [0.5 / 8766]


def test_hours_may_come_in_any_order_and_more_than_once() -> None:
    hours = [datetime(2016, 6, day, hour) for day, hour in ((9, 5), (1, 23), (9, 5), (30, 0), (1, 0))]
    together = columns_at(*hours)
    for index, hour in enumerate(hours):
        assert {name: values[index : index + 1] for name, values in together.items()} == columns_at(hour)


def test_the_columns_are_the_contract_s_in_order() -> None:
    actual = calendar_columns(np.zeros(3, dtype=np.int64), RULE)
    assert list(actual) == [*classic.CALENDAR_COLUMNS, classic.LINEAR_TREND]
    assert {values.dtype for name, values in actual.items() if name in classic.CALENDAR_COLUMNS} == {np.dtype("int32")}
    assert all(len(values) == 0 for values in calendar_columns(np.zeros(0, dtype=np.int64), RULE).values())


@pytest.mark.parametrize("time", [EPOCH, datetime(1, 1, 1), datetime(2016, 2, 29, 12, 34, 56), datetime(9999, 12, 31)])
def test_seconds_count_from_1970_whatever_the_machine_s_zone(time: datetime) -> None:
    assert epoch_seconds(time) == (time - EPOCH) // timedelta(seconds=1)


def test_holidays_are_the_country_s_and_the_same_whatever_years_they_are_asked_with() -> None:
    wide = holiday_days("US", 2009, 2023)
    assert date(2016, 7, 4) in wide
    assert date(2016, 7, 4) not in holiday_days("NO", 2016, 2016)
    # Observed days of New Year's Day lie in the year before.
    for year in range(2009, 2024):
        assert {day for day in wide if day.year == year} == set(holiday_days("US", year, year))
