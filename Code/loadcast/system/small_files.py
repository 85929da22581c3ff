"""Small files: those that people hand to a command are read whole, and not waited for longer than anybody would; ours
are replaced whole."""

from __future__ import annotations

import errno
import os
import secrets
import select
import time
from collections.abc import Callable
from pathlib import Path

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


def replace_file(path: Path, content: bytes, mode: int | None = None, lasting: bool = True) -> None:
    """Put a file in place of another, or of none: whoever reads finds one of the two, whole. Its folder is made.

    `mode` None: as the process's umask has it. `lasting`: it is on the disk when this returns. Raises OSError; then
    nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with fresh.open("xb") as file:
            file.write(content)
            file.flush()
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            if lasting:
                os.fsync(file.fileno())
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
