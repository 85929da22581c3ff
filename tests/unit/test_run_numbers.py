"""What a run tells its history: all scores, counts and times, each under a name that every history takes."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from artefact_files import made_up_metrics, made_up_quality
from loadcast.artefacts.metrics import Metrics
from loadcast.artefacts.quality import Quality
from loadcast.errors import InputError
from loadcast.pipeline import run as module
from loadcast.progress import Progress
from loadcast.run_logger import VARIABLE, RunLogger, read_logged, series
from loadcast.run_request import RunRequest
from loadcast.run_result import Published, RunResult
from loadcast.settings import parse_settings

METRICS = Metrics.from_document(made_up_metrics(warning="few rows"))
SETTINGS = parse_settings({"dataFile": "logs", "output": "output", "duration": "ONE_MONTH"})
REQUEST = RunRequest(settings=SETTINGS, step="train")
QUALITY = Quality.from_document(made_up_quality())


def leaves(value: Any) -> list[float]:
    """All numbers in a JSON value."""
    if isinstance(value, dict | list):
        members = value.values() if isinstance(value, dict) else value
        return [number for member in members for number in leaves(member)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def test_no_score_is_left_out() -> None:
    document = METRICS.document()
    del document["formatVersion"]
    assert sorted(METRICS.numbers().values()) == sorted(leaves(document))
    assert METRICS.numbers()["test/model/accuracy"] == 0.5
    assert METRICS.numbers()["train/naive/mostFrequent/confusionMatrix/low/high"] == 1


def test_scores_that_are_not_known_are_left_out() -> None:
    document = made_up_metrics()
    document["test"] = {**document["test"], "logLoss": None}
    assert "test/model/logLoss" not in Metrics.from_document(document).numbers()


def test_no_count_over_the_whole_input_is_left_out() -> None:
    document = json.loads(QUALITY.encoded())
    for key in ("formatVersion", "contract", "files", "filesThatStandOut"):
        del document[key]
    del document["servers"]["listed"]
    files = {"files": 1.0, "filesThatStandOut": 0.0}
    numbers = QUALITY.numbers()
    assert sorted(numbers.values()) == sorted([*leaves(document), *files.values()])
    assert numbers["rejectedByReason/HEADER"] == 1
    assert files.items() <= numbers.items()


def _ran(monkeypatch: pytest.MonkeyPatch, published: Published) -> RunResult:
    def work(request: RunRequest, progress: Progress) -> Published:
        for title in ("Scoring train and test", "Scanning 5 files", "Scoring again"):
            with progress(title):
                pass
        return published

    monkeypatch.setattr(module, "_work", lambda step: work)
    return module.run(REQUEST)


PUBLISHED = Published(run="20160630T000000000000Z-abcdef", output="out", quality=QUALITY, metrics=METRICS)


def test_a_run_logs_all_its_numbers_and_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "log"))
    result = _ran(monkeypatch, PUBLISHED)
    logged = read_logged(tmp_path / "log")
    numbers = {name: values[-1][1] for name, values in series(logged).items()}
    assert numbers == result.numbers()
    assert {"seconds/scoring", "seconds/scanning", "seconds/total", "quality/rows", "test/model/macroF1"} <= set(
        numbers
    )
    texts = {item.name: item.text for item in logged if item.kind == "text"}
    assert texts == {
        "request": result.request,
        "published": result.address,
        "train/bestNaive": "mostFrequent",
        "test/bestNaive": "mostFrequent",
        "warning": "few rows",
    }


def test_a_run_that_fails_logs_its_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(request: RunRequest, progress: Progress) -> Published:
        with progress("Scanning 5 files"):
            raise InputError("no files")

    monkeypatch.setenv(VARIABLE, str(tmp_path / "log"))
    monkeypatch.setattr(module, "_work", lambda step: work)
    with pytest.raises(InputError, match="no files"):
        module.run(REQUEST)
    assert set(series(read_logged(tmp_path / "log"))) == {"seconds/scanning", "seconds/total"}


def test_steps_of_one_name_count_together() -> None:
    steps: Any = [{"title": "Scoring a", "durationS": 1.0}, {"title": "Scoring b", "durationS": 2.0}]
    more: Any = {"request": "", "run": "r", "output": "o", "begun": datetime.now(UTC), "duration_s": 4.0}
    result = RunResult(step="etl", steps=steps, **more)
    assert result.numbers() == {"seconds/scoring": 3.0, "seconds/total": 4.0}


def test_a_published_run_does_not_fail_because_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "missing" / "log"))
    with caplog.at_level(logging.WARNING, "loadcast"):
        assert _ran(monkeypatch, PUBLISHED).run == PUBLISHED.run
    assert "The run is not in its history." in caplog.text


def test_without_a_log_nothing_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(RunLogger, "_append", lambda self, *args: self.enabled and pytest.fail("logged"))
    _ran(monkeypatch, PUBLISHED)
