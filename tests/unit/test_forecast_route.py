"""`/forecast`: a server's next hours from the statistics that the service holds. About 4 s."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from loadcast import schema
from loadcast.serving.app import create_app
from loadcast.serving.problems import PROBLEM_JSON
from published import HourPredictor, hourly_statistics, load_at, publish

SERVER = "192.0.2.1"
BEGIN = datetime(2016, 5, 1)
HOURS = 900


def service(**more: Any) -> Flask:
    return create_app(HourPredictor(), **{"keys": None, "name": "loadcast", **more})


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forecasts") / "output"
    publish(folder, hourly_statistics(SERVER, BEGIN, HOURS))
    return folder


def test_a_server_s_next_hours_are_forecast(output: Path) -> None:
    predictor = HourPredictor()
    client = create_app(predictor, keys=None, name="loadcast", statistics=output).test_client()
    body = client.get("/forecast", query_string={"server": SERVER}).json
    first = datetime(2016, 6, 7, 12)  # 900 hours after the begin
    assert (body["server"], body["from"]) == (SERVER, first.strftime(schema.TIME_FORMAT))
    hours = [hour["SessionStartHourTime"] for hour in body["hours"]]
    assert (hours[0], hours[47]) == ("2016-06-07 12:00:00", "2016-06-09 11:00:00")
    assert len(body["hours"]) == schema.HORIZON_HOURS
    assert body["hours"][0] == client.post("/score", json=_records(predictor)).json["0"]
    lags = predictor.tables[0].column("peakLoadLag48").to_pylist()
    assert lags[0] == load_at(datetime(2016, 6, 5, 12))
    asked = client.get("/forecast", query_string={"server": f"{SERVER}", "from": "2016-06-01T00:00:00"}).json
    assert (asked["from"], len(asked["hours"])) == ("2016-06-01 00:00:00", 48)
    assert client.get("/forecast", query_string={"server": SERVER, "from": "2016-06-01 00:00:00"}).json == asked


def _records(predictor: HourPredictor) -> list[dict[str, Any]]:
    rows = predictor.tables[0].slice(0, 1).to_pylist()
    return [{**row, schema.HOUR: str(row[schema.HOUR])} for row in rows]


@pytest.mark.parametrize(
    ("query", "status", "word"),
    [
        ("", 400, "server"),
        ("server=x", 400, "address"),
        (f"server={SERVER}&from=yesterday", 400, "whole hour"),
        (f"server={SERVER}&from=2016-06-01T00:30:00", 400, "whole hour"),
        (f"server={SERVER}&begin=1", 400, "begin"),
        (f"server={SERVER}&server={SERVER}", 400, "twice"),
        ("server=%ff", 400, "query"),
        ("&".join(["server=1"] * 9), 400, "query"),
        ("server=198.51.100.9", 404, SERVER),
        (f"server={SERVER}&from=2030-01-01T00:00:00", 404, "a year"),
        (f"server={SERVER}&from=2001-01-01T00:00:00", 404, "first"),
        (f"server={SERVER}&from=0001-01-01T00:00:00", 404, "first"),
    ],
)
def test_what_cannot_be_forecast_is_said(output: Path, query: str, status: int, word: str) -> None:
    answer = service(statistics=output).test_client().get(f"/forecast?{query}")
    assert (answer.status_code, answer.mimetype) == (status, PROBLEM_JSON)
    assert word in answer.json["detail"]
    assert str(output) not in answer.text


def test_a_service_without_statistics_says_so(tmp_path: Path) -> None:
    answer = service().test_client().get(f"/forecast?server={SERVER}")
    assert (answer.status_code, "--statistics" in answer.json["detail"]) == (404, True)
    broken = service(statistics=tmp_path / "none").test_client().get(f"/forecast?server={SERVER}")
    assert (broken.status_code, str(tmp_path) in broken.text) == (503, False)
    assert create_app(None, keys=None, name="x").test_client().get(f"/forecast?server={SERVER}").status_code == 503
