"""`loadcast monitor`: what it finds of a model that goes wrong, and that it takes no nonsense for a forecast."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from prometheus_client.parser import text_string_to_metric_families

import monitored
from loadcast import schema
from loadcast.cli.main import main
from loadcast.errors import InputError
from loadcast.monitoring import forecast_files
from loadcast.monitoring.findings import Verdict
from loadcast.monitoring.forecast_files import find_forecasts, read_forecasts
from loadcast.monitoring.monitor import monitor
from loadcast.report.forecast import Picture
from loadcast.report.forecast_files import encode
from loadcast.serving.remote.answers import HourForecast, ServerForecast
from loadcast.settings import load_settings
from monitored import END, SERVERS, SPLIT, predictions, publish_monitored

BREAK = datetime(2016, 6, 8)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a fleet whose load breaks off a week before the end."""
    return publish_monitored(tmp_path_factory.mktemp("broken"), BREAK)


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of a fleet that goes on as it was."""
    return publish_monitored(tmp_path_factory.mktemp("steady"))


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["monitor", *map(str, words)])


def test_a_model_that_is_right_is_fine(steady: Path) -> None:
    result = run(steady, "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["verdict"]) == (0, "fine")
    assert found["overall"]["model"]["accuracy"] == found["overall"]["gated"]["accuracy"] == 1.0
    assert found["forecasts"]["scored"] == 2 * 14 * 24
    assert found["now"] == [{"horizonHours": [25, 48], "answeredBy": "model", "serversAnsweredByNaive": {}}]


def test_after_a_break_a_naive_forecast_answers(broken: Path) -> None:
    result = run(broken, "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["verdict"]) == (12, "naiveIsBetter")
    right_h = (BREAK - SPLIT) // timedelta(hours=1) + 7 * 8  # and by night
    assert found["overall"]["model"]["accuracy"] == pytest.approx(right_h / (14 * 24))
    assert found["overall"]["gated"]["accuracy"] > found["overall"]["model"]["accuracy"] + 0.1
    assert found["now"][0]["answeredBy"] == "sameClassAs48hBefore"
    assert found["now"][0]["serversAnsweredByNaive"] == dict.fromkeys(SERVERS, "sameClassAs48hBefore")
    assert [server[schema.SERVER] for server in found["servers"]] == list(SERVERS)


def test_naive_forecasts_are_those_of_the_hours_before(broken: Path) -> None:
    found = monitor(load_settings(broken)).document()["overall"]["naive"]
    times = [SPLIT + timedelta(hours=hour) for hour in range(14 * 24)]
    for name, lag_h in (("sameClassAs48hBefore", 48), ("sameClassAs168hBefore", 168)):
        before = [monitored.class_at(time - timedelta(hours=lag_h), BREAK) for time in times]
        right = np.mean([now == monitored.class_at(time, BREAK) for now, time in zip(before, times, strict=True)])
        assert found[name]["accuracy"] == pytest.approx(right)
    usual = np.mean([monitored.class_at(time) == monitored.class_at(time, BREAK) for time in times])
    assert found["mostFrequentOfHourOfWeek"]["accuracy"] == pytest.approx(usual)
    assert list(found) == list(monitored.NAIVE)


def test_the_page_and_prometheus_say_the_same(broken: Path, tmp_path: Path) -> None:
    file = tmp_path / "loadcast.prom"
    result = run(broken, "--prometheus", file)
    assert result.exit_code == 12
    assert "A naive forecast has beaten the model" in result.stdout
    families = {family.name: family for family in text_string_to_metric_families(file.read_text())}
    verdicts = {sample.labels["verdict"]: sample.value for sample in families["loadcast_monitor_verdict"].samples}
    assert verdicts == {"fine": 0, "naiveIsBetter": 1, "drift": 0}
    (newest,) = families["loadcast_monitor_newest_hour_timestamp_seconds"].samples
    assert newest.value == (END - timedelta(hours=1) - datetime(1970, 1, 1)).total_seconds()
    (answers,) = families["loadcast_monitor_naive_answers"].samples
    assert (answers.labels, answers.value) == ({"horizon": "25-48", "forecast": "sameClassAs48hBefore"}, 1)
    assert os.listdir(tmp_path) == ["loadcast.prom"]


def test_a_file_that_no_collector_reads_is_refused(steady: Path, tmp_path: Path) -> None:
    result = run(steady, "--prometheus", tmp_path / "loadcast.txt")
    assert (result.exit_code, ".prom" in result.stderr) == (2, True)


def picture(servers: tuple[str, ...] = SERVERS) -> Picture:
    """The forecasts of two days, as `loadcast score` has them."""
    rows = predictions(servers, SPLIT, SPLIT + timedelta(hours=48)).to_pylist()
    hours = [
        HourForecast(
            row[schema.SERVER],
            row[schema.HOUR],
            int(row[schema.PREDICTION]),
            tuple(row[name] for name in schema.PROBABILITY_COLUMNS.values()),
            cold_start=False,
        )
        for row in rows
    ]
    forecasts = [ServerForecast(name, tuple(hour for hour in hours if hour.server == name)) for name in servers]
    return Picture(forecasts, "UTC", with_tables=False)


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_what_score_wrote_is_read(steady: Path, tmp_path: Path, form: str) -> None:
    (tmp_path / f"a.{form}").write_bytes(encode(picture(), form))
    found = monitor(load_settings(steady), tmp_path)
    assert (found.scored.rows.scored, found.scored.gated.confusion.trace()) == (96, 96)
    assert found.verdict is Verdict.FINE


def test_servers_and_hours_without_a_truth_are_counted(steady: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(encode(picture((*SERVERS, "192.0.2.1")), "csv"))
    pq.write_table(predictions(SERVERS[:1], END, END + timedelta(hours=48)), tmp_path / "b.parquet")
    pq.write_table(predictions(SERVERS[:1], SPLIT - timedelta(hours=5), SPLIT), tmp_path / "c.parquet")
    rows = monitor(load_settings(steady), tmp_path).document()["forecasts"]
    assert (rows["read"], rows["scored"], rows["pending"], rows["older"]) == (144 + 48 + 5, 96, 48, 5)
    assert (rows["ofUnknownServers"], rows["unknownServers"]) == (48, ["192.0.2.1"])


def test_nothing_to_score_is_an_error(steady: Path, tmp_path: Path) -> None:
    pq.write_table(predictions(("192.0.2.1",)), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"None of 336 forecasts.* 336 of servers without statistics"):
        monitor(load_settings(steady), tmp_path)


def replaced(name: str, value: Any) -> Callable[[pa.Table], pa.Table]:
    """A table's first row with another value."""

    def changed(table: pa.Table) -> pa.Table:
        column = table.column(name)
        values = pa.array([value, *column.to_pylist()[1:]], column.type)
        return table.set_column(table.schema.get_field_index(name), name, values)

    return changed


def as_text(table: pa.Table) -> pa.Table:
    column = table.schema.get_field_index(schema.PREDICTION)
    return table.set_column(column, schema.PREDICTION, pa.array(["low"] * len(table)))


def with_origin(table: pa.Table) -> pa.Table:
    return table.append_column(schema.FORECAST_ORIGIN, table.column(schema.HOUR))


LOW = schema.PROBABILITY_COLUMNS[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (replaced(schema.PREDICTION, 4.0), "wanted a class, 1 to 3"),
        (replaced(schema.PREDICTION, 1.5), "wanted a class, 1 to 3"),
        (replaced(schema.PREDICTION, float("nan")), "wanted a class, 1 to 3"),
        (replaced(LOW, float("nan")), "wanted three shares from 0 to 1"),
        (replaced(LOW, float("inf")), "wanted three shares from 0 to 1"),
        (replaced(LOW, -0.1), "wanted three shares from 0 to 1"),
        (replaced(LOW, 0.5), "wanted three shares of 1 together"),
        (replaced(LOW, None), "found no value in probability_low"),
        (replaced(schema.SERVER, None), "found no value in ServerIP"),
        (with_origin, "wanted an origin 1 to 48 hours before"),
        (lambda table: table.drop_columns([LOW]), "without the column probability_low"),
        (lambda table: table.drop_columns([schema.HOUR]), "without the column SessionStartHourTime"),
        (as_text, "cannot be read"),
    ],
)
def test_a_row_that_is_no_forecast_is_named(tmp_path: Path, change: Callable[[pa.Table], pa.Table], words: str) -> None:
    path = tmp_path / "x.parquet"
    whole = predictions(SERVERS[:1], SPLIT, SPLIT + timedelta(hours=3))
    pq.write_table(change(pa.table(whole.to_pydict())), path)
    with pytest.raises(InputError, match=words) as error:
        list(read_forecasts([path]))
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.parquet", b"PAR1 this is none PAR1"),
        ("x.parquet", b""),
        ("x.csv", b""),
        ("x.csv", b"\xff\xfe\x00"),
        ("x.csv", b"ServerIP,SessionStartHourTime\n10.0.0.1,2016-06-01 00:00:00\n"),
        ("x.csv", b'ServerIP,"' + b"x" * 10_000_000),
        ("x.json", b"{"),
        ("x.json", b"[]"),
        ("x.json", b'{"forecasts": [{"hours": 3}]}'),
        ("x.json", b'{"forecasts": ' + b"[" * 100_000),
        ("x.json", b'{"forecasts": [{"ServerIP": "10.0.0.1", "hours": [{"SessionStartHourTime": "never"}]}]}'),
    ],
)
def test_broken_files_are_told(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"cannot be read: .* Wanted a file as loadcast score --output FILE writes"):
        list(read_forecasts([tmp_path / name]))


def test_json_larger_than_memory_may_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast_files, "MAX_JSON_BYTES", 1_000)
    (tmp_path / "x.json").write_bytes(encode(picture(), "json"))
    with pytest.raises(InputError, match="larger than 1,000 bytes, which only"):
        list(read_forecasts([tmp_path / "x.json"]))


def test_large_files_come_in_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast_files, "ROWS_PER_BATCH", 100)
    pq.write_table(predictions(), tmp_path / "x.parquet")
    portions = [len(forecasts) for forecasts in read_forecasts([tmp_path / "x.parquet"])]
    assert (max(portions), sum(portions)) == (100, 672)


def test_a_path_without_forecasts_is_told(tmp_path: Path) -> None:
    (tmp_path / "_hidden.csv").touch()
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "note.txt").touch()
    for path in (tmp_path, tmp_path / "none.csv", tmp_path / "pipe.csv", tmp_path / "note.txt"):
        with pytest.raises(InputError, match="Wanted a file as loadcast score"):
            find_forecasts(path)


def test_metrics_without_a_naive_forecast_are_told(tmp_path: Path) -> None:
    config = publish_monitored(tmp_path)
    metrics = tmp_path / "output" / "current" / "metrics.json"
    document = json.loads(metrics.read_text())
    del document["train"]["naive"]["sameClassAs48hBefore"]
    metrics.write_text(json.dumps(document))
    result = run(config)
    assert (result.exit_code, "is without sameClassAs48hBefore. Train again." in result.stderr) == (7, True)


def test_without_an_output_there_is_nothing_to_monitor(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"duration": "ONE_MONTH", "dataFile": "x", "output": str(tmp_path / "none")}))
    assert run(config).exit_code == 7
