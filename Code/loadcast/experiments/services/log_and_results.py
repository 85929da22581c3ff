"""What both kinds of services do alike: following a log that comes in parts, and unpacking results."""

from __future__ import annotations

import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from loadcast.errors import ArtefactError


def follow_parts(
    read: Callable[[int, int], bytes | None], is_over: Callable[[], bool], poll_s: tuple[float, float]
) -> Iterator[bytes]:
    """The parts of a log, to the run's end.

    `read` gives the part that so many parts, with so many bytes, are before, and nothing while it is not there. Only
    then `is_over` is asked, and what was written before the end is read after it. Between two looks are the seconds of
    `poll_s`, more each time.
    """
    parts, offset, pause, over = 0, 0, poll_s[0], False
    while True:
        if part := read(parts, offset):
            parts, offset, pause = parts + 1, offset + len(part), poll_s[0]
            yield part
        elif over:
            return
        else:
            over = is_over()
            if not over:
                time.sleep(pause)
                pause = min(2 * pause, poll_s[1])


def unpack_results(packed: Path, folder: Path, run: str) -> None:
    """Unpack what a run has left into a folder. Raises ArtefactError for an archive that is damaged."""
    try:
        with tarfile.open(packed) as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise ArtefactError(f"What run {run} has left is damaged: {error}. Ask again.") from error
