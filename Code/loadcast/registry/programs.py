"""Other programs that model management calls: docker (or podman under that name) and kubectl."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from loadcast.errors import EnvironmentNotReadyError
from loadcast.secrets import shown

_LONG_S = 3_600.0
_ADVICE = {
    "docker": "Install Docker or podman (podman-docker), or use --target local",
    "kubectl": "Install kubectl and name your cluster in its configuration, or use another --target",
}


def require_program(name: str) -> None:
    """Raise EnvironmentNotReadyError where a program is not on the PATH."""
    if shutil.which(name) is None:
        raise EnvironmentNotReadyError(f"{name}: found none on the PATH. {_ADVICE[name]}.")


def output_of(words: Sequence[str], content: bytes | None = None) -> str:
    """What a program says on its standard output; `content` is what it reads. Raises EnvironmentNotReadyError."""
    done = completed(words, content)
    if done.returncode:
        raise EnvironmentNotReadyError(_failure(words, done.stderr or done.stdout))
    return done.stdout.decode("utf-8", "replace")


def completed(words: Sequence[str], content: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """A program that has ended, well or not. Raises EnvironmentNotReadyError where it cannot be run."""
    require_program(words[0])
    try:
        return subprocess.run(words, input=content or b"", capture_output=True, timeout=_LONG_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or f"no end within {_LONG_S:.0f} s"
        raise EnvironmentNotReadyError(f"{words[0]} {words[1]}: {reason}.") from error


def logged(words: Sequence[str], log: Path) -> None:
    """Run a program with all that it says in a file. Raises EnvironmentNotReadyError, with its last words."""
    require_program(words[0])
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        code = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT).returncode
    if code:
        raise EnvironmentNotReadyError(f"{_failure(words, log.read_bytes())} All that it said: {log}")


def _failure(words: Sequence[str], said: bytes) -> str:
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    return f"{words[0]} {words[1]} failed: {shown(lines[-1] if lines else 'it said nothing', 400).rstrip('.')}."
