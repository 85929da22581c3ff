"""The Spark of older clusters, in an environment of its own, and the emulator that its driver for Azure finds."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from artefacts import MISSING
from azurite import Azurite, running_azurite
from clusters import LOOPBACK

_FOLDER = Path(__file__).resolve().parents[2] / ".venv-spark35"
#: Where WASB looks for an emulator; it cannot be told to look elsewhere.
_EMULATOR_PORT = 10000


def spark35_python() -> Path:
    """Its Python, which has PySpark alone; skips the test where it is not installed."""
    python = _FOLDER / "bin" / "python"
    if not python.exists():
        pytest.skip(f"PySpark 3.5 {MISSING}")
    return python


def spark35_packages() -> Path:
    """Where its packages are: a Python of ours with this in PYTHONPATH has PySpark 3.5, and all else that it has."""
    spark35_python()
    return next((_FOLDER / "lib").glob("python3*/site-packages"))


@contextmanager
def wasb_emulator(log: Path) -> Iterator[Azurite]:
    """An Azurite where WASB looks for one, what it says in the file `log`; skips the test where that port is taken."""
    with socket.socket() as probe:
        if probe.connect_ex((LOOPBACK, _EMULATOR_PORT)) == 0:
            pytest.skip(f"port {_EMULATOR_PORT}, the only one where WASB looks for an emulator, is in use")
    with running_azurite(log, _EMULATOR_PORT) as server:
        yield server
