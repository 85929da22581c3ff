"""A backtest of 4 folds on hourly statistics of a made-up fleet, 100 servers and 120 days: on one core, and on two."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

import pyarrow as pa

from artefact_files import made_up_info
from bench.data import ROOT
from bench.fleet import hourly_statistics
from bench.harness import Contender, Scale, run_contender, summarize, take_turns
from bench.results import parse, parser, save, show, work_folder
from loadcast import paths, schema
from loadcast.storage.parts import PartWriter
from loadcast.storage.publish import stage_run
from loadcast.storage.table_files import FolderTables

_BEGIN, _TEST_DAYS = datetime(2016, 1, 1), 7
_FOLDS, _STEP = "4", "7d"


def main() -> None:
    """Publish the fleet's statistics, let one core and two take turns, print the table."""
    options = parser(__doc__)
    options.set_defaults(servers=100, runs=1)
    options.add_argument("--days", type=int, default=120)
    options.add_argument("--model", default="boosted")
    chosen = parse(options, other_engines=False)
    with work_folder(chosen.data) as (_, scratch):
        config = _config(scratch, chosen.days, chosen.model)
        publish(config, hourly_statistics(chosen.servers, chosen.days, _BEGIN))
        contenders = [_contender(config, cores) for cores in (1, chosen.cores)]
        runs = take_turns(contenders, chosen.runs, lambda contender: run_contender(contender, scratch))
    single, several = (median(run.seconds for run in runs[contender.name]) for contender in contenders)
    scale = Scale(cores=chosen.cores, reference=runs[contenders[-1].name])
    rows = [summarize(name, items, scale) for name, items in runs.items()]
    title = f"Backtest of {_FOLDS} folds of {_STEP}: {chosen.servers} servers, {chosen.days} days"
    show(title, rows, [f"{chosen.cores} cores are {single / several:.2f} times as fast as one."])
    save(chosen.json, "backtest", rows, runs, servers=chosen.servers, days=chosen.days, speedUp=single / several)


def publish(config: Path, hourly: Iterator[pa.Table]) -> None:
    """Publish hourly statistics as the newest run of the configuration's output."""
    settings = json.loads(config.read_text(encoding="utf-8"))
    times = {key: settings[key] for key in ("trainBegin", "trainEnd", "testSplitStart")}
    with stage_run(Path(settings["output"])) as folder:
        with PartWriter(FolderTables(str(folder)), "0") as parts:
            for rows in hourly:
                parts.write_monthly(paths.HOURLY, rows, schema.HOUR)
        (folder / paths.INFO).write_text(json.dumps(made_up_info(**times)), encoding="utf-8")


def _config(folder: Path, days: int, model: str) -> Path:
    end = _BEGIN + timedelta(days=days)
    content = {
        "dataFile": "unused.csv",
        "output": str(folder / "output"),
        "duration": "CUSTOM",
        "trainBegin": _BEGIN.isoformat(" "),
        "trainEnd": (end - timedelta(seconds=1)).isoformat(" "),
        "testSplitStart": (end - timedelta(days=_TEST_DAYS)).isoformat(" "),
        "labelRule": "perServer",
        "featureSet": "direct",
        "model": model,
    }
    config = folder / "backtest.json"
    config.write_text(json.dumps(content), encoding="utf-8")
    return config


def _contender(config: Path, cores: int) -> Contender:
    command = [sys.executable, "-m", "loadcast", "backtest", str(config), "--folds", _FOLDS, "--step", _STEP]
    name = f"{cores} {'core' if cores == 1 else 'cores'}"
    return Contender(name, [*command, "--master", f"local[{cores}]"], {"PYTHONPATH": str(ROOT / "Code")})


if __name__ == "__main__":
    main()
