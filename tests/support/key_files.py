"""Key files of services, and a clock for what looks at them."""

from __future__ import annotations

from pathlib import Path

from loadcast.system.small_files import replace_file

FIRST, SECOND, THIRD = "first-key", "second-key", "third-key"


def write(path: Path, *lines: str | bytes, mode: int = 0o600) -> Path:
    """A key file, put in place of another whole, as `mv` does."""
    content = b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines)
    replace_file(path, content, mode, lasting=False)
    return path


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s
