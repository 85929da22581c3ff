"""Published runs, wherever they are kept: their names, which of them are kept, which one a rollback leads to."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from loadcast.errors import ArtefactError

_KEPT = 2
_NAME = re.compile(r"\d{8}T\d{12}Z-[0-9a-f]{6}")
_TIME_FORMAT = "%Y%m%dT%H%M%S%fZ"


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
        """When it was begun, UTC."""
        return datetime.strptime(self.name.partition("-")[0], _TIME_FORMAT).replace(tzinfo=UTC)


def new_run_name() -> str:
    """A name for a run begun now; names sort by time."""
    return datetime.now(UTC).strftime(f"{_TIME_FORMAT}-") + secrets.token_hex(3)


def is_run_name(text: str) -> bool:
    """Whether a text may be a run's name."""
    return _NAME.fullmatch(text) is not None


def kept_runs(runs: Iterable[PublishedRun]) -> list[PublishedRun]:
    """Those that stay: the last two, the last two with a model, and all that links lead to."""
    standing = sorted((run for run in runs if not run.withdrawn), key=lambda run: run.name)
    last = {*standing[-_KEPT:], *[run for run in standing if run.has_model][-_KEPT:]}
    return [run for run in runs if run in last or run.is_current or run.is_model]


def never_published(runs: Iterable[PublishedRun]) -> list[PublishedRun]:
    """Complete runs that were killed before a link led to them: newer than the current one, and not rolled back."""
    known = list(runs)
    newest = next((run.name for run in known if run.is_current), "")
    return [run for run in known if run.name > newest and not run.withdrawn]


def run_before(runs: Sequence[PublishedRun], shown: str) -> tuple[PublishedRun, PublishedRun | None]:
    """The run before the current one, and the newest with a model up to it (None: there is none).

    Raises ArtefactError where none stands before it; `shown` says in messages where the runs are.
    """
    current = next((run for run in runs if run.is_current), None)
    if current is None:
        raise ArtefactError(f"{shown} holds no published run.")
    before = sorted((run for run in runs if run.name < current.name and not run.withdrawn), key=lambda run: run.name)
    if not before:
        raise ArtefactError(f"{shown} holds no run before the current one, {current.name}; there is nothing to go to.")
    models = [run for run in before if run.has_model]
    return before[-1], models[-1] if models else None
