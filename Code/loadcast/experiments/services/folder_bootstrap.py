"""Runs a script of a project on a managed service: sent there as this one file, of the standard library alone.

    folder_bootstrap.py FOLDER RUN

FOLDER is where the service mounts the target's files. `runs/RUN/request.json` there says what to run: `argv` (the
script and its arguments), `environment`, `archive` (the project's contents by their sha-256), `entries`
([path, sha256, executable]…) and `secrets` (where variables are that stand in no file). Beside it come `begun.json`, as
soon as the secrets were read; the log, in `log/` as parts named by their first byte, each written once and whole, as
such folders cannot be appended to; and after the script's end `log.txt`, `results.tar` and, last, `end.json`.
"""

from __future__ import annotations

import io
import json
import os
import runpy
import shutil
import signal
import stat
import sys
import tarfile
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from typing import Any, TextIO

#: Seconds between two looks at the log: a hundredth of the time so far, so that the parts stay few.
PAUSE_S = (0.2, 10.0)
MOST_BYTES = 4 << 20


class Ended(BaseException):
    """Somebody ended the run."""


def main(argv: list[str]) -> int:
    """Run the script of a request; returns its exit code."""
    base, run = argv
    folder = os.path.join(base, "runs", run)
    with open(os.path.join(folder, "request.json"), encoding="utf-8") as file:
        request = json.load(file)
    local = tempfile.mkdtemp(prefix="loadcast-")
    begun = time.time()
    code: int | None = None
    log = Log(os.path.join(local, "log"), folder)
    on_end()
    try:
        with log:
            code = run_request(base, run, request, local)
    except Ended:
        pass
    finally:
        log.publish()
        publish_results(folder, local)
        write_json(os.path.join(folder, "end.json"), {"code": code, "start": begun, "end": time.time()})
        os.chdir("/")
        shutil.rmtree(local, ignore_errors=True)
    return 143 if code is None else code


def run_request(base: str, run: str, request: dict[str, Any], local: str) -> int:
    """Unpack the project, set the variables and run the script; what goes wrong is in the log, as any error."""
    try:
        work = unpack(os.path.join(base, request["archive"]), request["entries"], os.path.join(local, "work"))
        os.environ.update(request["environment"])
        os.environ.update(read_secrets(request["secrets"]))
        os.environ.update(
            LOADCAST_RUN_ID=run, LOADCAST_RUN_LOG=os.path.join(local, "logged.jsonl"), PYTHONUNBUFFERED="1"
        )
        write_json(os.path.join(base, "runs", run, "begun.json"), {"start": time.time()})
    except Exception:
        traceback.print_exc()
        return 1
    os.chdir(work)
    return run_script(request["argv"])


def read_secrets(where: dict[str, str] | None) -> dict[str, str]:
    """The variables that the service keeps for the run."""
    if where is None:
        return {}
    from databricks.sdk.runtime import dbutils  # the runtime's own

    values: dict[str, str] = json.loads(dbutils.secrets.get(where["scope"], where["key"]))
    return values


def unpack(archive: str, entries: list[list[Any]], work: str) -> str:
    """Make the working directory out of the archive's contents; returns it."""
    for name in ("outputs", "logs"):
        os.makedirs(os.path.join(work, name))
    paths: dict[str, list[list[Any]]] = {}
    for entry in entries:
        paths.setdefault(entry[1], []).append(entry)
    with tarfile.open(archive, mode="r|gz") as packed:
        for member in packed:
            content = packed.extractfile(member)
            first = None
            for path, _, executable in paths.pop(member.name, []) if content else []:
                target = os.path.join(work, *path.split("/"))
                os.makedirs(os.path.dirname(target), exist_ok=True)
                if first is None:
                    with open(target, "wb") as file:
                        shutil.copyfileobj(content, file)  # type: ignore[arg-type]
                    first = target
                else:
                    shutil.copyfile(first, target)
                os.chmod(target, 0o755 if executable else 0o644)
    if paths:
        raise ValueError(f"{archive} lacks contents of {len(paths)} files. Submit the script again.")
    return work


def run_script(argv: list[str]) -> int:
    """Run a script in this process, where the service has its Spark session; returns its exit code."""
    sys.argv[:] = argv
    sys.path.insert(0, os.path.dirname(os.path.abspath(argv[0])))
    before = set(threading.enumerate())
    try:
        runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as ended:
        code = exit_code(ended.code)
    except Ended:
        raise
    except BaseException:
        traceback.print_exc()
        code = 1
    else:
        code = 0
    for thread in set(threading.enumerate()) - before:
        if not thread.daemon:  # Python waits for those at its end
            thread.join()
    return code


def exit_code(code: Any) -> int:
    """The exit code that `sys.exit(code)` gives a process."""
    if code is None or isinstance(code, int):
        return (code or 0) & 0xFF
    print(code, file=sys.stderr)
    return 1


def on_end() -> None:
    """Raise Ended where the service asks the process to end."""

    def end(*_: object) -> None:
        raise Ended

    with suppress(ValueError):  # not the main thread: then the service just ends us
        signal.signal(signal.SIGTERM, end)


class Log:
    """The output of this process and of those that it starts: in a file here, and in parts where the client reads."""

    def __init__(self, local: str, folder: str) -> None:
        self._local, self._folder = local, folder
        self._parts = os.path.join(folder, "log")
        self._offset = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._ship_on, daemon=True)

    def __enter__(self) -> Log:
        os.makedirs(self._parts, exist_ok=True)
        self._streams = sys.stdout, sys.stderr
        self._descriptors = [os.dup(number) for number in (1, 2)]
        sys.stdout.flush()
        sys.stderr.flush()
        file = os.open(self._local, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for number in (1, 2):
            os.dup2(file, number)
        os.close(file)
        # The service may have streams of its own, which lead elsewhere.
        sys.stdout, sys.stderr = stream(1), stream(2)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = self._streams
        for number, kept in enumerate(self._descriptors, 1):
            os.dup2(kept, number)
            os.close(kept)

    def publish(self) -> None:
        """Ship what is left, and the log as a whole."""
        self._done.set()
        self._thread.join()
        self.ship()
        replace_whole(os.path.join(self._folder, "log.txt"), lambda path: shutil.copyfile(self._local, path))

    def ship(self) -> None:
        """Put what is new into parts."""
        with open(self._local, "rb") as log:
            log.seek(self._offset)
            for block in iter(lambda: log.read(MOST_BYTES), b""):
                write_whole(os.path.join(self._parts, f"{self._offset:020d}"), block)
                self._offset += len(block)

    def _ship_on(self) -> None:
        begun = time.monotonic()
        while not self._done.wait(min(max(PAUSE_S[0], (time.monotonic() - begun) / 100), PAUSE_S[1])):
            with suppress(OSError):  # a mount that is away for a moment: the next time
                self.ship()


def stream(descriptor: int) -> TextIO:
    """What is written there goes on at once, as with PYTHONUNBUFFERED."""
    raw = io.FileIO(descriptor, "w", closefd=False)
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


def publish_results(folder: str, local: str) -> None:
    """A tar of what the script has logged and put into outputs/ and logs/; files only."""

    def write(path: str) -> None:
        with open(path, "wb") as file, tarfile.open(fileobj=file, mode="w|") as archive:
            add(archive, os.path.join(local, "logged.jsonl"), "logged.jsonl")
            work = os.path.join(local, "work")
            for part in ("outputs", "logs"):
                for parent, _, files in os.walk(os.path.join(work, part)):
                    for name in sorted(files):
                        inside = os.path.join(parent, name)
                        add(archive, inside, os.path.relpath(inside, work))

    replace_whole(os.path.join(folder, "results.tar"), write)


def add(archive: tarfile.TarFile, path: str, name: str) -> None:
    """Add a file as long as it is now; links and devices are left out."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if stat.S_ISREG(about.st_mode):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = about.st_size, int(about.st_mtime)
            archive.addfile(member, file)


def write_json(path: str, content: Any) -> None:
    """Write a file as a whole."""
    write_whole(path, json.dumps(content).encode())


def write_whole(path: str, content: bytes) -> None:
    """Write a file as a whole."""

    def write(making: str) -> None:
        with open(making, "wb") as file:
            file.write(content)

    replace_whole(path, write)


def replace_whole(path: str, write: Any) -> None:
    """Let `write` make a file, and show it once it is complete."""
    making = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.part")
    write(making)
    os.replace(making, path)


if __name__ == "__main__":
    if ended := main(sys.argv[1:]):  # a service may take any SystemExit for a failure
        sys.exit(ended)
