"""The sample data generator: what it writes, read with plain pandas and never with loadcast's own kernels."""

from __future__ import annotations

import io
import os
import re
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from loadcast.cli.sample import sample
from loadcast.errors import ConfigError, OutputError
from loadcast.sample.profiles import build_plan, day_load
from loadcast.sample.rows import file_chunks, rows_of_hours
from loadcast.sample.spec import SampleSpec, file_slices
from loadcast.sample.write import write_sample
from loadcast.schema import MEASURES, SECURE_LOAD, SESSION_COLUMNS_17, SUB_LOADS, TOTAL_LOAD
from loadcast.settings import DEMO_SERVERS


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def lines_of(data: bytes) -> list[bytes]:
    return [line for line in data.split(b"\n") if line.strip(b" \t\r")]


def frame(files: dict[str, bytes]) -> pd.DataFrame:
    text = io.BytesIO(b"".join(files.values()))
    return pd.read_csv(text, names=SESSION_COLUMNS_17, parse_dates=["SessionStart", "SessionEnd"])


def hourly_peaks(sessions: pd.DataFrame) -> pd.Series:
    bucket = sessions["SessionStart"].dt.floor("5min")
    sums = sessions.groupby(["ServerIP", bucket])[TOTAL_LOAD].sum().reset_index()
    return sums.groupby(["ServerIP", sums["SessionStart"].dt.floor("h")])[TOTAL_LOAD].max()


def class_shares(peaks: pd.Series) -> tuple[float, float, float]:
    return ((peaks <= 100).mean(), ((peaks > 100) & (peaks <= 500)).mean(), (peaks > 500).mean())


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("clean")
    write_sample(SampleSpec(servers=12, rows=120_000, dirty=0), folder)
    return tree(folder)


@pytest.fixture(scope="module")
def clean_frame(clean: dict[str, bytes]) -> pd.DataFrame:
    return frame(clean)


def test_paths_follow_the_original_layout(clean: dict[str, bytes]) -> None:
    assert list(clean) == [f"2016/06/{half}/{part}/request.csv" for half in "ab" for part in range(7)]


@pytest.mark.parametrize("rows", [1, 7, 5_000])
@pytest.mark.parametrize("dirty", [0, 0.005, 0.3, 1])
def test_data_lines_are_exactly_as_many_as_asked_for(tmp_path: Path, rows: int, dirty: float) -> None:
    summary = write_sample(SampleSpec(servers=3, days=3, rows=rows, dirty=dirty), tmp_path)
    files = tree(tmp_path)
    blank = sum(data.count(b"\n") + (not data.endswith(b"\n")) for data in files.values()) - rows
    assert sum(len(lines_of(data)) for data in files.values()) == rows == summary.rows
    assert summary.blank == blank
    assert summary.dirty == round(rows * dirty) == sum(summary.dirty_by_kind.values())
    assert summary.files == len(files)
    assert summary.size_bytes == sum(map(len, files.values()))


def test_no_dirt_means_every_line_parses(clean: dict[str, bytes], clean_frame: pd.DataFrame) -> None:
    assert all(line.count(b",") == 16 for data in clean.values() for line in data.splitlines())
    assert not clean_frame.isna().any(axis=None)
    assert (clean_frame[list(MEASURES)] >= 0).all(axis=None)
    assert (clean_frame["SessionEnd"] > clean_frame["SessionStart"]).all()
    assert clean_frame[["TrafficType", "HTTP1", "ServerType", "ServiceGrade"]].dtypes.eq("int64").all()


def test_lines_are_about_as_long_as_the_original_ones() -> None:
    spec = SampleSpec(servers=200, rows=8_000_000)
    plan = build_plan(spec)
    chunks = list(file_chunks(spec, plan, 8, rows_of_hours(spec, plan)[8:14]))
    assert 118 < sum(len(chunk.text) for chunk in chunks) / sum(chunk.rows for chunk in chunks) < 126


def test_loads_have_one_to_three_decimals(clean: dict[str, bytes]) -> None:
    for line in clean["2016/06/a/0/request.csv"].splitlines()[:500]:
        fields = line.decode().split(",")
        assert all(re.fullmatch(r"\d{1,4}\.\d{1,3}", fields[i]) for i in (4, *range(8, 15)))


def test_sub_loads_sum_to_about_the_total(clean_frame: pd.DataFrame) -> None:
    ratio = clean_frame[[*SUB_LOADS, SECURE_LOAD]].sum(axis=1) / clean_frame[TOTAL_LOAD]
    big = clean_frame[TOTAL_LOAD] > 1
    assert ratio[big].between(0.7, 1.3).all()
    assert ratio[big].mean() == pytest.approx(1, abs=0.02)


def test_files_are_sorted_and_do_not_overlap(clean: dict[str, bytes]) -> None:
    starts = [line.split(b",")[1] for data in clean.values() for line in data.splitlines()]
    assert starts == sorted(starts)


def test_files_are_equal_slices_of_their_half_month() -> None:
    spec = SampleSpec(days=31, start=datetime(2016, 7, 1))
    hours = [part.end_hour - part.first_hour for part in file_slices(spec)]
    assert sum(hours[:7]) == 15 * 24
    assert sum(hours[7:]) == 16 * 24
    assert max(hours[:7]) - min(hours[:7]) <= 1
    assert max(hours[7:]) - min(hours[7:]) <= 1


@pytest.mark.parametrize(("count", "paths"), [(1, ["a/0"]), (2, ["a/0", "b/0"]), (3, ["a/0", "a/1", "b/0"])])
def test_fewer_files_per_month_on_request(count: int, paths: list[str]) -> None:
    slices = file_slices(SampleSpec(files_per_month=count))
    assert [part.path for part in slices] == [f"2016/06/{path}/request.csv" for path in paths]


@pytest.mark.parametrize("count", range(1, 15))
@pytest.mark.parametrize(("start", "days"), [(datetime(2016, 1, 29), 64), (datetime(2015, 12, 31), 1)])
def test_slices_cover_each_hour_of_any_period_once(count: int, start: datetime, days: int) -> None:
    slices = file_slices(SampleSpec(start=start, days=days, files_per_month=count))
    assert [part.first_hour for part in slices] == [0, *(part.end_hour for part in slices[:-1])]
    assert slices[-1].end_hour == days * 24
    assert len({part.path for part in slices}) == len(slices)


def test_same_spec_gives_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    spec = SampleSpec(servers=4, days=5, rows=4_000, dirty=0.05)
    write_sample(spec, tmp_path / "1")
    write_sample(spec, tmp_path / "2")
    write_sample(SampleSpec(servers=4, days=5, rows=4_000, dirty=0.05, seed=1), tmp_path / "3")
    assert tree(tmp_path / "1") == tree(tmp_path / "2")
    assert tree(tmp_path / "1") != tree(tmp_path / "3")


def test_bytes_summary_and_progress_do_not_depend_on_jobs(tmp_path: Path) -> None:
    spec = SampleSpec(servers=4, days=5, rows=4_000, dirty=0.05)
    alone, together = [], []
    first = write_sample(spec, tmp_path / "1", on_progress=alone.append)
    second = write_sample(spec, tmp_path / "2", jobs=2, on_progress=together.append)
    assert tree(tmp_path / "1") == tree(tmp_path / "2")
    assert first == second
    assert sum(alone) == sum(together) == spec.rows


@pytest.mark.parametrize(("servers", "seed"), [(2, 42), (5, 3), (20, 42), (60, 7)])
def test_class_shares_are_realistic(servers: int, seed: int) -> None:
    spec = SampleSpec(servers=servers, seed=seed)
    plan = build_plan(spec)
    days = [day_load(spec, plan, day) for day in range(spec.days)]
    peaks = pd.Series(np.concatenate([day.peak[day.traffic > 0] for day in days]))
    low, medium, high = class_shares(peaks)
    assert 0.45 <= low <= 0.60
    assert 0.25 <= medium <= 0.35
    assert 0.10 <= high <= 0.20


def test_written_peaks_have_the_shares_of_the_plan(clean_frame: pd.DataFrame) -> None:
    low, medium, high = class_shares(hourly_peaks(clean_frame))
    assert 0.45 <= low <= 0.60
    assert 0.25 <= medium <= 0.35
    assert 0.10 <= high <= 0.20


@pytest.mark.parametrize(("start", "days"), [(datetime(2016, 6, 1), 30), (datetime(2016, 7, 1), 31)])
@pytest.mark.parametrize("seed", range(10))
def test_demo_servers_see_all_classes_in_four_weeks_and_in_the_last_two_days(
    start: datetime, days: int, seed: int
) -> None:
    spec = SampleSpec(servers=2, start=start, days=days, seed=seed)
    plan = build_plan(spec)
    peaks = np.concatenate([day_load(spec, plan, day).peak for day in range(days)], axis=1)
    classes = 1 + (peaks > 100) + (peaks > 500)
    for server in classes:
        assert set(server[: 28 * 24]) == set(server[-48:]) == {1, 2, 3}


def test_peak_loads_follow_the_plan_however_many_rows_there_are() -> None:
    for rows in (400, 40_000):
        spec = SampleSpec(servers=3, days=1, rows=rows, dirty=0)
        plan = build_plan(spec)
        load = day_load(spec, plan, 0)
        text = b"".join(chunk.text for chunk in file_chunks(spec, plan, 0, rows_of_hours(spec, plan)))
        written = hourly_peaks(frame({"": text}))
        for (server, hour), peak in written.items():
            wanted = load.peak[plan.addresses.index(server), hour.hour]
            assert peak == pytest.approx(wanted, abs=0.001 * rows / 72, rel=1e-3)


def test_demo_servers_have_nearly_every_hour_with_three_rows_per_hour(tmp_path: Path) -> None:
    spec = SampleSpec(servers=10, days=10, rows=10 * 240 * 3, dirty=0)
    write_sample(spec, tmp_path)
    hours = hourly_peaks(frame(tree(tmp_path))).groupby("ServerIP").size()
    assert all(hours[server] >= 0.97 * 240 for server in DEMO_SERVERS)
    assert hours.min() < 0.95 * 240


def test_servers_start_late_retire_early_and_have_outages() -> None:
    spec = SampleSpec(servers=16)
    plan = build_plan(spec)
    alive = np.concatenate([day_load(spec, plan, day).traffic > 0 for day in range(30)], axis=1)
    first, last = alive.argmax(axis=1), 719 - alive[:, ::-1].argmax(axis=1)
    assert (first > 24).sum() == 2
    assert (last < 719 - 24).sum() == 2
    assert any(not row[start : end + 1].all() for row, start, end in zip(alive, first, last, strict=True))
    assert alive[:2].all()


def test_servers_differ_in_level_and_shape() -> None:
    spec = SampleSpec(servers=20)
    plan = build_plan(spec)
    peaks = np.stack([day_load(spec, plan, day).peak for day in range(28)], axis=1)
    daily = np.median(peaks, axis=1)
    assert np.ptp(np.log(np.median(peaks, axis=(1, 2)))) > 1
    assert len(set(daily.argmax(axis=1))) >= 5


def test_business_servers_are_quieter_on_a_federal_holiday() -> None:
    spec = SampleSpec(servers=40, start=datetime(2016, 6, 20), days=20)
    plan = build_plan(spec)
    business = plan.kind[2:] == 0
    noon = [day_load(spec, plan, day).peak[2:, 11][business].mean() for day in (0, 7, 14)]  # Mondays, the last 4 July
    assert noon[2] < 0.6 * min(noon[:2])


def test_the_demo_servers_come_first_and_addresses_are_unique() -> None:
    addresses = build_plan(SampleSpec(servers=300)).addresses
    assert addresses[:2] == DEMO_SERVERS
    assert len(set(addresses)) == 300


def test_a_longer_period_begins_with_the_same_loads() -> None:
    short, long = SampleSpec(servers=5, days=3), SampleSpec(servers=5, days=60)
    loads = [day_load(spec, build_plan(spec), 2).peak for spec in (short, long)]
    np.testing.assert_allclose(loads[0], loads[1])


# --- refusals and the command ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"servers": 0},
        {"servers": 10**9},
        {"servers": True},
        {"days": 0},
        {"rows": 0},
        {"rows": 10**12},
        {"rows": 1.5},
        {"seed": -1},
        {"dirty": -0.1},
        {"dirty": 1.1},
        {"dirty": float("nan")},
        {"dirty": "much"},
        {"files_per_month": 0},
        {"files_per_month": 15},
        {"start": datetime(2016, 6, 1, 12)},
        {"start": "2016-06-01"},
        {"start": datetime(1, 1, 1)},
        {"start": datetime(9999, 12, 31)},
        {"start": datetime(2199, 12, 31), "days": 2},
        {"servers": 20_000, "days": 36_525},
    ],
)
def test_impossible_arguments_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"found .* wanted"):
        SampleSpec(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("jobs", [0, -1, 10_000])
def test_impossible_jobs_are_refused(tmp_path: Path, jobs: int) -> None:
    with pytest.raises(ConfigError, match="jobs: found"):
        write_sample(SampleSpec(rows=10), tmp_path, jobs=jobs)


def test_the_last_day_that_can_be_is_written(tmp_path: Path) -> None:
    write_sample(SampleSpec(start=datetime(2199, 12, 31), days=1, rows=500, servers=2, dirty=0), tmp_path)
    assert b",2200-01-01 00:" in b"".join(tree(tmp_path).values())


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="--overwrite"):
        write_sample(SampleSpec(rows=10), tmp_path)


def test_a_file_is_refused_as_destination(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="found a file"):
        write_sample(SampleSpec(rows=10), tmp_path / "file", overwrite=True)


def test_overwrite_replaces_sample_files_and_leaves_others_alone(tmp_path: Path) -> None:
    write_sample(SampleSpec(rows=500, days=60, servers=2), tmp_path)
    (tmp_path / "2016" / "notes.txt").write_text("mine")
    write_sample(SampleSpec(rows=500, days=2, servers=2), tmp_path, overwrite=True)
    assert list(tree(tmp_path)) == ["2016/06/a/0/request.csv", "2016/notes.txt"]


def test_a_failed_write_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        write_sample(SampleSpec(rows=10, servers=2), tmp_path)
    assert not tree(tmp_path)


def test_an_unusable_parent_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="cannot be written"):
        write_sample(SampleSpec(rows=10), tmp_path / "file" / "below")


def test_memory_stays_bounded_by_chunks() -> None:
    spec = SampleSpec(servers=20, days=2, rows=600_000)
    plan = build_plan(spec)
    chunks = [chunk.rows for chunk in file_chunks(spec, plan, 0, rows_of_hours(spec, plan))]
    assert sum(chunks) == spec.rows
    assert max(chunks) <= 131_072


def test_the_command_writes_and_says_what_to_do_next(tmp_path: Path) -> None:
    result = CliRunner().invoke(sample, [str(tmp_path / "d"), "--rows", "2_000", "--servers", "3", "--jobs", "1"])
    assert result.exit_code == 0, result.output
    assert "Wrote 2,000 rows" in result.output
    assert '"testSplitStart": "2016-06-29 00:00:00"' in result.output
    assert "python Code/etl.py" in result.output
    assert "2016/06/a/0/request.csv" in tree(tmp_path / "d")


def test_the_command_passes_refusals_on(tmp_path: Path) -> None:
    result = CliRunner().invoke(sample, [str(tmp_path), "--servers", "0", "--debug"])
    assert result.exit_code == ConfigError.exit_code
    assert result.exception is not None
    assert isinstance(result.exception.__cause__, ConfigError)
