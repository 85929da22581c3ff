"""Environments of Python, each made once, by its content's hash: with conda where it is, else with uv or pip."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from .state import Refused, lock, locked, open_lock_file

_READY = ".ready"


def make_environment(base: str, name: str, spec: dict[str, Any]) -> str:
    """Make an environment, unless it is there; returns its interpreter.

    `spec`: {"python": "3.11" or null, "channels": [name…], "conda": [requirement…], "pip": [requirement…]}. What is
    done is told on standard output. Raises Refused where a tool is missing or fails; what was begun is removed then.
    """
    folder = environment_folder(base, name)
    with locked(folder):
        if not os.path.exists(os.path.join(folder, _READY)):
            shutil.rmtree(folder, ignore_errors=True)  # what a process that was killed has left
            try:
                _make(folder, spec)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            with open(os.path.join(folder, _READY), "w", encoding="utf-8") as file:
                json.dump(spec, file)
    return os.path.join(folder, "bin", "python")


def has_environment(base: str, name: str) -> bool:
    """Whether an environment is there, and nobody is making or removing it just now."""
    folder = environment_folder(base, name)
    if not os.path.exists(os.path.join(folder, _READY)):
        return False
    descriptor = open_lock_file(f"{folder}.lock")
    try:
        return lock(descriptor, shared=True) and os.path.exists(os.path.join(folder, _READY))
    finally:
        os.close(descriptor)


def environment_folder(base: str, name: str) -> str:
    """Where an environment lies. Raises Refused for what is no hash."""
    return os.path.join(base, "environments", checked_hash(name))


def checked_hash(name: str) -> str:
    """The name of an environment. Raises Refused for what is no hash."""
    if not name or set(name) - set("0123456789abcdef"):
        raise Refused(f"{name!r}: wanted a hash in hexadecimal")
    return name


def _make(folder: str, spec: dict[str, Any]) -> None:
    python, conda, pip = spec.get("python"), spec.get("conda") or [], spec.get("pip") or []
    tool = next((path for path in map(shutil.which, ("mamba", "micromamba", "conda")) if path), None)
    if tool:
        wanted = [f"python={python}" if python else "python", "pip", *conda]
        channels = [word for channel in spec.get("channels") or [] for word in ("--channel", channel)]
        run_tool([tool, "create", "--yes", "--quiet", "--prefix", folder, *channels, *wanted])
    elif lacking := [package for package in conda if not _is_here(package)]:
        raise Refused(f"found no conda, wanted it for {', '.join(lacking)}: install conda, or name these under pip")
    else:
        _make_virtual(folder, python)
    if pip:
        file = os.path.join(folder, "requirements.txt")
        with open(file, "w", encoding="utf-8") as requirements:
            requirements.write("".join(f"{line}\n" for line in pip))
        interpreter, uv = os.path.join(folder, "bin", "python"), shutil.which("uv")
        installer = [uv, "pip", "install", "--python", interpreter] if uv else [interpreter, "-m", "pip", "install"]
        run_tool([*installer, "--quiet", "-r", file])


def _is_here(package: str) -> bool:
    """Whether a package of conda's is here without it: pip always, and a Java of that version or newer will do."""
    name, _, version = package.rpartition("::")[2].replace(">", "=").partition("=")
    if name.strip() == "pip":
        return True
    java = shutil.which("java") if name.strip() == "openjdk" else None
    if java is None:
        return False
    said = subprocess.run([java, "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True).stderr
    found, wanted = re.search(r'version "(\d+)', said), re.match(r"[= ]*(\d+)", version)
    return found is not None and (wanted is None or int(found[1]) >= int(wanted[1]))


def _make_virtual(folder: str, python: str | None) -> None:
    """A virtual environment, without conda: by uv, which can fetch that Python, or by the Python that is here."""
    uv, here = shutil.which("uv"), f"{sys.version_info[0]}.{sys.version_info[1]}"
    if uv:
        run_tool([uv, "venv", "--quiet", *(["--python", python] if python else []), folder])
        return
    named = shutil.which(f"python{python}") if python else None
    if python and not named and not f"{here}.".startswith(f"{python}."):
        raise Refused(f"found Python {here} and neither conda nor uv, wanted Python {python}: install one of these")
    run_tool([named or sys.executable, "-m", "venv", folder])


def run_tool(words: Sequence[str]) -> None:
    """Run a tool, whose words and own output are shown. Raises Refused where it is missing or fails."""
    print("$", " ".join(words), flush=True)
    try:
        code = subprocess.run(words, stdin=subprocess.DEVNULL).returncode
    except OSError as error:
        raise Refused(f"{words[0]}: {error.strerror}") from None
    if code:
        raise Refused(f"{os.path.basename(words[0])} ended with {code}; what it said stands above")


def tool_output(words: Sequence[str], name: str) -> str:
    """What a tool writes to standard output. Raises Refused, by a name and with the tool's own last words."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise Refused(f"{name}: {said}")
    return done.stdout
