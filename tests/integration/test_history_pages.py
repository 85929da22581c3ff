"""MLflow's pages over a project's history: the real MLflow of .venv-mlflow serves them, a real browser shows them."""

from __future__ import annotations

import html
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import browser
from loadcast.experiments import history
from loadcast.experiments.history import TRACKING_VARIABLE
from loadcast.experiments.history_pages import FOLDER
from loadcast.experiments.locations import LOG, LOGGED, history_database, run_folder
from loadcast.run_logger import RunLogger
from submitted import OTHER, RUN, submit

pytestmark = [pytest.mark.integration, pytest.mark.slow]

MLFLOW = Path(__file__).resolve().parents[2] / FOLDER
PATIENCE_S = 300
STEP = "20261130T022044-bbbbbb"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a project")
    (folder / FOLDER).symlink_to(MLFLOW)
    submit(folder, script="monthly.yml", steps=("train",))
    submit(folder, id=STEP, parent=RUN, step="train", arguments=("Config/demo.json", "<b>&"))
    RunLogger(run_folder(folder, STEP) / LOGGED).log("test/model/accuracy", 0.75)
    (run_folder(folder, STEP) / LOG).write_text("the log\n")
    return folder


@pytest.fixture(scope="module")
def pages(project: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The process that serves the pages, and their address."""
    if not (MLFLOW / "bin" / "mlflow").exists():
        pytest.skip(f"{FOLDER} is missing; scripts/setup-mlflow.sh makes it")
    environment = {name: value for name, value in os.environ.items() if name != TRACKING_VARIABLE}
    port = free_port()
    argv = [sys.executable, "-m", "loadcast", "history", "ui", "--project", str(project), "--port", str(port)]
    with subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def answer(process: subprocess.Popen[bytes], address: str) -> requests.Response:
    """What the pages answer, once they are there."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s and process.poll() is None:
        try:
            return requests.get(address, timeout=60)
        except requests.ConnectionError:
            time.sleep(0.2)
    raise AssertionError(f"no pages: exit code {process.returncode}")


def asked(address: str, path: str, question: dict[str, Any]) -> Any:
    return requests.post(f"{address}/ajax-api/2.0/mlflow/{path}", json=question, timeout=60).json()


def run_of(address: str, experiment: str, name: str) -> Any:
    """A run of an experiment, which has no other of that name."""
    experiments = asked(address, "experiments/search", {"max_results": 10})["experiments"]
    (number,) = [item["experiment_id"] for item in experiments if item["name"] == experiment]
    runs = asked(address, "runs/search", {"experiment_ids": [number]})["runs"]
    (run,) = [run for run in runs if run["info"]["run_name"] == name]
    return run


def log_of(address: str, run: Any) -> str:
    log = {"path": "logs/log.txt", "run_uuid": run["info"]["run_id"]}
    return requests.get(f"{address}/get-artifact", params=log, timeout=60).text


def text_of(document: str) -> str:
    """What is read on a page."""
    shown = re.sub(r"(?s)<(script|style|svg)\b.*?</\1>", " ", document)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", shown)).split())


def test_a_browser_shows_a_pipelines_step(pages: tuple[subprocess.Popen[bytes], str]) -> None:
    if not browser.CHROMIUM.exists():
        pytest.skip("chromium is missing; scripts/setup-chromium.sh gets it")
    answer(*pages)
    info = run_of(pages[1], "forecast", STEP)["info"]
    text = ""
    for _ in range(3):  # on a machine that is busy a page may say that it still waits
        text = text_of(browser.document(f"{pages[1]}/#/experiments/{info['experiment_id']}/runs/{info['run_id']}"))
        if "Metrics (1)" in text and "Parent run" in text:
            break
    wanted = ("test/model/accuracy 0.75", "script Code/train.py", "target local", "Config/demo.json '<b>&'", "Finished")
    assert [words for words in (*wanted, f"Parent run {RUN}") if words not in text] == [], text


def test_the_pages_answer_with_what_was_told(pages: tuple[subprocess.Popen[bytes], str]) -> None:
    page = answer(*pages)
    assert (page.status_code, "<title>MLflow</title>" in page.text) == (200, True)
    run = run_of(pages[1], "forecast", STEP)
    assert run["info"]["status"] == "FINISHED"
    assert [(metric["key"], metric["value"]) for metric in run["data"]["metrics"]] == [("test/model/accuracy", 0.75)]
    assert log_of(pages[1], run) == "the log\n"


def test_a_tracking_server_is_told_of_a_run_once(
    pages: tuple[subprocess.Popen[bytes], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(*pages)
    monkeypatch.setenv(TRACKING_VARIABLE, pages[1])
    record = submit(tmp_path, id=OTHER, experiment="elsewhere")
    folder = run_folder(tmp_path, OTHER)
    for number in range(2):
        RunLogger(folder / LOGGED).log("loss", number)
        (folder / LOG).write_text(f"log {number}\n")
        history.record_run(record, folder)
    run = run_of(pages[1], "elsewhere", OTHER)
    assert [(metric["key"], metric["value"], metric["step"]) for metric in run["data"]["metrics"]] == [("loss", 1, 1)]
    assert log_of(pages[1], run) == "log 1\n"
    assert history.sync(tmp_path) == 0
    assert not history_database(tmp_path).exists()


def test_the_pages_end_when_told(pages: tuple[subprocess.Popen[bytes], str], project: Path) -> None:
    process, address = pages
    answer(process, address)
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    with pytest.raises(requests.ConnectionError):
        requests.get(address, timeout=5)
    # Nothing of MLflow's own lies about in the project.
    assert sorted(path.name for path in project.iterdir()) == [".loadcast", FOLDER]
