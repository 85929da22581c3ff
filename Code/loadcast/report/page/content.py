"""What the report of a run is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from loadcast.artefacts.info import Info
from loadcast.artefacts.metrics import Metrics
from loadcast.artefacts.quality import Quality
from loadcast.kernels.hour_strips import Strip
from loadcast.kernels.load_profile import LoadProfile
from loadcast.kernels.server_scores import ServerScore, ServerScores

#: How many servers are shown, of the most and of the least accurate.
SHOWN_SERVERS = 10
#: The hours of a strip, at most: two weeks.
STRIP_HOURS = 14 * 24


@dataclass(frozen=True)
class Importance:
    """The share of each feature in what the model has learned, or why there is none."""

    shares: Mapping[str, float] | None
    why_not: str = ""


@dataclass(frozen=True)
class ReportContent:
    """What is known of a run; what a run does not have is None.

    `shown` names the output. `strips` are of the servers in `best` and `worst`, the most telling first.
    """

    shown: str
    run: str
    info: Info
    quality: Quality | None = None
    metrics: Metrics | None = None
    profile: LoadProfile | None = None
    scores: ServerScores | None = None
    best: Sequence[ServerScore] = ()
    worst: Sequence[ServerScore] = ()
    strips: Mapping[str, Strip] = field(default_factory=dict)
    importance: Importance | None = None


def best_and_worst(scores: Sequence[ServerScore]) -> tuple[list[ServerScore], list[ServerScore]]:
    """The first and the last of servers in order, the last one first; none stands in both."""
    n_best = min(SHOWN_SERVERS, (len(scores) + 1) // 2)
    n_worst = min(SHOWN_SERVERS, len(scores) - n_best)
    return list(scores[:n_best]), list(scores[len(scores) - n_worst :][::-1])
