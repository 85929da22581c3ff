"""A configuration in the terms of the kernels: translated once, in one place, then frozen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from loadcast.feature_sets import feature_set
from loadcast.holiday_calendar import holiday_days
from loadcast.kernels.calendar import CalendarRule, epoch_seconds
from loadcast.kernels.data_contract import Contract
from loadcast.kernels.features import FeatureSet
from loadcast.kernels.labels import ABSOLUTE, LabelQuantiles, LabelRule
from loadcast.kernels.rows import Layout
from loadcast.kernels.scan import RowFilter
from loadcast.settings import Settings


@dataclass(frozen=True)
class Rules:
    """What kernels take of a configuration.

    `layout` None: each file's own head says it. `rows` says which rows are kept, the data contract included. Rows
    before `split_seconds` (since 1970) are training rows; without it there are none, and no features are made.
    `labels` are the rule, or what it is to be learned by.
    """

    layout: Layout | None
    rows: RowFilter
    labels: LabelRule | LabelQuantiles
    features: FeatureSet
    train_begin: datetime
    #: Whose holidays, and of which years: the first and the last.
    holiday_country: str
    years: tuple[int, int]
    split_seconds: int | None = None

    @classmethod
    def of(cls, settings: Settings, filter_ip: bool = False, split: datetime | None = None) -> Rules:
        """The rules of a configuration; with `filter_ip` only its filterServers are kept.

        Raises ConfigError for a feature set that is not known here.
        """
        begin, end = settings.train_begin, settings.train_end
        servers = frozenset(settings.filter_servers) if filter_ip else None
        return cls(
            layout=None if settings.columns is None else Layout(settings.columns),
            rows=RowFilter(epoch_seconds(begin), epoch_seconds(end), servers, _contract(settings)),
            labels=_labels(settings),
            features=feature_set(settings.feature_set),
            train_begin=begin,
            holiday_country=settings.holiday_country,
            years=(begin.year, end.year + 1),  # the time after the training period may be scored
            split_seconds=None if split is None else epoch_seconds(split),
        )

    @cached_property
    def calendar(self) -> CalendarRule:
        """The calendar of features; made when first asked for, as the tables of all countries take half a second."""
        return calendar_rule(self.train_begin, self.holiday_country, self.years)


def calendar_rule(train_begin: datetime, country: str, years: tuple[int, int]) -> CalendarRule:
    """The calendar of a training that began at `train_begin`, with the holidays of the first to the last of `years`."""
    return CalendarRule(train_begin, holiday_days(country, *years))


def _labels(settings: Settings) -> LabelRule | LabelQuantiles:
    if settings.label_rule == ABSOLUTE:
        return LabelRule.absolute(settings.low_threshold, settings.high_threshold)
    until = settings.test_split_start or settings.train_begin  # without a test period nothing is labelled
    return LabelQuantiles(
        settings.label_rule, settings.low_quantile, settings.high_quantile, epoch_seconds(until) // 3_600
    )


def _contract(settings: Settings) -> Contract | None:
    ranges = {name: (bound.min, bound.max, bound.on_breach == "reject") for name, bound in settings.contract.items()}
    return Contract.of(ranges) if ranges else None
