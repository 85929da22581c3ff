"""`info`: what a run was made with, and the checksums of its bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainSerializer, PlainValidator

from loadcast import paths, schema
from loadcast.artefacts.document import (
    FORMAT_VERSION,
    Artefact,
    Document,
    DocumentError,
    Migration,
    Name,
    Number,
    Part,
    Real,
    unchanged,
)
from loadcast.artefacts.labels import Labels
from loadcast.artefacts.public_sample import load_legacy_info
from loadcast.costs import Costs
from loadcast.errors import ArtefactError
from loadcast.feature_sets import feature_set_of
from loadcast.kernels.decisions import DecisionRule
from loadcast.kernels.features import CLASSIC, PUBLIC_SAMPLE, FeatureSet
from loadcast.kernels.features.public_sample import sample_vector
from loadcast.kernels.labels import LabelRule
from loadcast.printable import printable
from loadcast.settings import DURATIONS, Share, parse_time

_PUBLIC_SAMPLE = 0
_VERSION_DIGITS = 16
_SAMPLE_COLUMNS = ("columnOnlyIndexed", "columnForEncode")
_SUFFIX = schema.indexed("")
_ANEW = "Run ETL and training anew: they write info as JSON."
#: How pickles of a dict begin: with their protocol, or, in the oldest two, with a mark or the dict itself.
_PICKLE_BEGINS = (b"\x80", b"(", b"}")

#: A wall-clock time of the run's time zone.
Time = Annotated[datetime, PlainValidator(parse_time), PlainSerializer(lambda time: time.strftime(schema.TIME_FORMAT))]


class Period(Part):
    """The first and the last second of a period."""

    begin: Time = Field(alias="from")
    end: Time = Field(alias="to")


class FeatureSetVersion(Part):
    """The feature set of a run, by name and version."""

    name: Name
    version: Number


class SelfCheck(Part):
    """Some feature records and what the model answered to them in training: a service that answers otherwise is wrong.

    `predictions`: classes. `probabilities`: of each class, in the classes' order.
    """

    records: list[dict[str, Any]]
    predictions: list[int]
    probabilities: list[list[float]]


def periods(begin: datetime, split: datetime, end: datetime) -> tuple[Period, Period]:
    """The training and the test period of a run from `begin` to `end`."""
    return _period(begin, split - timedelta(seconds=1)), _period(split, end)


def _period(begin: datetime, end: datetime) -> Period:
    return Period.model_validate({"from": begin, "to": end})


def of_public_sample(document: Document) -> Document:
    """`info` as the public sample pickled it, in our first format: what it left unsaid is what it always did."""
    try:
        known = {**DURATIONS[document["duration"]], **document}
        times = {name: parse_time(known[name]) for name in ("trainBegin", "testSplitStart", "trainEnd")}
        only_indexed, for_encode = (
            [name.strip().removesuffix(_SUFFIX) for name in known[key] if name.strip()] for key in _SAMPLE_COLUMNS
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DocumentError("it is without the fields of the public sample's info") from error
    train, test = periods(*times.values())
    return {
        "dataFile": "",
        "trainPeriod": train,
        "testPeriod": test,
        "timezone": "UTC",
        "holidayCountry": "US",
        "filterServers": None,
        "versions": {},
        "files": {},
        **known,
        "columnOnlyIndexed": only_indexed,
        "columnForEncode": for_encode,
        "featureColumns": list(sample_vector(tuple(only_indexed), tuple(for_encode))),
        "featureSet": {"name": PUBLIC_SAMPLE.name, "version": PUBLIC_SAMPLE.version},
    }


def _is_of_public_sample(document: Document) -> bool:
    """Whether a document without a format version is what the sample kept, written as JSON by util.write_blob."""
    return document.keys() >= set(_SAMPLE_COLUMNS) and not document.keys() & {"featureColumns", "files", "versions"}


class Info(Artefact):
    """What made a run, and the sha-256 of each file of its bundle.

    A run that names no feature set is of the time before there were any, and so has the classic one. Until training,
    `files` is empty, and absent are `model`, its family's name, `modelSettings`, `forest`, a forest's settings, and
    `selfCheck`; so are `costs` and `minConfidence`, unless training's configuration has them. `lowThreshold` and
    `highThreshold` are the bounds of servers without bounds of their own; before version 3 there is no `labels`, and
    they are those of all servers, as configured.
    """

    FILE: ClassVar[str] = paths.INFO
    VERSION: ClassVar[int] = 3
    FIRST: ClassVar[int] = 1
    MIGRATIONS: ClassVar[Mapping[int, Migration]] = {_PUBLIC_SAMPLE: of_public_sample, 1: unchanged, 2: unchanged}
    REMEDY: ClassVar[str] = "Run ETL and training again, or fetch the model again."

    duration: str
    data_file: Name
    train_begin: Time
    train_end: Time
    test_split_start: Time
    train_period: Period
    test_period: Period
    low_threshold: Real
    high_threshold: Real
    labels: Labels | None = None
    timezone: str
    holiday_country: str
    filter_servers: list[str] | None
    column_only_indexed: list[str]
    column_for_encode: list[str]
    feature_columns: list[str]
    feature_set: FeatureSetVersion = FeatureSetVersion(name=CLASSIC.name, version=CLASSIC.version)
    versions: dict[str, str]
    files: dict[Name, str]
    model: str | None = None
    model_settings: dict[str, Any] | None = None
    forest: dict[str, Any] | None = None
    self_check: SelfCheck | None = None
    costs: Costs | None = None
    min_confidence: Share | None = None

    @property
    def features(self) -> FeatureSet:
        """The feature set itself. Raises ArtefactError where it is not known here in that version."""
        return feature_set_of(self.feature_set.name, self.feature_set.version)

    @property
    def is_of_public_sample(self) -> bool:
        """Whether the public sample wrote it: then it lists no files, and the records are as the sample's client's."""
        return self.feature_set.name == PUBLIC_SAMPLE.name

    @property
    def label_rule(self) -> LabelRule:
        """What low, medium and high mean in this run."""
        if self.labels is None:
            return LabelRule.absolute(self.low_threshold, self.high_threshold)
        return self.labels.label_rule()

    @property
    def decision_rule(self) -> DecisionRule:
        """What decisions are made by; an empty rule where nothing was configured."""
        return DecisionRule(self.costs, self.min_confidence)

    @property
    def model_version(self) -> str:
        """What changes with every bundle: the beginning of the SHA-256 over the checksums of its files.

        A bundle of the public sample has none; there it is the SHA-256 over its `info`.
        """
        lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(self.files.items()))
        text = lines or self.model_dump_json()
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_VERSION_DIGITS]

    @classmethod
    def _version(cls, document: Document) -> object:
        if FORMAT_VERSION not in document and _is_of_public_sample(document):
            return _PUBLIC_SAMPLE
        return super()._version(document)

    @classmethod
    def parse(cls, data: bytes, shown: str) -> Info:
        """As every artefact: JSON; or the public sample's pickle."""
        if not data.startswith(_PICKLE_BEGINS):
            return super().parse(data, shown)
        pickled = load_legacy_info(data, f"{printable(shown)}, a pickle,")
        try:
            return cls.from_document({**pickled, FORMAT_VERSION: _PUBLIC_SAMPLE})
        except DocumentError as error:
            raise ArtefactError(f"{printable(shown)} cannot be read: {error}. {_ANEW}") from error
