"""loadcast: the load class of every server for each of the next 48 hours.

What a notebook needs stands here (Docs/PYTHON.md). Importing this package imports nothing else; each name brings what
it needs when it is first used, and only the run_… functions, once called, start Spark.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loadcast.api.experiments import Experiment, ExperimentRun, ScriptRun
    from loadcast.api.forecasts import forecast, gated_forecast
    from loadcast.api.opened import Run, load_model, open_run
    from loadcast.api.reports import write_report
    from loadcast.api.tables import daily, features, hourly, scan
    from loadcast.pipeline.run import run, run_backtest, run_etl, run_stats, run_train, run_tuning
    from loadcast.run_request import RunRequest
    from loadcast.run_result import RunResult
    from loadcast.serving.client import ScoringClient
    from loadcast.serving.predictor import Predictor
    from loadcast.settings import Settings, load_settings, parse_settings
    from loadcast.spark.options import SparkOptions
    from loadcast.tuning.plan import TuningPlan

__version__ = "0.1.0"

__all__ = [
    "Experiment",
    "ExperimentRun",
    "Predictor",
    "Run",
    "RunRequest",
    "RunResult",
    "ScoringClient",
    "ScriptRun",
    "Settings",
    "SparkOptions",
    "TuningPlan",
    "__version__",
    "daily",
    "features",
    "forecast",
    "gated_forecast",
    "hourly",
    "load_model",
    "load_settings",
    "open_run",
    "parse_settings",
    "run",
    "run_backtest",
    "run_etl",
    "run_stats",
    "run_train",
    "run_tuning",
    "scan",
    "write_report",
]

_HOMES = {
    "api.experiments": ("Experiment", "ExperimentRun", "ScriptRun"),
    "api.forecasts": ("forecast", "gated_forecast"),
    "api.opened": ("Run", "load_model", "open_run"),
    "api.reports": ("write_report",),
    "api.tables": ("daily", "features", "hourly", "scan"),
    "pipeline.run": ("run", "run_backtest", "run_etl", "run_stats", "run_train", "run_tuning"),
    "run_request": ("RunRequest",),
    "run_result": ("RunResult",),
    "serving.client": ("ScoringClient",),
    "serving.predictor": ("Predictor",),
    "settings": ("Settings", "load_settings", "parse_settings"),
    "spark.options": ("SparkOptions",),
    "tuning.plan": ("TuningPlan",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value  # found at once from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
