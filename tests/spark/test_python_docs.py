"""Docs/PYTHON.md and the notebook: every line of Python there runs, from top to bottom."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient

import loadcast
import runs
from loadcast.pipeline import run as pipeline_run
from loadcast.sample import SampleSpec, write_sample
from loadcast.settings import load_settings
from published import running_service

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "Docs" / "PYTHON.md"
NOTEBOOK = ROOT / "Docs" / "notebooks" / "first-steps.ipynb"
SERVICE = "http://127.0.0.1:5000"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the page takes for given: the demo's configuration, fewer rows of its logs, and Model."""
    write_sample(SampleSpec(rows=20_000), tmp_path / "data" / "demo", jobs=1)
    demo = load_settings(ROOT / "Config" / "demo.json").document()
    changes = {"dataFile": str(tmp_path / demo["dataFile"]), "output": str(tmp_path / demo["output"])}
    settings = loadcast.parse_settings({**demo, **changes, "forest": {"numTrees": 4, "maxDepth": 4}})
    (tmp_path / "Config").mkdir()
    request = loadcast.RunRequest(settings=settings, step="stats")
    assert request.to_json()
    (tmp_path / "Config" / "demo.json").write_text(settings.model_dump_json(by_alias=True))
    (tmp_path / "Model").symlink_to(ROOT / "Model")
    shutil.copytree(ROOT / "aml_config", tmp_path / "aml_config")
    (tmp_path / "Code").mkdir()
    (tmp_path / "Code" / "report.py").write_text("from loadcast.run_logger import run_logger; run_logger().log('x', 1)")
    monkeypatch.chdir(tmp_path)
    # Spark runs in the session that the tests share, started elsewhere: its workers need not know this folder.
    monkeypatch.setattr(pipeline_run, "SparkOptions", lambda: runs.OPTIONS)
    return tmp_path


@pytest.fixture
def root_logger() -> Iterator[None]:
    """The page sets up Python's logging; nothing of that stays."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_every_line_of_the_page_runs(spark: SparkSession, clone: Path, root_logger: None) -> None:
    assert len(BLOCKS) >= 10
    names: dict[str, Any] = {}
    for block in BLOCKS:
        if SERVICE not in block:
            exec(compile(block, PAGE.name, "exec"), names)
            continue
        with running_service(loadcast.load_model(names["settings"])) as url:
            exec(compile(block.replace(SERVICE, url), PAGE.name, "exec"), names)
    assert names["coming"].num_rows == 48
    assert names["submitted"].get_metrics() == {"x": 1}


def test_the_readme_uses_what_there_is() -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    compile(block, "README.md", "exec")
    assert set(re.findall(r"loadcast\.(\w+)", block)) <= set(loadcast.__all__)


def test_the_first_five_minutes_are_five_lines() -> None:
    assert len([line for line in BLOCKS[0].splitlines() if line.strip()]) == 5


def test_the_page_names_all_there_is() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in loadcast.__all__ if not re.search(rf"\b{name}\b", page) and name != "__version__"] == []


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_MASTER", "local[2]")
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "matplotlib"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(shutil.copy(NOTEBOOK, tmp_path), as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    items = [item for cell in notebook.cells for item in cell.get("outputs", ())]
    pictures = [item for item in items if "image/png" in item.get("data", {})]
    assert len(pictures) == 3
    assert "rows kept" in "".join(item.get("text", "") for item in items)
    assert {path.name for path in tmp_path.iterdir()} == {NOTEBOOK.name, "first-steps", "matplotlib", "ipython"}


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")] == []
