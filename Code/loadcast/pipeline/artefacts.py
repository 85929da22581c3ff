"""`info` of a run that ETL makes."""

from __future__ import annotations

import platform

import numpy
import pyarrow

import loadcast
from loadcast.artefacts.info import FeatureSetVersion, Info, periods
from loadcast.artefacts.labels import Labels
from loadcast.kernels.encode import Encoders
from loadcast.secrets import without_secrets
from loadcast.settings import Settings
from loadcast.spark.session import SPARK_VERSION


def run_info(settings: Settings, encoders: Encoders, labels: Labels, filter_ip: bool) -> Info:
    """`info` as ETL knows it; training adds the forest's settings and the files' checksums."""
    train_period, test_period = periods(settings.train_begin, settings.split, settings.train_end)
    return Info(
        duration=settings.duration,
        data_file=without_secrets(settings.data_file),
        train_begin=settings.train_begin,
        train_end=settings.train_end,
        test_split_start=settings.split,
        train_period=train_period,
        test_period=test_period,
        low_threshold=labels.common.low,
        high_threshold=labels.common.high,
        labels=labels,
        timezone=settings.timezone,
        holiday_country=settings.holiday_country,
        filter_servers=list(settings.filter_servers) if filter_ip else None,
        column_only_indexed=list(encoders.only_indexed),
        column_for_encode=list(encoders.for_encode),
        feature_columns=list(encoders.vector),
        feature_set=FeatureSetVersion(name=encoders.features.name, version=encoders.features.version),
        versions=versions(),
        files={},
    )


def versions() -> dict[str, str]:
    """Versions of what made a run."""
    return {
        "loadcast": loadcast.__version__,
        "python": platform.python_version(),
        "pyspark": SPARK_VERSION,
        "pyarrow": pyarrow.__version__,
        "numpy": numpy.__version__,
    }
