"""Names and types of the columns of every stage but the features: the only place where such a name is written.

Features are described by their FeatureSet (kernels/features). The meanings and units stand in Docs/DATA.md; a test
holds them against each other.
"""

from __future__ import annotations

import enum

import pyarrow as pa

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
TIME_FORMAT_HINT = "yyyy-MM-dd HH:mm:ss"

# --- sessions -------------------------------------------------------------------------------------------------------
SERVER = "ServerIP"
CLIENT = "ClientIP"
SESSION_START = "SessionStart"
TOTAL_LOAD = "TotalLoad"
SUB_LOADS = tuple(f"SubService_{i}_Load" for i in range(1, 6))
SECURE_LOAD = "SecureBytes_Load"
MBYTES = "MbytesTransferred"

SESSION_COLUMNS_17 = (
    "TrafficType",
    SESSION_START,
    "SessionEnd",
    "ConcurrentConnectionCounts",
    MBYTES,
    "ServiceGrade",
    "HTTP1",
    "ServerType",
    *SUB_LOADS,
    SECURE_LOAD,
    TOTAL_LOAD,
    SERVER,
    CLIENT,
)
SESSION_COLUMNS_16 = (*SESSION_COLUMNS_17[1:15], CLIENT, SERVER)

#: The numeric columns that are read, in the order of the sums and peaks made of them.
MEASURES = (TOTAL_LOAD, MBYTES, *SUB_LOADS, SECURE_LOAD)

HEADER_MARKS = {SERVER: frozenset({"IPs", SERVER}), SESSION_START: frozenset({SESSION_START})}


class Reason(enum.StrEnum):
    """Why a row was rejected, in the order in which the checks are made."""

    FIELD_COUNT = "field_count"
    HEADER = "header"
    SERVER_IP = "server_ip"
    SESSION_START = "session_start"
    CONTRACT = "contract"


class Repair(enum.StrEnum):
    """Why a number became missing."""

    MISSING = "missing"
    NOT_A_NUMBER = "not_a_number"
    NEGATIVE = "negative"
    TOO_LARGE = "too_large"


MISSING_MARKS = frozenset({"", "null", "n/a", "na", "nan", "none", "-"})
LARGEST_NUMBER = 1e15

# --- buckets --------------------------------------------------------------------------------------------------------
BUCKET_START = "BucketStart"
NUM_SESSION = "NumSession"
BUCKET_SUMS = ("SumTotalLoad", "SumMBytes", *(f"SumLoad{i}" for i in range(1, 6)), "SumLoadSecure")
BUCKET_SECONDS = 300

# --- hourly and daily -----------------------------------------------------------------------------------------------
KEY = "key"
HOUR = "SessionStartHourTime"
DAY = "SessionStartDay"
OBSERVED = "observed"
PEAK_LOAD = "peakLoad"
PEAKS = (PEAK_LOAD, "peakBytes", *(f"peakLoad{i}" for i in range(1, 6)), "peakLoadSecure")
DAILY = tuple(f"{name}Daily" for name in PEAKS)

TIMESTAMP = pa.timestamp("us")

BUCKETS_SCHEMA = pa.schema(
    [
        (SERVER, pa.string()),
        (BUCKET_START, TIMESTAMP),
        (NUM_SESSION, pa.int64()),
        *((name, pa.float64()) for name in BUCKET_SUMS),
    ]
)
HOURLY_SCHEMA = pa.schema(
    [
        (KEY, pa.string()),
        (SERVER, pa.string()),
        (HOUR, TIMESTAMP),
        *((name, pa.float64()) for name in PEAKS),
        (OBSERVED, pa.bool_()),
    ]
)
#: What features relative to the bounds of classes are made of.
LOADS_SCHEMA = pa.schema([(SERVER, pa.string()), (HOUR, TIMESTAMP), (PEAK_LOAD, pa.float64()), (OBSERVED, pa.bool_())])
DAILY_SCHEMA = pa.schema([(SERVER, pa.string()), (DAY, TIMESTAMP), *((name, pa.float64()) for name in DAILY)])

# --- features: their own columns are named by a FeatureSet ----------------------------------------------------------
LABEL = "label"
CLASS_NAMES = {1: "low", 2: "medium", 3: "high"}
HORIZON_HOURS = 48
#: What stands in a feature for "not known", below all that can be known: told apart from 0, and a number in JSON.
#: Boosted trees take exactly this one as missing.
MISSING = -99.0
#: The youngest hour that a forecast knows, and how many hours after it the forecast hour lies.
FORECAST_ORIGIN = "forecastOrigin"
HORIZON = "horizonHours"


def indexed(column: str) -> str:
    """Name of the string-indexed form of a categorical column."""
    return f"{column}_indexed"


def encoded(column: str) -> str:
    """Name of the one-hot encoded form of a categorical column."""
    return f"{column}_indexed_encoded"


def scaled(column: str) -> str:
    """Name of the standard-scaled form of a column."""
    return f"scaled{column}"


# --- results --------------------------------------------------------------------------------------------------------
PREDICTION = "prediction"
PROBABILITY_COLUMNS = {label: f"probability_{name}" for label, name in CLASS_NAMES.items()}
PREDICTIONS_SCHEMA = pa.schema(
    [
        (KEY, pa.string()),
        (SERVER, pa.string()),
        (HOUR, TIMESTAMP),
        (OBSERVED, pa.bool_()),
        (LABEL, pa.int32()),
        pa.field(PREDICTION, pa.float64(), nullable=False),
        *((name, pa.float64()) for name in PROBABILITY_COLUMNS.values()),
    ]
)
PREDICTION_COLUMNS = tuple(PREDICTIONS_SCHEMA.names)
#: Where each forecast has an origin: when it was made, and how far ahead.
ORIGIN_PREDICTIONS_SCHEMA = PREDICTIONS_SCHEMA.append(pa.field(FORECAST_ORIGIN, TIMESTAMP)).append(
    pa.field(HORIZON, pa.int32())
)
#: The class of least expected cost: a column where costs are configured, and a field of answers.
DECISION = "decision"
COLD_START = "cold_start"
#: What the decision is expected to cost; and whether the largest probability reaches minConfidence.
EXPECTED_COST = "expectedCost"
CONFIDENT = "confident"
#: The bounds of classes by which a server is judged.
BOUNDS = "bounds"
LOW_THRESHOLD, HIGH_THRESHOLD = "lowThreshold", "highThreshold"
#: A forecast: the class as a number and as a name, the probability of each, and the bounds of classes.
FORECAST_SCHEMA = pa.schema(
    [
        (SERVER, pa.string()),
        (HOUR, TIMESTAMP),
        (PREDICTION, pa.int32()),
        (LABEL, pa.string()),
        *((name, pa.float64()) for name in PROBABILITY_COLUMNS.values()),
        (COLD_START, pa.bool_()),
        (LOW_THRESHOLD, pa.float64()),
        (HIGH_THRESHOLD, pa.float64()),
    ]
)
#: Further columns of a forecast, where the model has costs, and minConfidence.
DECISION_SCHEMA = pa.schema([(DECISION, pa.int32()), (EXPECTED_COST, pa.float64()), (CONFIDENT, pa.bool_())])

#: Which forecast answers an hour behind a gate: the model, or a naive one by its name; and what the model itself said.
ANSWERED_BY, MODEL_PREDICTION = "answeredBy", "modelPrediction"
MODEL = "model"
MODEL_PROBABILITY_COLUMNS = {label: f"modelProbability_{name}" for label, name in CLASS_NAMES.items()}
GATED_SCHEMA = pa.schema(
    [
        (ANSWERED_BY, pa.string()),
        (MODEL_PREDICTION, pa.int32()),
        *((name, pa.float64()) for name in MODEL_PROBABILITY_COLUMNS.values()),
    ]
)

REJECTED_FILE = "file"
REJECTED_OFFSET = "byteOffset"
REJECTED_REASON = "reason"
REJECTED_LINE = "line"
REJECTED_LINE_CHARS = 1000
REJECTED_SCHEMA = pa.schema(
    [
        (REJECTED_FILE, pa.string()),
        (REJECTED_OFFSET, pa.int64()),
        (REJECTED_REASON, pa.string()),
        (REJECTED_LINE, pa.string()),
    ]
)
