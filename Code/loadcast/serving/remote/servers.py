"""Servers whose records share requests, and what came of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from loadcast import schema
from loadcast.errors import LoadcastError
from loadcast.serving.remote.answers import HourForecast, ServerForecast
from loadcast.serving.remote.batches import Record


class ServerRecords(Protocol):
    """A server, and what makes its records when their turn has come."""

    @property
    def server(self) -> str:
        """Its address."""

    def records(self) -> Iterable[Record]:
        """Its records, in the order of their hours. May raise LoadcastError."""


@dataclass(frozen=True)
class Outcome:
    """What came of asking for one server: its forecast, or the error that says why there is none."""

    server: str
    forecast: ServerForecast | None = None
    error: LoadcastError | None = None


class Group:
    """Servers that share requests: their records one after the other, and what was answered, put together again.

    `owners` has the number in the group of each record's server.
    """

    def __init__(self, sources: Sequence[ServerRecords]) -> None:
        self._sources = sources
        self._hours: list[list[HourForecast]] = [[] for _ in sources]
        self._errors: dict[int, LoadcastError] = {}
        self.records: list[Record] = []
        self.owners: list[int] = []
        for number, source in enumerate(sources):
            try:
                made = list(source.records())
            except LoadcastError as error:
                self._errors[number] = error
            else:
                self.records += made
                self.owners += [number] * len(made)

    def add(self, owners: Sequence[int], results: Sequence[HourForecast | LoadcastError]) -> None:
        """Take the answers to records of these owners, in order, or why there is none."""
        for owner, result in zip(owners, results, strict=True):
            if isinstance(result, HourForecast):
                self._hours[owner].append(result)
            else:
                self._errors.setdefault(owner, result)

    def outcomes(self) -> Iterator[Outcome]:
        """What came of each server; one that lacks an hour has no forecast."""
        for number, source in enumerate(self._sources):
            error = self._errors.get(number)
            forecast = None if error is not None else ServerForecast(source.server, tuple(self._hours[number]))
            yield Outcome(source.server, forecast, error)


def without_forecast(sources: Sequence[ServerRecords], error: LoadcastError) -> list[Outcome]:
    """The outcomes of servers that nobody was asked for."""
    return [Outcome(source.server, error=error) for source in sources]


def grouped(sources: Sequence[ServerRecords], batch_size: int) -> list[Sequence[ServerRecords]]:
    """Servers that share requests of `batch_size` records: as many as come whole into one."""
    together = max(1, batch_size // schema.HORIZON_HOURS)
    return [sources[first : first + together] for first in range(0, len(sources), together)]
