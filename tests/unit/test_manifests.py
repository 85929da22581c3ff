"""Manifests: whole copies of what a service is made of, with packages that are locked, and nothing half made."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from loadcast.cli.main import main
from loadcast.errors import ArtefactError, ConfigError
from loadcast.registry import manifests
from loadcast.registry.manifests import LOCK, MODEL, PACKAGE, SERVICE, find_manifest, list_manifests
from loadcast.registry.models import ModelVersion
from loadcast.registry.settings import current_account
from loadcast.registry.store import Stored, keep
from loadcast.serving.bundle import load_bundle

ROOT = Path(__file__).resolve().parents[2]
SERVICE_LOCK = ROOT / "requirements-service.lock"
CONDA = ROOT / "Config" / "conda_dependencies_webservice.yml"
SCRIPT = ROOT / "Code" / "webservice.py"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose models are Model/ as a whole, `forecast:1`, and its parts by their names; MLflow is not asked."""
    known: dict[str, Stored] = {"forecast:1": keep(tmp_path, str(ROOT / "Model"))}
    for part in ("stringIndexModel", "oneHotEncoderModel", "featureScaleModel", "mlModel", "info"):
        known[f"{part}:1"] = keep(tmp_path, str(ROOT / "Model" / part))

    def find(project: Path, ids: Any) -> list[ModelVersion]:
        return [_version(each, known[each]) for each in ids]

    monkeypatch.setattr(manifests, "find_models", find)
    monkeypatch.setattr(manifests, "content", lambda project, version: known[version.id])
    return tmp_path


def _version(model: str, content: Stored) -> ModelVersion:
    name = model.partition(":")[0]
    return ModelVersion(name, 1, content.digest, content.part, {}, "", datetime.now(UTC), ())


def run(project: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["manifest", *words, "--project", str(project)])


def created(project: Path, *words: str) -> str:
    done = run(project, "create", "-n", "demo", "-f", str(SCRIPT), "-o", "value", *words)
    assert done.exit_code == 0, done.output
    return done.output.strip()


def test_a_manifest_has_copies_of_all_that_a_service_is_made_of(project: Path, tmp_path: Path) -> None:
    (tmp_path / "extra.json").write_text("{}")
    name = created(project, "-i", "forecast:1", "-c", str(CONDA), "-d", str(tmp_path / "extra.json"))
    manifest, folder = find_manifest(project, name)
    assert (name, manifest.script, manifest.models) == ("demo:1", "webservice.py", ("forecast:1",))
    assert (folder / LOCK).read_bytes() == SERVICE_LOCK.read_bytes()
    assert sorted(path.name for path in (folder / SERVICE).iterdir()) == ["extra.json", "webservice.py"]
    assert (folder / PACKAGE / "serving" / "app.py").exists()
    assert not [*(folder / PACKAGE).rglob("__pycache__")]
    assert load_bundle(folder / MODEL).info == load_bundle(ROOT / "Model").info
    assert created(project, "-i", "forecast:1") == "demo:2"
    assert [manifest.id for manifest in list_manifests(project)] == ["demo:1", "demo:2"]


def test_the_same_parts_give_the_same_digest(project: Path) -> None:
    whole = created(project, "-i", "forecast:1", "-r", "python")
    names = ("stringIndexModel", "oneHotEncoderModel", "featureScaleModel", "mlModel", "info")
    parts = created(project, "-r", "spark-py", *(word for name in names for word in ("-i", f"{name}:1")))
    digests = {find_manifest(project, each)[0].digest for each in (whole, parts)}
    assert len(digests) == 1


def test_what_cannot_be_leaves_no_manifest(project: Path, tmp_path: Path) -> None:
    (tmp_path / "no.lock").write_text("numpy==2.4.6\n")
    (tmp_path / "webservice.py").write_text("")
    conda = tmp_path / "conda.yml"
    conda.write_text("dependencies: [{pip: [numpy==1.0]}]")
    (tmp_path / "other.yml").write_text("dependencies: [{pip: [scikit-learn]}]")
    for words, said in (
        (("-i", "info:1"), "wanted one whole bundle, or each of its parts once"),
        (("-i", "forecast:1", "-p", str(tmp_path / "no.lock")), "found no hashes"),
        (("-i", "forecast:1", "-c", str(conda)), "found numpy==1.0, and the lock has numpy=="),
        (("-i", "forecast:1", "-c", str(tmp_path / "other.yml")), "and the lock has no such package"),
        (("-i", "forecast:1", "-d", str(tmp_path / "none")), "cannot be read"),
        (("-i", "forecast:1", "-d", str(tmp_path / "webservice.py")), "wanted files of different names"),
    ):
        done = run(project, "create", "-n", "demo", "-f", str(SCRIPT), *words)
        assert (done.exit_code, said in done.stderr, done.stderr.count("\n")) == (ConfigError.exit_code, True, 1), words
    assert list_manifests(project) == []
    top = current_account(project) / "manifests"
    assert [path for path in top.rglob("*") if path.name.startswith(".making")] == []


def test_one_that_was_changed_is_refused(project: Path) -> None:
    name = created(project, "-i", "forecast:1")
    folder = find_manifest(project, name)[1]
    (folder / LOCK).write_text("numpy==0 --hash=sha256:0")
    with pytest.raises(ArtefactError, match="was changed after the manifest was made"):
        find_manifest(project, name)


def test_the_services_lock_is_the_run_time_lock_without_the_engine() -> None:
    pins, all_pins = (
        set(re.findall(r"^([a-z0-9-]+==[^\s;]+)", path.read_text(), re.MULTILINE))
        for path in (SERVICE_LOCK, ROOT / "requirements.lock")
    )
    assert pins < all_pins
    names = {pin.partition("==")[0] for pin in pins}
    assert not {"pyspark", "py4j", "pandas", "numba", "llvmlite", "mlflow-skinny"} & names
    required = re.findall(r"^([a-z0-9-]+)", (ROOT / "requirements.in").read_text(), re.MULTILINE)
    assert set(required) <= names
