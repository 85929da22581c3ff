"""Scripts submitted from a notebook: the same as `loadcast experiment`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loadcast.experiments import submission
from loadcast.experiments.comparison import run_view
from loadcast.experiments.locations import project_folder
from loadcast.experiments.pipelines import end_run
from loadcast.experiments.records import RunRecord, find_record, list_records
from loadcast.experiments.runconfig import read_runconfig
from loadcast.progress import Progress, silent
from loadcast.spark.dependencies import load_spark_dependencies


@dataclass(frozen=True)
class ScriptRun:
    """A script of a project, and how it is run: `run_config` is the name or path of a run configuration.

    `target` is another target than that names; `script` counts from `source_directory`, the project's folder.
    """

    source_directory: str | Path
    script: str
    arguments: Sequence[str] = ()
    run_config: str = "local"
    target: str | None = None


class Experiment:
    """Runs that belong together, by name, in the project of a folder."""

    def __init__(self, name: str, project: str | Path = ".") -> None:
        self.name, self.project = name, project_folder(Path(project))

    def submit(self, script_run: ScriptRun) -> ExperimentRun:
        """Submit a script; returns as soon as it runs on its target. Raises a LoadcastError."""
        top = project_folder(Path(script_run.source_directory))
        return ExperimentRun(top, submit_script(top, _submission(script_run, self.name)))

    def runs(self) -> list[ExperimentRun]:
        """The experiment's runs, the oldest first, as they were last known."""
        records = list_records(self.project).records
        return [ExperimentRun(self.project, record) for record in records if record.experiment == self.name]


class ExperimentRun:
    """A submitted run, looked up on its target whenever it is asked."""

    def __init__(self, project: Path, record: RunRecord) -> None:
        self._project, self._record = project, record

    @classmethod
    def find(cls, run: str, project: str | Path = ".") -> ExperimentRun:
        """The run whose id begins so. Raises ConfigError where there is none, or several."""
        top = project_folder(Path(project))
        return cls(top, find_record(top, run))

    @property
    def id(self) -> str:
        """The run's id."""
        return self._record.id

    def get_status(self) -> str:
        """submitting, preparing, queued, running, completed, failed, cancelled or lost."""
        (self._record,) = submission.refresh(self._project, [self._record])
        return self._record.state

    def wait_for_completion(self, show_output: bool = False) -> str:
        """Wait for the end, and bring back the results; returns the status. The log is shown as it is written."""
        self._record = submission.follow(self._project, self._record, _print if show_output else lambda _: None)
        return self._record.state

    def get_metrics(self) -> dict[str, float]:
        """The last number of each metric that the script has logged; of an ended run, or of one that was waited for."""
        self.get_status()
        return run_view(self._project, self._record).numbers

    def get_details(self) -> dict[str, Any]:
        """All that the run's record holds."""
        self.get_status()
        return self._record.document()

    def cancel(self) -> str:
        """End the run on its target; returns the status."""
        self._record = end_run(self._project, self._record)
        return self._record.state

    def __repr__(self) -> str:
        return f"<run {self.id} of {self._record.experiment} on {self._record.target}: {self._record.state}>"


def submit_script(project: Path, wanted: submission.Submission, progress: Progress = silent) -> RunRecord:
    """Submit a script with the settings of Spark that its run configuration names. Raises a LoadcastError."""
    file = read_runconfig(project, wanted.runconfig).spark_file(project)
    spark = load_spark_dependencies(str(file)) if file else {}
    return submission.submit(project, replace(wanted, spark=spark), progress)


def _submission(script_run: ScriptRun, experiment: str) -> submission.Submission:
    arguments = tuple(map(str, script_run.arguments))
    return submission.Submission(script_run.run_config, script_run.script, arguments, script_run.target, experiment)


def _print(block: bytes) -> None:
    sys.stdout.write(block.decode("utf-8", "replace"))
    sys.stdout.flush()
