"""Work on many things at once, by threads: compiled code lets others run meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

#: As `map`: a function, and what it is called with.
Each = Callable[..., Iterable[Any]]


@contextmanager
def side_by_side(threads: int) -> Iterator[Each]:
    """What maps a function over its arguments with so many threads; one thread is this one."""
    if threads <= 1:
        yield map
        return
    with ThreadPoolExecutor(threads) as pool:
        yield pool.map
