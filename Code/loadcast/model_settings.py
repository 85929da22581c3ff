"""How models are fitted: the settings of loadcast's own families, as keys of the configuration."""

from __future__ import annotations

from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.alias_generators import to_camel

#: As kernels.forest.bins.MOST_BINS, which no configuration loads: it brings a compiler.
_MOST_BINS_AT_RANDOM = 256


class ForestSettings(BaseModel):
    """How the forest is grown; trees, depth and seed are those of the public sample unless set.

    With `random_splits` each feature drawn for a node has one threshold that competes, drawn at random: extremely
    randomized trees (Geurts, Ernst and Wehenkel, 2006), which Spark does not grow.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, strict=True)

    num_trees: int = Field(100, ge=1, le=2000)
    max_depth: int = Field(8, ge=1, le=30)
    seed: int = Field(42, ge=-(2**63), lt=2**63)
    max_bins: int = Field(32, ge=2, le=1024)
    feature_subset_strategy: str = Field(
        "auto", pattern=r"^(auto|all|sqrt|log2|onethird|0?\.0*[1-9][0-9]*|[1-9][0-9]{0,5})$"
    )
    min_instances_per_node: int = Field(1, ge=1, le=1_000_000)
    random_splits: bool = False

    @model_validator(mode="after")
    def _check_bins(self) -> ForestSettings:
        if self.random_splits and self.max_bins > _MOST_BINS_AT_RANDOM:
            raise ValueError(f"wanted a maxBins of at most {_MOST_BINS_AT_RANDOM} with randomSplits")
        return self

    @model_serializer(mode="wrap")
    def _without_unset(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Keys that came later stand in a document only where they are set: a request's digest stays what it was."""
        document: dict[str, Any] = handler(self)
        for key, unset in (("minInstancesPerNode", 1), ("randomSplits", False)):
            if document.get(key) == unset:
                del document[key]
        return document


class BoostedSettings(BaseModel):
    """How boosted trees are grown, in xgboost's terms; a round grows one tree for each class.

    The defaults were chosen on backtests of a real fleet (Docs/QUALITY.md).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, strict=True, allow_inf_nan=False)

    num_rounds: int = Field(40, ge=1, le=2000)
    max_depth: int = Field(7, ge=1, le=12)
    learning_rate: float = Field(0.08, ge=1e-6, le=1)
    subsample: float = Field(0.8, ge=1e-6, le=1)
    col_sample_by_tree: float = Field(0.16, ge=1e-6, le=1, alias="colsampleByTree")
    min_child_weight: float = Field(10.0, ge=0, le=1e9)
    reg_lambda: float = Field(60.0, ge=0, le=1e9)
    max_bins: int = Field(64, ge=2, le=1024)
    seed: int = Field(42, ge=0, lt=2**31)
