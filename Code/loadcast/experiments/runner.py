"""Whoever runs scripts on a target: the agent on a machine, or the client of a managed service.

A run is named by the id that its record has; whatever names the target has for it itself, the runner finds them by
that id. So a run can be asked for by another process than the one that started it, after any end of that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from loadcast.experiments.agent.state import State
from loadcast.experiments.snapshot_files import SnapshotFile
from loadcast.progress import Progress

#: Takes what a target says, as it says it.
Say = Callable[[bytes], object]


@dataclass(frozen=True)
class Recipe:
    """How a target comes to have an environment: its name, which its content gives, and what the runner is told."""

    name: str
    spec: Mapping[str, Any]


class Runner(Protocol):
    """Runs scripts on one target. Every call may raise a LoadcastError; none of them changes a run that has ended."""

    @property
    def name(self) -> str:
        """What people call it: the machine, or the service and its address."""

    def facts(self) -> dict[str, str]:
        """What the target has that scripts may need, by name, and with it whether it can be reached."""

    def prepare(self, recipe: Recipe, progress: Progress, say: Say) -> bool:
        """Make an environment, unless it is there: then False. Raises EnvironmentNotReadyError where it fails."""

    def send(self, project: Path, files: Iterable[SnapshotFile]) -> int:
        """Send the contents that the target lacks; returns how many bytes these have."""

    def start(self, run: str, request: Mapping[str, Any], secrets: Mapping[str, str]) -> State:
        """Start a run, once, however often this is called; returns its state. `secrets` may stand in no file there."""

    def states(self, runs: Iterable[str]) -> dict[str, State | None]:
        """The states of runs; None for one that was never started here."""

    def cancel(self, run: str) -> State:
        """End a run, so that nothing of it is left; returns its state."""

    def follow(self, run: str) -> Iterator[bytes]:
        """The log as it is written, to the run's end, whatever happens to the connection."""

    def log_so_far(self, run: str) -> Iterator[bytes]:
        """The log as it is now, in parts: it may be larger than the memory."""

    def collect(self, run: str, folder: Path) -> None:
        """Bring an ended run's files into a folder: `log`, `logged.jsonl`, `outputs/` and `logs/`, those there are."""
