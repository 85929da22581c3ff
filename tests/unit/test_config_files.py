"""The files in Config/: each loads, agrees with the lock file, and does what its comments say."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from loadcast.errors import ConfigError
from loadcast.settings import load_settings, parse_settings
from loadcast.spark.dependencies import load_spark_dependencies

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "Config"
STORAGE = ("storageconfig.json", "fulldata_storageconfig.json", "forecast_storageconfig.json")
SPARK = {"dsvm_spark_dependencies.yml": (1, 8, 32), "hdi_spark_dependencies.yml": (3, 16, 112)}
CONDA = ("conda_dependencies.yml", "conda_dependencies_webservice.yml")
#: Measured for one Python worker, and the JVM's need beside its heap: see the comments in the files.
WORKER_GB, BESIDE_HEAP = 1.0, 0.1


def content_of(name: str) -> dict[str, Any]:
    return json.loads((CONFIG / name).read_text())


def filled(content: dict[str, Any]) -> dict[str, Any]:
    """A configuration with its placeholders filled as their user would."""
    texts = {key: value for key, value in content.items() if isinstance(value, str)}
    return content | {
        key: value[1:-1] if value.startswith("<") else value.replace("xxx", "account") for key, value in texts.items()
    }


def test_every_file_is_known_to_a_test() -> None:
    assert {path.name for path in CONFIG.iterdir()} == {"demo.json", *STORAGE, *SPARK, *CONDA}


def test_the_demos_configuration_loads() -> None:
    assert load_settings(CONFIG / "demo.json").output == "output/demo"


@pytest.mark.parametrize("name", STORAGE)
def test_placeholders_are_named_each(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(CONFIG / name)
    assert re.findall(r"^  (\w+): found the placeholder", str(caught.value), re.MULTILINE) == [
        "storageAccount",
        "dataFile",
    ]


@pytest.mark.parametrize(
    ("name", "duration", "container"),
    [
        ("storageconfig.json", "ONE_MONTH", "onemonthmodel"),
        ("fulldata_storageconfig.json", "FULL", "fullmodel"),
        ("forecast_storageconfig.json", "FULL", "forecastmodel"),
    ],
)
def test_a_storage_configuration_loads_once_its_placeholders_are_filled(
    name: str, duration: str, container: str
) -> None:
    settings = parse_settings(filled(content_of(name)))
    assert (settings.duration, settings.storage_container, settings.output) == (duration, container, None)
    assert settings.storage_key == "env:AZURE_STORAGE_KEY"
    assert re.fullmatch(r"wasbs://CONTAINER@ACCOUNT\.blob\.core\.windows\.net/20.*/request\.csv", settings.data_file)


def test_the_recommended_recipe_is_that_of_the_docs() -> None:
    content = content_of("forecast_storageconfig.json")
    recipe = {key: content[key] for key in ("featureSet", "model", "forest")}
    shown = (ROOT / "Docs/CONFIGURATION.md").read_text(encoding="utf-8").partition('```json\n"featureSet"')[2]
    assert json.loads('{"featureSet"' + shown.partition("```")[0] + "}") == recipe


@pytest.mark.parametrize("name", SPARK)
def test_a_spark_file_loads(name: str) -> None:
    settings = load_spark_dependencies(CONFIG / name)
    assert settings["spark.jars.packages"].startswith("org.apache.hadoop:hadoop-azure:")
    assert "spark.jars.repositories" not in settings


@pytest.mark.parametrize("name", SPARK)
def test_hadoop_azure_is_of_the_version_of_pysparks_hadoop(name: str) -> None:
    jars = importlib.metadata.distribution("pyspark").locate_file("pyspark/jars")
    hadoop = [path.stem.removeprefix("hadoop-client-api-") for path in Path(str(jars)).glob("hadoop-client-api-*.jar")]
    packages = load_spark_dependencies(CONFIG / name)["spark.jars.packages"].split(",")
    assert [f"org.apache.hadoop:hadoop-azure:{version}" for version in hadoop] == packages


def gigabytes(text: str) -> int:
    assert re.fullmatch(r"\d+g", text)
    return int(text[:-1])


def test_the_local_machines_memory_is_enough() -> None:
    _, cores, memory_gb = SPARK["dsvm_spark_dependencies.yml"]
    settings = load_spark_dependencies(CONFIG / "dsvm_spark_dependencies.yml")
    assert gigabytes(settings["spark.driver.memory"]) * (1 + BESIDE_HEAP) + cores * WORKER_GB < 0.75 * memory_gb
    assert int(settings["spark.sql.shuffle.partitions"]) % cores == 0


def test_the_executors_fit_on_the_clusters_workers() -> None:
    workers, cores, memory_gb = SPARK["hdi_spark_dependencies.yml"]
    settings = load_spark_dependencies(CONFIG / "hdi_spark_dependencies.yml")
    executors, each = (int(settings[f"spark.executor.{name}"]) for name in ("instances", "cores"))
    heap_gb = gigabytes(settings["spark.executor.memory"])
    overhead_gb = gigabytes(settings["spark.executor.memoryOverhead"])
    slots = cores // each
    assert executors * each == 40
    assert executors < workers * slots  # one is left for the driver
    assert slots * (heap_gb + overhead_gb) < 0.75 * memory_gb
    assert each * WORKER_GB + BESIDE_HEAP * heap_gb < overhead_gb
    assert gigabytes(settings["spark.driver.memory"]) <= heap_gb + overhead_gb
    assert int(settings["spark.driver.cores"]) <= each
    assert int(settings["spark.sql.shuffle.partitions"]) % (executors * each) == 0


#: The machines that conda's files are for.
LINUX = {"sys_platform": "linux", "platform_machine": "x86_64"}


def conda(name: str) -> tuple[str, dict[str, str]]:
    """The Python version of a conda file, and its packages: name → version."""
    dependencies = yaml.safe_load((CONFIG / name).read_text())["dependencies"]
    python = next(item.partition("=")[2] for item in dependencies if str(item).startswith("python="))
    pip = next(item["pip"] for item in dependencies if isinstance(item, dict))
    assert "pip" in dependencies
    return python, dict(item.split("==") for item in pip)


def required() -> list[str]:
    """The packages that ETL and training need on Linux: the service's, and those of the extra `spark`."""
    files = ("requirements.in", "requirements-spark.in")
    lines = [line for name in files for line in (ROOT / name).read_text().splitlines()]
    needs = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return sorted({need.name for need in needs if need.marker is None or need.marker.evaluate(LINUX)})


def locked(python: str) -> dict[str, str]:
    """The versions in requirements.lock for a Python version."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [Requirement(line.removesuffix(" \\")) for line in lines if re.match(r"[a-z0-9-]+==", line)]
    target = {"python_version": python, "python_full_version": f"{python}.0", **LINUX}
    return {pin.name: str(pin.specifier)[2:] for pin in pins if pin.marker is None or pin.marker.evaluate(target)}


@pytest.mark.parametrize("name", CONDA)
def test_a_conda_file_has_the_locked_versions(name: str) -> None:
    python, packages = conda(name)
    versions = locked(python)
    assert packages == {package: versions[package] for package in packages}, "copy the versions of requirements.lock"


def test_the_conda_file_has_all_that_loadcast_needs() -> None:
    assert sorted(conda("conda_dependencies.yml")[1]) == required()


def test_the_services_conda_file_has_no_engine() -> None:
    assert (
        not {"pyspark", "py4j", "numba", "pandas", "xgboost-cpu", "mlflow"}
        & conda("conda_dependencies_webservice.yml")[1].keys()
    )


_SERVE_WITHOUT_OTHERS = """
import importlib.metadata, json, sys
allowed, model = set(json.loads(sys.argv[1])), sys.argv[2]
owners = importlib.metadata.packages_distributions()

class Guard:
    def find_spec(self, name, path=None, target=None):
        found = owners.get(name.partition(".")[0])
        if found and not {one.lower().replace("_", "-") for one in found} & allowed:
            raise ModuleNotFoundError(f"{name} of {found} is in none of the environment's packages", name=name)

sys.meta_path.insert(0, Guard())
import loadcast.storage.named
import loadcast.cli.serve
import loadcast.serving.app
import loadcast.serving.http_server
from loadcast.serving.bundle import load_bundle
from loadcast.settings import load_settings
from loadcast.storage.blob import container
load_bundle(model)
load_settings(sys.argv[3])
print("served")
"""


def closure(packages: set[str]) -> set[str]:
    """The packages with all that they depend on, as installed here."""
    names: set[str] = set()
    waiting = {name.lower() for name in packages}
    while waiting:
        name = waiting.pop()
        names.add(name)
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting |= {requirement.name.lower().replace("_", "-")} - names
    return names


def serve_without_others(allowed: set[str]) -> subprocess.CompletedProcess[str]:
    """Import the service and load a bundle where no packages but these can be imported."""
    command = [sys.executable, "-c", _SERVE_WITHOUT_OTHERS, json.dumps(sorted(allowed))]
    return subprocess.run([*command, str(ROOT / "Model"), str(CONFIG / "demo.json")], capture_output=True, text=True)


def test_the_service_runs_with_the_packages_of_its_conda_file_alone() -> None:
    allowed = closure(set(conda("conda_dependencies_webservice.yml")[1])) | {"loadcast"}
    assert not {"pyspark", "pandas"} & allowed
    done = serve_without_others(allowed)
    assert (done.returncode, done.stdout) == (0, "served\n"), done.stderr
    assert "is in none of the environment's packages" in serve_without_others(allowed - {"pyarrow"}).stderr
