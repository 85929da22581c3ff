"""All columns of a direct forecast that are made of a server's load."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from loadcast.kernels.buckets import Float64s
from loadcast.kernels.direct.level import level
from loadcast.kernels.direct.recent import blends, recent, usual_changes
from loadcast.kernels.direct.rows import DirectRows
from loadcast.kernels.direct.same_hour import same_hour, same_hour_of_week
from loadcast.kernels.direct.weekly import weekly

#: What is made together.
GROUPS: Mapping[str, Callable[[DirectRows], dict[str, Float64s]]] = {
    group.__name__: group for group in (same_hour, same_hour_of_week, level, recent, blends, usual_changes, weekly)
}


def columns_of(rows: DirectRows) -> dict[str, Float64s]:
    """Name → column, (n,), NaN where nothing is known."""
    return {name: values for group in GROUPS.values() for name, values in group(rows).items()}
