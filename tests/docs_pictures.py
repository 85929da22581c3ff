"""The pictures in Docs: `make docs-pictures` makes them of this clone's own history, in Debian's chromium.

Where there are no runs of the experiment `demo` yet, the demo is submitted first: a try on two servers, then all of
them, then a smaller forest.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from PIL import Image

import browser
from loadcast.experiments.records import list_records

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENT, CONFIG = "demo", ROOT / "demo-here.json"
COLUMNS = ("attributes.`Duration`", "attributes.`Source`", "params.`arguments`")
METRICS = ("accuracy", "logLoss", "macroF1")
#: MLflow's own panel on the right is cut off.
WINDOW, SHOWN = (1640, 760), (0, 0, 1216, 540)
PATIENCE_S = 300


def main() -> None:
    """Make all pictures."""
    if not any(record.experiment == EXPERIMENT for record in list_records(ROOT).records):
        submit_demo()
    folder = ROOT / "Docs" / "images"
    with pages() as address:
        history_picture(address, folder / "history.png")


def submit_demo() -> None:
    """Submit ETL and training to this machine, as Docs/EXPERIMENTS.md does."""
    loadcast("sample", "data/demo", "--rows", "400000", "--overwrite")
    given = json.loads((ROOT / "Config" / "demo.json").read_text())
    config = {**given, **{name: str(ROOT / given[name]) for name in ("dataFile", "output")}}
    forest = {**config, "forest": {"numTrees": 40, "maxDepth": 5}}
    steps = ((config, "etl", "FILTER_IP"), (config, "train"), (config, "etl", "FALSE"), (config, "train"))
    try:
        for content, script, *words in (*steps, (forest, "train")):
            CONFIG.write_text(json.dumps(content, indent=2) + "\n")
            script = f"Code/{script}.py"
            loadcast("experiment", "submit", "--experiment", EXPERIMENT, "-c", "local", script, CONFIG.name, *words)
    finally:
        CONFIG.unlink(missing_ok=True)


def history_picture(address: str, file: Path) -> None:
    """The list of runs, with the scores of the model in columns of their own."""
    found = ask(address, "experiments/search", {"max_results": 100})["experiments"]
    (number,) = [item["experiment_id"] for item in found if item["name"] == EXPERIMENT]
    columns = [*COLUMNS, *(f"metrics.`test/model/{name}`" for name in METRICS)]
    view = {"selectedColumns": columns, "orderByKey": "attributes.start_time", "orderByAsc": False}
    tag = {"experiment_id": number, "key": "mlflow.sharedViewState.docs", "value": json.dumps(view)}
    ask(address, "experiments/set-experiment-tag", tag)
    page = f"{address}/#/experiments/{number}/runs?viewStateShareKey=docs&workflowType=machine_learning"
    browser.picture(page, file, *WINDOW)
    with Image.open(file) as image:
        image.crop(SHOWN).quantize(128).save(file, optimize=True)
    print(f"{file.relative_to(ROOT)}: {file.stat().st_size:,} bytes")


@contextmanager
def pages() -> Iterator[str]:
    """`loadcast history ui` of this clone; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([*command(), "history", "ui", "--port", str(port)], cwd=ROOT) as process:
        try:
            until = time.monotonic() + PATIENCE_S
            while process.poll() is None and time.monotonic() < until:
                try:
                    requests.get(f"http://127.0.0.1:{port}", timeout=60)
                    break
                except requests.ConnectionError:
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def ask(address: str, path: str, question: dict[str, Any]) -> Any:
    """MLflow's answer."""
    answer = requests.post(f"{address}/ajax-api/2.0/mlflow/{path}", json=question, timeout=60)
    answer.raise_for_status()
    return answer.json()


def loadcast(*words: str) -> None:
    subprocess.run([*command(), *words], cwd=ROOT, check=True)


def command() -> list[str]:
    return [sys.executable, "-m", "loadcast"]


if __name__ == "__main__":
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    main()
