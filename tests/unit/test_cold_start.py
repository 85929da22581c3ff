"""Servers with little history, or none: they get the same features as any other, of what is known, and a flag."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from loadcast import schema
from loadcast.kernels.encode import Encoders
from loadcast.kernels.features import DIRECT, EXTENDED, FeatureSet
from loadcast.serving.columns import MatrixBuilder, columns_of
from loadcast.serving.request_contract import RequestContract
from loadcast.serving.statistics import open_statistics, scoring_features
from published import TRAIN_BEGIN, hourly_statistics, publish

OLD, YOUNG = "10.0.0.1", "10.0.0.2"
DAYS = 40
BEGIN = TRAIN_BEGIN + timedelta(days=DAYS)


@pytest.fixture(params=[DIRECT, EXTENDED], ids=lambda features: features.name)
def features(request: pytest.FixtureRequest) -> FeatureSet:
    return request.param


def encoders(features: FeatureSet) -> Encoders:
    return Encoders(features, {"Holiday": ("0",)}, ("Holiday",), (), np.zeros(1), np.ones(1))


def opened(output: Path, features: FeatureSet, days: int) -> Path:
    """Statistics of a server of `DAYS` days, and of another whose history before its last `days` days is hidden."""
    import pyarrow as pa

    tables = [hourly_statistics(OLD, TRAIN_BEGIN, DAYS * 24)]
    if days:
        tables.append(hourly_statistics(YOUNG, BEGIN - timedelta(days=days), days * 24))
    known = {"featureSet": {"name": features.name, "version": features.version}, "formatVersion": 3}
    begin = {"trainBegin": TRAIN_BEGIN.strftime(schema.TIME_FORMAT)}
    publish(output, pa.concat_tables(tables), {**begin, **known})
    return output


@pytest.mark.parametrize("days", [0, 1, 7, 20])
def test_a_server_with_little_history_is_answered_from_what_is_known_and_flagged(
    tmp_path: Path, features: FeatureSet, days: int
) -> None:
    statistics = open_statistics(opened(tmp_path, features, days))
    old, young = scoring_features(statistics, [OLD, YOUNG], BEGIN)
    builder, contract = MatrixBuilder(encoders(features)), RequestContract(features)
    flags = []
    for source in (old, young):
        read = contract.read_records(list(source.records()))  # every value is one that the service takes
        matrix, cold_start = builder.matrix(columns_of(read, features))
        assert matrix.shape == (48, encoders(features).n_features)
        flags.append(cold_start.tolist())
    assert flags == [[False] * 48, [True] * 48]
    rows = young.table()
    missing = {name for name in features.names if schema.MISSING in rows.column(name).to_pylist()}
    # A day of history holds the same hour of all hours that direct forecasts look at, and of half of the others.
    assert ("sameHourMean28" in missing) == (days == 0 or (days == 1 and features is EXTENDED))
    assert ("sameHourWeek1" in missing) == (days < 7)
    assert "sameHourWeek4" in missing
    assert not missing & {"localHour", "weekday", "boundsWidth", "knownHours672"}


def test_with_all_of_its_history_it_is_as_any_other(tmp_path: Path, features: FeatureSet) -> None:
    statistics = open_statistics(opened(tmp_path, features, DAYS))
    old, young = (source.table() for source in scoring_features(statistics, [OLD, YOUNG], BEGIN))
    assert old.select(features.names).equals(young.select(features.names))
