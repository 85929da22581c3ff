"""What is kept here and nothing needs any more: listed with its size, and removed.

Several projects may share one BASE. What is removed was put here by the project that asks, or by nobody that still has
a run here: a run's request says whose it is, marks beside environments say who has asked for them, and contents of
files are needed as long as any run's request names them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from .environments import environment_folder
from .images import has_image, image_name
from .shipping import remove_archive
from .state import CANCELLED, COMPLETED, FAILED, lock, open_lock_file, run_folder, state_of

_DAY_S = 86_400.0
#: What is lost is not: it may have left something elsewhere.
_DONE = (COMPLETED, FAILED, CANCELLED)


def mark_needed(base: str, name: str, owner: str) -> None:
    """Note that a project needs an environment, now."""
    if owner:
        path = os.path.join(_marks(base), f"{os.path.basename(environment_folder(base, name))}.{owner}")
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(path, "a"):
            os.utime(path)


def prune(base: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """What nothing needs: [{"kind", "name", "bytes"}…], removed unless `dryRun`.

    `asked`: {"owner": project, "known": [its runs], "keep": [those that stay], "environments": [those it needs],
    "days": days since the end of a run, or since somebody asked for the other things, "dryRun": whether to look only}.
    """
    since = time.time() - _DAY_S * asked["days"]
    removed: list[dict[str, Any]] = []
    gone: set[str] = set()
    for name in _runs(base):
        if _is_done(base, name, asked, since):
            taken = _taken(run_folder(base, name), "run", name, asked["dryRun"])
            if taken:
                gone.add(name)
                removed.append(taken)
    left = [name for name in _runs(base) if name not in gone]
    removed += _blobs(base, left, since, asked["dryRun"])
    removed += _environments(base, left, asked, since)
    return removed


def _runs(base: str) -> list[str]:
    folder = os.path.join(base, "runs")
    return sorted(name for name in os.listdir(folder) if name[0] != ".") if os.path.isdir(folder) else []


def _is_done(base: str, name: str, asked: dict[str, Any], since: float) -> bool:
    """Whether a run of the project has ended long ago. What is lost may have left something: it is cancelled first."""
    folder = run_folder(base, name)
    state = state_of(folder)
    if state is None or name in asked["keep"] or state["state"] not in _DONE:
        return False
    is_its_own = name in asked["known"] or _request(folder).get("project") == asked["owner"]
    return is_its_own and state.get("end", time.time()) <= since


def _blobs(base: str, runs: list[str], since: float, dry: bool) -> list[dict[str, Any]]:
    """Contents that no run names, all at once: there are thousands."""
    needed = {name for run in runs for _, name, _ in _request(run_folder(base, run)).get("entries", [])}
    number, size = 0, 0
    for parent, _, files in os.walk(os.path.join(base, "blobs")):
        for name in files:
            about = os.lstat(os.path.join(parent, name))
            if name not in needed and about.st_mtime <= since:
                number, size = number + 1, size + about.st_size
                if not dry:
                    os.unlink(os.path.join(parent, name))
    return [{"kind": "files", "name": f"{number:,} contents", "bytes": size}] if number else []


def _environments(base: str, runs: list[str], asked: dict[str, Any], since: float) -> Iterator[dict[str, Any]]:
    """Environments that this project alone has asked for, and neither needs nor uses."""
    used = [_request_text(run_folder(base, run)) for run in runs if not _has_ended(base, run)]
    for name, owners in _asked_for(base).items():
        is_its_own = set(owners) == {asked["owner"]} and owners[asked["owner"]] <= since
        if not is_its_own or name in asked["environments"] or any(name in text for text in used):
            continue
        folder = environment_folder(base, name)
        if os.path.isdir(folder):
            taken = _taken_environment(base, name, asked)
            if taken and not asked["dryRun"]:
                remove_archive(base, name)
        else:
            taken = _taken_image(name, asked["dryRun"])
        if taken:
            yield taken
            if not asked["dryRun"]:
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(_marks(base), f"{name}.{asked['owner']}"))


def _has_ended(base: str, run: str) -> bool:
    state = state_of(run_folder(base, run))
    return state is None or state["state"] in _DONE


def _taken_environment(base: str, name: str, asked: dict[str, Any]) -> dict[str, Any] | None:
    """An environment, unless it is just being made, or another project has asked for it meanwhile."""
    folder = environment_folder(base, name)
    descriptor = open_lock_file(f"{folder}.lock")
    try:
        if not lock(descriptor) or _asked_for(base).get(name, {}).keys() != {asked["owner"]}:
            return None
        return _taken(folder, "environment", name, asked["dryRun"])
    finally:
        os.close(descriptor)


def _asked_for(base: str) -> dict[str, dict[str, float]]:
    """Which environments were asked for, by which projects, and when last: seconds since 1970."""
    asked: dict[str, dict[str, float]] = {}
    for file in sorted(os.listdir(_marks(base))) if os.path.isdir(_marks(base)) else ():
        name, _, owner = file.partition(".")
        asked.setdefault(name, {})[owner] = os.stat(os.path.join(_marks(base), file)).st_mtime
    return asked


def _taken_image(name: str, dry: bool) -> dict[str, Any] | None:
    """An image; docker leaves one alone that a container has."""
    if not has_image(name):
        return None
    image = image_name(name)
    said = _docker("image", "inspect", "--format", "{{.Size}}", image)
    removed = dry or _docker("image", "rm", image) is not None
    return {"kind": "image", "name": name, "bytes": int(said or 0)} if removed else None


def _docker(*words: str) -> str | None:
    done = subprocess.run(["docker", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def _taken(folder: str, kind: str, name: str, dry: bool) -> dict[str, Any] | None:
    """A folder's size; it is gone at once for everybody else, unless `dry`."""
    size = sum(os.lstat(os.path.join(parent, file)).st_size for parent, _, files in os.walk(folder) for file in files)
    if not dry:
        going = os.path.join(os.path.dirname(folder), f".removing-{name}-{os.getpid()}")
        os.rename(folder, going)
        shutil.rmtree(going, ignore_errors=True)
        if os.path.exists(going):  # files of another user's, such as a container's root
            os.rename(going, folder)
            return None
    return {"kind": kind, "name": name, "bytes": size}


def _request(folder: str) -> dict[str, Any]:
    content = json.loads(_request_text(folder) or "{}")
    return content if isinstance(content, dict) else {}


def _request_text(folder: str) -> str:
    path = os.path.join(folder, "request.json")
    if not os.path.isfile(path):
        return ""
    with open(path, encoding="utf-8") as file:
        return file.read()


def _marks(base: str) -> str:
    return os.path.join(base, "needed")
