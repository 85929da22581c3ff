"""The Python API on a container: what it opens there is what it opens in a folder, and comes when it is asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import loadcast
import old_run
import runs
import sessions
from azurite import Azurite
from loadcast import paths
from loadcast.settings import Settings, parse_settings
from loadcast.storage.output import open_output

pytestmark = pytest.mark.integration

KEY_VARIABLE = "LOADCAST_TEST_KEY"


@pytest.fixture
def settings(azurite: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The old run, published in a container."""
    monkeypatch.setenv("LOADCAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(KEY_VARIABLE, azurite.key)
    plain = old_run.copied(tmp_path).document()
    account = {"storageAccount": azurite.account, "storageEndpoint": azurite.endpoint}
    account |= {"storageKey": f"env:{KEY_VARIABLE}", "storageContainer": azurite.new_container()}
    settings = parse_settings({**plain, **account, "output": None})
    with open_output(settings).stage() as staging:
        shutil.copytree(old_run.OUTPUT / paths.CURRENT, staging.folder, dirs_exist_ok=True)
        name = staging.run
    assert open_output(settings).runs()[-1].name == name
    return settings


def test_a_run_in_a_container_is_the_same_as_in_a_folder(settings: Settings, tmp_path: Path) -> None:
    there, here = loadcast.open_run(settings), loadcast.open_run(tmp_path / "output")
    assert there.name == open_output(settings).runs()[-1].name
    brought = {path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert brought == {paths.INFO, paths.QUALITY}
    assert (there.info, there.quality, there.metrics) == (here.info, here.quality, here.metrics)
    assert runs.same_bits(there.hourly(), here.hourly()) == []
    assert runs.same_bits(there.daily(), here.daily()) == []
    assert runs.same_bits(there.features(), here.features()) == []
    assert runs.same_bits(there.predictions(), here.predictions()) == []


def test_the_report_of_a_run_in_a_container_is_put_in_the_working_folder(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    there, here = loadcast.write_report(settings), loadcast.write_report(tmp_path / "output")
    assert (there, here) == (Path("report.html"), tmp_path / "output" / "report.html")
    texts = []
    for file, where in ((there, settings), (here, tmp_path / "output")):
        run = loadcast.open_run(where)
        texts.append(file.read_text(encoding="utf-8").replace(run.name, "RUN").replace(run.output, "OUTPUT"))
    assert texts[0] == texts[1]


def test_a_forecast_from_a_container_is_the_same_as_from_a_folder(settings: Settings, tmp_path: Path) -> None:
    local = parse_settings({**settings.document(), "output": str(tmp_path / "output")})
    assert loadcast.forecast(settings).equals(loadcast.forecast(local))
    assert loadcast.load_model(settings).info == loadcast.load_model(local).info


def test_logs_in_a_container_are_scanned_as_those_in_a_folder(
    settings: Settings, azurite: Azurite, tmp_path: Path
) -> None:
    log = tmp_path / "request.csv"
    log.write_bytes(b"".join(sessions.hostile_log(1, servers=2, days=4, rows=400, dirty=0)))
    container = azurite.new_container()
    azurite.put(container, "request.csv", log.read_bytes())
    address = f"wasbs://{container}@{azurite.account}/*.csv"
    changed = parse_settings({**settings.document(), "dataFile": address})
    local = parse_settings({**settings.document(), "dataFile": str(log)})
    assert loadcast.hourly(changed).equals(loadcast.hourly(local))
