"""The agent's commands: JSON in, JSON out."""

from __future__ import annotations

import json
import os
import sys
import tarfile
from collections.abc import Callable
from typing import Any

from .applications import end_application
from .blobs import missing_blobs, receive_blobs
from .cluster import run_on_cluster
from .copying import run_copied
from .environments import has_environment, make_environment
from .images import has_image, make_image
from .looking import cancel_run, collect_run, copy_log, follow_log, remove_run, states
from .removing import mark_needed, prune
from .request import NOT_ENDED
from .shipping import environment_archive, pack_environment, ship
from .starting import start_run
from .state import Refused


def main(argv: list[str]) -> int:
    """Run a command; returns the exit code."""
    try:
        base, command, *arguments = argv
        code = _COMMANDS[command](os.path.expanduser(base), *arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the connection is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except (Refused, OSError, ValueError, KeyError, TypeError, tarfile.TarError) as error:
        sys.stderr.write(" ".join(f"{type(error).__name__}: {error}".split("\n")) + "\n")
        return 1
    return code or 0


def _missing(base: str) -> None:
    _answer(missing_blobs(base, json.load(sys.stdin)))


def _receive(base: str) -> None:
    _answer(receive_blobs(base, sys.stdin.buffer))


def _start(base: str, run: str) -> None:
    asked = json.load(sys.stdin)
    _answer(start_run(base, run, asked["request"], asked.get("secrets") or {}))


def _status(base: str, *runs: str) -> None:
    _answer(states(base, runs))


def _follow(base: str, run: str, offset: str) -> None:
    follow_log(base, run, int(offset), sys.stdout.buffer)


def _log(base: str, run: str, offset: str) -> None:
    copy_log(base, run, int(offset), sys.stdout.buffer)


def _cancel(base: str, run: str) -> None:
    _answer(cancel_run(base, run))


def _collect(base: str, run: str) -> None:
    collect_run(base, run, sys.stdout.buffer)


def _remove(base: str, run: str) -> None:
    remove_run(base, run)
    _answer(None)


def _environment(base: str, name: str, spec: str) -> None:
    """Run by a keeper, as scripts are; `spec` is JSON, and says whether it is to be an image, or an archive as well."""
    asked = json.loads(spec)
    print((make_image if asked.get("image") else make_environment)(base, name, asked), flush=True)
    if asked.get("archive"):
        print(ship(base, {name: pack_environment(base, name)})[0][name])


def _container(base: str, run: str, *words: str) -> int:
    """Run by a keeper, in place of the script."""
    return run_copied(base, run, words)


def _prune(base: str) -> None:
    _answer(prune(base, json.load(sys.stdin)))


def _prepared(base: str, name: str, spec: str, owner: str = "") -> None:
    mark_needed(base, name, owner)
    asked = json.loads(spec)
    made = has_image(name) if asked.get("image") else has_environment(base, name)
    _answer(made and (not asked.get("archive") or os.path.exists(environment_archive(base, name))))


def _cluster(base: str, run: str, spec: str) -> int:
    """Run by a keeper, in the script's working directory."""
    return run_on_cluster(base, run, json.loads(spec))


def _end_application(base: str, run: str) -> int:
    try:
        end_application(base, run)
    except Refused as error:
        sys.stderr.write(f"{error}\n")
        return NOT_ENDED
    return 0


def _answer(content: Any) -> None:
    json.dump(content, sys.stdout)
    sys.stdout.write("\n")


_COMMANDS: dict[str, Callable[..., int | None]] = {
    "missing": _missing,
    "receive": _receive,
    "start": _start,
    "status": _status,
    "follow": _follow,
    "log": _log,
    "cancel": _cancel,
    "collect": _collect,
    "remove": _remove,
    "prune": _prune,
    "container": _container,
    "environment": _environment,
    "prepared": _prepared,
    "cluster": _cluster,
    "end-application": _end_application,
}
