"""Forecasts behind a gate: monitor writes it, score and Python answer through it, and monitor reads what came of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

import loadcast
import monitored
from fake_scoring import fake_service, right
from gates import gappy, gate_for, info_of
from loadcast import schema
from loadcast.artefacts.gate import GateFile, read_gate
from loadcast.artefacts.info import Info
from loadcast.cli.main import main
from loadcast.errors import ArtefactError, ConfigError, LoadcastError
from loadcast.kernels.grid import hours_of
from loadcast.kernels.naive import LAST_CLASS, SAME_AS_48H
from loadcast.kernels.naive_forecasts import NaiveForecasts
from loadcast.kernels.truth import Truth
from loadcast.monitoring.forecast_files import read_forecasts
from loadcast.monitoring.monitor import monitor
from loadcast.monitoring.truth import read_truth
from loadcast.serving import answering
from loadcast.serving.answering import GateInUse
from loadcast.serving.feature_source import FeatureSource
from loadcast.serving.remote.answers import HourForecast
from loadcast.settings import load_settings
from monitored import END, SERVERS, publish_monitored

BREAK = datetime(2016, 6, 8)
HOURS = schema.HORIZON_HOURS


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a fleet whose load breaks off a week before the end."""
    return publish_monitored(tmp_path_factory.mktemp("gated"), BREAK)


@pytest.fixture(scope="module")
def gate(config: Path) -> Path:
    """What `loadcast monitor` finds to answer then."""
    path = config.parent / "gate.json"
    assert run("monitor", config, "--gate", path).exit_code == 12
    return path


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, words)))


def score(config: Path, *words: str | Path) -> Result:
    with fake_service(lambda _number, body: right(body)) as service:
        return run("score", config, "--url", service.url, *words)


def forecast(config: Path, gate: Path, begin: datetime | None = None) -> pa.Table:
    with fake_service(lambda _number, body: right(body)) as service:
        return loadcast.gated_forecast(load_settings(config), gate, begin=begin, url=service.url)


def test_the_gate_says_what_monitor_says(config: Path, gate: Path) -> None:
    written, found = read_gate(gate), monitor(load_settings(config)).document()
    assert str(written.newest_hour) == found["newestHour"] == str(END - timedelta(hours=1))
    assert written.valid_until == written.newest_hour + timedelta(hours=24)
    assert [band.answered_by for band in written.bands] == [now["answeredBy"] for now in found["now"]] == [SAME_AS_48H]
    assert written.forecasts == ["model", *monitored.NAIVE]
    assert set(written.usual) == set(SERVERS)
    assert GateFile.parse(gate.read_bytes(), "gate").encoded() == gate.read_bytes()


def test_a_naive_forecast_answers_flagged_beside_what_the_model_said(config: Path, gate: Path) -> None:
    table = forecast(config, gate)
    assert table.schema.names == [*schema.FORECAST_SCHEMA.names, *schema.GATED_SCHEMA.names]
    assert table.num_rows == len(SERVERS) * HOURS
    for row in table.to_pylist():
        assert row[schema.ANSWERED_BY] == SAME_AS_48H
        before = monitored.class_at(row[schema.HOUR] - timedelta(hours=48), BREAK)
        assert (row[schema.PREDICTION], row[schema.LABEL]) == (before, schema.CLASS_NAMES[before])
        shares = [row[name] for name in schema.PROBABILITY_COLUMNS.values()]
        assert sum(shares) == pytest.approx(1)
        assert int(np.argmax(shares)) + 1 == before
    with fake_service(lambda _number, body: right(body)) as service:
        plain = loadcast.forecast(load_settings(config), url=service.url)
    own = [schema.MODEL_PREDICTION, *schema.MODEL_PROBABILITY_COLUMNS.values()]
    said = [schema.PREDICTION, *schema.PROBABILITY_COLUMNS.values()]
    assert table.select(own).rename_columns(said).equals(plain.select(said))
    assert table.column(schema.MODEL_PREDICTION).to_pylist() != table.column(schema.PREDICTION).to_pylist()


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_what_the_model_itself_said_is_what_monitor_goes_on_scoring(
    config: Path, gate: Path, tmp_path: Path, form: str
) -> None:
    for name, words in (("plain", ()), ("gated", ("--gate", gate))):
        result = score(config, "--output", tmp_path / f"{name}.{form}", *words)
        assert result.exit_code == 0, result.stderr
    plain, gated = (next(read_forecasts([tmp_path / f"{name}.{form}"])) for name in ("plain", "gated"))
    assert (gated.labels == plain.labels).all()
    assert (gated.probabilities == plain.probabilities).all()
    assert (gated.hours == plain.hours).all()


def test_tables_and_json_flag_it_too(config: Path, gate: Path) -> None:
    text = score(config, "--gate", gate).stdout
    assert "low   ~" in text
    total = len(SERVERS) * HOURS
    assert f"~: naive forecasts answer in the model's place: {SAME_AS_48H} ({total} of {total} hours)" in text
    assert "~" not in score(config).stdout
    document = json.loads(score(config, "--gate", gate, "--format", "json").stdout)
    hour = document["forecasts"][0]["hours"][12]
    assert (hour["answeredBy"], hour["label"], hour["model"]["prediction"]) == (SAME_AS_48H, "low", 3)
    assert sum(hour["model"]["probability"].values()) == pytest.approx(1)


@pytest.mark.parametrize(("later_h", "counts"), [(-1, False), (0, True), (24, True), (25, False)])
def test_a_gate_counts_for_a_day_and_is_else_warned_of(
    config: Path, gate: Path, later_h: int, counts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    begin = END + timedelta(hours=later_h)
    with caplog.at_level(logging.WARNING, "loadcast"):
        table = forecast(config, gate, begin)
    assert (schema.ANSWERED_BY in table.schema.names) == counts
    assert ("does not count: the model answers." in caplog.text) == (not counts)
    page = score(config, "--gate", gate, "--from", begin).stdout
    assert ("The gate is stale, or younger than this forecast" in page) == (not counts)


def test_a_gate_of_another_model_is_refused(config: Path, gate: Path, tmp_path: Path) -> None:
    other = publish_monitored(tmp_path)
    info = next((tmp_path / "output").rglob("info"))
    info.write_text(json.dumps({**json.loads(info.read_text()), "files": {"mlModel/data": "0" * 64}}))
    with pytest.raises(ArtefactError, match=r"The gate is of the model .* of the run one, wanted one of the model in"):
        forecast(other, gate)
    result = score(other, "--gate", gate)
    assert (result.exit_code, "loadcast monitor CONFIG --gate FILE" in result.stderr) == (7, True)


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """What sets a value deep in a document."""

    def changed(document: Any) -> None:
        *parts, last = (int(part) if part.isdigit() else part for part in path.split("/"))
        for part in parts:
            document = document[part]
        document[last] = value

    return changed


SECRET = "AccountKey=bm90LWEtcmVhbC1rZXktYnV0LWxvbmctZW5vdWdoLXRvLWxvb2stbGlrZS1vbmU="


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("formatVersion", 2),
        ("formatVersion", "1"),
        ("newestHour", "soon"),
        ("validUntil", 7),
        ("validUntil", "9999-12-31 00:00:00"),
        ("validUntil", "1999-12-31 00:00:00"),
        ("commonest", 4),
        ("commonest", True),
        ("forecasts", []),
        ("forecasts", ["model", "model"]),
        ("forecasts/1", "another"),
        ("bands", []),
        ("bands/0/answeredBy", SECRET),
        ("bands/0/servers", {"10.0.0.1": SECRET}),
        ("bands/0/servers", [1]),
        ("bands/0/horizonHours", [1, 48]),
        ("bands/0/horizonHours", [1, 2, 3]),
        ("bands/0/weights", [1.0]),
        ("bands/0/weights/0", -5.0),
        ("bands/0/weights/0", 1e308),
        ("bands/0/weights/0", "0"),
        ("bands/0/tables", []),
        ("bands/0/tables/0", [[1.0, 1.0, 1.0]]),
        ("bands/0/tables/0/0/0", 2.0),
        ("usual/10.0.0.1", "1" * 167),
        ("usual/10.0.0.1", "4" * 168),
        ("usual/10.0.0.1", "\u0661" * 168),
        ("usual", None),
        ("model", None),
    ],
)
def test_what_is_no_gate_is_refused_in_a_line(config: Path, gate: Path, tmp_path: Path, path: str, value: Any) -> None:
    document = json.loads(gate.read_text())
    change(path, value)(document)
    hostile = tmp_path / "gate.json"
    hostile.write_text(json.dumps(document))
    result = score(config, "--gate", hostile)
    assert result.exit_code == ArtefactError.exit_code, result.stderr
    assert result.stderr.startswith("loadcast: ")
    assert "bm90" not in result.stderr
    assert len(result.stderr) < 600


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"a":' * 5000, b"\xff", b'{"bands": 1, "bands": 2}'])
def test_broken_files_are_no_gate(config: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "gate.json").write_bytes(content)
    with pytest.raises(ArtefactError, match=r"gate\.json cannot be read"):
        read_gate(tmp_path / "gate.json")
    for none in (tmp_path, tmp_path / "none", Path("a\0b")):
        with pytest.raises(LoadcastError):
            read_gate(none)


def test_a_gate_is_written_whole_or_told_before_any_work(config: Path, tmp_path: Path) -> None:
    result = run("monitor", config, "--gate", tmp_path / "none" / "gate.json")
    assert (result.exit_code, "--gate" in result.stderr) == (6, True)


# --- naive forecasts of one server are those that monitor makes of all ------------------------------------------------
def gate_of(info: Info, truth: Truth, newest: datetime, **changes: Any) -> GateFile:
    """A gate that has the truth's commonest classes of the hours of the week."""
    usual = {name: "".join(map(str, truth.usual[row].tolist())) for name, row in truth.numbers.items()}
    return gate_for(info, newest, usual, **changes)


def of_model(begin: datetime, server: str) -> list[HourForecast]:
    times = [begin + timedelta(hours=hour) for hour in range(HOURS)]
    return [HourForecast(server, time, 3, (0.1, 0.2, 0.7), cold_start=False) for time in times]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> tuple[Truth, dict[str, pa.Table]]:
    """Of three servers, one of which ends early."""
    tables = {server: gappy(server, seed) for seed, server in enumerate(("10.0.0.1", "10.0.0.2", "10.0.0.3"))}
    tables["10.0.0.3"] = tables["10.0.0.3"].slice(0, 1000)
    file = tmp_path_factory.mktemp("truth") / "part.parquet"
    pq.write_table(pa.concat_tables(tables.values()), file)
    hours = hours_of(tables["10.0.0.1"].column(schema.HOUR))
    info = info_of("classic")
    span, split = (int(hours.min()), int(hours.max())), int(hours_of(pa.chunked_array([[info.test_split_start]]))[0])
    return read_truth([file], info.label_rule, span, split), tables


@pytest.mark.parametrize("feature_set", ["classic", "extended", "direct"])
@pytest.mark.parametrize("server", ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
def test_each_naive_forecast_is_that_of_monitor(
    truth: tuple[Truth, dict[str, pa.Table]], feature_set: str, server: str
) -> None:
    info, begin = info_of(feature_set), datetime(2016, 6, 12, 7)
    whole, tables = truth
    origin = int(hours_of(pa.chunked_array([[begin]]))[0]) - 1
    since = begin - timedelta(days=31)
    hourly = tables[server].filter((pc.field(schema.HOUR) >= since) & (pc.field(schema.HOUR) < begin))
    source = FeatureSource(server, hourly, hourly, begin, None, info.features)  # type: ignore[arg-type]
    ahead = np.arange(1, HOURS + 1)
    has_origins = info.features.simulates_cutoffs
    origins = np.full(HOURS, origin) if has_origins else origin + ahead - 48
    rows = np.full(HOURS, whole.numbers[server])
    wanted = NaiveForecasts(whole, 2, has_origins).said(rows, origin + ahead, origins)
    base = gate_of(info, whole, begin - timedelta(hours=1))
    for at, name in enumerate(base.forecasts[1:]):
        bands = [{**band.model_dump(by_alias=True), "answeredBy": name} for band in base.bands]
        content = gate_of(info, whole, begin - timedelta(hours=1), bands=bands)
        in_use = GateInUse.of(content, info, begin)
        assert in_use is not None
        said = [hour.label for hour in in_use.answers(source, of_model(begin, server))]
        assert said == wanted[at].tolist(), name


def test_bands_and_servers_are_gated_apart_and_a_server_without_statistics_is_none(
    truth: tuple[Truth, dict[str, pa.Table]],
) -> None:
    info, begin = info_of("direct"), datetime(2016, 6, 12, 7)
    whole, tables = truth
    first, *others = (band.model_dump(by_alias=True) for band in gate_of(info, whole, begin).bands)
    first["servers"] = {"10.0.0.2": LAST_CLASS}
    content = gate_of(info, whole, begin - timedelta(hours=1), bands=[first, *others])
    in_use = GateInUse.of(content, info, begin)
    assert in_use is not None

    def answered(server: str, hourly: pa.Table) -> list[str]:
        source = FeatureSource(server, hourly, hourly, begin, None, info.features)  # type: ignore[arg-type]
        hours = in_use.answers(source, of_model(begin, server))
        assert all(hour.gated is not None and hour.gated.probabilities == (0.1, 0.2, 0.7) for hour in hours)
        return [hour.gated.answered_by for hour in hours if hour.gated is not None]

    assert answered("10.0.0.1", tables["10.0.0.1"]) == ["model"] * 48
    assert answered("10.0.0.2", tables["10.0.0.2"].slice(0, 1400)) == [LAST_CLASS] * 6 + ["model"] * 42
    assert answered("10.9.9.9", schema.HOURLY_SCHEMA.empty_table()) == ["model"] * 48


def test_decisions_follow_the_probabilities_of_the_gate(truth: tuple[Truth, dict[str, pa.Table]]) -> None:
    costs = {
        "low": {"low": 0.0, "medium": 1.0, "high": 2.0},
        "medium": {"low": 1.0, "medium": 0.0, "high": 1.0},
        "high": {"low": 9.0, "medium": 4.0, "high": 0.0},
    }
    info, begin = info_of("classic", costs=costs, minConfidence=0.5), datetime(2016, 6, 12, 7)
    whole, tables = truth
    shares = [0.0] * len(gate_of(info, whole, begin).forecasts)
    shares[1] = 1.0
    bands = [{**gate_of(info, whole, begin).bands[0].model_dump(by_alias=True), "weights": shares}]
    in_use = GateInUse.of(gate_of(info, whole, begin - timedelta(hours=1), bands=bands), info, begin)
    assert in_use is not None
    hourly = tables["10.0.0.1"]
    source = FeatureSource("10.0.0.1", hourly, hourly, begin, None, info.features)  # type: ignore[arg-type]
    for hour in in_use.answers(source, of_model(begin, "10.0.0.1")):
        assert hour.probabilities == pytest.approx((1 / 3, 1 / 3, 1 / 3))
        assert (hour.label, hour.decision, hour.confident) == (3, 3, False)
        assert hour.expected_cost == pytest.approx(1)


def test_a_set_that_looks_back_too_shortly_is_told(
    truth: tuple[Truth, dict[str, pa.Table]], monkeypatch: pytest.MonkeyPatch
) -> None:
    info, begin = info_of("classic"), datetime(2016, 6, 12, 7)
    monkeypatch.setattr(answering, "_LOOK_BACK_H", 731)
    with pytest.raises(ConfigError, match="featureSet: classic looks back 730 hours, wanted 731 or more"):
        GateInUse.of(gate_of(info, truth[0], begin), info, begin)
