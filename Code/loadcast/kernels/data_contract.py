"""The data contract: between which bounds each number has to lie, and what becomes of a row where one does not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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

    @classmethod
    def of(cls, ranges: Mapping[str, tuple[float | None, float | None, bool]]) -> Contract:
        """From (smallest, largest, whether a breach rejects the row) by column; None is no bound."""
        bounds = [ranges.get(name, (None, None, False)) for name in schema.MEASURES]
        return cls(
            tuple(-math.inf if low is None else low for low, _, _ in bounds),
            tuple(math.inf if high is None else high for _, high, _ in bounds),
            tuple(reject for _, _, reject in bounds),
        )

    def breaks(self, values: Sequence[float | None], breaches: Counter[str]) -> bool:
        """Whether a row of these numbers (None: missing) is rejected; its breaches are counted, by column."""
        broken = False
        for name, value, (low, high, reject) in zip(schema.MEASURES, values, self._ranges(), strict=True):
            if value is not None and not low <= value <= high:
                breaches[name] += 1
                broken |= reject
        return broken

    def _ranges(self) -> Iterator[tuple[float, float, bool]]:
        return zip(self.low, self.high, self.reject, strict=True)
