"""Feature sets from outside the package: the recipe done, what is refused, and what a bundle needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import recipe
from bundles import random_features, write_bundle, write_info
from classic import CLASSIC
from grids import LABELS, RULE, grid_of, random_sessions
from loadcast import feature_sets, paths, schema
from loadcast.errors import ArtefactError, ConfigError
from loadcast.kernels.features import (
    DIRECT,
    DIRECT_1,
    Coming,
    Encoding,
    Feature,
    FeatureRows,
    FeatureSet,
    Kind,
    coming_hours,
    feature_table,
    training_table,
)
from loadcast.kernels.features.baseline import BASELINE
from loadcast.kernels.features.check import check_feature_set
from loadcast.kernels.features.dates import calendar
from loadcast.kernels.features.history import lag
from loadcast.kernels.grid import daily_table, hourly_table
from loadcast.serving.bundle import load_bundle
from loadcast.serving.request_contract import ContractError, RequestContract
from loadcast.serving.statistics import open_statistics, scoring_features
from published import TRAIN_BEGIN, hourly_statistics, load_at, month_folder, publish

RECIPE = recipe.read_recipe()


@pytest.fixture
def weekly(tmp_path: Path) -> Iterator[FeatureSet]:
    """The recipe's set, as installed by its package."""
    with recipe.on_path(RECIPE.install(tmp_path), RECIPE.module):
        yield feature_sets.feature_set(RECIPE.settings["featureSet"])
    feature_sets._from_packages.clear()


QUARTERS = calendar("quarters", (1, 4), "", lambda rows: rows.slots % 4 + 1)


def a_feature(compute: Callable[[FeatureRows], Any], **changes: Any) -> Feature:
    plain = Feature("mine", Kind.OTHER, Encoding.SCALED, "", "", compute, look_back_h=72)
    return replace(plain, **changes)


# --- the recipe -----------------------------------------------------------------------------------------------------


def test_the_recipe_s_columns_are_what_it_says_of_them(weekly: FeatureSet) -> None:
    grid = grid_of(random_sessions(3, servers=3, days=40, number=900))
    rows = training_table(weekly, grid, RULE, LABELS).to_pylist()
    assert len(rows) > 500
    recipe.assert_as_described(rows, hourly_table(grid).to_pylist(), daily_table(grid).to_pylist())


def test_the_client_s_columns_are_those_of_training(weekly: FeatureSet) -> None:
    (server, *_) = (row.server for row in random_sessions(3, servers=1, days=40, number=900))
    grid = grid_of(random_sessions(3, servers=1, days=40, number=900))
    trained = training_table(weekly, grid, RULE, LABELS)
    begin = trained.column(schema.HOUR)[-60].as_py()
    hourly = hourly_table(grid).filter(pa.compute.less(hourly_table(grid).column(schema.HOUR), begin))
    coming = feature_table(weekly, coming_hours(hourly, daily_table(grid), begin, 48, Coming(RULE)))
    assert set(coming.column(schema.SERVER).to_pylist()) == {server}
    assert coming.equals(trained.slice(trained.num_rows - 60, 48).select(coming.column_names))


def test_tables_contract_and_look_back_follow_from_the_set(weekly: FeatureSet) -> None:
    assert weekly.names == ("quarter", "peakLoadLag336", "peakLoadUpperWeek")
    assert weekly.look_back_h == 336
    assert weekly.vector(("quarter",), (schema.SERVER,)) == (
        "quarter_indexed", "ServerIP_indexed_encoded", "scaledpeakLoadLag336", "scaledpeakLoadUpperWeek"
    )  # fmt: skip
    # What the naive forecasts need is in the table, and not in the request.
    assert set(weekly.schema.names) - set(weekly.scoring_schema.names) == {
        schema.PEAK_LOAD, schema.OBSERVED, schema.LABEL, *(feature.name for feature in BASELINE)
    }  # fmt: skip
    record = {schema.SERVER: "10.0.0.1", schema.HOUR: "2016-06-01 00:00:00", "quarter": 2, "peakLoadLag336": 1.5}
    contract = RequestContract(weekly)
    assert contract.read_records([{**record, "peakLoadUpperWeek": 0, "hourofday": 7}]).num_rows == 1
    with pytest.raises(ContractError) as caught:
        contract.read_records([{**record, "quarter": 5, "peakLoadUpperWeek": -1}, {**record, "peakLoadLag48": 1}])
    assert [(problem["field"], problem["wanted"]) for problem in caught.value.problems] == [
        ("quarter", "an integer from 1 to 4"),
        ("peakLoadUpperWeek", "a number from 0 to inf"),
        ("peakLoadUpperWeek", "a number from 0 to inf"),
    ]


def described(features: FeatureSet) -> dict[str, object]:
    """What `info` says of a set."""
    return {"name": features.name, "version": features.version}


def test_the_client_sends_what_the_service_takes(weekly: FeatureSet, tmp_path: Path) -> None:
    info = {"trainBegin": "2016-05-01 00:00:00", "holidayCountry": "US", "featureSet": described(weekly)}
    hourly = hourly_statistics("10.0.0.1", TRAIN_BEGIN, 40 * 24)
    publish(tmp_path / "output", hourly, info)
    begin = TRAIN_BEGIN + timedelta(days=40)
    (source,) = scoring_features(open_statistics(tmp_path / "output"), None, begin)
    records = list(source.records())
    assert len(records) == schema.HORIZON_HOURS
    assert RequestContract(weekly).read_records(records).column("peakLoadLag336").to_pylist() == [
        load_at(begin + timedelta(hours=hour, days=-14)) for hour in range(48)
    ]


def test_the_client_reads_no_further_back_than_the_set_looks(weekly: FeatureSet, tmp_path: Path) -> None:
    """Fifteen days before the 16th of June is June."""
    info = {"trainBegin": "2016-05-01 00:00:00", "holidayCountry": "US", "featureSet": described(weekly)}
    run = publish(tmp_path, hourly_statistics("10.0.0.1", TRAIN_BEGIN, 46 * 24), info)
    for kind in (paths.HOURLY, paths.DAILY):
        (run / month_folder(kind, 2016, 5) / "part-0.parquet").write_bytes(b"broken")
    (source,) = scoring_features(open_statistics(tmp_path), None, datetime(2016, 6, 16))
    assert source.table().num_rows == schema.HORIZON_HOURS


# --- what a set is --------------------------------------------------------------------------------------------------


def test_classic_keeps_what_it_promises() -> None:
    check_feature_set(CLASSIC)
    assert CLASSIC.look_back_h == 730
    assert feature_sets.feature_set("classic") is CLASSIC


def test_the_server_is_a_category_unless_others_are_named() -> None:
    made = {named: FeatureSet("mine", 1, (lag(48), QUARTERS), *named).categories for named in ((), ((),))}
    assert made == {(): (schema.SERVER, "quarters"), ((),): ("quarters",)}


@pytest.mark.parametrize(
    ("features", "fault"),
    [
        ({"name": "two words"}, "found the name 'two words'"),
        ({"version": 0}, "found version 0"),
        ({"features": (lag(48), lag(48))}, "found the column peakLoadLag48 twice"),
        ({"features": (replace(lag(49), name="label"),)}, "found the column label twice"),
        ({"features": (replace(lag(49), name="a b"),)}, "found the name 'a b'"),
        ({"features": (lag(49),), "categories": ("year",)}, "found the category year, wanted ServerIP or a feature"),
        ({"features": (replace(lag(49), name="peakLoadLag48"),)}, "found another peakLoadLag48"),
        ({"features": (replace(QUARTERS, high=math.inf),)}, "found the category quarters without a range"),
        ({"features": (replace(QUARTERS, low=0.5),)}, "found the category quarters without a range"),
        ({"features": ()}, "found no features"),
    ],
)
def test_features_that_do_not_fit_together_are_refused(features: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=f"^Feature set .*: {fault}"):
        FeatureSet(**{"name": "mine", "version": 1, "features": (lag(48),), **features})


def peeking(rows: FeatureRows) -> np.ndarray:
    return rows.of_hours_before(rows.peaks(schema.PEAK_LOAD), 47)


def mean_of_the_day(rows: FeatureRows) -> np.ndarray:
    return rows.daily(schema.PEAK_LOAD).take(rows.days)


def mean_of_all(rows: FeatureRows) -> np.ndarray:
    return np.full(len(rows.slots), rows.peaks(schema.PEAK_LOAD)[rows.grid.observed].mean())


def neighbour(rows: FeatureRows) -> np.ndarray:
    return rows.peaks(schema.PEAK_LOAD).take(rows.slots - 60, mode="clip")


@pytest.mark.parametrize(
    ("feature", "fault"),
    [
        (a_feature(peeking), "uses loads younger than its origin"),
        (a_feature(mean_of_the_day), "uses loads younger than its origin"),
        (a_feature(mean_of_all), "uses loads younger than its origin"),
        (replace(lag(100), look_back_h=99), "uses loads older than its look-back"),
        (a_feature(neighbour), "uses loads of another server"),
        (a_feature(lambda rows: rows.slots[:-1]), r"found \(\d+,\), wanted one number for each row"),
        (a_feature(lambda rows: rows.slots.tolist()), "found list, wanted one number for each row"),
        (a_feature(lambda rows: rows.slots * np.nan), "found values outside -inf … inf"),
        (a_feature(lambda rows: rows.slots % 24, low=0, high=22), "found values outside 0 … 22"),
        (replace(QUARTERS, compute=lambda rows: rows.slots / 2), "numbers of type float64, wanted whole"),
        (a_feature(lambda rows: rows.slots.astype(str)), "found numbers of type <U"),
        (a_feature(lambda rows: 1 / 0), "its function raised ZeroDivisionError: division by zero"),
    ],
)
def test_a_feature_that_breaks_its_promise_is_refused(feature: Feature, fault: str) -> None:
    with pytest.raises(ConfigError, match=f"^Feature {feature.name} of the set mine: .*{fault}"):
        check_feature_set(FeatureSet("mine", 1, (feature,)))


# --- where sets come from -------------------------------------------------------------------------------------------


@pytest.fixture
def registered() -> Iterator[FeatureSet]:
    features = FeatureSet("mine", 1, (lag(50),))
    feature_sets.register(features)
    yield features
    feature_sets.unregister("mine")


def test_a_registered_set_is_known_by_its_name(registered: FeatureSet) -> None:
    assert feature_sets.feature_set("mine") is registered
    assert feature_sets.is_registered_here(registered)
    feature_sets.register(FeatureSet("mine", 1, (lag(50),)))  # the same once more, as a notebook's cell does
    for other in (FeatureSet("mine", 2, (lag(50),)), replace(CLASSIC, version=2)):
        with pytest.raises(ConfigError, match="which is taken"):
            feature_sets.register(other)


def test_a_set_that_nobody_offers_names_those_there_are(registered: FeatureSet) -> None:
    with pytest.raises(
        ConfigError, match=r"featureSet: found 'nosuch', wanted one of classic, direct, extended, mine; other packages"
    ):
        feature_sets.feature_set("nosuch")


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("", r"cannot be loaded from weekly_features:FEATURES \(AttributeError"),
        ("1 / 0", r"cannot be loaded from .* \(ZeroDivisionError"),
        ("FEATURES = 7", r"cannot be loaded from .* \(TypeError"),
        ("def FEATURES(): return 7", "is no FeatureSet of the name weekly"),
        ("from loadcast.kernels.features import CLASSIC as FEATURES", "is no FeatureSet of the name weekly"),
    ],
)
def test_a_package_that_offers_no_set_is_named(source: str, fault: str, tmp_path: Path) -> None:
    package = replace(RECIPE, source=source).install(tmp_path)
    with recipe.on_path(package, RECIPE.module), pytest.raises(ConfigError, match=fault):
        feature_sets.feature_set("weekly")


def test_a_package_may_offer_a_function_that_gives_the_set(tmp_path: Path) -> None:
    source = f"{RECIPE.source}\nMADE = FEATURES\ndef FEATURES(): return MADE\n"
    with recipe.on_path(replace(RECIPE, source=source).install(tmp_path), RECIPE.module):
        assert feature_sets.feature_set("weekly").look_back_h == 336
    feature_sets._from_packages.clear()


# --- bundles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "fault"),
    [
        ({"name": "nosuch", "version": 1}, "needs its feature set. featureSet: found 'nosuch', wanted one of classic"),
        ({"name": "classic", "version": 2}, "of version 2 of the feature set classic, here is version 1"),
        ({"name": "classic"}, "featureSet.version: Field required"),
        ("classic", "featureSet: Input should be"),
        ({"name": ["classic"], "version": 1}, "featureSet.name: .*wanted a text"),
    ],
)
def test_a_bundle_of_an_unknown_set_is_refused(named: object, fault: str, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", random_features(200))
    assert load_bundle(folder).encoders.features is CLASSIC  # it names none: made before there were sets
    encoders = load_bundle(folder).encoders
    write_info(folder, encoders.only_indexed, encoders.for_encode, featureSet=named)
    with pytest.raises(ArtefactError, match=fault):
        load_bundle(folder)
    write_info(folder, encoders.only_indexed, encoders.for_encode, featureSet=described(CLASSIC))
    assert load_bundle(folder).encoders.features is CLASSIC


def test_a_model_of_the_first_version_of_direct_is_known_and_no_configuration_can_name_it() -> None:
    assert feature_sets.feature_set_of("direct", 1) is DIRECT_1
    assert feature_sets.feature_set_of("direct", 2) is feature_sets.feature_set("direct") is DIRECT
    with pytest.raises(ArtefactError, match="of version 3 of the feature set direct, here is version 2"):
        feature_sets.feature_set_of("direct", 3)
    kinds = ("dayType", "weekNear", "weekMoved")
    added = {f"{kind}{what}" for kind in kinds for what in ("Mean", "Low", "High")}
    assert DIRECT_1.names == tuple(name for name in DIRECT.names if name not in added)
