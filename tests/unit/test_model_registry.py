"""Which family a name, or a saved folder, stands for: loadcast's own, and those of installed packages."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bundles import random_features, write_bundle
from entry_points import install
from loadcast import paths
from loadcast.errors import ArtefactError, ConfigError, EnvironmentNotReadyError
from loadcast.models import walk
from loadcast.models.forest_family import FOREST, ForestModel
from loadcast.models.model import ModelFamily
from loadcast.models.registry import ENTRY_POINTS, family_named, load_model
from loadcast.models.saved import SavedFiles
from loadcast.serving.bundle import load_bundle
from loadcast.serving.predictor import Predictor
from loadcast.settings import parse_settings
from reference import feature_matrix
from toymodel import SAVED_CLASS, Centroids

Install = Callable[..., None]
NOT_A_FAMILY = "just a text"
ALIAS = ModelFamily("toy", "x.Y", lambda saved: Centroids(np.zeros((3, 5))), "x:fit")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    def put(**points: str) -> None:
        monkeypatch.syspath_prepend(install(tmp_path / "site", "some-package", {ENTRY_POINTS: points}))

    return put


def saved(saved_class: str) -> SavedFiles:
    """A model folder of that class, with the toy's table."""
    table = io.BytesIO()
    pq.write_table(pa.table({"label": [1.0, 3.0], "mean": [[0.0, 0.0], [4.0, 0.0]]}), table)
    files = {
        "metadata/part-00000": json.dumps({"class": saved_class}).encode(),
        "data/part-0.parquet": table.getvalue(),
    }
    return SavedFiles(Path("/some/where"), {f"{paths.FOREST_MODEL}/{name}": data for name, data in files.items()})


def test_the_forest_is_there_without_any_package() -> None:
    assert family_named("forest") is FOREST


def test_the_configuration_s_default_is_the_forest() -> None:
    settings = parse_settings({"dataFile": "x", "duration": "FULL", "output": "y"})
    assert settings.model == FOREST.name


@pytest.mark.parametrize("name", ["", "a b", "x" * 101, "é", 3, None])
def test_a_name_that_no_family_can_have_is_refused_with_the_configuration(name: object) -> None:
    with pytest.raises(ConfigError, match="model: found"):
        parse_settings({"dataFile": "x", "duration": "FULL", "output": "y", "model": name})


def test_an_unknown_name_is_refused_with_those_that_there_are(installed: Install) -> None:
    installed(toy="toymodel:FAMILY", broken="no_such_module:FAMILY")
    with pytest.raises(ConfigError, match="model: found 'tree', wanted one of boosted, broken, forest, toy"):
        family_named("tree")


def test_an_installed_family_is_known_by_name_and_by_what_it_saved(installed: Install) -> None:
    installed(toy="toymodel:FAMILY")
    assert family_named("toy").saved_class == SAVED_CLASS
    actual = load_model(saved(SAVED_CLASS), 2).predict(np.array([[1.0, 0.0], [4.0, 1.0], [2.0, 7.0]]))
    assert actual.labels.tolist() == [1, 3, 1]  # the first of equals
    assert actual.probabilities[:, 1].tolist() == [0, 0, 0]
    assert actual.probabilities.sum(axis=1) == pytest.approx(1)


def test_a_package_cannot_stand_in_for_loadcast_s_own(installed: Install) -> None:
    installed(forest="toymodel:FAMILY")
    assert family_named("forest") is FOREST


@pytest.mark.parametrize(
    "value", ["no_such_module:FAMILY", "toymodel:NOTHING", "unit.test_model_registry:NOT_A_FAMILY", "toymodel:load"]
)
def test_a_package_that_is_broken_is_named(installed: Install, value: str) -> None:
    installed(toy=value)
    for ask in (lambda: family_named("toy"), lambda: load_model(saved(SAVED_CLASS), 2)):
        with pytest.raises(EnvironmentNotReadyError, match=r"some-package"):
            ask()


def test_a_model_of_no_known_family_is_refused_with_what_to_do() -> None:
    with pytest.raises(ArtefactError, match=r"mlModel in /some/where holds toymodel.Centroids, .* Install the package"):
        load_model(saved(SAVED_CLASS), 2)


def test_a_model_of_another_width_is_refused(installed: Install) -> None:
    installed(toy="unit.test_model_registry:ALIAS")
    with pytest.raises(ArtefactError, match="takes 5 features, wanted 2"):
        load_model(saved(ALIAS.saved_class), 2)


def test_the_service_answers_alike_with_and_without_the_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = random_features(300, seed=5)
    folder = write_bundle(tmp_path / "bundle", rows)
    assert walk.is_available()
    compiled = Predictor.load(folder).predict(rows)
    monkeypatch.setattr(walk, "is_available", lambda: False)
    assert Predictor.load(folder).predict(rows) == compiled


def test_probabilities_are_those_of_the_predictions(tmp_path: Path) -> None:
    rows = random_features(50)
    bundle = load_bundle(write_bundle(tmp_path / "bundle", rows))
    matrix = feature_matrix(rows, bundle.encoders)
    assert isinstance(bundle.model, ForestModel)
    assert np.array_equal(bundle.model.probabilities(matrix), bundle.model.predict(matrix).probabilities)


@pytest.mark.parametrize("broken", [True, False])
def test_a_service_without_the_compiler_loads_and_answers(tmp_path: Path, broken: bool) -> None:
    """As a fresh process sees it: numba is not installed, or refuses to be imported with this numpy."""
    folder = write_bundle(tmp_path / "bundle", random_features(50))
    fault = "ImportError('Numba needs NumPy 1 or less')" if broken else "ModuleNotFoundError(name)"
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name in ('numba', 'llvmlite', 'pyspark'): raise {fault}\n"
        "sys.meta_path.insert(0, Absent())\n"
        "sys.path[:0] = ['tests/support', 'Code']\n"
        "from bundles import random_features\n"
        "from loadcast.serving.predictor import Predictor\n"
        f"print(len(Predictor.load({str(folder)!r}).predict(random_features(3))))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.stderr) == ("3", "")
