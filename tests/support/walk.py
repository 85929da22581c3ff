"""A walk of commands from somebody's notes: ETL and training on a target that they attach, held against this machine.

Data and results lie in containers on Azurite; the project is a copy of the clone's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import runs
from azurite import Azurite
from container_runs import KEY_VARIABLE, ROOT, Place, container_run, differences, run_in, write_config
from contract import login
from hosts import Host
from loadcast import paths
from loadcast.settings import load_settings
from months import Month

_DATA = "sessions"


class Walk:
    """The project of a walk below `folder`, with a configuration of Config/ for the month's data."""

    def __init__(self, folder: Path, azurite: Azurite, month: str, wanted: Month, config: str) -> None:
        self.project, self._folder, self._azurite = folder / "project", folder, azurite
        self._data, _, pattern = month.partition("/*")
        azurite.upload_folder(azurite.new_container(_DATA), Path(self._data))
        for name in ("Code", "Config"):
            shutil.copytree(ROOT / name, self.project / name, ignore=shutil.ignore_patterns("__pycache__"))
        forest = wanted.whole.settings.forest.model_dump(by_alias=True)
        url = f"wasbs://{_DATA}@{azurite.account}/*{pattern}"
        # Of one month also where the file is for all data: what this machine made of it has that, too.
        changes = {"forest": forest, "duration": wanted.whole.settings.duration}
        self._config = write_config(self.project / "Config", config, azurite, url, **changes)
        self._container = azurite.new_container(load_settings(self._config).storage_container)
        subprocess.run(["git", "init", "-q", str(self.project)], check=True)

    def loadcast(self, *words: str, code: int = 0) -> str:
        """Run a command in the project; gives what it wrote."""
        environment = {**os.environ, KEY_VARIABLE: self._azurite.key}
        argv = [sys.executable, "-m", "loadcast", *words]
        done = subprocess.run(argv, cwd=self.project, env=environment, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def attach(self, kind: str, name: str, host: Host, *words: str) -> None:
        """Attach a target, and let its runs have the key of the containers."""
        self.loadcast("computetarget", "attach", kind, "--name", name, *login(host), *words)
        runconfig = self.project / "aml_config" / f"{name}.runconfig"
        variables = f"EnvironmentVariables:\n  {KEY_VARIABLE}: env:{KEY_VARIABLE}"
        runconfig.write_text(runconfig.read_text().replace("EnvironmentVariables: null", variables))

    def set_spark(self, name: str, settings: dict[str, str]) -> None:
        """Write Spark's settings of the walk's machine into a file of Config/."""
        (self.project / "Config" / name).write_text(json.dumps({"configuration": settings}))

    def differences(self, wanted: runs.Run) -> list[str]:
        """What differs between the container's newest run and one of this machine."""
        folder = self._folder / f"found-{len(list(self._folder.glob('found-*')))}"
        found = container_run(self._azurite, self._container, load_settings(self._config), folder)
        roots = (f"wasbs://{_DATA}@{self._azurite.account}", f"{self._azurite.endpoint}/{_DATA}")
        here = run_in(wanted.settings, wanted.folder)  # with all digits
        different = differences(Place(found, roots), Place(here, (self._data,)))
        return [name for name in different if name != paths.INFO]  # there may be another Python 3.11

    def files_with_key(self, host: Host) -> list[Path]:
        """Files here and on the host that have the containers' key in them, but for libraries: it is Azurite's own."""
        files = [path for root in (self.project, host.home) for path in root.rglob("*") if path.is_file()]
        ours = [path for path in files if "site-packages" not in path.parts]
        return [path for path in ours if self._azurite.key.encode() in path.read_bytes()]
