"""Spark jobs side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

Job = Callable[[], None]
_PARALLEL_JOBS = 3


@contextmanager
def side_by_side() -> Iterator[Callable[[Job], None]]:
    """Run Spark jobs side by side: while one commits its files, another computes.

    Gives a function that starts a job; the block ends when all have. The first error of a job is raised then.
    """
    with ThreadPoolExecutor(_PARALLEL_JOBS) as pool:
        started: list[Future[None]] = []
        yield lambda job: started.append(pool.submit(job))
        for future in started:
            future.result()
