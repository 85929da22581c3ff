"""`loadcast score`: what it prints and writes, and what its exit code says where only a part was answered."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from pyarrow import csv

from fake_scoring import BROKEN, Fault, Reply, answering, fake_service, right
from loadcast import schema
from loadcast.cli.score import score
from loadcast.errors import ConfigError, LoadcastError, OutputError, PartialForecastError, ServiceError
from loadcast.report import forecast_files
from loadcast.serving.remote import patience
from loadcast.system import small_files
from published import hourly_statistics, publish

SERVERS = ("10.0.0.1", "115.220.193.16", "192.0.2.1")
FAILED = (500, b"it failed", {})


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "pause", lambda seconds: None)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("score")
    tables = [hourly_statistics(server, datetime(2016, 6, 20), 10 * 24) for server in SERVERS]
    publish(folder / "output", pa.concat_tables(tables))
    path = folder / "config.json"
    document = {"dataFile": "unused.csv", "duration": "ONE_MONTH", "output": str(folder / "output")}
    path.write_text(json.dumps(document))
    return path


def run(config: Path, reply: Callable[[int, bytes], Reply | Fault], *arguments: str) -> tuple[Result, int]:
    """What came of the command, and how many requests it made."""
    with fake_service(reply) as service:
        result = CliRunner().invoke(score, [str(config), "--url", service.url, *arguments])
        return result, len(service.requests)


def always(_number: int, body: bytes) -> Reply:
    return right(body)


def without(*lost: str, failing: Reply | Fault = FAILED) -> Callable[[int, bytes], Reply | Fault]:
    """A service that fails at some servers."""
    return lambda _number, body: failing if json.loads(body)[0][schema.SERVER] in lost else right(body)


def servers_of(document: str) -> list[str]:
    return [item[schema.SERVER] for item in json.loads(document)["forecasts"]]


# --- forms -----------------------------------------------------------------------------------------------------------
def test_every_form_has_the_same_forecast(config: Path, tmp_path: Path) -> None:
    tables = {}
    for name in ("a.csv", "b.parquet", "c.json", "d.txt"):
        result, requests = run(config, always, "--output", str(tmp_path / name))
        assert (result.exit_code, result.stdout, requests) == (0, "", 3)
        assert f"The forecast of 3 server(s) is in {tmp_path / name}." in result.stderr
        assert os.listdir(tmp_path) == [name]
        tables[name] = (tmp_path / name).rename(tmp_path.parent / f"{tmp_path.name}-{name}")
    table = pq.read_table(tables["b.parquet"])
    assert table.schema.equals(schema.FORECAST_SCHEMA)
    assert table.column(schema.SERVER).unique().to_pylist() == list(SERVERS)
    assert table.num_rows == len(SERVERS) * schema.HORIZON_HOURS
    assert csv.read_csv(tables["a.csv"]).cast(schema.FORECAST_SCHEMA).equals(table)
    hours = [hour for item in json.loads(tables["c.json"].read_text())["forecasts"] for hour in item["hours"]]
    assert [hour[schema.HOUR] for hour in hours] == [str(hour) for hour in table.column(schema.HOUR).to_pylist()]
    assert [hour[schema.LABEL] for hour in hours] == table.column(schema.LABEL).to_pylist()
    assert [list(hour["probability"].values()) for hour in hours] == [
        [row[name] for name in schema.PROBABILITY_COLUMNS.values()] for row in table.to_pylist()
    ]
    assert "Load class of 48 hours from 2016-06-30 00:00:00 (UTC)" in tables["d.txt"].read_text(encoding="utf-8")


def test_csv_looks_as_people_expect(config: Path) -> None:
    result, _ = run(config, always, "--format", "csv", "--server", SERVERS[1])
    head, first, *_ = result.stdout.splitlines()
    assert head == (
        "ServerIP,SessionStartHourTime,prediction,label,probability_low,probability_medium,probability_high,cold_start,"
        "lowThreshold,highThreshold"
    )
    assert first == "115.220.193.16,2016-06-30 00:00:00,1,low,0.8,0.1,0.1,false,200,500"


def test_the_end_of_a_name_chooses_the_form_unless_one_is_named() -> None:
    found = {name: forecast_files.format_of(Path(name)) for name in ("a.CSV", "a.parquet", "a.json", "a", "a.csv.gz")}
    assert found == {"a.CSV": "csv", "a.parquet": "parquet", "a.json": "json", "a": "table", "a.csv.gz": "table"}
    assert forecast_files.format_of(None) == "table"


def test_no_colours_stand_in_a_file(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    run(config, always, "--output", str(tmp_path / "a.txt"))
    assert "\x1b" not in (tmp_path / "a.txt").read_text(encoding="utf-8")


def test_parquet_is_not_printed(config: Path) -> None:
    result, requests = run(config, always, "--format", "parquet")
    assert (result.exit_code, requests) == (2, 0)
    assert "wanted --output FILE" in result.stderr


@pytest.mark.parametrize("arguments", [("--deadline", "0"), ("--deadline", "nan"), ("--connections", "0")])
def test_odd_numbers_are_mistakes_in_the_command_line(config: Path, arguments: tuple[str, str]) -> None:
    result, requests = run(config, always, *arguments)
    assert (result.exit_code, requests) == (2, 0)


# --- a part ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("failing", [FAILED, BROKEN[0], (400, b"no", {})], ids=repr)
def test_what_was_answered_is_printed_and_the_exit_code_says_that_it_is_a_part(
    config: Path, failing: Reply | Fault
) -> None:
    result, _ = run(config, without(SERVERS[1], failing=failing), "--format", "json")
    assert result.exit_code == PartialForecastError.exit_code == 11
    assert servers_of(result.stdout) == [SERVERS[0], SERVERS[2]]
    (lost,) = json.loads(result.stdout)["unanswered"]
    assert lost[schema.SERVER] == SERVERS[1]
    said = result.stderr.splitlines()
    assert "loadcast: The forecast is partial: 2 of 3 servers were answered." in said
    assert [line for line in said if line.startswith(f"Not answered: {SERVERS[1]}: ")] == [
        f"Not answered: {SERVERS[1]}: {lost['why']}"
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.txt"])
def test_a_part_is_written_in_every_form(config: Path, tmp_path: Path, name: str) -> None:
    result, _ = run(config, without(SERVERS[0], SERVERS[1]), "--output", str(tmp_path / name))
    assert result.exit_code == 11
    assert "1 of 3 servers were answered" in result.stderr
    assert f"Not answered: {SERVERS[0]}, {SERVERS[1]}: " in result.stderr
    assert SERVERS[2].encode() in (tmp_path / name).read_bytes()


@pytest.mark.parametrize("failing", [FAILED, BROKEN[4], (401, b"", {})], ids=repr)
@pytest.mark.parametrize("connections", ["1", "3"])
def test_a_service_that_fails_from_any_request_on(
    config: Path, tmp_path: Path, failing: Reply | Fault, connections: str
) -> None:
    """The forecast is whole and in order, or the exit code says that it is partial, or that there is none."""
    for first in range(1, 5):
        file = tmp_path / f"{first}.json"
        result, _ = run(
            config,
            lambda number, body, first=first: failing if number >= first else right(body),  # type: ignore[misc]
            *("--output", str(file), "--connections", connections),
        )
        codes = {0: ServiceError.exit_code, len(SERVERS): 0}
        count = len(servers_of(file.read_text())) if file.exists() else 0
        assert count == first - 1
        assert result.exit_code == codes.get(count, PartialForecastError.exit_code)
        if count:
            found = servers_of(file.read_text())
            assert found == [server for server in SERVERS if server in found]


def test_of_many_servers_some_are_named_and_the_reasons_are_counted() -> None:
    from loadcast.cli.forecasts import check_complete
    from loadcast.report.forecast import Picture

    reasons = {f"10.0.{number // 250}.{number % 250}": f"reason {number % 7}" for number in range(700)}
    with pytest.raises(PartialForecastError) as caught:
        check_complete(Picture([], "UTC", False, unanswered=reasons))
    lines = str(caught.value).split("\n")
    assert lines[0] == "The forecast is partial: 0 of 700 servers were answered."
    assert len(lines) == 1 + 5 + 1
    assert all("and 90 more: reason" in line for line in lines[1:6])
    assert lines[6] == "2 other reason(s) are in the JSON output."


def failed(config: Path, *arguments: str) -> BaseException | None:
    result, requests = run(config, always, *arguments)
    assert requests == 0
    assert result.exception is not None
    return result.exception.__cause__


# --- files -----------------------------------------------------------------------------------------------------------
def test_where_nothing_was_answered_the_file_of_before_stays(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("of before")
    result, _ = run(config, answering(b"no", 503), "--output", str(file))
    assert result.exit_code == ServiceError.exit_code
    assert (file.read_text(), os.listdir(tmp_path)) == ("of before", ["a.csv"])


@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), KeyboardInterrupt()], ids=repr)
def test_a_file_is_written_whole_or_not_at_all(
    config: Path, tmp_path: Path, failure: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise failure

    file = tmp_path / "a.csv"
    file.write_text("of before")
    monkeypatch.setattr(small_files.os, "replace", fail)
    result, _ = run(config, always, "--output", str(file))
    assert result.exit_code != 0
    assert (file.read_text(), os.listdir(tmp_path)) == ("of before", ["a.csv"])


def test_through_a_link_its_target_is_replaced(config: Path, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("of before")
    (tmp_path / "a.csv").symlink_to("b.csv")
    result, _ = run(config, always, "--output", str(tmp_path / "a.csv"))
    assert result.exit_code == 0
    assert (tmp_path / "a.csv").is_symlink()
    assert (tmp_path / "b.csv").read_text().startswith("ServerIP,")


@pytest.mark.parametrize("option", ["--output", "--svg"])
def test_what_cannot_be_written_is_told_before_anything_is_asked(config: Path, tmp_path: Path, option: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    cases: list[tuple[str, type[LoadcastError]]] = [
        (str(tmp_path / "no" / "a.csv"), OutputError),
        (str(config / "a.csv"), OutputError),
        (str(tmp_path), ConfigError),
        (str(pipe), ConfigError),
        ("https://account.blob.core.windows.net/container/a.csv", ConfigError),
    ]
    for path, kind in cases:
        error = failed(config, option, path)
        assert type(error) is kind
        assert option in str(error)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
