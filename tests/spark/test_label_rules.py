"""Labels by bounds of each server's own, and decisions by cost, from end to end: one run."""

from __future__ import annotations

import numpy as np
import pytest

import loadcast
import runs
from loadcast import paths, schema
from loadcast.errors import ConfigError
from loadcast.kernels.decisions import DecisionRule
from loadcast.serving.predictor import Predictor

pytestmark = pytest.mark.spark

COSTS = [[0, 1, 2], [3, 0, 1], [10, 4, 0]]


@pytest.fixture(scope="module")
def run(hostile_logs: runs.Logs, tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    folder = tmp_path_factory.mktemp("rules")
    pattern = hostile_logs.write(folder / "data", {17: 2, 16: 1}, seed=1, shuffle=False)
    changes = {"forest": {"numTrees": 2, "maxDepth": 3}, "labelRule": "perServer", "highQuantile": 0.9}
    made = runs.etl(runs.make_settings(pattern, folder / "output", 50, 5, **changes))
    # ETL does not know what decisions are made by: the same features are trained on with and without.
    decided = {"costs": tuple(map(tuple, COSTS)), "min_confidence": 0.6}
    return runs.train(runs.Run(made.settings.model_copy(update=decided), made.folder, made.quality, {}))


def test_a_run_labels_by_bounds_of_each_server_and_keeps_them(run: runs.Run) -> None:
    hours, labels = runs.table(run, paths.HOURLY), run.info["labels"]
    # What the same hours teach and are labelled in one process, without Spark.
    wanted = loadcast.features(hours, run.settings).sort_by(runs.HOUR_KEYS)
    rows = runs.table(run, paths.FEATURES)
    assert rows.column(schema.LABEL).equals(wanted.column(schema.LABEL))
    assert set(rows.column(schema.LABEL).to_pylist()) == {1, 2, 3}
    known = hours.to_pandas().query(f"{schema.OBSERVED} and {schema.HOUR} < '{run.settings.split}'")
    fleet = np.quantile(known[schema.PEAK_LOAD], [0.5, 0.9]).tolist()
    assert labels["common"] == {"low": fleet[0], "high": fleet[1], "source": "fleet"}
    assert [run.info["lowThreshold"], run.info["highThreshold"]] == fleet
    own = {server: group[schema.PEAK_LOAD] for server, group in known.groupby(schema.SERVER) if len(group) >= 168}
    assert labels["servers"] == {
        server: {**dict(zip(("low", "high"), np.quantile(peaks, [0.5, 0.9]), strict=True)), "source": "server"}
        for server, peaks in own.items()
    }
    assert len(own) > 1
    # Scores are of the same labels, and a lag's class is by the server's own bounds.
    observed = rows.filter(rows.column(schema.OBSERVED)).to_pandas()
    test = observed[observed[schema.HOUR] >= run.settings.split]
    supports = [scores["support"] for scores in run.metrics["test"]["perClass"].values()]
    assert supports == [int((test[schema.LABEL] == label).sum()) for label in (1, 2, 3)]
    rule = Predictor.load(run.folder).info.label_rule
    bounds = [rule.bounds(server) for server in test[schema.SERVER]]
    lags = zip(test["peakLoadLag48"], bounds, strict=True)
    before = [1 + (lag > bound.low) + (lag > bound.high) for lag, bound in lags]
    accuracy = run.metrics["test"]["naive"]["sameClassAs48hBefore"]["accuracy"]
    assert accuracy == pytest.approx((test[schema.LABEL] == before).mean(), rel=1e-12)
    for key, value, said in (
        ("label_rule", "quantile", "labelRule: ETL ran with perServer, the configuration says quantile"),
        ("high_quantile", 0.8, "highQuantile: ETL ran with 0.9, the configuration says 0.8"),
    ):
        with pytest.raises(ConfigError, match=said):
            runs.train(runs.Run(run.settings.model_copy(update={key: value}), run.folder, {}, {}))


def test_decisions_follow_from_the_probabilities_and_are_scored_by_what_they_cost(run: runs.Run) -> None:
    rows = runs.table(run, paths.PREDICTIONS)
    assert rows.schema.names == [*schema.PREDICTION_COLUMNS, "decision"]
    shares = np.column_stack([rows.column(name).to_numpy() for name in schema.PROBABILITY_COLUMNS.values()])
    # The sums, written another way; a sum's last bits are no tie.
    costs = shares @ np.array(COSTS, dtype=float)
    decided = rows.column("decision").to_numpy()
    assert np.isclose(costs[np.arange(len(costs)), decided - 1], costs.min(axis=1), rtol=1e-12).all()
    observed = rows.to_pandas().query(schema.OBSERVED)
    test = run.metrics["test"]
    for name, column in (("decision", "decision"), ("prediction", schema.PREDICTION)):
        pairs = zip(observed[schema.LABEL], observed[column].astype(int), strict=True)
        total = sum(COSTS[true - 1][said - 1] for true, said in pairs)
        assert test["costs"][name] == {"total": total, "perRow": total / len(observed)}
    assert test["costs"]["decision"]["total"] != test["costs"]["prediction"]["total"]
    assert test["costs"]["naive"].keys() == test["naive"].keys()
    sure = observed[[*schema.PROBABILITY_COLUMNS.values()]].max(axis=1) >= 0.6
    kept = observed[sure]
    accuracy = (kept[schema.LABEL] == kept[schema.PREDICTION]).mean()
    counts = {"rows": len(kept), "rowsWithoutForecast": int((~sure).sum()), "accuracy": accuracy}
    assert test["confident"] == {"minConfidence": 0.6, **counts}
    assert 0 < len(kept) < len(observed)
    assert Predictor.load(run.folder).info.decision_rule == DecisionRule(tuple(map(tuple, COSTS)), 0.6)


def test_what_was_decided_by_before_is_forgotten_by_a_training_without_it(run: runs.Run) -> None:
    undecided = run.settings.model_copy(update={"costs": None, "min_confidence": None})
    plain = runs.train(runs.Run(undecided, run.folder, {}, {}))
    assert not {"costs", "minConfidence"} & plain.info.keys()
    assert runs.table(plain, paths.PREDICTIONS).schema.names == list(schema.PREDICTION_COLUMNS)
    assert not {"costs", "confident"} & plain.metrics["test"].keys()
    before = runs.table(run, paths.PREDICTIONS).drop_columns(["decision"]).replace_schema_metadata(None)
    assert runs.same_bits(runs.table(plain, paths.PREDICTIONS).replace_schema_metadata(None), before) == []
