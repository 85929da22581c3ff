"""The settings of model families in the configuration: every fault names its key, what was found, what is wanted."""

from __future__ import annotations

from typing import Any

import pytest

from loadcast.errors import ConfigError
from loadcast.kernels.forest.bins import MOST_BINS
from loadcast.settings import parse_settings

PLAIN: dict[str, Any] = {"dataFile": "data/*.csv", "duration": "ONE_MONTH", "output": "output"}


def fault_of(**changes: Any) -> str:
    """What is said of a configuration that is plain but for these keys."""
    with pytest.raises(ConfigError) as caught:
        parse_settings({**PLAIN, **changes})
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("numTrees", 0), ("numTrees", 2001), ("numTrees", "100"), ("numTrees", 1.5), ("numTrees", True)],
        *[("maxDepth", 31), ("maxBins", 1), ("seed", 2**63), ("seed", None), ("seed", "x")],
        *[("minInstancesPerNode", 0), ("minInstancesPerNode", True), ("randomSplits", 1), ("randomSplits", "true")],
        *[("featureSubsetStrategy", text) for text in ("half", "0", "0.0", ".0", "1e9", "\u0663", "", "9999999")],
    ],
)
def test_a_forest_that_cannot_be_grown_is_a_fault_that_names_its_key(name: str, value: Any) -> None:
    assert f"  forest.{name}: found {value!r}, wanted" in fault_of(forest={name: value})


def test_splits_at_random_with_more_bins_than_their_kernels_have_are_a_fault() -> None:
    """As the configuration is read, and not once Spark has started."""
    forest = {"randomSplits": True, "maxBins": MOST_BINS}
    assert parse_settings({**PLAIN, "forest": forest}).forest.max_bins == MOST_BINS
    wanted = f"wanted a maxBins of at most {MOST_BINS} with randomSplits"
    assert wanted in fault_of(forest={**forest, "maxBins": MOST_BINS + 1})
    assert parse_settings({**PLAIN, "forest": {"maxBins": 1024}})


@pytest.mark.parametrize("strategy", ["auto", "all", "sqrt", "log2", "onethird", "0.5", ".25", "7"])
def test_a_forest_draws_its_features_in_spark_s_ways(strategy: str) -> None:
    settings = parse_settings({**PLAIN, "forest": {"featureSubsetStrategy": strategy, "seed": -(2**63)}})
    assert settings.forest.feature_subset_strategy == strategy


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("numRounds", 0), ("numRounds", 2001), ("numRounds", 60.0), ("maxDepth", 13), ("maxBins", 1), ("seed", -1)],
        *[("learningRate", 0), ("learningRate", 1.5), ("subsample", 0.0), ("colsampleByTree", 1.01)],
        # xgboost keeps 32 bits of them, and would refuse them in a task.
        *[("learningRate", 1e-300), ("subsample", 1e-50), ("colsampleByTree", 9e-7)],
        *[("minChildWeight", -1), ("regLambda", float("inf")), ("regLambda", float("nan")), ("learningRate", "0.1")],
    ],
)
def test_boosted_trees_that_cannot_be_grown_are_a_fault_that_names_its_key(name: str, value: Any) -> None:
    assert f"  boosted.{name}: found {value!r}, wanted" in fault_of(boosted={name: value})


def test_later_keys_of_the_forest_stand_in_a_document_only_where_they_are_set() -> None:
    assert set(parse_settings(PLAIN).document()["forest"]) == {
        *("numTrees", "maxDepth", "seed", "maxBins", "featureSubsetStrategy")
    }
    chosen = parse_settings({**PLAIN, "forest": {"minInstancesPerNode": 10, "randomSplits": True}})
    assert chosen.document()["forest"]["randomSplits"] is True
    assert parse_settings(chosen.document()) == chosen


def test_boosted_stands_in_a_document_only_where_it_is_set() -> None:
    assert "boosted" not in parse_settings(PLAIN).document()
    chosen = parse_settings({**PLAIN, "boosted": {"numRounds": 5}})
    assert chosen.document()["boosted"]["numRounds"] == 5
    assert parse_settings(chosen.document()) == chosen
