"""How the forest is set up."""

from __future__ import annotations

import pytest

from loadcast.models.forest_subset import MOST_FEATURES_DRAWN, feature_subset

pytestmark = pytest.mark.spark


@pytest.mark.parametrize(("number", "drawn"), [(1, "1"), (3, "1"), (90, "30"), (5_000, str(MOST_FEATURES_DRAWN))])
def test_auto_draws_a_third_up_to_a_limit(number: int, drawn: str) -> None:
    assert feature_subset("auto", number) == drawn


@pytest.mark.parametrize("strategy", ["sqrt", "onethird", "all", "0.5", "12"])
def test_other_strategies_are_sparks(strategy: str) -> None:
    assert feature_subset(strategy, 90) == strategy
