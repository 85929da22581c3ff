"""An independent oracle of the data contract: slow, plain, and written from Docs/DATA.md and not from the package.

`run` takes session logs through every stage and returns frames to compare the pipeline with.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from oracle import quality, rows, stages
from oracle.stages import dense

__all__ = ["OracleResult", "dense", "run"]

REASONS = ("field_count", "header", "server_ip", "session_start", "contract")
KINDS = ("missing", "not_a_number", "negative", "too_large")


@dataclass(frozen=True)
class OracleResult:
    """Every stage of a run.

    `features` holds one-hot columns as (number of slots, hot slot or None); `dense` writes one out. `counts` has rows,
    blank, good, outsidePeriod, otherServer, rejected {reason: n}, repaired {column: {kind: n}}, breaches {column: n}
    (zeros included) and rejectedFraction; `quality` what quality.json says of the time, of servers and of files that
    stand out. `levels`, `only_indexed` and `for_encode` are empty where no test_split_start was given.
    """

    hourly: pd.DataFrame
    daily: pd.DataFrame
    features: pd.DataFrame
    rejected: pd.DataFrame
    counts: dict
    quality: dict
    levels: dict[str, list[str]]
    only_indexed: tuple[str, ...]
    for_encode: tuple[str, ...]


def run(
    files: Iterable[Path],
    *,
    train_begin: datetime,
    train_end: datetime,
    test_split_start: datetime | None,
    low: float,
    high: float,
    holidays: set[date],
    columns: Sequence[str] | None = None,
    keep_servers: Iterable[str] | None = None,
    contract: Mapping[str, Mapping] | None = None,
) -> OracleResult:
    """Take files through every stage. Without test_split_start nothing is encoded or scaled."""
    readings = {
        str(path): rows.read_rows(
            _content(Path(path)),
            train_begin,
            train_end,
            None if columns is None else tuple(columns),
            None if keep_servers is None else set(keep_servers),
            contract,
        )
        for path in files
    }
    sessions = [session for reading in readings.values() for session in reading.sessions]
    hourly, observed = stages.make_hourly(stages.make_buckets(sessions))
    daily = stages.make_daily(hourly)
    hourly_frame = _hourly_frame(hourly, observed)
    features = _features_frame(hourly_frame, stages.make_features(hourly, daily, holidays, train_begin), low, high)
    levels: dict[str, list[str]] = {}
    if test_split_start is not None:
        training = features["observed"] & (features["SessionStartHourTime"] < test_split_start)
        features, levels = encode(features, training)
    return OracleResult(
        hourly=hourly_frame,
        daily=_daily_frame(daily),
        features=features,
        rejected=_rejected_frame(readings),
        counts=_counts(list(readings.values())),
        quality={**quality.coverage(sessions), "filesThatStandOut": quality.stand_out(readings)},
        levels=levels,
        only_indexed=tuple(name for name in levels if len(levels[name]) == 1),
        for_encode=tuple(name for name in levels if len(levels[name]) > 1),
    )


def encode(features: pd.DataFrame, training: pd.Series) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Add the indexed, one-hot and scaled columns, fitted on the training rows; also gives the levels."""
    if not training.any():
        raise ValueError("no training rows: the contract says nothing of encoders fitted on nothing")
    added: dict[str, object] = {}
    levels = {name: stages.order_levels(features.loc[training, name]) for name in stages.CATEGORICAL}
    for name in stages.CATEGORICAL:
        index = {value: stages.index_of(value, levels[name]) for value in features[name].unique()}
        added[f"{name}_indexed"] = np.array([index[value] for value in features[name]], dtype="float64")
        if len(levels[name]) > 1:
            size = len(levels[name])
            added[f"{name}_indexed_encoded"] = [stages.one_hot(index[value], size) for value in features[name]]
    for name in stages.SCALED_SOURCES:
        fitted = stages.fit_scale(features.loc[training, name].tolist())
        added[f"scaled{name}"] = np.array([stages.scale(value, *fitted) for value in features[name]], dtype="float64")
    return pd.concat([features, pd.DataFrame(added, index=features.index)], axis=1), levels


def _content(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if path.name.endswith(".gz") else data


def _times(values: list[datetime]) -> np.ndarray:
    return np.array(values, dtype="datetime64[us]")


def _hourly_frame(hourly: stages.Series, observed: dict[str, set[datetime]]) -> pd.DataFrame:
    grid = [(server, hour) for server in sorted(hourly) for hour in hourly[server]]
    frame: dict[str, object] = {
        "key": np.array([f"{server}_{hour.isoformat(sep=' ')}" for server, hour in grid], dtype=object),
        "ServerIP": np.array([server for server, _ in grid], dtype=object),
        "SessionStartHourTime": _times([hour for _, hour in grid]),
    }
    for position, name in enumerate(stages.PEAKS):
        frame[name] = np.array([hourly[server][hour][position] for server, hour in grid], dtype="float64")
    frame["observed"] = np.array([hour in observed[server] for server, hour in grid], dtype=bool)
    return pd.DataFrame(frame)


def _daily_frame(daily: stages.Series) -> pd.DataFrame:
    grid = [(server, day) for server in sorted(daily) for day in daily[server]]
    frame: dict[str, object] = {
        "ServerIP": np.array([server for server, _ in grid], dtype=object),
        "SessionStartDay": _times([day for _, day in grid]),
    }
    for position, name in enumerate(stages.DAILY):
        frame[name] = np.array([daily[server][day][position] for server, day in grid], dtype="float64")
    return pd.DataFrame(frame)


def _features_frame(hourly: pd.DataFrame, table: dict[str, list], low: float, high: float) -> pd.DataFrame:
    frame = hourly[["key", "ServerIP", "SessionStartHourTime", "peakLoad", "observed"]].copy()
    labels = [stages.make_label(value, low, high) for value in frame["peakLoad"]]
    added: dict[str, object] = {"label": np.array(labels, dtype="int32")}
    for name in stages.CALENDAR:
        added[name] = np.array(table[name], dtype="int32")
    for name in ("linearTrend", *stages.SCALED_SOURCES):
        added[name] = np.array(table[name], dtype="float64")
    return pd.concat([frame, pd.DataFrame(added, index=frame.index)], axis=1)


def _rejected_frame(readings: dict[str, rows.Reading]) -> pd.DataFrame:
    records = [(name, *entry) for name, reading in readings.items() for entry in reading.rejected]
    frame = pd.DataFrame(records, columns=["file", "byteOffset", "reason", "line"])
    return frame.astype({"file": object, "byteOffset": "int64", "reason": object, "line": object})


def _counts(readings: list[rows.Reading]) -> dict:
    reasons = Counter(reason for reading in readings for _, reason, _ in reading.rejected)
    repaired: Counter[tuple[str, str]] = Counter()
    breaches: Counter[str] = Counter()
    for reading in readings:
        repaired.update(reading.repaired)
        breaches.update(reading.breaches)
    total = sum(reading.rows for reading in readings)
    return {
        "rows": total,
        "blank": sum(reading.blank for reading in readings),
        "good": sum(len(reading.sessions) for reading in readings),
        "outsidePeriod": sum(reading.outside_period for reading in readings),
        "otherServer": sum(reading.other_server for reading in readings),
        "rejected": {reason: reasons[reason] for reason in REASONS},
        "repaired": {name: {kind: repaired[name, kind] for kind in KINDS} for name in rows.NUMBER_COLUMNS},
        "breaches": {name: breaches[name] for name in rows.NUMBER_COLUMNS},
        "rejectedFraction": reasons.total() / total if total else 0.0,
    }
