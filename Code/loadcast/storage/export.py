"""A model bundle as a folder of its own."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from loadcast import paths
from loadcast.errors import OutputError
from loadcast.storage.publish import open_run

_PARTS = (*paths.BUNDLE_FOLDERS, paths.METRICS, paths.INFO)


def export_bundle(output: Path, dest: Path) -> int:
    """Copy the newest model bundle of an output folder to `dest`; returns its size in bytes.

    A bundle that stands there is replaced once the new one is complete; any other folder that is not empty is refused
    with OutputError. Raises ArtefactError where there is no model.
    """
    run = open_run(output, paths.MODEL)
    if dest.is_dir() and any(dest.iterdir()) and not (dest / paths.INFO).is_file():
        raise OutputError(f"{dest} holds something other than a bundle. Choose another folder, or empty this one.")
    fresh = dest.with_name(f".{dest.name}-{secrets.token_hex(4)}")
    try:
        fresh.mkdir(parents=True)
        for name in _PARTS:
            _copy(run / name, fresh / name)
        size = sum(file.stat().st_size for file in fresh.rglob("*") if file.is_file())
        _replace(dest, fresh)
    except OSError as error:
        raise OutputError(f"Cannot write {dest}: {error.strerror or error}. Choose another folder.") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return size


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def _replace(dest: Path, fresh: Path) -> None:
    old = fresh.with_name(fresh.name + "-old")
    if dest.exists():
        os.replace(dest, old)
    os.replace(fresh, dest)
    shutil.rmtree(old, ignore_errors=True)
