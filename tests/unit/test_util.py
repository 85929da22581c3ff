"""Code/util.py: the public sample's helper names, on loadcast."""

from __future__ import annotations

import base64
import importlib.util
import inspect
import json
import pickle
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from loadcast.errors import ArtefactError, ConfigError, InputError, OutputError
from loadcast.storage.blob.container import Container

ROOT = Path(__file__).resolve().parents[2]
KEY = base64.b64encode(b"a key of 32 bytes for the tests.").decode()
REFERENCE = "env:LOADCAST_TEST_KEY"
HOST = "account.blob.core.windows.net"
DFS_HOST = HOST.replace(".blob.", ".dfs.")  # as Spark's driver wants it


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOADCAST_TEST_KEY", KEY)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def util() -> ModuleType:
    spec = importlib.util.spec_from_file_location("util", ROOT / "Code" / "util.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def blobs(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Blobs by URL: what a container would hold, without a server."""
    held: dict[str, bytes] = {}

    def get(container: Container, name: str) -> tuple[bytes, str] | None:
        assert container.access.secret == KEY
        content = held.get(container.root.at(name).url)
        return None if content is None else (content, '"1"')

    def put(container: Container, name: str, data: bytes) -> str:
        assert container.access.secret == KEY
        held[container.root.at(name).url] = data
        return '"1"'

    monkeypatch.setattr(Container, "get", get)
    monkeypatch.setattr(Container, "put", put)
    return held


class Hadoop(dict[str, str]):
    """Hadoop's configuration."""

    def set(self, name: str, value: str) -> None:
        self[name] = value


def session(hadoop: Hadoop) -> Any:
    return SimpleNamespace(sparkContext=SimpleNamespace(_jsc=SimpleNamespace(hadoopConfiguration=lambda: hadoop)))


def test_names_and_parameters_are_those_of_the_public_sample(util: ModuleType) -> None:
    parameters = {name: [*inspect.signature(getattr(util, name)).parameters] for name in util.__all__}
    assert parameters == {
        "attach_storage_container": ["spark", "account", "key"],
        "write_blob": ["info", "filename", "container", "account", "key"],
        "read_blob": ["localFilename", "blobName", "container", "account", "key"],
    }


@pytest.mark.parametrize("account", ["account", HOST, f"https://{HOST}", f"https://{HOST}/"])
def test_what_was_written_is_read_back(util: ModuleType, blobs: dict[str, bytes], account: str) -> None:
    info = {"duration": "FULL", "columns": ["ä", 1, 0.5]}
    util.write_blob(info, "info", "models", account, REFERENCE)
    assert [*blobs] == [f"https://{HOST}/models/info"]
    assert json.loads(blobs[f"https://{HOST}/models/info"]) == json.loads(Path("info").read_bytes()) == info
    assert util.read_blob("back", "info", "models", account, REFERENCE) == info
    assert Path("back").read_bytes() == blobs[f"https://{HOST}/models/info"]
    assert sorted(path.name for path in Path().iterdir()) == ["back", "info"]


def test_a_legacy_pickle_is_read_and_an_attack_is_not(util: ModuleType, blobs: dict[str, bytes]) -> None:
    class Attack:
        def __reduce__(self) -> object:
            return open, ("mark", "w")

    url = f"https://{HOST}/models/info"
    blobs[url] = pickle.dumps({"duration": "FULL"}, protocol=4)
    assert util.read_blob("info", "info", "models", "account", REFERENCE) == {"duration": "FULL"}
    blobs[url] = pickle.dumps({"duration": Attack()}, protocol=4)
    with pytest.raises(ArtefactError, match="pickled info is not read"):
        util.read_blob("info", "info", "models", "account", REFERENCE)
    assert not Path("mark").exists()


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'{"a": ' * 100_000, b"\xff\xfe"])
def test_what_is_no_info_is_one_error(util: ModuleType, blobs: dict[str, bytes], data: bytes) -> None:
    blobs[f"https://{HOST}/models/info"] = data
    with pytest.raises(ArtefactError):
        util.read_blob("info", "info", "models", "account", REFERENCE)


def test_a_missing_blob_is_one_error(util: ModuleType, blobs: dict[str, bytes]) -> None:
    with pytest.raises(InputError, match=f"There is no blob https://{HOST}/models/info"):
        util.read_blob("info", "info", "models", "account", REFERENCE)
    assert not Path("info").exists()


def test_what_cannot_be_written_is_one_error(util: ModuleType, blobs: dict[str, bytes]) -> None:
    with pytest.raises(OutputError, match="info cannot be JSON"):
        util.write_blob({"a": {1, 2}}, "info", "models", "account", REFERENCE)
    with pytest.raises(OutputError, match="Cannot write none/info"):
        util.write_blob({}, "none/info", "models", "account", REFERENCE)
    assert blobs == {}


def test_a_raw_key_is_refused_and_not_shown(util: ModuleType) -> None:
    for call in (
        lambda: util.write_blob({}, "info", "models", "account", KEY),
        lambda: util.read_blob("info", "info", "models", "account", KEY),
        lambda: util.attach_storage_container(session(Hadoop()), "account", KEY),
    ):
        with pytest.raises(ConfigError, match="env:NAME or file:PATH, never the secret itself") as caught:
            call()
        assert KEY not in str(caught.value)


def test_a_session_gets_the_accounts_key(util: ModuleType) -> None:
    hadoop = Hadoop()
    util.attach_storage_container(session(hadoop), "account", REFERENCE)
    assert hadoop[f"fs.azure.account.key.{DFS_HOST}"] == KEY
    assert hadoop[f"fs.azure.account.key.{HOST}"] == KEY  # for WASB


def test_a_sas_is_attached_as_one(util: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOADCAST_TEST_KEY", "?sv=2024-11-04&sig=c2ln")
    hadoop = Hadoop()
    util.attach_storage_container(session(hadoop), "account", REFERENCE)
    assert hadoop[f"fs.azure.sas.fixed.token.{DFS_HOST}"] == "sv=2024-11-04&sig=c2ln"


def test_what_a_session_knows_stays(util: ModuleType) -> None:
    hadoop = Hadoop({f"fs.azure.account.key.{DFS_HOST}": "mine"})
    util.attach_storage_container(session(hadoop), "account", REFERENCE)
    assert hadoop[f"fs.azure.account.key.{DFS_HOST}"] == "mine"


def test_an_account_without_a_key_is_one_error(util: ModuleType) -> None:
    with pytest.raises(ConfigError, match=r"want a key or SAS\. Give key as env:NAME or file:PATH"):
        util.attach_storage_container(session(Hadoop()), "http://127.0.0.1:10000/devstoreaccount1", None)
