"""train.py that is stopped just before it publishes, while ETL runs from elsewhere: it loses, and says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from azure.storage.blob import BlobLeaseClient

import runs
import sessions
from azurite import Azurite
from container_runs import KEY_VARIABLE, command, make_cache
from faults import FaultPlan, Request, fault_proxy, once
from loadcast import paths
from loadcast.errors import OutputError
from loadcast.settings import Settings
from loadcast.storage.output import open_output

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DAYS, TEST_DAYS = 6, 1


@pytest.mark.parametrize("end", [f"/{paths.FOREST_MODEL}/data/_SUCCESS", f"/{paths.COMPLETE}"])
def test_train_that_was_stopped_while_etl_published_changes_nothing(
    spark: SparkSession, azurite: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setenv("LOADCAST_CACHE", str(make_cache(tmp_path / "cache")))
    monkeypatch.setenv(KEY_VARIABLE, azurite.key)
    rows = sessions.hostile_log(5, days=DAYS, rows=2500, dirty=0.05)
    sessions.write_split(rows, tmp_path / "data", 2, 5, shuffle=False, plain=True)
    container = azurite.new_container()

    def settings(endpoint: str) -> Settings:
        data, output = tmp_path / "data" / "*" / "*" / "request.csv", f"{endpoint}/{container}"
        own = {"storageAccount": azurite.account, "storageEndpoint": endpoint, "storageKey": f"env:{KEY_VARIABLE}"}
        forest = {"numTrees": 2, "maxDepth": 2}
        return runs.make_settings(data, output, DAYS, TEST_DAYS, forest=forest, **own)  # type: ignore[arg-type]

    def lose() -> None:
        """The process is stopped until its lock has ended; ETL runs meanwhile; then it goes on."""
        train.send_signal(signal.SIGSTOP)
        with azurite.service as service, service.get_blob_client(container, ".lock") as lock:
            BlobLeaseClient(lock).break_lease(0)
        runs.etl(settings(azurite.endpoint))
        train.send_signal(signal.SIGCONT)

    def writes(request: Request) -> bool:
        return request.method == "PUT" and request.path.partition("?")[0].endswith(end)

    runs.etl(settings(azurite.endpoint))
    with fault_proxy(azurite.endpoint) as proxy:
        config = tmp_path / "config.json"
        content = settings(proxy.endpoint).model_dump(by_alias=True, exclude_unset=True)
        config.write_text(json.dumps(content, default=runs.text))
        with subprocess.Popen(
            command("train.py", config, "--master", "local[2]"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "LOADCAST_CACHE": str(make_cache(tmp_path / "other"))},
        ) as train:
            proxy.set_plan(FaultPlan(before=once(writes, lose)))
            said, errors = train.communicate()
    assert train.returncode == OutputError.exit_code, said + errors
    assert errors.strip().splitlines()[-1].startswith("loadcast: ")
    assert "Results are in" not in said
    output = open_output(settings(azurite.endpoint))
    published = output.runs()
    assert [run.is_current for run in published] == [False, True]
    assert not any(run.has_model for run in published)
    assert output.problems() == []
    found = azurite.names(container, f"{paths.RUNS}/")
    assert {name.split("/")[1] for name in found} == {run.name for run in published}
    assert json.loads((runs.published(settings(azurite.endpoint)) / paths.INFO).read_text())["files"] == {}
