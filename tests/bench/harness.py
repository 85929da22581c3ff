"""Contenders measured in turn, each run in a process of its own; medians and ratios."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.contender import WORK_SECONDS
from bench.processes import measure


@dataclass(frozen=True)
class Contender:
    """A command to measure, the name it has in the table, and its environment on top of ours."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One run of a contender.

    Seconds of the whole process and of the work alone (None: unknown), peak memory (see processes.Measured), and what
    it said of itself.
    """

    seconds: float
    work_seconds: float | None
    resident_bytes: int
    proportional_bytes: int | None
    output: str = field(default="", repr=False)

    @property
    def said(self) -> dict[str, Any]:
        """The last line of the output that is a JSON object, or nothing."""
        return last_json(self.output)


def run_contender(contender: Contender, cwd: Path) -> Run:
    """Run a contender once. Raises SystemExit with the end of what it printed if it fails."""
    try:
        measured = measure(list(contender.command), cwd, contender.environment)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"{contender.name} failed with {error.returncode}:\n{str(error.output)[-4_000:]}") from None
    work_seconds = last_json(measured.output).get(WORK_SECONDS)
    return Run(measured.seconds, work_seconds, measured.resident_bytes, measured.proportional_bytes, measured.output)


def last_json(output: str) -> dict[str, Any]:
    """The last line that is a JSON object; an empty one where there is none."""
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            try:
                return dict(json.loads(line))
            except ValueError:
                continue
    return {}


def take_turns(contenders: Sequence[Contender], rounds: int, run: Callable[[Contender], Run]) -> dict[str, list[Run]]:
    """A B C, A B C, …: what slows the machine for a while slows all of them. Runs by the contender's name."""
    runs: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    for number in range(1, rounds + 1):
        for contender in contenders:
            print(f"Round {number} of {rounds}: {contender.name}", file=sys.stderr, flush=True)
            runs[contender.name].append(run(contender))
    return runs


@dataclass(frozen=True)
class Scale:
    """What speeds and ratios refer to: the input's bytes, the cores, and the runs of the reference (ours)."""

    size_bytes: int | None = None
    cores: int = 1
    reference: Sequence[Run] | None = None


@dataclass(frozen=True)
class Summary:
    """A contender's row of the table: medians of its runs.

    Speeds are of the whole process. `ratio` and `work_ratio` are its seconds ÷ the reference's of the same round (the
    median of these), whole and of the work alone: how many times as fast as it the reference is.
    """

    name: str
    seconds: float
    least_seconds: float
    most_seconds: float
    work_seconds: float | None
    megabytes_per_second: float | None
    megabytes_per_second_and_core: float | None
    resident_gigabytes: float
    proportional_gigabytes: float | None
    ratio: float | None
    work_ratio: float | None
    note: str = ""


def summarize(name: str, runs: Sequence[Run], scale: Scale, note: str = "") -> Summary:
    """Medians of a contender's runs, and their ratios to the reference's runs."""
    whole = [run.seconds for run in runs]
    work = [run.work_seconds for run in runs]
    resident = median(run.resident_bytes for run in runs)
    proportional = _median(run.proportional_bytes for run in runs)
    speed = None if scale.size_bytes is None else scale.size_bytes / 1e6 / median(whole)
    reference = scale.reference or []
    return Summary(
        name=name,
        seconds=median(whole),
        least_seconds=min(whole),
        most_seconds=max(whole),
        work_seconds=_median(work),
        megabytes_per_second=speed,
        megabytes_per_second_and_core=None if speed is None else speed / scale.cores,
        resident_gigabytes=resident / 1e9,
        proportional_gigabytes=None if proportional is None else proportional / 1e9,
        ratio=median_ratio(whole, [run.seconds for run in reference]),
        work_ratio=median_ratio(work, [run.work_seconds for run in reference]),
        note=note,
    )


def median_ratio(values: Sequence[float | None], reference: Sequence[float | None]) -> float | None:
    """The median of value ÷ reference, round by round; None where a round lacks one of the two."""
    pairs = list(zip(values, reference, strict=False))
    ratios = [value / base for value, base in pairs if value is not None and base]
    return median(ratios) if ratios and len(ratios) == max(len(values), len(reference)) else None


def _median(values: Iterable[float | None]) -> float | None:
    """The median of those that are known."""
    known = [value for value in values if value is not None]
    return median(known) if known else None
