"""Environments of Python, each made once, by its content's hash: with conda where it is, else with uv or pip."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from .state import Refused, lock

_READY = ".ready"
#: Seconds between two looks whether another process has made the same environment.
_PAUSE_S = 0.5


def make_environment(base: str, name: str, spec: dict[str, Any]) -> str:
    """Make an environment, unless it is there; returns its interpreter.

    `spec`: {"python": "3.11" or null, "conda": [requirement…], "pip": [requirement…]}. What is done is told on standard
    output. Raises Refused where a tool is missing or fails; what was begun is removed then.
    """
    folder = environment_folder(base, name)
    os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
    descriptor = os.open(f"{folder}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not lock(descriptor):
            time.sleep(_PAUSE_S)
        if not os.path.exists(os.path.join(folder, _READY)):
            shutil.rmtree(folder, ignore_errors=True)  # what a process that was killed has left
            try:
                _make(folder, spec)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            with open(os.path.join(folder, _READY), "w", encoding="utf-8") as file:
                json.dump(spec, file)
    finally:
        os.close(descriptor)
    return os.path.join(folder, "bin", "python")


def has_environment(base: str, name: str) -> bool:
    """Whether an environment is there."""
    return os.path.exists(os.path.join(environment_folder(base, name), _READY))


def environment_folder(base: str, name: str) -> str:
    """Where an environment lies. Raises Refused for what is no hash."""
    if not name or set(name) - set("0123456789abcdef"):
        raise Refused(f"{name!r}: wanted a hash in hexadecimal")
    return os.path.join(base, "environments", name)


def _make(folder: str, spec: dict[str, Any]) -> None:
    python, conda, pip = spec.get("python"), spec.get("conda") or [], spec.get("pip") or []
    tool = next((path for path in map(shutil.which, ("mamba", "micromamba", "conda")) if path), None)
    if tool:
        wanted = [f"python={python}" if python else "python", "pip", *conda]
        _run([tool, "create", "--yes", "--quiet", "--prefix", folder, *wanted])
    elif conda:
        raise Refused(f"found no conda, wanted it for {', '.join(conda)}: install conda, or name these under pip")
    else:
        _make_virtual(folder, python)
    if pip:
        file = os.path.join(folder, "requirements.txt")
        with open(file, "w", encoding="utf-8") as requirements:
            requirements.write("".join(f"{line}\n" for line in pip))
        interpreter, uv = os.path.join(folder, "bin", "python"), shutil.which("uv")
        installer = [uv, "pip", "install", "--python", interpreter] if uv else [interpreter, "-m", "pip", "install"]
        _run([*installer, "--quiet", "-r", file])


def _make_virtual(folder: str, python: str | None) -> None:
    """A virtual environment, without conda: by uv, which can fetch that Python, or by the Python that is here."""
    uv, here = shutil.which("uv"), f"{sys.version_info[0]}.{sys.version_info[1]}"
    if uv:
        _run([uv, "venv", "--quiet", *(["--python", python] if python else []), folder])
        return
    named = shutil.which(f"python{python}") if python else None
    if python and not named and not f"{here}.".startswith(f"{python}."):
        raise Refused(f"found Python {here} and neither conda nor uv, wanted Python {python}: install one of these")
    _run([named or sys.executable, "-m", "venv", folder])


def _run(words: Sequence[str]) -> None:
    print("$", " ".join(words), flush=True)
    try:
        code = subprocess.run(words, stdin=subprocess.DEVNULL).returncode
    except OSError as error:
        raise Refused(f"{words[0]}: {error.strerror}") from None
    if code:
        raise Refused(f"{os.path.basename(words[0])} ended with {code}; what it said stands above")
