"""The JSON artefacts of a run."""

from __future__ import annotations

import json
import platform
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy
import pyarrow

import loadcast
from loadcast import paths, schema
from loadcast.errors import ArtefactError, OutputError
from loadcast.kernels.encode import Encoders
from loadcast.secrets import without_secrets
from loadcast.settings import Settings


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON artefact as a new file: one that was carried is a link to the older run's. Raises OutputError."""
    try:
        path.unlink(missing_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}. Choose another output.") from error


def run_info(settings: Settings, encoders: Encoders, filter_ip: bool) -> dict[str, Any]:
    """`info` as ETL knows it; training adds the files' checksums."""
    return {
        "duration": settings.duration,
        "dataFile": without_secrets(settings.data_file),
        "trainBegin": _text(settings.train_begin),
        "trainEnd": _text(settings.train_end),
        "testSplitStart": _text(settings.split),
        "trainPeriod": {"from": _text(settings.train_begin), "to": _text(settings.split - timedelta(seconds=1))},
        "testPeriod": {"from": _text(settings.split), "to": _text(settings.train_end)},
        "lowThreshold": settings.low_threshold,
        "highThreshold": settings.high_threshold,
        "timezone": settings.timezone,
        "holidayCountry": settings.holiday_country,
        "filterServers": list(settings.filter_servers) if filter_ip else None,
        "columnOnlyIndexed": list(encoders.only_indexed),
        "columnForEncode": list(encoders.for_encode),
        "featureColumns": list(schema.forest_inputs(encoders.only_indexed, encoders.for_encode)),
        "versions": versions(),
        "files": {},
    }


def read_info(run: Path) -> dict[str, Any]:
    """A run's `info`. Raises ArtefactError where it is missing or not as it was written."""
    try:
        info = json.loads((run / paths.INFO).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise ArtefactError(
            f"{run / paths.INFO} cannot be read: {reason}. Run python Code/etl.py CONFIG again."
        ) from error
    if not isinstance(info, dict) or not isinstance(info.get("featureColumns"), list):
        raise ArtefactError(f"{run / paths.INFO} is not as ETL writes it. Run python Code/etl.py CONFIG again.")
    return info


def versions() -> dict[str, str]:
    """Versions of what made a run."""
    return {
        "loadcast": loadcast.__version__,
        "python": platform.python_version(),
        "pyspark": version("pyspark"),
        "pyarrow": pyarrow.__version__,
        "numpy": numpy.__version__,
    }


def _text(time: datetime) -> str:
    return time.strftime(schema.TIME_FORMAT)
