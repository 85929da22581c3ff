"""How long work tells how far it is, without knowing who listens."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import ParamSpec, TypeVar

from loadcast.events import RUN, log_event

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

#: Called with (done, total).
Update = Callable[[int, int], None]
#: Opens a named step of the work; what it gives is called as the step goes on.
Progress = Callable[[str], AbstractContextManager[Update]]


@contextmanager
def silent(title: str) -> Iterator[Update]:
    """The Progress nobody listens to."""
    with logged_step(title):
        yield lambda done, total: None


@contextmanager
def logged_step(title: str) -> Iterator[None]:
    """Log how long a step took, or that it failed."""
    begin_s = time.monotonic()
    try:
        yield
    except BaseException as error:
        took_s = time.monotonic() - begin_s
        log_event(
            RUN, logging.INFO, "step", "A step failed.", step=title, duration_s=took_s, error=type(error).__name__
        )
        raise
    log_event(RUN, logging.INFO, "step", "A step ended.", step=title, duration_s=time.monotonic() - begin_s)
