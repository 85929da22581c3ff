"""How the functions of a feature set reach Spark's Python workers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

from pyspark import cloudpickle

from loadcast.feature_sets import is_registered_here
from loadcast.kernels.features import FeatureSet


def send_by_value(features: FeatureSet) -> None:
    """Have Spark send the functions of a set that only this process knows along with the tasks.

    Those of loadcast and of installed packages are sent by name: the workers have the same.
    """
    if is_registered_here(features):
        for module in set(_modules(features)):
            cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]


def _modules(features: FeatureSet) -> Iterator[ModuleType]:
    """The modules of the set's own functions. Those of a notebook or script are sent by value anyway."""
    for feature in features.features:
        for thing in (feature.compute, type(feature.compute)):
            name = getattr(thing, "__module__", None) or "builtins"
            package = name.partition(".")[0]
            if package not in ("loadcast", "builtins", "functools", "__main__") and name in sys.modules:
                yield sys.modules[name]
