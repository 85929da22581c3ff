"""A published run with a model that is right until a day, and naive forecasts that are right after it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from artefact_files import made_up_metrics, made_up_scores
from loadcast import paths, schema
from loadcast.kernels.evaluation import MOST_FREQUENT
from loadcast.kernels.tally import ANSWERS, MODEL
from published import publish

SERVERS = ("10.0.0.1", "10.0.0.2")
BEGIN, SPLIT, END = datetime(2016, 5, 1), datetime(2016, 6, 1), datetime(2016, 6, 15)
NAIVE = (*(name for name in ANSWERS if name != MODEL), MOST_FREQUENT)
LOADS = {1: 100.0, 2: 300.0, 3: 900.0}
INFO = {
    "trainBegin": BEGIN.strftime(schema.TIME_FORMAT),
    "testSplitStart": SPLIT.strftime(schema.TIME_FORMAT),
    "trainEnd": (END - timedelta(seconds=1)).strftime(schema.TIME_FORMAT),
}


def class_at(time: datetime, breaks_at: datetime | None = None) -> int:
    """Low by night, medium by day, and high in the evening; from `breaks_at` on low, always."""
    if breaks_at is not None and time >= breaks_at:
        return 1
    return 1 + (time.hour >= 8) + (time.hour >= 18)


def hourly(breaks_at: datetime | None = None) -> pa.Table:
    """Hourly statistics of all servers."""
    times = [BEGIN + timedelta(hours=hour) for hour in range((END - BEGIN) // timedelta(hours=1))]
    rows = [(server, time) for server in SERVERS for time in times]
    loads = [LOADS[class_at(time, breaks_at)] for _, time in rows]
    columns: dict[str, Any] = {
        schema.KEY: [f"{server}_{time}" for server, time in rows],
        schema.SERVER: [server for server, _ in rows],
        schema.HOUR: [time for _, time in rows],
        **dict.fromkeys(schema.PEAKS, loads),
        schema.OBSERVED: [True] * len(rows),
    }
    return pa.table(columns, schema=schema.HOURLY_SCHEMA)


def predictions(servers: tuple[str, ...] = SERVERS, begin: datetime = SPLIT, end: datetime = END) -> pa.Table:
    """Forecasts that know of no break: schema.PREDICTIONS_SCHEMA."""
    times = [begin + timedelta(hours=hour) for hour in range((end - begin) // timedelta(hours=1))]
    rows = [(server, time) for server in servers for time in times]
    labels = np.array([class_at(time) for _, time in rows])
    shares = np.full((len(rows), 3), 0.1)
    shares[np.arange(len(rows)), labels - 1] = 0.8
    columns: dict[str, Any] = {
        schema.KEY: [f"{server}_{time}" for server, time in rows],
        schema.SERVER: [server for server, _ in rows],
        schema.HOUR: [time for _, time in rows],
        schema.OBSERVED: [True] * len(rows),
        schema.LABEL: labels,
        schema.PREDICTION: labels.astype(np.float64),
        **dict(zip(schema.PROBABILITY_COLUMNS.values(), shares.T, strict=True)),
    }
    return pa.table(columns, schema=schema.PREDICTIONS_SCHEMA)


def publish_monitored(folder: Path, breaks_at: datetime | None = None) -> Path:
    """Publish it all below a folder; gives the configuration's path."""
    output = folder / "output"
    run = publish(output, hourly(breaks_at), INFO)
    (output / paths.MODEL).symlink_to(run.relative_to(output))
    right = made_up_scores()
    right["confusionMatrix"]["rowsAreTrueClass"] = [[90, 10, 0], [10, 80, 10], [0, 10, 90]]
    metrics = made_up_metrics()
    metrics["train"] = {**metrics["train"], "naive": dict.fromkeys(NAIVE, right)}
    (run / paths.METRICS).write_text(json.dumps(metrics))
    (run / paths.PREDICTIONS).mkdir()
    pq.write_table(predictions(), run / paths.PREDICTIONS / "part-0.parquet")
    config = folder / "config.json"
    settings = {"duration": "CUSTOM", "dataFile": "x.csv", "output": str(output), "lowThreshold": 200}
    config.write_text(json.dumps({**settings, "highThreshold": 500, **INFO}))
    return config
