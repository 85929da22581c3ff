"""How a new model fared against the one that answered before, in a run's result."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from loadcast.artefacts.document import Number, Part, Real


class Measured(Part):
    """A measure of both models; `difference` is the challenger's less the champion's.

    `low` and `high` are the interval that holds 95 % of the differences of servers, or days, drawn anew.
    """

    challenger: Real
    champion: Real
    difference: Real
    low: Real
    high: Real


class Contest(Part):
    """Both models on the same rows of the test period: `champion` is the run whose model answered before.

    `unit`: whether servers or days were drawn anew. A challenger that is `worse` is not published.
    """

    champion: str
    rows: Number
    servers: Number
    days: Number
    unit: Literal["servers", "days"]
    accuracy: Measured
    log_loss: Measured = Field(alias="logLoss")
    verdict: Literal["better", "worse", "tie"]
    warning: str | None

    def numbers(self) -> dict[str, float]:
        """The differences and their intervals, such as `contest/accuracy/low`."""
        measures = {"accuracy": self.accuracy, "logLoss": self.log_loss}
        return {
            f"contest/{name}/{key}": value
            for name, measured in measures.items()
            for key, value in measured.model_dump(by_alias=True).items()
        }

    def lines(self) -> list[str]:
        """What there is to be told, a line each."""
        rows = (
            f"On {self.rows:,} forecasts ({self.servers:,} servers, {self.days:,} days) that neither has learned from:"
        )
        told = [rows, _line("accuracy", self.accuracy), _line("log loss", self.log_loss)]
        return told if self.warning is None else [*told, f"Warning: {self.warning}"]


def _line(name: str, measured: Measured) -> str:
    return (
        f"  {name} {measured.challenger:.4f}, the last good model's {measured.champion:.4f}: "
        f"{measured.difference:+.4f} ({measured.low:+.4f} to {measured.high:+.4f})"
    )
