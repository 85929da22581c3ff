"""No key of a service stands in a log, a message, a traceback or a `repr`: the service's side and the client's."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner

from fake_scoring import BROKEN, NO_HTTP, Fault, Reply, Source, fake_service, record, right_body
from loadcast import schema
from loadcast.cli.forecasts import ScoreOptions
from loadcast.cli.score import score
from loadcast.errors import LoadcastError
from loadcast.serving.app import create_app
from loadcast.serving.client import ScoringClient
from loadcast.serving.gate import Gate, RateLimit
from loadcast.serving.keys import KEY_VARIABLE, KeyFile, Keys, digest_line, read_key, service_keys
from loadcast.serving.remote import patience
from loadcast.serving.remote.connection import Connection
from published import BrokenPredictor, HourPredictor, answer_to, running_service
from secret_watch import SecretWatcher

FIRST = "Zq4-fake_primary/key+of:a.service=8h2Xw7"
SECOND = "Vt9-fake_secondary/key+of:a.service=3k5Yp1"
SECRETS = {"primary": FIRST, "secondary": SECOND, "digest": hashlib.sha256(FIRST.encode()).hexdigest()}


@pytest.fixture
def watcher(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretWatcher]:
    """Remembers what is said; in the end, nothing of it may hold a key, and neither may any library's log."""
    monkeypatch.setattr(patience, "pause", lambda seconds: None)
    for name in (None, "urllib3", "requests", "loadcast", "loadcast.service", "loadcast.client", "werkzeug"):
        caplog.set_level(logging.DEBUG, name)
    watching = SecretWatcher(SECRETS)
    yield watching
    watching.add("log", caplog.text)
    for entry in caplog.records:
        watching.add("record", repr({name: value for name, value in vars(entry).items() if name != "exc_info"}))
    assert watching.found() == []


@contextmanager
def watched(watcher: SecretWatcher, what: str) -> Iterator[None]:
    """Remember the error that comes, as a user sees it with and without --debug, and as a notebook does."""
    with pytest.raises(LoadcastError) as caught:
        yield
    watcher.add(what, f"{caught.value}\n{caught.value!r}\n{caught.value.args}")
    watcher.add(f"{what}, traceback", "".join(traceback.format_exception(caught.value)))


def key_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "keys"
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_the_watcher_finds_keys() -> None:
    watching = SecretWatcher(SECRETS)
    watching.add("seen", f"Bearer {FIRST}")
    watching.add("seen in base64", base64.b64encode(f"x{SECOND}".encode()))
    assert len(watching.found()) >= 2


BAD_FILES = {
    "three lines": f"{FIRST}\n{SECOND}\n{FIRST}",
    "an empty line": f"{FIRST}\n\n",
    "a blank": f"{FIRST} {SECOND}",
    "a control character": f"{FIRST}\x1b{SECOND}",
    "no ASCII": f"{FIRST}é",
    "too long": f"{FIRST * 200}\n{SECOND}",
    "a file too long": f"{FIRST * 400}\n{SECOND}",
    "a digest with a key": f"sha256:{FIRST}\n{digest_line(FIRST)}0",
}


@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_what_is_said_of_files_and_variables(
    content: str, watcher: SecretWatcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = key_file(tmp_path, content.encode())
    for read in (Keys.read, KeyFile, read_key, service_keys):
        with watched(watcher, "bad file"):
            read(path)
    monkeypatch.setenv(KEY_VARIABLE, content)
    for read in (read_key, service_keys):
        with watched(watcher, "bad variable"):
            read(None)
    with watched(watcher, "bad argument"):
        ScoringClient(key=content)


def test_what_is_logged_as_keys_change(watcher: SecretWatcher, tmp_path: Path) -> None:
    now = [0.0]
    file = KeyFile(key_file(tmp_path, FIRST.encode()), lambda: now[0])
    for content in (SECOND, f"{SECOND}\n{digest_line(FIRST)}", *BAD_FILES.values(), FIRST):
        key_file(tmp_path, content.encode())
        for _ in range(3):
            now[0] += 2
            watcher.add("keys", repr(file.current()))
    assert file.current().accepts(FIRST.encode()) == "primary"


def test_how_things_that_know_a_key_are_shown(watcher: SecretWatcher, tmp_path: Path) -> None:
    from loadcast.serving.http_server import ServeOptions

    keys = Keys.parse(f"{FIRST}\n{SECOND}".encode(), "test")
    file = KeyFile(key_file(tmp_path, f"{FIRST}\n{SECOND}".encode()))
    client = ScoringClient(key=FIRST)
    known: list[Any] = [keys, file, client, Connection(client.url, FIRST), Gate(keys, RateLimit(1)), vars(file)]
    known += [ScoreOptions(key=FIRST), create_app(HourPredictor(), keys=keys, name="loadcast"), vars(client)]
    if "key" in ServeOptions.__dataclass_fields__:
        known.append(ServeOptions("Model", key=FIRST))  # type: ignore[call-arg, unused-ignore]
    for thing in known:
        watcher.add(type(thing).__name__, f"{thing!r} {thing!s} {thing}")


def echo(body: bytes, headers: dict[str, str], status: int) -> Iterator[Reply]:
    """Answers that say the key they were sent, wherever an answer can say something."""
    key = headers["Authorization"]
    problem = {"record": 0, "field": key, "found": key.split()[1], "wanted": f"{'x' * 480}{key}"}
    for document in (
        {"error": {"message": key, "problems": [problem]}},
        {"detail": f"{'x' * 490}{key.split()[1]}", "problems": [problem]},
        {"title": key.split()[1]},
        [key.split()[1]],
        key.split()[1],
    ):
        yield status, json.dumps(document).encode(), {"Retry-After": key, "Location": f"http://{FIRST}@x/{FIRST}"}
    yield status, f"<html>{key.split()[1]}".encode(), {}
    wrong = answer_to(json.loads(body)[0])
    for name in (schema.SERVER, schema.LABEL, "cold_start", "probability"):
        yield status, json.dumps({"0": wrong | {name: f"{'x' * 90}{key.split()[1]}"}}).encode(), {}
    yield status, json.dumps({key.split()[1]: wrong}).encode(), {}


@pytest.mark.parametrize("status", [200, 302, 400, 401, 429, 500])
def test_what_a_client_says_of_a_service_that_says_the_key(status: int, watcher: SecretWatcher) -> None:
    replies: list[Reply] = list(echo(json.dumps([record()]).encode(), {"Authorization": f"Bearer {FIRST}"}, status))
    for reply in replies:
        with fake_service(lambda _number, _body, reply=reply: reply) as service:  # type: ignore[misc]
            with watched(watcher, "client"), ScoringClient(service.url, FIRST) as client:
                client.score([record()])
            with ScoringClient(service.url, FIRST) as client:
                for outcome in client.score_servers([Source("10.0.0.1", 2)]):
                    watcher.add("outcome", repr(outcome))


@pytest.mark.parametrize("fault", [*BROKEN, NO_HTTP], ids=repr)
def test_what_a_client_says_of_connections_that_break(fault: Fault, watcher: SecretWatcher) -> None:
    with fake_service(lambda _number, _body: fault) as service:
        with watched(watcher, "client"), ScoringClient(service.url, FIRST) as client:
            client.score([record()])
        url = service.url
    with watched(watcher, "nobody there"), ScoringClient(url, FIRST) as client:
        client.score([record()])
    with watched(watcher, "a key in the address"):
        ScoringClient(f"http://user:{FIRST}@example.org", SECOND)


@pytest.mark.parametrize("arguments", [("--key-file", "{file}"), ("--key-file", "{file}", "--debug"), ("--debug",)])
def test_what_the_command_says(
    arguments: tuple[str, ...], watcher: SecretWatcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, SECOND)
    for content, mode in ((BAD_FILES["a blank"], 0o600), (FIRST, 0o640), (FIRST, 0o600)):
        file = key_file(tmp_path, content.encode(), mode)
        given = [argument.format(file=file) for argument in arguments]
        result = CliRunner().invoke(score, [str(tmp_path / "none.json"), *given])
        assert result.exit_code == 2
        watcher.add("command", result.output)
        if result.exc_info is not None:
            watcher.add("command, traceback", "".join(traceback.format_exception(*result.exc_info)))


def requests_with(key: str) -> list[Callable[[str], requests.Response]]:
    """Requests that bring a key, where it belongs and elsewhere."""
    right, wrong = {"Authorization": f"Bearer {key}"}, {"Authorization": f"Basic {key}"}
    one = [record()]
    return [
        lambda url: requests.post(f"{url}/score", json=one, headers=right),
        lambda url: requests.post(f"{url}/score", json=one, headers=wrong),
        lambda url: requests.post(f"{url}/score", json=one, headers={"Authorization": key}),
        lambda url: requests.post(f"{url}/score", json=one, headers={"X-Key": key}),
        lambda url: requests.post(f"{url}/score", json=[{**one[0], "hourofday": 99}], headers=right),
        lambda url: requests.post(f"{url}/score", data=b"[", headers={**right, "Content-Type": "application/json"}),
        lambda url: requests.post(f"{url}/score", data=b"[]", headers={**right, "Content-Type": "text/plain"}),
        lambda url: requests.delete(f"{url}/score", headers=right),
        lambda url: requests.get(f"{url}/elsewhere", headers=right),
        lambda url: requests.get(f"{url}/metrics", headers=right),
        lambda url: requests.get(f"{url}/openapi.json", headers=right),
    ]


@pytest.mark.parametrize("predictor", [HourPredictor(), BrokenPredictor()], ids=["right", "broken"])
def test_what_a_service_says_and_logs(
    predictor: HourPredictor, watcher: SecretWatcher, caplog: pytest.LogCaptureFixture
) -> None:
    with running_service(predictor, key=FIRST) as url:
        for key in (FIRST, SECOND, FIRST[:-1]):
            for ask in requests_with(key):
                with suppress(requests.RequestException):
                    answer = ask(url)
                    watcher.add("answer", answer.content)
                    watcher.add("head", repr(answer.headers))
    assert any("status=401" in entry.getMessage() for entry in caplog.records)
    assert any("status=500" in entry.getMessage() for entry in caplog.records) == isinstance(predictor, BrokenPredictor)


def test_right_bodies_are_still_right() -> None:
    """The echo of above differs from a right answer in what it says alone."""
    with fake_service(lambda _number, body: (200, right_body(json.loads(body)), {})) as service:
        with ScoringClient(service.url, FIRST) as client:
            assert len(client.score([record()])) == 1
        assert service.requests[0][1]["Authorization"] == f"Bearer {FIRST}"
