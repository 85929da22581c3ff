"""The history that MLflow keeps: what a project's records, logs and outputs say, written to a tracking server.

The records stay the truth; MLflow is told of them, so what could not be told is told later. Nothing else of loadcast
names MLflow, which takes seconds to import.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from loadcast.errors import ConfigError, ServiceError
from loadcast.experiments.history_files import KeptFile, copy_without_secrets, files_to_keep
from loadcast.experiments.locations import LOGGED, STATE_FOLDER, history_artifacts, history_database, run_folder
from loadcast.experiments.records import RunRecord, State, list_records
from loadcast.extras import missing_named
from loadcast.run_logger import Logged, clean_name, read_logged
from loadcast.secrets import shown
from loadcast.system.locks import locked

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run
    from mlflow.tracking import MlflowClient

TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"
#: What MLflow must not do: tell its makers, look for git, wait minutes for a server that is away.
_ENVIRONMENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}
_RETRIES = ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
_LONGEST_TEXT = 5_000
_LONGEST_KEY = 250
_METRICS_A_CALL, _TAGS_A_CALL = 1_000, 100
_STATUS: dict[State, str] = {
    "submitting": "SCHEDULED",
    "preparing": "SCHEDULED",
    "queued": "SCHEDULED",
    "running": "RUNNING",
    "completed": "FINISHED",
    "failed": "FAILED",
    "lost": "FAILED",
    "cancelled": "KILLED",
}
# Tags by which a run is found again, and what of it MLflow knows.
_RUN, _NUMBERS_TOLD, _TOLD = "loadcast.run", "loadcast.numbers", "loadcast.told"


def tracking_uri(project: Path) -> str:
    """Where the history is: MLFLOW_TRACKING_URI, or a database in the project. Raises ConfigError."""
    return os.environ.get(TRACKING_VARIABLE) or database_uri(project)


def database_uri(project: Path) -> str:
    """The project's own database, as MLflow names it. Raises ConfigError."""
    path = os.path.abspath(history_database(project))
    if "?" in path:
        raise ConfigError(
            f"{path}: found a question mark, which an address of MLflow cannot have. Set {TRACKING_VARIABLE}, or move "
            "the project."
        )
    return f"sqlite:///{path}"


def environment() -> dict[str, str]:
    """The environment in which MLflow keeps to itself."""
    return {**dict([_RETRIES]), **os.environ, **_ENVIRONMENT}


def record_run(record: RunRecord, folder: Path) -> None:
    """Tell MLflow of a run whose log and outputs are in `folder`, `.loadcast/runs/ID` of the project.

    Told again, what has changed is brought up to date. Raises ServiceError where MLflow does not take it, OutputError
    where its files cannot be written, EnvironmentNotReadyError where the extra is not installed.
    """
    project = folder.parents[2]
    with _told(project) as client:
        _tell(client, project, record)


def sync(project: Path) -> int:
    """Tell MLflow of all tracked runs of a project; returns how many it did not know so. Raises as `record_run`."""
    records = [record for record in list_records(project).records if record.tracked]
    with _told(project) as client:
        return sum(_tell(client, project, record) for record in records)


@contextmanager
def _told(project: Path) -> Iterator[MlflowClient]:
    """A client for the history. Raises ServiceError where MLflow does not take what it is told."""
    failed = "was not told of the runs: {said}. Once it answers: loadcast history sync"
    with opened_client(project, tracking_uri(project), failed) as client:
        yield client


@contextmanager
def opened_client(project: Path, uri: str, failed: str) -> Iterator[MlflowClient]:
    """A client, under the project's lock: two that tell of one run at once would make two of it.

    Raises ServiceError with the words of `failed` where MLflow refuses; `{said}` in them is what it says.
    """
    os.environ.update(environment())  # MLflow reads nothing else
    with missing_named():
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
        from sqlalchemy.exc import SQLAlchemyError
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        with locked(project / STATE_FOLDER, "history.lock"):
            yield MlflowClient(tracking_uri=uri, registry_uri=uri)
    except (MlflowException, SQLAlchemyError) as error:
        said = shown(str(error).strip().partition("\n")[0].rstrip("."), 200)
        raise ServiceError(f"MLflow at {shown(uri)} {failed.format(said=said)}") from error


def _tell(client: MlflowClient, project: Path, record: RunRecord) -> bool:
    """Bring MLflow's run up to date; returns whether anything was to be told."""
    folder = run_folder(project, record.id)
    logged, files = read_logged(folder / LOGGED), files_to_keep(folder, record.git_diff)
    digest = _digest(record, logged, files)
    run = _run_of(client, project, record)
    if run is None or run.data.tags.get(_TOLD) == digest:
        return False
    name = run.info.run_id
    _tell_texts(client, run, record, logged)
    _tell_numbers(client, run, logged)
    with tempfile.TemporaryDirectory(prefix="loadcast-history-") as scratch:
        copy_without_secrets(files, Path(scratch))
        client.log_artifacts(name, scratch)
    if record.is_final or record.end:
        client.set_terminated(name, _STATUS[record.state], _milliseconds(record.end) if record.end else None)
    else:
        client.update_run(name, _STATUS[record.state])
    client.set_tag(name, _TOLD, digest)  # at the end: what was cut off is told again
    return True


def _digest(record: RunRecord, logged: list[Logged], files: list[KeptFile]) -> str:
    said = [record.encoded().decode(), repr(logged), *(file.version for file in files)]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _run_of(client: MlflowClient, project: Path, record: RunRecord) -> Run | None:
    """MLflow's run of a record, made where there is none; None where somebody has deleted it there."""
    name = shown(record.experiment, 200) or "Default"
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        is_ours = not os.environ.get(TRACKING_VARIABLE)
        files = Path(os.path.abspath(history_artifacts(project))).as_uri() if is_ours else None
        number = client.create_experiment(name, artifact_location=files)
    else:
        number = experiment.experiment_id
        run = _known(client, number, record.id)
        if run is not None:
            active = experiment.lifecycle_stage == run.info.lifecycle_stage == "active"
            return run if active else None
        if experiment.lifecycle_stage != "active":
            client.restore_experiment(number)
    tags = {_RUN: record.id, "mlflow.source.name": shown(record.script, _LONGEST_TEXT), "mlflow.source.type": "JOB"}
    parent = record.parent and _known(client, number, record.parent)
    if parent:
        tags["mlflow.parentRunId"] = parent.info.run_id
    return client.create_run(number, start_time=_milliseconds(record.start), tags=tags, run_name=record.id)


def _known(client: MlflowClient, experiment: str, run: str) -> Run | None:
    from mlflow.entities import ViewType

    known = client.search_runs([experiment], f"tags.`{_RUN}` = '{run}'", ViewType.ALL, max_results=1)
    return known[0] if known else None


def _tell_texts(client: MlflowClient, run: Run, record: RunRecord, logged: list[Logged]) -> None:
    from mlflow.entities import Param, RunTag

    # A parameter cannot be changed once it is there.
    parameters = {name: text for name, text in _parameters(record).items() if name not in run.data.params}
    client.log_batch(run.info.run_id, params=[Param(*item) for item in _shown(parameters).items()])
    texts = {**_tags(record), **{f"log.{item.name}": item.text for item in logged if item.kind == "text"}}
    tags = [RunTag(name[:_LONGEST_KEY], text) for name, text in _shown(texts).items()]
    for begin in range(0, len(tags), _TAGS_A_CALL):
        client.log_batch(run.info.run_id, tags=tags[begin : begin + _TAGS_A_CALL])


def _shown(texts: dict[str, str]) -> dict[str, str]:
    return {name: shown(text, _LONGEST_TEXT) for name, text in texts.items()}


def _parameters(record: RunRecord) -> dict[str, str]:
    given = {
        "target": record.target,
        "script": record.script,
        "arguments": shlex.join(record.arguments),
        "snapshot": record.snapshot,
        "environment": record.environment,
    }
    return {name: text for name, text in given.items() if text}


def _tags(record: RunRecord) -> dict[str, str]:
    given = {
        "loadcast.state": record.state,
        "loadcast.exit_code": None if record.exit_code is None else str(record.exit_code),
        "loadcast.submitted_by": record.submitted_by,
        "loadcast.parent": record.parent,
        "mlflow.source.git.commit": record.git_commit,
        "mlflow.note.content": record.note,
        **{f"version.{clean_name(name)}": version for name, version in record.versions.items()},
    }
    return {name: text for name, text in given.items() if text}


def _tell_numbers(client: MlflowClient, run: Run, logged: list[Logged]) -> None:
    """Tell the numbers that were not yet told; the log only grows."""
    from mlflow.entities import RunTag

    metrics = list(_metrics(logged))
    told = run.data.tags.get(_NUMBERS_TOLD, "0")
    for begin in range(int(told) if told.isdecimal() else 0, len(metrics), _METRICS_A_CALL):
        part = metrics[begin : begin + _METRICS_A_CALL]
        client.log_batch(run.info.run_id, metrics=part, tags=[RunTag(_NUMBERS_TOLD, str(begin + len(part)))])


def _metrics(logged: list[Logged]) -> Iterator[Metric]:
    from mlflow.entities import Metric

    steps: Counter[str] = Counter()
    for item in logged:
        if item.kind == "metric":
            for value in item.values:
                yield Metric(item.name, value, int(item.time_s * 1000), steps[item.name])
                steps[item.name] += 1


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
