"""The features of the public sample that loadcast grew out of, for its models; loadcast trains none on them.

They are the classic ones in the sample's order. Its client took the hour for the day of the month, so that has a 0.
"""

from __future__ import annotations

from dataclasses import replace

from loadcast.kernels.features.classic import CLASSIC
from loadcast.kernels.features.dates import DAY_OF_MONTH, DAY_OF_WEEK
from loadcast.kernels.features.feature import Feature, Kind
from loadcast.kernels.features.feature_set import FeatureSet

DAY_OF_WEEK_COLUMN = DAY_OF_WEEK.name
#: What the sample's column dayofweek holds; loadcast's has the number, from 1 on.
DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _features() -> tuple[Feature, ...]:
    """The sample joined the means to the hours before it made the lags."""
    by_kind = {kind: tuple(feature for feature in CLASSIC.features if feature.kind is kind) for kind in Kind}
    calendar = (
        replace(feature, low=0) if feature.name == DAY_OF_MONTH.name else feature for feature in by_kind[Kind.CALENDAR]
    )
    return (*calendar, *by_kind[Kind.TREND], *by_kind[Kind.ROLLING], *by_kind[Kind.LAG])


PUBLIC_SAMPLE = FeatureSet("public_sample", 1, _features(), CLASSIC.categories)


def sample_vector(only_indexed: tuple[str, ...], for_encode: tuple[str, ...]) -> tuple[str, ...]:
    """Columns of the vector that the sample's forest was trained on, in its order: the trend comes first."""
    vector = PUBLIC_SAMPLE.vector(only_indexed, for_encode)
    return (*PUBLIC_SAMPLE.plain, *(name for name in vector if name not in PUBLIC_SAMPLE.plain))
