"""What `loadcast monitor` found, as a page for people and as a file for Prometheus' node_exporter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadcast import schema
from loadcast.kernels.tally import MODEL
from loadcast.monitoring.findings import CLASSES_DRIFTED, FEATURE_DRIFTED, Findings, Verdict
from loadcast.printable import printable

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

GATED = "gated"
_SHOWN_FEATURES = 5
_VERDICTS = {
    Verdict.FINE: "Fine: the model answers for the fleet.",
    Verdict.NAIVE_IS_BETTER: "A naive forecast has beaten the model by more than the margin. Train anew.",
    Verdict.DRIFT: "The loads are no longer those that the model was trained on. Train anew.",
}


def show_findings(findings: Findings, console: Console, most_servers: int) -> None:
    """Print the page; `most_servers` are listed at most, those that lose most against a naive forecast first."""
    document = findings.document()
    for part in (_head(document), _forecasts(document["overall"]), _now(document["now"])):
        console.print(part, soft_wrap=isinstance(part, Text))
        console.print()
    if most_servers:
        console.print(_servers(document["servers"], most_servers, console.encoding))
        console.print()
    console.print(_drift(document["drift"]), soft_wrap=True)
    style = "bold green" if findings.verdict is Verdict.FINE else "bold red"
    console.print(Text(_VERDICTS[findings.verdict], style=style), soft_wrap=True)


def _head(document: dict[str, Any]) -> Text:
    rows = document["forecasts"]
    text = Text(f"Forecasts of the model of run {printable(document['modelRun'])}\n", style="bold")
    text.append(f"{rows['scored']:,} of {rows['read']:,} are scored, of the hours from {rows['from']} to {rows['to']}.")
    for name, what in {
        "pending": "are of hours still to come",
        "older": "are of hours before the first that counts",
        "notObserved": "are of hours without sessions",
        "ofUnknownServers": "are of servers without statistics",
    }.items():
        if rows[name]:
            text.append(f"\n{rows[name]:,} {what}.")
    if rows["unknownServers"]:
        text.append(f"\nSuch servers: {', '.join(map(printable, rows['unknownServers']))}.")
    return text


def _forecasts(overall: dict[str, Any]) -> Table:
    table = _table("All servers", "forecast", ">accuracy", ">macro F1", ">log loss", ">answered behind the gate")
    answered, rows = overall["gated"]["answeredBy"], max(overall["rows"], 1)
    for name in (MODEL, GATED, *overall["naive"]):
        scores = overall[name] if name in (MODEL, GATED) else overall["naive"][name]
        shown = name + (" (the best naive)" if name == overall["bestNaive"] else "")
        numbers = (f"{scores[key]:.3f}" for key in ("accuracy", "macroF1", "logLoss"))
        share = "" if name == GATED else f"{answered.get(name, 0) / rows:.1%}"
        table.add_row(shown, *numbers, share)
    return table


def _now(bands: list[dict[str, Any]]) -> Table:
    table = _table("What answers now", "hours ahead", "for all servers", ">servers answered by a naive forecast")
    for band in bands:
        first, last = band["horizonHours"]
        table.add_row(f"{first} to {last}", band["answeredBy"], f"{len(band['serversAnsweredByNaive']):,}")
    return table


def _servers(servers: list[dict[str, Any]], most: int, encoding: str) -> Table:
    names = ("server", ">hours", ">model", ">gated", ">best naive", "which", "answers now")
    table = _table(f"Accuracy by server, {min(most, len(servers)):,} of {len(servers):,}", *names)
    for server in servers[:most]:
        table.add_row(
            printable(server[schema.SERVER], encoding),
            f"{server['rows']:,}",
            f"{server[MODEL]['accuracy']:.3f}",
            f"{server[GATED]['accuracy']:.3f}",
            f"{server['bestNaiveAccuracy']:.3f}",
            server["bestNaive"],
            ", ".join(server["answeredBy"]),
        )
    return table


def _drift(drift: dict[str, Any]) -> Text:
    text = Text(f"Drift since {drift['since']} against the training (PSI)\n", style="bold")
    for name, what in (("classes", "Classes"), ("forecastClasses", "Forecast classes")):
        text.append(f"{what}: {_number(drift[name])}. ")
    text.append(f"More than {CLASSES_DRIFTED} is drift.\n")
    known = {name: value for name, value in drift["features"].items() if value is not None}
    if not known:
        return text.append("Features: unknown, there is no feature table.\n")
    largest = sorted(known, key=lambda name: -known[name])[:_SHOWN_FEATURES]
    text.append(f"Features above {FEATURE_DRIFTED:g}: {len(drift['drifted'])} of {len(known)}. The most: ")
    return text.append(", ".join(f"{name} {known[name]:.2f}" for name in largest) + ".\n")


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=Text(title, style="bold"), title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0)
    )
    for name in columns:
        table.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left", overflow="fold")
    return table


def prometheus_text(findings: Findings) -> bytes:
    """The findings in Prometheus' text format; Docs/MONITORING.md lists the names."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(findings))
    return generate_latest(registry)


class _Collected:
    """The findings as prometheus-client takes them."""

    def __init__(self, findings: Findings) -> None:
        self._findings, self._document = findings, findings.document()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        from prometheus_client.core import GaugeMetricFamily

        def gauge(name: str, what: str, *labels: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"loadcast_monitor_{name}", what, labels=list(labels))

        verdicts = gauge("verdict", "1 for what was found.", "verdict")
        for verdict in Verdict:
            verdicts.add_metric([verdict.value[0]], float(verdict is self._findings.verdict))
        newest = gauge("newest_hour_timestamp_seconds", "Begin of the newest hour with a known truth.")
        newest.add_metric([], self._findings.window.newest_epoch_s)
        rows = gauge("forecasts", "Past forecasts, by what became of them.", "state")
        for state in ("scored", "pending", "notObserved", "older", "ofUnknownServers"):
            rows.add_metric([state], float(self._document["forecasts"][state]))
        yield from (verdicts, newest, rows)
        yield from self._scores(gauge)
        yield from self._servers(gauge)
        drift = gauge("drift_psi", "Population stability index against the training.", "of", "name")
        found = self._document["drift"]
        of_classes = {("classes", "true"): found["classes"], ("classes", "forecast"): found["forecastClasses"]}
        of_features = {("feature", name): value for name, value in found["features"].items()}
        for labels, value in (of_classes | of_features).items():
            if value is not None:
                drift.add_metric(list(labels), value)
        yield drift

    def _scores(self, gauge: Any) -> Iterator[GaugeMetricFamily]:
        overall = self._document["overall"]
        accuracy = gauge("accuracy", "Share of right forecasts of all servers.", "forecast")
        loss = gauge("log_loss", "Mean of minus the logarithm of the true class's probability.", "forecast")
        answered = gauge("answered_share", "Share of the rows that each forecast answered behind the gate.", "forecast")
        for name in (MODEL, GATED, *overall["naive"]):
            scores = overall[name] if name in (MODEL, GATED) else overall["naive"][name]
            accuracy.add_metric([name], scores["accuracy"])
            loss.add_metric([name], scores["logLoss"])
            if name != GATED:
                answered.add_metric([name], overall["gated"]["answeredBy"].get(name, 0) / overall["rows"])
        yield from (accuracy, loss, answered)

    def _servers(self, gauge: Any) -> Iterator[GaugeMetricFamily]:
        naive = gauge("naive_answers", "Whether a naive forecast answers for all servers now.", "horizon", "forecast")
        own = gauge("server_naive_answers", "1 for servers that a naive forecast answers now.", *_SERVER_LABELS)
        for band in self._document["now"]:
            horizon, answers = "-".join(map(str, band["horizonHours"])), band["answeredBy"]
            naive.add_metric([horizon, answers], float(answers != MODEL))
            for server, forecast in band["serversAnsweredByNaive"].items():
                own.add_metric([server, horizon, forecast], 1.0)
        accuracy = gauge("server_accuracy", "Share of right forecasts of a server.", "server", "forecast")
        for server in self._document["servers"]:
            for name, value in (
                (MODEL, server[MODEL]["accuracy"]),
                (GATED, server[GATED]["accuracy"]),
                ("bestNaive", server["bestNaiveAccuracy"]),
            ):
                accuracy.add_metric([server[schema.SERVER], name], value)
        yield from (naive, own, accuracy)


_SERVER_LABELS = ("server", "horizon", "forecast")
