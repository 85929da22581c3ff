"""Full disks: how they are known, and told."""

from __future__ import annotations

import errno
import os
import re
import shutil
from contextlib import suppress

from loadcast.errors import OutputError

_FULL = {errno.ENOSPC, errno.EDQUOT}
#: As the operating system, Python, Arrow and Java say it.
_SAID = re.compile(r"no space left on device|disk quota exceeded|\[errno (28|122)\]", re.IGNORECASE)
#: With fewer bytes free, a folder's disk is taken to be the one that is full.
_NEARLY_FULL_BYTES = 4 << 20


def is_full_disk(error: BaseException) -> bool:
    """Whether an error, or what another process reports in its message, is that a disk is full."""
    return (isinstance(error, OSError) and error.errno in _FULL) or _SAID.search(str(error)) is not None


def full_disk(output: str | os.PathLike[str], *folders: str | os.PathLike[str]) -> OutputError:
    """The error for a full disk: the one that holds the output, unless one of the other folders' is the full one."""
    where = next((folder for folder in (output, *folders) if _is_full(folder)), output)
    return OutputError(
        f"Cannot write to {os.fspath(where)}: no space left on device. Nothing was published. Make room there, or "
        "choose another output (for temporary files: another TMPDIR)."
    )


def _is_full(folder: str | os.PathLike[str]) -> bool:
    with suppress(OSError, ValueError):  # it is gone, or a URL
        return shutil.disk_usage(folder).free < _NEARLY_FULL_BYTES
    return False
