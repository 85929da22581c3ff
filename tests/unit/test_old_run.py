"""What an older loadcast has written goes on working: it is loaded, scored with, looked at and brought elsewhere."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import classic
import old_run
from loadcast import paths, schema
from loadcast.artefacts.info import Info
from loadcast.artefacts.metrics import Metrics
from loadcast.artefacts.quality import Quality
from loadcast.cli.main import main
from loadcast.serving.predictor import Predictor
from loadcast.serving.request_contract import RequestContract
from loadcast.serving.statistics import newest_hour, open_statistics, scoring_features
from loadcast.storage.download import download_model
from loadcast.storage.output import FolderOutput

RUN = old_run.OUTPUT / paths.CURRENT


def read(name: str) -> pa.Table:
    files = sorted((RUN / name).rglob("*.parquet"))
    return pa.concat_tables(pq.ParquetFile(file).read() for file in files).sort_by(schema.KEY)


@pytest.mark.parametrize("kind", [Info, Quality, Metrics])
def test_every_artefact_is_read_and_loses_nothing(kind: type[Info | Quality | Metrics]) -> None:
    old = json.loads((RUN / kind.FILE).read_bytes())
    new = json.loads(kind.read(RUN).encoded())
    assert new.pop("formatVersion") == kind.VERSION
    old.pop("version", None)
    assert new == old


def test_the_old_bundle_gives_the_answers_that_training_wrote_down() -> None:
    wanted = read(paths.PREDICTIONS)
    features = read(paths.FEATURES)
    features = features.filter(pa.compute.is_in(features.column(schema.KEY), wanted.column(schema.KEY)))
    answers = Predictor.load(old_run.OUTPUT).predict(
        features.select(classic.REQUEST_SCHEMA.names).cast(classic.REQUEST_SCHEMA)
    )
    actual = np.array([list(answer["probability"].values()) for answer in answers.values()])
    columns = [wanted.column(name).to_numpy() for name in schema.PROBABILITY_COLUMNS.values()]
    assert actual.shape == (144, 3)
    assert np.array_equal(actual, np.column_stack(columns))


def test_the_old_statistics_make_features_that_the_old_bundle_scores() -> None:
    statistics = open_statistics(old_run.OUTPUT)
    assert newest_hour(statistics) == datetime(2016, 6, 14, 23)
    for source in scoring_features(statistics, old_run.SERVERS, datetime(2016, 6, 15)):
        table = RequestContract(classic.CLASSIC).read_records([*source.records()])
        assert len(Predictor.load(old_run.OUTPUT).predict(table)) == schema.HORIZON_HOURS


def test_the_old_report_is_shown() -> None:
    result = CliRunner().invoke(main, ["quality", str(old_run.OUTPUT)])
    assert result.exit_code == 0
    assert "12,000" in result.stdout


def test_the_old_bundle_is_brought_elsewhere_as_it_is(tmp_path: Path) -> None:
    download_model(FolderOutput(old_run.OUTPUT), tmp_path / "model")
    assert (tmp_path / "model" / paths.INFO).read_bytes() == (RUN / paths.INFO).read_bytes()
    assert Predictor.load(tmp_path / "model").info.files
