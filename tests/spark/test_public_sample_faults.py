"""The faults of the public sample that this project grew out of: none of them is here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest
from flask.testing import FlaskClient

import classic
import runs
import sessions
from loadcast import paths, schema
from loadcast.serving.app import create_app
from loadcast.serving.predictor import Predictor
from published import BrokenPredictor

pytestmark = pytest.mark.spark

STRANGER = "198.51.100.7"


@pytest.fixture(scope="module")
def rows(hostile: runs.Run) -> pd.DataFrame:
    return runs.frame(hostile, paths.FEATURES)


@pytest.fixture(scope="module")
def records(hostile: runs.Run) -> list[dict[str, Any]]:
    """Some test rows as the service takes them."""
    plain = runs.test_rows(hostile).select(classic.SCORING_SCHEMA.names).slice(0, 5).to_pylist()
    return [{**record, schema.HOUR: runs.text(record[schema.HOUR])} for record in plain]


@pytest.fixture(scope="module")
def service(hostile: runs.Run) -> FlaskClient:
    return create_app(Predictor.load(hostile.settings.output), keys=None, name="loadcast").test_client()


def test_the_trend_is_not_always_0(hostile: runs.Run, rows: pd.DataFrame) -> None:
    years = (rows[schema.HOUR] - pd.Timestamp(hostile.settings.train_begin)) / np.timedelta64(round(365.25 * 24), "h")
    assert rows[classic.LINEAR_TREND].to_numpy() == pytest.approx(years.to_numpy(), rel=1e-12)
    assert rows[classic.LINEAR_TREND].nunique() == rows[schema.HOUR].nunique()
    assert rows[classic.LINEAR_TREND].max() > 0.13


def test_lags_count_hours_and_not_rows(hostile: runs.Run) -> None:
    server = sessions.SERVERS[1]
    hours = runs.frame(hostile, paths.HOURLY)
    load = hours[hours[schema.SERVER] == server].set_index(schema.HOUR)[schema.PEAK_LOAD]
    rows = runs.frame(hostile, paths.FEATURES)
    rows = rows[rows[schema.SERVER] == server].set_index(schema.HOUR)
    for name, lag_h in zip(classic.LAG_COLUMNS, classic.LAGS_H, strict=True):
        earlier = load.reindex(rows.index - np.timedelta64(lag_h, "h")).fillna(0.0)
        assert rows[name].tolist() == earlier.tolist(), name
    # This server is silent for hours and days: the 48th row with a session before is another one.
    by_rows = rows.loc[rows[schema.OBSERVED], schema.PEAK_LOAD].shift(48).dropna()
    assert (rows.loc[by_rows.index, "peakLoadLag48"] != by_rows).mean() > 0.5


def test_day_of_month_does_not_hold_the_hour(rows: pd.DataFrame) -> None:
    assert (rows["dayofmonth"] == rows[schema.HOUR].dt.day).all()
    assert (rows["hourofday"] == rows[schema.HOUR].dt.hour).all()
    assert set(rows["dayofmonth"]) == set(range(1, 32)) - {31}
    assert set(rows["hourofday"]) == set(range(24))


def test_no_column_is_assembled_twice(hostile: runs.Run) -> None:
    info = hostile.info
    columns = info["featureColumns"]
    assert len(columns) == len(set(columns))
    assert [name for name in columns if name.startswith("scaled")] == [*map(schema.scaled, classic.HISTORY_COLUMNS)]
    slots = sum(slots_of(hostile, schema.encoded(name)) for name in info["columnForEncode"])
    metadata = (hostile.folder / paths.FOREST_MODEL / "metadata").glob("part-*")
    forest = json.loads(next(metadata).read_text().splitlines()[0])
    # Twenty lag and rolling columns and the trend beside the indexed and one-hot ones.
    assert forest["numFeatures"] == len(info["columnOnlyIndexed"]) + slots + 1 + 20


def slots_of(run: runs.Run, name: str) -> int:
    sizes = pc.struct_field(runs.table(run, paths.FEATURES).column(name), "size")
    assert pc.count_distinct(sizes).as_py() == 1
    return sizes[0].as_py()


def test_servers_that_training_never_saw_are_not_dropped(hostile: runs.Run, rows: pd.DataFrame) -> None:
    late = sessions.SERVERS[6]
    assert rows.loc[rows[schema.SERVER] == late, schema.HOUR].min() >= hostile.settings.split
    hourly = runs.frame(hostile, paths.HOURLY)
    predictions = runs.frame(hostile, paths.PREDICTIONS)
    for table in (rows, predictions):
        assert (table[schema.SERVER] == late).sum() == (hourly[schema.SERVER] == late).sum() > 0
    levels = rows.loc[~rows[schema.SERVER].isin([late]), schema.indexed(schema.SERVER)]
    assert set(rows.loc[rows[schema.SERVER] == late, schema.indexed(schema.SERVER)]) == {levels.max() + 1}


def test_the_service_answers_for_servers_that_training_never_saw(
    service: FlaskClient, records: list[dict[str, Any]]
) -> None:
    asked = [{**record, schema.SERVER: STRANGER} if index % 2 else record for index, record in enumerate(records)]
    response = service.post("/score", json=asked)
    assert response.status_code == 200
    answers = list(response.get_json().values())
    assert [answer[schema.SERVER] for answer in answers] == [record[schema.SERVER] for record in asked]
    assert [answer["cold_start"] for answer in answers] == [False, True, False, True, False]


def test_faults_are_not_answered_as_200(service: FlaskClient, records: list[dict[str, Any]]) -> None:
    broken = [*records[:2], {**records[2], "peakLoadLag48": "many"}]
    response = service.post("/score", json=broken)
    assert response.status_code == 400
    problem = {"record": 2, "field": "peakLoadLag48", "found": "many", "wanted": "a finite number"}
    assert response.get_json()["error"]["problems"] == [problem]
    assert service.post("/score", data=b"no JSON", content_type="application/json").status_code == 400
    assert service.get("/score").status_code == 405
    assert service.post("/nowhere", json=records).status_code == 404


def test_a_fault_inside_the_service_is_not_answered_as_200(records: list[dict[str, Any]]) -> None:
    client = create_app(BrokenPredictor(), keys=None, name="loadcast").test_client()
    assert client.post("/score", json=records).status_code == 500
    assert create_app(None, keys=None, name="loadcast").test_client().post("/score", json=records).status_code == 503


def test_info_is_json_and_nothing_in_the_bundle_is_a_pickle(hostile: runs.Run) -> None:
    text = (hostile.folder / paths.INFO).read_text(encoding="utf-8")
    assert json.loads(text)["testPeriod"]["from"] == runs.text(hostile.settings.split)
    for name in json.loads(text)["files"]:
        data = Path(hostile.folder, name).read_bytes()
        assert data.startswith((b"{", b"PAR1")), name
