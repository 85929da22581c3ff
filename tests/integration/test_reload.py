"""A service that follows its model: replaced between two requests; the last good one stays where a new one is bad."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from bundles import random_features, records, write_bundle
from loadcast import paths
from tls import make_certificate

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
BATCH = records(random_features(24, seed=9, servers=("10.0.0.1", "192.0.2.1")))
_PATIENCE_S = 120.0


@contextmanager
def following(output: Path, log: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a service that follows the model of an output, and its process; it logs to a file."""
    command = [sys.executable, "Code/webservice.py", "--model", str(output), "--port", "0", "--watch", *options]
    environment = {**os.environ, "LOADCAST_LOG_LEVEL": "warning"}
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=errors
        ) as process,
    ):
        assert process.stdout is not None
        try:
            yield process.stdout.readline().partition(" at ")[2].partition("/score")[0], process
        finally:
            process.terminate()


def point(output: Path, bundle: Path) -> None:
    """Publish a bundle as an output's model, in one step as a run does."""
    output.mkdir(exist_ok=True)
    link = output / ".link"
    link.symlink_to(bundle)
    os.replace(link, output / paths.MODEL)


def with_self_check(bundle: Path, target: Path, **changes: Any) -> Path:
    """A copy of a bundle that keeps some records with answers, which `changes` may make wrong."""
    from loadcast.serving.predictor import Predictor

    shutil.copytree(bundle, target)
    predictor = Predictor.load(bundle)
    scored = predictor.score(json.dumps(BATCH[:4]).encode())
    check = {
        "records": BATCH[:4],
        "predictions": scored.labels.tolist(),
        "probabilities": scored.probabilities.tolist(),
    }
    info = json.loads((target / paths.INFO).read_text())
    (target / paths.INFO).write_text(json.dumps({**info, "selfCheck": {**check, **changes}}))
    return target


def answers_of(bundle: Path) -> dict[str, Any]:
    from loadcast.serving.predictor import Predictor

    return Predictor.load(bundle).score(json.dumps(BATCH).encode()).answers()


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, "waited too long"
        time.sleep(0.05)


def test_a_newer_model_takes_over_and_a_bad_one_never_does(tmp_path: Path) -> None:
    old = write_bundle(tmp_path / "old", random_features(300, seed=1))
    new = with_self_check(write_bundle(tmp_path / "plain", random_features(300, seed=2)), tmp_path / "new")
    bad = with_self_check(old, tmp_path / "bad", predictions=[0, 0, 0, 0])
    torn = Path(shutil.copytree(new, tmp_path / "torn"))
    next((torn / paths.FOREST_MODEL).rglob("*.parquet")).write_bytes(b"PAR1")
    before, after = answers_of(old), answers_of(new)
    assert before != after
    output = tmp_path / "output"
    point(output, old)
    seen: list[dict[str, Any]] = []
    problems: list[object] = []
    stop = threading.Event()

    def ask(url: str) -> None:
        with requests.Session() as session:  # one kept connection, as a scheduler has
            while not stop.is_set():
                try:
                    answer = session.post(f"{url}/score", json=BATCH, timeout=60)
                    seen.append(answer.json()) if answer.status_code == 200 else problems.append(answer.text)
                except requests.RequestException as error:
                    problems.append(error)

    log = tmp_path / "log"
    with following(output, log) as (url, process):
        asker = threading.Thread(target=ask, args=(url,))
        asker.start()
        try:
            until(lambda: before in seen)
            point(output, new)
            until(lambda: after in seen[-1:])
            versions = requests.get(f"{url}/metrics", timeout=60).text
            for number, broken in enumerate((bad, torn), start=1):
                n_seen = len(seen)
                point(output, broken)
                until(lambda number=number: log.read_text().count("A newer model cannot be served") == number)
                assert all(answer == after for answer in seen[n_seen:])
            point(output, old)
            until(lambda: before in seen[-1:])
        finally:
            stop.set()
            asker.join()
        process.terminate()
        process.wait(timeout=60)
    assert problems == []
    assert [answer for answer in seen if answer not in (before, after)] == []
    assert "loadcast_model_info" in versions
    assert "answers otherwise than it did in training" in log.read_text()


WATCH = """
import sys, time
from pathlib import Path
from loadcast.serving.watch import Watcher
output, served = map(Path, sys.argv[1:])
watcher = Watcher(lambda: output, served, 0.05)
while (folder := watcher.newer()) is None:
    time.sleep(0.05)
print(folder)
"""


def test_what_was_published_before_the_first_look_is_newer_than_what_is_served(tmp_path: Path) -> None:
    old, new = (write_bundle(tmp_path / name, random_features(300, seed=1)) for name in ("old", "new"))
    point(tmp_path / "output", new)
    command = [sys.executable, "-c", WATCH, str(tmp_path / "output"), str(old)]
    assert subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout == f"{new}\n"


def test_tls_is_spoken_and_nothing_else(tmp_path: Path) -> None:
    bundle, certificate = write_bundle(tmp_path / "bundle", random_features(300, seed=1)), make_certificate(tmp_path)
    with following(bundle, tmp_path / "log", "--tls-cert", str(certificate), "--tls-key", str(certificate)) as (
        url,
        process,
    ):
        assert url.startswith("https://")
        answer = requests.post(f"{url}/score", json=BATCH, verify=str(certificate), timeout=60)
        assert (answer.status_code, answer.json()) == (200, answers_of(bundle))
        with pytest.raises(requests.ConnectionError):
            requests.get(url.replace("https", "http") + "/health/live", timeout=60)
        process.terminate()
        assert process.wait(timeout=60) == 143
