"""A fleet's observed hourly loads in 16 bytes each, and the grids that kernels take of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.buckets import Float64s
from loadcast.kernels.grid import WORK_SLOTS, Grid, grid_of_loads, hours_of, times_of
from loadcast.kernels.server_codes import server_codes

_COLUMNS = (schema.SERVER, schema.HOUR, schema.PEAK_LOAD, schema.OBSERVED)


@dataclass(frozen=True, eq=False)
class Loads:
    """n observed hours by server and hour: `codes` index `servers`, `hours` are since 1970, both (n,) of 32 bits.

    `peaks` (n,) are the loads. Each server has at least one hour.
    """

    servers: tuple[str, ...]
    codes: NDArray[np.int32]
    hours: NDArray[np.int32]
    peaks: Float64s

    @classmethod
    def of(cls, hourly: Iterable[pa.Table], begin: int, end: int) -> Loads:
        """The observed hours from `begin` to before `end` of tables with these columns of schema.HOURLY_SCHEMA:
        ServerIP, SessionStartHourTime, peakLoad, observed. Neither their order nor their cutting shows."""
        numbers: dict[str, int] = {}
        parts: list[tuple[NDArray[Any], ...]] = [(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0))]
        for table in hourly:
            hours = hours_of(table.column(schema.HOUR))
            observed = table.column(schema.OBSERVED).to_numpy(zero_copy_only=False)
            chosen = observed & (hours >= begin) & (hours < end)
            codes = server_codes(table.column(schema.SERVER).filter(pa.array(chosen)), numbers).astype(np.int32)
            parts.append((codes, hours[chosen].astype(np.int32), table.column(schema.PEAK_LOAD).to_numpy()[chosen]))
        codes, found, peaks = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        servers = tuple(sorted(numbers))
        ranks = {name: rank for rank, name in enumerate(servers)}
        codes = np.array([ranks[name] for name in numbers], np.int32)[codes] if servers else codes
        order = np.lexsort((found, codes))
        return cls(servers, codes[order], found[order], peaks[order])

    def __len__(self) -> int:
        return len(self.codes)

    def digest(self) -> str:
        """The sha-256 of all that stands here, in hexadecimal."""
        digest = hashlib.sha256("\n".join(self.servers).encode("utf-8", "surrogatepass"))
        for array in (self.codes, self.hours, self.peaks):
            digest.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).data)
        return digest.hexdigest()

    def before(self, hour: int) -> Loads:
        """What was known at an hour (since 1970): nothing of it, or later, or of servers that came later."""
        known = self.hours < hour
        present, codes = np.unique(self.codes[known], return_inverse=True)
        servers = tuple(self.servers[code] for code in present.tolist())
        return Loads(servers, codes.astype(np.int32), self.hours[known], self.peaks[known])

    def grids(self, most_slots: int = WORK_SLOTS) -> Iterator[Grid]:
        """The grids of all servers, in portions of whole servers with about `most_slots` slots together, or one."""
        begins = np.searchsorted(self.codes, np.arange(len(self.servers) + 1))
        if not self.servers:
            return
        first, last = self.hours[begins[:-1]], self.hours[begins[1:] - 1]
        slots = (last // 24 - first // 24 + 1).astype(np.int64) * 24
        portions = (np.cumsum(slots) - slots) // most_slots
        starts = np.flatnonzero(np.diff(portions, prepend=-1)).tolist()
        for begin, end in zip(starts, [*starts[1:], len(self.servers)], strict=True):
            yield self._grid(int(begins[begin]), int(begins[end]))

    def _grid(self, begin: int, end: int) -> Grid:
        """The grid of the entries from `begin` to before `end`."""
        chosen = slice(begin, end)
        names = pa.array(self.servers, pa.string()).take(pa.array(self.codes[chosen]))
        hours, peaks = times_of(self.hours[chosen].astype(np.int64)), pa.array(self.peaks[chosen])
        observed = pa.array(np.ones(end - begin, dtype=bool))
        return grid_of_loads(pa.table(dict(zip(_COLUMNS, (names, hours, peaks, observed), strict=True))))
