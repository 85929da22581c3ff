"""Features as data: what a feature and a set of features is, the classic set, and the one way to make their columns."""

from loadcast.kernels.features.assembly import coming_hours, every_hour, feature_table, labelled, training_table
from loadcast.kernels.features.classic import CLASSIC
from loadcast.kernels.features.feature import Encoding, Feature, Kind
from loadcast.kernels.features.feature_set import FeatureSet
from loadcast.kernels.features.public_sample import PUBLIC_SAMPLE
from loadcast.kernels.features.rows import FeatureRows

__all__ = [
    "CLASSIC",
    "PUBLIC_SAMPLE",
    "Encoding",
    "Feature",
    "FeatureRows",
    "FeatureSet",
    "Kind",
    "coming_hours",
    "every_hour",
    "feature_table",
    "labelled",
    "training_table",
]
