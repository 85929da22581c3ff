"""A backtest, shown: its folds beside the best naive forecasts, how sure the lift is, and who loses by the model."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from loadcast.artefacts.backtest import Backtest, FoldScores, Lift
from loadcast.printable import printable
from loadcast.report.run import forecast_name

_WORST = 10
_SHOWN_HORIZONS = (1, 3, 6, 12, 24, 36, 48)
_VERDICTS = {"better": "better than naive", "worse": "worse than naive", "tie": "a tie", "unknown": "not known"}


def show_backtest(backtest: Backtest, console: Console) -> None:
    """Print the page."""
    about = (
        f"{backtest.feature_set} + {backtest.model}, labelRule {backtest.label_rule}: {len(backtest.folds)} folds of "
        f"{backtest.step_days} days before {backtest.test_split_start}, {backtest.servers.number:,} servers"
    )
    console.print(Text(f"Backtest of {printable(about)}", style="bold"), soft_wrap=True)
    for part in (_folds(backtest), _horizons(backtest), _lifts(backtest), *_servers(backtest)):
        console.print()
        console.print(part, soft_wrap=isinstance(part, Text))
    if backtest.warning:
        console.print(Text(f"Warning: {backtest.warning}", style="yellow"), soft_wrap=True)


def _folds(backtest: Backtest) -> Table:
    table = _table("Scores by fold", "scored from", ">trained on", ">rows", *_MEASURES, ">log-loss", ">ECE")
    for fold in backtest.folds:
        table.add_row(printable(fold.test_begin), f"{fold.training_rows:,}", *_scores(fold))
    table.add_row("all folds", "", *_scores(backtest.total), style="bold")
    return table


_MEASURES = (">accuracy", ">best naive", ">macro-F1", ">best naive")


def _scores(scores: FoldScores) -> list[str]:
    best = scores.best_naive
    values = (
        scores.accuracy,
        scores.naive[best.accuracy].accuracy,
        scores.macro_f1,
        scores.naive[best.macro_f1].macro_f1,
        scores.log_loss,
        scores.expected_calibration_error,
    )
    return [f"{scores.rows:,}", *("–" if value is None else f"{value:.3f}" for value in values)]


def _horizons(backtest: Backtest) -> Table:
    """Some horizons, each beside the naive forecast that is the best there."""
    table = _table("Accuracy by horizon", ">hours ahead", ">rows", ">accuracy", ">best naive", ">lift", "over")
    for one in backtest.by_horizon:
        if one.horizon_hours in _SHOWN_HORIZONS:
            best = max(one.naive, key=lambda name: one.naive[name])
            naive, lift = one.naive[best], one.accuracy - one.naive[best]
            numbers = (f"{one.accuracy:.3f}", f"{naive:.3f}", f"{lift:+.3f}")
            table.add_row(str(one.horizon_hours), f"{one.rows:,}", *numbers, forecast_name(best))
    return table


def _lifts(backtest: Backtest) -> Table:
    title = "Lift over the best naive forecast, all folds"
    table = _table(title, "", ">lift", ">95 % of resamples", "so it is", "over")
    for name, lift in (("accuracy", backtest.lift.accuracy), ("macro-F1", backtest.lift.macro_f1)):
        table.add_row(name, f"{lift.lift:+.3f}", _interval(lift), _VERDICTS[lift.verdict], forecast_name(lift.over))
    return table


def _interval(lift: Lift) -> str:
    return "–" if lift.low is None or lift.high is None else f"{lift.low:+.3f} … {lift.high:+.3f}"


def _servers(backtest: Backtest) -> list[RenderableType]:
    """How many servers lose by the model, and the worst of them."""
    servers = backtest.servers
    typical = servers.median_lift_of_below
    line = (
        f"{servers.below:,} of {servers.number:,} servers lie below their own best naive forecast"
        + (f" (the median of these by {-typical:.3f})" if typical is not None else "")
        + f", {servers.clearly_below:,} ({servers.clearly_below_share:.0%}) by more than 2 points; "
        f"the median of all servers is {servers.median_lift:+.3f}."
    )
    worst = [server for server in servers.listed if server.lift < 0][:_WORST]
    if not worst:
        return [Text(line)]
    table = _table("The worst servers", "server", ">rows", ">accuracy", ">own best naive", ">lift", "over")
    for server in worst:
        numbers = (f"{server.accuracy:.3f}", f"{server.naive_accuracy:.3f}", f"{server.lift:+.3f}")
        table.add_row(Text(printable(server.server)), f"{server.rows:,}", *numbers, forecast_name(server.best_naive))
    return [Text(line), table]


def _table(title: str, *columns: str) -> Table:
    """An empty table; `>` before a column's name is for numbers."""
    table = Table(title=Text(title, style="bold"), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left", overflow="fold")
    return table
