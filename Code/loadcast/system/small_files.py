"""Files that people write and hand to a command: read whole, and not waited for longer than anybody would."""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Callable

#: Seconds for what comes through a pipe, such as a shell's <(command).
PATIENCE_S = 10.0


def read_small_file(
    path: str | os.PathLike[str], limit: int, check: Callable[[os.stat_result], None] = lambda state: None
) -> bytes:
    """What a file or pipe holds, up to `limit` bytes; `check` looks at the state of the open file, and may raise.

    Raises OSError where it cannot be read, or where nobody has written all of it after PATIENCE_S.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    end_s = time.monotonic() + PATIENCE_S
    with open(descriptor, "rb", buffering=0) as file:
        check(os.fstat(descriptor))
        content = b""
        while len(content) < limit:
            if not select.select([file], [], [], max(0.0, end_s - time.monotonic()))[0]:
                raise TimeoutError(errno.ETIMEDOUT, f"it is a pipe, and its end did not come within {PATIENCE_S:.0f} s")
            part = file.read(limit - len(content))
            if not part:
                break
            content += part
        return content
