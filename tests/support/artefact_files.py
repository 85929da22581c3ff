"""Artefacts of a run as plain values, whole and small, for tests to write and to spoil."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from loadcast import paths, schema
from loadcast.kernels.features import CLASSIC

#: `info` as the public sample's ETL wrote it.
PUBLIC_SAMPLE_INFO: dict[str, Any] = {
    "trainBegin": "2016-06-01 00:00:00",
    "trainEnd": "2016-06-30 23:59:59",
    "testSplitStart": "2016-06-29 00:00:00",
    "dataFile": "wasb://data@account.blob.core.windows.net/2016/06/[a]/0/request.csv",
    "duration": "ONE_MONTH",
    "columnOnlyIndexed": ["year_indexed", "month_indexed"],
    "columnForEncode": ["dayofweek_indexed", "ServerIP_indexed"],
}
ONLY_INDEXED, FOR_ENCODE = ("year",), ("ServerIP", "hourofday")


def made_up_info(**changes: Any) -> dict[str, Any]:
    """`info` as the commit before format versions wrote it."""
    info = {
        "duration": "CUSTOM",
        "dataFile": "data/request.csv",
        "trainBegin": "2016-06-01 00:00:00",
        "trainEnd": "2016-06-30 23:59:59",
        "testSplitStart": "2016-06-29 00:00:00",
        "trainPeriod": {"from": "2016-06-01 00:00:00", "to": "2016-06-28 23:59:59"},
        "testPeriod": {"from": "2016-06-29 00:00:00", "to": "2016-06-30 23:59:59"},
        "lowThreshold": 200.0,
        "highThreshold": 500.0,
        "timezone": "UTC",
        "holidayCountry": "US",
        "filterServers": None,
        "columnOnlyIndexed": list(ONLY_INDEXED),
        "columnForEncode": list(FOR_ENCODE),
        "featureColumns": list(CLASSIC.vector(ONLY_INDEXED, FOR_ENCODE)),
        "versions": {"loadcast": "0.1.0"},
        "files": {},
    }
    return {**info, **changes}


def write_info(folder: Path, **changes: Any) -> None:
    """Write that `info` into a run's folder."""
    (folder / paths.INFO).write_text(json.dumps(made_up_info(**changes)))


def made_up_scores(**more: Any) -> dict[str, Any]:
    """Scores of one forecast."""
    one_class = {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "support": 3}
    means = ("accuracy", "weightedPrecision", "weightedRecall", "weightedF1", "macroF1")
    return {
        "rows": 9,
        **dict.fromkeys(means, 0.5),
        "perClass": dict.fromkeys(schema.CLASS_NAMES.values(), one_class),
        "confusionMatrix": {"labels": ["low", "medium", "high"], "rowsAreTrueClass": [[1, 1, 1]] * 3},
        **more,
    }


def made_up_metrics(**changes: Any) -> dict[str, Any]:
    """metrics.json as the commit before format versions wrote it."""
    part = made_up_scores(
        logLoss=0.5,
        naive={"mostFrequent": made_up_scores()},
        bestNaive="mostFrequent",
        liftOverBestNaive={"accuracy": 0.0, "macroF1": -0.25},
    )
    return {"train": part, "test": part, **changes}


def made_up_quality(**changes: Any) -> dict[str, Any]:
    """quality.json as the commit before format versions wrote it."""
    counted = {
        "bytes": 100,
        "rows": 10,
        "blank": 0,
        "good": 8,
        "outsidePeriod": 1,
        "otherServer": 0,
        "rejected": 1,
        "rejectedFraction": 0.1,
        "rejectedByReason": {"HEADER": 1},
        "repaired": 1,
        "repairedByColumn": {"TotalLoad": {"empty": 1}},
        "breaches": 0,
        "breachesByColumn": {},
    }
    seen = {"firstTime": "2016-06-01 00:00:00", "lastTime": "2016-06-30 23:00:00"}
    server = {"server": "10.0.0.1", **seen, "hoursObserved": 8, "hoursWithoutData": 712}
    servers = {
        "number": 1,
        "hoursWithoutData": 712,
        "appearedNumber": 0,
        "disappearedNumber": 0,
        "appeared": [],
        "disappeared": [],
        "listed": [server],
    }
    files = [{"file": "data/\udcff.csv", **counted, "standsOut": False}]
    contract = {"TotalLoad": {"max": 5, "onBreach": "count"}}
    whole = {"servers": servers, "filesThatStandOut": [], "files": files}
    return {"filterIp": False, "contract": contract, "version": 2, **counted, **seen, **whole, **changes}
