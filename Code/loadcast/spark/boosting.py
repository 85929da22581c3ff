"""xgboost as all who grow boosted trees call it: Spark's tasks, the driver's process, backtests. Names no pyspark."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

from loadcast.extras import missing_named
from loadcast.model_settings import BoostedSettings
from loadcast.models.boosted_family import N_CLASSES

_WAITING = "OMP_WAIT_POLICY"


def load_xgboost() -> ModuleType:
    """xgboost, which only those who grow trees need. Raises EnvironmentNotReadyError where it is missing.

    Its threads wait for each other after every level of every tree. While they wait they are to sleep: where they
    spin, as is their default, and another process wants a core, each spends whole slices of time on waiting for one
    that has none (Docs/BENCHMARKS.md). The library reads this when it is loaded.
    """
    os.environ.setdefault(_WAITING, "passive")
    with missing_named():
        import xgboost
    module: ModuleType = xgboost
    return module


def parameters(settings: BoostedSettings, threads: int) -> dict[str, Any]:
    """The settings as xgboost names them."""
    return {
        "objective": "multi:softprob",
        "num_class": N_CLASSES,
        "tree_method": "hist",
        "eta": settings.learning_rate,
        "max_depth": settings.max_depth,
        "subsample": settings.subsample,
        "colsample_bytree": settings.col_sample_by_tree,
        "min_child_weight": settings.min_child_weight,
        "reg_lambda": settings.reg_lambda,
        "max_bin": settings.max_bins,
        "seed": settings.seed,
        "nthread": threads,
        "verbosity": 0,
    }
