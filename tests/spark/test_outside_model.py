"""A family of models of another package: through training, bundle, service and client, without a change to loadcast."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import runs
import toymodel
from entry_points import install
from loadcast import paths, schema
from loadcast.errors import ArtefactError, ConfigError
from loadcast.kernels.features import CLASSIC
from loadcast.models.registry import ENTRY_POINTS
from loadcast.pipeline.run import run_train
from loadcast.serving.bundle import load_bundle
from loadcast.serving.client import ScoringClient
from loadcast.serving.predictor import Predictor
from loadcast.serving.request_contract import RequestContract
from loadcast.serving.statistics import open_statistics, scoring_features
from published import running_service
from reference import feature_matrix

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = install(tmp_path_factory.mktemp("site"), "toymodel", {ENTRY_POINTS: {"toy": "toymodel:FAMILY"}})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


@pytest.fixture(scope="module")
def toy(hostile: runs.Run, tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    """The toy, trained on what ETL made of the hostile logs."""
    output = tmp_path_factory.mktemp("toy") / "output"
    shutil.copytree(hostile.settings.output, output, symlinks=True)
    settings = hostile.settings.model_copy(update={"model": "toy", "output": str(output)})
    return runs.train(replace(hostile, settings=settings))


def test_the_bundle_s_own_metadata_says_what_model_it_holds(toy: runs.Run) -> None:
    assert isinstance(load_bundle(toy.folder).model, toymodel.Centroids)
    assert toy.info["model"] == "toy"
    assert "forest" not in toy.info


def test_training_s_answers_are_the_service_s(toy: runs.Run) -> None:
    bundle = load_bundle(toy.settings.output)
    wanted = bundle.model.predict(feature_matrix(runs.test_rows(toy), bundle.encoders))
    actual = runs.table(toy, paths.PREDICTIONS)
    assert actual.column(schema.PREDICTION).to_pylist() == wanted.labels.tolist()
    for name, shares in zip(schema.PROBABILITY_COLUMNS.values(), wanted.probabilities.T, strict=True):
        assert np.array_equal(actual.column(name).to_numpy(), shares)
    assert set(wanted.labels.tolist()) == {1, 2, 3}


def test_it_is_scored_beside_the_same_naive_forecasts_as_the_forest(hostile: runs.Run, toy: runs.Run) -> None:
    for part in ("train", "test"):
        assert toy.metrics[part]["naive"] == hostile.metrics[part]["naive"]
        assert toy.metrics[part]["rows"] == hostile.metrics[part]["rows"]
        assert toy.metrics[part]["accuracy"] != hostile.metrics[part]["accuracy"]


def test_service_and_client_answer_from_it(toy: runs.Run) -> None:
    sources = scoring_features(open_statistics(Path(toy.settings.output)), None, toy.settings.split)
    records = [record for source in sources for record in source.records()][:96]
    predictor = Predictor.load(toy.settings.output)
    with running_service(predictor) as url, ScoringClient(url) as client:
        answers = list(client.score_in_batches(records))
    wanted = [answer["prediction"] for answer in predictor.predict(_as_table(records)).values()]
    assert [answer.label for answer in answers] == wanted
    assert len(answers) == 96


def _as_table(records: list[dict[str, object]]) -> pa.Table:
    return RequestContract(CLASSIC).read_records(records)


def test_where_its_package_is_gone_the_service_says_so(toy: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadcast.models.registry.entry_points", lambda group: ())
    with pytest.raises(ArtefactError, match=r"holds toymodel.Centroids, .* Install the package"):
        load_bundle(toy.folder)


def test_a_name_that_nobody_knows_is_told_before_anything_is_read(toy: runs.Run) -> None:
    settings = toy.settings.model_copy(update={"model": "tree", "output": "/nowhere/at/all"})
    with pytest.raises(ConfigError, match="wanted one of boosted, forest, toy"):
        run_train(settings, runs.OPTIONS)


def test_the_forest_can_be_trained_again_on_the_same_features(toy: runs.Run, hostile: runs.Run) -> None:
    again = runs.train(replace(toy, settings=toy.settings.model_copy(update={"model": "forest"})))
    assert json.dumps(again.metrics) == json.dumps(hostile.metrics)
    assert runs.same_bits(runs.table(again, paths.PREDICTIONS), runs.table(hostile, paths.PREDICTIONS)) == []
