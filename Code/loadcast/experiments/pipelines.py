"""Pipelines: steps submitted as soon as those before them have completed, side by side, under one run of their own.

The pipeline's run has a record like any other, and its steps' records name it as their parent. It is kept by the
process that submits the steps, which holds a lock while it lives; steps that are on a target go on without it, and
whoever resumes the pipeline finds them again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Protocol

from loadcast import __version__
from loadcast.errors import ConfigError, LoadcastError
from loadcast.experiments.agent.state import lock, open_lock
from loadcast.experiments.locations import LOG, OUTPUTS, PIPELINE, run_folder
from loadcast.experiments.pipeline_file import Pipeline, Step, read_pipeline
from loadcast.experiments.records import RunRecord, list_records, new_id, read_record, write_record
from loadcast.experiments.snapshot import Snapshot, take_snapshot, with_inputs, write_snapshot
from loadcast.experiments.submission import Submission, cancel, follow
from loadcast.secrets import shown
from loadcast.system.small_files import replace_file

Submit = Callable[[Path, Submission], RunRecord]


class Say(Protocol):
    """Is told what happens to a step, or to the whole by its name, and what a script writes."""

    def event(self, step: str, text: str) -> None:
        """Something has happened."""

    def log(self, step: str, block: bytes) -> None:
        """The script has written this."""


@dataclass(frozen=True)
class _Work:
    """What all steps of one pipeline's run share."""

    project: Path
    pipeline: Pipeline
    snapshot: Snapshot
    parent: str
    submit: Submit
    say: Say


def run_pipeline(project: Path, file: Path, submit: Submit, say: Say) -> RunRecord:
    """Run a pipeline of a file to its end; returns its record. Raises ConfigError before anything is submitted.

    A step that fails holds up those after it, and no others.
    """
    pipeline = read_pipeline(file)
    snapshot = _without(take_snapshot(project), project, file)
    now = datetime.now(UTC)
    record = RunRecord(
        id=new_id(now),
        experiment=pipeline.name,
        target="pipeline",
        script=file.name,
        snapshot=snapshot.hash,
        start=now,
        state="running",
        submitted_by=__version__,
        steps=tuple(pipeline.steps),
    )
    write_snapshot(project, record.id, snapshot)
    replace_file(run_folder(project, record.id) / PIPELINE, file.read_bytes())
    write_record(project, record)
    return _run(_Work(project, pipeline, snapshot, record.id, submit, say), record, {})


def resume_pipeline(project: Path, record: RunRecord, submit: Submit, say: Say) -> RunRecord:
    """Run the steps of a pipeline's run that have not completed, with the project's files as they are now.

    Those that are still on their targets are followed. Raises ConfigError for what is no pipeline.
    """
    if not record.steps:
        raise ConfigError(f"Run {record.id} is no pipeline, wanted one. loadcast experiment list shows them.")
    file = run_folder(project, record.id) / PIPELINE
    pipeline = read_pipeline(file)
    steps = {step.step: step for step in steps_of(project, record) if step.step}
    there = {name: step for name, step in steps.items() if step.state not in ("failed", "cancelled", "lost")}
    record = record.changed(state="running", end=None, note=None)
    return _run(_Work(project, pipeline, take_snapshot(project), record.id, submit, say), record, there)


def steps_of(project: Path, record: RunRecord) -> list[RunRecord]:
    """The records of a pipeline's steps, the oldest first; those that were taken over from other runs are not there."""
    return [step for step in list_records(project).records if step.parent == record.id]


def end_run(project: Path, record: RunRecord) -> RunRecord:
    """End a run; of a pipeline, all steps that go on. Returns its record."""
    if not record.steps:
        return cancel(project, record)
    if record.is_final:
        return record
    record = record.changed(state="cancelled", end=datetime.now(UTC))
    write_record(project, record)  # first: no step begins from now on
    for step in steps_of(project, record):
        cancel(project, step)
    return record


def _run(work: _Work, record: RunRecord, there: Mapping[str, RunRecord]) -> RunRecord:
    """Run all steps; `there` are those that were submitted before."""
    work.say.event(work.pipeline.name, f"pipeline {record.id}")
    with _kept(work.project, record.id):
        write_record(work.project, record)
        ended = _run_steps(work, there)
        record = read_record(work.project, record.id)
        if record.state == "running":  # nobody has cancelled it
            wrong = [name for name in work.pipeline.steps if name not in ended]
            note = f"Steps that did not complete: {', '.join(wrong)}." if wrong else None
            record = record.changed(state="failed" if wrong else "completed", end=datetime.now(UTC), note=note)
            write_record(work.project, record)
    return record


def _run_steps(work: _Work, there: Mapping[str, RunRecord]) -> dict[str, RunRecord]:
    """The records of the steps that have completed."""
    sorter = work.pipeline.sorter()
    sorter.prepare()
    completed: dict[str, RunRecord] = {}
    ended: SimpleQueue[tuple[str, RunRecord | BaseException | None]] = SimpleQueue()
    running = 0
    while sorter.is_active():
        ready = sorter.get_ready() if read_record(work.project, work.parent).state == "running" else ()
        for name in ready:
            arguments = (work, name, dict(completed), there.get(name), ended)
            # A thread that does not hold up the end: after Ctrl-C the steps go on without us.
            Thread(target=_told, args=arguments, name=f"loadcast-step-{name}", daemon=True).start()
        running += len(ready)
        if not running:
            break  # what is left comes after steps that did not complete
        name, record = ended.get()
        running -= 1
        if isinstance(record, BaseException):
            raise record
        if record is not None:
            completed[name] = record
            sorter.done(name)
    return completed


def _told(
    work: _Work,
    name: str,
    before: Mapping[str, RunRecord],
    there: RunRecord | None,
    ended: SimpleQueue[tuple[str, RunRecord | BaseException | None]],
) -> None:
    """Run a step, and say how it has ended."""
    try:
        ended.put((name, _run_step(work, name, before, there)))
    except BaseException as error:
        ended.put((name, error))


def _run_step(work: _Work, name: str, before: Mapping[str, RunRecord], there: RunRecord | None) -> RunRecord | None:
    """Run a step to its end, or take over what has completed; None where it does not complete."""
    step = work.pipeline.steps[name]
    try:
        record = there or work.submit(work.project, _submission(work, name, step, before))
        if record.parent != work.parent or (there and there.state == "completed"):
            work.say.event(name, f"taken over from run {record.id}")
        else:
            work.say.event(name, f"run {record.id} on {record.target}")
            record = follow(work.project, record, lambda block: work.say.log(name, block))
            work.say.event(name, record.state)
        if record.state == "completed":
            _check_outputs(work.project, record, step)
            return record
    except LoadcastError as error:
        work.say.event(name, f"failed: {error}")
    return None


def _submission(work: _Work, name: str, step: Step, before: Mapping[str, RunRecord]) -> Submission:
    inputs = {}
    for given, path in step.inputs.items():
        source, _, inside = path.partition("/")
        inputs[given] = run_folder(work.project, before[source].id) / OUTPUTS / inside
    return Submission(
        step.run_config,
        step.script,
        step.arguments,
        step.target,
        work.pipeline.name,
        snapshot=with_inputs(work.project, work.snapshot, inputs),
        parent=work.parent,
        step=name,
        reuse=step.allow_reuse,
    )


def _check_outputs(project: Path, record: RunRecord, step: Step) -> None:
    folder = run_folder(project, record.id)
    lacking = [path for path in step.outputs if not (folder / OUTPUTS / path).exists()]
    if lacking:
        raise ConfigError(f"wanted outputs/{shown(lacking[0])}, which run {record.id} did not write ({folder / LOG}).")


def _without(snapshot: Snapshot, project: Path, file: Path) -> Snapshot:
    """The snapshot without the pipeline's own file: a step is the same whatever others are added."""
    path = os.path.relpath(file, project)
    return Snapshot(tuple(entry for entry in snapshot.files if entry.path != path))


@contextmanager
def _kept(project: Path, run: str) -> Iterator[None]:
    """Hold the lock of a pipeline's run, as keepers on targets do. Raises ConfigError where another process has it."""
    descriptor = open_lock(str(run_folder(project, run)))
    try:
        if not lock(descriptor):
            raise ConfigError(f"Pipeline {run} is run by another process. Wait for it, or end that.")
        yield
    finally:
        os.close(descriptor)
