"""A backtest, shown: its folds beside the best naive forecasts, how sure the lift is, and who loses by the model."""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from loadcast.artefacts.backtest import Backtest, FoldScores, Lift, ServersBelow
from loadcast.printable import printable
from loadcast.report.run import forecast_name
from loadcast.report.tables import empty_table, print_page

_WORST = 10
_SHOWN_HORIZONS = (1, 3, 6, 12, 24, 36, 48)
_VERDICTS = {"better": "better than naive", "worse": "worse than naive", "tie": "a tie", "unknown": "not known"}


def show_backtest(backtest: Backtest, console: Console) -> None:
    """Print the page."""
    about = (
        f"{backtest.feature_set} + {backtest.model}, labelRule {backtest.label_rule}: {len(backtest.folds)} folds of "
        f"{backtest.step_days} days before {backtest.test_split_start}, {backtest.servers.number:,} servers"
    )
    print_page(
        console,
        f"Backtest of {about}",
        (_folds(backtest), _horizons(backtest), _lifts(backtest), *_servers(backtest)),
        backtest.warning,
    )


def _folds(backtest: Backtest) -> Table:
    table = empty_table("Scores by fold", "scored from", ">trained on", ">rows", *_MEASURES, ">log-loss", ">ECE")
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
    table = empty_table("Accuracy by horizon", ">hours ahead", ">rows", ">accuracy", ">best naive", ">lift", "over")
    for one in backtest.by_horizon:
        if one.horizon_hours in _SHOWN_HORIZONS:
            best = max(one.naive, key=lambda name: one.naive[name])
            naive, lift = one.naive[best], one.accuracy - one.naive[best]
            numbers = (f"{one.accuracy:.3f}", f"{naive:.3f}", f"{lift:+.3f}")
            table.add_row(str(one.horizon_hours), f"{one.rows:,}", *numbers, forecast_name(best))
    return table


def _lifts(backtest: Backtest) -> Table:
    title = "Lift over the best naive forecast, all folds"
    table = empty_table(title, "", ">lift", ">95 % of resamples", "so it is", "over")
    for name, lift in (("accuracy", backtest.lift.accuracy), ("macro-F1", backtest.lift.macro_f1)):
        table.add_row(name, f"{lift.lift:+.3f}", _interval(lift), _VERDICTS[lift.verdict], forecast_name(lift.over))
    return table


def _interval(lift: Lift) -> str:
    return "–" if lift.low is None or lift.high is None else f"{lift.low:+.3f} … {lift.high:+.3f}"


def _servers(backtest: Backtest) -> list[RenderableType]:
    """How many servers lose by the model, and the worst of them."""
    servers = backtest.servers
    lines = [Text(_below(servers, "their own best naive forecast, chosen in hindsight"))]
    if before := servers.chosen_before:
        lines.append(Text(_below(before, "the naive forecast that was their best on all folds before")))
    worst = [server for server in servers.listed if server.lift < 0][:_WORST]
    if not worst:
        return [*lines]
    table = empty_table("The worst servers", "server", ">rows", ">accuracy", ">own best naive", ">lift", "over")
    for server in worst:
        numbers = (f"{server.accuracy:.3f}", f"{server.naive_accuracy:.3f}", f"{server.lift:+.3f}")
        table.add_row(Text(printable(server.server)), f"{server.rows:,}", *numbers, forecast_name(server.best_naive))
    return [*lines, table]


def _below(servers: ServersBelow, naive: str) -> str:
    typical = servers.median_lift_of_below
    return (
        f"{servers.below:,} of {servers.number:,} servers lie below {naive}"
        + (f" (the median of these by {-typical:.3f})" if typical is not None else "")
        + f", {servers.clearly_below:,} ({servers.clearly_below_share:.0%}) by more than 2 points; "
        f"the median of all servers is {servers.median_lift:+.3f}."
    )
