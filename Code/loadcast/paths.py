"""Where things lie in the output of a run: the one place that knows."""

from __future__ import annotations

# Data artefacts, made by ETL and the statistics.
FEATURES = "mlSource.parquet"
HOURLY = "hourlyfeature"
DAILY = "dailyfeature"
QUALITY = "quality.json"
REJECTED = "rejected"

# The bundle: what the service loads.
INFO = "info"
STRING_INDEX_MODEL = "stringIndexModel"
ONE_HOT_MODEL = "oneHotEncoderModel"
SCALE_MODEL = "featureScaleModel"
FOREST_MODEL = "mlModel"
METRICS = "metrics.json"
BUNDLE_FOLDERS = (STRING_INDEX_MODEL, ONE_HOT_MODEL, SCALE_MODEL, FOREST_MODEL)
BUNDLE = (*BUNDLE_FOLDERS, METRICS, INFO)

# The test period's answers.
PREDICTIONS = "predictions.parquet"

ARTEFACTS = (
    FEATURES,
    HOURLY,
    DAILY,
    QUALITY,
    REJECTED,
    INFO,
    STRING_INDEX_MODEL,
    ONE_HOT_MODEL,
    SCALE_MODEL,
    FOREST_MODEL,
    METRICS,
    PREDICTIONS,
)

# How runs are kept in an output folder (see storage/publish.py).
RUNS = "runs"
CURRENT = "current"
MODEL = "model"
STAGING_PREFIX = ".staging-"
#: The last file of a run: its record (see storage/runs.py).
COMPLETE = ".complete"
#: Marks a run that was rolled back.
WITHDRAWN = ".withdrawn"
#: What publishing adds to a run's files.
RUN_MARKS = frozenset({COMPLETE, WITHDRAWN})

# Results of scanned files, beside the runs (see storage/kept.py).
SCANNED = "scanned"


def run_path(run: str) -> str:
    """Where a run lies in an output, e.g. `runs/20160630T000000000000Z-abcdef`."""
    return f"{RUNS}/{run}"
