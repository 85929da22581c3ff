"""Session logs to tables in this process, without Spark: buckets, hourly and daily statistics, feature rows.

The kernels are those of ETL, and so are the numbers, bit for bit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise

import numpy as np
import pyarrow as pa

from loadcast import schema
from loadcast.addresses import canonical_address
from loadcast.errors import ConfigError, InputError
from loadcast.kernels.buckets import Buckets, merge, round_sums
from loadcast.kernels.calendar import epoch_seconds
from loadcast.kernels.coverage import Coverage
from loadcast.kernels.features import training_table
from loadcast.kernels.grid import WORK_SLOTS, build_grid, daily_table, grid_from_hourly, hourly_table, portions
from loadcast.kernels.label_history import learned_rule
from loadcast.kernels.labels import LabelQuantiles, LabelRule
from loadcast.kernels.rows import Layout, detect_layout
from loadcast.kernels.scan import Counts, RowFilter, Scanner
from loadcast.kernels.simulation.sketch import Sketch
from loadcast.kernels.simulation.tables import Simulation
from loadcast.pipeline.quality import check_quality, quality_report
from loadcast.rules import Rules
from loadcast.settings import AllowedRange, Settings
from loadcast.simulated import simulated_cutoffs, simulation_of
from loadcast.storage.blocks import read_blocks, read_head
from loadcast.storage.files import SourceFile, Split, find_files
from loadcast.storage.sources import LOCAL, Source, find_sources

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
#: The key of the buckets' metadata that tells what became of the rows: JSON of kernels.scan.Counts.
COUNTS = b"loadcast.counts"
#: Of paths without settings every time is taken that a log of sessions may have.
_ANY_TIME = (datetime(1970, 1, 1), datetime(2099, 12, 31, 23, 59, 59))
_REJECTED_FRACTION: float = Settings.model_fields["max_rejected_fraction"].default
#: Hours worked on together, as in ETL.
_WORK_SLOTS = WORK_SLOTS
#: Sums of files wait to be added up until there are so many, and as many as were added up before.
_FEW_SUMS = 1 << 18
_EPOCH_US = 1_000_000 * schema.BUCKET_SECONDS


def scan(source: Settings | Paths, servers: Iterable[str] | None = None) -> pa.Table:
    """Sums per server and 5 minutes of session logs (schema.BUCKETS_SCHEMA), by server and time.

    `source` is a configuration, whose period, columns and data contract count, or paths and patterns, of which all
    times are taken. `servers` None stands for all. What became of the rows stands in the table's metadata, as JSON
    under `loadcast.counts`. Sums have 14 significant digits.

    Memory: about 800 bytes for each server and 5 minutes with sessions, however many rows they have: 100 servers of one
    month take at most 700 MB. For more, run_etl works on Spark. Raises QualityError where more than maxRejectedFraction
    (of paths: 5 %) of the rows were rejected, InputError where no row was kept.
    """
    logs = _logs(source)
    if servers is not None:
        logs = replace(logs, rows=replace(logs.rows, servers=_addresses(servers)))
    sums, reports = _Sums(), []
    for file in logs.files:
        layout = logs.layout or detect_layout(*read_head(file, logs.source))
        scanner = Scanner(layout, logs.rows)
        for _, block in read_blocks(Split(file, 0, file.size), source=logs.source):
            scanner.scan(block)
        sums.add(scanner.buckets())
        reports.append({"file": file.shown, "start": 0, **scanner.counts().as_dict()})
    _check(logs, reports)
    return _buckets_table(sums.total(), reports)


def hourly(source: Settings | Paths | pa.Table) -> pa.Table:
    """The hourly peaks of each server (schema.HOURLY_SCHEMA), from its first to its last hour, by server and hour.

    `source` is a table of `scan`, or what `scan` takes. Memory: that of `scan`, and about 250 bytes for each server and
    hour. Raises InputError for another table.
    """
    buckets = _sums_of(source if isinstance(source, pa.Table) else scan(source))
    tables = [hourly_table(build_grid(portion)) for portion in portions(buckets, _WORK_SLOTS)]
    return pa.concat_tables([schema.HOURLY_SCHEMA.empty_table(), *tables]).combine_chunks()


def daily(source: Settings | Paths | pa.Table) -> pa.Table:
    """The daily means of each server's hourly peaks (schema.DAILY_SCHEMA), by server and day.

    `source` is a table of `hourly` or of a run's `hourly()`, or what `scan` takes. Memory: that of `hourly`.
    """
    hours = source if isinstance(source, pa.Table) else hourly(source)
    tables = [daily_table(grid_from_hourly(some)) for some in _by_servers(hours)]
    return pa.concat_tables([schema.DAILY_SCHEMA.empty_table(), *tables]).combine_chunks()


def features(source: Settings | pa.Table, settings: Settings | None = None) -> pa.Table:
    """The rows that training learns from, before they are encoded: one for each server and hour, by server and hour.

    Of the sets `extended` and `direct`: rows of simulated cutoffs, and the test period's, one for each forecast.

    `source` is a configuration, or a table of `hourly` or of a run's `hourly()`; `settings` then says the feature set,
    period, thresholds and holidays. The columns are those of the feature set's schema, `label` (1 low, 2 medium,
    3 high) among them. Memory: that of `hourly`, and about 400 bytes for each server and hour. Raises ConfigError for a
    table without settings.
    """
    chosen = source if isinstance(source, Settings) else settings
    if chosen is None:
        raise ConfigError("features: found a table without settings, wanted features(table, settings).")
    rules, hours = Rules.of(chosen), source if isinstance(source, pa.Table) else hourly(source)
    rule = _label_rule(chosen, rules.labels, hours)
    grids = map(grid_from_hourly, _by_servers(hours))
    if rules.features.simulates_cutoffs:
        simulation = _simulation(chosen, rules, rule, hours)
        tables = [table for grid in grids for table in simulation.tables(grid)]
    else:
        tables = [training_table(rules.features, grid, rules.calendar, rule) for grid in grids]
    return pa.concat_tables([rules.features.schema.empty_table(), *tables]).combine_chunks()


def _simulation(settings: Settings, rules: Rules, rule: LabelRule, hours: pa.Table) -> Simulation:
    """What makes the rows of a set that simulates cutoffs."""
    cutoffs, grids = simulated_cutoffs(settings), map(grid_from_hourly, _by_servers(hours))
    servers = len(hours.column(schema.SERVER).unique())
    return simulation_of(settings, rules, rule, Sketch.of_all(grids, cutoffs), servers)


def _label_rule(settings: Settings, labels: LabelRule | LabelQuantiles, hours: pa.Table) -> LabelRule:
    """The configured rule, or the one that the hours teach. Raises ConfigError without testSplitStart, InputError."""
    if isinstance(labels, LabelRule):
        return labels
    _ = settings.split
    return learned_rule(map(grid_from_hourly, _by_servers(hours)), labels)


@dataclass(frozen=True)
class _Logs:
    """Files to be scanned, and by which rules."""

    source: Source
    files: list[SourceFile]
    layout: Layout | None
    rows: RowFilter
    contract: dict[str, AllowedRange] = field(default_factory=dict)
    max_rejected_fraction: float = _REJECTED_FRACTION


def _logs(source: Settings | Paths) -> _Logs:
    if not isinstance(source, Settings):
        paths = [source] if isinstance(source, str | os.PathLike) else list(source)
        files = {file.path: file for path in paths for file in find_files(os.fspath(path))}
        begin, end = map(epoch_seconds, _ANY_TIME)
        return _Logs(LOCAL, list(files.values()), None, RowFilter(begin, end))
    matched = find_sources(source)
    if matched is None:
        raise ConfigError("dataFile: found an address that only Spark can read; wanted a path or a container's.")
    rules = Rules.of(source)
    return _Logs(*matched, rules.layout, rules.rows, source.contract, source.max_rejected_fraction)


def _addresses(servers: Iterable[str]) -> frozenset[str]:
    try:
        return frozenset(canonical_address(server) for server in servers)
    except ValueError as error:
        raise ConfigError(f"servers: wanted IP addresses: {error}.") from None


def _check(logs: _Logs, reports: Sequence[dict[str, object]]) -> None:
    """As ETL does: raise where too many rows were rejected, or none was kept."""
    sizes = {file.shown: file.size for file in logs.files}
    filtered = logs.rows.servers is not None
    report = quality_report(map(json.dumps, reports), Coverage.from_json([]), sizes, logs.contract, filtered)
    check_quality(report, logs.max_rejected_fraction)


class _Sums:
    """Sums of file after file, added up now and then, so that they take the memory of about three times the result."""

    def __init__(self) -> None:
        self._waiting: list[Buckets] = []
        self._size, self._limit = 0, _FEW_SUMS

    def add(self, sums: Buckets) -> None:
        self._waiting.append(sums)
        self._size += len(sums.codes)
        if self._size > self._limit:
            total = self.total()
            self._waiting, self._size = [total], len(total.codes)
            self._limit = max(_FEW_SUMS, 2 * self._size)

    def total(self) -> Buckets:
        """All of them, by the name of the server and by time."""
        names = tuple(sorted({name for sums in self._waiting for name in sums.servers}))
        number = {name: code for code, name in enumerate(names)}
        recoded = [np.array([number[name] for name in sums.servers], dtype=np.int64) for sums in self._waiting]
        codes = [new[sums.codes] for new, sums in zip(recoded, self._waiting, strict=True)]
        return merge(
            names,
            np.concatenate(codes),
            np.concatenate([sums.buckets for sums in self._waiting]),
            np.concatenate([sums.counts for sums in self._waiting]),
            np.concatenate([sums.sums for sums in self._waiting]),
        )


def _buckets_table(sums: Buckets, reports: Iterable[dict[str, object]]) -> pa.Table:
    total = Counts()
    for report in reports:
        total.add(Counts(**{name: value for name, value in report.items() if name not in ("file", "start")}))  # type: ignore[arg-type]
    columns = [
        pa.array(sums.servers, pa.string()).take(pa.array(sums.codes)),
        pa.array(sums.buckets * _EPOCH_US).cast(schema.TIMESTAMP),
        pa.array(sums.counts),
        *map(pa.array, np.ascontiguousarray(round_sums(sums.sums).T)),
    ]
    metadata = {COUNTS: json.dumps(total.as_dict()).encode()}
    return pa.Table.from_arrays(columns, schema=schema.BUCKETS_SCHEMA.with_metadata(metadata))


def _sums_of(table: pa.Table) -> Buckets:
    """The sums in a table of `scan`."""
    _check_columns(table, schema.BUCKETS_SCHEMA, "scan")
    encoded = table.column(schema.SERVER).combine_chunks().dictionary_encode()
    return merge(
        tuple(encoded.dictionary.to_pylist()),
        encoded.indices.to_numpy().astype(np.int64),
        table.column(schema.BUCKET_START).cast(schema.TIMESTAMP).cast(pa.int64()).to_numpy() // _EPOCH_US,
        table.column(schema.NUM_SESSION).to_numpy(),
        np.stack([table.column(name).to_numpy() for name in schema.BUCKET_SUMS], axis=1),
    )


def _by_servers(hours: pa.Table) -> Iterator[pa.Table]:
    """Hourly statistics in portions of whole servers, with about _WORK_SLOTS rows at most, or one server's."""
    _check_columns(hours, schema.HOURLY_SCHEMA, "hourly")
    hours = hours.sort_by([(schema.SERVER, "ascending"), (schema.HOUR, "ascending")])
    codes = hours.column(schema.SERVER).combine_chunks().dictionary_encode().indices.to_numpy()
    begins = np.flatnonzero(np.diff(codes, prepend=-1))
    firsts = begins[np.flatnonzero(np.diff(begins // _WORK_SLOTS, prepend=-1))] if len(begins) else begins
    for begin, end in pairwise([*firsts.tolist(), hours.num_rows]):
        yield hours.slice(begin, end - begin)


def _check_columns(table: pa.Table, wanted: pa.Schema, made_by: str) -> None:
    if missing := [name for name in wanted.names if name not in table.column_names]:
        raise InputError(f"Found a table without the column {missing[0]}; wanted one of {made_by}().")
