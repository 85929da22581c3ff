"""Datastores: names for containers that hold no secret, in a file that is whole whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from loadcast.cli.datastore import datastore
from loadcast.errors import ConfigError, OutputError
from loadcast.storage import datastores
from loadcast.storage.blob.location import parse_blob_url
from loadcast.storage.datastores import (
    Datastore,
    load_datastores,
    register_datastore,
    remove_datastore,
    resolve_datastore,
)

URL = "https://account.blob.core.windows.net/data"
SIGNATURE = "c2lnbmF0dXJl"
SAS = f"sv=2024-11-04&sp=rl&se=2030-01-01&sig={SIGNATURE}"
KEY = "c2VjcmV0LWFjY291bnQta2V5LW9mLTMxLWJ5dGU="


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the datastores, in a folder that does not exist yet."""
    path = tmp_path / "aml_config" / "datastores.json"
    monkeypatch.setenv("LOADCAST_DATASTORES", str(path))
    return path


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and all that `loadcast datastore` prints."""
    result = CliRunner(env={"COLUMNS": "200"}).invoke(datastore, arguments)
    return result.exit_code, result.output


def test_a_name_is_registered_listed_used_and_removed() -> None:
    url = "wasbs://data@account.blob.core.windows.net/logs"
    assert run("register", "logs", url, "--key", "env:LOGS_KEY") == (0, f"datastore://logs is {URL}/logs\n")
    code, listing = run("list")
    assert code == 0
    assert ["logs", f"{URL}/logs", "env:LOGS_KEY"] in [line.split() for line in listing.splitlines()]
    assert resolve_datastore("datastore://logs/2016/06/a.csv") == (f"{URL}/logs/2016/06/a.csv", "env:LOGS_KEY")
    assert run("remove", "logs") == (0, "datastore://logs is forgotten.\n")
    assert load_datastores() == {}


def test_a_name_registered_again_is_replaced(file: Path) -> None:
    register_datastore("other", URL)
    register_datastore("logs", URL, "env:A")
    code, said = run("register", "logs", "https://account.blob.core.windows.net/new")
    assert (code, said) == (0, f"datastore://logs is https://account.blob.core.windows.net/new (was {URL})\n")
    assert load_datastores() == {
        "logs": Datastore(url="https://account.blob.core.windows.net/new"),
        "other": Datastore(url=URL),
    }
    assert os.listdir(file.parent) == [file.name]


def test_without_the_variable_the_working_folder_has_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOADCAST_DATASTORES")
    monkeypatch.chdir(tmp_path)
    register_datastore("logs", URL)
    assert json.loads((tmp_path / "aml_config" / "datastores.json").read_text()) == {
        "datastores": {"logs": {"url": URL}}
    }


@pytest.mark.parametrize(
    ("base", "path", "wanted"),
    [
        (URL, "", URL),
        (URL, "/", URL),
        (URL, "/a/b.csv", f"{URL}/a/b.csv"),
        (f"{URL}/logs/", "/a.csv", f"{URL}/logs/a.csv"),
        ("abfss://data@account.dfs.core.windows.net/logs", "/a.csv", f"{URL}/logs/a.csv"),
        ("http://127.0.0.1:10000/devstoreaccount1/data", "/a", "http://127.0.0.1:10000/devstoreaccount1/data/a"),
        ("https://account.blob.core.chinacloudapi.cn/data", "", "https://account.blob.core.chinacloudapi.cn/data"),
    ],
)
def test_the_path_goes_below_the_registered_url(base: str, path: str, wanted: str) -> None:
    register_datastore("logs", base)
    assert resolve_datastore(f"datastore://logs{path}") == (wanted, None)


@pytest.mark.parametrize(
    "path",
    [
        "20[0,1][0-9]/[0,1][0-9]/[a,b]/[0-6]/request.csv",
        "2016/**/request.csv",
        "a?b/request?.csv",
        "50%/%41 b+c&d=#e.csv",
        "år/日本/🙂.csv",
        "with 'quotes' \"and\" {braces}",
    ],
)
def test_a_path_or_pattern_arrives_as_it_was_written(path: str) -> None:
    register_datastore("logs", f"{URL}/my%20logs")
    location, signature = parse_blob_url(resolve_datastore(f"datastore://logs/{path}")[0])
    assert (location.container, location.path, signature) == ("data", f"my logs/{path}", None)


@pytest.mark.parametrize("address", ["datastore://", "datastore:///a", "datastore://other/a", "datastore://LOGS/a"])
def test_an_unknown_name_says_which_there_are(address: str) -> None:
    register_datastore("logs", URL)
    with pytest.raises(ConfigError, match=r"There is no datastore .*Registered: logs\. Add one"):
        resolve_datastore(address)


def test_what_is_no_datastore_is_refused() -> None:
    with pytest.raises(ConfigError, match="wanted datastore://NAME/PATH"):
        resolve_datastore(f"{URL}/a")
    with pytest.raises(ConfigError, match="None is registered"):
        resolve_datastore("datastore://logs/a")
    assert run("remove", "logs")[0] == ConfigError.exit_code


@pytest.mark.parametrize("path", ["../other/a", "a/../../b", "./a", "a\n.csv", "a\0", "x" * 2000])
def test_a_path_that_leaves_the_place_or_cannot_be_is_refused(path: str) -> None:
    register_datastore("logs", f"{URL}/mine")
    with pytest.raises(ConfigError):
        resolve_datastore(f"datastore://logs/{path}")


def test_a_signature_in_a_path_is_refused_and_not_shown() -> None:
    register_datastore("logs", URL)
    with pytest.raises(ConfigError, match="a query stands in its path") as caught:
        resolve_datastore(f"datastore://logs/a.csv?{SAS}")
    assert SIGNATURE not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "key", "said"),
    [
        (f"{URL}?{SAS}", (), "has a SAS behind it, and no secret is kept"),
        (f"wasbs://data@account.blob.core.windows.net/a?{SAS}", (), "has a SAS behind it"),
        (URL, ("--key", KEY), "wanted as env:NAME or file:PATH, never the key itself"),
        (URL, ("--key", SAS), "never the key itself"),
        (URL, ("--key", f"AccountName=a;AccountKey={KEY}"), "never the key itself"),
        (URL, ("--key", ""), "never the key itself"),
        (URL, ("--key", f"env:{KEY}"), "never the key itself"),
        (f"https://me:{SIGNATURE}@account.blob.core.windows.net/data", (), "user name or password"),
    ],
)
def test_a_secret_is_refused_with_what_to_do_and_kept_nowhere(
    file: Path, url: str, key: tuple[str, ...], said: str
) -> None:
    code, output = run("register", "logs", url, *key)
    assert code == ConfigError.exit_code
    assert said in output
    if "password" not in said:
        assert "--key env:VARIABLE" in output
    assert not any(secret in output for secret in (KEY[:-1], SIGNATURE))
    assert not file.exists()


@pytest.mark.parametrize("name", ["", "a b", "a/b", "-a", "a" * 64, "ä", "a\n", "{{", "datastore://a"])
def test_a_name_that_cannot_stand_in_an_address_is_refused(file: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="wanted a name of up to 63 letters"):
        register_datastore(name, URL)
    assert not file.exists()


@pytest.mark.parametrize(
    "url", ["", "data", "/folder", "file:///folder", "hdfs://host/a", "datastore://other/a", "https://x"]
)
def test_what_is_no_container_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"Datastore logs: .*[Ww]anted (wasbs|https)://"):
        register_datastore("logs", url)


def _file(**stores: object) -> bytes:
    return json.dumps({"datastores": stores}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"datastores": []}',
        b'{"other": {}}',
        b'{"datastores": {}, "more": 1}',
        _file(logs="url"),
        _file(logs={}),
        _file(logs={"url": 5}),
        _file(logs={"url": URL, "key": 5}),
        _file(logs={"url": URL, "secret": KEY}),
        _file(logs={"url": URL, "key": KEY}),
        _file(logs={"url": f"{URL}?{SAS}"}),
        _file(logs={"url": "file:///etc/passwd"}),
        _file(**{"../logs": {"url": URL}}),
        _file(**{"\x1b[31m": {"url": URL}}),
        b" " * (1 << 20) + b"{}",
    ],
)
def test_a_damaged_or_hostile_file_is_one_error_that_shows_no_secret(file: Path, content: bytes) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    for arguments in (["list"], ["remove", "logs"], ["register", "logs", URL]):
        code, output = run(*arguments)
        assert code == ConfigError.exit_code
        assert output.startswith("loadcast: Datastore")
        assert len(output) < 1_000
        assert not any(secret in output for secret in (KEY, SIGNATURE, "\x1b"))
    assert file.read_bytes() == content


def test_a_file_that_cannot_be_read_or_written_is_one_error(file: Path) -> None:
    file.mkdir(parents=True)
    with pytest.raises(ConfigError, match="Is a directory"):
        load_datastores()
    file.rmdir()
    file.parent.rmdir()
    file.parent.write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="LOADCAST_DATASTORES names another file"):
        register_datastore("logs", URL)


def test_a_write_that_fails_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register_datastore("logs", URL)
    before = file.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(datastores.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        remove_datastore("logs")
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]


def test_a_file_behind_a_link_stays_behind_it(file: Path, tmp_path: Path) -> None:
    file.parent.mkdir()
    (tmp_path / "shared.json").write_bytes(_file())
    file.symlink_to(tmp_path / "shared.json")
    register_datastore("logs", URL)
    assert file.is_symlink()
    assert "logs" in json.loads((tmp_path / "shared.json").read_text())["datastores"]


def test_registering_at_once_loses_none(file: Path) -> None:
    code = (
        "import sys\n"
        "from loadcast.storage.datastores import register_datastore\n"
        f"for number in range(20): register_datastore(f's{{sys.argv[1]}}-{{number}}', {URL!r})"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(number)]) for number in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len(load_datastores()) == 60


@pytest.mark.parametrize("command", sorted(datastore.commands))
def test_each_command_has_a_help_text(command: str) -> None:
    code, output = run(command, "--help")
    assert code == 0
    assert "--debug" in output
