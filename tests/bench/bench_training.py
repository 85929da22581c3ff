"""Whole training by our script, beside scikit-learn's random forest and LightGBM on the same matrix.

ETL of 8,000,000 lines (1 GB) of 200 servers and 30 days comes first, once and not measured.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.contender import LearnJob, save_job
from bench.data import ROOT, Arguments, make_sample
from bench.harness import Contender, Run, Scale, run_contender, summarize, take_turns
from bench.matrix import count_features
from bench.results import offer_before, parse, parser, save, show, work_folder
from bench.runs import ETL, TRAINING, trees, whole_run, write_config
from loadcast import paths
from loadcast.model_settings import ForestSettings
from loadcast.models.forest_subset import feature_subset
from loadcast.settings import load_settings

_ROWS = 8_000_000
_OURS = "ours, through Spark"
_OTHERS = {"scikit-learn, random forest": "forest", "LightGBM": "lightgbm"}
_FIT_STEP = re.compile(r"^Growing .*?([0-9.]+) s *$", re.MULTILINE)


def main() -> None:
    """Run ETL, let the contenders take turns, print the table."""
    options = parser(__doc__)
    options.add_argument("--days", type=int, default=30)
    offer_before(options)
    chosen = parse(options)
    with work_folder(chosen.data) as (data, scratch):
        sample = make_sample(data, Arguments(chosen.rows or _ROWS, chosen.servers, chosen.days))
        ours = []
        for number, (suffix, root) in enumerate(trees(chosen.before, scratch)):
            config = write_config(sample, scratch, f"all-{number}")
            run_contender(whole_run(f"ETL{suffix}", ETL, config, chosen.cores, root), scratch)
            ours.append(whole_run(_OURS + suffix, TRAINING, config, chosen.cores, root))
        output = Path(load_settings(write_config(sample, scratch, "all-0")).output or "")
        job = _job(output, chosen.cores)
        contenders = [*ours, *_others(job, scratch, chosen.bench_python)]
        runs = take_turns(contenders, chosen.runs, lambda contender: _run(contender, scratch))
        ours_scores = json.loads((output / paths.METRICS).read_text(encoding="utf-8"))["test"]
    scale = Scale(cores=chosen.cores, reference=runs[_OURS])
    scores = {name: items[-1].said.get("scores", ours_scores) for name, items in runs.items()}
    rows = [summarize(name, items, scale, _note(scores[name])) for name, items in runs.items()]
    said = runs[contenders[-1].name][-1].said
    title = (
        f"Training: {said['rows']:,} rows, {said['features']} features, {job.trees} trees of depth {job.depth}, "
        f"{job.subset} features a split; {chosen.cores} cores; medians of {chosen.runs}"
    )
    show(title, rows)
    save(chosen.json, "training", rows, runs, data=vars(sample.arguments), scores=scores)


def _job(output: Path, cores: int) -> LearnJob:
    """The same rows, features, trees and depth as ours."""
    info: dict[str, Any] = json.loads((output / paths.INFO).read_text(encoding="utf-8"))
    features, columns = output / paths.FEATURES, info["featureColumns"]
    ours = ForestSettings()  # type: ignore[call-arg]  # every field has a default
    subset = int(feature_subset(ours.feature_subset_strategy, count_features(features, columns)))
    split = info["testSplitStart"]
    return LearnJob(str(features), columns, split, ours.num_trees, ours.max_depth, subset, ours.seed, cores)


def _others(job: LearnJob, scratch: Path, bench_python: Path) -> list[Contender]:
    job_file = scratch / "learn.json"
    save_job(job, job_file)
    environment = {"PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("tests", "Code"))}
    command = (str(bench_python), "-m", "bench.contender_learner")
    return [Contender(name, (*command, kind, str(job_file)), environment) for name, kind in _OTHERS.items()]


def _run(contender: Contender, scratch: Path) -> Run:
    """Run one; our script says how long the fit took as a step of its progress."""
    run = run_contender(contender, scratch)
    step = _FIT_STEP.search(run.output) if contender.name.startswith(_OURS) else None
    return replace(run, work_seconds=float(step.group(1))) if step else run


def _note(scores: dict[str, Any]) -> str:
    return f"macro-F1 {scores['macroF1']:.3f}, accuracy {scores['accuracy']:.3f}"


if __name__ == "__main__":
    main()
