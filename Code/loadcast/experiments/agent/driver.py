"""Runs a script on a node of a cluster, as its Spark driver, and sends home what it says and leaves.

A file of its own: spark-submit sends it, with the job (`job.json`) and the project (`project/`) beside it. See
receiving.py for what is said over the connection.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import time
from contextlib import suppress
from typing import Any

#: Seconds that home is looked for, before it was there once and after the script's end; pauses; a sign of life.
_PATIENCE_S, _PAUSE_S, _ALIVE_S = 300.0, 1.0, 20.0
_POLL_S = 0.1
#: Variables that tell of the secrets' other half, and of compiled kernels (compiled_cache.py of loadcast).
SEALED_VARIABLE, COMPILED_VARIABLE = "LOADCAST_SEALED", "LOADCAST_COMPILED"
_BLOCK = 1 << 16


def main() -> int:
    """Run the job; returns the script's exit code."""
    with open("job.json", encoding="utf-8") as file:
        job = json.load(file)
    top = os.getcwd()
    work, log = os.path.join(top, "work"), os.path.join(top, "script.log")
    shutil.copytree("project", work, symlinks=True)  # what is unpacked may be shared with others, and read-only
    for name in ("outputs", "logs"):
        os.makedirs(os.path.join(work, name), exist_ok=True)
    logged = os.path.join(top, "logged.jsonl")
    with open(log, "wb") as output:
        script = subprocess.Popen(
            [sys.executable, *job["words"]],
            cwd=work,
            env=_environment(job, top, logged),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=_end_with_parent,
        )
    signal.signal(signal.SIGTERM, lambda *_: script.kill())
    home = _Home(job, log)
    while script.poll() is None:
        home.send_log()
        time.sleep(_POLL_S)
    code = 128 - script.returncode if script.returncode < 0 else script.returncode
    home.send_end(code, _results(work, logged))
    return code


def other_half(whole: bytes, half: bytes) -> bytes:
    """What makes `whole` with a half of random bytes; of both halves it gives the whole back."""
    return (int.from_bytes(whole, "big") ^ int.from_bytes(half, "big")).to_bytes(len(whole), "big")


def _environment(job: dict[str, Any], top: str, logged: str) -> dict[str, str]:
    """The script's variables; its secrets are in two halves, of which neither says anything."""
    pad, sealed = bytes.fromhex(job["pad"]), bytes.fromhex(os.environ.pop(SEALED_VARIABLE, ""))
    secrets = json.loads(other_half(sealed, pad)) if sealed else {}
    own = {"LOADCAST_RUN_ID": job["run"], "LOADCAST_RUN_LOG": logged, "PYTHONUNBUFFERED": "1"}
    compiled = os.environ.get(COMPILED_VARIABLE)
    if compiled:
        own[COMPILED_VARIABLE] = os.path.join(top, compiled)  # the script works in another folder
    return {**os.environ, "LOADCAST_CACHE": os.path.join(top, "cache"), **own, **job["variables"], **secrets}


def _results(work: str, logged: str) -> io.BufferedRandom:
    """A tar of what the script has left: plain files only."""
    packed: Any = open(os.path.join(os.path.dirname(work), "results.tar"), "w+b")  # noqa: SIM115  # read by the caller
    with tarfile.open(fileobj=packed, mode="w") as archive:
        if os.path.isfile(logged):
            archive.add(logged, "logged.jsonl")
        for part in ("outputs", "logs"):
            for parent, _, files in os.walk(os.path.join(work, part)):
                for name in files:
                    path = os.path.join(parent, name)
                    if os.path.isfile(path) and not os.path.islink(path):
                        archive.add(path, os.path.relpath(path, work))
    packed.seek(0)
    return packed  # type: ignore[no-any-return]


class _Home:
    """The connection to where the script was submitted, made anew when it is lost."""

    def __init__(self, job: dict[str, Any], log: str) -> None:
        self._addresses, self._port, self._token = job["addresses"], job["port"], job["token"].encode()
        self._log = open(log, "rb")  # noqa: SIM115  # to the process's end
        self._connection: socket.socket | None = None
        self._was_there = False
        self._last = time.monotonic()

    def send_log(self) -> None:
        """Send what is new in the log, later where nobody answers. Raises OSError where nobody ever has."""
        try:
            self._send_new()
        except OSError:
            self._connection = None
            if not self._was_there and time.monotonic() > self._last + _PATIENCE_S:
                raise

    def send_end(self, code: int, results: Any) -> None:
        """Send the rest of the log, the results and the exit code, until somebody has them."""
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self._send_new()
                results.seek(0)
                for block in iter(lambda: results.read(_BLOCK), b""):
                    self._frame(b"R", block)
                self._frame(b"X", str(code).encode())
                assert self._connection is not None
                if self._connection.recv(1) == b"K":
                    return
            except OSError:
                if time.monotonic() > until:
                    raise
            self._connection = None
            time.sleep(_PAUSE_S)

    def _send_new(self) -> None:
        if self._connection is None:
            self._connect()
        sent = False
        for block in iter(lambda: self._log.read(_BLOCK), b""):
            self._frame(b"L", block)
            sent = True
        if not sent and time.monotonic() > self._last + _ALIVE_S:
            self._frame(b"A", b"")

    def _frame(self, kind: bytes, data: bytes) -> None:
        assert self._connection is not None
        self._connection.sendall(struct.pack(">cI", kind, len(data)) + data)
        self._last = time.monotonic()

    def _connect(self) -> None:
        error = OSError("no address")
        for address in self._addresses:
            try:
                connection = socket.create_connection((address, self._port), timeout=10)
                connection.settimeout(60)
                connection.sendall(self._token)
                offset = b""
                while len(offset) < 8:
                    block = connection.recv(8 - len(offset))
                    if not block:
                        raise OSError("it does not know us")
                    offset += block
                self._log.seek(struct.unpack(">Q", offset)[0])
                self._connection, self._was_there = connection, True
                return
            except OSError as refused:
                error = refused
        time.sleep(_PAUSE_S)
        raise error


def _end_with_parent() -> None:
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
