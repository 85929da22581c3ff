"""How long work tells how far it is, without knowing who listens."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import ParamSpec, TypeVar

from loadcast.logs.events import RUN, log_event

#: Called with (done, total).
Update = Callable[[int, int], None]
#: Opens a named step of the work; what it gives is called as the step goes on.
Progress = Callable[[str], AbstractContextManager[Update]]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@contextmanager
def silent(title: str) -> Iterator[Update]:
    """The Progress nobody listens to."""
    with logged_step(title):
        yield lambda done, total: None


class Stopwatch:
    """A Progress that passes on to another, and keeps each step's title and seconds, failed ones' included."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.laps: list[tuple[str, float]] = []

    @contextmanager
    def __call__(self, title: str) -> Iterator[Update]:
        """Run one step."""
        begin_s = time.monotonic()
        try:
            with self._progress(title) as update:
                yield update
        finally:
            self.laps.append((title, time.monotonic() - begin_s))


@contextmanager
def logged_step(title: str) -> Iterator[None]:
    """Log that a step ended or failed, and how long it took."""
    with _timed("step", title):
        yield


def logged_run(name: str) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Let a function that does a whole run, such as `etl`, log that it began, and that it ended or failed."""

    def decorate(work: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        @functools.wraps(work)
        def logged(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            log_event(RUN, logging.INFO, "run", "A run began.", run=name)
            with _timed("run", name):
                return work(*args, **kwargs)

        return logged

    return decorate


@contextmanager
def _timed(kind: str, name: str) -> Iterator[None]:
    """Log the end of what `kind` says, which is the field of its name, too."""
    begin_s, failure = time.monotonic(), None
    try:
        yield
    except BaseException as error:
        failure = type(error).__name__
        raise
    finally:
        message = f"A {kind} {'failed' if failure else 'ended'}."
        duration_s = time.monotonic() - begin_s
        log_event(RUN, logging.INFO, kind, message, **{kind: name}, duration_s=duration_s, error=failure)
