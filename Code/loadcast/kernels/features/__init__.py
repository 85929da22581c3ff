"""Features as data: what a feature and a set of features is, the classic set, and the one way to make their columns."""

from loadcast.kernels.features.assembly import (
    Coming,
    coming_hours,
    every_hour,
    feature_table,
    hours_together,
    labelled,
    relative_table,
    training_table,
    unknown_hours,
)
from loadcast.kernels.features.classic import CLASSIC
from loadcast.kernels.features.feature import Encoding, Feature, Kind
from loadcast.kernels.features.feature_set import FeatureSet, Origin
from loadcast.kernels.features.public_sample import PUBLIC_SAMPLE
from loadcast.kernels.features.relative import DIRECT, DIRECT_1, EXTENDED
from loadcast.kernels.features.rows import FeatureRows

__all__ = [
    "CLASSIC",
    "DIRECT",
    "DIRECT_1",
    "EXTENDED",
    "PUBLIC_SAMPLE",
    "Coming",
    "Encoding",
    "Feature",
    "FeatureRows",
    "FeatureSet",
    "Kind",
    "Origin",
    "coming_hours",
    "every_hour",
    "feature_table",
    "hours_together",
    "labelled",
    "relative_table",
    "training_table",
    "unknown_hours",
]
