"""Published statistics → feature records of the hours to come, server by server, without Spark."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from loadcast import paths, schema
from loadcast.addresses import canonical_address
from loadcast.artefacts.info import Info
from loadcast.errors import ArtefactError, InputError
from loadcast.holiday_calendar import holiday_days
from loadcast.kernels.features import Coming, FeatureSet
from loadcast.kernels.labels import LabelRule
from loadcast.rules import calendar_rule
from loadcast.secrets import shown
from loadcast.serving.feature_source import FeatureSource, made_together
from loadcast.storage.months import Months, MonthsInFolder
from loadcast.storage.publish import open_run

_SHOWN = 5
_EARLIEST_YEAR = 1970
_LONGEST_GAP = timedelta(days=366)
_TIME_COLUMN = {paths.HOURLY: (schema.HOURLY_SCHEMA, schema.HOUR), paths.DAILY: (schema.DAILY_SCHEMA, schema.DAY)}
Span = tuple[datetime, datetime]
Rows = dict[str, pa.Table]


class UnknownServerError(InputError):
    """A server has no statistics; `known` are some that have."""

    def __init__(self, message: str, known: Sequence[str]) -> None:
        super().__init__(message)
        self.known = tuple(known)


class BeginError(InputError):
    """No forecast can begin at this time."""


@dataclass(frozen=True)
class Statistics:
    """The statistics of one published run, and what the training fixed: features, begin, whose holidays, and bounds.

    `info` is of the model in use, where there is one.
    """

    folder: Path
    months: Months
    train_begin: datetime
    holiday_country: str
    features: FeatureSet
    rule: LabelRule
    info: Info

    @property
    def look_back(self) -> timedelta:
        """How far back the features look: whole days before the day of the first forecast hour."""
        return timedelta(days=self.features.look_back_h // 24 + 1)


def open_statistics(
    output: Path, model: Path | None = None, months: Callable[[Path], Months] = MonthsInFolder
) -> Statistics:
    """Statistics of the newest run in `output`; the run is looked up once, so one run is read throughout.

    `months` gives those of that run, which need not be in its folder yet.

    `model` is the folder of the bundle in use, for statistics that were made without a training; without it, the
    newest model in `output` counts, else the run itself. Raises ArtefactError.
    """
    folder = open_run(output) if (output / paths.CURRENT).is_symlink() else output
    if model is not None:
        info = Info.read(model)
    else:
        trained = output / paths.MODEL
        info = Info.read(trained if (trained / paths.INFO).exists() else folder)
    begin, country = info.train_begin, info.holiday_country
    try:
        holiday_days(country, begin.year, begin.year)
    except (ValueError, TypeError, NotImplementedError) as exc:
        raise ArtefactError(
            f"{paths.INFO} of {model or output} has no usable holidayCountry ({shown(exc, 100)}). Train again."
        ) from exc
    return Statistics(folder, months(folder), begin, country, info.features, info.label_rule, info)


def newest_hour(statistics: Statistics) -> datetime:
    """The latest hour with statistics, of any server. Raises InputError."""
    for month in reversed(statistics.months.names(paths.HOURLY)):
        folder = statistics.months.folder(paths.HOURLY, month)
        newest = pc.max(_read([folder], [schema.HOURLY_SCHEMA.field(schema.HOUR)], None).column(schema.HOUR)).as_py()
        if isinstance(newest, datetime):
            return newest
    raise InputError(_nothing(statistics))


def scoring_features(statistics: Statistics, servers: Sequence[str] | None, begin: datetime) -> list[FeatureSource]:
    """For each server, what makes its features of the schema.HORIZON_HOURS hours from `begin`.

    `servers` None stands for all that have statistics among the hours a feature looks back to. Only the months and
    servers needed are read. Raises InputError, for a server without statistics before `begin` among others: of sets
    whose features mean the same for every server, such a server has rows of which nothing is known.
    """
    _check_begin(statistics, begin)
    wanted = None if servers is None else list(dict.fromkeys(_address(server) for server in servers))
    since = datetime.combine(begin - statistics.look_back, datetime.min.time())
    hourly, daily = _rows(statistics, (since, begin), wanted)
    if wanted is None:
        if not hourly:
            raise InputError(_nothing(statistics, f" between {since} and {begin}"))
        wanted = sorted(hourly, key=lambda server: ipaddress.ip_address(server).packed.rjust(16, b"\0"))
    silent = [server for server in wanted if server not in hourly or server not in daily]
    if statistics.features.simulates_cutoffs:
        # What is older says nothing any more: they are as if nothing were known of them.
        empty = (schema.HOURLY_SCHEMA.empty_table(), schema.DAILY_SCHEMA.empty_table())
        hourly, daily = (
            dict.fromkeys(silent, none) | known for none, known in zip(empty, (hourly, daily), strict=True)
        )
    elif silent:
        # They stopped earlier than a feature looks back: their last day is enough to know that.
        earlier = (_last_day_of_each(statistics, silent, begin), begin)
        for known, more in zip((hourly, daily), _rows(statistics, earlier, silent), strict=True):
            known.update(more)
        if lost := sorted(set(wanted) - (hourly.keys() & daily.keys())):
            raise InputError(f"{statistics.folder} has only part of the statistics of {lost[0]}. Make them anew.")
    end = begin + timedelta(hours=schema.HORIZON_HOURS - 1)
    calendar = calendar_rule(statistics.train_begin, statistics.holiday_country, (begin.year, end.year))
    features = statistics.features
    coming = Coming(calendar, features.origin, statistics.rule)
    sources = [FeatureSource(server, hourly[server], daily[server], begin, coming, features) for server in wanted]
    return made_together(sources)


def _folders(statistics: Statistics, kind: str, first: datetime | None, last: datetime) -> list[Path]:
    """The folders of the months from the first moment's (None: from the oldest) to the last's."""
    begin, end = ("" if first is None else f"{first:%Y/%m}"), f"{last:%Y/%m}"
    names = [name for name in statistics.months.names(kind) if begin <= name <= end]
    return [statistics.months.folder(kind, name) for name in names]


def _check_begin(statistics: Statistics, begin: datetime) -> None:
    newest = newest_hour(statistics)
    if begin - newest > _LONGEST_GAP:
        raise BeginError(
            f"The forecast's start {begin} is more than a year after {newest}, the newest hour in {statistics.folder}. "
            "Wanted one soon after it; or make newer statistics first."
        )
    if begin.year < _EARLIEST_YEAR:
        raise BeginError(f"The forecast's start {begin} is too early; wanted one from {_EARLIEST_YEAR} on.")


def _rows(statistics: Statistics, span: Span, servers: list[str] | None) -> tuple[Rows, Rows]:
    """Hourly and daily rows of each server (`servers` None: of all)."""
    hourly, daily = (_by_server(_span(statistics, kind, span, servers)) for kind in (paths.HOURLY, paths.DAILY))
    return hourly, daily


def _span(statistics: Statistics, kind: str, span: Span, servers: list[str] | None) -> pa.Table:
    """Rows of one kind, from the first time of `span` to before the second."""
    fields, time = _TIME_COLUMN[kind]
    begin, end = (pa.scalar(moment, schema.TIMESTAMP) for moment in span)
    folders = _folders(statistics, kind, *span)
    chosen = (ds.field(time) >= begin) & (ds.field(time) < end)
    if servers is not None:
        chosen &= ds.field(schema.SERVER).isin(servers)
    return _read(folders, [field for field in fields if field.name != schema.KEY], chosen)


def _read(folders: list[Path], fields: list[pa.Field], chosen: ds.Expression | None) -> pa.Table:
    files = [str(file) for folder in folders for file in sorted(folder.glob("*.parquet")) if file.name[0] not in "._"]
    wanted = pa.schema(fields)
    try:
        # The files' own schema rules what is found: a column they lack must not turn up as nulls.
        source = ds.dataset(files, format="parquet") if files else ds.dataset(wanted.empty_table())
        table = source.to_table(wanted.names, filter=chosen)
        table = table.cast(wanted)
    except (pa.ArrowException, OSError) as exc:
        raise InputError(
            f"The statistics in {folders[0].parents[1]} cannot be read: {str(exc)[:200]}. Make them anew."
        ) from exc
    if any(column.null_count for column in table.columns):
        raise InputError(f"The statistics in {folders[0].parents[1]} hold empty values, wanted none. Make them anew.")
    return table


def _by_server(table: pa.Table) -> dict[str, pa.Table]:
    """Each server's rows."""
    table = table.sort_by(schema.SERVER)
    names = table.column(schema.SERVER).to_numpy()
    bounds = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), len(names)] if len(names) else []
    return {
        _address(names[start]): table.slice(start, stop - start).combine_chunks() for start, stop in pairwise(bounds)
    }


def _address(server: str) -> str:
    try:
        return canonical_address(server)
    except ValueError:
        raise InputError(
            f"Server '{shown(server, 100)}' is no IP address; wanted one such as 115.220.193.16."
        ) from None


def _last_day_of_each(statistics: Statistics, servers: list[str], begin: datetime) -> datetime:
    """The earliest of the servers' last days before `begin`. Raises InputError for a server that has none."""
    fields = [schema.DAILY_SCHEMA.field(schema.SERVER), schema.DAILY_SCHEMA.field(schema.DAY)]
    folders = _folders(statistics, paths.DAILY, None, begin)
    chosen = ds.field(schema.DAY) < pa.scalar(begin, schema.TIMESTAMP)
    days = _read(folders, fields, chosen).group_by(schema.SERVER).aggregate([(schema.DAY, "max")])
    last = dict(zip(days.column(schema.SERVER).to_pylist(), days.column(f"{schema.DAY}_max").to_pylist(), strict=True))
    unknown = [server for server in servers if server not in last]
    if unknown and not last:
        raise BeginError(_nothing(statistics, f" before {begin}"))
    if unknown:
        near = difflib.get_close_matches(unknown[0], last, n=_SHOWN, cutoff=0.5) or sorted(last)[:_SHOWN]
        raise UnknownServerError(
            f"Server {', '.join(unknown[:_SHOWN])}: found no statistics before {begin} in {statistics.folder}, "
            f"which has {len(last)} server(s), such as {', '.join(near)}. Choose another, or make statistics first.",
            near,
        )
    earliest: datetime = min(last[server] for server in servers)
    return earliest


def _nothing(statistics: Statistics, when: str = "") -> str:
    return (
        f"{statistics.folder} holds no hourly and daily statistics{when}. "
        "Run python Code/etl.py CONFIG or python Code/O16Npreprocessing.py CONFIG, or choose another --from."
    )
