"""How models are fitted: the settings of loadcast's own families, as keys of the configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class ForestSettings(BaseModel):
    """How the forest is grown; trees, depth and seed are those of the public sample unless set."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, strict=True)

    num_trees: int = Field(100, ge=1, le=2000)
    max_depth: int = Field(8, ge=1, le=30)
    seed: int = Field(42, ge=-(2**63), lt=2**63)
    max_bins: int = Field(32, ge=2, le=1024)
    feature_subset_strategy: str = Field(
        "auto", pattern=r"^(auto|all|sqrt|log2|onethird|0?\.0*[1-9][0-9]*|[1-9][0-9]{0,5})$"
    )


class BoostedSettings(BaseModel):
    """How boosted trees are grown, in xgboost's terms; a round grows one tree for each class.

    The defaults were chosen on backtests of real fleets (tests/bench/forecast_recipe.py).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, strict=True, allow_inf_nan=False)

    num_rounds: int = Field(60, ge=1, le=2000)
    max_depth: int = Field(4, ge=1, le=12)
    learning_rate: float = Field(0.05, gt=0, le=1)
    subsample: float = Field(0.5, gt=0, le=1)
    col_sample_by_tree: float = Field(0.3, gt=0, le=1, alias="colsampleByTree")
    min_child_weight: float = Field(50.0, ge=0, le=1e9)
    reg_lambda: float = Field(10.0, ge=0, le=1e9)
    max_bins: int = Field(64, ge=2, le=1024)
    seed: int = Field(42, ge=0, lt=2**31)
