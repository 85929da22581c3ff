"""How long work tells how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

#: Called with (done, total).
Update = Callable[[int, int], None]
#: Opens a named step of the work; what it gives is called as the step goes on.
Progress = Callable[[str], AbstractContextManager[Update]]


@contextmanager
def silent(title: str) -> Iterator[Update]:
    """The Progress nobody listens to."""
    yield lambda done, total: None
