"""What came of a run: its name and address, its steps with their times, what it read and how well it forecasts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BeforeValidator, PlainSerializer

from loadcast import paths
from loadcast.artefacts.contest import Contest
from loadcast.artefacts.document import Artefact, Migration, Part, Real, unchanged
from loadcast.artefacts.metrics import Metrics
from loadcast.artefacts.quality import Quality
from loadcast.run_logger import clean_name
from loadcast.run_request import Step

Kind = TypeVar("Kind", bound=Artefact)


@dataclass(frozen=True)
class Published:
    """What a step has published: the run's name, the output as messages show it, and its report.

    `contest`: how a new model fared against the last good one, where that was asked for and there was one.
    """

    run: str
    output: str
    quality: Quality | None = None
    metrics: Metrics | None = None
    contest: Contest | None = None


class StepTime(Part):
    """A step of a run, as its progress is titled, and how long it took."""

    title: str
    duration_s: Real

    @property
    def name(self) -> str:
        """The title's first word, such as `scanning`: it says what is done, whatever the data."""
        return self.title.partition(" ")[0].lower()


def _artefact(kind: type[Kind]) -> BeforeValidator:
    """Read an artefact within another, also in an older format."""
    return BeforeValidator(lambda value: kind.from_document(value) if isinstance(value, dict) else value)


_WithVersion = PlainSerializer(lambda artefact: None if artefact is None else artefact.document())


class RunResult(Artefact):
    """A run that was published.

    `output` is where it was published, a path or URL without secrets; `address` the run itself there. `begun` is UTC,
    by the clock of the machine that ran it. ETL and statistics have a `quality`, training has `metrics`, and, where
    it was compared with the last good model, a `contest`. `request` is the digest of the RunRequest.
    """

    FILE: ClassVar[str] = "result.json"
    VERSION: ClassVar[int] = 2
    FIRST: ClassVar[int] = 1
    MIGRATIONS: ClassVar[Mapping[int, Migration]] = {1: unchanged}
    REMEDY: ClassVar[str] = "Run again."

    step: Step
    request: str
    run: str
    output: str
    begun: datetime
    duration_s: Real
    steps: tuple[StepTime, ...]
    quality: Annotated[Quality | None, _artefact(Quality), _WithVersion] = None
    metrics: Annotated[Metrics | None, _artefact(Metrics), _WithVersion] = None
    contest: Contest | None = None

    @property
    def address(self) -> str:
        """Where the run lies: a path or URL without secrets."""
        return f"{self.output.rstrip('/')}/{paths.run_path(self.run)}"

    def numbers(self) -> dict[str, float]:
        """Scores, counts of the input under `quality/`, and seconds as of `step_seconds`."""
        return {
            **(self.metrics.numbers() if self.metrics else {}),
            **(self.contest.numbers() if self.contest else {}),
            **{f"quality/{name}": count for name, count in (self.quality.numbers() if self.quality else {}).items()},
            **step_seconds(self.steps, self.duration_s),
        }

    def document(self) -> dict[str, Any]:
        return {**super().document(), "begun": self.begun.isoformat()}


def step_seconds(steps: Iterable[StepTime], total_s: float) -> dict[str, float]:
    """Seconds in all, `seconds/total`, and by step, such as `seconds/scanning`; those of one name count together."""
    seconds = defaultdict(float, total=total_s)
    for step in steps:
        seconds[clean_name(step.name)] += step.duration_s
    return {f"seconds/{name}": duration_s for name, duration_s in seconds.items()}
