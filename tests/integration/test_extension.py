"""What another package adds, by entry points alone, goes the whole way with the commands as a user types them."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

import entry_points
import recipe
import runs
import toymodel
from container_runs import run_command, running_service, write_sample
from loadcast import paths, schema
from loadcast.models.registry import ENTRY_POINTS
from loadcast.settings import DEMO_SERVERS, parse_settings

pytestmark = [pytest.mark.integration, pytest.mark.slow]

RECIPE = recipe.read_recipe()
#: What the configuration says of things that are not loadcast's own.
EXTENSIONS = {**RECIPE.settings, "model": "toy"}
MASTER = ("--master", "local[2]")


@dataclass(frozen=True)
class Extended:
    """A published run, and how to run more commands like those that made it."""

    run: runs.Run
    config: Path
    environment: dict[str, str]


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Extended:
    """ETL and training with a package that is installed beside loadcast."""
    folder = tmp_path_factory.mktemp("extended")
    write_sample(folder / "data", rows=20_000, servers=4)
    site = RECIPE.install(folder / "site")
    shutil.copytree(Path(toymodel.__file__).parent, site / "toymodel", ignore=shutil.ignore_patterns("__pycache__"))
    entry_points.install(site, "toymodel", {ENTRY_POINTS: {"toy": "toymodel:FAMILY"}})
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    content = {
        "dataFile": str(folder / "data/*/*/*/*/request.csv"),
        "duration": "ONE_MONTH",
        "output": str(folder / "output"),
        **EXTENSIONS,
    }
    config = folder / "config.json"
    config.write_text(json.dumps(content), encoding="utf-8")
    environment = {"PYTHONPATH": path.rstrip(os.pathsep)}
    for script in ("etl.py", "train.py"):
        run_command(script, config, *MASTER, env=environment)
    settings = parse_settings(content)
    return Extended(runs.Run(settings, runs.published(settings), {}, {}), config, environment)


def test_etl_makes_the_columns_that_the_package_describes(extended: Extended) -> None:
    tables = (runs.table(extended.run, name).to_pylist() for name in (paths.FEATURES, paths.HOURLY, paths.DAILY))
    recipe.assert_as_described(*tables)
    assert extended.run.info["featureSet"] == {"name": "weekly", "version": 1}
    assert extended.run.info["model"] == "toy"


def test_service_and_client_forecast_with_the_package(extended: Extended, tmp_path: Path) -> None:
    words = ("--model", extended.run.settings.output)
    with running_service(*words, env=extended.environment, log=tmp_path / "log") as url:
        asked = ("scoring_webservice.py", extended.config, "--url", url, "--format", "json")
        answered = json.loads(run_command(*asked, env=extended.environment).stdout)
    servers = {row[schema.SERVER] for row in runs.table(extended.run, paths.HOURLY).to_pylist()}
    assert {*DEMO_SERVERS} <= servers == {forecast[schema.SERVER] for forecast in answered["forecasts"]}
    assert {len(forecast["hours"]) for forecast in answered["forecasts"]} == {schema.HORIZON_HOURS}
    assert not any(hour["cold_start"] for forecast in answered["forecasts"] for hour in forecast["hours"])


def test_without_the_package_the_set_is_named_as_what_is_missing(extended: Extended) -> None:
    known = "classic, direct, extended"
    with pytest.raises(AssertionError, match=f"found 'weekly', wanted one of {known}; other packages offer more"):
        run_command("etl.py", extended.config, *MASTER, env={})
