"""Bounds of classes that are learned: of the fleet's or each server's own hours, and of nothing after the split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import classic
import loadcast
from grids import BEGIN, HOUR, RULE, buckets_of, grid_of, hour_number, random_sessions, session
from loadcast import schema
from loadcast.artefacts.labels import Labels
from loadcast.errors import ConfigError, InputError
from loadcast.kernels import buckets as bucket_kernel
from loadcast.kernels.features import labelled, training_table
from loadcast.kernels.grid import Grid
from loadcast.kernels.label_history import learned_rule
from loadcast.kernels.labels import OWN_BOUNDS_H, UNLABELLED, Bounds, LabelQuantiles, LabelRule
from loadcast.rules import Rules
from loadcast.settings import parse_settings
from loadcast.storage.table_files import FolderTables
from oracle.rows import Session

SPLIT_DAYS = 20
UNTIL = hour_number(BEGIN) + 24 * SPLIT_DAYS
OLD, YOUNG = "10.0.0.8", "10.0.0.9"


def asked(name: str) -> LabelQuantiles:
    return LabelQuantiles(name, 0.5, 0.85, UNTIL)


def fleet() -> list[Session]:
    """Four servers that come and go, one that is old enough for bounds of its own, and one that just is not."""
    steady = [session(OLD, hour, 1000.0 + hour % 37) for hour in range(OWN_BOUNDS_H)]
    steady += [session(YOUNG, 24 + hour, 5000.0 + hour % 31) for hour in range(OWN_BOUNDS_H - 1)]
    return [*random_sessions(3, number=1600), *steady, session(YOUNG, 24 * SPLIT_DAYS, 1.0)]


def by_hand(grid: Grid, until: int) -> dict[str, list[float]]:
    """The peaks that count, by server, slot by slot."""
    peaks: dict[str, list[float]] = {name: [] for name in grid.servers}
    for slot, hour in enumerate(grid.hours.tolist()):
        if grid.observed[slot] and hour + 1 <= until:
            peaks[grid.servers[grid.day_server[slot // 24]]].append(float(grid.peaks[0, slot]))
    return peaks


@pytest.mark.parametrize("name", ["quantile", "perServer"])
def test_bounds_are_numpy_s_quantiles_of_the_hours_before_the_split(name: str) -> None:
    grid = grid_of(fleet())
    peaks = by_hand(grid, UNTIL)
    rule = learned_rule([grid], asked(name))
    everything = [peak for values in peaks.values() for peak in values]
    assert rule.common == Bounds(*np.quantile(everything, [0.5, 0.85]).tolist(), "fleet")
    own = {
        server: Bounds(*np.quantile(values, [0.5, 0.85]).tolist(), "server")
        for server, values in peaks.items()
        if len(values) >= OWN_BOUNDS_H
    }
    assert rule.of_server == (own if name == "perServer" else {})
    assert OLD in own
    assert (len(peaks[YOUNG]), rule.bounds(YOUNG)) == (OWN_BOUNDS_H - 1, rule.common)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from([OLD, YOUNG, "10.0.0.77"]), st.floats(0, 300), st.floats(0, 1e6)), max_size=30)
)
def test_nothing_after_the_split_reaches_a_bound(later: Sequence[tuple[str, float, float]]) -> None:
    before = [one for one in fleet() if one.start < BEGIN + 24 * SPLIT_DAYS * HOUR]
    after = [session(server, 24 * SPLIT_DAYS + hours, load) for server, hours, load in later]
    for name in ("quantile", "perServer"):
        assert learned_rule([grid_of([*before, *after])], asked(name)) == learned_rule([grid_of(before)], asked(name))


def test_an_hour_that_the_split_cuts_is_not_known() -> None:
    text = {"dataFile": "x", "output": "y", "duration": "ONE_MONTH", "labelRule": "quantile"}
    for minutes, hour in (("00:00", 0), ("59:59", 0)):
        rules = Rules.of(parse_settings({**text, "testSplitStart": f"2016-06-21 00:{minutes}"}))
        assert rules.labels == LabelQuantiles("quantile", 0.5, 0.85, UNTIL + hour)


@pytest.mark.parametrize("name", ["quantile", "perServer"])
@pytest.mark.parametrize("cut", [1, 3])
def test_tasks_learn_and_label_as_one_process_does(name: str, cut: int, tmp_path: Path) -> None:
    """What Spark's tasks do, called one after the other; the servers lie in one file, or in three."""
    label_bounds = pytest.importorskip("loadcast.spark.label_bounds")
    tasks, reports = server_reports(name, cut, tmp_path)
    files = tuple(sorted(path.relative_to(tmp_path).as_posix() for path in (tmp_path / tasks.UNENCODED).iterdir()))
    tables, numbers = FolderTables(str(tmp_path)), [pa.RecordBatch.from_arrays([pa.array(range(len(files)))], ["id"])]
    collected = {}

    def collect(task: object) -> dict[str, list[str]]:
        collected["prefixes"] = [text for batch in task(iter(numbers)) for text in batch.column(1).to_pylist()]  # type: ignore[operator]
        return collected

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_bounds, "each_number", lambda spark, pieces, task, schema: task)
        patch.setattr(label_bounds, "collect_reports", collect)
        rule = label_bounds.learn_rule(None, asked(name), reports, files, tables)
    assert len(files) == cut
    grid = grid_of(fleet())
    assert rule == learned_rule([grid], asked(name))
    rows = pa.concat_tables(pq.read_table(tmp_path / file) for file in files)
    assert set(rows.column(schema.LABEL).to_pylist()) == {UNLABELLED}
    order = [(schema.SERVER, "ascending"), (schema.HOUR, "ascending")]
    wanted = training_table(classic.CLASSIC, grid, RULE, rule).sort_by(order)
    assert labelled(rows, rule).sort_by(order).equals(wanted)
    assert set(wanted.column(schema.LABEL).to_pylist()) == {1, 2, 3}


def server_reports(name: str, cut: int, folder: Path) -> tuple[object, list[str]]:
    """The module of the server task, and what its tasks report for labels; each has a share of the servers."""
    server_task = pytest.importorskip("loadcast.spark.server_task")
    scan = pytest.importorskip("loadcast.spark.scan")
    texts = []
    for part in range(cut):
        sums = buckets_of([one for one in fleet() if int(one.server[-1]) % cut == part])
        servers, payloads = bucket_kernel.pack(sums)
        batch = pa.RecordBatch.from_arrays(
            [servers, pa.array([scan.KIND_BUCKETS] * len(servers), pa.int32()), payloads], schema=scan.SCAN_SCHEMA
        )
        task = server_task.ServerTask(classic.CLASSIC, RULE, asked(name), UNTIL * 3600, FolderTables(str(folder)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(server_task, "task_name", lambda part=part: f"part-{part}")
            for reports in task(iter([batch])):
                kinds, found = (column.to_pylist() for column in reports.columns)
                texts += [text for kind, text in zip(kinds, found, strict=True) if kind == server_task.REPORT_LABELS]
    return server_task, texts


def test_labels_of_no_rows_are_none() -> None:
    rows = training_table(classic.CLASSIC, grid_of([session(OLD, 1)]), RULE, None).slice(0, 0)
    assert labelled(rows, LabelRule.absolute(1, 2)).equals(rows)


def test_without_a_known_hour_the_run_is_told() -> None:
    with pytest.raises(InputError, match="labelRule quantile: found no observed hour"):
        learned_rule([grid_of([session(OLD, 24 * SPLIT_DAYS)])], asked("quantile"))


def test_tables_without_spark_have_the_labels_of_a_run() -> None:
    chosen = parse_settings(
        {
            "dataFile": "x", "output": "y", "duration": "ONE_MONTH", "labelRule": "perServer",
            "testSplitStart": "2016-06-21 00:00:00",
        }
    )  # fmt: skip
    from loadcast.kernels.grid import hourly_table

    grid = grid_of(fleet())
    rows = loadcast.features(hourly_table(grid), chosen)
    rule = learned_rule([grid], asked("perServer"))
    codes = [grid.servers.index(server) for server in rows.column(schema.SERVER).to_pylist()]
    wanted = rule.labels(rows.column(schema.PEAK_LOAD).to_numpy(), grid.servers, np.array(codes))
    assert rows.column(schema.LABEL).to_pylist() == wanted.tolist()
    custom = {"dataFile": "x", "output": "y", "duration": "CUSTOM", "labelRule": "quantile"}
    times = {"trainBegin": "2016-06-01 00:00:00", "trainEnd": "2016-06-30 23:59:59"}
    with pytest.raises(ConfigError, match="testSplitStart: found nothing"):
        loadcast.features(hourly_table(grid), parse_settings({**custom, **times}))


@pytest.mark.parametrize("name", ["quantile", "perServer"])
def test_info_keeps_bounds_and_where_they_came_from(name: str) -> None:
    rule = learned_rule([grid_of(fleet())], asked(name))
    stored = Labels.of(rule, asked(name)).model_dump(by_alias=True)
    assert Labels.model_validate(json.loads(json.dumps(stored))).label_rule() == rule
    assert (stored["lowQuantile"], stored["highQuantile"], stored["ownBoundsHours"]) == (0.5, 0.85, OWN_BOUNDS_H)
    absolute = LabelRule.absolute(1, 2)
    plain = Labels.of(absolute, absolute).model_dump(by_alias=True, exclude_unset=True)
    assert plain == {"rule": "absolute", "common": {"low": 1, "high": 2, "source": "configured"}, "servers": {}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labelRule": "median"}, "labelRule: found 'median', wanted 'absolute', 'quantile' or 'perServer'"),
        ({"lowQuantile": -0.1}, "lowQuantile: found -0.1"),
        ({"highQuantile": 1.5}, "highQuantile: found 1.5"),
        ({"highQuantile": True}, "highQuantile: found True"),
        ({"lowQuantile": 0.9}, "lowQuantile: found 0.9, wanted less than highQuantile, 0.85"),
    ],
)
def test_rules_that_cannot_be_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings({"dataFile": "x", "output": "y", "duration": "ONE_MONTH", **changes})
    assert said in str(caught.value)


def test_bounds_in_the_wrong_order_are_refused() -> None:
    low_first = Labels.of(LabelRule("quantile", Bounds(1, 2, "fleet")), replace(asked("quantile")))
    spoilt = low_first.model_dump(by_alias=True)
    spoilt["common"]["low"] = 3
    with pytest.raises(ValueError, match="wanted the low one first"):
        Labels.model_validate(spoilt)
