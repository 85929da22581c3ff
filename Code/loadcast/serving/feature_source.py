"""Feature records of the hours to come: asked for server by server, made for many servers at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import pyarrow as pa

from loadcast import schema
from loadcast.errors import InputError
from loadcast.kernels.features import (
    Coming,
    FeatureRows,
    FeatureSet,
    coming_hours,
    feature_table,
    hours_together,
    unknown_hours,
)
from loadcast.serving.together import Together

#: Servers whose rows are made at once: more is hardly sooner, and what is made waits in memory for its turn.
SERVERS_TOGETHER = 32
#: Hours of history that are worked on at once, of about 600 bytes each, or those of one server.
_MOST_SLOTS = 24 * 366 * 8


@dataclass(frozen=True)
class FeatureSource:
    """One server's statistics, and the hours for which they make features, and how these are seen.

    `made` gives the table where it is made with others'.
    """

    server: str
    hourly: pa.Table
    daily: pa.Table
    begin: datetime
    coming: Coming
    features: FeatureSet
    made: Callable[[], pa.Table] | None = field(default=None, compare=False, repr=False)

    def table(self) -> pa.Table:
        """The hours as `features.scoring_schema`. Raises InputError."""
        if self.made is not None:
            return self.made()
        (table,) = _tables([self])
        return table

    def records(self) -> Iterator[dict[str, Any]]:
        """Feature records of the hours, as the service takes them. Raises InputError for statistics such as NaN."""
        table, own = self.table(), {*self.features.names}
        names, columns = table.column_names, list[list[Any]]()
        for name, column in zip(names, table.columns, strict=True):
            # Sooner than Arrow's own lists, of the same numbers.
            values = column.to_numpy().tolist() if name in own else column.to_pylist()
            if name in own and not all(map(math.isfinite, values)):
                raise InputError(f"The statistics of {self.server} hold values that are not finite. Make them anew.")
            columns.append([hour.strftime(schema.TIME_FORMAT) for hour in values] if name == schema.HOUR else values)
        for record in zip(*columns, strict=True):
            yield dict(zip(names, record, strict=True))

    def rows(self) -> FeatureRows:
        """The hours in the server's own grid. Raises InputError."""
        if len(self.hourly):
            return coming_hours(self.hourly, self.daily, self.begin, schema.HORIZON_HOURS, self.coming)
        return unknown_hours(self.server, self.begin, schema.HORIZON_HOURS, self.coming)


def made_together(sources: Sequence[FeatureSource]) -> list[FeatureSource]:
    """The same sources, of the same hours and set; the rows of neighbours are made at once, when the first is asked."""

    def make(numbers: Sequence[int]) -> list[pa.Table]:
        return list(_tables([sources[number] for number in numbers]))

    together = Together(len(sources), make, SERVERS_TOGETHER)
    return [replace(source, made=partial(together.take, number)) for number, source in enumerate(sources)]


def _tables(sources: Sequence[FeatureSource]) -> Iterator[pa.Table]:
    """The table of each, of one set, in portions whose grids are not too long together."""
    portion: list[FeatureRows] = []
    slots = 0
    for source in sources:
        rows = source.rows()
        if portion and slots + len(rows.grid.observed) > _MOST_SLOTS:
            yield from _parts(sources[0].features, portion)
            portion, slots = [], 0
        portion.append(rows)
        slots += len(rows.grid.observed)
    yield from _parts(sources[0].features, portion)


def _parts(features: FeatureSet, portion: Sequence[FeatureRows]) -> Iterator[pa.Table]:
    """The table of each of some grids' rows, by one call."""
    table = feature_table(features, hours_together(portion) if len(portion) > 1 else portion[0])
    begin = 0
    for rows in portion:
        yield table.slice(begin, len(rows.slots))
        begin += len(rows.slots)
