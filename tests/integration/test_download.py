"""Downloading models from containers on a real blob server: the script, interruptions, hostile names, the helpers."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from azurite import Azurite
from container_runs import KEY_VARIABLE, ROOT, command, write_config
from faults import FaultPlan, Request, fault_proxy
from loadcast import paths
from loadcast.errors import ArtefactError, InputError, OutputError
from loadcast.serving.bundle import load_bundle
from loadcast.settings import load_settings
from loadcast.storage.blob.client import RANGE_BYTES
from loadcast.storage.blob.output import ContainerOutput
from loadcast.storage.checksum import sha256_of_files
from loadcast.storage.download import download_model
from loadcast.storage.output import open_output
from made_up_run import content

pytestmark = pytest.mark.integration

LARGE = f"{paths.FOREST_MODEL}/data/part-large.parquet"
LARGE_BYTES = 5 * RANGE_BYTES


@dataclass(frozen=True)
class Published:
    """A container with a published model, and the configuration for it."""

    azurite: Azurite
    container: str
    config: Path
    run: str

    def blob(self, name: str) -> str:
        """The blob of a file of the run."""
        return f"{paths.RUNS}/{self.run}/{name}"

    def put(self, name: str, data: bytes) -> None:
        """Write a blob of the run, without loadcast."""
        with self.azurite.service as service, service.get_blob_client(self.container, self.blob(name)) as client:
            client.upload_blob(data, overwrite=True)

    def bring(self, dest: Path) -> None:
        """Download the model in this process."""
        download_model(open_output(load_settings(self.config)), dest)

    def through(self, endpoint: str) -> Path:
        """The configuration, with another address of the same server."""
        values = json.loads(self.config.read_text()) | {"storageEndpoint": endpoint}
        other = self.config.with_name("through.json")
        other.write_text(json.dumps(values))
        return other


def bundle(folder: Path, large: bool = False) -> Path:
    """The small bundle of Model/, if wanted with a large file in it."""
    shutil.copytree(ROOT / "Model", folder)
    if large:
        (folder / LARGE).write_bytes(random.Random(0).randbytes(LARGE_BYTES))
        info = json.loads((folder / paths.INFO).read_text())
        info["files"] = sha256_of_files(folder, (*paths.BUNDLE_FOLDERS, paths.METRICS))
        (folder / paths.INFO).write_text(json.dumps(info))
    return folder


def publish(azurite: Azurite, folder: Path, large: bool = False) -> Published:
    """Publish a model to a new container."""
    container = azurite.new_container()
    config = write_config(folder, "storageconfig.json", azurite, "none.csv", storageContainer=container)
    output = open_output(load_settings(config))
    assert isinstance(output, ContainerOutput)
    with output.stage() as staging:
        shutil.copytree(bundle(folder / "made", large), staging.folder, dirs_exist_ok=True)
        (staging.folder / paths.FEATURES).mkdir()
        (staging.folder / paths.FEATURES / "part-0.parquet").write_bytes(b"features")
    return Published(azurite, container, config, output.runs()[-1].name)


@pytest.fixture(autouse=True)
def key(azurite: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The account's key, and everything else in a folder of this test."""
    monkeypatch.setenv(KEY_VARIABLE, azurite.key)
    monkeypatch.setenv("LOADCAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LOADCAST_DATASTORES", str(tmp_path / "datastores.json"))


@pytest.fixture
def published(azurite: Azurite, tmp_path: Path) -> Published:
    return publish(azurite, tmp_path)


def download(config: Path, *words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the script; the account's key is in nothing that it says."""
    done = subprocess.run(command("download_model.py", config, *words), capture_output=True, text=True, cwd=cwd)
    assert os.environ[KEY_VARIABLE] not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_the_script_brings_a_whole_model_that_can_be_served(published: Published, tmp_path: Path) -> None:
    done = download(published.config, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"The model of run {published.run} is in Model-{published.container} (" in done.stdout
    assert content(tmp_path / f"Model-{published.container}") == content(tmp_path / "made")
    assert load_bundle(tmp_path / f"Model-{published.container}").model


def test_all_artefacts_come_with_all(published: Published, tmp_path: Path) -> None:
    assert download(published.config, tmp_path / "dest", "--all").returncode == 0
    assert content(tmp_path / "dest") == content(tmp_path / "made") | {"mlSource.parquet/part-0.parquet": b"features"}


def test_a_datastore_stands_for_the_container(published: Published, tmp_path: Path) -> None:
    url = f"{published.azurite.endpoint}/{published.container}"
    register = ["-m", "loadcast", "datastore", "register", "models", url, "--key", f"env:{KEY_VARIABLE}"]
    subprocess.run([sys.executable, *register], check=True, capture_output=True)
    config = tmp_path / "datastore.json"
    config.write_text(json.dumps({"dataFile": "none.csv", "duration": "FULL", "output": "datastore://models"}))
    assert download(config, tmp_path / "dest").returncode == 0
    assert content(tmp_path / "dest") == content(tmp_path / "made")


def test_a_container_without_a_model_is_one_error(azurite: Azurite, tmp_path: Path) -> None:
    container = azurite.new_container()
    config = write_config(tmp_path, "storageconfig.json", azurite, "none.csv", storageContainer=container)
    done = download(config, tmp_path / "dest")
    assert done.returncode == ArtefactError.exit_code
    assert "holds no published model. Train one" in done.stderr


def _reads(seen: list[Request]) -> int:
    """Requests for pieces of the large file."""
    return sum(request.method == "GET" and LARGE in request.path for request in seen)


def test_a_killed_download_goes_on_where_it_stood(azurite: Azurite, tmp_path: Path) -> None:
    published = publish(azurite, tmp_path, large=True)
    killed, allowed = threading.Event(), 6
    with fault_proxy(azurite.endpoint) as proxy:
        # Some pieces arrive, and the rest has to wait until the process is dead.
        proxy.set_plan(FaultPlan(before=lambda request: killed.wait(60) if _reads(proxy.seen) > allowed else None))
        process = subprocess.Popen(command("download_model.py", published.through(proxy.endpoint), tmp_path / "dest"))
        try:
            _wait_for_bytes(tmp_path, LARGE_BYTES // 4)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed.set()
        assert not (tmp_path / "dest").exists()
        proxy.set_plan(FaultPlan())
        assert download(published.through(proxy.endpoint), tmp_path / "dest").returncode == 0
        again = _reads(proxy.seen)
    assert 0 < again < LARGE_BYTES // RANGE_BYTES
    assert content(tmp_path / "dest") == content(tmp_path / "made")
    assert not [item.name for item in tmp_path.iterdir() if item.name.startswith(".")]


def _wait_for_bytes(folder: Path, number: int) -> None:
    """Wait until a download that gathers in a folder beside has that many bytes."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with suppress(FileNotFoundError):  # a file that has just got its name
            files = [file for part in folder.glob(".dest-*.download") for file in part.rglob("*") if file.is_file()]
            if sum(file.stat().st_size for file in files) > number:
                return
        time.sleep(0.02)
    raise AssertionError("the download did not begin")


def test_a_bad_network_does_no_harm(azurite: Azurite, tmp_path: Path) -> None:
    published = publish(azurite, tmp_path, large=True)
    plan = FaultPlan(seed=1, unavailable=0.1, cut=0.1, retry_after_s=1)
    with fault_proxy(azurite.endpoint, plan) as proxy:
        done = download(published.through(proxy.endpoint), tmp_path / "dest")
        assert done.returncode == 0, done.stderr
        assert proxy.done["cut"] + proxy.done["unavailable"] > 0
    assert content(tmp_path / "dest") == content(tmp_path / "made")


def test_a_model_that_was_changed_after_training_is_refused_and_the_old_one_stays(
    published: Published, tmp_path: Path
) -> None:
    published.bring(tmp_path / "dest")
    before = content(tmp_path / "dest")
    published.put(paths.METRICS, before[paths.METRICS].replace(b"0", b"1"))
    with pytest.raises(ArtefactError, match=r"metrics\.json has another checksum"):
        published.bring(tmp_path / "dest")
    published.put(paths.METRICS, before[paths.METRICS])
    published.put(f"{paths.FOREST_MODEL}/treesMetadata/part-99999.parquet", b"more trees")
    with pytest.raises(ArtefactError, match=r"part-99999\.parquet is not listed there"):
        published.bring(tmp_path / "dest")
    assert content(tmp_path / "dest") == before


@pytest.mark.parametrize("name", ["mlModel//evil", "mlModel/..\\..\\evil", "mlModel/c:evil", "mlModel/metadata"])
def test_a_blob_whose_name_is_no_path_is_refused(published: Published, tmp_path: Path, name: str) -> None:
    published.put(name, b"evil")
    with pytest.raises(ArtefactError, match=r"no path below a folder|both as a file and as"):
        published.bring(tmp_path / "dest")
    assert not list(tmp_path.rglob("*evil*"))
    assert not (tmp_path / "dest").exists()


def test_a_folder_of_ones_own_is_not_replaced(published: Published, tmp_path: Path) -> None:
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "thesis.txt").write_text("mine")
    done = download(published.config, tmp_path / "dest")
    assert done.returncode == OutputError.exit_code
    assert "holds 'thesis.txt', which would be lost" in done.stderr


# The public sample's helpers.

_HELPERS = """
import json, sys
sys.path.insert(0, sys.argv[1])
from util import read_blob, write_blob
name, account, container, key = sys.argv[2:6]
if len(sys.argv) > 6:
    write_blob(json.loads(sys.argv[6]), name, container, account, key)
print(json.dumps(read_blob("back", name, container, account, key)))
"""


def helpers(azurite: Azurite, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A script of the public sample's time, which imports util.py."""
    name, container, *info = words
    argv = [sys.executable, "-c", _HELPERS, str(ROOT / "Code"), name, azurite.endpoint, container]
    return subprocess.run([*argv, f"env:{KEY_VARIABLE}", *info], capture_output=True, text=True, cwd=cwd)


def test_the_samples_helpers_write_and_read_info(azurite: Azurite, tmp_path: Path) -> None:
    info: Mapping[str, object] = {"duration": "ONE_MONTH", "columnForEncode": ["year_indexed"], "share": 0.5}
    container = azurite.new_container()
    done = helpers(azurite, tmp_path, "info", container, json.dumps(info))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(azurite.content(container, "info")) == info
    assert json.loads((tmp_path / "info").read_text()) == json.loads((tmp_path / "back").read_text()) == info


def test_the_samples_helpers_read_what_it_pickled_and_execute_nothing(azurite: Azurite, tmp_path: Path) -> None:
    container = azurite.new_container()

    class Attack:
        def __reduce__(self) -> object:
            return open, (str(tmp_path / "mark"), "w")

    with azurite.service as service, service.get_container_client(container) as client:
        client.upload_blob("info", pickle.dumps({"duration": "FULL", "columns": ["a"]}, protocol=4))
        client.upload_blob("attack", pickle.dumps({"duration": Attack()}, protocol=4))
    assert json.loads(helpers(azurite, tmp_path, "info", container).stdout) == {"duration": "FULL", "columns": ["a"]}
    assert "Wanted plain dicts, lists, strings and numbers." in helpers(azurite, tmp_path, "attack", container).stderr
    assert "There is no blob" in helpers(azurite, tmp_path, "none", container).stderr
    assert not (tmp_path / "mark").exists()


def test_an_error_of_the_helpers_is_one_of_ours(azurite: Azurite, tmp_path: Path) -> None:
    done = helpers(azurite, tmp_path, "info", "no-such-container")
    assert "loadcast.errors." in done.stderr
    assert azurite.key not in done.stdout + done.stderr
    assert InputError.__name__ in done.stderr or "ConfigError" in done.stderr
