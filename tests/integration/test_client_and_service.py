"""One real service, whose workers are killed and whose keys change, and a client that need not know of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bundles import random_features, records, write_bundle
from loadcast import schema
from loadcast.errors import ServiceError
from loadcast.serving.client import ScoringClient
from loadcast.serving.keys import digest_line, new_key
from loadcast.serving.predictor import Predictor
from loadcast.serving.remote.servers import Outcome
from loadcast.system.small_files import replace_file
from secret_watch import SecretWatcher, watched_processes

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
SERVERS = 20
KILLS = 2
PATIENCE_S = 60.0


class Ready:
    """A server whose records are there."""

    def __init__(self, server: str, made: list[dict[str, Any]]) -> None:
        self.server = server
        self._made = made

    def records(self) -> list[dict[str, Any]]:
        return self._made


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("service") / "bundle", random_features(300))


@pytest.fixture(scope="module")
def sources() -> list[Ready]:
    made = []
    for number in range(SERVERS):
        server = f"10.0.0.{number}"
        made.append(Ready(server, records(random_features(48, seed=number, servers=(server,)))))
    return made


@dataclass
class Running:
    """A service that runs: its process, its address, and what it logs."""

    process: subprocess.Popen[str]
    url: str
    log: list[str] = field(default_factory=list)

    def workers(self) -> set[int]:
        """The processes that answer."""
        process_id = self.process.pid
        return set(map(int, Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()))


@contextmanager
def running(bundle: Path, key_file: Path) -> Iterator[Running]:
    """A service of two processes."""
    command = [sys.executable, "Code/webservice.py", "--model", str(bundle), "--port", "0", "--key-file", str(key_file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        service = Running(process, process.stdout.readline().partition(" at ")[2].partition("/score")[0])
        reader = threading.Thread(target=service.log.extend, args=(process.stderr,), daemon=True)
        reader.start()
        try:
            yield service
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)
            reader.join(PATIENCE_S)


def wait_for(what: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def is_taken(url: str, key: str) -> bool:
    try:
        with ScoringClient(url, key) as client:
            return client.score([]) == []
    except ServiceError as error:
        if "answered 401" not in str(error):
            raise
        return False


def expected(bundle: Path, sources: list[Ready]) -> list[list[tuple[str, int]]]:
    predictor = Predictor.load(bundle)
    answers = [predictor.predict(predictor.contract.read_records(source.records())).values() for source in sources]
    return [[(answer[schema.HOUR], answer[schema.PREDICTION]) for answer in some] for some in answers]


def test_neither_killed_workers_nor_changing_keys_cost_a_forecast(
    bundle: Path, sources: list[Ready], tmp_path: Path
) -> None:
    steady, others = new_key(), [new_key() for _ in range(1 + KILLS)]
    secrets = {"steady": steady} | {f"other {number}": key for number, key in enumerate(others)}
    key_file = tmp_path / "keys"
    replace_file(key_file, f"{digest_line(steady)}\n{others[0]}\n".encode(), 0o600)
    found: list[Outcome] = []
    rounds: list[int] = []
    ended = threading.Event()

    def score_again_and_again(url: str) -> None:
        with ScoringClient(url, steady, connections=4) as client:
            while not ended.is_set():
                found.extend(client.score_servers(sources))
                rounds.append(len(found))
                ended.wait(0.05)

    watcher = SecretWatcher(secrets)
    with watched_processes(watcher), running(bundle, key_file) as service:
        client = threading.Thread(target=score_again_and_again, args=(service.url,))
        client.start()
        try:
            for key in others[1:]:
                wait_for(lambda: len(service.workers()) >= 2)
                killed = min(service.workers())
                os.kill(killed, signal.SIGKILL)
                replace_file(key_file, f"{digest_line(steady)}\n{key}\n".encode(), 0o600)
                # Each process looks at the file for itself: the key counts in all of them after a second.
                wait_for(lambda key=key: all(is_taken(service.url, key) for _ in range(8)))  # type: ignore[misc]
                done = len(rounds)
                wait_for(lambda killed=killed: killed not in service.workers())  # type: ignore[misc]
                wait_for(lambda done=done: len(rounds) > done)  # type: ignore[misc]
            wait_for(lambda: not any(is_taken(service.url, others[0]) for _ in range(8)))
        finally:
            ended.set()
            client.join(PATIENCE_S)
        assert not client.is_alive()
    assert service.process.returncode == 143
    watcher.add("log", "".join(service.log))
    assert [hit for hit in watcher.found(bundle) if "log" in hit or "command line" in hit] == []
    assert len(found) == SERVERS * len(rounds) > 0
    right = expected(bundle, sources)
    for number, outcome in enumerate(found):
        assert outcome.error is None, str(outcome.error)
        assert outcome.forecast is not None
        assert outcome.server == sources[number % SERVERS].server
        assert [(str(hour.hour), hour.label) for hour in outcome.forecast.hours] == right[number % SERVERS]
