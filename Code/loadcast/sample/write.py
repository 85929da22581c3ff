"""Write a sample data tree: one file after the other or several at once, each published by a rename when complete."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import numpy as np

from loadcast.errors import ConfigError, OutputError
from loadcast.sample.dirt import DirtyKind, is_rejected
from loadcast.sample.mix import FileDirt, make_dirty, plan_dirt
from loadcast.sample.profiles import ServerPlan, build_plan
from loadcast.sample.rows import Integers, file_chunks, rows_of_hours
from loadcast.sample.spec import MOST_JOBS, FileSlice, SampleSpec, file_slices
from loadcast.storage.files import check_writable_name

_OWN_FILES = "[0-9][0-9][0-9][0-9]/[0-9][0-9]/[ab]/[0-6]/request.csv"
_UNFINISHED = ".unfinished"
_POLL_S = 0.1

Progress = Callable[[int], None]


@dataclass(frozen=True)
class SampleSummary:
    """What was written: `rows` data lines, `dirty` of them dirty and `rejected` of these impossible to place.

    `blank` lines come on top. `dirty_by_kind` counts the dirty lines.
    """

    files: int
    rows: int
    dirty: int
    rejected: int
    blank: int
    size_bytes: int
    dirty_by_kind: Mapping[DirtyKind, int]


@dataclass(frozen=True)
class _Task:
    spec: SampleSpec
    slice: FileSlice
    hour_rows: Integers
    dirt: FileDirt
    path: Path


@dataclass(frozen=True)
class _Written:
    blank: int
    size_bytes: int
    dirty_by_kind: Counter[DirtyKind]


def write_sample(
    spec: SampleSpec, dest: Path, *, jobs: int = 1, overwrite: bool = False, on_progress: Progress | None = None
) -> SampleSummary:
    """Write session logs as `spec` says to `dest/yyyy/MM/{a,b}/{0-6}/request.csv`; the bytes don't depend on `jobs`.

    `jobs` is the number of processes (more than one are spawned: call this from a module that can be imported).
    `on_progress` is called in this process with the number of rows just written. A slice of time without rows has no
    file. With `overwrite`, earlier sample files below `dest` are removed first; other files are left alone.

    Raises ConfigError if `jobs` cannot be, or `dest` is a file or a folder that holds something, and OutputError if
    writing fails.
    """
    if not 1 <= jobs <= MOST_JOBS:
        raise ConfigError(f"jobs: found {jobs}, wanted a whole number from 1 to {MOST_JOBS}.")
    dest = Path(dest)
    check_writable_name(dest, "DEST")
    _prepare(dest, overwrite)
    tasks = _tasks(spec, dest)
    report = on_progress or (lambda rows: None)
    if min(jobs, len(tasks)) == 1:
        return _summary(spec, [_write_file(task, report) for task in tasks])
    return _summary(spec, _write_in_processes(tasks, min(jobs, len(tasks)), report))


def _prepare(dest: Path, overwrite: bool) -> None:
    try:
        if dest.exists() and not dest.is_dir():
            raise ConfigError(f"{dest}: found a file, wanted a folder for the sample data. Choose another place.")
        dest.mkdir(parents=True, exist_ok=True)
        if not overwrite and any(dest.iterdir()):
            raise ConfigError(
                f"{dest}: found a folder that holds something, wanted an empty or new one. Choose another folder, "
                "or replace the sample files in it with --overwrite."
            )
        for path in [*dest.glob(_OWN_FILES), *dest.glob(_OWN_FILES + _UNFINISHED)]:
            path.unlink()
    except OSError as exc:
        raise _cannot_write(dest, exc) from exc


def _cannot_write(path: Path, exc: OSError) -> OutputError:
    return OutputError(f"{path}: cannot be written ({exc.strerror or exc}). Check its rights and the free space.")


@lru_cache(maxsize=1)
def _plan(spec: SampleSpec) -> ServerPlan:
    return build_plan(spec)


def _tasks(spec: SampleSpec, dest: Path) -> list[_Task]:
    hour_rows = rows_of_hours(spec, _plan(spec))
    slices = [part for part in file_slices(spec) if hour_rows[part.first_hour : part.end_hour].any()]
    hours = [hour_rows[part.first_hour : part.end_hour] for part in slices]
    file_rows = np.array([rows.sum() for rows in hours])
    return [
        _Task(spec, part, rows, plan_dirt(spec, index, file_rows), dest / part.path)
        for index, (part, rows) in enumerate(zip(slices, hours, strict=True))
    ]


def _write_file(task: _Task, report: Progress) -> _Written:
    unfinished = task.path.with_name(task.path.name + _UNFINISHED)
    try:
        task.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            size_bytes = _write_chunks(task, unfinished, report)
            os.replace(unfinished, task.path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as exc:
        raise _cannot_write(task.path, exc) from exc
    return _Written(len(task.dirt.blank_before), size_bytes, task.dirt.done)


def _write_chunks(task: _Task, path: Path, report: Progress) -> int:
    row = size_bytes = 0
    with path.open("wb") as file:
        for chunk in file_chunks(task.spec, _plan(task.spec), task.slice.first_hour, task.hour_rows):
            size_bytes += file.write(make_dirty(chunk.text, row, chunk.rows, task.dirt))
            row += chunk.rows
            report(chunk.rows)
    return size_bytes


class _Worker:
    """What a worker process knows: where to report its progress."""

    reports: SimpleQueue[int]


def _start_worker(reports: SimpleQueue[int]) -> None:
    _Worker.reports = reports


def _work(task: _Task) -> _Written:
    return _write_file(task, _Worker.reports.put)


def _write_in_processes(tasks: list[_Task], jobs: int, report: Progress) -> list[_Written]:
    context = multiprocessing.get_context("spawn")
    reports: SimpleQueue[int] = context.SimpleQueue()
    pool = ProcessPoolExecutor(jobs, context, _start_worker, (reports,))
    try:
        futures = [pool.submit(_work, task) for task in tasks]
        pending: set[Future[_Written]] = set(futures)
        while pending:
            done, pending = wait(pending, timeout=_POLL_S)
            while not reports.empty():
                report(reports.get())
            for future in done:
                future.result()
        return [future.result() for future in futures]
    except BrokenProcessPool as exc:
        raise OutputError("A writing process ended early; memory may be short. Write with --jobs 1.") from exc
    finally:
        pool.shutdown(cancel_futures=True)
        reports.close()


def _summary(spec: SampleSpec, written: Iterable[_Written]) -> SampleSummary:
    written = list(written)
    kinds: Counter[DirtyKind] = sum((item.dirty_by_kind for item in written), Counter())
    return SampleSummary(
        files=len(written),
        rows=spec.rows,
        dirty=kinds.total(),
        rejected=sum(count for kind, count in kinds.items() if is_rejected(kind)),
        blank=sum(item.blank for item in written),
        size_bytes=sum(item.size_bytes for item in written),
        dirty_by_kind=dict(kinds),
    )
