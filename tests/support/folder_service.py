"""A managed service on this machine: files in a folder, and jobs that are processes which run the bootstrap."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from loadcast.experiments.agent.state import CANCELLED, FAILED, RUNNING, State
from loadcast.experiments.services.folder_files import bootstrap_file

_RUNTIME = """
import os

class dbutils:
    class secrets:
        get = staticmethod(lambda scope, key: os.environ["SECRETS"])
"""


class FolderFiles:
    """Files below a folder; `written` has the path of each, once for each time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: list[str] = []

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return (self.folder / path).is_file()

    def read(self, path: str) -> bytes | None:
        """A file; None where there is none."""
        return (self.folder / path).read_bytes() if self.exists(path) else None

    def fetch(self, path: str, target: Path) -> bool:
        """Copy a file; False where there is none."""
        if not self.exists(path):
            return False
        shutil.copyfile(self.folder / path, target)
        return True

    def write(self, path: str, content: BinaryIO) -> None:
        """Write a file."""
        self.written.append(path)
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(content.read())


class ProcessJobs:
    """Jobs that are processes, by their runs."""

    def __init__(self, files: FolderFiles) -> None:
        self.files = files
        self.secrets: dict[str, Mapping[str, str]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.cancelled: set[str] = set()

    def facts(self) -> dict[str, str]:
        """Nothing."""
        return {}

    def find(self, run: str) -> str | None:
        """The job, which has the run's name."""
        return run if run in self.processes else None

    def keep_secrets(self, run: str, secrets: Mapping[str, str]) -> dict[str, str]:
        """Remember them."""
        self.secrets[run] = secrets
        return {"scope": run, "key": "variables"}

    def forget_secrets(self, run: str) -> None:
        """Forget them."""
        self.secrets.pop(run, None)

    def submit(self, run: str, request: Mapping[str, Any]) -> str:
        """Start the process, once."""
        name, content = bootstrap_file()
        script = self.files.folder / name
        script.write_bytes(content)
        if run not in self.processes:
            words = [sys.executable, str(script), str(self.files.folder), run]
            environment = {"PYTHONPATH": str(self._runtime()), "SECRETS": json.dumps({**self.secrets.get(run, {})})}
            with (self.files.folder / f"{run}.out").open("wb") as out:
                self.processes[run] = subprocess.Popen(
                    words, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
                )
        return run

    def _runtime(self) -> Path:
        """A module that gives jobs their secrets, as Databricks' runtime has it."""
        top = self.files.folder / "runtime"
        package = top / "databricks" / "sdk"
        package.mkdir(parents=True, exist_ok=True)
        for folder in (package.parent, package):
            (folder / "__init__.py").touch()
        (package / "runtime.py").write_text(_RUNTIME)
        return top

    def state(self, job: str) -> State:
        """As its process is."""
        code = self.processes[job].poll()
        if code is None:
            return State(state=RUNNING, start=0.0)
        if job in self.cancelled:
            return State(state=CANCELLED, end=time.time())
        return State(state=FAILED, end=time.time(), error=f"exit code {code}")

    def cancel(self, job: str) -> None:
        """Ask it to end."""
        self.cancelled.add(job)
        self.processes[job].terminate()
