"""What the contenders share: the job they are given, and how they say what their work alone took.

Needs nothing but the standard library: a contender imports its engine and this.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

WORK_SECONDS = "workSeconds"

#: A name for the field after the last one, which only lines with too many fields have.
BEYOND = "Beyond"
_NUMBER = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
#: IPv4 addresses, as the generator writes them; it makes no IPv6 ones.
ADDRESS = rf"({_NUMBER}\.){{3}}{_NUMBER}"


@dataclass(frozen=True)
class ScanJob:
    """Sums per server and bucket of all files, to be written to `result` as Parquet.

    `columns` are the names of a file's fields, in order; `measures` are summed, as columns of the names in `sums`.
    `begin` and `end` (both included) are the period, as texts. `missing` are texts of numbers that are missing; a
    number above `largest`, or below zero, counts as missing.
    """

    files: list[str]
    result: str
    scratch: str
    threads: int
    columns: list[str]
    server: str
    start: str
    client: str
    measures: list[str]
    bucket: str
    number: str
    sums: list[str]
    bucket_seconds: int
    begin: str
    end: str
    missing: list[str]
    largest: float


@dataclass(frozen=True)
class LearnJob:
    """A classifier to be fitted on the observed hours before `split` and scored on those after it.

    `features` is an mlSource.parquet, `columns` the forest's inputs in it; `subset` is the number of features drawn for
    each split.
    """

    features: str
    columns: list[str]
    split: str
    trees: int
    depth: int
    subset: int
    seed: int
    threads: int


Job = TypeVar("Job", ScanJob, LearnJob)


def save_job(job: ScanJob | LearnJob, path: Path) -> None:
    """Write a job for `arguments`."""
    path.write_text(json.dumps(vars(job)), encoding="utf-8")


def arguments(kind: type[Job]) -> tuple[str, Job]:
    """A contender's command line: the variant, and the job in the file named."""
    variant, path = sys.argv[1:]
    return variant, kind(**json.loads(Path(path).read_text(encoding="utf-8")))


@contextmanager
def timed_work() -> Iterator[dict[str, Any]]:
    """Print, as a line of JSON, how long the block took and what it put into the dict: harness.py reads it."""
    said: dict[str, Any] = {}
    begin = time.perf_counter()
    yield said
    said.setdefault(WORK_SECONDS, time.perf_counter() - begin)
    print(json.dumps(said), flush=True)
