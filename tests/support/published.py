"""Statistics of made-up servers, published as a run publishes them; and the service around a trivial predictor."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from werkzeug.serving import make_server

from artefact_files import made_up_info, write_info
from loadcast import paths, schema
from loadcast.artefacts.info import Info
from loadcast.kernels.features import CLASSIC
from loadcast.kernels.grid import daily_table, grid_from_hourly
from loadcast.serving.app import create_app
from loadcast.serving.columns import Columns, number_names, whole_names
from loadcast.serving.keys import Keys
from loadcast.serving.request_contract import RequestContract
from loadcast.serving.scored import Scored

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

TRAIN_BEGIN = datetime(2016, 5, 1)
EPOCH = datetime(1970, 1, 1)


def month_folder(kind: str, year: int, month: int) -> str:
    """Folder of one month's statistics, e.g. `hourlyfeature/2016/06`; `kind` is HOURLY or DAILY."""
    return f"{kind}/{year:04d}/{month:02d}"


def hourly_statistics(server: str, begin: datetime, hours: int) -> pa.Table:
    """Hourly statistics of one server; the load follows from the hour alone, so that a test knows it: see load_at."""
    times = [begin + timedelta(hours=hour) for hour in range(hours)]
    columns: dict[str, Any] = {
        schema.KEY: [f"{server}_{time}" for time in times],
        schema.SERVER: [server] * hours,
        schema.HOUR: times,
        **{name: [load_at(time) * (place + 1) for time in times] for place, name in enumerate(schema.PEAKS)},
        schema.OBSERVED: [True] * hours,
    }
    return pa.table(columns, schema=schema.HOURLY_SCHEMA)


def load_at(time: datetime) -> float:
    """Load of each server at an hour: different for every hour."""
    return 10.0 + (time - EPOCH) / timedelta(hours=1) % 5000


def publish(output: Path, hourly: pa.Table, info: Mapping[str, Any] | None = None) -> Path:
    """Write statistics as the newest run of `output`; returns the run's folder."""
    run = output / paths.RUNS / "one"
    daily = daily_table(grid_from_hourly(hourly))
    for kind, table, time in ((paths.HOURLY, hourly, schema.HOUR), (paths.DAILY, daily, schema.DAY)):
        months = pc.strftime(table.column(time), format="%Y/%m")
        for month in pc.unique(months).to_pylist():
            folder = run / kind / month
            folder.mkdir(parents=True)
            pq.write_table(table.filter(pc.equal(months, month)), folder / "part-0.parquet")
            (folder / "_SUCCESS").touch()
    begin = {"trainBegin": TRAIN_BEGIN.strftime(schema.TIME_FORMAT)}
    write_info(run, **(begin if info is None else info))
    (output / paths.CURRENT).symlink_to(run.relative_to(output))
    return run


class HourPredictor:
    """A predictor whose answer can be told from the record: low by night, medium by day, high in business hours."""

    contract = RequestContract(CLASSIC)
    info = Info.parse(json.dumps(made_up_info()).encode(), "made up")

    def __init__(self) -> None:
        self.tables: list[pa.Table] = []

    def score(self, body: bytes) -> Scored:
        return self.score_table(self.contract.read_request(body))

    def score_columns(self, columns: Columns) -> Scored:
        given = {
            schema.SERVER: columns.servers,
            schema.HOUR: [datetime.fromisoformat(hour) for hour in columns.hours],
            **dict(zip(whole_names(CLASSIC), columns.whole.T, strict=True)),
            **dict(zip(number_names(CLASSIC), columns.numbers.T, strict=True)),
        }
        return self.score_table(pa.table({name: given[name] for name in self.contract.schema.names}))

    def score_table(self, table: pa.Table) -> Scored:
        self.tables.append(table)
        answers = [answer_to(record) for record in table.to_pylist()]
        return Scored(
            [answer[schema.SERVER] for answer in answers],
            [answer[schema.HOUR] for answer in answers],
            np.array([answer[schema.PREDICTION] for answer in answers], dtype=np.intp),
            np.array([list(answer["probability"].values()) for answer in answers]).reshape(-1, 3),
            np.array([answer["cold_start"] for answer in answers], dtype=bool),
        )


class BrokenPredictor(HourPredictor):
    """A predictor that fails, with words that no client may read."""

    def __init__(self, words: str = "secret detail") -> None:
        super().__init__()
        self._words = words

    def score_table(self, table: pa.Table) -> Scored:
        raise RuntimeError(self._words)


def answer_to(record: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to one record, right in every respect."""
    hour = record["hourofday"]
    label = 3 if 8 <= hour <= 17 else 2 if 6 <= hour <= 21 else 1
    shares = np.full(3, 0.1)
    shares[label - 1] = 0.8
    return {
        schema.SERVER: record[schema.SERVER],
        schema.HOUR: str(record[schema.HOUR]),
        schema.PREDICTION: label,
        schema.LABEL: schema.CLASS_NAMES[label],
        "probability": dict(zip(schema.CLASS_NAMES.values(), shares.tolist(), strict=True)),
        "cold_start": record[schema.SERVER].startswith("10."),
    }


@contextmanager
def running_service(predictor: HourPredictor, key: str | None = None) -> Iterator[str]:
    """The scoring service on a free port of this machine; gives its address."""
    keys = None if key is None else Keys.parse(key.encode(), "key")
    with served(create_app(predictor, keys=keys, name="loadcast")) as address:
        yield address


@contextmanager
def served(application: WSGIApplication) -> Iterator[str]:
    """An application on a free port of this machine; gives its address."""
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
