"""Which hours each server was seen in: its first and last observed hour, and how many between them hold a session."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from loadcast.kernels.buckets import Int64s
from loadcast.kernels.grid import Grid


@dataclass(frozen=True)
class Coverage:
    """Of n servers, (n,) each: `first` and `last` observed hour, as hours since 1970, and the number `observed`."""

    servers: tuple[str, ...]
    first: Int64s
    last: Int64s
    observed: Int64s

    @property
    def without_data(self) -> Int64s:
        """How many hours from each server's first to its last hold no session, (n,)."""
        return self.last - self.first + 1 - self.observed

    def as_json(self) -> str:
        """One JSON text of four lists, for Coverage.from_json."""
        numbers = {name: getattr(self, name).tolist() for name in ("first", "last", "observed")}
        return json.dumps({"servers": self.servers, **numbers}, separators=(",", ":"))

    @classmethod
    def from_json(cls, texts: Iterable[str]) -> Coverage:
        """The coverage of all servers of several texts; each server stands in one of them."""
        parts = [json.loads(text) for text in texts]
        servers = tuple(name for part in parts for name in part["servers"])
        first, last, observed = (
            np.array([number for part in parts for number in part[name]], dtype=np.int64)
            for name in ("first", "last", "observed")
        )
        return cls(servers, first, last, observed)


def coverage_of(grid: Grid) -> Coverage:
    """The coverage of a grid that begins and ends, for each server, with an observed hour (server.build_grid)."""
    seen = np.add.reduceat(grid.observed, grid.day_begins * 24, dtype=np.int64) if grid.servers else grid.first
    return Coverage(grid.servers, grid.first, grid.last, seen)
