"""Containers that share no folder with their machine: files are copied in before the script, and results out after."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Sequence

from .state import Refused, run_folder, write_below

#: Where a container has the run's folder.
COPIED = "/loadcast-run"
_RESULTS = ("logged.jsonl", "work/outputs", "work/logs")


def run_copied(base: str, run: str, words: Sequence[str]) -> int:
    """Run a container, `words` being what follows `docker create`; returns its script's exit code.

    Results come back however the script has ended. Raises Refused where docker fails.
    """
    # A handler, unlike SIG_IGN, is not inherited: docker hands the signal on to the script, whose results then come.
    signal.signal(signal.SIGTERM, lambda *_: None)
    made = subprocess.run(["docker", "create", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    if made.returncode:
        raise Refused(f"docker create ended with {made.returncode}; what it said stands above")
    container = made.stdout.decode().split()[-1]
    try:
        _copy_in(run_folder(base, run), container)
        sys.stdout.flush()
        code = subprocess.run(["docker", "start", "--attach", container], stdin=subprocess.DEVNULL).returncode
        for name in _RESULTS:
            _copy_out(run_folder(base, run), container, name)
        return code
    finally:
        subprocess.run(["docker", "rm", "--force", container], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _copy_in(folder: str, container: str) -> None:
    """The working directory, for whoever the image's user is."""
    with subprocess.Popen(["docker", "cp", "-", f"{container}:/"], stdin=subprocess.PIPE) as copying:
        assert copying.stdin is not None
        with copying.stdin as pipe, tarfile.open(fileobj=pipe, mode="w|") as archive:
            archive.addfile(_for_all(_folder(COPIED[1:])))
            archive.add(os.path.join(folder, "work"), f"{COPIED[1:]}/work", filter=_for_all)
    if copying.returncode:
        raise Refused(f"docker cp into the container ended with {copying.returncode}; what it said stands above")


def _folder(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    return member


def _for_all(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mode |= 0o777 if member.isdir() else 0o666
    return member


def _copy_out(folder: str, container: str, name: str) -> None:
    """A file, or the files of a folder; links and devices stay there, and so does what is not there."""
    words, quiet = ["docker", "cp", f"{container}:{COPIED}/{name}", "-"], subprocess.DEVNULL
    with subprocess.Popen(words, stdin=quiet, stdout=subprocess.PIPE, stderr=quiet) as copying:
        assert copying.stdout is not None
        try:
            with tarfile.open(fileobj=copying.stdout, mode="r|") as archive:
                for member in archive:
                    content = archive.extractfile(member) if member.isfile() else None
                    if content is not None:
                        write_below(os.path.join(folder, os.path.dirname(name)), member.name, content)
        except tarfile.ReadError:
            pass  # an empty answer: the script has removed it, or never wrote it
