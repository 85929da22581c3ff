"""How the gate's rule decides its scores: other windows, margins and shares, on trained outputs.

python -m bench.gate_rules CONFIG… (in tests/, after etl and train) prints accuracy and log loss behind the gate of each
rule, beside those of the model and of the best naive forecasts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

from loadcast.kernels.gate import RULE, GateRule
from loadcast.monitoring.monitor import monitor
from loadcast.settings import load_settings

OTHERS = {
    "window_h": (12, 18, 24, 30, 36, 48),
    "margin": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35),
    "lately_h": (3, 12, 24),  # the last is that of window_h, so no look of its own
    "server_margin": (0.05, 0.1, 0.15, 0.2, 0.25, 1.0),
    "server_rows": (25.0, 50.0, 100.0, 400.0),
    "table_h": (24, 48, 72, 120),
    "weight_h": (48, 96, 168),
    "model_share": (0.5, 0.8, 0.9),
}


def rules() -> Iterator[tuple[str, GateRule]]:
    """The rule itself, and each with one number changed."""
    yield "as it is", RULE
    for name, values in OTHERS.items():
        for value in values:
            if value != getattr(RULE, name):
                yield f"{name} {value}", replace(RULE, **{name: value})


def main(configs: list[str]) -> None:
    """Print a line for each configuration and rule."""
    for config in configs:
        settings = load_settings(config)
        for title, rule in rules():
            found = monitor(settings, rule=rule).document()["overall"]
            if rule is RULE:
                best = max(found["naive"].items(), key=lambda item: item[1]["accuracy"])
                loss = min(scores["logLoss"] for scores in found["naive"].values())
                model = found["model"]
                print(f"{config}: model {model['accuracy']:.4f} {model['logLoss']:.3f}, ", end="")
                print(f"best naive {best[0]} {best[1]['accuracy']:.4f}, least log loss {loss:.3f}")
            gated = found["gated"]
            print(f"  {title:20} {gated['accuracy']:.4f} {gated['logLoss']:.3f} {gated['shareOfNaive']:.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
