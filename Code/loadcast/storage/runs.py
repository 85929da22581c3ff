"""Published runs, wherever they are kept: their names, their records, their order, and which of them stay.

The last file written of a run is its record. It holds the names of the runs that were published before it, in order,
so that the run that `current` names tells the whole order of publishing. Names are made of a clock, and decide nothing.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from loadcast.logs.events import RUN, log_event

_KEPT = 2
_NAME = re.compile(r"\d{8}T\d{12}Z-[0-9a-f]{6}")
_TIME_FORMAT = "%Y%m%dT%H%M%S%fZ"
_FORMAT = 1

#: Names of artefacts by the link that leads to their run, such as `current`.
Wanted = Mapping[str, Iterable[str]]


@dataclass(frozen=True)
class PublishedRun:
    """A complete run: its name, whether it has a forest, was rolled back, and which links lead to it."""

    name: str
    has_model: bool = False
    withdrawn: bool = False
    is_current: bool = False
    is_model: bool = False

    @property
    def begun(self) -> datetime:
        """When it was begun, UTC, by the clock of the machine that made it."""
        return datetime.strptime(self.name.partition("-")[0], _TIME_FORMAT).replace(tzinfo=UTC)


@dataclass(frozen=True)
class Entry:
    """A run in the order of publishing."""

    name: str
    has_model: bool = False


@dataclass(frozen=True)
class StoredRun:
    """What a listing shows of one run. One that is not complete was never published."""

    name: str
    is_complete: bool
    has_model: bool = False
    withdrawn: bool = False

    @property
    def entry(self) -> Entry:
        """The run as one of those that were published."""
        return Entry(self.name, self.has_model)


@dataclass(frozen=True)
class Record:
    """What is written last of a run: what it consists of, and what was published before it.

    `sequence` is one more than that of the run before. `published` are the runs that stay when this one is published,
    oldest first, itself last. `files` are names below the run, with `/`, and their sizes in bytes.
    """

    sequence: int = 0
    published: tuple[Entry, ...] = ()
    files: Mapping[str, int] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The record as it is stored: JSON."""
        published = [{"run": entry.name, "model": entry.has_model} for entry in self.published]
        content = {"format": _FORMAT, "sequence": self.sequence, "published": published, "files": dict(self.files)}
        return json.dumps(content, indent=1).encode()


def parse_record(data: bytes) -> Record | None:
    """The record that was stored; None for runs of versions that wrote none, and where it is damaged."""
    try:
        content: Any = json.loads(data)
        published = tuple(Entry(str(item["run"]), bool(item["model"])) for item in content["published"])
        files = {str(name): int(size) for name, size in content["files"].items()}
        record = Record(int(content["sequence"]), published, files)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return record if published and all(is_run_name(entry.name) for entry in published) else None


def new_run_name() -> str:
    """A name for a run begun now."""
    return datetime.now(UTC).strftime(f"{_TIME_FORMAT}-") + secrets.token_hex(3)


def log_published(name: str, shown: str, has_model: bool) -> None:
    """Log that a run is there for all to see."""
    log_event(RUN, logging.INFO, "publish", "A run was published.", name=name, output=shown, model=has_model)


def is_run_name(text: str) -> bool:
    """Whether a text may be a run's name."""
    return _NAME.fullmatch(text) is not None


def kept_runs(published: Sequence[Entry]) -> tuple[Entry, ...]:
    """Those that stay, of runs in the order of publishing: the last two, and the last two with a model."""
    kept = {*published[-_KEPT:], *[entry for entry in published if entry.has_model][-_KEPT:]}
    return tuple(entry for entry in published if entry in kept)


def newest_model(published: Sequence[Entry]) -> Entry | None:
    """The last run with a model."""
    return next((entry for entry in reversed(published) if entry.has_model), None)


def order_without_record(stored: Iterable[StoredRun], current: str, model: str | None) -> tuple[Entry, ...]:
    """The order of publishing where the current run has no record: an older version has published it.

    That version went by names. Runs whose name is later are left out, as they may never have been published; but the
    one that `model` names was.
    """
    known = list(stored)
    standing = [run for run in known if run.is_complete and not run.withdrawn and run.name < current]
    order = sorted((run.entry for run in standing), key=lambda entry: entry.name)
    if model is not None and model > current:
        order.append(Entry(model, has_model=True))
    newest = next((run.entry for run in known if run.name == current), Entry(current, model == current))
    return (*order, newest)
