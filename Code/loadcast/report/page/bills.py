"""What wrong decisions of the test period would have cost: a part of metrics.json that only some runs have."""

from __future__ import annotations

from loadcast.artefacts.metrics import Metrics

_COSTS = "costs"


def bills(metrics: Metrics) -> dict[str, float]:
    """The numbers under `costs`, of the test period or of the whole document, by their names; none where there is none.

    What stands beside them and is no number, such as the configured matrix, is left out.
    """
    document = metrics.model_dump(by_alias=True)
    found = document["test"].get(_COSTS, document.get(_COSTS))
    return {
        name: float(value)
        for name, value in (found.items() if isinstance(found, dict) else ())
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
