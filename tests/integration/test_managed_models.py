"""Registered models: MLflow's own registry on a real database, a store that holds each model whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import bundles
from loadcast import paths
from loadcast.cli.main import main
from loadcast.errors import ArtefactError, ConfigError, OutputError
from loadcast.experiments.history import database_uri, tracking_uri
from loadcast.experiments.locations import history_database
from loadcast.registry.locations import model_store
from loadcast.registry.manifests import find_manifest, list_manifests
from loadcast.registry.models import content, find_model, list_models, promote, register, rollback
from loadcast.registry.services import delete_service
from loadcast.registry.store import copied, put_together
from loadcast.serving.bundle import load_bundle
from managed import FAKE_SERVICE

pytestmark = pytest.mark.integration

PARTS = (*paths.BUNDLE_FOLDERS, paths.INFO)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two bundles that differ."""
    folder = tmp_path_factory.mktemp("models")
    training = bundles.random_features(60)
    return [bundles.write_bundle(folder / str(seed), training, seed=seed) for seed in (1, 2)]


@pytest.fixture
def project(tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "a project; $(x) 'ä' #%20"
    history_database(folder).parent.mkdir(parents=True)
    shutil.copy(template, history_database(folder))
    # A server that keeps the history has nothing to do with the models, which are folders of this machine.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    return folder


def run(project: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["model", *words, "--project", str(project)])


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith((".", "_"))
    }


def test_a_registered_model_comes_back_as_it_was(project: Path, models: list[Path], tmp_path: Path) -> None:
    done = run(project, "register", "-m", str(models[0]), "-n", "forecast", "-t", "fullmodel", "-t", "month=2016-06")
    assert done.output.splitlines()[:2] == ["Successfully registered model.", "Id: forecast:1"]
    assert find_model(project, "forecast").tags == {"fullmodel": "", "month": "2016-06"}
    target = tmp_path / "fetched"
    assert run(project, "download", "-m", "forecast:1", "-t", str(target)).exit_code == 0
    assert files(target) == files(models[0])
    assert load_bundle(target).info == load_bundle(models[0]).info
    again = run(project, "download", "-m", "forecast:1", "-t", str(target))
    assert (again.exit_code, "Choose a new or empty folder" in again.stderr) == (OutputError.exit_code, True)
    shown = json.loads(run(project, "show", "-m", "forecast", "-o", "json").output)
    assert (shown["id"], shown["holds"], files(Path(shown["folder"]))) == ("forecast:1", "bundle", files(models[0]))


def test_the_same_content_is_kept_once_and_another_beside_it(project: Path, models: list[Path]) -> None:
    same, other = (register(project, str(model), "forecast") for model in models)
    twin = register(project, str(models[0]), "twin", ["again"])
    assert (same.id, other.id, twin.id) == ("forecast:1", "forecast:2", "twin:1")
    assert same.digest == twin.digest != other.digest
    assert {path.name for path in model_store(project).iterdir()} == {same.digest, other.digest, ".lock"}
    assert [version.id for version in list_models(project)] == ["forecast:1", "forecast:2", "twin:1"]
    assert [version.id for version in list_models(project, tag="again")] == ["twin:1"]
    assert list_models(project, "nobody") == []


def test_the_same_model_once_more_is_said_to_be_that(project: Path, models: list[Path]) -> None:
    """As after a training that held its model back: its tags say a newer month, its files do not."""
    assert "same model" not in run(project, "register", "-m", str(models[0]), "-n", "forecast", "-t", "june").output
    again = run(project, "register", "-m", str(models[0]), "-n", "forecast", "-t", "july").output
    assert "It is the same model as forecast:1: nothing newer lies at" in again
    assert "same model" not in run(project, "register", "-m", str(models[1]), "-n", "forecast").output
    promote(project, "forecast:1")
    said = run(project, "promote", "-m", "forecast:2").output
    assert said == "forecast:2 is the champion. The champion before was forecast:1, the same model.\n"


def test_promote_and_rollback_move_the_champion(project: Path, models: list[Path]) -> None:
    for model in models:
        register(project, str(model), "forecast")
    assert find_model(project, "forecast").id == "forecast:2"  # the newest, as there is no champion
    promote(project, "forecast:1")
    assert find_model(project, "forecast").id == "forecast:1"
    with pytest.raises(ConfigError, match="no previous champion"):
        rollback(project, "forecast")
    said = run(project, "promote", "-m", "forecast:2").output
    assert said == "forecast:2 is the champion. The champion before was forecast:1.\n"
    assert find_model(project, "forecast@previous").id == "forecast:1"
    assert run(project, "rollback", "-n", "forecast", "-o", "value").output == "forecast:1\n"
    assert [(version.id, version.aliases) for version in list_models(project)] == [
        ("forecast:1", ("champion",)),
        ("forecast:2", ("previous",)),
    ]
    promote(project, "forecast:1")  # which it is: nothing changes
    assert rollback(project, "forecast")[0].id == "forecast:2"


def test_a_champion_that_is_damaged_is_refused(project: Path, models: list[Path]) -> None:
    for model in models:
        register(project, str(model), "forecast")
    promote(project, "forecast:2")
    damaged = content(project, find_model(project, "forecast:1")).folder
    (damaged / paths.INFO).write_bytes(b"{}")
    with pytest.raises(ArtefactError, match="was changed after it was registered"):
        promote(project, "forecast:1")
    register(project, str(models[0]), "forecast")  # which puts the content back
    for version in ("forecast:1", "forecast:2"):
        promote(project, version)
    shutil.rmtree(damaged)
    with pytest.raises(ArtefactError, match="Register it again"):
        promote(project, "forecast:1")
    assert find_model(project, "forecast").id == "forecast:2"


def test_what_the_service_would_not_load_is_not_registered(project: Path, models: list[Path], tmp_path: Path) -> None:
    broken = shutil.copytree(models[0], tmp_path / "broken")
    next((broken / paths.FOREST_MODEL / "data").glob("*.parquet")).write_bytes(b"PAR1")
    outside = shutil.copytree(models[0], tmp_path / "outside")
    (outside / paths.METRICS).unlink()
    (outside / paths.METRICS).symlink_to("/etc/hostname")
    for folder, wanted in ((broken, "was changed after training"), (outside, "leads outside it")):
        done = run(project, "register", "-m", str(folder), "-n", "forecast")
        assert (done.exit_code, wanted in done.stderr, done.stderr.count("\n")) == (ArtefactError.exit_code, True, 1)
    assert list_models(project) == []
    assert {path.name for path in model_store(project).iterdir()} == {".lock"}
    for words in (("-m", str(models[0]), "-n", "a/b"), ("-m", str(models[0]), "-n", "a", "-t", "loadcast.digest=0")):
        assert run(project, "register", *words).exit_code == ConfigError.exit_code
    assert run(project, "show", "-m", "a:0").exit_code == ConfigError.exit_code


def test_the_parts_of_a_bundle_make_it_again(project: Path, models: list[Path], tmp_path: Path) -> None:
    parts = [register(project, str(models[0] / part), part, ["fullmodel"]) for part in PARTS]
    assert [part.part for part in parts] == [*PARTS]
    kept = [content(project, part) for part in parts]
    put_together(kept, tmp_path / "whole")
    assert files(tmp_path / "whole") == files(models[0])
    with pytest.raises(ConfigError, match="wanted one whole bundle, or each of its parts once"):
        put_together(kept[1:], tmp_path / "lacking")
    other = content(project, register(project, str(models[1] / paths.FOREST_MODEL), "other"))
    mixed = [part if part.part != paths.FOREST_MODEL else other for part in kept]
    with pytest.raises(ArtefactError, match="was changed after training"):
        put_together(mixed, tmp_path / "mixed")
    with pytest.raises(ConfigError, match="is a part of a bundle"):
        promote(project, parts[0].id)


_KILLED = """
import os, pathlib, sys
from loadcast.registry import store
store.load_bundle = lambda folder: os._exit(9)
store.keep(pathlib.Path(sys.argv[1]), sys.argv[2])
"""


def test_a_registration_that_is_cut_off_leaves_nothing(project: Path, models: list[Path]) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED, str(project), str(models[0])])
    assert done.returncode == 9
    assert [path.name.startswith(".staging-") for path in model_store(project).iterdir()].count(True) == 1
    version = register(project, str(models[0]), "forecast")
    assert {path.name for path in model_store(project).iterdir()} == {version.digest, ".lock"}
    copied(content(project, version), project / "copy")
    assert not [path for path in project.iterdir() if path.name.startswith(".staging-")]


def test_models_stand_in_the_projects_database_beside_its_runs(project: Path, models: list[Path]) -> None:
    from mlflow.tracking import MlflowClient

    register(project, str(models[0]), "forecast", description="of June")
    client = MlflowClient(database_uri(project))
    (known,) = client.search_model_versions("name='forecast'")
    assert (known.source, known.description) == (
        content(project, find_model(project, "forecast")).folder.as_uri(),
        "of June",
    )
    assert tracking_uri(project) != database_uri(project)


def test_one_step_makes_all_that_a_service_needs(project: Path, models: list[Path], tmp_path: Path) -> None:
    (tmp_path / "webservice.py").write_text(FAKE_SERVICE)
    words = ["-n", "demo", "-f", str(tmp_path / "webservice.py"), "-m", str(models[0]), "-r", "python"]
    made = CliRunner().invoke(main, ["service", "create", "realtime", *words, "--project", str(project)])
    try:
        assert made.exit_code == 0, made.output
        assert re.search(r"^Primary key: [\w-]{43}$", made.output, re.MULTILINE)
        (manifest,) = list_manifests(project)
        assert (manifest.id, manifest.models) == ("demo:1", ("demo:1",))
        assert find_model(project, "demo").part == "bundle"
        assert files(find_manifest(project, "demo:1")[1] / "model") == files(models[0])
        half = CliRunner().invoke(
            main, ["service", "create", "realtime", "-n", "x", "-f", "y", "--project", str(project)]
        )
        assert (half.exit_code, "Wanted -f FILE and -m PATH" in half.stderr) == (2, True)
    finally:
        delete_service(project, "demo")
