"""A tuning, shown: its trials, the best first, how surely they are better, and what to put into the configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from loadcast.artefacts.tuning import Gain, Tuning, TuningTrial
from loadcast.printable import printable
from loadcast.report.run import forecast_name
from loadcast.report.tables import empty_table, print_page

_MOST_ROWS = 15
_AS_IT_IS = "the configuration as it is"
_VERDICTS = {"better": "better", "worse": "worse", "tie": "a tie", "unknown": "not known"}


def show_tuning(tuning: Tuning, console: Console) -> None:
    """Print the page."""
    about = (
        f"{tuning.feature_set} + {tuning.model}, labelRule {tuning.label_rule}: {len(tuning.folds)} folds of "
        f"{tuning.step_days} days before {tuning.test_split_start}"
    )
    print_page(console, f"Tuning of {about}", (_tried(tuning), *_tables(tuning), *_findings(tuning)), tuning.warning)


def _tried(tuning: Tuning) -> Text:
    tried = tuning.tried
    parts = [f"{tried.complete:,} on all folds", f"{tried.stopped:,} given up after the newest"]
    if tried.unfinished:
        parts.append(f"{tried.unfinished:,} not to their end")
    line = f"Tried {tried.drawn - tried.untried:,} of {tried.drawn:,} settings: {', '.join(parts)}."
    if tried.drawn < tried.asked:
        line += f" There are no {tried.asked:,} different ones in this space."
    if tried.untried or tried.unfinished:
        line += " Time was up before the others; the same command goes on with them."
    return Text(line)


def _tables(tuning: Tuning) -> list[RenderableType]:
    complete = [trial for trial in tuning.trials if trial.state == "complete"]
    others = [trial for trial in tuning.trials if trial.state != "complete"]
    return [make(rows) for make, rows in ((_complete, complete), (_others, others)) if rows]


def _complete(trials: list[TuningTrial]) -> Table:
    """Trials on all folds: at most _MOST_ROWS, but the configuration always."""
    table = empty_table(
        "Settings on all folds, the best first",
        *(">trial", ">log-loss", ">saved", ">95 % of resamples", "so it is", ">better on", ">accuracy"),
        *(">over best naive", ">macro-F1", ">ECE", "what differs"),
    )
    shown = [trial for rank, trial in enumerate(trials) if rank < _MOST_ROWS or trial.number == 0]
    for trial in shown:
        table.add_row(*_cells(trial), style="bold" if trial.number == 0 else "")
    if len(shown) < len(trials):
        table.caption = f"and {len(trials) - len(shown):,} more: --json has them all"
        table.caption_justify = "left"
    return table


def _cells(trial: TuningTrial) -> list[str]:
    total = trial.total
    if total is None:
        return [str(trial.number)]
    gain = trial.gains.log_loss if trial.gains else None
    verdict = ["", "", "", ""]
    if gain is not None:
        folds = f"{trial.better_folds} of {len(trial.folds)}"
        verdict = [f"{gain.gain:+.4f}", _interval(gain), _VERDICTS[gain.verdict], folds]
    return [
        str(trial.number),
        f"{total.log_loss:.4f}",
        *verdict,
        _score(total.accuracy),
        f"{total.lift_over_best_naive.accuracy:+.3f}",
        _score(total.macro_f1),
        f"{total.expected_calibration_error:.3f}",
        _differs(trial),
    ]


def _others(trials: list[TuningTrial]) -> Table:
    table = empty_table(
        "Given up, or not to their end: newest fold", ">trial", ">log-loss", ">accuracy", "what differs"
    )
    for trial in trials[:_MOST_ROWS]:
        newest = trial.folds[-1]
        table.add_row(str(trial.number), f"{newest.log_loss:.4f}", f"{newest.accuracy:.3f}", _differs(trial))
    if len(trials) > _MOST_ROWS:
        table.caption = f"and {len(trials) - _MOST_ROWS:,} more"
        table.caption_justify = "left"
    return table


def _findings(tuning: Tuning) -> Iterator[Text]:
    """What is to be done, in words."""
    base, chosen = tuning.base, tuning.chosen
    if base is not None and base.total is not None:
        best = base.total.best_naive.accuracy
        yield Text(
            f"The best naive forecast of these rows has an accuracy of {_score(base.total.naive[best].accuracy)} "
            f"({forecast_name(best)})."
        )
    if chosen is None or chosen.total is None or base is None or base.total is None:
        yield Text("Nothing clearly better was found: the configuration stays as it is.", style="bold")
        return
    yield Text(
        f"Trial {chosen.number} is better than the configuration: log-loss {chosen.total.log_loss:.4f} instead of "
        f"{base.total.log_loss:.4f}. It was chosen for that, so expect a little less. Put into the configuration:",
        style="bold",
    )
    yield Text(_as_keys(chosen.changes))


def _as_keys(changes: Mapping[str, Any]) -> str:
    """Keys and values as they stand in a configuration."""
    return ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in changes.items())


def _differs(trial: TuningTrial) -> str:
    if not trial.number:
        return _AS_IT_IS
    return printable(", ".join(f"{key} {value}" for key, value in _flat(trial.changes)))


def _flat(changes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in changes.items():
        if isinstance(value, Mapping):
            yield from value.items()
        else:
            yield key, value


def _interval(gain: Gain) -> str:
    return "–" if gain.low is None or gain.high is None else f"{gain.low:+.4f} … {gain.high:+.4f}"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
