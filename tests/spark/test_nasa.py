"""Real data from end to end: the load of a web server in the summer of 1995.

The data lies beside the repository; its README says what it is, which settings suit it, and what naive forecasts score.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import classic
import runs
from loadcast import paths, schema
from loadcast.monitoring.monitor import monitor
from loadcast.serving.app import create_app
from loadcast.serving.feature_source import FeatureSource
from loadcast.serving.predictor import Predictor
from loadcast.serving.statistics import open_statistics, scoring_features
from loadcast.settings import parse_settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parents[2]
LOG = ROOT.parent / "shared" / "data" / "nasa95" / "sessions.csv.gz"

pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(not LOG.exists(), reason="the NASA log of 1995 is not at hand (../shared/data/nasa95)"),
]

SERVER = "10.95.0.1"
# The README counts 297 test hours; the last of them, of a single row at 1995-09-01 00:00:00, is after trainEnd.
TEST_HOURS = 296
SHARES = {"low": 0.61, "medium": 0.29, "high": 0.10}
#: Accuracy, macro-F1, and how far from them we may be. An hour of the week has seven training rows at most, so several
#: classes are often equally frequent there: ours is the lower of them, and what the README took is not known.
NAIVE = {
    "sameClassAs48hBefore": (0.599, 0.492, 0.01),
    "sameClassAs168hBefore": (0.785, 0.639, 0.01),
    "mostFrequentOfHourOfWeek": (0.774, 0.693, 0.015),
    "mostFrequent": (0.606, 0.252, 0.01),
}


@pytest.fixture(scope="module")
def nasa(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    """ETL and training with the README's settings and the default forest."""
    settings = parse_settings(
        {
            "dataFile": str(LOG),
            "output": str(tmp_path_factory.mktemp("nasa") / "output"),
            "duration": "CUSTOM",
            "trainBegin": "1995-07-01 00:00:00",
            "trainEnd": "1995-08-31 23:59:59",
            "testSplitStart": "1995-08-19 16:00:00",
            "lowThreshold": 256,
            "highThreshold": 452,
        }
    )
    return runs.train(runs.etl(settings))


def sources(run: runs.Run) -> list[FeatureSource]:
    """What the client builds features from, for the first 48 hours of the test."""
    return scoring_features(open_statistics(Path(run.settings.output)), None, run.settings.split)


def test_no_row_is_rejected_or_repaired(nasa: runs.Run) -> None:
    assert nasa.quality["rows"] == 81_397
    assert nasa.quality["rejected"] == nasa.quality["repaired"] == nasa.quality["blank"] == 0
    assert nasa.quality["outsidePeriod"] == 1


def test_the_grid_covers_the_period_and_marks_the_gaps(nasa: runs.Run) -> None:
    hours = runs.frame(nasa, paths.HOURLY).set_index(schema.HOUR)
    assert len(hours) == 62 * 24
    for begin, end in (("1995-07-28 14:00", "1995-07-31 23:00"), ("1995-08-01 15:00", "1995-08-03 03:00")):
        assert not hours.loc[begin:end, schema.OBSERVED].any()
        assert (hours.loc[begin:end, schema.PEAK_LOAD] == 0).all()


def test_classes_of_the_test_hours_are_shared_as_the_readme_says(nasa: runs.Run) -> None:
    actual = nasa.metrics["test"]
    assert actual["rows"] == TEST_HOURS
    for name, share in SHARES.items():
        assert actual["perClass"][name]["support"] / TEST_HOURS == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("name", NAIVE)
def test_naive_forecasts_score_as_the_readme_says(nasa: runs.Run, name: str) -> None:
    actual = nasa.metrics["test"]["naive"][name]
    accuracy, macro_f1, apart = NAIVE[name]
    assert actual["accuracy"] == pytest.approx(accuracy, abs=apart)
    assert actual["macroF1"] == pytest.approx(macro_f1, abs=apart)


def test_the_forest_beats_the_best_naive_accuracy(nasa: runs.Run) -> None:
    actual = nasa.metrics["test"]
    assert actual["accuracy"] > max(scores["accuracy"] for scores in actual["naive"].values())


def test_the_gate_loses_nothing_against_naive_forecasts_and_monitor_says_the_same(nasa: runs.Run) -> None:
    gated, actual = nasa.metrics["test"]["gated"], monitor(nasa.settings).document()["overall"]
    assert gated["accuracy"] >= max(scores["accuracy"] for scores in actual["naive"].values()) - 0.01
    assert gated["logLoss"] < min(scores["logLoss"] for scores in actual["naive"].values())
    assert actual["gated"] == {**gated, "logLoss": pytest.approx(gated["logLoss"], abs=1e-9)}
    assert actual["model"]["logLoss"] == pytest.approx(nasa.metrics["test"]["logLoss"], abs=1e-9)
    for name, scores in actual["naive"].items():
        assert scores["accuracy"] == pytest.approx(nasa.metrics["test"]["naive"][name]["accuracy"], abs=1e-12)


def test_the_client_s_features_are_those_of_the_test_s_first_48_hours(nasa: runs.Run) -> None:
    (source,) = sources(nasa)
    assert source.server == SERVER
    wanted = runs.test_rows(nasa).select(classic.SCORING_SCHEMA.names).slice(0, schema.HORIZON_HOURS)
    actual = source.table()
    assert runs.same_bits(actual, wanted.cast(classic.SCORING_SCHEMA)) == []


def test_the_service_answers_the_client_as_training_predicted(nasa: runs.Run) -> None:
    (source,) = sources(nasa)
    client = create_app(Predictor.load(nasa.settings.output), keys=None, name="loadcast").test_client()
    response = client.post("/score", json=list(source.records()))
    assert response.status_code == 200
    answers = list(response.get_json().values())
    wanted = runs.frame(nasa, paths.PREDICTIONS).head(schema.HORIZON_HOURS)
    assert [answer[schema.HOUR] for answer in answers] == [runs.text(hour) for hour in wanted[schema.HOUR]]
    assert [answer[schema.PREDICTION] for answer in answers] == wanted[schema.PREDICTION].tolist()
    for label, name in schema.CLASS_NAMES.items():
        shares = [answer["probability"][name] for answer in answers]
        assert shares == pytest.approx(wanted[schema.PROBABILITY_COLUMNS[label]].tolist(), abs=1e-9)
    assert not any(answer["cold_start"] for answer in answers)
