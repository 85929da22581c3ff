"""No command repeats a secret, whatever argument, option or configuration key it stands in, even where it is refused.

Commands come from click's tree and keys from the fields of the settings: new ones are covered by themselves. Spark is
stopped before it starts, the service before it listens; requests go to a server of this machine that refuses them.
"""

from __future__ import annotations

import base64
import json
import logging
import random
import re
import threading
from collections.abc import Iterator, Mapping
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import pytest
from click.testing import CliRunner
from pydantic import BaseModel

import commands
import published
from loadcast import schema
from loadcast.cli.main import main
from loadcast.errors import ConfigError, EngineError
from loadcast.model_settings import BoostedSettings, ForestSettings
from loadcast.pipeline import etl, stats, train
from loadcast.serving.predictor import Predictor
from loadcast.settings import AllowedRange, Settings, parse_settings

_RANDOM = random.Random(9)
KEY, SIGNATURE = (base64.b64encode(_RANDOM.randbytes(size)).decode() for size in (64, 32))
PASSWORD = "Xv7Qw2Lk9Rt4Zp"
SAS = f"sv=2024-11-04&sr=c&sp=rl&se=2030-01-01T00%3A00%3A00Z&sig={quote(SIGNATURE, safe='')}"
#: What may be seen nowhere: no longer piece of a secret.
PIECES = re.findall("[A-Za-z0-9]{7,}", f"{KEY} {SIGNATURE} {PASSWORD}")
HOST = "account.blob.core.windows.net"
GOOD = {"duration": "ONE_MONTH", "dataFile": "data/*.csv", "output": "output"}
NESTED: dict[str, type[BaseModel]] = {"forest": ForestSettings, "boosted": BoostedSettings, "contract": AllowedRange}


class Refuses(BaseHTTPRequestHandler):
    """Answers as a container does that may not be entered."""

    def do_GET(self) -> None:
        self.send_response(403)
        self.send_header("x-ms-error-code", "AuthenticationFailed")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def marked() -> Iterator[dict[str, str]]:
    """Texts with a secret in them, by what they are."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        here = f"127.0.0.1:{server.server_port}"
        yield {
            "a container's URL": f"http://{here}/account/data/x.csv?{SAS}",
            "a mistyped scheme": f"htps://{HOST}/data/2016/x.csv?{SAS}",
            "another mistyped scheme": f"wsab://data@{HOST}/2016/x.csv?{SAS}",
            "a path style host": f"https://{HOST}/data\n?{SAS}",
            "a SAS": f"?{SAS}",
            "an account key": KEY,
            "a connection string": f"DefaultEndpointsProtocol=https;AccountName=account;AccountKey={KEY}",
            "a password": f"http://user:{PASSWORD}@{here}/data",
            "a token": f"https://{PASSWORD}@{HOST}/data",
            "a datastore": f"datastore://logs/x?{SAS}",
        }
        server.shutdown()


def _stopped(*_: object, **__: object) -> None:
    raise EngineError("Stopped before Spark starts.")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Path:
    """The working folder: with data, statistics, and `configs/good.json`."""
    for module in (etl, stats, train):
        monkeypatch.setattr(module, "create_session", _stopped)
    monkeypatch.setattr("loadcast.serving.http_server.create_app", lambda *_, **__: None)
    monkeypatch.setattr("loadcast.serving.http_server.Server", _stopped)
    monkeypatch.setattr("loadcast.serving.remote.patience.pause", lambda _: None)
    for parameter in (parameter for _, command in LEAVES for parameter in command.params):
        if isinstance(parameter, click.Option) and parameter.name == "url":
            monkeypatch.setattr(parameter, "default", "http://127.0.0.1:1")  # where nothing answers
    monkeypatch.setattr("loadcast.cli.demo._find_folder", _stopped)
    load = Predictor.load
    known = {"Model": None}
    monkeypatch.setattr(Predictor, "load", lambda path: known[path] if path in known else load(path))
    monkeypatch.delenv("LOADCAST_DATASTORES", raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("data", "configs", "Model"):
        Path(name).mkdir()
    Path("data/x.csv").write_text("0\n")
    config("good", GOOD)
    published.publish(
        Path("output"), published.hourly_statistics("10.0.0.1", published.TRAIN_BEGIN + timedelta(days=40), 24)
    )
    caplog.set_level(logging.DEBUG)
    return tmp_path


def config(name: str, content: Mapping[str, Any]) -> str:
    path = Path("configs", f"{name}.json")
    path.write_text(json.dumps(content))
    return str(path)


def leaks(text: str) -> list[str]:
    return [piece for piece in PIECES if piece in text]


def said(folder: Path, caplog: pytest.LogCaptureFixture, *words: str) -> list[str]:
    """What of secrets is in what a command says, logs, and leaves; nothing of it may end in an unforeseen error."""
    caplog.clear()
    done = CliRunner().invoke(main, words)
    shown = " ".join(words)[:80]
    assert done.exception is None or isinstance(done.exception, SystemExit), (shown, repr(done.exception))
    assert done.output or done.exit_code == 0
    files = [path for path in folder.rglob("*") if "configs" not in path.parts]
    left = [f"{path} {path.read_text(errors='replace') if path.is_file() else ''}" for path in files]
    texts = {"output": done.output + done.stderr, "logs": caplog.text, "files": "\n".join(left)}
    return [f"{name} hold {piece}: {shown}" for name, text in texts.items() for piece in leaks(text)]


LEAVES = list(commands.leaves(main))
IDS = [" ".join(path) for path, _ in LEAVES]


#: Arguments that let a command come further.
HARMLESS = {"config": "configs/good.json", "output": "output", "kind": "local"}


def words_with(command: click.Command, marked: click.Parameter | None, text: str) -> list[str]:
    """A command line in which one parameter has this text, and those that must be there something harmless."""
    options, arguments = [], []
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            if parameter is marked or parameter.required or parameter.name in HARMLESS:
                harmless = HARMLESS.get(str(parameter.name), "harmless")
                arguments.append(text if parameter is marked else harmless)
        elif parameter is marked or parameter.required:
            options.append(f"{parameter.opts[0]}={text if parameter is marked else 'harmless'}")
    return [*options, "--debug", "--", *arguments]


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=IDS)
def test_no_argument_and_no_option_is_repeated(
    path: tuple[str, ...],
    command: click.Command,
    marked: dict[str, str],
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hits = []
    for text in marked.values():
        lines = [words_with(command, parameter, text) for parameter in command.params]
        lines += [
            words_with(command, parameter, f"spark.x={text}") for parameter in command.params if parameter.multiple
        ]
        lines += [[f"--{text}"], [f"--no-such-option={text}"], ["harmless", *[text] * 4]]
        hits += [hit for words in lines for hit in said(folder, caplog, *path, *words)]
    assert hits == []


@pytest.mark.parametrize("group", [(), *{path[:-1] for path, _ in LEAVES if len(path) > 1}], ids=" ".join)
def test_no_unknown_command_is_repeated(
    group: tuple[str, ...], marked: dict[str, str], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert [hit for text in marked.values() for hit in said(folder, caplog, *group, text)] == []


def faulty(text: str) -> Iterator[dict[str, Any]]:
    """Configurations with the text in each key, as each kind of value, and as a key."""
    for key in [str(field.alias) for field in Settings.model_fields.values()]:
        for value in (text, [text], {text: text}, {text: {}}):
            yield {**GOOD, key: value}
        if key in NESTED:
            inner = [str(field.alias or name) for name, field in NESTED[key].model_fields.items()]
            for name in inner:
                yield {**GOOD, key: {name: text}}
                yield {**GOOD, key: {schema.MEASURES[0]: {name: text}}}
    yield {**GOOD, text: 1}
    yield {**GOOD, "storageAccount": text, "storageContainer": "data", "output": None}
    yield {**GOOD, "storageAccount": "account", "storageContainer": text, "output": None}
    yield {**GOOD, "storageAccount": "account", "dataFile": text, "storageKey": "env:NO_SUCH_VARIABLE"}


def is_valid(content: dict[str, Any]) -> bool:
    try:
        parse_settings(content)
    except ConfigError as error:
        shown = f"{error} {error!r}"
    else:
        return True
    assert leaks(shown) == []
    return False


#: Where a configuration may stand: every argument and option, as far as click can say.
PARAMETERS = [(path, parameter) for path, command in LEAVES for parameter in command.params]
TAKES_CONFIG = [(path, parameter) for path, parameter in PARAMETERS if parameter.name in ("config", "output", "model")]


def test_every_command_with_a_configuration_is_known() -> None:
    assert len({path for path, _ in TAKES_CONFIG}) >= 9


def test_no_value_and_no_key_of_a_configuration_is_repeated(
    marked: dict[str, str], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hits = []
    contents = [content for text in marked.values() for content in faulty(text)]
    valid = [content for content in contents if is_valid(content)]
    assert 20 < len(valid) < len(contents) / 4
    refused = [content for content in contents if content not in valid]
    for content in refused[::25]:
        hits += said(folder, caplog, "etl", config("refused", content), "--debug")
    for content in valid:
        path = config("valid", content)
        for command, parameter in TAKES_CONFIG:
            where = [path] if isinstance(parameter, click.Argument) else [parameter.opts[0], path]
            where = [*where, "dest"] if command == ("download",) else where
            where = ["configs/good.json", *where] if command == ("score",) and len(where) == 2 else where
            hits += [f"{hit}: {content}" for hit in said(folder, caplog, *command, *where, "--debug")]
    assert hits == []
