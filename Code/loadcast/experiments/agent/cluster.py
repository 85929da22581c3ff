"""A script as an application of YARN, submitted from a head node: its environment, kernels and project go with it.

What takes time is a step of its own, whose seconds are logged with the run: making archives, compiling, sending, and
the application itself. A step that finds everything there takes none.
"""

from __future__ import annotations

import hashlib
import json
import os
import pkgutil
import re
import secrets
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from .applications import APPLICATION, end_application, tag_of
from .driver import COMPILED_VARIABLE, SEALED_VARIABLE, other_half
from .environments import environment_folder
from .processes import exit_code
from .receiving import Receiver, own_addresses
from .request import LOG_VARIABLE
from .shipping import merged, pack, pack_environment, ship, write_archive
from .state import Refused, read_json, run_folder, write_below

_SUBMITTED = re.compile(rb"\bapplication_[0-9]+_[0-9]+\b")
#: Where scripts have loadcast's kernels, in the project or in a folder of its.
_KERNELS = "loadcast/kernels/"
#: Seconds that an application has to tell its end once spark-submit has, and the other way round.
_LAST_WORD_S, _LEAVING_S = 10.0, 120.0
_POLL_S = 0.5
#: Of spark-submit's log: its beginning, where it names the application.
_LOG_BYTES = 1 << 20
_SHOWN_LINES = 20
_SUBMIT_LOG = "spark-submit.log"
#: What nodes unpack, by the names that they have in a container's working directory.
_ENVIRONMENT, _COMPILED, _PROJECT = "environment", "kernels", "project"


def run_on_cluster(base: str, run: str, spec: Mapping[str, Any]) -> int:
    """Run a script to its end; returns its exit code. Raises Refused.

    `spec`: {"mode": "client" or "cluster", "submit": program, "python": path or null, "environment": name or null,
    "spark": {setting: value}, "words": [script, argument…], "variables": [name…], "secrets": [name…]}; the variables'
    values are in this process's environment.
    """
    return _Run(base, run, spec).run()


class _Run:
    """One run; its working directory is the project."""

    def __init__(self, base: str, run: str, spec: Mapping[str, Any]) -> None:
        self._base, self._run, self._spec = base, run, spec
        self._folder = run_folder(base, run)
        self._work = os.path.join(self._folder, "work")
        made = spec["environment"]
        own = os.path.join(environment_folder(base, made), "bin", "python") if made else "python3"
        self._python: str = spec["python"] or own
        #: The environment that goes to the nodes; with an interpreter of the user's none does.
        self._travels: str | None = None if spec["python"] else made

    def run(self) -> int:
        archives: dict[str, str] = {}
        if self._travels:
            with self._step("environment"):
                archives[_ENVIRONMENT] = pack_environment(self._base, self._travels)
        with self._step("kernels"):
            compiled = self._compiled()
        if compiled:
            archives[_COMPILED] = pack(compiled, f"{compiled}.tar.gz")
        with self._step("shipping"):
            addresses, sent = ship(self._base, archives)
        self._log("bytes/cluster/shipped", sent)
        settings = self._settings(addresses)
        with self._step("application"):
            return self._on_a_node(settings) if self._spec["mode"] == "cluster" else self._here(settings, compiled)

    def _compiled(self) -> str | None:
        """The folder with the project's kernels, compiled on this machine, whose nodes are mostly alike."""
        entries = read_json(os.path.join(self._folder, "request.json"))["entries"]
        kernels = sorted((path, name) for path, name, _ in entries if _KERNELS in f"/{path}")
        if not kernels:
            return None
        root = kernels[0][0].split(_KERNELS)[0]
        about = json.dumps([self._python, kernels])
        folder = os.path.join(self._base, "compiled", hashlib.sha256(about.encode()).hexdigest())
        is_there = os.path.isdir(folder)
        self._log("files/cluster/compiled", 0 if is_there else len(kernels))
        if is_there:
            return folder
        making = f"{folder}.{os.getpid()}"
        shutil.rmtree(making, ignore_errors=True)
        os.makedirs(making, mode=0o700)
        paths = [os.path.join(self._work, root), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "NUMBA_CACHE_DIR": making, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        words = [self._python, "-m", "loadcast.compiled_ahead"]
        if subprocess.run(words, env=environment, stdin=subprocess.DEVNULL).returncode:
            shutil.rmtree(making, ignore_errors=True)
            print("The kernels were not compiled ahead: each worker of the cluster compiles its own.", flush=True)
            return None
        try:
            os.rename(making, folder)
        except OSError:  # another run was faster
            shutil.rmtree(making, ignore_errors=True)
        return folder

    def _settings(self, archives: Mapping[str, str]) -> dict[str, str]:
        """Spark's settings: the user's, and what makes executors find what goes with the job."""
        theirs: dict[str, str] = self._spec["spark"]
        more = [f"{address}#{name}" for name, address in archives.items()]
        own = {"spark.executorEnv.LOADCAST_CACHE": "cache"}  # in the container's working directory
        if _COMPILED in archives:
            own[f"spark.executorEnv.{COMPILED_VARIABLE}"] = _COMPILED
        lists = merged(theirs, "spark.yarn.dist.archives", more)
        return {**own, **theirs, **lists, **merged(theirs, "spark.yarn.tags", [tag_of(self._run)])}

    def _python_of_nodes(self) -> str:
        """As it is called in containers."""
        return f"./{_ENVIRONMENT}/bin/python" if self._travels else self._python

    def _here(self, settings: Mapping[str, str], compiled: str | None) -> int:
        """With the driver on this machine."""
        variables = {"PYSPARK_PYTHON": self._python_of_nodes(), "PYSPARK_DRIVER_PYTHON": self._python}
        if compiled:
            variables[COMPILED_VARIABLE] = compiled
        words = [*self._submission("client", settings), *self._spec["words"]]
        return exit_code(self._started(words, {**os.environ, **variables}, None).wait())

    def _on_a_node(self, settings: Mapping[str, str]) -> int:
        """With the driver on a node of the cluster, which talks to us."""
        token, log = secrets.token_hex(32), os.path.join(self._work, "logs", _SUBMIT_LOG)
        with Receiver(token, _say) as receiver, open(log, "wb", 0) as output:
            words = [*self._submission("cluster", self._on_node(settings, token, receiver.port)), self._driver()]
            process = self._started(words, self._without_secrets(), output)
            self._wait_for(process, receiver)
            self._note_application(log)
            if receiver.code is None:
                self._show_end_of(log)
                end_application(self._base, self._run)
                return process.returncode or 1
            self._unpack(receiver.results)
            return receiver.code

    def _submission(self, mode: str, settings: Mapping[str, str]) -> list[str]:
        words = [self._spec["submit"], "--master", "yarn", "--deploy-mode", mode, "--name", tag_of(self._run)]
        return [*words, *(word for name, value in settings.items() for word in ("--conf", f"{name}={value}"))]

    def _on_node(self, settings: Mapping[str, str], token: str, port: int) -> dict[str, str]:
        """Settings for a driver on a node, and the job for it. Secrets go in two halves, by different ways."""
        values = json.dumps({name: os.environ[name] for name in self._spec["secrets"] if name in os.environ}).encode()
        pad = secrets.token_bytes(len(values))
        job = {
            "run": self._run,
            "words": self._spec["words"],
            "variables": {name: os.environ[name] for name in self._spec["variables"] if name in os.environ},
            "addresses": own_addresses(),
            "port": port,
            "token": token,
            "pad": pad.hex(),
        }
        job_file = os.path.join(self._folder, "job.json")
        with open(os.open(job_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(job, file)
        python = self._python_of_nodes()
        environment = {
            "PYSPARK_PYTHON": python,
            "PYSPARK_DRIVER_PYTHON": python,
            SEALED_VARIABLE: other_half(values, pad).hex(),
            **({COMPILED_VARIABLE: _COMPILED} if f"spark.executorEnv.{COMPILED_VARIABLE}" in settings else {}),
        }
        return {
            **settings,
            **{f"spark.yarn.appMasterEnv.{name}": value for name, value in environment.items()},
            **merged(settings, "spark.yarn.dist.archives", [f"{self._packed_project()}#{_PROJECT}"]),
            **merged(settings, "spark.yarn.dist.files", [job_file]),
            "spark.yarn.maxAppAttempts": "1",  # a script is run once
            "spark.yarn.submit.waitAppCompletion": "true",
        }

    def _packed_project(self) -> str:
        path = os.path.join(self._folder, "project.tar.gz")
        # Our log would come back among the script's, as it was when the script began.
        write_archive(self._work, path, leave_out=f"logs/{_SUBMIT_LOG}")
        return path

    def _driver(self) -> str:
        path = os.path.join(self._folder, "driver.py")
        with open(path, "wb") as file:
            file.write(pkgutil.get_data(__package__, "driver.py") or b"")
        return path

    def _without_secrets(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name not in self._spec["secrets"]}

    def _started(
        self, words: list[str], environment: Mapping[str, str], output: IO[bytes] | None
    ) -> subprocess.Popen[bytes]:
        """spark-submit, which writes to `output`, or where we do."""
        with open(os.path.join(self._folder, APPLICATION), "ab"):
            pass  # from now on there may be one, whether it says so or not
        try:
            return subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        except OSError as error:
            raise Refused(f"{words[0]}: {error.strerror}; sparkSubmitLocation of the target says where it is") from None

    def _wait_for(self, process: subprocess.Popen[bytes], receiver: Receiver) -> None:
        """Wait for spark-submit and for the driver's last word, whichever comes first, and a while for the other."""
        while process.poll() is None:
            if receiver.ended.wait(_POLL_S):
                try:
                    process.wait(_LEAVING_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        receiver.ended.wait(_LAST_WORD_S)

    def _note_application(self, log: str) -> None:
        """Write down which application was submitted, so that ending it need not look for it."""
        with open(log, "rb") as said:
            named = _SUBMITTED.search(said.read(_LOG_BYTES))
        if named:
            with open(os.path.join(self._folder, APPLICATION), "wb") as file:
                file.write(named[0])

    def _show_end_of(self, log: str) -> None:
        with open(log, encoding="utf-8", errors="replace") as file:
            lines = file.readlines()[-_SHOWN_LINES:]
        print("".join(lines), end="")
        print("The driver on the cluster ended before it said how; yarn logs -applicationId ID has what it wrote.")

    def _unpack(self, results: IO[bytes]) -> None:
        """Put what the script has left where the scripts of other targets leave it."""
        results.seek(0)
        with tarfile.open(fileobj=results) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is None:
                    continue
                if member.name == "logged.jsonl":
                    with open(os.environ[LOG_VARIABLE], "ab") as logged:
                        shutil.copyfileobj(content, logged)
                elif member.name.split("/")[0] in ("outputs", "logs"):
                    write_below(self._work, member.name, content)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self._log(f"seconds/cluster/{name}", round(time.monotonic() - begin, 3))

    def _log(self, name: str, value: float) -> None:
        """As run_logger.py of loadcast, which this file must not import."""
        line = json.dumps({"time": round(time.time(), 3), "kind": "metric", "name": name, "value": [value]})
        with open(os.environ[LOG_VARIABLE], "a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def _say(block: bytes) -> None:
    sys.stdout.buffer.write(block)
    sys.stdout.buffer.flush()
