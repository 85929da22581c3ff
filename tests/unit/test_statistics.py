from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import classic
from artefact_files import made_up_info, write_info
from loadcast import paths, schema
from loadcast.errors import ArtefactError, InputError
from loadcast.serving.statistics import newest_hour, open_statistics, scoring_features
from published import TRAIN_BEGIN, hourly_statistics, load_at, month_folder, publish

FIRST, SECOND, THIRD = "115.220.193.16", "210.181.165.92", "10.0.0.7"
JULY = datetime(2016, 7, 1)
MAY_TO_JUNE_H = 61 * 24


def two_servers() -> pa.Table:
    return pa.concat_tables([hourly_statistics(server, TRAIN_BEGIN, MAY_TO_JUNE_H) for server in (FIRST, SECOND)])


def records_of(output: Path, servers: list[str] | None = None, begin: datetime = JULY) -> list[dict[str, Any]]:
    sources = scoring_features(open_statistics(output), servers, begin)
    return [record for source in sources for record in source.records()]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    publish(tmp_path, two_servers())
    return tmp_path


def test_each_record_holds_what_the_service_takes_and_nothing_known_only_afterwards(output: Path) -> None:
    afterwards = {schema.PEAK_LOAD, schema.OBSERVED, schema.LABEL}
    assert all(record.keys() == set(classic.FEATURES_SCHEMA.names) - afterwards for record in records_of(output))


def test_every_server_gets_48_hours_from_the_begin(output: Path) -> None:
    hours = [(JULY + timedelta(hours=hour)).strftime(schema.TIME_FORMAT) for hour in range(48)]
    expected = [(server, hour) for server in (FIRST, SECOND) for hour in hours]
    assert [(record[schema.SERVER], record[schema.HOUR]) for record in records_of(output)] == expected


@pytest.mark.parametrize("begin", [JULY, datetime(2016, 6, 20, 13), datetime(2016, 6, 2, 23), datetime(2016, 5, 3)])
def test_each_lag_is_the_load_that_many_hours_earlier(output: Path, begin: datetime) -> None:
    for record in records_of(output, [FIRST], begin):
        hour = datetime.strptime(record[schema.HOUR], schema.TIME_FORMAT)
        for name, lag_h in zip(classic.LAG_COLUMNS, classic.LAGS_H, strict=True):
            earlier = hour - timedelta(hours=lag_h)
            assert record[name] == (load_at(earlier) if earlier >= TRAIN_BEGIN else 0.0)


def test_the_rolling_mean_is_that_of_the_days_nine_to_three_before(output: Path) -> None:
    record = records_of(output, [FIRST])[30]
    hours = [datetime(2016, 6, 23) + timedelta(hours=hour) for hour in range(7 * 24)]
    assert record["peakLoadDailyLag2Win7"] == pytest.approx(sum(map(load_at, hours)) / len(hours), rel=1e-12)


def test_the_trend_counts_from_the_begin_of_the_training(output: Path) -> None:
    (first, *_) = records_of(output)
    assert first[classic.LINEAR_TREND] == (JULY - TRAIN_BEGIN) / timedelta(days=365.25)


def test_the_trend_of_statistics_made_without_a_training_counts_from_the_bundle_in_use(tmp_path: Path) -> None:
    publish(tmp_path / "out", two_servers(), info={})
    write_info(tmp_path, trainBegin="2010-01-01 00:00:00", holidayCountry="NO")
    statistics = open_statistics(tmp_path / "out", tmp_path)
    assert (statistics.train_begin, statistics.holiday_country) == (datetime(2010, 1, 1), "NO")


def test_the_newest_model_of_the_output_counts_before_the_newest_run(output: Path) -> None:
    model = output / paths.RUNS / "model"
    model.mkdir()
    write_info(model, trainBegin="2010-01-01 00:00:00", holidayCountry="NO")
    (output / paths.MODEL).symlink_to(model)
    assert open_statistics(output).train_begin == datetime(2010, 1, 1)


def test_holidays_are_those_of_the_trainings_country(tmp_path: Path) -> None:
    info = {"trainBegin": "2016-05-01 00:00:00", "holidayCountry": "US"}
    publish(tmp_path, two_servers(), info)
    begin = datetime(2016, 7, 3, 12)
    days = {record["dayofmonth"]: record["Holiday"] for record in records_of(tmp_path, [FIRST], begin)}
    assert days == {3: 0, 4: 1, 5: 0}


def test_the_newest_hour_is_that_of_any_server(tmp_path: Path) -> None:
    late = hourly_statistics(SECOND, datetime(2016, 6, 1), 100)
    publish(tmp_path, pa.concat_tables([hourly_statistics(FIRST, TRAIN_BEGIN, 24), late]))
    assert newest_hour(open_statistics(tmp_path)) == datetime(2016, 6, 1) + timedelta(hours=99)


def test_months_that_no_feature_looks_back_to_are_not_read(tmp_path: Path) -> None:
    run = publish(tmp_path, hourly_statistics(FIRST, datetime(2016, 3, 1), 122 * 24))
    expected = records_of(tmp_path)
    for kind in (paths.HOURLY, paths.DAILY):
        (run / month_folder(kind, 2016, 4) / "part-0.parquet").write_bytes(b"broken")
    assert records_of(tmp_path) == expected


def test_one_run_is_read_throughout_even_if_another_is_published_meanwhile(output: Path, tmp_path: Path) -> None:
    statistics = open_statistics(output)
    (tmp_path / "other").mkdir()
    os.unlink(output / paths.CURRENT)
    (output / paths.CURRENT).symlink_to("other")
    assert len(scoring_features(statistics, None, JULY)) == 2


def test_a_server_asked_for_twice_or_in_a_longer_way_is_scored_once(tmp_path: Path) -> None:
    publish(tmp_path, hourly_statistics("2001:db8::1", TRAIN_BEGIN, MAY_TO_JUNE_H))
    assert len(records_of(tmp_path, ["2001:db8::1", "2001:0DB8:0::1"])) == 48


def test_a_server_that_started_lately_has_no_load_before(tmp_path: Path) -> None:
    publish(tmp_path, hourly_statistics(FIRST, datetime(2016, 6, 30, 20), 4))
    last = records_of(tmp_path)[-1]
    assert last["peakLoadLag48"] == load_at(datetime(2016, 6, 30, 23))
    assert last["peakLoadLag52"] == 0.0


def test_a_server_retired_long_ago_is_scored_if_asked_for_but_not_otherwise(tmp_path: Path) -> None:
    retired = hourly_statistics(THIRD, datetime(2016, 1, 1), 100)
    publish(tmp_path, pa.concat_tables([retired, two_servers()]))
    assert {record[schema.SERVER] for record in records_of(tmp_path)} == {FIRST, SECOND}
    records = records_of(tmp_path, [FIRST, THIRD])
    assert len(records) == 96
    assert all(record[name] == 0 for record in records[48:] for name in classic.HISTORY_COLUMNS)


def test_an_unknown_server_is_refused_with_some_that_are_known(output: Path) -> None:
    with pytest.raises(InputError, match=r"115\.220\.193\.17: found no statistics .* 2 server\(s\), such as 115"):
        records_of(output, ["115.220.193.17"])


def test_a_server_that_is_no_address_is_refused(output: Path) -> None:
    with pytest.raises(InputError, match="is no IP address"):
        records_of(output, ["' or 1=1"])


@pytest.mark.parametrize("begin", [datetime(2016, 5, 1), datetime(2010, 1, 1), datetime(1, 1, 1)])
def test_a_begin_before_all_statistics_is_refused(output: Path, begin: datetime) -> None:
    for servers in (None, [FIRST]):
        with pytest.raises(InputError):
            records_of(output, servers, begin)


@pytest.mark.parametrize("begin", [datetime(2018, 1, 1), datetime(9999, 12, 31, 23)])
def test_a_begin_long_after_all_statistics_is_refused(output: Path, begin: datetime) -> None:
    with pytest.raises(InputError, match="more than a year after 2016-06-30 23:00:00"):
        records_of(output, None, begin)


def test_a_begin_within_an_hour_is_refused(output: Path) -> None:
    with pytest.raises(InputError, match="wanted a whole hour"):
        records_of(output, None, datetime(2016, 6, 20, 12, 30))


# --- what may be wrong with the folder -------------------------------------------------------------------------------
def replace(run: Path, kind: str, table: pa.Table) -> None:
    pq.write_table(table, run / month_folder(kind, 2016, 6) / "part-0.parquet")


def june(run: Path) -> pa.Table:
    return pq.ParquetFile(run / month_folder(paths.HOURLY, 2016, 6) / "part-0.parquet").read()


def test_an_output_without_statistics_says_which_command_makes_them(tmp_path: Path) -> None:
    write_info(tmp_path, trainBegin="2016-01-01 00:00:00")
    with pytest.raises(InputError, match=r"holds no hourly and daily statistics.*O16Npreprocessing\.py"):
        newest_hour(open_statistics(tmp_path))


def test_a_broken_file_is_named(output: Path) -> None:
    for file in (output / paths.CURRENT / paths.HOURLY).rglob("*.parquet"):
        file.write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(InputError, match=r"cannot be read.*Make them anew"):
        records_of(output)


def test_a_missing_column_is_an_error(output: Path) -> None:
    run = output / paths.RUNS / "one"
    replace(run, paths.HOURLY, june(run).drop_columns(["peakBytes"]))
    with pytest.raises(InputError, match="Make them anew"):
        records_of(output)


def test_a_column_of_another_type_is_an_error(output: Path) -> None:
    run = output / paths.RUNS / "one"
    table = june(run)
    replace(run, paths.HOURLY, table.set_column(2, schema.HOUR, table.column(schema.HOUR).cast(pa.string())))
    with pytest.raises(InputError, match="Make them anew"):
        records_of(output)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_an_error(output: Path, value: float | None) -> None:
    run = output / paths.RUNS / "one"
    table = june(run)
    index = table.column_names.index(schema.PEAK_LOAD)
    column = pa.array([value] * len(table), pa.float64())
    replace(run, paths.HOURLY, table.set_column(index, schema.PEAK_LOAD, column))
    with pytest.raises(InputError, match="Make them anew"):
        records_of(output)


def test_statistics_of_something_that_is_no_server_are_an_error(output: Path) -> None:
    run = output / paths.RUNS / "one"
    table = june(run)
    replace(run, paths.HOURLY, table.set_column(1, schema.SERVER, pa.array(["\x1b[2J"] * len(table))))
    with pytest.raises(InputError, match=r"Server '\\x1b\[2J' is no IP address"):
        records_of(output)


def test_hourly_without_daily_statistics_are_an_error(output: Path) -> None:
    os.rename(output / paths.RUNS / "one" / paths.DAILY, output / "elsewhere")
    with pytest.raises(InputError, match="holds no hourly and daily statistics before"):
        records_of(output)


BAD_INFOS = [
    "",
    "[]",
    "[" * 100_000,
    "{}",
    *(
        json.dumps(made_up_info(**change))
        for change in (
            {"trainBegin": None},
            {"trainBegin": "May"},
            {"trainBegin": 7},
            {"holidayCountry": "Atlantis"},
            {"holidayCountry": ["US"]},
        )
    ),
]


@pytest.mark.parametrize("text", BAD_INFOS)
def test_an_info_that_does_not_say_what_is_needed_is_refused(output: Path, text: str) -> None:
    (output / paths.CURRENT / paths.INFO).write_text(text)
    with pytest.raises(ArtefactError, match=paths.INFO):
        open_statistics(output)


def test_an_output_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="cannot be read"):
        open_statistics(tmp_path / "gone")


def test_a_link_to_a_run_that_is_gone_is_refused(tmp_path: Path) -> None:
    (tmp_path / paths.CURRENT).symlink_to("gone")
    with pytest.raises(ArtefactError):
        open_statistics(tmp_path)
