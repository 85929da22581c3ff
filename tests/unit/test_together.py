"""Many servers' rows made at once are those of each alone, bit for bit; and no more of them wait than are wanted."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from bench.fleet import hourly_statistics
from loadcast import schema
from loadcast.errors import InputError
from loadcast.holiday_calendar import holiday_days
from loadcast.kernels.calendar import CalendarRule
from loadcast.kernels.features import CLASSIC, DIRECT, EXTENDED, FeatureRows, FeatureSet, feature_table, hours_together
from loadcast.kernels.grid import Grid
from loadcast.kernels.labels import ABSOLUTE, Bounds, LabelRule
from loadcast.serving import feature_source
from loadcast.serving.statistics import open_statistics, scoring_features
from loadcast.serving.together import Together
from published import publish

SETS = [CLASSIC, DIRECT, EXTENDED]
BEGIN, DAYS = datetime(2016, 4, 1), 70
CALENDAR = CalendarRule(BEGIN, frozenset(holiday_days("US", 2016, 2016)))
SERVERS = 11


def named(features: FeatureSet) -> str:
    return features.name


def short_grid(random: np.random.Generator, number: int) -> Grid:
    """A server with a few days of hours, which begin and end anywhere."""
    first = 17_000 * 24 + int(random.integers(0, 60))
    last = first + int(random.integers(0, 150))
    slots = (last // 24 - first // 24 + 1) * 24
    hours = first // 24 * 24 + np.arange(slots)
    observed = (hours >= first) & (hours <= last) & (random.random(slots) < 0.8)
    peaks = np.where(observed, np.round(random.lognormal(5, 2, (len(schema.PEAKS), slots)), 3), 0.0)
    return Grid((f"10.0.0.{number}",), np.array([first]), np.array([last]), peaks, observed)


def all_rows(grid: Grid, features: FeatureSet, random: np.random.Generator) -> FeatureRows:
    """All hours of a grid, each from an origin before it, which may lie before the server's first day."""
    slots = np.flatnonzero(grid.in_grid)
    ahead = random.integers(1, 49, len(slots)) if features is DIRECT else schema.HORIZON_HOURS
    return FeatureRows(grid, slots, slots - ahead, CALENDAR, LabelRule(ABSOLUTE, Bounds(100.0, 500.0)))


@pytest.mark.parametrize("features", SETS, ids=named)
def test_a_server_s_features_do_not_depend_on_who_stands_beside_it(features: FeatureSet) -> None:
    """Neither at its first hours, whose origins lie among another's hours, nor at its last ones."""
    random = np.random.default_rng(1)
    each = [all_rows(short_grid(random, number), features, random) for number in range(40)]
    alone = pa.concat_tables([feature_table(features, rows) for rows in each])
    assert feature_table(features, hours_together(each)).equals(alone)


@pytest.fixture(scope="module")
def fleet() -> pa.Table:
    """Servers with all of their history, without the newest weeks, and with the newest days alone."""
    hourly = pa.concat_tables(hourly_statistics(SERVERS, DAYS, BEGIN)).combine_chunks()
    server, hour = hourly.column(schema.SERVER), hourly.column(schema.HOUR)
    stopped = pc.and_(pc.equal(server, "10.0.0.3"), pc.greater(hour, BEGIN + timedelta(days=20, hours=5)))
    began = pc.and_(pc.equal(server, "10.0.0.7"), pc.less(hour, BEGIN + timedelta(days=DAYS - 2, hours=7)))
    return hourly.filter(pc.invert(pc.or_(stopped, began)))


def opened(output: Path, fleet: pa.Table, features: FeatureSet) -> Any:
    info = {"trainBegin": "2016-04-01 00:00:00", "formatVersion": 3}
    publish(output, fleet, {**info, "featureSet": {"name": features.name, "version": features.version}})
    return open_statistics(output)


@pytest.mark.parametrize("features", SETS, ids=named)
@pytest.mark.parametrize("begin_h", [0, 13])
def test_records_made_together_are_those_made_alone(
    tmp_path: Path, fleet: pa.Table, features: FeatureSet, begin_h: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_source, "SERVERS_TOGETHER", 4)
    monkeypatch.setattr(feature_source, "_MOST_SLOTS", 24 * 100)
    statistics = opened(tmp_path, fleet, features)
    servers = [f"10.0.0.{number}" for number in range(SERVERS)]
    unknown = ["10.9.9.9"] if features is not CLASSIC else []
    asked = (statistics, [*servers, *unknown], BEGIN + timedelta(days=DAYS, hours=begin_h))
    together = scoring_features(*asked)
    alone = [scoring_features(statistics, [server], asked[2])[0] for server in asked[1]]
    for number in (5, 0, 11, 1, 2, 3, 4, 6, 7, 8, 9, 10, 0)[: None if unknown else 2]:
        made = list(together[number].records())
        assert made == list(alone[number].records())
        assert made == plainly(alone[number].table())
    assert [source.table() for source in together] == [source.table() for source in alone]


def plainly(table: pa.Table) -> list[dict[str, Any]]:
    """Records of a table as Arrow has them."""
    return [{**record, schema.HOUR: str(record[schema.HOUR])} for record in table.to_pylist()]


def test_a_server_whose_statistics_are_no_numbers_costs_no_other_its_records(tmp_path: Path, fleet: pa.Table) -> None:
    at = fleet.schema.get_field_index(schema.PEAK_LOAD)
    is_bad = pc.equal(fleet.column(schema.SERVER), "10.0.0.2")
    broken = fleet.set_column(at, schema.PEAK_LOAD, pc.if_else(is_bad, float("nan"), fleet.column(schema.PEAK_LOAD)))
    answered, refused = [], []
    for source in scoring_features(opened(tmp_path, broken, CLASSIC), None, BEGIN + timedelta(days=DAYS)):
        try:
            answered.append((source.server, len(list(source.records()))))
        except InputError as error:
            refused.append(str(error))
    assert {hours for _, hours in answered} == {48}
    assert refused == ["The statistics of 10.0.0.2 hold values that are not finite. Make them anew."]


class Maker:
    """Makes words of numbers, and remembers which at once."""

    def __init__(self, bad: Sequence[int] = ()) -> None:
        self.calls: list[list[int]] = []
        self.bad = bad

    def __call__(self, numbers: Sequence[int]) -> list[str]:
        self.calls.append([*numbers])
        if {*numbers} & {*self.bad}:
            raise InputError(f"no word for {numbers[0]}")
        return [f"word {number}" for number in numbers]


def test_who_asks_in_order_has_each_group_made_once_and_so_again() -> None:
    maker = Maker()
    together = Together(7, maker, 3)
    for _ in range(2):
        assert [together.take(number) for number in range(7)] == [f"word {number}" for number in range(7)]
    assert maker.calls == [[0, 1, 2], [3, 4, 5], [6]] * 2


def test_what_is_asked_for_again_is_made_alone() -> None:
    maker = Maker()
    together = Together(6, maker, 3)
    assert [together.take(1), together.take(1), together.take(0)] == ["word 1", "word 1", "word 0"]
    assert maker.calls == [[0, 1, 2], [1]]


def test_a_fault_is_that_of_its_own_number() -> None:
    maker = Maker(bad=[1])
    together = Together(4, maker, 4)
    assert together.take(0) == "word 0"
    with pytest.raises(InputError, match="no word for 1"):
        together.take(1)
    assert [together.take(2), together.take(3)] == ["word 2", "word 3"]
    assert maker.calls == [[0, 1, 2, 3], [0], [1], [2], [3]]


def test_no_more_groups_wait_than_may() -> None:
    maker = Maker()
    together = Together(300, maker, 3, most_kept=2)
    for number in range(0, 300, 3):
        together.take(number)
        assert len(together._waiting) <= 2
    assert together.take(1) == "word 1"
    assert maker.calls[-1] == [1]
    assert together.take(299) == "word 299"
    assert maker.calls[-1] == [1]


def test_threads_share_what_is_made() -> None:
    maker, found = Maker(), list[str]()
    together = Together(64, maker, 16)
    numbers, lock = iter(range(64)), threading.Lock()

    def lane() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            found.append(together.take(number))

    lanes = [threading.Thread(target=lane) for _ in range(4)]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join()
    assert {*found} == {f"word {number}" for number in range(64)}
    assert len(maker.calls) == 4
