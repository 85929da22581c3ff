"""What an older loadcast has written can be trained on again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import old_run
import runs
from loadcast import paths
from loadcast.pipeline.run import run_train
from loadcast.serving.predictor import Predictor

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_an_old_output_is_trained_on_again_with_the_same_scores(spark: SparkSession, tmp_path: Path) -> None:
    old = json.loads((old_run.OUTPUT / paths.METRICS).read_text())
    metrics = run_train(old_run.copied(tmp_path), runs.OPTIONS).metrics
    actual = metrics.document()
    for part in ("train", "test"):
        # Forecasts of the same hour have come since; the best may be one of them. And calibration, and the gate.
        later = {"brierScore", "expectedCalibrationError", "reliability", *(["gated"] if part == "test" else [])}
        assert actual[part].keys() - old[part].keys() == later
        assert len(actual[part]["naive"]) == len(old[part]["naive"]) + 2
        naive = {name: actual[part]["naive"][name] for name in old[part]["naive"]}
        same = {key: actual[part][key] for key in old[part] if key not in ("naive", "bestNaive", "liftOverBestNaive")}
        assert {**old[part], **same} == old[part]
        assert naive == old[part]["naive"]
    assert (actual["formatVersion"], actual["warning"]) == (metrics.VERSION, None)
    new, before = (json.loads((folder / paths.INFO).read_text()) for folder in (tmp_path / "output", old_run.OUTPUT))
    lasting = [key for key in before if key not in ("files", "versions")]
    assert {key: new[key] for key in lasting} == {key: before[key] for key in lasting}
    assert Predictor.load(tmp_path / "output").info.files == new["files"]
