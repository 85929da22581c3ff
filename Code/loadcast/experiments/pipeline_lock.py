"""The lock of a pipeline's run, which the process holds that submits its steps."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadcast.errors import ConfigError
from loadcast.experiments.locations import PIPELINE_LOCK, run_folder


@contextmanager
def kept(project: Path, run: str) -> Iterator[None]:
    """Hold the lock while the block runs. Raises ConfigError where another process does."""
    descriptor = _opened(project, run)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ConfigError(f"Pipeline {run} is run by another process. Wait for it, or end that.") from None
    finally:
        os.close(descriptor)


def is_kept(project: Path, run: str) -> bool:
    """Whether a process holds it."""
    descriptor = _opened(project, run)
    try:
        # Shared, so that two who look do not take each other for the one who holds it.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _opened(project: Path, run: str) -> int:
    return os.open(run_folder(project, run) / PIPELINE_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
