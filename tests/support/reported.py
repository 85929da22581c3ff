"""A published run that has all that a report can show: many servers, horizons, costs, and names meant to do harm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import old_run
from loadcast import paths, schema

EVIL = "\"'><script src=//evil.example/x.js>alert(1)</script><img src=x onerror=alert(2)>&amp;\x1b[31m\u202e\udcff"
BEGIN = datetime(2016, 6, 27)
_HOURS, _EVERY_H, _AHEAD_H = 96, 6, 48
_COLUMNS = (schema.SERVER, schema.HOUR, schema.OBSERVED, schema.LABEL, schema.PREDICTION)


def run_with_all(folder: Path, servers: int = 24) -> Path:
    """The output folder of such a run: the run of before format versions, with tables and scores of its own."""
    old_run.copied(folder)
    output = folder / "output"
    run = (output / paths.CURRENT).resolve()
    _replace(run / paths.PREDICTIONS, direct_predictions([f"10.0.0.{at}" for at in range(servers - 1)] + [_server()]))
    _change(run / paths.METRICS, _metrics)
    _change(run / paths.QUALITY, _quality)
    _change(run / paths.INFO, lambda info: {**info, "dataFile": EVIL, "timezone": EVIL, "model": EVIL})
    return output


def _server() -> str:
    """A name as hostile as a table's UTF-8 can be."""
    return EVIL.replace("\udcff", "")


def direct_predictions(servers: list[str]) -> pa.Table:
    """Forecasts of each hour from several origins: the longer the horizon, the oftener wrong; later servers more."""
    rng = np.random.default_rng(0)
    rows: dict[str, list[Any]] = {name: [] for name in (*_COLUMNS, schema.HORIZON)}
    for place, server in enumerate(servers):
        truth = 1 + (np.arange(_HOURS) % 24 >= 8).astype(int) + (np.arange(_HOURS) % 24 >= 16)
        for origin in range(-_AHEAD_H, _HOURS, _EVERY_H):
            for horizon in range(1, _AHEAD_H + 1):
                hour = origin + horizon
                if not 0 <= hour < _HOURS:
                    continue
                wrong = rng.random() < horizon / 200 + place / 60
                said = int(truth[hour]) % 3 + 1 if wrong else int(truth[hour])
                values = (server, BEGIN + timedelta(hours=hour), hour % 31 != 0, int(truth[hour]), float(said), horizon)
                for name, value in zip(rows, values, strict=True):
                    rows[name].append(value)
    types = [*(schema.PREDICTIONS_SCHEMA.field(name) for name in _COLUMNS), pa.field(schema.HORIZON, pa.int32())]
    return pa.table(rows, schema=pa.schema(types))


def _replace(folder: Path, table: pa.Table) -> None:
    for file in folder.glob("*.parquet"):
        file.unlink()
    half = table.num_rows // 2
    for number, part in enumerate((table.slice(half), table.slice(0, half))):
        pq.write_table(part, folder / f"part-{number}.parquet")


def _change(file: Path, change: Any) -> None:
    file.write_text(json.dumps(change(json.loads(file.read_text()))))


def _metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    test = dict(metrics["test"])
    test["byHorizon"] = [
        {"horizonHours": ahead, "rows": 90, "accuracy": 0.8 - ahead / 400, "macroF1": 0.7, "naive": naive(ahead)}
        for ahead in range(1, _AHEAD_H + 1)
    ]
    bills = {name: {"total": total, "perRow": total / 90} for name, total in (("a", 12.5), ("b", 17.0), (EVIL, 1e9))}
    naive_bills = {EVIL: bills[EVIL], "mostFrequent": bills["b"]}
    test["costs"] = {"decision": bills["a"], "prediction": bills["b"], "naive": naive_bills, "bestNaive": EVIL}
    test["expectedCalibrationError"], test["brierScore"] = 0.0123, 0.3
    test["reliability"] = [
        {"from": at / 10, "to": (at + 1) / 10, "rows": 5 * at, "accuracy": at / 10, "confidence": at / 10 + 0.05}
        for at in range(4, 10)
    ]
    return {**metrics, "test": test, "warning": EVIL}


def naive(ahead: int) -> dict[str, float]:
    """Accuracies of two naive forecasts: the first is ahead of the model for some hours."""
    return {"classOfLastObservedHour": 0.9 / ahead**0.3, EVIL: 0.6}


def _quality(quality: Mapping[str, Any]) -> dict[str, Any]:
    servers = {**quality["servers"], "appeared": [EVIL], "appearedNumber": 1}
    reasons = {EVIL: 7, "header": 3}
    return {**quality, "servers": servers, "rejectedByReason": reasons, "filesThatStandOut": [EVIL, "b" * 5000]}
