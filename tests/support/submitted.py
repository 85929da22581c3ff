"""Runs of experiments as submitting them leaves them in a project."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadcast.experiments.locations import SNAPSHOT, blob_path, run_folder
from loadcast.experiments.records import RunRecord, write_record

START = datetime(2026, 11, 30, 2, 19, 44, tzinfo=UTC)
RUN = "20261130T021944-3f9a1c"
OTHER = "20261130T031944-aaaaaa"


def made_up_record(**changes: Any) -> RunRecord:
    """The record of a run that completed."""
    fields: dict[str, Any] = {
        "id": RUN,
        "experiment": "forecast",
        "target": "local",
        "script": "Code/train.py",
        "arguments": ("Config/demo.json",),
        "start": START,
        "end": START.replace(minute=21),
        "state": "completed",
        "exit_code": 0,
        "versions": {"loadcast": "0.1.0", "python": "3.11.7"},
        "submitted_by": "0.1.0",
        **changes,
    }
    return RunRecord(**fields)


def submit(project: Path, code: dict[str, bytes] | None = None, **changes: Any) -> RunRecord:
    """A run in a project, with a snapshot of `code`, path → content."""
    record = made_up_record(**changes)
    write_record(project, record)
    entries = []
    for path, content in (code or {}).items():
        digest = hashlib.sha256(content).hexdigest()
        blob_path(project, digest).parent.mkdir(parents=True, exist_ok=True)
        blob_path(project, digest).write_bytes(content)
        entries.append([path, digest, len(content), path.endswith(".sh")])
    write_manifest(project, record.id, entries)
    return record


def write_manifest(project: Path, run: str, entries: list[Any]) -> None:
    """The manifest of a run's snapshot."""
    manifest = {"formatVersion": 1, "hash": "0" * 64, "entries": entries}
    (run_folder(project, run) / SNAPSHOT).write_text(json.dumps(manifest))
