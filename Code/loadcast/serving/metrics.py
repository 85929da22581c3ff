"""What the service counts: shared by its processes, and told in Prometheus' text format.

The counts lie in one piece of memory that is mapped before the processes part. Each process writes its own row of
numbers, so none waits for another; a new process goes on with the row of one that ended, and the sums never fall.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
import threading
import weakref
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loadcast import schema
from loadcast.printable import printable
from loadcast.serving.exchange import NO_ROUTE, Exchange

if TYPE_CHECKING:
    from loadcast.serving.gate_file import GateState

_ROWS = 128
_OTHER = 0
_STATUSES = (_OTHER, 200, 400, 401, 404, 405, 408, 413, 415, 429, 431, 500, 503)
DURATIONS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCHES = (1, 12, 24, 48, 96, 240, 480, 1_000, 2_500, 5_000, 10_000)
_WORD_BYTES = 8
_LONGEST = 100


class Layout:
    """Where each number stands in a row; the first is the process that writes it."""

    def __init__(self, routes: Sequence[str]) -> None:
        self.routes = (*dict.fromkeys(routes), NO_ROUTE)
        self._width = 1
        self.requests = {route: {status: self._take() for status in _STATUSES} for route in self.routes}
        #: Of each route: one number for each bucket and one for what is above, and the sum.
        self.durations = {route: self._take(len(DURATIONS_S) + 2) for route in self.routes}
        self.batches = self._take(len(BATCHES) + 2)
        self.classes = self._take(max(schema.CLASS_NAMES) + 1)
        self.cold_starts = self._take()

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return self._width

    def _take(self, size: int = 1) -> int:
        first, self._width = self._width, self._width + size
        return first


class Metrics:
    """Counts of a service with these routes, for this process and all that it starts from now on."""

    def __init__(self, routes: Sequence[str]) -> None:
        self.layout = Layout(routes)
        self._file = _file_without_a_name()
        weakref.finalize(self, os.close, self._file)
        size = _ROWS * self.layout.width * _WORD_BYTES
        os.truncate(self._file, size)
        self._memory = mmap.mmap(self._file, size)
        self._numbers = memoryview(self._memory).cast("d")
        self._lock = threading.Lock()
        self._process, self._row = 0, 0

    def count(self, exchange: Exchange, status: int, duration_s: float) -> None:
        """Count a request that is answered."""
        layout, numbers = self.layout, self._numbers
        by_status = layout.requests.get(exchange.route) or layout.requests[NO_ROUTE]
        durations = layout.durations[exchange.route if exchange.route in layout.durations else NO_ROUTE]
        with self._lock:
            row = self._row if self._process == os.getpid() else self._claim()
            numbers[row + by_status.get(status, by_status[_OTHER])] += 1
            numbers[row + durations + bisect_left(DURATIONS_S, duration_s)] += 1
            numbers[row + durations + len(DURATIONS_S) + 1] += duration_s
            if exchange.scored is not None and status == 200:
                self._count_scored(row, exchange)

    def _count_scored(self, row: int, exchange: Exchange) -> None:
        layout, numbers, scored = self.layout, self._numbers, exchange.scored
        assert scored is not None
        batch = row + layout.batches
        numbers[batch + bisect_left(BATCHES, scored.n_records)] += 1
        numbers[batch + len(BATCHES) + 1] += scored.n_records
        for label, number in enumerate(np.bincount(scored.labels, minlength=len(schema.CLASS_NAMES) + 1).tolist()):
            numbers[row + layout.classes + label] += number
        numbers[row + layout.cold_starts] += int(np.count_nonzero(scored.cold_start))

    def totals(self) -> NDArray[np.float64]:
        """The sums over all processes, (width,); the first number means nothing."""
        rows = np.frombuffer(self._memory, dtype=np.float64).reshape(_ROWS, self.layout.width)
        sums: NDArray[np.float64] = rows.sum(axis=0)
        return sums

    def _claim(self) -> int:
        """The row of this process: where it has none yet, the first that no living process writes."""
        # Locks of this kind are a process's own, also on a file that it inherited, and end with it.
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            starts = range(0, _ROWS * self.layout.width, self.layout.width)
            free = (start for start in starts if not _is_alive(int(self._numbers[start])))
            self._process, self._row = os.getpid(), next(free, starts[-1])
            self._numbers[self._row] = self._process
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)
        return self._row


def _file_without_a_name() -> int:
    """The descriptor of a file, in memory where the system has such: an image may have no folder to write to."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("loadcast-metrics")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _is_alive(process: int) -> bool:
    if not process:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def exposition(metrics: Metrics, model: Mapping[str, str], gate: GateState | None = None) -> tuple[bytes, str]:
    """All counts in Prometheus' text format, and its media type; `model` are the labels that say what answers.

    `gate` is that of a service that was given one.
    """
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(metrics, model, gate))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Collected:
    """The counts of one moment as prometheus-client takes them."""

    def __init__(self, metrics: Metrics, model: Mapping[str, str], gate: GateState | None) -> None:
        self._layout, self._totals, self._model, self._gate = metrics.layout, metrics.totals(), model, gate

    def collect(self) -> Iterable[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        requests = CounterMetricFamily("loadcast_requests", "Requests answered.", labels=["route", "status"])
        errors = CounterMetricFamily("loadcast_errors", "Requests refused (4xx) or failed (5xx).", labels=["class"])
        durations = HistogramMetricFamily(
            "loadcast_request_duration_seconds", "From a request's arrival to its answer.", labels=["route"]
        )
        by_class = {"4xx": 0.0, "5xx": 0.0}
        for route in self._layout.routes:
            for status, number in self._of_route(route):
                requests.add_metric([route, str(status or "other")], number)
                by_class["5xx" if status >= 500 else "4xx"] += number if status >= 400 else 0.0
            self._add_histogram(durations, [route], self._layout.durations[route], DURATIONS_S)
        for name, number in by_class.items():
            errors.add_metric([name], number)
        batches = HistogramMetricFamily("loadcast_batch_records", "Records of each scored batch.", labels=[])
        self._add_histogram(batches, [], self._layout.batches, BATCHES)
        classes = CounterMetricFamily("loadcast_answers", "Records answered, by class.", labels=["label"])
        for label, name in schema.CLASS_NAMES.items():
            classes.add_metric([name], float(self._totals[self._layout.classes + label]))
        cold = CounterMetricFamily("loadcast_cold_starts", "Records of servers that training never saw.")
        cold.add_metric([], float(self._totals[self._layout.cold_starts]))
        model = GaugeMetricFamily("loadcast_model_info", "What answers: 1.", labels=list(self._model))
        model.add_metric(list(self._model.values()), 1.0)
        return [requests, errors, durations, batches, classes, cold, model, *self._of_gate()]

    def _of_gate(self) -> Iterable[Any]:
        from prometheus_client.core import GaugeMetricFamily

        if self._gate is None:
            return
        about = "Whether the gate file, as it is now, cannot be used."
        yield GaugeMetricFamily("loadcast_gate_refused", about, value=float(self._gate.is_refused))
        held = self._gate.held
        if held is None:
            return
        info = GaugeMetricFamily("loadcast_gate_info", "The gate of /forecast: 1.", labels=["model", "run"])
        info.add_metric([printable(name)[:_LONGEST] for name in (held.content.model, held.content.model_run)], 1.0)
        yield info
        name = "loadcast_gate_written_timestamp_seconds"
        yield GaugeMetricFamily(name, "When the gate in use was written.", value=held.written_s)
        if held.newest_hour_s is not None:
            name = "loadcast_gate_newest_hour_timestamp_seconds"
            about = "Begin of the newest hour that the gate in use knows; it counts for a day."
            yield GaugeMetricFamily(name, about, value=held.newest_hour_s)

    def _of_route(self, route: str) -> Iterable[tuple[int, float]]:
        for status, at in self._layout.requests[route].items():
            if number := float(self._totals[at]):
                yield status, number

    def _add_histogram(self, family: Any, labels: list[str], at: int, ends: Sequence[float]) -> None:
        numbers = self._totals[at : at + len(ends) + 1].cumsum()
        if numbers[-1] or not labels:
            names = [*map(str, map(float, ends)), "+Inf"]
            total = float(self._totals[at + len(ends) + 1])
            family.add_metric(labels, list(zip(names, numbers.tolist(), strict=True)), total)
