"""`loadcast monitor`: past forecasts against the truth, drift, and what would answer now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from loadcast.cli.common import friendly
from loadcast.cli.usage import Command

if TYPE_CHECKING:
    from loadcast.monitoring.findings import Findings

_DAYS, _MOST_DAYS = 31, 366


@click.command(cls=Command)
@click.argument("config", type=click.Path())
@click.option(
    "--forecasts",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A file or folder that loadcast score --output wrote.  [default: those of the model's test period]",
)
@click.option(
    "--days",
    default=_DAYS,
    show_default=True,
    type=click.IntRange(1, _MOST_DAYS),
    help="Score the hours of so many days up to the newest with statistics.",
)
@click.option("--servers", default=20, show_default=True, type=click.IntRange(min=0), help="Servers that are listed.")
@click.option(
    "--prometheus",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a .prom file for node_exporter's textfile collector, whole or not at all.",
)
@click.option(
    "--gate",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write what answers now, for loadcast score --gate; whole or not at all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
@click.pass_context
@friendly
def monitor(
    context: click.Context,
    config: str,
    forecasts: Path | None,
    days: int,
    servers: int,
    prometheus: Path | None,
    gate: Path | None,
    as_json: bool,
) -> None:
    """Score the newest model's past forecasts against the truth, beside naive forecasts, and look for drift.

    The truth are the newest hourly statistics in the output of CONFIG. Exit code 0: all is well; 12: a naive forecast
    has beaten the model by a margin, and answers in its place; 13: the loads have drifted from the training.

    \b
    Examples:
      loadcast monitor Config/demo.json
      loadcast monitor Config/demo.json --forecasts forecasts/ --json
      loadcast monitor Config/demo.json --forecasts forecasts/ --gate gate.json
      loadcast monitor Config/demo.json --prometheus /var/lib/node_exporter/loadcast.prom
    """
    from loadcast.monitoring.monitor import monitor as monitored
    from loadcast.report.forecast_files import check_apart, check_output, write_whole
    from loadcast.settings import load_settings

    check_apart({"CONFIG": config, "--forecasts": forecasts, "--prometheus": prometheus, "--gate": gate})
    if prometheus is not None:
        _check_prom(prometheus)
    if gate is not None:
        check_output(gate, "--gate")
    findings = monitored(load_settings(config), forecasts, days)
    if gate is not None:
        write_whole(gate, findings.gate_file().encoded(), "--gate")
    _give(findings, prometheus, as_json, servers)
    context.exit(findings.verdict.exit_code)


def _check_prom(path: Path) -> None:
    from loadcast.report.forecast_files import check_output

    if path.suffix != ".prom":
        raise click.UsageError("--prometheus: wanted a name that ends in .prom; node_exporter reads no other.")
    check_output(path, "--prometheus")


def _give(findings: Findings, prometheus: Path | None, as_json: bool, servers: int) -> None:
    """Write the file, and print the page or the document."""
    import json

    from loadcast.report.forecast_files import write_whole
    from loadcast.report.monitor import prometheus_text, show_findings
    from loadcast.report.quality import page_console

    if prometheus is not None:
        write_whole(prometheus, prometheus_text(findings), "--prometheus")
    if as_json:
        click.echo(json.dumps(findings.document(), indent=1))
    else:
        show_findings(findings, page_console(), servers)
