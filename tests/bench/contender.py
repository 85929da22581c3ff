"""What the scans of this folder share: the job they are given, and how they say what their work alone took.

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

    def save(self, path: Path) -> None:
        """Write the job for `read_job`."""
        path.write_text(json.dumps(vars(self)), encoding="utf-8")


def read_job(path: str) -> ScanJob:
    """The job in a file that `ScanJob.save` wrote."""
    return ScanJob(**json.loads(Path(path).read_text(encoding="utf-8")))


def arguments() -> tuple[str, ScanJob]:
    """A contender's command line: the variant and the job."""
    variant, path = sys.argv[1:]
    return variant, read_job(path)


@contextmanager
def timed_work() -> Iterator[None]:
    """Print, as a line of JSON, how long the block took: harness.py reads it."""
    begin = time.perf_counter()
    yield
    print(json.dumps({WORK_SECONDS: time.perf_counter() - begin}), flush=True)
