"""Submitting scripts to targets, and finding their runs again.

What is submitted is written into the project before anything is sent. So whoever comes later, after a killed client or
a lost network, can hand it over once more: the agent starts a run once, however often it is asked to.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from loadcast import __version__
from loadcast.errors import ArtefactError, ConfigError
from loadcast.experiments.agent.state import ENDED, LOST, RUNNING, STARTING, State, is_locked
from loadcast.experiments.compute import ComputeTarget, read_compute
from loadcast.experiments.conda import read_conda
from loadcast.experiments.git_state import git_commit, git_diff
from loadcast.experiments.locations import LOG, LOGGED, OUTPUTS, project_id, run_folder
from loadcast.experiments.records import RunRecord, list_records, new_id, read_record, write_record
from loadcast.experiments.remote_agent import Agent
from loadcast.experiments.runconfig import RunConfig, read_runconfig
from loadcast.experiments.runner import Recipe, Runner, Say
from loadcast.experiments.snapshot import Snapshot, take_snapshot, write_snapshot
from loadcast.experiments.snapshot_files import snapshot_files
from loadcast.experiments.target_types import Job, Planned
from loadcast.experiments.targets import type_of
from loadcast.progress import Progress, silent
from loadcast.references import read_reference
from loadcast.secrets import shown, without_secrets

REQUEST, GIT_DIFF = "request.json", "git.diff"
#: States in which nobody has asked the target to start the run, or was told that it has.
_NOT_STARTED = ("submitting", "preparing")
_STATES = {STARTING: "queued", RUNNING: "running"}
_BLOCK_BYTES = 1 << 16
#: Results on their way into a run's folder; the process's number follows.
_BRINGING = ".bringing-"


@dataclass(frozen=True)
class Submission:
    """What somebody wants to run: the run configuration's name or path, another target than it names, the script.

    `spark` are Spark's settings by name, of the file that the run configuration names. A step of a pipeline has its
    name, its parent's id, the project as it was when that began (else it is looked at now), and may be reused: then a
    run that was asked the same and has completed is taken for it.
    """

    runconfig: str
    script: str | None
    arguments: tuple[str, ...] = ()
    target: str | None = None
    experiment: str | None = None
    spark: Mapping[str, str] | None = None
    snapshot: Snapshot | None = None
    parent: str | None = None
    step: str | None = None
    reuse: bool = False


def submit(project: Path, submission: Submission, progress: Progress = silent) -> RunRecord:
    """Submit a script; returns its record as soon as it runs on the target. Raises a LoadcastError."""
    config = read_runconfig(project, submission.runconfig)
    name = submission.target or config.target
    target = read_compute(project, name)
    words = _words(project, config, submission)
    recipe = _recipe(project, config, target)
    snapshot = submission.snapshot or _snapshot(project, progress)
    _check_script(snapshot, words)
    _check_vault(target, config)
    plan = type_of(target).plan(target, _job(config, words, recipe, submission.spark or {}))
    key = _key(name, snapshot, plan, config)
    if submission.reuse and (earlier := _completed(project, key)):
        return earlier
    record = _new_record(project, submission, name, words, snapshot, recipe)
    asked = {"request": plan.request([]), "secrets": config.references, "recipe": recipe and asdict(recipe)}
    record = record.changed(key=key, tracked=config.tracked_run)
    _keep(project, record, snapshot, asked)
    return hand_over(project, record, progress)


def prepare(project: Path, runconfig: str, say: Say, progress: Progress = silent) -> bool:
    """Make the environment of a run configuration on its target; False where it is there already."""
    config = read_runconfig(project, runconfig)
    target = read_compute(project, config.target)
    file = config.conda_file(project)
    if file is None or target.python_location:
        raise ConfigError(f"Run configuration {shown(runconfig)} has no environment to make: its interpreter is named.")
    recipe = type_of(target).recipe(target, read_conda(file))
    return runner_of(project, config.target).prepare(recipe, progress, say)


def hand_over(project: Path, record: RunRecord, progress: Progress = silent) -> RunRecord:
    """Make the run's environment, send what the target lacks and start it there.

    One that has been started already goes on as it is.
    """
    kept = _read_request(project, record.id)
    files = snapshot_files(project, record.id).values()
    runner = runner_of(project, record.target)
    if recipe := kept.get("recipe"):
        record = _changed(project, record, state="preparing")
        runner.prepare(Recipe(**recipe), progress, lambda _: None)
    with progress(f"Sending to {runner.name}"):
        runner.send(project, files)
        values = {name: read_reference(reference, name) for name, reference in kept["secrets"].items()}
        request = {**kept["request"], "entries": [[file.path, file.sha256, file.executable] for file in files]}
        now = read_record(project, record.id)
        if now.is_final:  # it was cancelled meanwhile
            return now
        state = runner.start(record.id, request, values)
    return _brought_up_to_date(project, record, state)


def follow(project: Path, record: RunRecord, say: Say) -> RunRecord:
    """Hand on the run's log as it is written, to its end; then bring back its results. Returns its record."""
    _check_is_script(record)
    record = started(project, record)
    if record.is_final:
        _say_kept_log(project, record, say)
        return record
    for block in runner_of(project, record.target).follow(record.id):
        say(block)
    return refresh(project, [record])[0]


def log_so_far(project: Path, record: RunRecord, say: Say) -> None:
    """Hand on what the run has written until now."""
    _check_is_script(record)
    (record,) = refresh(project, [record])
    if record.is_final:
        _say_kept_log(project, record, say)
    elif record.state not in _NOT_STARTED:
        for block in runner_of(project, record.target).log_so_far(record.id):
            say(block)


def started(project: Path, record: RunRecord) -> RunRecord:
    """The run, handed over if its client has ended before it did so."""
    (record,) = refresh(project, [record])
    return hand_over(project, record) if record.state in _NOT_STARTED else record


def refresh(project: Path, records: Iterable[RunRecord]) -> list[RunRecord]:
    """The runs as their targets say they are now; results of those that have ended are brought back.

    Raises a LoadcastError where a target cannot be asked.
    """
    asked = [*records]
    known = {record.id: record for record in asked}
    by_target: dict[str, list[RunRecord]] = defaultdict(list)
    for record in asked:
        if record.steps:
            known[record.id] = _pipeline_as_it_is(project, record)
        elif not record.is_final:
            by_target[record.target].append(record)
    for target, some in by_target.items():
        runner = runner_of(project, target)
        for run, state in runner.states([record.id for record in some]).items():
            if state is not None:
                known[run] = _brought_up_to_date(project, known[run], state)
    return [known[record.id] for record in asked]


def _pipeline_as_it_is(project: Path, record: RunRecord) -> RunRecord:
    if record.state != "running" or is_locked(str(run_folder(project, record.id))):
        return record
    note = f"The command that submitted its steps has ended. To go on: loadcast pipeline resume {record.id}"
    return _changed(project, record, state=LOST, note=note)


def _check_is_script(record: RunRecord) -> None:
    if record.steps:
        raise ConfigError(
            f"Run {record.id} is a pipeline, wanted one of its steps, {', '.join(record.steps)}. "
            "loadcast experiment list shows their runs."
        )


def cancel(project: Path, record: RunRecord) -> RunRecord:
    """End a run, wherever it is; nothing of it is left on the target. Returns its record."""
    (record,) = refresh(project, [record])
    if record.is_final:  # a lost run is not: it may have left a container or an application
        return record
    runner = runner_of(project, record.target)
    if record.state in _NOT_STARTED:  # its client has ended, or is just about to be told
        if not isinstance(runner, Agent):
            runner.cancel(record.id)  # a service may have been asked by a client that could not say so
        return _changed(project, record, state="cancelled", end=datetime.now(UTC))
    return _brought_up_to_date(project, record, runner.cancel(record.id))


def runner_of(project: Path, name: str) -> Runner:
    """Who runs scripts on a target."""
    target = read_compute(project, name)
    runner = type_of(target).runner(target, name, project)
    return replace(runner, owner=project_id(project)) if isinstance(runner, Agent) else runner


def _words(project: Path, config: RunConfig, submission: Submission) -> tuple[str, ...]:
    """The command line behind the interpreter, the script's path from the project's top."""
    script = submission.script
    if script is not None:
        path = Path(os.path.normpath(project / script))
        if not path.is_relative_to(os.path.normpath(project)):
            raise ConfigError(
                f"{shown(script)} is not in the project {shown(project.absolute())}, wanted a script there."
            )
        script = path.relative_to(os.path.normpath(project)).as_posix()
        script = f"./{script}" if script.startswith("-") else script  # an interpreter would take it for its option
    words = config.command(script, submission.arguments)
    for word in words:
        if without_secrets(word) != word:
            raise ConfigError(
                "An argument looks like a key or signature; arguments are seen by all users of the target. "
                "Name it in EnvironmentVariables of the run configuration, as env:NAME or file:PATH."
            )
    return words


def _check_script(snapshot: Snapshot, words: Sequence[str]) -> None:
    """The first word that is no option has to be a file that is sent."""
    paths = {file.path for file in snapshot.files}
    script = next((str(PurePosixPath(word)) for word in words if not word.startswith("-")), None)
    if script is not None and script.endswith(".py") and script not in paths:
        raise ConfigError(
            f"{shown(script)} is not among the project's files that are sent to targets. "
            "Is the name right, and is it ignored by .gitignore or .amlignore?"
        )


def _check_vault(target: ComputeTarget, config: RunConfig) -> None:
    """Secrets of a Key Vault are for targets that can read them."""
    name = next(iter(config.vault_secrets), None)
    if name is not None and not target.may_have_key_vault:
        raise ConfigError(
            f"EnvironmentVariables.{name}: found keyvault:, which synapse and amlcompute read; on {target.type} wanted "
            "env:NAME or file:PATH."
        )


def _snapshot(project: Path, progress: Progress) -> Snapshot:
    with progress("Taking a snapshot"):
        return take_snapshot(project)


def _key(target: str, snapshot: Snapshot, plan: Planned, config: RunConfig) -> str:
    """A digest of what a run is asked: where, with which files, command line and variables. Secrets count by name."""
    asked = [target, snapshot.hash, plan.request([]), dict(config.references)]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _completed(project: Path, key: str) -> RunRecord | None:
    """The newest run that was asked the same and has completed, whose outputs are still there."""
    records = (record for record in reversed(list_records(project).records) if record.key == key)
    return next((record for record in records if record.state == "completed"), None)


def _recipe(project: Path, config: RunConfig, target: ComputeTarget) -> Recipe | None:
    """How the environment is made that a run needs; None where an interpreter is there already."""
    file = config.conda_file(project) if config.prepare_environment and not target.python_location else None
    return type_of(target).recipe(target, read_conda(file)) if file else None


def _job(config: RunConfig, words: tuple[str, ...], recipe: Recipe | None, spark: Mapping[str, str]) -> Job:
    environment = recipe.name if recipe else None
    return Job(words, config.variables, environment, spark, tuple(config.references), config.vault_secrets)


def _new_record(
    project: Path,
    submission: Submission,
    target: str,
    words: tuple[str, ...],
    snapshot: Snapshot,
    recipe: Recipe | None,
) -> RunRecord:
    now = datetime.now(UTC)
    return RunRecord(
        id=new_id(now),
        experiment=submission.experiment or project.absolute().name or "project",
        target=target,
        script=words[0] if submission.script is None else str(PurePosixPath(submission.script)),
        arguments=submission.arguments,
        snapshot=snapshot.hash,
        git_commit=git_commit(project),
        git_diff=GIT_DIFF,
        start=now,
        state="submitting",
        environment=recipe.name if recipe else None,
        submitted_by=__version__,
        parent=submission.parent,
        step=submission.step,
    )


def _keep(project: Path, record: RunRecord, snapshot: Snapshot, asked: Mapping[str, Any]) -> None:
    """Write all that a run is into the project, its record last: what has a record can be handed over by anybody."""
    write_snapshot(project, record.id, snapshot)
    folder = run_folder(project, record.id)
    (folder / GIT_DIFF).write_text(git_diff(project), encoding="utf-8")
    (folder / REQUEST).write_text(json.dumps(asked), encoding="utf-8")
    write_record(project, record)


def _read_request(project: Path, run: str) -> dict[str, Any]:
    path = run_folder(project, run) / REQUEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content["request"], dict) or not isinstance(content["secrets"], dict):
            raise TypeError("found another form")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{path} cannot be read: {error}. Submit the script again.") from error
    return dict(content)


def _brought_up_to_date(project: Path, record: RunRecord, state: State) -> RunRecord:
    """The record with what the target says, results included once the run has ended."""
    name = state["state"]
    if name not in ENDED:
        return _changed(project, record, state=_STATES[name])
    _bring_back(project, record)
    end = datetime.fromtimestamp(state["end"], UTC) if "end" in state else datetime.now(UTC)
    note = {LOST: "What kept the run on its target was killed, or the machine was started anew."}.get(name)
    return _changed(project, record, state=name, exit_code=state.get("code"), end=end, note=state.get("error") or note)


def _say_kept_log(project: Path, record: RunRecord, say: Say) -> None:
    with suppress(FileNotFoundError), (run_folder(project, record.id) / LOG).open("rb") as log:  # no run, no log
        while block := log.read(_BLOCK_BYTES):
            say(block)


def _bring_back(project: Path, record: RunRecord) -> None:
    """Bring a run's log and outputs into its folder in the project."""
    folder = run_folder(project, record.id)
    for left in folder.glob(f"{_BRINGING}*"):
        if _has_ended(left.name.removeprefix(_BRINGING).partition("-")[0]):
            shutil.rmtree(left, ignore_errors=True)  # of a client that was killed
    with TemporaryDirectory(dir=folder, prefix=f"{_BRINGING}{os.getpid()}-") as name:
        runner_of(project, record.target).collect(record.id, Path(name))
        for source, target in (("log", LOG), (LOGGED, LOGGED), (OUTPUTS, OUTPUTS), ("logs", "logs")):
            _replace(Path(name, source), folder / target)


def _has_ended(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        pass
    return False


def _replace(source: Path, target: Path) -> None:
    if source.exists():
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(source, target)


def _changed(project: Path, record: RunRecord, **fields: Any) -> RunRecord:
    changed = record.changed(**fields)
    if changed != record:
        write_record(project, changed)
    return changed
