"""The data contract: between which bounds each number has to lie, and what becomes of a row where one does not."""

from __future__ import annotations

import math
from dataclasses import dataclass

from loadcast import schema


@dataclass(frozen=True)
class Contract:
    """Bounds of the numeric columns, in the order of schema.MEASURES: `low` and `high` are themselves allowed.

    A column without a bound has −inf or inf there. Where `reject` holds, a breach rejects the row; else it is only
    counted. Missing numbers, those that a repair has made missing among them, are no breach.
    """

    low: tuple[float, ...] = (-math.inf,) * len(schema.MEASURES)
    high: tuple[float, ...] = (math.inf,) * len(schema.MEASURES)
    reject: tuple[bool, ...] = (False,) * len(schema.MEASURES)
